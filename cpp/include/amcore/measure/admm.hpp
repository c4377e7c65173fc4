// What ADMM measures (scheme/admm.hpp): the terms of f with dist(0, ∂f) and the residuals at the
// new point, and the decrease, which is that of the models and what these were above the truth.
//
// Pass i finds the final Z_i = W_i V_{i−1} + b_i1ᵀ. The rest of the gradient by V_i is carried to
// the pass above.
#pragma once

#include "amcore/block/majorized.hpp"
#include "amcore/block/output.hpp"
#include "amcore/measure/ledger.hpp"
#include "amcore/measure/weight_distance.hpp"
#include "amcore/pass/product_cache.hpp"
#include "amcore/pass/workspace.hpp"

namespace amcore {

// Sums over samples of one pass.
struct AdmmSum {
  enum : std::size_t {
    loss,
    primal,            // ‖R_i‖²
    multiplier,        // ⟨Λ_i, R_i⟩
    memory,            // ‖V_i − V̂_i‖²
    old_memory,        // the same before the sweep
    decrease,          // of V_i
    gap,               // model − truth after the step of W_{i+1}
    gap_first,         // the same of W_1
    distance_v,        // dist² of V_N
    distance_v_below,  // dist² of V_{i−1}
    count
  };
};

// Arrays of a tile. Those of the measurement lie where the update has no more, or not yet, use for
// its own.
struct AdmmArray {
  enum : std::size_t {
    product,
    sigma,
    s,
    v,
    lambda,
    product_above,
    target,
    value,
    slope,
    residual,
    step,
    scratch,
    change,
    count,
    // after the step of W_i
    gap_target = product_above,
    gap_value = s,
    gap_slope = lambda,
    gap_moved = residual,
    gap_old = step,
    gap_step = scratch,
    // after the step of V_i
    product_new = s,
    moved = residual,
    // at the new point
    primal = product_above,
    force = target,
    outer = value,
    pulled = slope
  };
};

template <class T> class AdmmMeasure {
 public:
  using Sum = AdmmSum;
  using Array = AdmmArray;
  using Tally = std::array<double, Sum::count>;
  struct Phase {
    enum : std::size_t { pass, factor, weight };
  };
  // The arrays of a layer after the sweep, for the samples of a tile.
  struct Values {
    const T *v, *lambda, *v_old;
  };

  AdmmMeasure(const Task<T>& task, std::vector<double> beta, std::vector<double> xi)
      : ledger(task.depth(), false,
               {.terms = {"penalty", "multiplier", "memory"},
                .distance = {blocks(), blocks()},
                .step = {blocks(), blocks()},
                .phases = {"pass", "factor", "weight"},
                .output = "V"}),
        task_(task),
        beta_(std::move(beta)),
        xi_(std::move(xi)),
        weight_distance_(task),
        transposed_(left_panels_size<T>(task.in, task.out)),
        packed_step_(left_panels_size<T>(task.out, task.in)),
        packed_first_step_(left_panels_size<T>(task.layers[0].out, task.layers[0].in)),
        long_(task.depth()),
        carry_(task.out, task.samples, task.allocate) {
    ledger.monitors() = {{"lagrangian", 0}};
    for (std::size_t i = 0; i < task.depth(); ++i) {
      steps_.emplace_back(task.layers[i].out * (task.layers[i].in + 1));
      for (const char* residual : {"primal", "dual"})
        ledger.monitors().emplace_back(residual + std::to_string(i + 1), 0);
    }
  }

  // steps_[i] ← (ΔW_i, Δb_i) or, where that is long, (W_i, b_i) as they were.
  void before_weights(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    T* const dw = steps_[i].data();
    std::copy_n(l.W, l.out * l.in, dw);
    if (l.b) std::copy_n(l.b, l.out, dw + l.out * l.in);
  }
  void after_weights(std::size_t i, bool measure, const BlockStep& moved) {
    const Layer<T>& l = task_.layers[i];
    const Index size = l.out * l.in;
    T *const dw = steps_[i].data(), *const db = dw + size;
    long_[i] = measure && is_long(moved.squared_step, size, l.W);
    if (measure && !long_[i]) {
      for (Index k = 0; k < size; ++k) dw[k] = l.W[k] - dw[k];
      for (Index k = 0; l.b && k < l.out; ++k) db[k] = l.b[k] - db[k];
    }
    LayerEntries& entries = ledger[i];
    entries.step[W] = moved.squared_step;
    entries.decrease += moved.decrease;
  }

  void begin_pass(std::size_t i) {
    if (i + 1 < task_.depth()) pack_step(i + 1, packed_step_);
    if (i == 0) pack_step(0, packed_first_step_);
    begin_distance(i);
  }
  void begin_distance(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    pack_left_in_parallel(l.in, l.out, l.W, Index(1), l.in, transposed_.data(), task_.threads);
    weight_distance_.begin(i);
  }

  // What Z_1 of a tile was before the step of W_1, if it is kept and that step is long, else null;
  // to be asked for before the new Z_1 is.
  const T* old_first_product(Tile tile, const ProductCache<T>& products,
                             const Workspace<T>& array) const {
    const T* const old = products.of(0, tile);
    if (!old || !long_[0]) return old;
    T* const copy = array[Array::gap_old];
    std::copy_n(old, tile.size * task_.layers[0].out, copy);
    return copy;
  }
  // The step of W_1: target T_1; z, old: Z_1 with the new weights and with the old ones, or null.
  void first_weights(Tile tile, double h, const T* target, const T* z, const T* old, Tally& tally,
                     const Workspace<T>& array) const {
    tally[Sum::gap_first] += weight_gap(0, tile.size, h, packed_first_step_.data(),
                                        task_.below(0, tile), target, z, old, array);
  }

  void step_output(Tile tile, const T* s, const T* v, Tally& tally) const {
    const Layer<T>& l = task_.layers.back();
    tally[Sum::decrease] += output_step(l.out, tile.size, task_.loss, task_.loss_weight,
                                        task_.targets(tile), s, l.of(l.V, tile), v, beta_.back())
                                .decrease;
  }

  // V_i, i < N, moves to v from where z = W_{i+1} V_i + b_{i+1}1ᵀ; target: T_{i+1}; value and slope
  // of σ_{i+1} at z; h: of the model.
  void step_hidden(std::size_t i, Tile tile, double h, const T* v, const T* z, const T* target,
                   const T* value, const T* slope, const HiddenBlock<T>& hidden,
                   ProductCache<T>& products, Tally& tally, const Workspace<T>& array) const {
    const Layer<T>&here = task_.layers[i], &above = task_.layers[i + 1];
    const Index t = tile.size, size = t * here.out, size_above = t * above.out;
    const double beta = beta_[i], beta_above = beta_[i + 1];
    const T* const V = here.of(here.V, tile);
    const bool exact = above.activation->is_identity();  // the model is the truth
    if (!exact)
      tally[Sum::gap] += weight_gap(i + 1, t, h, packed_step_.data(), V, target, z,
                                    products.of(i + 1, tile), array);
    T *const step = array[Array::step], *const change = array[Array::change];
    for (Index k = 0; k < size; ++k) step[k] = v[k] - V[k];
    const double squared = sum_of_squares(size, step);
    if (is_long(squared, size, v)) {
      const T* const z_new =
          products.get(i + 1, tile, hidden.weights(), v, array[Array::product_new], array.panels);
      for (Index k = 0; k < size_above; ++k) change[k] = z_new[k] - z[k];
    } else {
      hidden.apply(t, step, change, array.panels.right.data());
    }
    tally[Sum::decrease] +=
        beta / 2 * squared + beta_above * h / 2 * sum_of_squares(size_above, change);
    if (!exact)
      tally[Sum::decrease] +=
          beta_above *
          sum(size_above, majorized_gaps(size_above, *above.activation, z, value, slope, target,
                                         change, h, array[Array::moved], array[Array::scratch]));
  }

  // The sums of a slice of layer i for the objective; sigma: σ_i(Z_i).
  void objective(std::size_t i, Tile slice, const T* sigma, const Values& now, Tally& tally,
                 const Workspace<T>& array) const {
    const Layer<T>& here = task_.layers[i];
    const Index size = slice.size * here.out;
    T* const residual = array[Array::primal];  // R_i
    for (Index k = 0; k < size; ++k) residual[k] = sigma[k] - now.v[k];
    tally[Sum::primal] += sum_of_squares(size, residual);
    tally[Sum::multiplier] +=
        sum(size, [&](Index k) { return static_cast<double>(now.lambda[k]) * residual[k]; });
    tally[Sum::memory] += squared_distance(size, now.v, now.v_old);
    if (task_.is_top(i))
      tally[Sum::loss] +=
          task_.loss_weight * task_.loss.value(here.out, slice.size, now.v, task_.targets(slice));
  }
  // Before V_i and its memory of a slice change.
  void old_memory(std::size_t i, Tile slice, Tally& tally) const {
    const Layer<T>& here = task_.layers[i];
    tally[Sum::old_memory] +=
        squared_distance(slice.size * here.out, here.of(here.V, slice), here.of(here.V_old, slice));
  }

  // The sums for dist(0, ∂f), from z = Z_i too.
  void distance(std::size_t i, Index chunk, Tile tile, const T* z, const T* sigma,
                const Values& now, Tally& tally, const Workspace<T>& array) {
    const Layer<T>& here = task_.layers[i];
    const Index t = tile.size, size = t * here.out;
    T *const force = array[Array::force], *const outer = array[Array::outer],
             *const pulled = array[Array::pulled];
    // ∂L/∂R_i = β_i R_i + Λ_i
    const T beta = static_cast<T>(beta_[i]), weight = static_cast<T>(2 * xi_[i]);
    here.activation->derivative(size, z, Side::right, outer);
    for (Index k = 0; k < size; ++k) {
      force[k] = beta * (sigma[k] - now.v[k]) + now.lambda[k];
      outer[k] *= force[k];
    }
    weight_distance_.add(chunk, t, outer, task_.below(i, tile), array.panels);
    T* const carry = carry_.of(tile);
    if (i > 0) {
      pack_right(here.out, t, outer, array.panels.right.data());
      multiply(here.in, t, here.out, transposed_.data(), array.panels.right.data(),
               Destination<T>{pulled, here.in});
      for (Index k = 0; k < t * here.in; ++k) pulled[k] += carry[k];
      tally[Sum::distance_v_below] += sum_of_squares(t * here.in, pulled);
    }
    for (Index k = 0; k < size; ++k) carry[k] = weight * (now.v[k] - now.v_old[k]) - force[k];
    if (task_.is_top(i))
      tally[Sum::distance_v] += task_.loss.squared_distance(here.out, t, now.v, task_.targets(tile),
                                                            carry, 1, task_.loss_weight);
  }

  void end_sweep_pass(std::size_t i, const Tally& tally, bool measure) {
    LayerEntries& entries = ledger[i];
    entries.step[V_old] = tally[Sum::old_memory];
    // Of V_i, of its memory, and of the multipliers, ‖ΔΛ_i‖²/β_i upwards.
    entries.decrease += tally[Sum::decrease] +
                        xi_[i] * (tally[Sum::old_memory] - tally[Sum::memory]) -
                        beta_[i] * tally[Sum::primal];
    if (i == 0) entries.decrease += beta_[0] * tally[Sum::gap_first];
    if (i + 1 < task_.depth()) ledger[i + 1].decrease += beta_[i + 1] * tally[Sum::gap];
    end_pass(i, tally, measure);
  }
  void end_pass(std::size_t i, const Tally& tally, bool measure) {
    const Layer<T>& l = task_.layers[i];
    const double beta = beta_[i], primal = tally[Sum::primal], memory = tally[Sum::memory];
    LayerEntries& entries = ledger[i];
    entries.regularizer_w = l.regularizer->value(l.out, l.in, l.W);
    entries.terms = {beta / 2 * primal, tally[Sum::multiplier], xi_[i] * memory};
    entries.step[V] = memory;
    entries.step[Lambda] = square(beta) * primal;
    ledger.monitors()[1 + 2 * i].second = std::sqrt(primal);
    ledger.monitors()[2 + 2 * i].second = beta * std::sqrt(memory);
    ledger.loss += tally[Sum::loss];
    if (!measure) return;
    entries.distance = {weight_distance_.squared(i, -1), tally[Sum::distance_v], primal,
                        square(2 * xi_[i]) * memory};
    if (i > 0) ledger[i - 1].distance[V] = tally[Sum::distance_v_below];
  }

  const Report& report(bool measured, bool swept) {
    const double lagrangian = ledger.sum(2);
    double memories = 0;
    for (std::size_t i = 0; i < task_.depth(); ++i) memories += ledger[i].terms[2];
    ledger.monitors()[0].second = lagrangian;
    return ledger.report(lagrangian + memories, ledger.squared_distance(), measured, swept);
  }

  Ledger ledger;

 private:
  enum : std::size_t { W, V, Lambda, V_old };  // blocks
  static std::vector<const char*> blocks() { return {"W", "V", "Lambda", "V_old"}; }

  void pack_step(std::size_t i, const Buffer<T>& panels) {
    const Layer<T>& l = task_.layers[i];
    pack_left_in_parallel(l.out, l.in, steps_[i].data(), l.in, Index(1), panels.data(),
                          task_.threads);
  }

  // What the model of W_i was above the truth after its step: x the input, z of x with the new
  // weights; `old` with the old ones, or null.
  double weight_gap(std::size_t i, Index t, double h, const T* packed_step, const T* x,
                    const T* target, const T* z, const T* old, const Workspace<T>& array) const {
    const Layer<T>& l = task_.layers[i];
    const Index size = t * l.out;
    T *const step = array[Array::gap_step], *const old_product = array[Array::gap_old];
    T *const value = array[Array::gap_value], *const slope = array[Array::gap_slope];
    Layer<T> moving = l;  // what is packed
    if (l.b) moving.b = steps_[i].data() + l.out * l.in;
    if (!long_[i]) {
      affine(moving, t, packed_step, x, step, array.panels);
      for (Index k = 0; k < size; ++k) old_product[k] = z[k] - step[k];
      old = old_product;
    } else {
      if (!old) {
        affine(moving, t, packed_step, x, old_product, array.panels);
        old = old_product;
      }
      for (Index k = 0; k < size; ++k) step[k] = z[k] - old[k];
    }
    l.activation->value_and_derivative(size, old, value, slope);
    return sum(size, majorized_gaps(size, *l.activation, old, value, slope, target, step, h,
                                    array[Array::gap_moved], array[Array::change]));
  }

  // Of differences in float64.
  static double squared_distance(Index n, const T* a, const T* b) {
    return sum(n, [&](Index k) { return square(static_cast<double>(a[k]) - b[k]); });
  }

  const Task<T>& task_;
  const std::vector<double> beta_, xi_;
  WeightDistance<T> weight_distance_;
  // W_iᵀ; steps_ of layer i+1, and of layer 1: packed.
  Buffer<T> transposed_, packed_step_, packed_first_step_;
  std::vector<Buffer<T>> steps_;  // of (W_i, b_i), by layer, or what they were where these are long
  std::vector<bool> long_;        // by layer, if measured
  SampleArray<T> carry_;
};

}  // namespace amcore
