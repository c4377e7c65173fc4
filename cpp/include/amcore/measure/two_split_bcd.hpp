// What two-splitting measures (scheme/two_split_bcd.hpp): the terms of f and the decrease on the
// way, dist(0, ∂f) in passes of its own, E Vᵀ and Wᵀ E, 4 flops per sample and weight, and what is
// not kept of Z_i, twice.
#pragma once

#include "amcore/measure/ledger.hpp"
#include "amcore/measure/output_distance.hpp"
#include "amcore/measure/weight_distance.hpp"
#include "amcore/pass/majorized_weights.hpp"

namespace amcore {

// Sums over samples of one pass; the names say of which layer: here = i, above = i + 1.
struct TwoSplitSum {
  enum : std::size_t {
    loss,
    regularizer_v,
    fit_here,
    fit_above,
    distance_v,
    step_v,
    decrease_v,
    pattern_changes,
    rejected,    // samples
    unfinished,  // tiles that are not final at once
    count
  };
};

// Arrays of a tile.
struct TwoSplitArray : MajorizedArray {
  enum : std::size_t {
    s = MajorizedArray::count,
    v,
    some_from,  // of the samples that are left to move, close together
    some_z,
    some_goal,
    step,
    product,
    count,
    // of a state as it is
    fit = value,
    outer = slope,
    fit_above = difference,
    outer_above = change,
    pulled = moved,
    left = change,
    right = moved
  };
};

template <class T> class TwoSplitMeasure {
 public:
  using Sum = TwoSplitSum;
  using Array = TwoSplitArray;
  using Tally = std::array<double, Sum::count>;
  struct Block {
    enum : std::size_t { W, V };
  };
  struct Phase {
    enum : std::size_t { pass, factor, weight, measuring };
  };

  TwoSplitMeasure(const Task<T>& task, std::vector<double> gamma, double alpha)
      : ledger(task.depth(), task.regularizes_activations(),
               {.terms = {"activation"},
                .distance = {blocks(), blocks()},
                .step = {blocks(), blocks()},
                .phases = {"pass", "factor", "weight", "measure"},
                .output = "V",
                .kinks = task.has_kinks()}),
        task_(task),
        gamma_(std::move(gamma)),
        alpha_(alpha),
        weight_distance_(task),
        direction_(task.in) {
    // Positive, and by Lindemann and Weierstrass not orthogonal to any vector of rationals but 0.
    for (Index k = 0; k < task.in; ++k)
      direction_.data()[k] = 2 + std::sin(1 + static_cast<double>(k));
  }

  void begin() {
    ledger.begin();
    for (std::size_t i = 0; i < task_.depth(); ++i) end_weights(i);
  }

  // V_N moves to v.
  void step_output(Tile tile, const T* s, const T* v, Tally& tally) const {
    const Layer<T>& l = task_.layers.back();
    const T *const y = task_.targets(tile), *const V = l.of(l.V, tile);
    const BlockStep moved =
        output_step(l.out, tile.size, task_.loss, task_.loss_weight, y, s, V, v, gamma_.back());
    tally[Sum::step_v] += moved.squared_step;
    tally[Sum::decrease_v] += moved.decrease;
    tally[Sum::loss] += task_.loss_weight * task_.loss.value(l.out, tile.size, v, y);
    if (l.activation_regularizer) {
      tally[Sum::decrease_v] += l.activation_regularizer->difference(tile.size, l.out, V, v);
      tally[Sum::regularizer_v] += l.activation_regularizer->value(tile.size, l.out, v);
    }
  }
  void end_output(const Tally& tally) {
    LayerEntries& entries = ledger[task_.depth() - 1];
    ledger.loss = tally[Sum::loss];
    entries.regularizer_v = tally[Sum::regularizer_v];
    entries.step[Block::V] = tally[Sum::step_v];
    entries.decrease += tally[Sum::decrease_v];
  }

  // A sample of V_i, i < N, has lowered f by `gain` less α/2 of its squared step.
  void step_sample(double gain, Tally& tally) const { tally[Sum::decrease_v] += gain; }
  void step_v(double squared, Tally& tally) const {
    tally[Sum::step_v] += squared;
    tally[Sum::decrease_v] += alpha_ / 2 * squared;
  }
  // Z_{i+1} of a sample moves from z to moved.
  void step_above(std::size_t i, const T* z, const T* moved, Tally& tally) const {
    const Layer<T>& above = task_.layers[i + 1];
    tally[Sum::pattern_changes] += above.activation->pattern_changes(above.out, z, moved);
  }
  // V_i of a tile is final.
  void final_v(std::size_t i, Tile tile, Tally& tally) const {
    const Layer<T>& here = task_.layers[i];
    if (here.activation_regularizer)
      tally[Sum::regularizer_v] +=
          here.activation_regularizer->value(tile.size, here.out, here.of(here.V, tile));
  }
  // The fit of layer i + 1 of a slice, at z = Z_{i+1}; fit: scratch.
  void fit_above(std::size_t i, Tile slice, const T* z, T* fit, Tally& tally) const {
    tally[Sum::fit_above] += gamma_[i + 1] / 2 * squared_fit(i + 1, slice, z, fit);
  }
  // The same for σ_{i+1} = identity, of n entries.
  void linear_above(std::size_t i, Index n, const T* goal, const T* z, Tally& tally) const {
    tally[Sum::fit_above] += gamma_[i + 1] / 2 * squared_difference(n, goal, z);
  }
  void end_hidden(std::size_t i, const Tally& tally) {
    LayerEntries& entries = ledger[i];
    entries.regularizer_v = tally[Sum::regularizer_v];
    entries.step[Block::V] = tally[Sum::step_v];
    entries.decrease += tally[Sum::decrease_v];
    ledger[i + 1].terms[0] = tally[Sum::fit_above];
    ledger.pattern_changes += tally[Sum::pattern_changes];
  }

  // After the update of (W_i, b_i), which writes its step and its decrease into the ledger.
  void end_weights(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    ledger[i].regularizer_w = l.regularizer->value(l.out, l.in, l.W);
  }

  // The fit of layer 1, final since W_1 is; fit: scratch.
  void closing(Tile tile, const T* z, T* fit, Tally& tally) const {
    const Layer<T>& l = task_.layers[0];
    const double half = gamma_[0] / 2;
    if (l.activation->is_identity()) {
      tally[Sum::fit_here] += half * squared_difference(tile.size * l.out, l.of(l.V, tile), z);
      return;
    }
    for_each_slice<T>(tile, l.out, [&](Tile slice, Index at) {
      tally[Sum::fit_here] += half * squared_fit(0, slice, z + at, fit);
    });
  }
  void end_closing(const Tally& tally) { ledger[0].terms[0] = tally[Sum::fit_here]; }

  // dist(0, ∂f) in the blocks of layer i, and its terms, at the state as it is.
  void begin_state(std::size_t i) { weight_distance_.begin(i); }
  // z: Z_i.
  void state(std::size_t i, Index chunk, Tile tile, const T* z, Tally& tally,
             const Workspace<T>& array) {
    const Layer<T>& here = task_.layers[i];
    const Index t = tile.size, size = t * here.out;
    T *const fit = array[Array::fit], *const outer = array[Array::outer];
    error(i, tile, z, fit, outer, array[Array::left]);
    tally[Sum::fit_here] += gamma_[i] / 2 * sum_of_squares(size, fit);
    weight_distance_.add(chunk, t, outer, task_.below(i, tile), array.panels);
    const T* const v = here.of(here.V, tile);
    if (here.activation_regularizer)
      tally[Sum::regularizer_v] += here.activation_regularizer->value(t, here.out, v);
    if (!task_.is_top(i)) return;
    tally[Sum::loss] += task_.loss_weight * task_.loss.value(here.out, t, v, task_.targets(tile));
    tally[Sum::distance_v] +=
        output_distance(task_, tile, v, fit, gamma_[i], array[Array::left], array[Array::right]);
  }
  // After that, of V_i, i < N; z: Z_{i+1}; weights: W_{i+1}.
  void state_hidden(std::size_t i, Tile tile, const T* z, const PackedWeights<T>& weights,
                    Tally& tally, const Workspace<T>& array) {
    const Layer<T>& here = task_.layers[i];
    const Index t = tile.size, size = t * here.out;
    const T *const v = here.of(here.V, tile), *const fit = array[Array::fit];
    // γ_i(V_i − σ(Z_i)) + γ_{i+1} W_{i+1}ᵀE_{i+1}
    T *const outer = array[Array::outer_above], *const pulled = array[Array::pulled];
    error(i + 1, tile, z, array[Array::fit_above], outer, pulled);
    weights.apply_transposed(t, outer, pulled, array.panels.right.data());
    const double gamma = gamma_[i], gamma_above = gamma_[i + 1];
    for (Index k = 0; k < size; ++k)
      pulled[k] = static_cast<T>(gamma * fit[k] - gamma_above * pulled[k]);
    const Regularizer<T>* const regularizer = here.activation_regularizer;
    tally[Sum::distance_v] += regularizer ? regularizer->squared_distance(t, here.out, v, pulled)
                                          : sum_of_squares(size, pulled);
  }
  // After a sweep the terms are known.
  void end_state(std::size_t i, const Tally& tally, bool swept) {
    LayerEntries& entries = ledger[i];
    entries.distance = {weight_distance_.squared(i, gamma_[i]), tally[Sum::distance_v]};
    if (swept) return;
    entries.terms[0] = tally[Sum::fit_here];
    entries.regularizer_v = tally[Sum::regularizer_v];
    ledger.loss += tally[Sum::loss];
  }

  const Report& report(bool measured, bool swept) {
    return ledger.report(ledger.sum(1), ledger.squared_distance(), measured, swept);
  }

  Ledger ledger;

 private:
  static std::vector<const char*> blocks() { return {"W", "V"}; }

  // ‖V_i − σ(Z_i)‖² of a slice; fit: scratch.
  double squared_fit(std::size_t i, Tile slice, const T* z, T* fit) const {
    const Layer<T>& l = task_.layers[i];
    const Index size = slice.size * l.out;
    const T* const v = l.of(l.V, slice);
    l.activation->value(size, z, fit);
    for (Index k = 0; k < size; ++k) fit[k] = v[k] - fit[k];
    return sum_of_squares(size, fit);
  }

  // fit ← V_i − σ(Z_i);  outer ← −E_i = fit⊙σ'(Z_i);  scratch: another array
  void error(std::size_t i, Tile tile, const T* z, T* fit, T* outer, T* scratch) const {
    const Layer<T>& l = task_.layers[i];
    const Index size = tile.size * l.out;
    const T* const v = l.of(l.V, tile);
    l.activation->value_and_derivative(size, z, fit, outer);
    if (!l.b && l.activation->has_kinks()) take_sides(i, tile, z, outer, scratch);
    for (Index k = 0; k < size; ++k) {
      fit[k] = v[k] - fit[k];
      outer[k] *= fit[k];
    }
  }

  // slope ← σ_i' at kinks from the sides on which Z_i lies at one and the same point nearby, so
  // that what becomes of it is a member of ∂f. With a bias all entries can lie on the right;
  // without one W_i moves by ε1dᵀ and V_{i−1} by ε²d1ᵀ, which changes W_{i,k} v_j by ε d·v_j + ε²
  // W_{i,k}·d + ….
  void take_sides(std::size_t i, Tile tile, const T* z, T* slope, T* left) const {
    const Layer<T>& l = task_.layers[i];
    l.activation->derivative(tile.size * l.out, z, Side::left, left);
    const auto along = [&](const T* x) {
      return sum(l.in, [&](Index k) { return direction_.data()[k] * x[k]; });
    };
    for (Index j = 0; j < tile.size; ++j) {
      T *const right_j = slope + j * l.out, *const left_j = left + j * l.out;
      if (std::equal(left_j, left_j + l.out, right_j)) continue;
      const double first = along(task_.below(i, tile) + j * l.in);
      for (Index k = 0; k < l.out; ++k)
        if (left_j[k] != right_j[k] && (first != 0 ? first : along(l.W + k * l.in)) < 0)
          right_j[k] = left_j[k];
    }
  }

  const Task<T>& task_;
  const std::vector<double> gamma_;
  const double alpha_;
  WeightDistance<T> weight_distance_;
  Buffer<double> direction_;  // d
};

}  // namespace amcore
