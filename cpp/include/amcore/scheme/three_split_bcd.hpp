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
// is known (the residual of layer i, and with a skip connection its fit) is measured in pass i−1.
//
// The state is all there is between two sweeps: nothing is cached that a change of the arrays would
// outdate, except the Gram matrix of the input.
#pragma once

#include "amcore/block/hidden.hpp"
#include "amcore/block/output.hpp"
#include "amcore/block/preactivation.hpp"
#include "amcore/scheme/layered_scheme.hpp"

namespace amcore {

// Sums over samples of one pass; the names say of which layer: here = i, above = i + 1.
struct ThreeSplitSum {
  enum : std::size_t {
    loss,
    regularizer_v,
    fit_here,
    fit_above,
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

template <class T> class ThreeSplitBCD final : public LayeredScheme<T, ThreeSplitSum::count> {
 public:
  struct Options {
    std::vector<double> gamma, rho;  // one per layer
    double alpha;
    InnerLoop inner{};  // of the blocks that are not minimised exactly
  };

  ThreeSplitBCD(const Problem<T>& problem, Options options, const Execution& execution)
      : Base(problem, execution, 9, 9), options_(std::move(options)) {
    Index hidden_out = 1, hidden_in = 1, late = 0, width = layers_[0].in;
    for (const Layer<T>& layer : layers_) width = std::max(width, layer.out);
    for (std::size_t i = 1; i < depth(); ++i) {
      hidden_out = std::max(hidden_out, layers_[i].out);
      hidden_in = std::max(hidden_in, layers_[i].in);
      if (is_late(i)) late = std::max(late, layers_[i].out);
    }
    hidden_ = HiddenBlock<T>(hidden_out, hidden_in);
    carry_ = Buffer<T>(late * problem.samples);
    if (regularizes_activations())
      for (int thread = 0; thread < threads_; ++thread) steps_.emplace_back(width, plan_.tile());
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
      clock_.time(Phase::weight, [&] { weight_update(i); });
    }
    clock_.time(Phase::factor, [&] { pack_weights(0); });
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
  using Base::plan_, Base::sums_, Base::threads_, Base::Y_;
  using typename Base::Tally;
  using typename Base::Workspace;

  struct Measurement {
    double regularizer_w = 0, regularizer_v = 0;  // parts of the objective
    double fit = 0, linear = 0;
    double distance_w = 0, distance_u = 0, distance_v = 0;  // squared
    double step_w = 0, step_u = 0, step_v = 0;              // squared
    double decrease = 0;
  };
  struct Phase {
    enum : std::size_t { pass, factor, weight, count };
  };

  // Is the fit of layer i final only in the pass below?
  bool is_late(std::size_t i) const { return layers_[i].skip && i > 0; }
  double alpha_u(std::size_t i) const {
    return i + 1 == layers_.size() && layers_[i].activation->is_identity() ? 0 : options_.alpha;
  }
  bool regularizes_activations() const {
    return std::any_of(layers_.begin(), layers_.end(),
                       [](const Layer<T>& l) { return l.activation_regularizer; });
  }
  // Does V_i take proximal gradient steps, if it is hidden?
  static bool is_inexact(const Layer<T>& layer) {
    return layer.activation_regularizer && !layer.activation_regularizer->is_ridge();
  }
  // The λ of s_i = λ/2 ‖·‖².
  static double ridge_v(const Layer<T>& layer) {
    return layer.activation_regularizer && !is_inexact(layer)
               ? layer.activation_regularizer->ridge()
               : 0;
  }
  void prepare_pass(std::size_t i) {
    pack_weights(i);
    if (i + 1 == layers_.size()) return;
    const Layer<T>&here = layers_[i], &above = layers_[i + 1];
    const double rho = options_.rho[i + 1];
    if (is_inexact(here))
      hidden_.prepare_regularized(above.out, above.in, above.W, pull(i), rho, threads_);
    else
      hidden_.prepare(above.out, above.in, above.W, pull(i) + ridge_v(here), rho,
                      static_cast<int>(i) + 1, threads_);
  }
  // The weight on ‖V_i − S‖²: γ_i, and γ_{i+1} where layer i+1 has a skip connection.
  double pull(std::size_t i) const {
    return options_.gamma[i] + (layers_[i + 1].skip ? options_.gamma[i + 1] : 0);
  }

  // V_i and U_i of every sample, the sums for W_i, and what becomes final of layer i+1.
  void update_pass(std::size_t i, bool measure) {
    const bool top = i + 1 == layers_.size();
    Base::begin_weight_sums(i);
    if (!top && measure) Base::begin_gradient_sums(i + 1);
    const Tally tally = pass(
        i, [&](Index chunk, Tile tile, Tally& sums, const Workspace& workspace) -> const char* {
          return update_tile(i, measure, chunk, tile, sums, workspace);
        });
    Measurement& m = measurement_[i];
    m.regularizer_v = tally[Sum::regularizer_v];
    m.fit += tally[Sum::fit_here];
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
    if (measure) m.distance_w = weight_distance(above, options_.rho[above]);
  }

  // One tile of pass i; returns the block whose values are not finite, before they are written.
  const char* update_tile(std::size_t i, bool measure, Index chunk, Tile tile, Tally& tally,
                          const Workspace& array) {
    const bool top = i + 1 == layers_.size(), late = is_late(i);
    const Layer<T>& here = layers_[i];
    const Regularizer<T>* const regularizer = here.activation_regularizer;
    const bool inexact = is_inexact(here);
    const Index t = tile.size, size = t * here.out;
    const double gamma = options_.gamma[i], rho = options_.rho[i], alpha = options_.alpha;
    const T* const v_below = previous(i) + tile.begin * here.in;
    T* const U = here.U + tile.begin * here.out;
    T* const V = here.V + tile.begin * here.out;
    T *const sigma = array(0), *const s = array(1), *const v = array(2), *const step = array(3);

    // S = σ(U) [+ V_{i−1}]
    here.activation->value(size, U, sigma);
    std::copy_n(sigma, size, s);
    if (here.skip)
      for (Index k = 0; k < size; ++k) s[k] += v_below[k];
    // Steps that go nowhere would hide it.
    if (regularizer && !all_finite(size, s)) return "V";

    if (top) {
      const T* const y = Y_ + tile.begin * here.out;
      if (regularizer)
        output_update(here.out, t, loss_, loss_weight_, y, s, V, gamma, alpha, *regularizer,
                      options_.inner, steps_[array.thread].loop, array(4), array(5), v);
      else
        output_update(here.out, t, loss_, loss_weight_, y, s, V, gamma, alpha, array(4), v);
      if (!all_finite(size, v)) return "V";
      if (measure) {
        const BlockStep moved = output_step(here.out, t, loss_, loss_weight_, y, s, V, v, gamma);
        tally[Sum::step_v] += moved.squared_step;
        tally[Sum::decrease_v] += moved.decrease;
      }
      tally[Sum::loss] += loss_weight_ * loss_.value(here.out, t, v, y);
    } else {
      const Layer<T>& above = layers_[i + 1];
      const Index size_above = t * above.out;
      const double gamma_above = options_.gamma[i + 1], rho_above = options_.rho[i + 1];
      const T* const u_above = above.U + tile.begin * above.out;
      const T* const v_above = above.V + tile.begin * above.out;
      T *const residual = array(4), *const fit = array(5), *const left = array(6),
               *const right = array(7);
      for (Index j = 0; j < t; ++j)
        for (Index k = 0; k < above.out; ++k) {
          const Index at = j * above.out + k;
          residual[at] = above.b ? u_above[at] - above.b[k] : u_above[at];
        }
      if (measure || above.skip) {  // V_{i+1} − σ(U_{i+1})
        above.activation->value(size_above, u_above, fit);
        for (Index k = 0; k < size_above; ++k) fit[k] = v_above[k] - fit[k];
      }
      if (above.skip) {  // S ← (γ_i S + γ_{i+1}(V_{i+1} − σ(U_{i+1})))/(γ_i + γ_{i+1})
        const T share = static_cast<T>(gamma_above / pull(i));
        for (Index k = 0; k < size; ++k) s[k] += share * (fit[k] - s[k]);
      }
      if (inexact) {
        std::copy_n(V, size, v);
        hidden_.update(t, s, residual, v, array.panels.right.data(), *regularizer, options_.inner,
                       steps_[array.thread]);
      } else {
        if (const double ridge = ridge_v(here); ridge > 0) {
          const T share = static_cast<T>(pull(i) / (pull(i) + ridge));
          for (Index k = 0; k < size; ++k) s[k] *= share;
        }
        hidden_.update(t, s, residual, v, array.panels.right.data());
      }
      if (!all_finite(size, v) || !all_finite(size_above, residual)) return "V";
      tally[Sum::linear_above] += rho_above / 2 * sum_of_squares(size_above, residual);
      if (measure) {
        for (Index k = 0; k < size; ++k) step[k] = v[k] - V[k];
        const double squared = sum_of_squares(size, step);
        hidden_.apply(t, step, left, array.panels.right.data());
        tally[Sum::step_v] += squared;
        if (inexact) {
          tally[Sum::decrease_v] += hidden_decrease(size, pull(i), s, V, v) +
                                    rho_above / 2 * residual_decrease(size_above, residual, left);
          hidden_.apply_transposed(t, residual, right, array.panels.right.data());
          for (Index k = 0; k < size; ++k)
            s[k] = static_cast<T>(pull(i) * (v[k] - s[k]) - rho_above * right[k]);
        } else {
          tally[Sum::decrease_v] += (pull(i) + ridge_v(here)) / 2 * squared +
                                    rho_above / 2 * sum_of_squares(size_above, left);
        }
        gradient_sums_.add(chunk, t, residual, v, array.panels);
      }
      if (above.skip) {
        for (Index k = 0; k < size_above; ++k) fit[k] -= v[k];
        tally[Sum::fit_above] += gamma_above / 2 * sum_of_squares(size_above, fit);
      }
      if (measure) {
        tally[Sum::distance_u_above] += u_distance(i + 1, tile, fit, residual, left, right);
        if (is_late(i + 1))
          tally[Sum::distance_v_above] += late_distance(i + 1, tile, fit, step, left, right);
      }
    }

    if (regularizer) {
      tally[Sum::regularizer_v] += regularizer->value(t, here.out, v);
      if (measure && (top || inexact))
        tally[Sum::decrease_v] += regularizer->difference(t, here.out, V, v);
    }

    // U_i against its target V_i [− V_{i−1}], from P_i = W_i V_{i−1} + b_i
    T *const p = array(4), *const target = array(5), *const z = array(6), *const u = array(7),
             *const delta = array(8);
    affine(here, t, packed_.data(), v_below, p, array.panels.right.data());
    std::copy_n(v, size, target);
    if (here.skip)
      for (Index k = 0; k < size; ++k) target[k] -= v_below[k];
    preactivation_update(size, *here.activation, target, p, U, gamma, rho, alpha_u(i), z, u);
    if (!all_finite(size, u) || !all_finite(size, p)) return "U";
    if (measure) {
      here.activation->difference(size, u, U, delta);
      const BlockStep moved = preactivation_step(size, target, p, U, u, sigma, delta, gamma, rho);
      tally[Sum::step_u] += moved.squared_step;
      tally[Sum::decrease_u] += moved.decrease;
    }
    if (!late) {
      here.activation->value(size, u, z);
      for (Index k = 0; k < size; ++k) z[k] = target[k] - z[k];  // V_i [− V_{i−1}] − σ(U_i)
      tally[Sum::fit_here] += gamma / 2 * sum_of_squares(size, z);
      if (measure && top) tally[Sum::distance_v_here] += top_distance(tile, v, z, target, delta);
    }
    if (measure && !top) {
      // The gradient of the smooth terms at V_i as far as it is known: s[k] before U_i moved, and
      // γ(σ(Uᵏ) − σ(Uᵏ⁺¹)) since. Where the block was minimised exactly, the first is in −∂s_i.
      T* const gradient = late ? carry_.data() + tile.begin * here.out : s;
      for (Index k = 0; k < size; ++k)
        gradient[k] = static_cast<T>((inexact ? s[k] : T(0)) - gamma * delta[k]);
      if (!late)
        tally[Sum::distance_v_here] += inexact
                                           ? regularizer->squared_distance(t, here.out, v, gradient)
                                           : sum_of_squares(size, gradient);
    }

    std::copy_n(v, size, V);
    std::copy_n(u, size, U);
    for (Index k = 0; k < size; ++k) p[k] = u[k] - p[k];
    sums_.add(chunk, t, p, v_below, array.panels);
    return nullptr;
  }

  // dist² of V_i of a layer with a skip connection, once V_{i−1} has moved by `step` to its final
  // value; fit = V_i − V_{i−1} − σ(U_i).
  double late_distance(std::size_t i, Tile tile, const T* fit, const T* step, T* left,
                       T* right) const {
    const Layer<T>& layer = layers_[i];
    const Index size = tile.size * layer.out;
    const T* const v = layer.V + tile.begin * layer.out;
    if (i + 1 == layers_.size()) return top_distance(tile, v, fit, left, right);
    T* const gradient = carry_.data() + tile.begin * layer.out;
    for (Index k = 0; k < size; ++k) gradient[k] -= static_cast<T>(options_.gamma[i] * step[k]);
    return is_inexact(layer)
               ? layer.activation_regularizer->squared_distance(tile.size, layer.out, v, gradient)
               : sum_of_squares(size, gradient);
  }

  // dist² of V_N, fit = V_N − [V_{N−1}] − σ(U_N); left, right: scratch.
  double top_distance(Tile tile, const T* v, const T* fit, T* left, T* right) const {
    const Layer<T>& l = layers_.back();
    const T* const y = Y_ + tile.begin * l.out;
    const double gamma = options_.gamma.back();
    if (!l.activation_regularizer)
      return loss_.squared_distance(l.out, tile.size, v, y, fit, gamma, loss_weight_);
    return output_distance(l.out, tile.size, loss_, loss_weight_, y, v, *l.activation_regularizer,
                           fit, gamma, left, right);
  }

  // How much pull/2 ‖V − S‖² falls from `old` to v.
  static double hidden_decrease(Index size, double pull, const T* s, const T* old, const T* v) {
    return pull / 2 * sum(size, [&](Index k) {
             return (static_cast<double>(old[k]) - v[k]) *
                    ((static_cast<double>(old[k]) - s[k]) + (static_cast<double>(v[k]) - s[k]));
           });
  }
  // How much ‖E‖² has fallen to that of e, as W ΔV = change.
  static double residual_decrease(Index size, const T* e, const T* change) {
    return sum(size, [&](Index k) {
      return static_cast<double>(change[k]) * (2 * static_cast<double>(e[k]) + change[k]);
    });
  }

  void weight_update(std::size_t i) {
    const Layer<T>& l = layers_[i];
    const BlockStep moved =
        Base::update_weights(i, options_.rho[i], options_.alpha, options_.inner);
    Measurement& m = measurement_[i];
    m.step_w = moved.squared_step;
    m.decrease += moved.decrease;
    m.regularizer_w = l.regularizer->value(l.out, l.in, l.W);
  }

  // The residual of layer 1, final since W_1 is.
  void closing_pass(bool measure) {
    const Layer<T>& l = layers_[0];
    // W_1 was the last block to move: if it was minimised exactly, its gradient is −αΔ.
    const bool inexact = !l.regularizer->is_ridge();
    if (measure && inexact) Base::begin_gradient_sums(0);
    const Tally tally = pass(0, [&](Index chunk, Tile tile, Tally& sums, const Workspace& array) {
      const Index t = tile.size, size = t * l.out;
      T *const residual = array(0), *const fit = array(1);
      residual_and_fit(0, tile, packed_.data(), residual, measure ? fit : nullptr, array.panels);
      sums[Sum::linear_above] += options_.rho[0] / 2 * sum_of_squares(size, residual);
      if (!measure) return;
      sums[Sum::distance_u_above] += u_distance(0, tile, fit, residual, array(2), array(3));
      if (inexact)
        gradient_sums_.add(chunk, t, residual, previous(0) + tile.begin * l.in, array.panels);
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
    if (!top) hidden_.pack(layers_[i + 1].out, layers_[i + 1].in, layers_[i + 1].W);
    Base::begin_gradient_sums(i);
    const Tally tally = pass(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace& array) {
      const Index t = tile.size, size = t * here.out;
      const T* const v = here.V + tile.begin * here.out;
      const Regularizer<T>* const regularizer = here.activation_regularizer;
      if (regularizer) sums[Sum::regularizer_v] += regularizer->value(t, here.out, v);
      T *const residual = array(0), *const fit = array(1);
      residual_and_fit(i, tile, packed_.data(), residual, fit, array.panels);
      sums[Sum::fit_here] += options_.gamma[i] / 2 * sum_of_squares(size, fit);
      sums[Sum::linear_above] += options_.rho[i] / 2 * sum_of_squares(size, residual);
      sums[Sum::distance_u_above] += u_distance(i, tile, fit, residual, array(2), array(3));
      gradient_sums_.add(chunk, t, residual, previous(i) + tile.begin * here.in, array.panels);
      if (top) {
        const T* const y = Y_ + tile.begin * here.out;
        sums[Sum::loss] += loss_weight_ * loss_.value(here.out, t, v, y);
        sums[Sum::distance_v_here] += top_distance(tile, v, fit, array(2), array(3));
      } else {
        // γ_i(V_i − S_i) − ρ_{i+1} W_{i+1}ᵀE_{i+1} [− γ_{i+1}(V_{i+1} − S_{i+1})]
        T *const above = array(2), *const fit_above_ = array(3), *const pulled = array(4);
        residual_and_fit(i + 1, tile, hidden_.weights(), above, fit_above_, array.panels);
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

  // residual ← U_i − b_i1ᵀ − W_i V_{i−1};  fit (unless null) ← V_i [− V_{i−1}] − σ(U_i)
  void residual_and_fit(std::size_t i, Tile tile, const T* packed, T* residual, T* fit,
                        const Panels<T>& panels) const {
    const Layer<T>& l = layers_[i];
    const Index size = tile.size * l.out;
    const T* const below = previous(i) + tile.begin * l.in;
    const T* const u = l.U + tile.begin * l.out;
    const T* const v = l.V + tile.begin * l.out;
    affine(l, tile.size, packed, below, residual, panels.right.data());
    for (Index k = 0; k < size; ++k) residual[k] = u[k] - residual[k];
    if (!fit) return;
    l.activation->value(size, u, fit);
    for (Index k = 0; k < size; ++k) fit[k] = v[k] - fit[k];
    if (l.skip)
      for (Index k = 0; k < size; ++k) fit[k] -= below[k];
  }

  double u_distance(std::size_t i, Tile tile, const T* fit, const T* residual, T* left,
                    T* right) const {
    const Layer<T>& l = layers_[i];
    const Index size = tile.size * l.out;
    const T* const u = l.U + tile.begin * l.out;
    l.activation->derivative(size, u, Side::left, left);
    l.activation->derivative(size, u, Side::right, right);
    return preactivation_distance(size, fit, residual, left, right, options_.gamma[i],
                                  options_.rho[i]);
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
  // Of one thread: for regularised V_i.
  std::vector<typename HiddenBlock<T>::Workspace> steps_;
  Buffer<T> carry_;  // gradients of late layers, until V_{i−1} is known
  std::vector<Measurement> measurement_;
  double loss_value_ = 0;
  Report report_;
  std::size_t first_fit_ = 0;  // of the parts: those before are the loss and the regularisers
  PhaseClock<Phase::count> clock_;
};

}  // namespace amcore
