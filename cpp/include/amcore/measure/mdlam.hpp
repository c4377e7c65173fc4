// What mDLAM measures (scheme/mdlam.hpp).
//
// Pass i finds the final E_i = U_i − P_i: with it come layer i's terms of F, the distances of
// U_{i−1} and V_{i−1}, which the constraint couples to one block, of W_i, and of U_N. E_{i−1} is
// carried from the last pass.
#pragma once

#include "amcore/block/constraint.hpp"
#include "amcore/block/output.hpp"
#include "amcore/measure/ledger.hpp"
#include "amcore/measure/weight_distance.hpp"
#include "amcore/pass/workspace.hpp"

namespace amcore {

// Sums over samples of pass i; "below" is layer i − 1.
struct MDLAMSum {
  enum : std::size_t {
    loss,
    linear,
    distance_below,
    distance_u,
    step_u,
    step_v,
    decrease,
    pattern_changes,
    count
  };
};

// Arrays of a tile. Those of the measurement lie where the update, which is over, has had its own.
struct MDLAMArray {
  enum : std::size_t {
    residual,  // E_i, handed on to the measurement
    product,
    u,
    v,
    sigma,
    low,
    high,
    residual_above,
    clipped,
    through,
    pull,
    spare,
    count,
    gradient_v = product,
    gradient_u = u,
    value = v,
    left = sigma,
    right = low
  };
};

template <class T> class MDLAMMeasure {
 public:
  using Sum = MDLAMSum;
  using Array = MDLAMArray;
  using Tally = std::array<double, Sum::count>;
  struct Phase {
    enum : std::size_t { pass, weight };
  };

  MDLAMMeasure(const Task<T>& task, std::vector<double> rho)
      : ledger(task.depth(), false,
               {.terms = {"linear"},
                .distance = {.hidden = {"W", "UV"}, .top = {"W", "U"}},
                .step = {.hidden = {"W", "U", "V"}, .top = {"W", "U"}},
                .phases = {"pass", "weight"},
                .output = "U",
                .kinks = task.has_kinks()}),
        task_(task),
        rho_(std::move(rho)),
        weight_distance_(task) {
    Index hidden = 0;
    for (std::size_t i = 1; i < task.depth(); ++i) hidden = std::max(hidden, task.layers[i].in);
    carry_ = SampleArray<T>(hidden, task.samples, task.allocate);
  }

  void begin_pass(std::size_t i) { weight_distance_.begin(i); }

  void weight_step(std::size_t i, const BlockStep& moved) {
    ledger[i].step[W] = moved.squared_step;
    ledger[i].decrease += moved.decrease;
  }

  // V_i moved to the constraint, which moved W_{i+1} V_i by `through` from where E_{i+1} was.
  void clip(std::size_t i, Tile tile, const T* through, const T* residual_above,
            Tally& tally) const {
    tally[Sum::decrease] +=
        rho_[i + 1] / 2 * sum(tile.size * task_.layers[i + 1].out, [&](Index k) {
          return static_cast<double>(through[k]) * (2 * residual_above[k] - through[k]);
        });
  }
  // U_i of a slice moves from z to u; product: P_i.
  void step_u(std::size_t i, Tile slice, const T* z, const T* u, const T* product,
              Tally& tally) const {
    const Layer<T>& l = task_.layers[i];
    const Index size = slice.size * l.out;
    tally[Sum::pattern_changes] += l.activation->pattern_changes(size, z, u);
    tally[Sum::step_u] +=
        sum(size, [&](Index k) { return square(static_cast<double>(u[k]) - z[k]); });
    tally[Sum::decrease] +=
        rho_[i] / 2 * sum(size, [&](Index k) {
          return (static_cast<double>(z[k]) - u[k]) * ((static_cast<double>(z[k]) - product[k]) +
                                                       (static_cast<double>(u[k]) - product[k]));
        });
  }
  void step_v(std::size_t i, Tile tile, const T* from, const T* to, const BlockStep& moved,
              Tally& tally) const {
    tally[Sum::decrease] += moved.decrease;
    tally[Sum::step_v] += sum(tile.size * task_.layers[i].out, [&](Index k) {
      return square(static_cast<double>(to[k]) - from[k]);
    });
  }
  // U_N moves from z to u.
  void step_output(Tile tile, const T* z, const T* u, const T* product, Tally& tally) const {
    const Index out = task_.layers.back().out;
    const BlockStep moved = output_step(out, tile.size, task_.loss, task_.loss_weight,
                                        task_.targets(tile), product, z, u, rho_.back());
    tally[Sum::step_u] += moved.squared_step;
    tally[Sum::decrease] += moved.decrease;
  }

  // What is final of a tile in pass i, whose E_i lies in its array; `weights`: W_i.
  void tile(std::size_t i, bool measure, Index chunk, Tile tile, const PackedWeights<T>& weights,
            T epsilon, Tally& tally, const Workspace<T>& array) {
    const Layer<T>& l = task_.layers[i];
    const Index t = tile.size, size = t * l.out;
    const double rho = rho_[i];
    const T *const e = array[Array::residual], *const u = l.of(l.U, tile);
    const bool top = task_.is_top(i);
    tally[Sum::linear] += rho / 2 * sum_of_squares(size, e);
    if (top)
      tally[Sum::loss] += task_.loss_weight * task_.loss.value(l.out, t, u, task_.targets(tile));
    if (!measure) return;

    weight_distance_.add(chunk, t, e, task_.below(i, tile), array.panels);
    if (i > 0) tally[Sum::distance_below] += distance_below(i, tile, e, weights, epsilon, array);
    if (top)
      tally[Sum::distance_u] +=
          task_.loss.squared_distance(l.out, t, u, task_.targets(tile), e, rho, task_.loss_weight);
    else
      std::copy_n(e, size, carry_.of(tile));
  }

  void end_pass(std::size_t i, const Tally& tally, bool measured) {
    const Layer<T>& l = task_.layers[i];
    LayerEntries& entries = ledger[i];
    entries.regularizer_w = l.regularizer->value(l.out, l.in, l.W);
    entries.terms[0] = tally[Sum::linear];
    entries.step[U] = tally[Sum::step_u];
    entries.step[V] = tally[Sum::step_v];
    entries.decrease += tally[Sum::decrease];
    ledger.loss += tally[Sum::loss];
    ledger.pattern_changes += tally[Sum::pattern_changes];
    if (task_.is_top(i)) entries.distance[UV] = tally[Sum::distance_u];
    if (i > 0) ledger[i - 1].distance[UV] = tally[Sum::distance_below];
    if (measured) entries.distance[W] = weight_distance_.squared(i, rho_[i]);
  }

  const Report& report(bool measured, bool swept) {
    double squared = 0;
    for (std::size_t i = 0; i < task_.depth(); ++i)
      squared += ledger[i].distance[W] + ledger[i].distance[UV];
    return ledger.report(ledger.sum(1), squared, measured, swept);
  }

  Ledger ledger;

 private:
  enum : std::size_t { W, U, V, UV = U };  // blocks

  // dist² of (U_{i−1}, V_{i−1}).
  double distance_below(std::size_t i, Tile tile, const T* e, const PackedWeights<T>& weights,
                        T epsilon, const Workspace<T>& array) const {
    const Layer<T>& below = task_.layers[i - 1];
    const Index size = tile.size * below.out;
    T *const gradient_v = array[Array::gradient_v], *const gradient_u = array[Array::gradient_u],
             *const value = array[Array::value], *const left = array[Array::left],
             *const right = array[Array::right];
    weights.apply_transposed(tile.size, e, gradient_v, array.panels.right.data());
    const T *const carry = carry_.of(tile), *const u = below.of(below.U, tile);
    const T rho = static_cast<T>(rho_[i]), rho_below = static_cast<T>(rho_[i - 1]);
    for (Index k = 0; k < size; ++k) {
      gradient_v[k] *= -rho;
      gradient_u[k] = rho_below * carry[k];
    }
    below.activation->value_and_derivative(size, u, value, right);
    below.activation->derivative(size, u, Side::left, left);
    return constraint_distance(size, value, left, right, below.of(below.V, tile), gradient_v,
                               gradient_u, epsilon);
  }

  const Task<T>& task_;
  const std::vector<double> rho_;
  WeightDistance<T> weight_distance_;
  SampleArray<T> carry_;  // E_{i−1} in pass i
};

}  // namespace amcore
