// Three-splitting block coordinate descent, with or without skip connections:
//
//   f(W, U, V) = c ℓ(V_N, Y) + Σ r_i(W_i) + Σ s_i(V_i)
//                + Σ γ_i/2 ‖V_i − [V_{i−1}] − σ_i(U_i)‖² + Σ ρ_i/2 ‖U_i − W_i V_{i−1} − b_i1ᵀ‖²
//
// A sweep minimises over V_N, U_N, W_N, then V_i, U_i, W_i for i = N−1, …, 1, always with the
// newest values, with a proximal weight α on V_N, U_i and (W_i, b_i) (none on U_N where σ_N is the
// identity). Every s_i is a sum over samples. Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2; Xu,
// Bao, Xing (2022), equations (3) and (6).
//
// Everything per sample between two weight updates is one pass over tiles of samples: pass N does
// V_N and U_N, pass i does V_i and U_i and collects the sums for W_i; pass 0 takes the residual of
// layer 1. An array of the state is read and written once a pass. What is final only after V_{i−1}
// is known (P_i = W_i V_{i−1} + b_i1ᵀ, the residual U_i − P_i, and with a skip connection the fit)
// is measured in pass i−1; P_i is kept for pass i of the next sweep, which begins with it.
//
// Flops of a sweep per layer, square with width d and n samples: W_{i+1}S 2, K(·) 2, P_{i+1} 2, the
// sums for W_i 2 + 1: 9 n d² (11 if P is not kept; the first layer, whose Gram matrix is constant,
// 4, less the zero rows of the input). A measurement adds 2 for the gradient of the weights and,
// where steps are short, 1 for the decrease of V_i.
//
// The state is all there is between two sweeps: nothing is kept that would outlast a change of its
// arrays, except the Gram matrix of the input.
#pragma once

#include "amcore/measure/three_split_bcd.hpp"
#include "amcore/pass/activation_update.hpp"
#include "amcore/pass/forward.hpp"
#include "amcore/pass/product_cache.hpp"
#include "amcore/pass/skip.hpp"
#include "amcore/pass/weight_sums.hpp"
#include "amcore/scheme/declaration.hpp"
#include "amcore/scheme/scheme.hpp"

namespace amcore {

struct ThreeSplitOptions {
  std::vector<double> gamma, rho;  // one per layer
  double alpha;
  InnerLoop inner{};  // of the blocks that are not minimised exactly

  template <class Visit> void each(Visit&& option) {
    option("gamma", gamma, Range::positive);
    option("rho", rho, Range::positive);
    option("alpha", alpha, Range::positive);
    option(inner);
  }
};

template <class T> class ThreeSplitBCD final : public Scheme {
 public:
  using Options = ThreeSplitOptions;

  static Declaration declaration() {
    return {
        .variables = {{"W"}, {"b"}, {"U"}, {"V"}}, .skip = true, .activation_regularizers = true};
  }

  ThreeSplitBCD(const Problem<T>& problem, Options options, const Execution& execution)
      : task_(problem, execution, 9),
        options_(std::move(options)),
        pass_(task_, Array::count),
        sums_(task_),
        weight_step_(task_),
        hidden_(task_.hidden_out, task_.hidden_in, task_.threads),
        packed_(task_),
        products_(task_, execution.keep_products),
        measure_(task_, options_.gamma, options_.rho, options_.alpha) {}

  void forward() override {
    forward_state(task_, pass_, [&](std::size_t i) { return packed_.pack(i); });
  }

  const Report& sweep(bool measure) override {
    Ledger& ledger = measure_.ledger;
    measure_.begin();
    for (std::size_t i = task_.depth(); i-- > 0;) {
      ledger.time(Phase::factor, [&] { prepare_pass(i); });
      ledger.time(Phase::pass, [&] { update_pass(i, measure); });
      ledger.time(Phase::weight, [&] { update_weights(i, measure); });
    }
    ledger.time(Phase::factor, [&] {
      packed_.pack(0);
      products_.begin(0);
    });
    ledger.time(Phase::pass, [&] { closing_pass(measure); });
    return measure_.report(measure, true);
  }

  const Report& measure() override {
    measure_.begin();
    for (std::size_t i = 0; i < task_.depth(); ++i)
      measure_.ledger.time(Phase::pass, [&] { measuring_pass(i); });
    return measure_.report(true, false);
  }

 private:
  using Array = ThreeSplitArray;
  using Phase = typename ThreeSplitMeasure<T>::Phase;
  using Tally = typename ThreeSplitMeasure<T>::Tally;

  double alpha_u(std::size_t i) const {
    return task_.is_top(i) && task_.layers[i].activation->is_identity() ? 0 : options_.alpha;
  }

  void prepare_pass(std::size_t i) {
    packed_.pack(i);
    products_.begin(i);
    if (task_.is_top(i)) return;
    products_.begin(i + 1);
    prepare_hidden(task_, i, pull(task_, options_.gamma, i), options_.rho[i + 1], hidden_);
  }

  // V_i and U_i of every sample, the sums for W_i, and what becomes final of layer i+1.
  void update_pass(std::size_t i, bool measure) {
    sums_.begin(i);
    if (measure) measure_.begin_pass(i);
    const Tally tally = pass_(
        i, [&](Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) -> const char* {
          const char* const failed = task_.is_top(i)
                                         ? update_top(measure, tile, sums, array)
                                         : update_hidden(i, measure, chunk, tile, sums, array);
          return failed ? failed : update_preactivation(i, measure, chunk, tile, sums, array);
        });
    measure_.end_pass(i, tally, measure, hidden_.weights());
    sums_.reduce(i);
  }

  // The steps of a pass on one tile. Each returns the block whose values are not finite, before
  // they are written, else null. The new V_i is handed on in its array.
  const char* update_top(bool measure, Tile tile, Tally& tally, const Workspace<T>& array) const {
    const std::size_t i = task_.depth() - 1;
    T *const s = array[Array::residual], *const v = array[Array::v];
    fit_target(task_, i, tile, s);
    const char* const failed =
        update_output(task_, tile, s, options_.gamma[i], options_.alpha, options_.inner, array,
                      array[Array::product], array[Array::step], v);
    if (!failed) measure_.step_output(measure, tile, s, v, tally);
    return failed;
  }

  const char* update_hidden(std::size_t i, bool measure, Index chunk, Tile tile, Tally& tally,
                            const Workspace<T>& array) {
    const Layer<T>&here = task_.layers[i], &above = task_.layers[i + 1];
    const Regularizer<T>* const regularizer = here.activation_regularizer;
    const bool inexact = here.is_inexact();
    const Index t = tile.size;
    const double pull_v = pull(task_, options_.gamma, i), ridge = here.ridge_v();
    const T* const u_above = above.of(above.U, tile);
    T* const v = array[Array::v];
    T* const s = inexact || (measure && measure_.by_difference(i)) ? array[Array::s] : v;
    T *const residual = array[Array::residual], *const fit = array[Array::fit],
             *const panels = array.panels.right.data();

    const T into_above = static_cast<T>(options_.gamma[i + 1] / pull_v);
    const T shrink = static_cast<T>(pull_v / (pull_v + ridge));
    const char* failed = nullptr;
    for_each_slice<T>(tile, here.out, [&](Tile slice, Index at) {
      const Index size = slice.size * here.out;
      fit_target(task_, i, slice, s + at);
      if (above.skip) {  // S ← (γ_i S + γ_{i+1}(V_{i+1} − σ(U_{i+1})))/(γ_i + γ_{i+1})
        beyond_activation(above, slice, fit + at);
        for (Index k = at; k < at + size; ++k) s[k] += into_above * (fit[k] - s[k]);
      }
      if (ridge > 0)
        for (Index k = at; k < at + size; ++k) s[k] *= shrink;
      // Steps that go nowhere would hide it.
      if (regularizer && !all_finite(size, s + at)) failed = "V";
    });
    if (failed) return failed;
    if (inexact) {
      std::copy_n(here.of(here.V, tile), t * here.out, v);
      hidden_.residual(t, v, u_above, above.b, residual, panels);
      hidden_.update(t, s, residual, v, panels, *regularizer, options_.inner, array.steps);
    } else {
      hidden_.update(t, s, u_above, above.b, residual, v, panels);
    }
    const T* const p =
        products_.get(i + 1, tile, hidden_.weights(), v, array[Array::product], array.panels);
    return measure_.step_hidden(i, measure, chunk, tile, v, p, hidden_, tally, array);
  }

  // U_i against its target V_i [− V_{i−1}], from P_i; the sums for W_i.
  const char* update_preactivation(std::size_t i, bool measure, Index chunk, Tile tile,
                                   Tally& tally, const Workspace<T>& array) {
    const Layer<T>& here = task_.layers[i];
    const T* const below = task_.below(i, tile);
    T* const residual = array[Array::residual];
    const T* const p =
        products_.get(i, tile, packed_.data(), below, array[Array::product], array.panels);
    const char* failed = nullptr;
    for_each_slice<T>(tile, here.out, [&](Tile slice, Index at) {
      const Index size = slice.size * here.out;
      T *const U = here.of(here.U, slice), *const u = array[Array::u];
      const T* const v = array[Array::v] + at;
      const T* const target = fitted(here, size, v, below + at, array[Array::target]);
      const double fit =
          here.activation->preactivation_update(size, target, p + at, U, options_.gamma[i],
                                                options_.rho[i], alpha_u(i), u, residual + at);
      if (!all_finite(size, residual + at)) {
        failed = "U";
        return;
      }
      measure_.step_preactivation(i, measure, slice, at, v, target, p + at, u, fit, tally, array);
      std::copy_n(u, size, U);
      std::copy_n(v, size, here.of(here.V, slice));
    });
    if (failed) return failed;
    sums_.add(chunk, tile.size, residual, below, array.panels);
    return nullptr;
  }

  void update_weights(std::size_t i, bool measure) {
    if (measure) measure_.before_weights(i);
    measure_.after_weights(i, measure,
                           weight_step_(i, sums_, options_.rho[i], options_.alpha, options_.inner));
  }

  // P_1, with W_1 final.
  void closing_pass(bool measure) {
    if (measure) measure_.begin_closing();
    const Tally tally =
        pass_(0, [&](Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) {
          T* const residual = array[Array::residual];
          residual_of(0, tile, packed_.data(), residual, array);
          measure_.closing(measure, chunk, tile, residual, sums, array);
        });
    measure_.end_closing(tally, measure);
  }

  void measuring_pass(std::size_t i) {
    const bool top = task_.is_top(i);
    packed_.pack(i);
    products_.begin(i);
    if (!top) {
      const Layer<T>& above = task_.layers[i + 1];
      hidden_.pack(above.out, above.in, above.W, task_.threads);
      products_.begin(i + 1);
    }
    measure_.begin_state(i);
    const Tally tally =
        pass_(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) {
          T *const residual = array[Array::residual], *const above = array[Array::residual_above];
          residual_of(i, tile, packed_.data(), residual, array);
          if (!top) residual_of(i + 1, tile, hidden_.weights(), above, array);
          measure_.state(i, chunk, tile, residual, above, hidden_, sums, array);
        });
    measure_.end_state(i, tally);
  }

  // out ← U_i − b_i1ᵀ − W_i V_{i−1}
  void residual_of(std::size_t i, Tile tile, const T* packed, T* out, const Workspace<T>& array) {
    const Layer<T>& l = task_.layers[i];
    const T* const u = l.of(l.U, tile);
    const T* const p = products_.get(i, tile, packed, task_.below(i, tile), out, array.panels);
    for (Index k = 0; k < tile.size * l.out; ++k) out[k] = u[k] - p[k];
  }

  const Task<T> task_;
  const Options options_;
  Pass<T, ThreeSplitSum::count> pass_;
  WeightSums<T> sums_;
  WeightStep<T> weight_step_;
  HiddenBlock<T> hidden_;     // with W_{i+1} in pass i
  PackedLayer<T> packed_;     // W_i
  ProductCache<T> products_;  // P_i
  ThreeSplitMeasure<T> measure_;
};

}  // namespace amcore
