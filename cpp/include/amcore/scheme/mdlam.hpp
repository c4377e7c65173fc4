// mDLAM, deep-learning alternating minimisation with monotone extrapolation (the literature's z is
// U, its a is V):
//
//   F(W, U, V) = c ℓ(U_N, Y) + Σ r_i(W_i) + Σ ρ_i/2 ‖U_i − W_i V_{i−1} − b_i1ᵀ‖²
//   subject to |V_i − σ_i(U_i)| ≤ ε entry by entry, i < N
//
// For i = 1, …, N, always with the newest values: an extrapolated proximal gradient step for
// (W_i, b_i); argmin F for U_i, which is W_i V_{i−1} + b_i1ᵀ clipped to the constraint, or the
// loss's prox; an extrapolated gradient step for V_i, clipped to the constraint. With s_0 = 0,
// s_{k+1} = (1 + √(1 + 4 s_k²))/2, sweep k + 1 extrapolates by max(0, (s_k − 1)/s_{k+1}).
// Wang, Li, Zhao (Neurocomputing 2022), Algorithm 1; Xu, Bao, Xing (2022), equation (5).
//
// Before a sweep ε becomes max(shrink·ε, floor), and V_i is clipped to σ_i(U_i) ± ε; where ε has
// fallen, that may raise F.
//
// Pass i over tiles of samples does U_i and V_i and collects the sums for W_{i+1}: what it finds of
// P_i = W_i V_{i−1} + b_i1ᵀ is final, and kept for the next sweep. Flops per sample and weight of a
// hidden layer: 2 for P_i; of V_i's step 2 each for W D, Wᵀ(E − W D) and W ΔV (without
// extrapolation 4 in all; 4 more where it is rejected); 3 for the sums. That makes 11 with the Gram
// matrix (13 if P is not kept), of the first layer 4. Measuring adds 4: Wᵀ E for V's gradient, E Vᵀ
// for W's.
#pragma once

#include "amcore/block/constraint.hpp"
#include "amcore/block/extrapolated.hpp"
#include "amcore/block/output.hpp"
#include "amcore/measure/mdlam.hpp"
#include "amcore/pass/forward.hpp"
#include "amcore/pass/product_cache.hpp"
#include "amcore/pass/weight_sums.hpp"
#include "amcore/scheme/declaration.hpp"
#include "amcore/scheme/scheme.hpp"

namespace amcore {

struct MDLAMOptions {
  std::vector<double> rho;  // one per layer
  double epsilon, shrink, floor;
  double delta;  // of the restart

  template <class Visit> void each(Visit&& option) {
    option("rho", rho, Range::positive);
    option("epsilon", epsilon, Range::positive);
    option("shrink", shrink, Range::positive);
    option("floor", floor, Range::positive);
    option("delta", delta, Range::nonnegative);
  }
};

template <class T> class MDLAM final : public Scheme {
 public:
  using Options = MDLAMOptions;

  static Declaration declaration() {
    return {.variables = {{"W"},
                          {"b"},
                          {"U"},
                          {.name = "V", .hidden = true},
                          {.name = "W_old", .optional = true},
                          {.name = "b_old", .optional = true},
                          {.name = "V_old", .hidden = true, .optional = true}},
            .numbers = {"s", "epsilon"},
            .identity_output = true,
            .invertible = true};
  }

  MDLAM(const Problem<T>& problem, Options options, const Execution& execution)
      : task_(problem, execution, 13),
        options_(std::move(options)),
        s_(*problem.numbers.at(0)),
        epsilon_(*problem.numbers.at(1)),
        pass_(task_, Array::count),
        sums_(task_),
        first_(task_.layers[0].out, task_.layers[0].in, task_.threads),
        rest_(task_.hidden_out, task_.hidden_in, task_.threads),
        hidden_(task_.hidden_out, task_.hidden_in),
        weights_(task_.out, task_.in),
        products_(task_, execution.keep_products),
        measure_(task_, options_.rho) {}

  void forward() override {
    forward_state(task_, pass_, [&](std::size_t i) { return pack(i); });
    for (const Layer<T>& l : task_.layers) {
      if (l.W_old) std::copy_n(l.W, l.out * l.in, l.W_old);
      if (l.b_old) std::copy_n(l.b, l.out, l.b_old);
      if (l.V_old) std::copy_n(l.V, l.out * task_.samples, l.V_old);
    }
    s_ = 0;
    epsilon_ = options_.epsilon;
  }

  const Report& sweep(bool measure) override {
    Ledger& ledger = measure_.ledger;
    ledger.begin();
    const double next = (1 + std::sqrt(1 + 4 * s_ * s_)) / 2, before = epsilon_;
    omega_ = std::max(0.0, (s_ - 1) / next);
    s_ = next;
    epsilon_ = std::max(options_.shrink * std::min(before, options_.epsilon), options_.floor);
    if (epsilon_ != before) ledger.mark("epsilon changed");

    ledger.time(Phase::pass, [&] { opening_pass(); });
    for (std::size_t i = 0; i < task_.depth(); ++i) {
      ledger.time(Phase::weight, [&] { update_weights(i); });
      ledger.time(Phase::pass, [&] { update_pass(i, measure); });
    }
    return measure_.report(measure, true);
  }

  const Report& measure() override {
    measure_.ledger.begin();
    for (std::size_t i = 0; i < task_.depth(); ++i)
      measure_.ledger.time(Phase::pass, [&] { measuring_pass(i); });
    return measure_.report(true, false);
  }

 private:
  using Array = MDLAMArray;
  using Phase = typename MDLAMMeasure<T>::Phase;
  using Tally = typename MDLAMMeasure<T>::Tally;

  T epsilon() const { return static_cast<T>(epsilon_); }

  const T* pack(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    weights_.pack(l.out, l.in, l.W, task_.threads);
    return weights_.weights();
  }

  // P_i of a tile; W_i in `weights_`.
  const T* product(std::size_t i, Tile tile, const Workspace<T>& array) {
    return products_.get(i, tile, weights_.weights(), task_.below(i, tile), array[Array::product],
                         array.panels);
  }
  // E ← U_i − P_i of a tile; W_i packed.
  void residual(std::size_t i, Tile tile, const T* packed, T* e, const Panels<T>& panels) {
    const Layer<T>& l = task_.layers[i];
    const T* const u = l.of(l.U, tile);
    const T* const p = products_.get(i, tile, packed, task_.below(i, tile), e, panels);
    for (Index k = 0; k < tile.size * l.out; ++k) e[k] = u[k] - p[k];
  }

  // The sums for W_1.
  void opening_pass() {
    pack(0);
    products_.begin(0);
    sums_.begin(0);
    pass_(0, [&](Index chunk, Tile tile, Tally&, const Workspace<T>& array) {
      T* const e = array[Array::residual];
      residual(0, tile, weights_.weights(), e, array.panels);
      sums_.add(chunk, tile.size, e, task_.below(0, tile), array.panels);
    });
    sums_.reduce(0);
  }

  void update_weights(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    ExtrapolatedWeightBlock<T>& block = i == 0 ? first_ : rest_;
    if (i > 0 || !first_ready_)  // the input stays
      block.prepare(sums_.moments(i), l.in, l.b, task_.total_samples, options_.rho[i],
                    task_.threads);
    first_ready_ = true;
    measure_.weight_step(
        i, block.update(l.W, l.b, l.W_old, l.b_old, omega_, sums_, options_.rho[i], options_.delta,
                        *l.regularizer, static_cast<int>(i) + 1, task_.threads));
  }

  // U_i and V_i of every sample, the sums for W_{i+1}.
  void update_pass(std::size_t i, bool measure) {
    const bool top = task_.is_top(i);
    pack(i);
    products_.begin(i);
    if (!top) {
      const Layer<T>& above = task_.layers[i + 1];
      products_.begin(i + 1);
      hidden_.prepare(above.out, above.in, above.W, options_.rho[i + 1], options_.delta,
                      task_.threads);
      sums_.begin(i + 1);
    }
    if (measure) measure_.begin_pass(i);
    const Tally tally = pass_(
        i, [&](Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) -> const char* {
          const char* const failed =
              top ? update_output(i, tile, sums, array) : update_tile(i, chunk, tile, sums, array);
          if (!failed) measure_.tile(i, measure, chunk, tile, weights_, epsilon(), sums, array);
          return failed;
        });
    if (!top) sums_.reduce(i + 1);
    measure_.end_pass(i, tally, measure);
  }

  void measuring_pass(std::size_t i) {
    pack(i);
    products_.begin(i);
    measure_.begin_pass(i);
    const Tally tally =
        pass_(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) {
          residual(i, tile, weights_.weights(), array[Array::residual], array.panels);
          measure_.tile(i, true, chunk, tile, weights_, epsilon(), sums, array);
        });
    measure_.end_pass(i, tally, true);
  }

  // The updates of a tile leave E_i in its array. They return the block whose values are not
  // finite, before it is written.
  const char* update_output(std::size_t i, Tile tile, Tally& tally, const Workspace<T>& array) {
    const Layer<T>& l = task_.layers[i];
    const Index t = tile.size, size = t * l.out;
    T* const U = l.of(l.U, tile);
    T *const e = array[Array::residual], *const u = array[Array::u];
    const T* const p = product(i, tile, array);
    output_update(l.out, t, task_.loss, task_.loss_weight, task_.targets(tile), p, U,
                  options_.rho[i], 0, array[Array::v], u);
    if (!all_finite(size, u)) return "U";
    measure_.step_output(tile, U, u, p, tally);
    std::copy_n(u, size, U);
    for (Index k = 0; k < size; ++k) e[k] = u[k] - p[k];
    return nullptr;
  }

  const char* update_tile(std::size_t i, Index chunk, Tile tile, Tally& tally,
                          const Workspace<T>& array) {
    const Layer<T>&here = task_.layers[i], &above = task_.layers[i + 1];
    const Index t = tile.size, size = t * here.out, size_above = t * above.out;
    T* const panels = array.panels.right.data();
    T *const U = here.of(here.U, tile), *const V = here.of(here.V, tile);
    T *const e = array[Array::residual], *const e_above = array[Array::residual_above];
    T *const v = array[Array::v], *const low = array[Array::low], *const high = array[Array::high];
    T *const clipped = array[Array::clipped], *const through = array[Array::through];

    // V_i clipped to the constraint as it is now.
    residual(i + 1, tile, hidden_.weights(), e_above, array.panels);
    bool feasible = true;
    for_each_slice<T>(tile, here.out, [&](Tile slice, Index at) {
      const Index count = slice.size * here.out;
      T* const sigma = array[Array::sigma];
      here.activation->value(count, U + at, sigma);
      constraint_bounds(count, sigma, epsilon(), low + at, high + at);
      for (Index k = at; k < at + count; ++k) {
        v[k] = std::clamp(V[k], low[k], high[k]);
        clipped[k] = v[k] - V[k];
      }
      feasible =
          feasible && std::all_of(clipped + at, clipped + at + count, [](T m) { return m == 0; });
    });
    if (!feasible) {
      hidden_.apply(t, clipped, through, panels);
      measure_.clip(i, tile, through, e_above, tally);
      for (Index k = 0; k < size_above; ++k) e_above[k] -= through[k];
    }

    const T* const p = product(i, tile, array);
    const char* failed = nullptr;
    for_each_slice<T>(tile, here.out, [&](Tile slice, Index at) {
      const Index count = slice.size * here.out;
      T *const sigma = array[Array::sigma], *const u = array[Array::u];
      constrained_update(count, *here.activation, v + at, p + at, U + at, epsilon(), u);
      if (!all_finite(count, u)) {
        failed = "U";
        return;
      }
      measure_.step_u(i, slice, U + at, u, p + at, tally);
      std::copy_n(u, count, U + at);
      for (Index k = 0; k < count; ++k) e[at + k] = u[k] - p[at + k];
      here.activation->value(count, u, sigma);
      constraint_bounds(count, sigma, epsilon(), low + at, high + at);
    });
    if (failed) return failed;
    const std::array<T*, 4> scratch{clipped, through, array[Array::pull], array[Array::spare]};
    const BlockStep moved =
        hidden_.update(t, v, here.V_old ? here.of(here.V_old, tile) : nullptr,
                       static_cast<T>(omega_), low, high, e_above, scratch, panels);
    if (!std::isfinite(moved.decrease)) return "V";
    measure_.step_v(i, tile, V, v, moved, tally);
    std::copy_n(v, size, V);
    sums_.add(chunk, t, e_above, V, array.panels);
    return nullptr;
  }

  const Task<T> task_;
  const Options options_;
  double &s_, &epsilon_;  // of the state: s_k and ε
  Pass<T, MDLAMSum::count> pass_;
  WeightSums<T> sums_;
  ExtrapolatedWeightBlock<T> first_, rest_;  // of W_1, whose Gram matrix stays, and of the others
  bool first_ready_ = false;
  ExtrapolatedHiddenBlock<T> hidden_;  // with W_{i+1} in pass i
  PackedWeights<T> weights_;           // W_i in pass i
  ProductCache<T> products_;           // P_i
  MDLAMMeasure<T> measure_;
  double omega_ = 0;  // of the sweep's extrapolation
};

}  // namespace amcore
