// Block coordinate descent for deep linear networks, the model of a new scheme:
//
//   f(W, V) = c ℓ(V_N, Y) + Σ r_i(W_i) + Σ γ_i/2 ‖V_i − W_i V_{i−1} − b_i1ᵀ‖²,  V_0 = X, σ_i = id
//
// For i = 1, …, N, always with the newest values: (W_i, b_i) ← argmin f + α/2‖Δ‖², V_i ← argmin f.
#pragma once

#include "amcore/block/hidden.hpp"
#include "amcore/block/output.hpp"
#include "amcore/measure/linear_bcd.hpp"
#include "amcore/pass/forward.hpp"
#include "amcore/pass/weight_sums.hpp"
#include "amcore/scheme/declaration.hpp"
#include "amcore/scheme/scheme.hpp"

namespace amcore {

struct LinearBCDOptions {
  std::vector<double> gamma;  // one per layer
  double alpha;
  template <class Visit> void each(Visit&& option) {
    option("gamma", gamma, Range::positive);
    option("alpha", alpha, Range::positive);
  }
};

template <class T> class LinearBCD final : public Scheme {
 public:
  using Options = LinearBCDOptions;
  static Declaration declaration() {
    return {.variables = {{"W"}, {"b"}, {"V"}}, .ridge = true, .identity_output = true};
  }
  LinearBCD(const Problem<T>& problem, Options options, const Execution& execution)
      : task_(problem, execution, 24),
        options_(std::move(options)),
        pass_(task_, Array::count),
        sums_(task_),
        weight_step_(task_),
        packed_(task_),
        hidden_(task_.hidden_out, task_.hidden_in, task_.threads),
        measure_(task_, options_.gamma) {}

  void forward() override {
    forward_state(task_, pass_, [&](std::size_t i) { return packed_.pack(i); });
  }
  const Report& sweep(bool measure) override {
    measure_.ledger.begin();
    for (std::size_t i = 0; i < task_.depth(); ++i) {
      measure_.ledger.time(Phase::weight, [&] { update_weights(i); });
      measure_.ledger.time(Phase::values, [&] { update_values(i); });
    }
    return measure_.state(pass_, packed_, measure, true);
  }
  const Report& measure() override {
    measure_.ledger.begin();
    return measure_.state(pass_, packed_, true, false);
  }

 private:
  using Array = LinearBCDArray;
  using Phase = typename LinearBCDMeasure<T>::Phase;
  using Tally = typename LinearBCDMeasure<T>::Tally;

  void update_weights(std::size_t i) {
    packed_.pack(i);
    sums_.begin(i);
    pass_(i, [&](Index chunk, Tile tile, Tally&, const Workspace<T>& array) {
      T* const e = measure_.residual(i, tile, packed_.data(), Array::residual, array);
      sums_.add(chunk, tile.size, e, task_.below(i, tile), array.panels);
    });
    sums_.reduce(i);
    measure_.weight_step(i, weight_step_(i, sums_, options_.gamma[i], options_.alpha, {}));
  }

  void update_values(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    const Layer<T>* const above = task_.is_top(i) ? nullptr : &task_.layers[i + 1];
    const double gamma = options_.gamma[i], gamma_above = above ? options_.gamma[i + 1] : 0;
    packed_.pack(i);
    if (above)
      hidden_.prepare(above->out, above->in, above->W, gamma, gamma_above, static_cast<int>(i) + 1,
                      task_.threads);
    const auto body = [&](Index, Tile tile, Tally& tally, const Workspace<T>& array) {
      T *const V = l.of(l.V, tile), *const p = array[Array::product],
               *const v = array[Array::value];
      affine(l, tile.size, packed_.data(), task_.below(i, tile), p, array.panels);
      if (above)
        hidden_.update(tile.size, p, above->of(above->V, tile), above->b, array[Array::residual], v,
                       array.panels.right.data());
      else
        output_update(l.out, tile.size, task_.loss, task_.loss_weight, task_.targets(tile), p, V,
                      gamma, 0, array[Array::residual], v);
      if (!all_finite(tile.size * l.out, v)) return "V";
      measure_.value_step(i, tile, p, v, hidden_, tally, array);
      std::copy_n(v, tile.size * l.out, V);
      return static_cast<const char*>(nullptr);
    };
    measure_.end_values(i, pass_(i, body));
  }

  const Task<T> task_;
  const Options options_;
  Pass<T, LinearBCDSum::count> pass_;
  WeightSums<T> sums_;
  WeightStep<T> weight_step_;
  PackedLayer<T> packed_;
  HiddenBlock<T> hidden_;
  LinearBCDMeasure<T> measure_;
};

}  // namespace amcore
