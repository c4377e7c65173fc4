// What three-splitting measures (scheme/three_split_bcd.hpp).
//
// What is final only after V_{i−1} is known (P_i = W_i V_{i−1} + b_i1ᵀ, the residual U_i − P_i, and
// with a skip connection the fit) is measured in pass i−1, of the layer "above". A measurement adds
// 2 flops per sample and weight for the gradient of the weights and, where steps are short, 1 for
// the decrease of V_i.
#pragma once

#include "amcore/linalg/gram.hpp"
#include "amcore/measure/ledger.hpp"
#include "amcore/measure/output_distance.hpp"
#include "amcore/measure/weight_distance.hpp"
#include "amcore/pass/product_cache.hpp"
#include "amcore/pass/skip.hpp"
#include "amcore/pass/workspace.hpp"

namespace amcore {

// Sums over samples of one pass; the names say of which layer: here = i, above = i + 1.
struct ThreeSplitSum {
  enum : std::size_t {
    loss,
    regularizer_v,
    fit_here,
    fit_above,
    linear_here,  // with the old W_i and V_{i−1}, if measured
    linear_above,
    distance_u_above,
    distance_v_here,
    distance_v_above,
    step_v,
    step_u,
    decrease_v,
    decrease_u,
    pattern_changes,
    count
  };
};

// Arrays of a tile.
struct ThreeSplitArray {
  enum : std::size_t {
    v,         // the new V_i
    s,         // S of a hidden layer, where it is asked for again
    pulled,    // Wᵀ(U − b1ᵀ − W V_i) of the layer above, at an inexact V_i
    residual,  // of the layer above, then of layer i
    product,
    step,
    fit,  // V − σ(U) of the layer above
    scratch,
    target,
    left,
    right,
    count,
    // once the layer above is done with
    value = step,
    u = fit,
    change = scratch,
    // of a state as it is
    residual_above = product,
    fit_above = step
  };
};

template <class T> class ThreeSplitMeasure {
 public:
  using Sum = ThreeSplitSum;
  using Array = ThreeSplitArray;
  using Tally = std::array<double, Sum::count>;
  struct Phase {
    enum : std::size_t { pass, factor, weight };
  };

  ThreeSplitMeasure(const Task<T>& task, std::vector<double> gamma, std::vector<double> rho,
                    double alpha)
      : ledger(task.depth(), task.regularizes_activations(),
               {.terms = {"activation", "linear"},
                .distance = {blocks(), blocks()},
                .step = {blocks(), blocks()},
                .phases = {"pass", "factor", "weight"},
                .output = "V",
                .kinks = task.has_kinks()}),
        task_(task),
        gamma_(std::move(gamma)),
        rho_(std::move(rho)),
        alpha_(alpha),
        weight_distance_(task),
        step_gram_(task.hidden_out, task.hidden_in, task.plan, task.threads),
        old_linear_(task.depth()),
        long_step_(task.depth()) {
    Index late = 0;
    for (std::size_t i = 1; i < task.depth(); ++i)
      if (is_late(i)) late = std::max(late, task.layers[i].out);
    carry_ = SampleArray<T>(late, task.samples, task.allocate);
  }

  void begin() {
    ledger.begin();
    std::fill(old_linear_.begin(), old_linear_.end(), 0.0);
    std::fill(long_step_.begin(), long_step_.end(), false);
  }

  // Is what V_i lowers f by, i < N, a difference of the terms before and after? That needs S.
  bool by_difference(std::size_t i) const {
    return task_.layers[i].is_inexact() || long_step_[i + 1];
  }

  void begin_pass(std::size_t i) {
    if (task_.is_top(i)) return;
    weight_distance_.begin(i + 1);
    if (!long_step_[i + 1]) step_gram_.begin(task_.layers[i].out);
  }

  // V_N moves to v.
  void step_output(bool measure, Tile tile, const T* s, const T* v, Tally& tally) const {
    const Layer<T>& l = task_.layers.back();
    const T* const y = task_.targets(tile);
    tally[Sum::loss] += task_.loss_weight * task_.loss.value(l.out, tile.size, v, y);
    if (measure) {
      const BlockStep moved = output_step(l.out, tile.size, task_.loss, task_.loss_weight, y, s,
                                          l.of(l.V, tile), v, gamma_.back());
      tally[Sum::step_v] += moved.squared_step;
      tally[Sum::decrease_v] += moved.decrease;
    }
    step_regularizer(l, measure, tile, v, tally);
  }

  // V_i, i < N, moves to v, with p = P_{i+1} there: what becomes final of layer i + 1. Returns the
  // block whose values are not finite, else null.
  const char* step_hidden(std::size_t i, bool measure, Index chunk, Tile tile, const T* v,
                          const T* p, const HiddenBlock<T>& hidden, Tally& tally,
                          const Workspace<T>& array) {
    const Layer<T>&here = task_.layers[i], &above = task_.layers[i + 1];
    const bool inexact = here.is_inexact(), long_step = long_step_[i + 1], late = is_late(i + 1);
    const Index t = tile.size;
    const double gamma_above = gamma_[i + 1], rho = rho_[i + 1];
    const T *const V = here.of(here.V, tile), *const u_above = above.of(above.U, tile);
    T *const residual = array[Array::residual], *const step = array[Array::step],
             *const fit = array[Array::fit];
    if (measure && (!long_step || late))
      for (Index k = 0; k < t * here.out; ++k) step[k] = v[k] - V[k];

    const char* failed = nullptr;
    for_each_slice<T>(tile, above.out, [&](Tile slice, Index at) {
      const Index size = slice.size * above.out;
      const T *const u = u_above + at, *const product = p + at;
      T* const e = residual + at;
      if (measure)
        for (Index k = 0; k < size; ++k) e[k] = u[k] - product[k];
      const double squared =
          measure ? sum_of_squares(size, e) : squared_difference(size, u, product);
      if (!std::isfinite(squared)) {  // as it is where V_i is not
        failed = "V";
        return;
      }
      tally[Sum::linear_above] += rho / 2 * squared;
      T *const final_fit = fit + at, *const scratch = array[Array::scratch];
      if (above.skip) {
        for (Index k = 0; k < size; ++k) final_fit[k] -= v[at + k];
        tally[Sum::fit_above] += gamma_above / 2 * sum_of_squares(size, final_fit);
      }
      if (!measure) return;
      tally[Sum::distance_u_above] += u_distance(i + 1, slice, v + at, e, scratch);
      if (late)
        tally[Sum::distance_v_above] +=
            late_distance(i + 1, slice, final_fit, step + at, scratch, array[Array::target]);
    });
    if (failed) return failed;
    if (measure) {
      weight_distance_.add(chunk, t, residual, v, array.panels);
      if (!long_step) step_gram_.add(chunk, t, step, array.panels);
      if (inexact) {
        T* const pulled = array[Array::pulled];
        hidden.apply_transposed(t, residual, pulled, array.panels.right.data());
        if (!long_step)
          tally[Sum::decrease_v] += rho * sum(t * here.out, [&](Index k) {
                                      return static_cast<double>(pulled[k]) * step[k];
                                    });
      }
    }
    step_regularizer(here, measure && inexact, tile, v, tally);
    return nullptr;
  }

  // U_i of a slice, which starts at entry `at` of the tile, moves to u; fit: ‖target − σ(u)‖². What
  // is known of V_i, which moves to v.
  void step_preactivation(std::size_t i, bool measure, Tile slice, Index at, const T* v,
                          const T* target, const T* p, const T* u, double fit, Tally& tally,
                          const Workspace<T>& array) {
    const Layer<T>& here = task_.layers[i];
    const Index size = slice.size * here.out;
    const bool top = task_.is_top(i), late = is_late(i), inexact = here.is_inexact();
    // V_i is final and was minimised exactly: before U_i moves its gradient is in −∂s_i.
    const bool exact = !top && !late && !inexact;
    const double gamma = gamma_[i], rho = rho_[i];
    const T *const U = here.of(here.U, slice), *const V = here.of(here.V, slice);
    T *const value = array[Array::value], *const change = array[Array::change];
    tally[Sum::pattern_changes] += here.activation->pattern_changes(size, U, u);
    if (measure) {
      const PreactivationStep moved =
          here.activation->preactivation_step(size, target, p, U, u, gamma, rho);
      tally[Sum::step_u] += moved.step;
      tally[Sum::decrease_u] += moved.decrease;
      tally[Sum::linear_here] += rho / 2 * moved.residual;
      if (exact) tally[Sum::distance_v_here] += square(gamma) * moved.change;
      if (!top && !exact) here.activation->difference(size, u, U, change);
    }
    if (!late) {
      tally[Sum::fit_here] += gamma / 2 * fit;
      if (measure && top) {
        here.activation->value(size, u, value);
        for (Index k = 0; k < size; ++k) value[k] = target[k] - value[k];
        tally[Sum::distance_v_here] +=
            output_distance(task_, slice, v, value, gamma, array[Array::left], array[Array::right]);
      }
    }
    if (!measure || top) return;
    const T *const s = array[Array::s] + at, *const pulled = array[Array::pulled] + at;
    const double pull_v = pull(task_, gamma_, i), rho_above = rho_[i + 1];
    if (!exact) {
      // The gradient of the smooth terms at V_i as far as it is known: before U_i moved, and
      // γ(σ(Uᵏ) − σ(Uᵏ⁺¹)) since.
      T* const gradient = late ? carry_.data() + slice.begin * here.out : value;
      for (Index k = 0; k < size; ++k) {
        const double before = inexact ? pull_v * (v[k] - s[k]) - rho_above * pulled[k] : 0;
        gradient[k] = static_cast<T>(before - gamma * change[k]);
      }
      if (!late)
        tally[Sum::distance_v_here] +=
            here.activation_regularizer->squared_distance(slice.size, here.out, v, gradient);
    }
    const double weight = pull_v + here.ridge_v();
    if (by_difference(i)) {
      const BlockStep moved = quadratic_step(size, weight, s, V, v);
      tally[Sum::step_v] += moved.squared_step;
      tally[Sum::decrease_v] += moved.decrease;
    } else {  // but for ρ/2 ‖W ΔV‖², since V_i minimises
      const double squared = squared_difference(size, v, V);
      tally[Sum::step_v] += squared;
      tally[Sum::decrease_v] += weight / 2 * squared;
    }
  }

  // After a pass over V_i and U_i; packed: W_{i+1}.
  void end_pass(std::size_t i, const Tally& tally, bool measure, const T* packed) {
    LayerEntries& entries = ledger[i];
    entries.regularizer_v = tally[Sum::regularizer_v];
    entries.terms[fit] += tally[Sum::fit_here];
    old_linear_[i] = tally[Sum::linear_here];
    entries.distance[V] += tally[Sum::distance_v_here];
    entries.step[V] = tally[Sum::step_v];
    entries.step[U] = tally[Sum::step_u];
    entries.decrease += tally[Sum::decrease_v] + tally[Sum::decrease_u];
    ledger.loss += tally[Sum::loss];
    ledger.pattern_changes += tally[Sum::pattern_changes];
    if (task_.is_top(i)) return;

    LayerEntries& above = ledger[i + 1];
    above.terms[linear] = tally[Sum::linear_above];
    above.terms[fit] += tally[Sum::fit_above];
    above.distance[U] = tally[Sum::distance_u_above];
    above.distance[V] += tally[Sum::distance_v_above];
    if (!measure) return;
    above.distance[W] = weight_distance_.squared(i + 1, rho_[i + 1]);
    if (long_step_[i + 1]) {
      entries.decrease += old_linear_[i + 1] - above.terms[linear];
      return;
    }
    const Layer<T>& l = task_.layers[i + 1];
    step_gram_.reduce(task_.collective, task_.threads);
    entries.decrease +=
        rho_[i + 1] / 2 * step_gram_.sum_of_products(l.out, l.W, packed, task_.threads);
  }

  void before_weights(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    ledger[i].regularizer_w = l.regularizer->value(l.out, l.in, l.W);
  }
  // What V_{i−1} lowers f by holds ‖W_i ΔV_{i−1}‖², or the fall of the linear part: that costs no
  // product, but is a difference of nearly equal sums where steps are short. It is taken where its
  // rounding, relative to these sums, is far below what the blocks so far have lowered f by.
  void after_weights(std::size_t i, bool measure, const BlockStep& moved) {
    const Layer<T>& l = task_.layers[i];
    LayerEntries& entries = ledger[i];
    const double old_regularizer = entries.regularizer_w;  // if measured
    entries.step[W] = moved.squared_step;
    entries.decrease += moved.decrease;
    entries.regularizer_w = l.regularizer->value(l.out, l.in, l.W);
    if (!measure) return;
    constexpr double far = 1e-3;
    const double fall = moved.decrease - (old_regularizer - entries.regularizer_w);
    double so_far = 0;
    for (std::size_t j = i; j < task_.depth(); ++j) so_far += ledger[j].decrease;
    long_step_[i] = so_far > far * (old_linear_[i] + old_regularizer);
    old_linear_[i] -= fall;
  }

  // The residual of layer 1, final since W_1 is. W_1 was the last block to move: if it was
  // minimised exactly, its gradient is −αΔ.
  void begin_closing() {
    if (!first_is_exact()) weight_distance_.begin(0);
  }
  void closing(bool measure, Index chunk, Tile tile, const T* residual, Tally& tally,
               const Workspace<T>& array) {
    const T* const below = task_.below(0, tile);
    const Index size = tile.size * task_.layers[0].out;
    tally[Sum::linear_above] += rho_[0] / 2 * sum_of_squares(size, residual);
    if (!measure) return;
    tally[Sum::distance_u_above] += u_distance(0, tile, below, residual, array[Array::scratch]);
    if (!first_is_exact()) weight_distance_.add(chunk, tile.size, residual, below, array.panels);
  }
  void end_closing(const Tally& tally, bool measure) {
    LayerEntries& entries = ledger[0];
    entries.terms[linear] = tally[Sum::linear_above];
    entries.distance[U] = tally[Sum::distance_u_above];
    if (measure)
      entries.distance[W] = first_is_exact() ? square(alpha_) * entries.step[W]
                                             : weight_distance_.squared(0, rho_[0]);
  }

  // Everything about layer i at the state as it is.
  void begin_state(std::size_t i) { weight_distance_.begin(i); }
  // residual: U_i − P_i and, but for the top, residual_above: U_{i+1} − P_{i+1}.
  void state(std::size_t i, Index chunk, Tile tile, const T* residual, const T* residual_above,
             const HiddenBlock<T>& hidden, Tally& tally, const Workspace<T>& array) {
    const Layer<T>& here = task_.layers[i];
    const Index t = tile.size, size = t * here.out;
    const T *const v = here.of(here.V, tile), *const below = task_.below(i, tile);
    const Regularizer<T>* const regularizer = here.activation_regularizer;
    if (regularizer) tally[Sum::regularizer_v] += regularizer->value(t, here.out, v);
    T* const fit = array[Array::fit];
    fit_of(i, tile, fit);
    tally[Sum::fit_here] += gamma_[i] / 2 * sum_of_squares(size, fit);
    tally[Sum::linear_above] += rho_[i] / 2 * sum_of_squares(size, residual);
    tally[Sum::distance_u_above] += u_distance(i, tile, below, residual, array[Array::scratch]);
    weight_distance_.add(chunk, t, residual, below, array.panels);
    if (task_.is_top(i)) {
      tally[Sum::loss] += task_.loss_weight * task_.loss.value(here.out, t, v, task_.targets(tile));
      tally[Sum::distance_v_here] +=
          output_distance(task_, tile, v, fit, gamma_[i], array[Array::left], array[Array::right]);
    } else {
      // γ_i(V_i − S_i) − ρ_{i+1} W_{i+1}ᵀE_{i+1} [− γ_{i+1}(V_{i+1} − S_{i+1})]
      T *const fit_above = array[Array::fit_above], *const pulled = array[Array::pulled];
      fit_of(i + 1, tile, fit_above);
      hidden.apply_transposed(t, residual_above, pulled, array.panels.right.data());
      const double gamma = gamma_[i], rho = rho_[i + 1];
      const double gamma_above = task_.layers[i + 1].skip ? gamma_[i + 1] : 0;
      for (Index k = 0; k < size; ++k)
        pulled[k] = static_cast<T>(gamma * fit[k] - rho * pulled[k] -
                                   (gamma_above > 0 ? gamma_above * fit_above[k] : 0));
      tally[Sum::distance_v_here] += regularizer
                                         ? regularizer->squared_distance(t, here.out, v, pulled)
                                         : sum_of_squares(size, pulled);
    }
  }
  void end_state(std::size_t i, const Tally& tally) {
    const Layer<T>& here = task_.layers[i];
    LayerEntries& entries = ledger[i];
    entries.regularizer_w = here.regularizer->value(here.out, here.in, here.W);
    entries.regularizer_v = tally[Sum::regularizer_v];
    entries.terms = {tally[Sum::fit_here], tally[Sum::linear_above]};
    entries.distance = {weight_distance_.squared(i, rho_[i]), tally[Sum::distance_u_above],
                        tally[Sum::distance_v_here]};
    ledger.loss += tally[Sum::loss];
  }

  const Report& report(bool measured, bool swept) {
    return ledger.report(ledger.sum(2), ledger.squared_distance(), measured, swept);
  }

  Ledger ledger;

 private:
  enum : std::size_t { W, U, V };      // blocks
  enum : std::size_t { fit, linear };  // terms
  static std::vector<const char*> blocks() { return {"W", "U", "V"}; }

  // Is the fit of layer i final only in the pass below?
  bool is_late(std::size_t i) const { return task_.layers[i].skip && i > 0; }
  bool first_is_exact() const { return task_.layers[0].regularizer->is_ridge(); }

  // s_i(V_i), and how much it fell where nothing else tells.
  void step_regularizer(const Layer<T>& l, bool measure, Tile tile, const T* v,
                        Tally& tally) const {
    if (!l.activation_regularizer) return;
    tally[Sum::regularizer_v] += l.activation_regularizer->value(tile.size, l.out, v);
    if (measure)
      tally[Sum::decrease_v] +=
          l.activation_regularizer->difference(tile.size, l.out, l.of(l.V, tile), v);
  }

  // out ← V_i [− V_{i−1}] − σ(U_i)
  void fit_of(std::size_t i, Tile tile, T* out) const {
    const Layer<T>& l = task_.layers[i];
    beyond_activation(l, tile, out);
    if (!l.skip) return;
    const T* const below = task_.below(i, tile);
    for (Index k = 0; k < tile.size * l.out; ++k) out[k] -= below[k];
  }

  // dist²(0, ∂f) of U_i; below: V_{i−1} of these samples.
  double u_distance(std::size_t i, Tile tile, const T* below, const T* residual, T* scratch) const {
    const Layer<T>& l = task_.layers[i];
    const Index size = tile.size * l.out;
    const T* const target = fitted(l, size, l.of(l.V, tile), below, scratch);
    return l.activation->preactivation_distance(size, target, l.of(l.U, tile), residual, gamma_[i],
                                                rho_[i]);
  }

  // dist² of V_i of a layer with a skip connection, once V_{i−1} has moved by `step` to its final
  // value; fit = V_i − V_{i−1} − σ(U_i).
  double late_distance(std::size_t i, Tile tile, const T* fit, const T* step, T* left,
                       T* right) const {
    const Layer<T>& layer = task_.layers[i];
    const Index size = tile.size * layer.out;
    const T* const v = layer.of(layer.V, tile);
    if (task_.is_top(i)) return output_distance(task_, tile, v, fit, gamma_[i], left, right);
    T* const gradient = carry_.data() + tile.begin * layer.out;
    for (Index k = 0; k < size; ++k) gradient[k] -= static_cast<T>(gamma_[i] * step[k]);
    return layer.is_inexact()
               ? layer.activation_regularizer->squared_distance(tile.size, layer.out, v, gradient)
               : sum_of_squares(size, gradient);
  }

  const Task<T>& task_;
  const std::vector<double> gamma_, rho_;
  const double alpha_;
  WeightDistance<T> weight_distance_;
  StepGram<T> step_gram_;  // of V_i
  SampleArray<T> carry_;   // gradients of late layers, until V_{i−1} is known
  // Of a measured sweep, by layer: the linear part before V_{i−1} moves, and whether that is far.
  std::vector<double> old_linear_;
  std::vector<bool> long_step_;
};

}  // namespace amcore
