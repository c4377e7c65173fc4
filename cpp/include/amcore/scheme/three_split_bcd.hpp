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

#include "amcore/scheme/declaration.hpp"
#include "amcore/scheme/layered_scheme.hpp"
#include "amcore/scheme/product_cache.hpp"

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
    count
  };
};

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

template <class T> class ThreeSplitBCD final : public LayeredScheme<T, ThreeSplitSum::count> {
 public:
  using Options = ThreeSplitOptions;

  static Declaration declaration() {
    return {
        .variables = {{"W"}, {"b"}, {"U"}, {"V"}}, .skip = true, .activation_regularizers = true};
  }

  ThreeSplitBCD(const Problem<T>& problem, Options options, const Execution& execution)
      : Base(problem, execution, 11, 9), options_(std::move(options)) {
    Index hidden_out = 1, hidden_in = 1, late = 0;
    for (std::size_t i = 1; i < depth(); ++i) {
      hidden_out = std::max(hidden_out, layers_[i].out);
      hidden_in = std::max(hidden_in, layers_[i].in);
      if (is_late(i)) late = std::max(late, layers_[i].out);
    }
    hidden_ = HiddenBlock<T>(hidden_out, hidden_in, threads_);
    step_gram_ = StepGram<T>(hidden_out, hidden_in, plan_, threads_);
    products_ = ProductCache<T>(layers_, plan_, execution.keep_products);
    carry_ = Buffer<T>(late * problem.samples);
    measurement_.resize(depth());
    name_report();
  }

  const Report& sweep(bool measure) override {
    const std::size_t N = layers_.size();
    measurement_.assign(N, {});
    loss_value_ = 0;
    clock_.reset();
    for (std::size_t i = N; i-- > 0;) {
      clock_.time(Phase::factor, [&] { prepare_pass(i); });
      clock_.time(Phase::pass, [&] { update_pass(i, measure); });
      clock_.time(Phase::weight, [&] { weight_update(i, measure); });
    }
    clock_.time(Phase::factor, [&] {
      pack_weights(0);
      products_.begin(0, layers_[0]);
    });
    clock_.time(Phase::pass, [&] { closing_pass(measure); });
    return fill_report(measure, true);
  }

  const Report& measure() override {
    const std::size_t N = layers_.size();
    measurement_.assign(N, {});
    loss_value_ = 0;
    clock_.reset();
    for (std::size_t i = 0; i < N; ++i) clock_.time(Phase::pass, [&] { measuring_pass(i); });
    return fill_report(true, false);
  }

 private:
  using Base = LayeredScheme<T, ThreeSplitSum::count>;
  using Sum = ThreeSplitSum;
  using Base::depth, Base::pack_weights, Base::pass, Base::previous, Base::weight_distance;
  using Base::gradient_sums_, Base::layers_, Base::loss_, Base::loss_weight_, Base::packed_;
  using Base::is_inexact, Base::regularizes_activations, Base::ridge_v;
  using Base::plan_, Base::collective_, Base::sums_, Base::threads_, Base::Y_;
  using typename Base::Tally;
  using typename Base::Workspace;

  struct Measurement {
    double regularizer_w = 0, regularizer_v = 0;  // parts of the objective
    double fit = 0, linear = 0;
    double distance_w = 0, distance_u = 0, distance_v = 0;  // squared
    double step_w = 0, step_u = 0, step_v = 0;              // squared
    double decrease = 0;
    double old_linear = 0;  // the linear part before V_{i−1} moves, if measured
    bool long_step = false;
  };
  struct Phase {
    enum : std::size_t { pass, factor, weight, count };
  };

  // Is the fit of layer i final only in the pass below?
  bool is_late(std::size_t i) const { return layers_[i].skip && i > 0; }
  // Is what V_i lowers f by, i < N, a difference of the terms before and after?
  bool by_difference(std::size_t i) const {
    return is_inexact(layers_[i]) || measurement_[i + 1].long_step;
  }
  double alpha_u(std::size_t i) const {
    return i + 1 == layers_.size() && layers_[i].activation->is_identity() ? 0 : options_.alpha;
  }
  void prepare_pass(std::size_t i) {
    pack_weights(i);
    products_.begin(i, layers_[i]);
    if (i + 1 == layers_.size()) return;
    products_.begin(i + 1, layers_[i + 1]);
    Base::prepare_hidden(hidden_, i, pull(i), options_.rho[i + 1]);
  }
  // The weight on ‖V_i − S‖²: γ_i, and γ_{i+1} where layer i+1 has a skip connection.
  double pull(std::size_t i) const {
    return options_.gamma[i] + (layers_[i + 1].skip ? options_.gamma[i + 1] : 0);
  }

  // V_i and U_i of every sample, the sums for W_i, and what becomes final of layer i+1.
  void update_pass(std::size_t i, bool measure) {
    const bool top = i + 1 == layers_.size();
    Base::begin_weight_sums(i);
    if (!top && measure) {
      Base::begin_gradient_sums(i + 1);
      if (!measurement_[i + 1].long_step) step_gram_.begin(layers_[i].out);
    }
    const Tally tally = pass(
        i, [&](Index chunk, Tile tile, Tally& sums, const Workspace& workspace) -> const char* {
          const char* const failed = top ? update_top(measure, tile, sums, workspace)
                                         : update_hidden(i, measure, chunk, tile, sums, workspace);
          return failed ? failed : update_preactivation(i, measure, chunk, tile, sums, workspace);
        });
    Measurement& m = measurement_[i];
    m.regularizer_v = tally[Sum::regularizer_v];
    m.fit += tally[Sum::fit_here];
    m.old_linear = tally[Sum::linear_here];
    m.distance_v += tally[Sum::distance_v_here];
    m.step_v = tally[Sum::step_v];
    m.step_u = tally[Sum::step_u];
    m.decrease += tally[Sum::decrease_v] + tally[Sum::decrease_u];
    loss_value_ += tally[Sum::loss];
    if (!top) finish_above(i + 1, tally, measure);

    Base::reduce_weight_sums(i);
  }

  // What a pass over V_i has found out about layer i+1, now final.
  void finish_above(std::size_t above, const Tally& tally, bool measure) {
    Measurement& m = measurement_[above];
    m.linear = tally[Sum::linear_above];
    m.fit += tally[Sum::fit_above];
    m.distance_u = tally[Sum::distance_u_above];
    m.distance_v += tally[Sum::distance_v_above];
    if (!measure) return;
    m.distance_w = weight_distance(above, options_.rho[above]);
    double& decrease = measurement_[above - 1].decrease;
    if (m.long_step) {
      decrease += m.old_linear - m.linear;
      return;
    }
    const Layer<T>& l = layers_[above];
    step_gram_.reduce(collective_, threads_);
    decrease += options_.rho[above] / 2 *
                step_gram_.sum_of_products(l.out, l.W, hidden_.weights(), threads_);
  }

  // The steps of a pass on one tile. Each returns the block whose values are not finite, before
  // they are written, else null. What they hand on, in arrays of the tile:
  struct Handed {
    T* v;       // the new V_i
    T* s;       // S of a hidden layer, where it is asked for again
    T* pulled;  // Wᵀ(U − b1ᵀ − W V_i) of the layer above, at an inexact V_i
    explicit Handed(const Workspace& array) : v(array(0)), s(array(1)), pulled(array(2)) {}
  };

  // S = σ(U_i) [+ V_{i−1}] of a slice.
  static void fit_target(const Layer<T>& l, Tile slice, const T* below, T* s) {
    const Index size = slice.size * l.out;
    l.activation->value(size, l.U + slice.begin * l.out, s);
    if (!l.skip) return;
    const T* const v = below + slice.begin * l.out;
    for (Index k = 0; k < size; ++k) s[k] += v[k];
  }

  const char* update_top(bool measure, Tile tile, Tally& tally, const Workspace& array) const {
    const Handed handed(array);
    const std::size_t i = layers_.size() - 1;
    const Layer<T>& here = layers_[i];
    const Index t = tile.size;
    const double gamma = options_.gamma[i];
    const T *const y = Y_ + tile.begin * here.out, *const V = here.V + tile.begin * here.out;
    T *const s = array(3), *const v = handed.v;
    fit_target(here, tile, previous(i), s);
    const char* const failed = Base::update_output(tile, s, gamma, options_.alpha, options_.inner,
                                                   array, array(4), array(5), v);
    if (failed) return failed;
    tally[Sum::loss] += loss_weight_ * loss_.value(here.out, t, v, y);
    if (measure) {
      const BlockStep moved = output_step(here.out, t, loss_, loss_weight_, y, s, V, v, gamma);
      tally[Sum::step_v] += moved.squared_step;
      tally[Sum::decrease_v] += moved.decrease;
    }
    take_regularizer(here, measure, tile, v, tally);
    return nullptr;
  }

  // s_i(V_i), and how much it fell where nothing else tells.
  static void take_regularizer(const Layer<T>& l, bool measure, Tile tile, const T* v,
                               Tally& tally) {
    if (!l.activation_regularizer) return;
    tally[Sum::regularizer_v] += l.activation_regularizer->value(tile.size, l.out, v);
    if (measure)
      tally[Sum::decrease_v] +=
          l.activation_regularizer->difference(tile.size, l.out, l.V + tile.begin * l.out, v);
  }

  const char* update_hidden(std::size_t i, bool measure, Index chunk, Tile tile, Tally& tally,
                            const Workspace& array) {
    const Handed handed(array);
    const Layer<T>&here = layers_[i], &above = layers_[i + 1];
    const Regularizer<T>* const regularizer = here.activation_regularizer;
    const bool inexact = is_inexact(here);
    const Index t = tile.size;
    const double gamma_above = options_.gamma[i + 1], rho = options_.rho[i + 1];
    const double pull = this->pull(i), ridge = ridge_v(here);
    const T* const V = here.V + tile.begin * here.out;
    const T* const u_above = above.U + tile.begin * above.out;
    T *const v = handed.v, *const s = inexact || (measure && by_difference(i)) ? handed.s : v;
    T *const residual = array(3), *const step = array(5), *const fit = array(6),
             *const panels = array.panels.right.data();

    const T into_above = static_cast<T>(gamma_above / pull);
    const T shrink = static_cast<T>(pull / (pull + ridge));
    const char* failed = nullptr;
    for_each_slice<T>(tile, here.out, [&](Tile slice, Index at) {
      const Index size = slice.size * here.out;
      fit_target(here, slice, previous(i), s + at);
      if (above.skip) {  // S ← (γ_i S + γ_{i+1}(V_{i+1} − σ(U_{i+1})))/(γ_i + γ_{i+1})
        fit_above(i + 1, slice, fit + at);
        for (Index k = at; k < at + size; ++k) s[k] += into_above * (fit[k] - s[k]);
      }
      if (ridge > 0)
        for (Index k = at; k < at + size; ++k) s[k] *= shrink;
      // Steps that go nowhere would hide it.
      if (regularizer && !all_finite(size, s + at)) failed = "V";
    });
    if (failed) return failed;
    if (inexact) {
      std::copy_n(V, t * here.out, v);
      hidden_.residual(t, v, u_above, above.b, residual, panels);
      hidden_.update(t, s, residual, v, panels, *regularizer, options_.inner, array.steps);
    } else {
      hidden_.update(t, s, u_above, above.b, residual, v, panels);
    }

    const bool long_step = measurement_[i + 1].long_step;
    if (measure && (!long_step || is_late(i + 1)))
      for (Index k = 0; k < t * here.out; ++k) step[k] = v[k] - V[k];

    const T* const p =
        products_.get(i + 1, above, tile, hidden_.weights(), v, array(4), array.panels);
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
      T *const final_fit = fit + at, *const scratch = array(7);
      if (above.skip) {
        for (Index k = 0; k < size; ++k) final_fit[k] -= v[at + k];
        tally[Sum::fit_above] += gamma_above / 2 * sum_of_squares(size, final_fit);
      }
      if (!measure) return;
      tally[Sum::distance_u_above] += u_distance(i + 1, slice, v + at, e, scratch);
      if (is_late(i + 1))
        tally[Sum::distance_v_above] +=
            late_distance(i + 1, slice, final_fit, step + at, scratch, array(8));
    });
    if (failed) return failed;
    if (measure) {
      gradient_sums_.add(chunk, t, residual, v, array.panels);
      if (!long_step) step_gram_.add(chunk, t, step, array.panels);
      if (inexact) {
        T* const pulled = handed.pulled;
        hidden_.apply_transposed(t, residual, pulled, panels);
        if (!long_step)
          tally[Sum::decrease_v] += rho * sum(t * here.out, [&](Index k) {
                                      return static_cast<double>(pulled[k]) * step[k];
                                    });
      }
    }
    take_regularizer(here, measure && inexact, tile, v, tally);
    return nullptr;
  }

  // What σ(U_i) is to fit: v or, of a layer with a skip connection, v − V_{i−1} (in `scratch`).
  static const T* fitted(const Layer<T>& l, Index size, const T* v, const T* below, T* scratch) {
    if (!l.skip) return v;
    for (Index k = 0; k < size; ++k) scratch[k] = v[k] - below[k];
    return scratch;
  }

  // out ← V_i − σ(U_i) of a slice
  void fit_above(std::size_t i, Tile slice, T* out) const {
    const Layer<T>& l = layers_[i];
    const T* const v = l.V + slice.begin * l.out;
    l.activation->value(slice.size * l.out, l.U + slice.begin * l.out, out);
    for (Index k = 0; k < slice.size * l.out; ++k) out[k] = v[k] - out[k];
  }

  // U_i against its target V_i [− V_{i−1}], from P_i; the sums for W_i.
  const char* update_preactivation(std::size_t i, bool measure, Index chunk, Tile tile,
                                   Tally& tally, const Workspace& array) {
    const Handed handed(array);
    const bool top = i + 1 == layers_.size(), late = is_late(i);
    const Layer<T>& here = layers_[i];
    const bool inexact = is_inexact(here);
    // V_i is final and was minimised exactly: before U_i moves its gradient is in −∂s_i.
    const bool exact = !top && !late && !inexact;
    const double gamma = options_.gamma[i], rho = options_.rho[i];
    const double pull_v = top ? 0 : pull(i), rho_above = top ? 0 : options_.rho[i + 1];
    const T* const below = previous(i) + tile.begin * here.in;
    T* const residual = array(3);
    const T* const p = products_.get(i, here, tile, packed_.data(), below, array(4), array.panels);
    const char* failed = nullptr;
    for_each_slice<T>(tile, here.out, [&](Tile slice, Index at) {
      const Index size = slice.size * here.out;
      T* const U = here.U + slice.begin * here.out;
      T* const V = here.V + slice.begin * here.out;
      const T* const v = handed.v + at;
      T *const z = array(5), *const u = array(6), *const delta = array(7);
      const T* const target = fitted(here, size, v, below + at, array(8));
      const double fit = here.activation->preactivation_update(size, target, p + at, U, gamma, rho,
                                                               alpha_u(i), u, residual + at);
      if (!all_finite(size, residual + at)) {
        failed = "U";
        return;
      }
      if (measure) {
        const PreactivationStep moved =
            here.activation->preactivation_step(size, target, p + at, U, u, gamma, rho);
        tally[Sum::step_u] += moved.step;
        tally[Sum::decrease_u] += moved.decrease;
        tally[Sum::linear_here] += rho / 2 * moved.residual;
        if (exact) tally[Sum::distance_v_here] += square(gamma) * moved.change;
        if (!top && !exact) here.activation->difference(size, u, U, delta);
      }
      std::copy_n(u, size, U);
      if (!late) {
        tally[Sum::fit_here] += gamma / 2 * fit;
        if (measure && top) {
          here.activation->value(size, u, z);
          for (Index k = 0; k < size; ++k) z[k] = target[k] - z[k];  // V_i [− V_{i−1}] − σ(U_i)
          tally[Sum::distance_v_here] +=
              Base::output_distance(slice, v, z, gamma, array(9), array(10));
        }
      }
      if (measure && !top && !exact) {
        // The gradient of the smooth terms at V_i as far as it is known: before U_i moved, and
        // γ(σ(Uᵏ) − σ(Uᵏ⁺¹)) since.
        const T *const s = handed.s + at, *const pulled = handed.pulled + at;
        T* const gradient = late ? carry_.data() + slice.begin * here.out : z;
        for (Index k = 0; k < size; ++k) {
          const double before = inexact ? pull_v * (v[k] - s[k]) - rho_above * pulled[k] : 0;
          gradient[k] = static_cast<T>(before - gamma * delta[k]);
        }
        if (!late)
          tally[Sum::distance_v_here] +=
              here.activation_regularizer->squared_distance(slice.size, here.out, v, gradient);
      }
      if (measure && !top) {
        const double weight = pull_v + ridge_v(here);
        if (by_difference(i)) {
          const BlockStep moved = quadratic_step(size, weight, handed.s + at, V, v);
          tally[Sum::step_v] += moved.squared_step;
          tally[Sum::decrease_v] += moved.decrease;
        } else {  // but for ρ/2 ‖W ΔV‖², since V_i minimises
          const double squared = squared_difference(size, v, V);
          tally[Sum::step_v] += squared;
          tally[Sum::decrease_v] += weight / 2 * squared;
        }
      }
      std::copy_n(v, size, V);
    });
    if (failed) return failed;
    sums_.add(chunk, tile.size, residual, below, array.panels);
    return nullptr;
  }

  // dist² of V_i of a layer with a skip connection, once V_{i−1} has moved by `step` to its final
  // value; fit = V_i − V_{i−1} − σ(U_i).
  double late_distance(std::size_t i, Tile tile, const T* fit, const T* step, T* left,
                       T* right) const {
    const Layer<T>& layer = layers_[i];
    const Index size = tile.size * layer.out;
    const T* const v = layer.V + tile.begin * layer.out;
    if (i + 1 == layers_.size())
      return Base::output_distance(tile, v, fit, options_.gamma[i], left, right);
    T* const gradient = carry_.data() + tile.begin * layer.out;
    for (Index k = 0; k < size; ++k) gradient[k] -= static_cast<T>(options_.gamma[i] * step[k]);
    return is_inexact(layer)
               ? layer.activation_regularizer->squared_distance(tile.size, layer.out, v, gradient)
               : sum_of_squares(size, gradient);
  }

  // What V_{i−1} lowers f by holds ‖W_i ΔV_{i−1}‖², or the fall of the linear part: that costs no
  // product, but is a difference of nearly equal sums where steps are short. It is taken where its
  // rounding, relative to these sums, is far below what the blocks so far have lowered f by.
  void weight_update(std::size_t i, bool measure) {
    const Layer<T>& l = layers_[i];
    Measurement& m = measurement_[i];
    const double old_regularizer = measure ? l.regularizer->value(l.out, l.in, l.W) : 0;
    const BlockStep moved =
        Base::update_weights(i, options_.rho[i], options_.alpha, options_.inner);
    m.step_w = moved.squared_step;
    m.decrease += moved.decrease;
    m.regularizer_w = l.regularizer->value(l.out, l.in, l.W);
    if (!measure) return;
    constexpr double far = 1e-3;
    const double fall = moved.decrease - (old_regularizer - m.regularizer_w);
    double so_far = 0;
    for (std::size_t j = i; j < layers_.size(); ++j) so_far += measurement_[j].decrease;
    m.long_step = so_far > far * (m.old_linear + old_regularizer);
    m.old_linear -= fall;
  }

  // The residual of layer 1, final since W_1 is.
  void closing_pass(bool measure) {
    const Layer<T>& l = layers_[0];
    // W_1 was the last block to move: if it was minimised exactly, its gradient is −αΔ.
    const bool inexact = !l.regularizer->is_ridge();
    if (measure && inexact) Base::begin_gradient_sums(0);
    const Tally tally = pass(0, [&](Index chunk, Tile tile, Tally& sums, const Workspace& array) {
      const Index t = tile.size, size = t * l.out;
      T* const residual = array(0);
      residual_of(0, tile, packed_.data(), residual, array);
      sums[Sum::linear_above] += options_.rho[0] / 2 * sum_of_squares(size, residual);
      if (!measure) return;
      const T* const below = previous(0) + tile.begin * l.in;
      sums[Sum::distance_u_above] += u_distance(0, tile, below, residual, array(1));
      if (inexact) gradient_sums_.add(chunk, t, residual, below, array.panels);
    });
    Measurement& m = measurement_[0];
    m.linear = tally[Sum::linear_above];
    m.distance_u = tally[Sum::distance_u_above];
    if (measure)
      m.distance_w =
          inexact ? weight_distance(0, options_.rho[0]) : square(options_.alpha) * m.step_w;
  }

  // Everything about layer i at the state as it is.
  void measuring_pass(std::size_t i) {
    const bool top = i + 1 == layers_.size();
    const Layer<T>& here = layers_[i];
    pack_weights(i);
    products_.begin(i, here);
    if (!top) {
      hidden_.pack(layers_[i + 1].out, layers_[i + 1].in, layers_[i + 1].W, threads_);
      products_.begin(i + 1, layers_[i + 1]);
    }
    Base::begin_gradient_sums(i);
    const Tally tally = pass(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace& array) {
      const Index t = tile.size, size = t * here.out;
      const T* const v = here.V + tile.begin * here.out;
      const Regularizer<T>* const regularizer = here.activation_regularizer;
      if (regularizer) sums[Sum::regularizer_v] += regularizer->value(t, here.out, v);
      const T* const below = previous(i) + tile.begin * here.in;
      T *const residual = array(0), *const fit = array(1);
      residual_of(i, tile, packed_.data(), residual, array);
      fit_of(i, tile, fit);
      sums[Sum::fit_here] += options_.gamma[i] / 2 * sum_of_squares(size, fit);
      sums[Sum::linear_above] += options_.rho[i] / 2 * sum_of_squares(size, residual);
      sums[Sum::distance_u_above] += u_distance(i, tile, below, residual, array(2));
      gradient_sums_.add(chunk, t, residual, below, array.panels);
      if (top) {
        const T* const y = Y_ + tile.begin * here.out;
        sums[Sum::loss] += loss_weight_ * loss_.value(here.out, t, v, y);
        sums[Sum::distance_v_here] +=
            Base::output_distance(tile, v, fit, options_.gamma[i], array(2), array(3));
      } else {
        // γ_i(V_i − S_i) − ρ_{i+1} W_{i+1}ᵀE_{i+1} [− γ_{i+1}(V_{i+1} − S_{i+1})]
        T *const above = array(2), *const fit_above_ = array(3), *const pulled = array(4);
        residual_of(i + 1, tile, hidden_.weights(), above, array);
        fit_of(i + 1, tile, fit_above_);
        hidden_.apply_transposed(t, above, pulled, array.panels.right.data());
        const double gamma = options_.gamma[i], rho = options_.rho[i + 1];
        const double gamma_above = layers_[i + 1].skip ? options_.gamma[i + 1] : 0;
        for (Index k = 0; k < size; ++k)
          pulled[k] = static_cast<T>(gamma * fit[k] - rho * pulled[k] -
                                     (gamma_above > 0 ? gamma_above * fit_above_[k] : 0));
        sums[Sum::distance_v_here] += regularizer
                                          ? regularizer->squared_distance(t, here.out, v, pulled)
                                          : sum_of_squares(size, pulled);
      }
    });
    Measurement& m = measurement_[i];
    m.regularizer_v = tally[Sum::regularizer_v];
    m.fit = tally[Sum::fit_here];
    m.linear = tally[Sum::linear_above];
    m.distance_u = tally[Sum::distance_u_above];
    m.distance_v = tally[Sum::distance_v_here];
    m.distance_w = weight_distance(i, options_.rho[i]);
    m.regularizer_w = here.regularizer->value(here.out, here.in, here.W);
    loss_value_ += tally[Sum::loss];
  }

  // out ← U_i − b_i1ᵀ − W_i V_{i−1}
  void residual_of(std::size_t i, Tile tile, const T* packed, T* out, const Workspace& array) {
    const Layer<T>& l = layers_[i];
    const Index size = tile.size * l.out;
    const T* const below = previous(i) + tile.begin * l.in;
    const T* const u = l.U + tile.begin * l.out;
    const T* const p = products_.get(i, l, tile, packed, below, out, array.panels);
    for (Index k = 0; k < size; ++k) out[k] = u[k] - p[k];
  }

  // out ← V_i [− V_{i−1}] − σ(U_i)
  void fit_of(std::size_t i, Tile tile, T* out) const {
    const Layer<T>& l = layers_[i];
    fit_above(i, tile, out);
    if (!l.skip) return;
    const T* const below = previous(i) + tile.begin * l.in;
    for (Index k = 0; k < tile.size * l.out; ++k) out[k] -= below[k];
  }

  // dist²(0, ∂f) of U_i; below: V_{i−1} of these samples.
  double u_distance(std::size_t i, Tile tile, const T* below, const T* residual, T* scratch) const {
    const Layer<T>& l = layers_[i];
    const Index size = tile.size * l.out;
    const T* const target = fitted(l, size, l.V + tile.begin * l.out, below, scratch);
    return l.activation->preactivation_distance(size, target, l.U + tile.begin * l.out, residual,
                                                options_.gamma[i], options_.rho[i]);
  }

  void name_report() {
    const auto number = [](std::size_t i) { return std::to_string(i + 1); };
    report_.parts = {{"loss", 0}, {"weight_regularizer", 0}};
    if (regularizes_activations()) report_.parts.emplace_back("activation_regularizer", 0);
    first_fit_ = report_.parts.size();
    for (std::size_t i = 0; i < layers_.size(); ++i)
      report_.parts.emplace_back("activation" + number(i), 0);
    for (std::size_t i = 0; i < layers_.size(); ++i)
      report_.parts.emplace_back("linear" + number(i), 0);
    for (std::size_t i = 0; i < layers_.size(); ++i)
      for (const char* variable : {"W", "U", "V"})
        report_.distance.emplace_back(variable + number(i), 0);
    report_.step_norm = report_.distance;
    report_.seconds = {{"pass", 0}, {"factor", 0}, {"weight", 0}};
  }

  const Report& fill_report(bool measured, bool swept) {
    constexpr double unmeasured = std::numeric_limits<double>::quiet_NaN();
    const std::size_t N = layers_.size();
    Report& r = report_;
    r.objective = r.parts[0].second = loss_value_;
    for (std::size_t k = 1; k < first_fit_; ++k) r.parts[k].second = 0;
    double squared_distance = 0, decrease = 0;
    for (std::size_t i = 0; i < N; ++i) {
      const Measurement& m = measurement_[i];
      r.parts[1].second += m.regularizer_w;
      if (first_fit_ > 2) r.parts[2].second += m.regularizer_v;
      r.parts[first_fit_ + i].second = m.fit;
      r.parts[first_fit_ + N + i].second = m.linear;
      r.objective += m.regularizer_w + m.regularizer_v + m.fit + m.linear;
      const std::array distances{m.distance_w, m.distance_u, m.distance_v},
          steps{m.step_w, m.step_u, m.step_v};
      for (std::size_t k = 0; k < 3; ++k) {
        r.distance[3 * i + k].second = measured ? std::sqrt(distances[k]) : unmeasured;
        r.step_norm[3 * i + k].second = measured && swept ? std::sqrt(steps[k]) : unmeasured;
        squared_distance += distances[k];
      }
      decrease += m.decrease;
    }
    r.subgradient_distance = measured ? std::sqrt(squared_distance) : unmeasured;
    r.decrease = measured && swept ? decrease : unmeasured;
    clock_.report(r.seconds);
    if (!std::isfinite(r.objective))
      throw NumericalError("the objective is not finite", static_cast<int>(N), "V");
    return r;
  }

  Options options_;
  HiddenBlock<T> hidden_;
  StepGram<T> step_gram_;     // of V_i
  ProductCache<T> products_;  // P_i
  Buffer<T> carry_;           // gradients of late layers, until V_{i−1} is known
  std::vector<Measurement> measurement_;
  double loss_value_ = 0;
  Report report_;
  std::size_t first_fit_ = 0;  // of the parts: those before are the loss and the regularisers
  PhaseClock<Phase::count> clock_;
};

}  // namespace amcore
