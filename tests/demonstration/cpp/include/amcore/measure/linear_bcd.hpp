// What the scheme for deep linear networks measures (scheme/linear_bcd.hpp).
//
// Steps and decreases come from the updates; the terms of f and dist(0, ∂f) from passes over the
// state as a sweep leaves it. A scheme in earnest takes them where its updates have the products.
#pragma once

#include "amcore/block/hidden.hpp"
#include "amcore/block/output.hpp"
#include "amcore/measure/ledger.hpp"
#include "amcore/measure/weight_distance.hpp"
#include "amcore/pass/pass.hpp"

namespace amcore {

// Sums over samples of a pass.
struct LinearBCDSum {
  enum : std::size_t { loss, linear, distance_v, step_v, decrease_v, count };
};
// Arrays of a tile.
struct LinearBCDArray {
  enum : std::size_t { residual, residual_above, product, value, step, through, count };
};

template <class T> class LinearBCDMeasure {
 public:
  using Sum = LinearBCDSum;
  using Array = LinearBCDArray;
  using Tally = std::array<double, Sum::count>;
  struct Phase {
    enum : std::size_t { weight, values, measure };
  };

  LinearBCDMeasure(const Task<T>& task, std::vector<double> gamma)
      : ledger(task.depth(), false,
               {.terms = {"linear"},
                .distance = {{"W", "V"}, {"W", "V"}},
                .step = {{"W", "V"}, {"W", "V"}},
                .phases = {"weight", "values", "measure"},
                .output = "V"}),
        task_(task),
        gamma_(std::move(gamma)),
        weight_distance_(task),
        above_(task.hidden_out, task.hidden_in) {}

  // E_i = V_i − W_i V_{i−1} − b_i1ᵀ of a tile, into its array; W_i packed.
  T* residual(std::size_t i, Tile tile, const T* packed, std::size_t name,
              const Workspace<T>& array) const {
    const Layer<T>& l = task_.layers[i];
    T *const V = l.of(l.V, tile), *const e = array[name];
    affine(l, tile.size, packed, task_.below(i, tile), e, array.panels);
    for (Index k = 0; k < tile.size * l.out; ++k) e[k] = V[k] - e[k];
    return e;
  }

  void weight_step(std::size_t i, const BlockStep& moved) {
    ledger[i].step[W] = moved.squared_step;
    ledger[i].decrease += moved.decrease;
  }
  // V_i of a tile moves to v. For i < N, of a quadratic to its minimiser, f falls by half its
  // curvature along the step. product: W_i V_{i−1} + b_i1ᵀ; weights: W_{i+1}.
  void value_step(std::size_t i, Tile tile, const T* product, const T* v,
                  const PackedWeights<T>& weights, Tally& tally, const Workspace<T>& array) const {
    const Layer<T>& l = task_.layers[i];
    T *const V = l.of(l.V, tile), *const step = array[Array::step];
    BlockStep moved;
    if (task_.is_top(i)) {
      moved = output_step(l.out, tile.size, task_.loss, task_.loss_weight, task_.targets(tile),
                          product, V, v, gamma_[i]);
    } else {
      T* const through = array[Array::through];
      for (Index k = 0; k < tile.size * l.out; ++k) step[k] = v[k] - V[k];
      weights.apply(tile.size, step, through, array.panels.right.data());
      moved.squared_step = sum_of_squares(tile.size * l.out, step);
      moved.decrease =
          gamma_[i] / 2 * moved.squared_step +
          gamma_[i + 1] / 2 * sum_of_squares(tile.size * task_.layers[i + 1].out, through);
    }
    tally[Sum::step_v] += moved.squared_step;
    tally[Sum::decrease_v] += moved.decrease;
  }
  void end_values(std::size_t i, const Tally& tally) {
    ledger[i].step[V] = tally[Sum::step_v];
    ledger[i].decrease += tally[Sum::decrease_v];
  }

  // The report on the state as it is, with distances if `measured`.
  const Report& state(Pass<T, Sum::count>& pass, const PackedLayer<T>& packed, bool measured,
                      bool swept) {
    ledger.time(Phase::measure, [&] {
      for (std::size_t i = 0; i < task_.depth(); ++i) layer(i, pass, packed.pack(i), measured);
    });
    return ledger.report(ledger.sum(1), ledger.squared_distance(), measured, swept);
  }

  Ledger ledger;

 private:
  enum : std::size_t { W, V };  // blocks

  void layer(std::size_t i, Pass<T, Sum::count>& pass, const T* packed, bool measured) {
    const Layer<T>& l = task_.layers[i];
    weight_distance_.begin(i);
    if (!task_.is_top(i)) {
      const Layer<T>& above = task_.layers[i + 1];
      above_.pack(above.out, above.in, above.W, task_.threads);
    }
    const Tally tally =
        pass(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) {
          const T* const e = residual(i, tile, packed, Array::residual, array);
          sums[Sum::linear] += gamma_[i] / 2 * sum_of_squares(tile.size * l.out, e);
          if (task_.is_top(i))
            sums[Sum::loss] +=
                task_.loss_weight *
                task_.loss.value(l.out, tile.size, l.of(l.V, tile), task_.targets(tile));
          if (!measured) return;
          weight_distance_.add(chunk, tile.size, e, task_.below(i, tile), array.panels);
          sums[Sum::distance_v] += distance(i, tile, e, array);
        });
    ledger.loss += tally[Sum::loss];
    ledger[i].regularizer_w = l.regularizer->value(l.out, l.in, l.W);
    ledger[i].terms[0] = tally[Sum::linear];
    if (measured)
      ledger[i].distance = {weight_distance_.squared(i, gamma_[i]), tally[Sum::distance_v]};
  }

  // dist² of V_i of a tile, whose gradient is γ_i E_i − γ_{i+1} W_{i+1}ᵀE_{i+1}, for i = N that of
  // c ℓ + γ_N/2‖E_N‖²; W_{i+1} in `above_`.
  double distance(std::size_t i, Tile tile, const T* e, const Workspace<T>& array) const {
    const Layer<T>& l = task_.layers[i];
    if (task_.is_top(i))
      return task_.loss.squared_distance(l.out, tile.size, l.of(l.V, tile), task_.targets(tile), e,
                                         gamma_[i], task_.loss_weight);
    const T* const e_above = residual(i + 1, tile, above_.weights(), Array::residual_above, array);
    T* const pull = array[Array::through];
    above_.apply_transposed(tile.size, e_above, pull, array.panels.right.data());
    return sum(tile.size * l.out, [&](Index k) {
      return square(gamma_[i] * static_cast<double>(e[k]) - gamma_[i + 1] * pull[k]);
    });
  }

  const Task<T>& task_;
  const std::vector<double> gamma_;
  WeightDistance<T> weight_distance_;
  PackedWeights<T> above_;
};

}  // namespace amcore
