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
#include "amcore/scheme/declaration.hpp"
#include "amcore/scheme/layered_scheme.hpp"
#include "amcore/scheme/product_cache.hpp"

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

struct AdmmOptions {
  std::vector<double> beta, xi;       // one per layer
  std::vector<Majorizer> majorizers;  // one per layer
  bool backprop;                      // Λ starts from the derivatives of the loss, else from 0

  template <class Visit> void each(Visit&& option) {
    option("beta", beta, Range::positive);
    option("xi", xi, Range::nonnegative);
    option("majorizers", majorizers);
    option("backprop", backprop);
  }
};

template <class T> class ADMM final : public LayeredScheme<T, AdmmSum::count> {
 public:
  using Options = AdmmOptions;

  static Declaration declaration() {
    return {.variables = {{"W"}, {"b"}, {"V"}, {"Lambda"}, {"V_old"}},
            .ridge = true,
            .identity_output = true};
  }

  ADMM(const Problem<T>& problem, Options options, const Execution& execution)
      : Base(problem, execution, 13, 15), options_(std::move(options)) {
    Index hidden_out = 1, hidden_in = 1, out = 0, in = 0;
    for (std::size_t i = 0; i < depth(); ++i) {
      const Layer<T>& l = layers_[i];
      out = std::max(out, l.out);
      in = std::max(in, l.in);
      if (i > 0) {
        hidden_out = std::max(hidden_out, l.out);
        hidden_in = std::max(hidden_in, l.in);
      }
      steps_.emplace_back(l.out * (l.in + 1));
    }
    hidden_ = HiddenBlock<T>(hidden_out, hidden_in, threads_);
    transposed_ = Buffer<T>(left_panels_size<T>(in, out));
    packed_step_ = Buffer<T>(left_panels_size<T>(out, in));
    packed_first_step_ = Buffer<T>(left_panels_size<T>(layers_[0].out, layers_[0].in));
    width_ = out;
    carry_ = Buffer<T>(width_ * problem.samples);
    products_ = ProductCache<T>(layers_, plan_, execution.keep_products);
    h_.resize(depth());
    long_.resize(depth());
    measurement_.resize(depth());
    name_report();
  }

  void forward() override {
    Base::forward();
    for (std::size_t i = depth(); i-- > 0;) start_multipliers(i);
  }

  const Report& sweep(bool measure) override {
    begin();
    clock_.time(Phase::pass, [&] {
      for (std::size_t i = 0; i < depth(); ++i) h_[i] = curvature(i);
    });
    for (std::size_t i = depth(); i-- > 0;) {
      clock_.time(Phase::pass, [&] { weight_pass(i); });
      clock_.time(Phase::weight, [&] { weight_update(i, measure); });
    }
    for (std::size_t i = 0; i < depth(); ++i) {
      clock_.time(Phase::factor, [&] { prepare_pass(i, measure); });
      clock_.time(Phase::pass, [&] { update_pass(i, measure); });
    }
    return fill_report(measure, true);
  }

  const Report& measure() override {
    begin();
    for (std::size_t i = 0; i < depth(); ++i) clock_.time(Phase::pass, [&] { measuring_pass(i); });
    return fill_report(true, false);
  }

 private:
  using Base = LayeredScheme<T, AdmmSum::count>;
  using Sum = AdmmSum;
  using Base::depth, Base::pack_weights, Base::pass, Base::previous;
  using Base::gradient_sums_, Base::layers_, Base::loss_, Base::loss_weight_, Base::packed_;
  using Base::plan_, Base::sums_, Base::threads_, Base::Y_;
  using typename Base::Tally;
  using typename Base::Workspace;

  struct Measurement {
    double regularizer = 0, primal = 0, multiplier = 0, memory = 0;  // for the parts
    double distance_w = 0, distance_v = 0;                           // squared
    double step_w = 0, old_memory = 0;                               // squared
    double decrease = 0;
  };
  struct Phase {
    enum : std::size_t { pass, factor, weight, count };
  };
  // The arrays of layer i after the sweep, for the samples of a tile.
  struct Values {
    const T *v, *lambda, *v_old;
  };

  void begin() {
    measurement_.assign(depth(), {});
    loss_value_ = 0;
    clock_.reset();
  }

  // out ← T_i
  void multiplied(std::size_t i, Tile tile, T* out) const {
    const Layer<T>& l = layers_[i];
    const T* const v = l.V + tile.begin * l.out;
    const T* const lambda = l.Lambda + tile.begin * l.out;
    const T share = static_cast<T>(1 / options_.beta[i]);
    for (Index k = 0; k < tile.size * l.out; ++k) out[k] = v[k] - share * lambda[k];
  }

  double curvature(std::size_t i) {
    const Majorizer& majorizer = options_.majorizers[i];
    if (!(majorizer.slope > 0)) return majorizer(0);
    return majorizer(Base::greatest(i, [&](Tile tile, const Workspace& array) {
      multiplied(i, tile, array(0));
      return distance_from(tile.size * layers_[i].out, array(0), majorizer.center);
    }));
  }

  void weight_pass(std::size_t i) {
    const Layer<T>& l = layers_[i];
    pack_weights(i);
    products_.begin(i, l);
    Base::begin_weight_sums(i);
    pass(i, [&](Index chunk, Tile tile, Tally&, const Workspace& array) {
      const T* const below = previous(i) + tile.begin * l.in;
      T* const target = array(4);
      const T* const z = products_.get(i, l, tile, packed_.data(), below, array(0), array.panels);
      for_each_slice<T>(tile, l.out, [&](Tile slice, Index at) {
        const Index size = slice.size * l.out;
        T* const t = array(1);
        multiplied(i, slice, t);
        majorized_target(size, *l.activation, z + at, t, h_[i], array(2), array(3), target + at);
        for (Index k = at; k < at + size; ++k) target[k] -= z[k];
      });
      sums_.add(chunk, tile.size, target, below, array.panels);
    });
    Base::reduce_weight_sums(i);
  }

  // With `measure`, steps_[i] ← (ΔW_i, Δb_i) or, where that is long, (W_i, b_i) as they were.
  void weight_update(std::size_t i, bool measure) {
    const Layer<T>& l = layers_[i];
    const Index size = l.out * l.in;
    T *const dw = steps_[i].data(), *const db = dw + size;
    if (measure) {
      std::copy_n(l.W, size, dw);
      if (l.b) std::copy_n(l.b, l.out, db);
    }
    const BlockStep moved = Base::update_weights(i, options_.beta[i] * h_[i], 0, {});
    long_[i] = measure && Base::is_long(moved.squared_step, size, l.W);
    if (measure && !long_[i]) {
      for (Index k = 0; k < size; ++k) dw[k] = l.W[k] - dw[k];
      for (Index k = 0; l.b && k < l.out; ++k) db[k] = l.b[k] - db[k];
    }
    Measurement& m = measurement_[i];
    m.step_w = moved.squared_step;
    m.decrease += moved.decrease;
    m.regularizer = l.regularizer->value(l.out, l.in, l.W);
  }

  // Pack what pass i multiplies with.
  void prepare_pass(std::size_t i, bool measure) {
    pack_weights(i);
    if (i == 0) products_.begin(0, layers_[0]);
    if (i + 1 < depth()) {
      const Layer<T>& above = layers_[i + 1];
      products_.begin(i + 1, above);
      hidden_.prepare(above.out, above.in, above.W, options_.beta[i],
                      options_.beta[i + 1] * h_[i + 1], static_cast<int>(i) + 1, threads_);
      if (measure) pack_step(i + 1, packed_step_);
    }
    if (!measure) return;
    if (i == 0) pack_step(0, packed_first_step_);
    pack_transposed(i);
  }
  void pack_step(std::size_t i, const Buffer<T>& panels) {
    const Layer<T>& l = layers_[i];
    pack_left_in_parallel(l.out, l.in, steps_[i].data(), l.in, Index(1), panels.data(), threads_);
  }
  void pack_transposed(std::size_t i) {
    const Layer<T>& l = layers_[i];
    pack_left_in_parallel(l.in, l.out, l.W, Index(1), l.in, transposed_.data(), threads_);
  }

  // V_i and Λ_i of every sample.
  void update_pass(std::size_t i, bool measure) {
    if (measure) Base::begin_gradient_sums(i);
    const Tally tally =
        pass(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace& array) -> const char* {
          return update_tile(i, measure, chunk, tile, sums, array);
        });
    Measurement& m = measurement_[i];
    m.old_memory = tally[Sum::old_memory];
    // Of V_i, of its memory, and of the multipliers, ‖ΔΛ_i‖²/β_i upwards.
    m.decrease += tally[Sum::decrease] +
                  options_.xi[i] * (tally[Sum::old_memory] - tally[Sum::memory]) -
                  options_.beta[i] * tally[Sum::primal];
    if (i == 0) m.decrease += options_.beta[0] * tally[Sum::gap_first];
    if (i + 1 < depth()) measurement_[i + 1].decrease += options_.beta[i + 1] * tally[Sum::gap];
    take(i, tally, measure);
  }

  // One tile of pass i; returns the block whose values are not finite, before they are written.
  const char* update_tile(std::size_t i, bool measure, Index chunk, Tile tile, Tally& tally,
                          const Workspace& array) {
    const bool top = i + 1 == depth();
    const Layer<T>& here = layers_[i];
    const Index t = tile.size, size = t * here.out;
    const double beta = options_.beta[i];
    const T* const below = previous(i) + tile.begin * here.in;
    T* const V = here.V + tile.begin * here.out;
    T* const V_old = here.V_old + tile.begin * here.out;
    T* const Lambda = here.Lambda + tile.begin * here.out;
    T* const right = array.panels.right.data();
    T *const sigma = array(1), *const s = array(2), *const v = array(3), *const lambda = array(4);

    const bool measure_first = measure && i == 0 && !here.activation->is_identity();
    const T* old_z = measure_first ? products_.of(0, here, tile) : nullptr;
    if (old_z && long_[0]) {
      std::copy_n(old_z, size, array(10));
      old_z = array(10);
    }
    const T* const z = products_.get(i, here, tile, packed_.data(), below, array(0), array.panels);
    if (measure_first) {
      multiplied(0, tile, array(5));
      tally[Sum::gap_first] +=
          weight_gap(0, t, packed_first_step_.data(), below, array(5), z, old_z, array);
    }

    // V_i is drawn to S = σ_i(Z_i) + Λ_i/β_i.
    const T share = static_cast<T>(1 / beta);
    for_each_slice<T>(tile, here.out, [&](Tile slice, Index at) {
      const Index count = slice.size * here.out;
      here.activation->value(count, z + at, sigma + at);
      for (Index k = at; k < at + count; ++k) s[k] = sigma[k] + share * Lambda[k];
    });

    if (top) {
      const T* const y = Y_ + tile.begin * here.out;
      output_update(here.out, t, loss_, loss_weight_, y, s, V, beta, 0, array(5), v);
      if (!all_finite(size, v)) return "V";
      if (measure)
        tally[Sum::decrease] +=
            output_step(here.out, t, loss_, loss_weight_, y, s, V, v, beta).decrease;
    } else {
      const Layer<T>& above = layers_[i + 1];
      const Index size_above = t * above.out;
      const double beta_above = options_.beta[i + 1], h = h_[i + 1];
      T *const z_above = array(5), *const target = array(6), *const value = array(7),
               *const slope = array(8), *const residual = array(9), *const step = array(10);
      affine(above, t, hidden_.weights(), V, z_above, array.panels);
      for_each_slice<T>(tile, above.out, [&](Tile slice, Index at) {
        multiplied(i + 1, slice, target + at);
        majorized_target(slice.size * above.out, *above.activation, z_above + at, target + at, h,
                         value + at, slope + at, residual + at);
      });
      hidden_.update(t, s, residual, above.b, residual, v, right);
      if (!all_finite(size, v)) return "V";
      if (measure) {
        const bool exact = above.activation->is_identity();  // the model is the truth
        if (!exact)
          tally[Sum::gap] += weight_gap(i + 1, t, packed_step_.data(), V, target, z_above,
                                        products_.of(i + 1, above, tile), array);
        T *const moved = array(9), *const scratch = array(11), *const change = array(12);
        for (Index k = 0; k < size; ++k) step[k] = v[k] - V[k];
        const double squared = sum_of_squares(size, step);
        if (Base::is_long(squared, size, v)) {
          const T* const z_new =
              products_.get(i + 1, above, tile, hidden_.weights(), v, array(2), array.panels);
          for (Index k = 0; k < size_above; ++k) change[k] = z_new[k] - z_above[k];
        } else {
          hidden_.apply(t, step, change, right);
        }
        tally[Sum::decrease] +=
            beta / 2 * squared + beta_above * h / 2 * sum_of_squares(size_above, change);
        if (!exact)
          tally[Sum::decrease] +=
              beta_above *
              sum(size_above, majorized_gaps(size_above, *above.activation, z_above, value, slope,
                                             target, change, h, moved, scratch));
      }
    }

    const char* failed = nullptr;
    for_each_slice<T>(tile, here.out, [&](Tile slice, Index at) {
      const Index count = slice.size * here.out;
      for (Index k = at; k < at + count; ++k)
        lambda[k] = Lambda[k] + static_cast<T>(beta) * (sigma[k] - v[k]);
      if (!all_finite(count, lambda + at)) failed = "Lambda";
      tally[Sum::old_memory] += squared_distance(count, V + at, V_old + at);
      account(i, slice, sigma + at, {v + at, lambda + at, V + at}, array(5), tally);
    });
    if (failed) return failed;
    if (measure) account_distance(i, chunk, tile, z, sigma, {v, lambda, V}, tally, array);
    std::copy_n(V, size, V_old);
    std::copy_n(v, size, V);
    std::copy_n(lambda, size, Lambda);
    return nullptr;
  }

  // What the model of W_i was above the truth after its step: x the input, T_i in `target`, z of x
  // with the new weights; `old` with the old ones, or null. Arrays 2, 4 and 9 to 12 are scratch.
  double weight_gap(std::size_t i, Index t, const T* packed_step, const T* x, const T* target,
                    const T* z, const T* old, const Workspace& array) const {
    const Layer<T>& l = layers_[i];
    const Index size = t * l.out;
    T *const value = array(2), *const slope = array(4), *const moved = array(9),
             *const step = array(11), *const change = array(12);
    Layer<T> moving = l;  // what is packed
    if (l.b) moving.b = steps_[i].data() + l.out * l.in;
    if (!long_[i]) {
      affine(moving, t, packed_step, x, step, array.panels);
      for (Index k = 0; k < size; ++k) array(10)[k] = z[k] - step[k];
      old = array(10);
    } else {
      if (!old) {
        affine(moving, t, packed_step, x, array(10), array.panels);
        old = array(10);
      }
      for (Index k = 0; k < size; ++k) step[k] = z[k] - old[k];
    }
    l.activation->value_and_derivative(size, old, value, slope);
    return sum(size, majorized_gaps(size, *l.activation, old, value, slope, target, step, h_[i],
                                    moved, change));
  }

  // The sums of a slice of layer i for the objective, from its values after the sweep and sigma =
  // σ_i(Z_i); residual ← R_i.
  void account(std::size_t i, Tile slice, const T* sigma, const Values& now, T* residual,
               Tally& tally) const {
    const Layer<T>& here = layers_[i];
    const Index size = slice.size * here.out;
    for (Index k = 0; k < size; ++k) residual[k] = sigma[k] - now.v[k];
    tally[Sum::primal] += sum_of_squares(size, residual);
    tally[Sum::multiplier] +=
        sum(size, [&](Index k) { return static_cast<double>(now.lambda[k]) * residual[k]; });
    tally[Sum::memory] += squared_distance(size, now.v, now.v_old);
    if (i + 1 == depth())
      tally[Sum::loss] +=
          loss_weight_ * loss_.value(here.out, slice.size, now.v, Y_ + slice.begin * here.out);
  }

  // Those for dist(0, ∂f), from z = Z_i too. The rest of the gradient by V_i is carried to the pass
  // above.
  void account_distance(std::size_t i, Index chunk, Tile tile, const T* z, const T* sigma,
                        const Values& now, Tally& tally, const Workspace& array) {
    const bool top = i + 1 == depth();
    const Layer<T>& here = layers_[i];
    const Index t = tile.size, size = t * here.out;
    T *const force = array(6), *const outer = array(7), *const pulled = array(8);
    // ∂L/∂R_i = β_i R_i + Λ_i
    const T beta = static_cast<T>(options_.beta[i]), weight = static_cast<T>(2 * options_.xi[i]);
    here.activation->derivative(size, z, Side::right, outer);
    for (Index k = 0; k < size; ++k) {
      force[k] = beta * (sigma[k] - now.v[k]) + now.lambda[k];
      outer[k] *= force[k];
    }
    gradient_sums_.add(chunk, t, outer, previous(i) + tile.begin * here.in, array.panels);
    T* const carry = carry_.data() + tile.begin * width_;
    if (i > 0) {
      pack_right(here.out, t, outer, array.panels.right.data());
      multiply(here.in, t, here.out, transposed_.data(), array.panels.right.data(),
               Destination<T>{pulled, here.in});
      for (Index k = 0; k < t * here.in; ++k) pulled[k] += carry[k];
      tally[Sum::distance_v_below] += sum_of_squares(t * here.in, pulled);
    }
    for (Index k = 0; k < size; ++k) carry[k] = weight * (now.v[k] - now.v_old[k]) - force[k];
    if (top)
      tally[Sum::distance_v] += loss_.squared_distance(
          here.out, t, now.v, Y_ + tile.begin * here.out, carry, 1, loss_weight_);
  }

  void take(std::size_t i, const Tally& tally, bool measure) {
    Measurement& m = measurement_[i];
    m.primal = tally[Sum::primal];
    m.multiplier = tally[Sum::multiplier];
    m.memory = tally[Sum::memory];
    loss_value_ += tally[Sum::loss];
    if (!measure) return;
    m.distance_w = Base::weight_distance(i, -1);
    m.distance_v = tally[Sum::distance_v];
    if (i > 0) measurement_[i - 1].distance_v = tally[Sum::distance_v_below];
  }

  // Everything about layer i at the state as it is.
  void measuring_pass(std::size_t i) {
    const Layer<T>& l = layers_[i];
    pack_weights(i);
    products_.begin(i, l);
    pack_transposed(i);
    Base::begin_gradient_sums(i);
    const Tally tally = pass(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace& array) {
      const Index first = tile.begin * l.out;
      const T* const below = previous(i) + tile.begin * l.in;
      T* const sigma = array(1);
      const T* const z = products_.get(i, l, tile, packed_.data(), below, array(0), array.panels);
      const Values now{l.V + first, l.Lambda + first, l.V_old + first};
      l.activation->value(tile.size * l.out, z, sigma);
      account(i, tile, sigma, now, array(5), sums);
      account_distance(i, chunk, tile, z, sigma, now, sums, array);
    });
    measurement_[i].regularizer = l.regularizer->value(l.out, l.in, l.W);
    take(i, tally, true);
  }

  // V̂_i ← V_i;  Λ_i ← 0, or Λ_N = c ∇ℓ(V_N), Λ_i = W_{i+1}ᵀ(Λ_{i+1} ⊙ σ'_{i+1}(W_{i+1} V_i))
  void start_multipliers(std::size_t i) {
    const Layer<T>& here = layers_[i];
    const bool top = i + 1 == depth();
    if (!top && options_.backprop) {
      pack_weights(i + 1);
      pack_transposed(i + 1);
    }
    pass(i, [&](Index, Tile tile, Tally&, const Workspace& array) {
      const Index t = tile.size, size = t * here.out;
      const T* const v = here.V + tile.begin * here.out;
      T* const lambda = here.Lambda + tile.begin * here.out;
      std::copy_n(v, size, here.V_old + tile.begin * here.out);
      if (!options_.backprop) {
        std::fill_n(lambda, size, T(0));
      } else if (top) {
        loss_.gradient(here.out, t, v, Y_ + tile.begin * here.out, Side::right, lambda);
        for (Index k = 0; k < size; ++k) lambda[k] *= static_cast<T>(loss_weight_);
      } else {
        const Layer<T>& above = layers_[i + 1];
        const T* const lambda_above = above.Lambda + tile.begin * above.out;
        T *const z = array(0), *const outer = array(1), *const right = array.panels.right.data();
        affine(above, t, packed_.data(), v, z, array.panels);
        above.activation->derivative(t * above.out, z, Side::right, outer);
        for (Index k = 0; k < t * above.out; ++k) outer[k] *= lambda_above[k];
        pack_right(above.out, t, outer, right);
        multiply(here.out, t, above.out, transposed_.data(), right,
                 Destination<T>{lambda, here.out});
      }
    });
    if (!all_finite(here.out * plan_.samples(), here.Lambda))
      throw NumericalError("the start of the multipliers is not finite", static_cast<int>(i) + 1,
                           "Lambda");
  }

  static double squared_distance(Index n, const T* a, const T* b) {
    return sum(n, [&](Index k) { return square(static_cast<double>(a[k]) - b[k]); });
  }

  void name_report() {
    report_.parts = {{"loss", 0}, {"weight_regularizer", 0}};
    for (const char* term : {"penalty", "multiplier", "memory"})
      for (std::size_t i = 1; i <= depth(); ++i)
        report_.parts.emplace_back(term + std::to_string(i), 0);
    report_.monitors = {{"lagrangian", 0}};
    for (std::size_t i = 1; i <= depth(); ++i) {
      for (const char* variable : {"W", "V", "Lambda", "V_old"})
        report_.distance.emplace_back(variable + std::to_string(i), 0);
      for (const char* residual : {"primal", "dual"})
        report_.monitors.emplace_back(residual + std::to_string(i), 0);
    }
    report_.step_norm = report_.distance;
    report_.seconds = {{"pass", 0}, {"factor", 0}, {"weight", 0}};
  }

  const Report& fill_report(bool measured, bool swept) {
    constexpr double unmeasured = std::numeric_limits<double>::quiet_NaN();
    const std::size_t N = depth();
    Report& r = report_;
    double lagrangian = loss_value_, memories = 0, squared_distance = 0, decrease = 0;
    r.parts[0].second = loss_value_;
    r.parts[1].second = 0;
    for (std::size_t i = 0; i < N; ++i) {
      const Measurement& m = measurement_[i];
      const double beta = options_.beta[i], xi = options_.xi[i];
      const std::array terms{beta / 2 * m.primal, m.multiplier, xi * m.memory};
      for (std::size_t k = 0; k < 3; ++k) r.parts[2 + k * N + i].second = terms[k];
      r.parts[1].second += m.regularizer;
      lagrangian += m.regularizer + terms[0] + terms[1];
      memories += terms[2];
      r.monitors[1 + 2 * i].second = std::sqrt(m.primal);
      r.monitors[2 + 2 * i].second = beta * std::sqrt(m.memory);
      const std::array distances{m.distance_w, m.distance_v, m.primal, square(2 * xi) * m.memory},
          steps{m.step_w, m.memory, square(beta) * m.primal, m.old_memory};
      for (std::size_t k = 0; k < 4; ++k) {
        r.distance[4 * i + k].second = measured ? std::sqrt(distances[k]) : unmeasured;
        r.step_norm[4 * i + k].second = measured && swept ? std::sqrt(steps[k]) : unmeasured;
        squared_distance += distances[k];
      }
      decrease += m.decrease;
    }
    r.monitors[0].second = lagrangian;
    r.objective = lagrangian + memories;
    r.subgradient_distance = measured ? std::sqrt(squared_distance) : unmeasured;
    r.decrease = measured && swept ? decrease : unmeasured;
    clock_.report(r.seconds);
    if (!std::isfinite(r.objective))
      throw NumericalError("the objective is not finite", static_cast<int>(N), "V");
    return r;
  }

  Options options_;
  HiddenBlock<T> hidden_;
  // W_iᵀ; steps_ of layer i+1, and of layer 1: packed.
  Buffer<T> transposed_, packed_step_, packed_first_step_;
  std::vector<Buffer<T>> steps_;  // of (W_i, b_i), by layer, or what they were where these are long
  std::vector<bool> long_;        // by layer, if measured
  Buffer<T> carry_;               // a sample every width_
  Index width_ = 0;
  ProductCache<T> products_;  // Z_i
  std::vector<double> h_;     // of this sweep, by layer
  std::vector<Measurement> measurement_;
  double loss_value_ = 0;
  Report report_;
  PhaseClock<Phase::count> clock_;
};

}  // namespace amcore
