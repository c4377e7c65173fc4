// ADMM with majorised block updates: with R_i = σ_i(W_i V_{i−1} + b_i1ᵀ) − V_i and V̂_i the V_i of
// the sweep before,
//
//   f(W, V, Λ, V̂) = L + Σ ξ_i ‖V_i − V̂_i‖²
//   L = c ℓ(V_N, Y) + Σ r_i(W_i) + Σ (β_i/2 ‖R_i‖² + ⟨Λ_i, R_i⟩),  r_i = λ_i/2 ‖·‖², σ_N = identity
//
// where, with T_i = V_i − Λ_i/β_i, the terms in R_i are β_i/2 ‖σ_i(…) − T_i‖² − ‖Λ_i‖²/(2β_i). A
// sweep minimises L, with that norm majorised, over W_N, …, W_1, then V_1, …, V_N, and ends with
// Λ_i += β_i R_i. Zeng, Lin, Yao, Zhou (JMLR 22, 2021), Algorithm 1; Xu, Bao, Xing (2022),
// equation (4); the measures are our own algebra.
//
// The weights all meet the V and Λ of the sweep before: pass i collects the sums for W_i. Then pass
// i does V_i of every sample and, since neither V_i nor Λ_i is asked for again, Λ_i. T_i has its
// old value wherever it is used, so h_i is one number a sweep.
//
// Flops of a sweep per sample and weight of a square layer: 3 for W_i (E Vᵀ, V Vᵀ; what it needs of
// Z_i = W_i V_{i−1} + b_i1ᵀ is kept from the sweep before, else 2 more), 8 for V_i (Z_i, W_{i+1}V_i
// and two in the hidden block). Measured, 4 more: E Vᵀ and WᵀE at the new point for dist(0, ∂f).
// The decrease needs W ΔV and ΔW V. Where steps are long they are differences of products that a
// sweep has or is about to need, else 4 more; so too where products are not kept.
#pragma once

#include "amcore/block/hidden.hpp"
#include "amcore/block/majorized.hpp"
#include "amcore/block/output.hpp"
#include "amcore/measure/admm.hpp"
#include "amcore/pass/forward.hpp"
#include "amcore/pass/product_cache.hpp"
#include "amcore/pass/weight_sums.hpp"
#include "amcore/scheme/declaration.hpp"
#include "amcore/scheme/scheme.hpp"

namespace amcore {

struct AdmmOptions {
  std::vector<double> beta, xi;  // one per layer
  bool tight;                    // the least majorisers known, else the published ones
  bool backprop;                 // Λ starts from the derivatives of the loss, else from 0

  template <class Visit> void each(Visit&& option) {
    option("beta", beta, Range::positive);
    option("xi", xi, Range::nonnegative);
    option("tight", tight);
    option("backprop", backprop);
  }
};

template <class T> class ADMM final : public Scheme {
 public:
  using Options = AdmmOptions;

  static Declaration declaration() {
    return {.variables = {{"W"}, {"b"}, {"V"}, {"Lambda"}, {"V_old"}},
            .ridge = true,
            .identity_output = true};
  }

  ADMM(const Problem<T>& problem, Options options, const Execution& execution)
      : task_(problem, execution, 15),
        options_(std::move(options)),
        pass_(task_, Array::count),
        sums_(task_),
        weight_step_(task_),
        hidden_(task_.hidden_out, task_.hidden_in, task_.threads),
        packed_(task_),
        products_(task_, execution.keep_products),
        h_(task_.depth()),
        measure_(task_, options_.beta, options_.xi) {}

  void forward() override {
    forward_state(task_, pass_, [&](std::size_t i) { return packed_.pack(i); });
    for (std::size_t i = task_.depth(); i-- > 0;) start_multipliers(i);
  }

  const Report& sweep(bool measure) override {
    Ledger& ledger = measure_.ledger;
    ledger.begin();
    ledger.time(Phase::pass, [&] {
      for (std::size_t i = 0; i < task_.depth(); ++i) h_[i] = curvature(i);
    });
    for (std::size_t i = task_.depth(); i-- > 0;) {
      ledger.time(Phase::pass, [&] { weight_pass(i); });
      ledger.time(Phase::weight, [&] { update_weights(i, measure); });
    }
    for (std::size_t i = 0; i < task_.depth(); ++i) {
      ledger.time(Phase::factor, [&] { prepare_pass(i, measure); });
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
  using Array = AdmmArray;
  using Phase = typename AdmmMeasure<T>::Phase;
  using Tally = typename AdmmMeasure<T>::Tally;
  using Values = typename AdmmMeasure<T>::Values;

  // out ← T_i
  void multiplied(std::size_t i, Tile tile, T* out) const {
    const Layer<T>& l = task_.layers[i];
    const T *const v = l.of(l.V, tile), *const lambda = l.of(l.Lambda, tile);
    const T share = static_cast<T>(1 / options_.beta[i]);
    for (Index k = 0; k < tile.size * l.out; ++k) out[k] = v[k] - share * lambda[k];
  }

  double curvature(std::size_t i) {
    const Activation<T>& sigma = *task_.layers[i].activation;
    const Majorizer majorizer = options_.tight ? sigma.majorizer() : sigma.published_majorizer();
    if (!(majorizer.slope > 0)) return majorizer(0);
    return majorizer(pass_.greatest(i, [&](Tile tile, const Workspace<T>& array) {
      T* const target = array[Array::target];
      multiplied(i, tile, target);
      return distance_from(tile.size * task_.layers[i].out, target, majorizer.center);
    }));
  }

  // The sums for W_i, of the majorised target − Z_i.
  void weight_pass(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    packed_.pack(i);
    products_.begin(i);
    sums_.begin(i);
    pass_(i, [&](Index chunk, Tile tile, Tally&, const Workspace<T>& array) {
      T* const residual = array[Array::residual];
      const T* const z = product(i, tile, array);
      for_each_slice<T>(tile, l.out, [&](Tile slice, Index at) {
        const Index size = slice.size * l.out;
        T* const target = array[Array::target];
        multiplied(i, slice, target);
        majorized_target(size, *l.activation, z + at, target, h_[i], array[Array::value],
                         array[Array::slope], residual + at);
        for (Index k = at; k < at + size; ++k) residual[k] -= z[k];
      });
      sums_.add(chunk, tile.size, residual, task_.below(i, tile), array.panels);
    });
    sums_.reduce(i);
  }

  void update_weights(std::size_t i, bool measure) {
    if (measure) measure_.before_weights(i);
    const BlockStep moved = weight_step_(i, sums_, options_.beta[i] * h_[i], 0, {});
    measure_.after_weights(i, measure, moved);
  }

  // Pack what pass i multiplies with.
  void prepare_pass(std::size_t i, bool measure) {
    packed_.pack(i);
    if (i == 0) products_.begin(0);
    if (i + 1 < task_.depth()) {
      const Layer<T>& above = task_.layers[i + 1];
      products_.begin(i + 1);
      hidden_.prepare(above.out, above.in, above.W, options_.beta[i],
                      options_.beta[i + 1] * h_[i + 1], static_cast<int>(i) + 1, task_.threads);
    }
    if (measure) measure_.begin_pass(i);
  }

  // V_i and Λ_i of every sample.
  void update_pass(std::size_t i, bool measure) {
    const Tally tally = pass_(
        i, [&](Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) -> const char* {
          return update_tile(i, measure, chunk, tile, sums, array);
        });
    measure_.end_sweep_pass(i, tally, measure);
  }

  // One tile of pass i; returns the block whose values are not finite, before they are written.
  const char* update_tile(std::size_t i, bool measure, Index chunk, Tile tile, Tally& tally,
                          const Workspace<T>& array) {
    const Layer<T>& here = task_.layers[i];
    const Index t = tile.size, size = t * here.out;
    const double beta = options_.beta[i];
    T *const V = here.of(here.V, tile), *const V_old = here.of(here.V_old, tile),
             *const Lambda = here.of(here.Lambda, tile);
    T *const sigma = array[Array::sigma], *const s = array[Array::s], *const v = array[Array::v],
             *const lambda = array[Array::lambda];

    const bool measure_first = measure && i == 0 && !here.activation->is_identity();
    const T* const old =
        measure_first ? measure_.old_first_product(tile, products_, array) : nullptr;
    const T* const z = product(i, tile, array);
    if (measure_first) {
      T* const target = array[Array::gap_target];
      multiplied(0, tile, target);
      measure_.first_weights(tile, h_[0], target, z, old, tally, array);
    }

    // V_i is drawn to S = σ_i(Z_i) + Λ_i/β_i.
    const T share = static_cast<T>(1 / beta);
    for_each_slice<T>(tile, here.out, [&](Tile slice, Index at) {
      const Index count = slice.size * here.out;
      here.activation->value(count, z + at, sigma + at);
      for (Index k = at; k < at + count; ++k) s[k] = sigma[k] + share * Lambda[k];
    });
    if (task_.is_top(i)) {
      output_update(here.out, t, task_.loss, task_.loss_weight, task_.targets(tile), s, V, beta, 0,
                    array[Array::scratch], v);
      if (!all_finite(size, v)) return "V";
      if (measure) measure_.step_output(tile, s, v, tally);
    } else {
      const char* const failed = update_hidden(i, measure, tile, s, v, tally, array);
      if (failed) return failed;
    }

    const char* failed = nullptr;
    for_each_slice<T>(tile, here.out, [&](Tile slice, Index at) {
      const Index count = slice.size * here.out;
      for (Index k = at; k < at + count; ++k)
        lambda[k] = Lambda[k] + static_cast<T>(beta) * (sigma[k] - v[k]);
      if (!all_finite(count, lambda + at)) failed = "Lambda";
      measure_.old_memory(i, slice, tally);
      measure_.objective(i, slice, sigma + at, {v + at, lambda + at, V + at}, tally, array);
    });
    if (failed) return failed;
    if (measure) measure_.distance(i, chunk, tile, z, sigma, {v, lambda, V}, tally, array);
    std::copy_n(V, size, V_old);
    std::copy_n(v, size, V);
    std::copy_n(lambda, size, Lambda);
    return nullptr;
  }

  // v ← argmin β_i/2‖v − s‖² + β_{i+1}h/2‖W_{i+1} v + b_{i+1}1ᵀ − target‖², majorised at V_i.
  const char* update_hidden(std::size_t i, bool measure, Tile tile, const T* s, T* v, Tally& tally,
                            const Workspace<T>& array) {
    const Layer<T>&here = task_.layers[i], &above = task_.layers[i + 1];
    const double h = h_[i + 1];
    T *const z = array[Array::product_above], *const target = array[Array::target],
             *const value = array[Array::value], *const slope = array[Array::slope],
             *const residual = array[Array::residual];
    affine(above, tile.size, hidden_.weights(), here.of(here.V, tile), z, array.panels);
    for_each_slice<T>(tile, above.out, [&](Tile slice, Index at) {
      multiplied(i + 1, slice, target + at);
      majorized_target(slice.size * above.out, *above.activation, z + at, target + at, h,
                       value + at, slope + at, residual + at);
    });
    hidden_.update(tile.size, s, residual, above.b, residual, v, array.panels.right.data());
    if (!all_finite(tile.size * here.out, v)) return "V";
    if (measure)
      measure_.step_hidden(i, tile, h, v, z, target, value, slope, hidden_, products_, tally,
                           array);
    return nullptr;
  }

  void measuring_pass(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    packed_.pack(i);
    products_.begin(i);
    measure_.begin_distance(i);
    const Tally tally =
        pass_(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) {
          T* const sigma = array[Array::sigma];
          const T* const z = product(i, tile, array);
          const Values now{l.of(l.V, tile), l.of(l.Lambda, tile), l.of(l.V_old, tile)};
          l.activation->value(tile.size * l.out, z, sigma);
          measure_.objective(i, tile, sigma, now, sums, array);
          measure_.distance(i, chunk, tile, z, sigma, now, sums, array);
        });
    measure_.end_pass(i, tally, true);
  }

  // Z_i of a tile; W_i packed.
  const T* product(std::size_t i, Tile tile, const Workspace<T>& array) {
    return products_.get(i, tile, packed_.data(), task_.below(i, tile), array[Array::product],
                         array.panels);
  }

  // V̂_i ← V_i;  Λ_i ← 0, or Λ_N = c ∇ℓ(V_N), Λ_i = W_{i+1}ᵀ(Λ_{i+1} ⊙ σ'_{i+1}(W_{i+1} V_i))
  void start_multipliers(std::size_t i) {
    const Layer<T>& here = task_.layers[i];
    const bool top = task_.is_top(i);
    if (!top && options_.backprop) {
      const Layer<T>& above = task_.layers[i + 1];
      hidden_.pack(above.out, above.in, above.W, task_.threads);
    }
    pass_(i, [&](Index, Tile tile, Tally&, const Workspace<T>& array) {
      const Index t = tile.size, size = t * here.out;
      const T* const v = here.of(here.V, tile);
      T* const lambda = here.of(here.Lambda, tile);
      std::copy_n(v, size, here.of(here.V_old, tile));
      if (!options_.backprop) {
        std::fill_n(lambda, size, T(0));
      } else if (top) {
        task_.loss.gradient(here.out, t, v, task_.targets(tile), Side::right, lambda);
        for (Index k = 0; k < size; ++k) lambda[k] *= static_cast<T>(task_.loss_weight);
      } else {
        const Layer<T>& above = task_.layers[i + 1];
        const T* const lambda_above = above.of(above.Lambda, tile);
        T *const z = array[Array::product_above], *const outer = array[Array::slope];
        affine(above, t, hidden_.weights(), v, z, array.panels);
        above.activation->derivative(t * above.out, z, Side::right, outer);
        for (Index k = 0; k < t * above.out; ++k) outer[k] *= lambda_above[k];
        hidden_.apply_transposed(t, outer, lambda, array.panels.right.data());
      }
    });
    if (!all_finite(here.out * task_.samples, here.Lambda))
      throw NumericalError("the start of the multipliers is not finite", static_cast<int>(i) + 1,
                           "Lambda");
  }

  const Task<T> task_;
  const Options options_;
  Pass<T, AdmmSum::count> pass_;
  WeightSums<T> sums_;
  WeightStep<T> weight_step_;
  HiddenBlock<T> hidden_;
  PackedLayer<T> packed_;     // W_i
  ProductCache<T> products_;  // Z_i
  std::vector<double> h_;     // of this sweep, by layer
  AdmmMeasure<T> measure_;
};

}  // namespace amcore
