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
#include "amcore/scheme/declaration.hpp"
#include "amcore/scheme/layered_scheme.hpp"
#include "amcore/scheme/product_cache.hpp"

namespace amcore {

// Sums over samples of pass i; "below" is layer i − 1.
struct MDLAMSum {
  enum : std::size_t { loss, linear, distance_below, distance_u, step_u, step_v, decrease, count };
};

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

template <class T> class MDLAM final : public LayeredScheme<T, MDLAMSum::count> {
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
      : Base(problem, execution, 12, 13),
        options_(std::move(options)),
        s_(*problem.numbers.at(0)),
        epsilon_(*problem.numbers.at(1)) {
    Index out = 1, in = 1, hidden = 0, widest = 0, widest_in = 0;
    for (std::size_t i = 0; i < depth(); ++i) {
      widest = std::max(widest, layers_[i].out);
      widest_in = std::max(widest_in, layers_[i].in);
      if (i == 0) continue;
      out = std::max(out, layers_[i].out);
      in = std::max(in, layers_[i].in);
      hidden = std::max(hidden, layers_[i].in);
    }
    first_ = ExtrapolatedWeightBlock<T>(layers_[0].out, layers_[0].in, threads_);
    rest_ = ExtrapolatedWeightBlock<T>(out, in, threads_);
    hidden_ = ExtrapolatedHiddenBlock<T>(out, in);
    weights_ = PackedWeights<T>(widest, widest_in);
    products_ = ProductCache<T>(layers_, plan_, execution.keep_products);
    carry_ = Buffer<T>(hidden * problem.samples);
    carry_width_ = hidden;
    measurement_.resize(depth());
    name_report();
  }

  void forward() override {
    Base::forward();
    for (const Layer<T>& l : layers_) {
      if (l.W_old) std::copy_n(l.W, l.out * l.in, l.W_old);
      if (l.b_old) std::copy_n(l.b, l.out, l.b_old);
      if (l.V_old) std::copy_n(l.V, l.out * plan_.samples(), l.V_old);
    }
    s_ = 0;
    epsilon_ = options_.epsilon;
  }

  const Report& sweep(bool measure) override {
    start();
    const double next = (1 + std::sqrt(1 + 4 * s_ * s_)) / 2, before = epsilon_;
    omega_ = std::max(0.0, (s_ - 1) / next);
    s_ = next;
    epsilon_ = std::max(options_.shrink * std::min(before, options_.epsilon), options_.floor);
    if (epsilon_ != before) report_.marks.emplace_back("epsilon changed");

    clock_.time(Phase::pass, [&] { opening_pass(); });
    for (std::size_t i = 0; i < depth(); ++i) {
      clock_.time(Phase::weight, [&] { update_weights(i); });
      clock_.time(Phase::pass, [&] { update_pass(i, measure); });
    }
    return fill_report(measure, true);
  }

  const Report& measure() override {
    start();
    for (std::size_t i = 0; i < depth(); ++i) clock_.time(Phase::pass, [&] { measuring_pass(i); });
    return fill_report(true, false);
  }

 private:
  using Base = LayeredScheme<T, MDLAMSum::count>;
  using Sum = MDLAMSum;
  using Base::depth, Base::pass, Base::previous, Base::weight_distance;
  using Base::gradient_sums_, Base::layers_, Base::loss_, Base::loss_weight_, Base::plan_;
  using Base::sums_, Base::threads_, Base::total_samples_, Base::Y_;
  using typename Base::Tally;
  using typename Base::Workspace;

  struct Measurement {
    double regularizer = 0, linear = 0;                      // parts of the objective
    double distance_w = 0, distance_uv = 0, distance_u = 0;  // squared
    double step_w = 0, step_u = 0, step_v = 0;               // squared
    double decrease = 0;
  };
  struct Phase {
    enum : std::size_t { pass, weight, count };
  };

  bool top(std::size_t i) const { return i + 1 == depth(); }
  T epsilon() const { return static_cast<T>(epsilon_); }

  void start() {
    measurement_.assign(depth(), {});
    loss_value_ = 0;
    report_.marks.clear();
    clock_.reset();
  }

  // E ← U_i − P_i for V_{i−1} given; W_i packed.
  void residual(std::size_t i, Tile tile, const PackedWeights<T>& weights, const T* v, T* e,
                const Panels<T>& panels) {
    const Layer<T>& l = layers_[i];
    const T* const u = l.U + tile.begin * l.out;
    const T* const p = products_.get(i, l, tile, weights.weights(), v, e, panels);
    for (Index k = 0; k < tile.size * l.out; ++k) e[k] = u[k] - p[k];
  }
  // P_i for V_{i−1} given; W_i in `weights_`.
  const T* product(std::size_t i, Tile tile, const T* v, T* scratch, const Panels<T>& panels) {
    return products_.get(i, layers_[i], tile, weights_.weights(), v, scratch, panels);
  }

  // The sums for W_1.
  void opening_pass() {
    const Layer<T>& l = layers_[0];
    weights_.pack(l.out, l.in, l.W, threads_);
    products_.begin(0, l);
    Base::begin_weight_sums(0);
    pass(0, [&](Index chunk, Tile tile, Tally&, const Workspace& array) {
      const T* const x = previous(0) + tile.begin * l.in;
      residual(0, tile, weights_, x, array(0), array.panels);
      sums_.add(chunk, tile.size, array(0), x, array.panels);
    });
    Base::reduce_weight_sums(0);
  }

  void update_weights(std::size_t i) {
    const Layer<T>& l = layers_[i];
    ExtrapolatedWeightBlock<T>& block = i == 0 ? first_ : rest_;
    if (i > 0 || !first_ready_)  // the input stays
      block.prepare(Base::moments(i), l.in, l.b, total_samples_, options_.rho[i], threads_);
    first_ready_ = true;
    const BlockStep moved =
        block.update(l.W, l.b, l.W_old, l.b_old, omega_, sums_, options_.rho[i], options_.delta,
                     *l.regularizer, static_cast<int>(i) + 1, threads_);
    measurement_[i].step_w = moved.squared_step;
    measurement_[i].decrease += moved.decrease;
  }

  // U_i and V_i of every sample, the sums for W_{i+1}.
  void update_pass(std::size_t i, bool measure) {
    const Layer<T>& here = layers_[i];
    weights_.pack(here.out, here.in, here.W, threads_);
    products_.begin(i, here);
    if (!top(i)) {
      const Layer<T>& above = layers_[i + 1];
      products_.begin(i + 1, above);
      hidden_.prepare(above.out, above.in, above.W, options_.rho[i + 1], options_.delta, threads_);
      Base::begin_weight_sums(i + 1);
    }
    if (measure) Base::begin_gradient_sums(i);
    const Tally tally =
        pass(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace& array) -> const char* {
          const char* const failed = top(i) ? update_output(i, tile, sums, array)
                                            : update_tile(i, chunk, tile, sums, array);
          if (!failed) measure_tile(i, measure, chunk, tile, sums, array);
          return failed;
        });
    if (!top(i)) Base::reduce_weight_sums(i + 1);
    record(i, tally, measure);
  }

  void measuring_pass(std::size_t i) {
    const Layer<T>& here = layers_[i];
    weights_.pack(here.out, here.in, here.W, threads_);
    products_.begin(i, here);
    Base::begin_gradient_sums(i);
    const Tally tally = pass(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace& array) {
      T* const e = array(0);
      const T* const u = here.U + tile.begin * here.out;
      const T* const p =
          product(i, tile, previous(i) + tile.begin * here.in, array(1), array.panels);
      for (Index k = 0; k < tile.size * here.out; ++k) e[k] = u[k] - p[k];
      measure_tile(i, true, chunk, tile, sums, array);
    });
    record(i, tally, true);
  }

  void record(std::size_t i, const Tally& tally, bool measured) {
    const Layer<T>& l = layers_[i];
    Measurement& m = measurement_[i];
    m.regularizer = l.regularizer->value(l.out, l.in, l.W);
    m.linear = tally[Sum::linear];
    m.step_u = tally[Sum::step_u];
    m.step_v = tally[Sum::step_v];
    m.decrease += tally[Sum::decrease];
    m.distance_u = tally[Sum::distance_u];
    loss_value_ += tally[Sum::loss];
    if (i > 0) measurement_[i - 1].distance_uv = tally[Sum::distance_below];
    if (measured) m.distance_w = weight_distance(i, options_.rho[i]);
  }

  // The updates of a tile leave E_i in array 0. They return the block whose values are not finite,
  // before it is written.
  const char* update_output(std::size_t i, Tile tile, Tally& tally, const Workspace& array) {
    const Layer<T>& l = layers_[i];
    const Index t = tile.size, size = t * l.out;
    const double rho = options_.rho[i];
    T* const U = l.U + tile.begin * l.out;
    const T* const y = Y_ + tile.begin * l.out;
    T *const e = array(0), *const u = array(2);
    const T* const p = product(i, tile, previous(i) + tile.begin * l.in, array(1), array.panels);
    output_update(l.out, t, loss_, loss_weight_, y, p, U, rho, 0, array(3), u);
    if (!all_finite(size, u)) return "U";
    const BlockStep moved = output_step(l.out, t, loss_, loss_weight_, y, p, U, u, rho);
    tally[Sum::step_u] += moved.squared_step;
    tally[Sum::decrease] += moved.decrease;
    std::copy_n(u, size, U);
    for (Index k = 0; k < size; ++k) e[k] = u[k] - p[k];
    return nullptr;
  }

  const char* update_tile(std::size_t i, Index chunk, Tile tile, Tally& tally,
                          const Workspace& array) {
    const Layer<T>& here = layers_[i];
    const Layer<T>& above = layers_[i + 1];
    const Index t = tile.size, size = t * here.out, size_above = t * above.out;
    const double rho = options_.rho[i], rho_above = options_.rho[i + 1];
    T* const panels = array.panels.right.data();
    T* const U = here.U + tile.begin * here.out;
    T* const V = here.V + tile.begin * here.out;
    T *const e = array(0), *const v = array(3), *const low = array(5), *const high = array(6),
             *const e_above = array(7), *const clipped = array(8), *const through = array(9);

    // V_i clipped to the constraint as it is now.
    residual(i + 1, tile, hidden_, V, e_above, array.panels);
    bool feasible = true;
    for_each_slice<T>(tile, here.out, [&](Tile slice, Index at) {
      const Index count = slice.size * here.out;
      T* const h = array(4);
      here.activation->value(count, U + at, h);
      constraint_bounds(count, h, epsilon(), low + at, high + at);
      for (Index k = at; k < at + count; ++k) {
        v[k] = std::clamp(V[k], low[k], high[k]);
        clipped[k] = v[k] - V[k];
      }
      feasible =
          feasible && std::all_of(clipped + at, clipped + at + count, [](T m) { return m == 0; });
    });
    if (!feasible) {
      hidden_.apply(t, clipped, through, panels);
      tally[Sum::decrease] +=
          rho_above / 2 * sum(size_above, [&](Index k) {
            return static_cast<double>(through[k]) * (2 * e_above[k] - through[k]);
          });
      for (Index k = 0; k < size_above; ++k) e_above[k] -= through[k];
    }

    const T* const p = product(i, tile, previous(i) + tile.begin * here.in, array(1), array.panels);
    const char* failed = nullptr;
    for_each_slice<T>(tile, here.out, [&](Tile slice, Index at) {
      const Index count = slice.size * here.out;
      T *const h = array(4), *const u = array(2), *const z = U + at;
      const T* const target = p + at;
      constrained_update(count, *here.activation, v + at, target, z, epsilon(), u);
      if (!all_finite(count, u)) {
        failed = "U";
        return;
      }
      tally[Sum::step_u] +=
          sum(count, [&](Index k) { return square(static_cast<double>(u[k]) - z[k]); });
      tally[Sum::decrease] +=
          rho / 2 * sum(count, [&](Index k) {
            return (static_cast<double>(z[k]) - u[k]) * ((static_cast<double>(z[k]) - target[k]) +
                                                         (static_cast<double>(u[k]) - target[k]));
          });
      std::copy_n(u, count, z);
      for (Index k = 0; k < count; ++k) e[at + k] = u[k] - target[k];
      here.activation->value(count, u, h);
      constraint_bounds(count, h, epsilon(), low + at, high + at);
    });
    if (failed) return failed;
    T* const v_old = here.V_old ? here.V_old + tile.begin * here.out : nullptr;
    const BlockStep moved = hidden_.update(t, v, v_old, static_cast<T>(omega_), low, high, e_above,
                                           {array(8), array(9), array(10), array(11)}, panels);
    if (!std::isfinite(moved.decrease)) return "V";
    tally[Sum::decrease] += moved.decrease;
    tally[Sum::step_v] +=
        sum(size, [&](Index k) { return square(static_cast<double>(v[k]) - V[k]); });
    std::copy_n(v, size, V);
    sums_.add(chunk, t, e_above, V, array.panels);
    return nullptr;
  }

  // What is final: layer i's share of F, and with E_i in array 0 the distances of U_{i−1} and
  // V_{i−1}, of W_i, and of U_N.
  void measure_tile(std::size_t i, bool measure, Index chunk, Tile tile, Tally& tally,
                    const Workspace& array) {
    const Layer<T>& l = layers_[i];
    const Index t = tile.size, size = t * l.out;
    const double rho = options_.rho[i];
    const T* const e = array(0);
    const T* const u = l.U + tile.begin * l.out;
    const T* const y = Y_ + tile.begin * l.out;
    tally[Sum::linear] += rho / 2 * sum_of_squares(size, e);
    if (top(i)) tally[Sum::loss] += loss_weight_ * loss_.value(l.out, t, u, y);
    if (!measure) return;

    gradient_sums_.add(chunk, t, e, previous(i) + tile.begin * l.in, array.panels);
    if (i > 0) tally[Sum::distance_below] += distance_below(i, tile, e, array);
    if (top(i)) {
      tally[Sum::distance_u] += loss_.squared_distance(l.out, t, u, y, e, rho, loss_weight_);
    } else {
      std::copy_n(e, size, carry_.data() + tile.begin * carry_width_);
    }
  }

  // dist² of (U_{i−1}, V_{i−1}); E_{i−1} is carried from the last pass.
  double distance_below(std::size_t i, Tile tile, const T* e, const Workspace& array) const {
    const Layer<T>& below = layers_[i - 1];
    const Index size = tile.size * below.out;
    T *const pull = array(1), *const push = array(2), *const h = array(3), *const left = array(4),
             *const right = array(5);
    weights_.apply_transposed(tile.size, e, pull, array.panels.right.data());
    const T* const carry = carry_.data() + tile.begin * carry_width_;
    const T rho = static_cast<T>(options_.rho[i]), rho_below = static_cast<T>(options_.rho[i - 1]);
    for (Index k = 0; k < size; ++k) {
      pull[k] *= -rho;
      push[k] = rho_below * carry[k];
    }
    const T* const u = below.U + tile.begin * below.out;
    below.activation->value_and_derivative(size, u, h, right);
    below.activation->derivative(size, u, Side::left, left);
    return constraint_distance(size, h, left, right, below.V + tile.begin * below.out, pull, push,
                               epsilon());
  }

  void name_report() {
    report_.parts = {{"loss", 0}, {"weight_regularizer", 0}};
    for (std::size_t i = 0; i < depth(); ++i) {
      const std::string number = std::to_string(i + 1);
      report_.parts.emplace_back("linear" + number, 0);
      report_.distance.emplace_back("W" + number, 0);
      report_.distance.emplace_back((top(i) ? "U" : "UV") + number, 0);
      for (const char* variable : {"W", "U", "V"})
        if (!top(i) || variable[0] != 'V') report_.step_norm.emplace_back(variable + number, 0);
    }
    report_.seconds = {{"pass", 0}, {"weight", 0}};
    report_.marks.reserve(1);
  }

  const Report& fill_report(bool measured, bool swept) {
    constexpr double unmeasured = std::numeric_limits<double>::quiet_NaN();
    Report& r = report_;
    r.objective = r.parts[0].second = loss_value_;
    r.parts[1].second = 0;
    double squared_distance = 0, decrease = 0;
    for (std::size_t i = 0; i < depth(); ++i) {
      const Measurement& m = measurement_[i];
      r.parts[1].second += m.regularizer;
      r.parts[2 + i].second = m.linear;
      r.objective += m.regularizer + m.linear;
      const double distance = top(i) ? m.distance_u : m.distance_uv;
      r.distance[2 * i].second = measured ? std::sqrt(m.distance_w) : unmeasured;
      r.distance[2 * i + 1].second = measured ? std::sqrt(distance) : unmeasured;
      squared_distance += m.distance_w + distance;
      const std::array steps{m.step_w, m.step_u, m.step_v};
      for (std::size_t k = 0; k < (top(i) ? 2 : 3); ++k)
        r.step_norm[3 * i + k].second = measured && swept ? std::sqrt(steps[k]) : unmeasured;
      decrease += m.decrease;
    }
    r.subgradient_distance = measured ? std::sqrt(squared_distance) : unmeasured;
    r.decrease = measured && swept ? decrease : unmeasured;
    clock_.report(r.seconds);
    if (!std::isfinite(r.objective))
      throw NumericalError("the objective is not finite", static_cast<int>(depth()), "U");
    return r;
  }

  const Options options_;
  double &s_, &epsilon_;                     // of the state: s_k and ε
  ExtrapolatedWeightBlock<T> first_, rest_;  // of W_1, whose Gram matrix stays, and of the others
  bool first_ready_ = false;
  ExtrapolatedHiddenBlock<T> hidden_;  // with W_{i+1} in pass i
  PackedWeights<T> weights_;           // W_i in pass i
  ProductCache<T> products_;           // P_i
  Buffer<T> carry_;                    // E_{i−1} in pass i
  Index carry_width_ = 0;
  double omega_ = 0;  // of the sweep's extrapolation

  std::vector<Measurement> measurement_;
  double loss_value_ = 0;
  PhaseClock<Phase::count> clock_;
  Report report_;
};

}  // namespace amcore
