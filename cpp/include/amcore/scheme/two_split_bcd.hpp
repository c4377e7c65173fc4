// Two-splitting block coordinate descent:
//
//   f(W, V) = c ℓ(V_N, Y) + Σ r_i(W_i) + Σ s_i(V_i) + Σ γ_i/2 ‖V_i − σ_i(W_i V_{i−1} + b_i1ᵀ)‖²
//
// A sweep lowers f + α/2‖block − old block‖² over V_N, W_N, then V_i, W_i for i = N−1, …, 1, always
// with the newest values: exactly where no activation but the identity stands around the block,
// else by majorised least squares (block/majorized.hpp), whose curvature h is doubled for the
// samples of V_i and the rows of W_i that would rise. Every s_i is a sum over samples. Zeng, Lau,
// Lin, Yao (ICML 2019), Algorithm 1; Xu, Bao, Xing (2022), equation (2).
//
// Pass i does V_i and collects the sums for W_i; after W_i has moved, the pass that checks it
// leaves Z_i = W_i V_{i−1} + b_i1ᵀ, as a sum with ΔW V_{i−1}, for the pass of V_{i−1}. That one
// needs W_i ΔV_{i−1}: where the step is long, as a difference from the product Z_i, which is kept
// for S of the next sweep; else by itself, and the next sweep computes Z_i. Flops per layer, square
// with width d and n samples: the step of V_i 4, Z_{i+1} 2 (short steps 4), the sums for W_i 2 + 1,
// ΔW V_{i−1} 2: 11 n d² (13); 9 where σ is the identity. A measurement adds E Vᵀ and Wᵀ E, 4 n d²,
// and what is not kept of Z_i, twice.
#pragma once

#include "amcore/block/majorized.hpp"
#include "amcore/scheme/declaration.hpp"
#include "amcore/scheme/layered_scheme.hpp"
#include "amcore/scheme/product_cache.hpp"

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
    rejected,    // samples
    unfinished,  // tiles that are not final at once
    count
  };
};

struct TwoSplitOptions {
  std::vector<double> gamma;  // one per layer
  double alpha;
  int inner_iters;                    // majorised steps of a block
  std::vector<Majorizer> majorizers;  // one per layer
  InnerLoop inner{};                  // for regularisers other than a ridge

  template <class Visit> void each(Visit&& option) {
    option("gamma", gamma, Range::positive);
    option("alpha", alpha, Range::positive);
    option("inner_iters", inner_iters);
    option("majorizers", majorizers);
    option(inner);
  }
};

template <class T> class TwoSplitBCD final : public LayeredScheme<T, TwoSplitSum::count> {
 public:
  using Options = TwoSplitOptions;

  static Declaration declaration() {
    return {.variables = {{"W"}, {"b"}, {"V"}}, .activation_regularizers = true};
  }

  TwoSplitBCD(const Problem<T>& problem, Options options, const Execution& execution)
      : Base(problem, execution, 15, 12), options_(std::move(options)) {
    Index out = 0, in = 0, nonlinear = 0, hidden_out = 1, hidden_in = 1, kept = 0;
    for (std::size_t i = 0; i < depth(); ++i) {
      const Layer<T>& l = layers_[i];
      out = std::max(out, l.out);
      in = std::max(in, l.in);
      if (!is_exact(i)) nonlinear = std::max(nonlinear, l.out);
      if (i == 0) continue;
      hidden_out = std::max(hidden_out, l.out);
      hidden_in = std::max(hidden_in, l.in);
      if (!is_exact(i) && options_.inner_iters > 1) kept = std::max(kept, l.in);
    }
    const Index n = problem.samples;
    hidden_ = HiddenBlock<T>(hidden_out, hidden_in, threads_);
    products_ = ProductCache<T>(layers_, plan_, execution.keep_products);
    if (!execution.keep_products) product_ = Buffer<T>(n * nonlinear);
    moved_product_ = Buffer<T>(n * nonlinear);
    start_v_ = Buffer<T>(n * kept);
    state_of_ = Buffer<Progress>(n);
    is_product_ = Buffer<bool>(plan_.tiles());
    const Index weights = out * (in + 1);
    for (Buffer<T>* buffer : {&old_, &new_, &anchor_, &step_}) *buffer = Buffer<T>(weights);
    for (Buffer<double>* buffer : {&gain_, &size_}) *buffer = Buffer<double>(out);
    left_ = Buffer<bool>(out);
    row_sums_ = Buffer<double>(plan_.chunks() * 3 * out);
    measurement_.resize(depth());
    name_report();
  }

  const Report& sweep(bool measure) override {
    start();
    for (std::size_t i = depth(); i-- > 0;) {
      if (i + 1 == depth())
        clock_.time(Phase::pass, [&] { output_pass(); });
      else
        update_hidden(i, measure);
      update_weight(i);
    }
    clock_.time(Phase::pass, [&] { closing_pass(); });
    if (measure) measure_distances();
    return fill_report(measure, true);
  }

  const Report& measure() override {
    start();
    measure_distances();
    for (Measurement& m : measurement_) {
      m.fit = m.measured_fit;
      m.regularizer_v = m.measured_regularizer_v;
    }
    loss_value_ = measured_loss_;
    return fill_report(true, false);
  }

 private:
  using Base = LayeredScheme<T, TwoSplitSum::count>;
  using Sum = TwoSplitSum;
  using Base::depth, Base::pack_weights, Base::pass, Base::previous;
  using Base::gradient_sums_, Base::layers_, Base::loss_, Base::loss_weight_, Base::packed_;
  using Base::is_inexact, Base::regularizes_activations, Base::ridge_v;
  using Base::plan_, Base::collective_, Base::sums_, Base::threads_, Base::Y_;
  using typename Base::Tally;
  using typename Base::Workspace;

  static constexpr int doublings = 30;

  enum class Progress : unsigned char { settled, unsettled, pending };

  struct Measurement {
    double regularizer_w = 0, regularizer_v = 0, fit = 0;  // parts of the objective
    double measured_regularizer_v = 0, measured_fit = 0;
    double distance_w = 0, distance_v = 0;  // squared
    double step_w = 0, step_v = 0;          // squared
    double decrease = 0;
  };
  struct Phase {
    enum : std::size_t { pass, factor, weight, measuring, count };
  };

  void start() {
    measurement_.assign(depth(), {});
    loss_value_ = 0;
    clock_.reset();
    for (std::size_t i = 0; i < depth(); ++i) {
      const Layer<T>& l = layers_[i];
      measurement_[i].regularizer_w = l.regularizer->value(l.out, l.in, l.W);
    }
  }

  bool is_exact(std::size_t i) const { return layers_[i].activation->is_identity(); }
  // Z_i of a tile or slice, for i with an activation: as the sweep finds it, after the step of W_i,
  // and after that of V_{i−1} too.
  T* product(std::size_t i, const Tile& tile) const {
    T* const kept = products_.of(i, layers_[i], tile);
    return kept ? kept : product_.data() + tile.begin * layers_[i].out;
  }
  T* moved_product(std::size_t i, const Tile& tile) const {
    return moved_product_.data() + tile.begin * layers_[i].out;
  }
  T* final_product(std::size_t i, const Tile& tile) const {
    T* const kept = products_.of(i, layers_[i], tile);
    return kept ? kept : moved_product(i, tile);
  }

  double curvature(std::size_t i) {
    const Majorizer& majorizer = options_.majorizers[i];
    if (!(majorizer.slope > 0)) return majorizer(0);
    const Index out = layers_[i].out;
    return majorizer(Base::greatest(i, [&](Tile tile, const Workspace&) {
      return distance_from(tile.size * out, layers_[i].V + tile.begin * out, majorizer.center);
    }));
  }

  // V_N, and the sums for W_N.
  void output_pass() {
    const std::size_t i = depth() - 1;
    const Layer<T>& l = layers_[i];
    pack_weights(i);
    products_.begin(i, l);
    Base::begin_weight_sums(i);
    const Tally tally =
        pass(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace& array) -> const char* {
          const Index t = tile.size, size = t * l.out;
          const T* const y = Y_ + tile.begin * l.out;
          T* const V = l.V + tile.begin * l.out;
          T *const s = array(0), *const v = array(1);
          target_from_below(i, tile, s, array);
          const char* const failed =
              Base::update_output(tile, s, options_.gamma[i], options_.alpha, options_.inner, array,
                                  array(2), array(3), v);
          if (failed) return failed;
          const BlockStep moved =
              output_step(l.out, t, loss_, loss_weight_, y, s, V, v, options_.gamma[i]);
          sums[Sum::step_v] += moved.squared_step;
          sums[Sum::decrease_v] += moved.decrease;
          sums[Sum::loss] += loss_weight_ * loss_.value(l.out, t, v, y);
          if (l.activation_regularizer) {
            sums[Sum::decrease_v] += l.activation_regularizer->difference(t, l.out, V, v);
            sums[Sum::regularizer_v] += l.activation_regularizer->value(t, l.out, v);
          }
          std::copy_n(v, size, V);
          add_weight_sums(i, chunk, tile, array);
          return nullptr;
        });
    Base::reduce_weight_sums(i);
    loss_value_ = tally[Sum::loss];
    measurement_[i].regularizer_v = tally[Sum::regularizer_v];
    measurement_[i].step_v = tally[Sum::step_v];
    measurement_[i].decrease += tally[Sum::decrease_v];
  }

  // s ← σ_i(Z_i)
  void target_from_below(std::size_t i, Tile tile, T* s, const Workspace& array) {
    const Layer<T>& l = layers_[i];
    T* const scratch = is_exact(i) ? s : product(i, tile);
    const T* const z = products_.get(i, l, tile, packed_.data(), previous(i) + tile.begin * l.in,
                                     scratch, array.panels);
    if (z != s) l.activation->value(tile.size * l.out, z, s);
  }

  // What the sums for W_i take: V_i − Z_i, or −E_i = (V_i − σ(Z_i))⊙σ'(Z_i).
  void add_weight_sums(std::size_t i, Index chunk, Tile tile, const Workspace& array) {
    const Layer<T>& l = layers_[i];
    const Index size = tile.size * l.out;
    const T* const v = l.V + tile.begin * l.out;
    const T* const below = previous(i) + tile.begin * l.in;
    T *const r = array(0), *const slope = array(1);
    if (is_exact(i)) {
      const T* const z = products_.get(i, l, tile, packed_.data(), below, r, array.panels);
      for (Index k = 0; k < size; ++k) r[k] = v[k] - z[k];
    } else {
      const T* const z = product(i, tile);
      for_each_slice<T>(tile, l.out, [&](Tile slice, Index at) {
        const Index count = slice.size * l.out;
        l.activation->value_and_derivative(count, z + at, r + at, slope);
        for (Index k = 0; k < count; ++k) r[at + k] = (v[at + k] - r[at + k]) * slope[k];
      });
    }
    sums_.add(chunk, tile.size, r, below, array.panels);
  }

  // V_i, i < N, and the sums for W_i.
  void update_hidden(std::size_t i, bool measure) {
    pack_weights(i);
    products_.begin(i, layers_[i]);
    products_.begin(i + 1, layers_[i + 1]);
    Base::begin_weight_sums(i);
    const int steps = is_exact(i + 1) ? 1 : options_.inner_iters;
    Tally total{};
    for (int step = 0; step < steps; ++step) {
      double h = is_exact(i + 1) ? 1 : curvature(i + 1);
      std::fill_n(state_of_.data(), plan_.samples(), Progress::settled);
      for (int level = 0; level <= doublings; ++level, h *= 2) {
        clock_.time(Phase::factor, [&] {
          Base::prepare_hidden(hidden_, i, options_.gamma[i] + options_.alpha,
                               options_.gamma[i + 1] * h);
        });
        Tally tally{};
        clock_.time(Phase::pass,
                    [&] { tally = hidden_pass(i, step, step + 1 == steps, level, h, measure); });
        for (std::size_t k = 0; k < tally.size(); ++k) total[k] += tally[k];
        if (tally[Sum::rejected] == 0) break;
      }
      if (step + 1 == steps) clock_.time(Phase::pass, [&] { finishing_pass(i, total); });
    }
    Base::reduce_weight_sums(i);
    Measurement& m = measurement_[i];
    m.regularizer_v = total[Sum::regularizer_v];
    m.step_v = total[Sum::step_v];
    m.decrease += total[Sum::decrease_v];
    measurement_[i + 1].fit = total[Sum::fit_above];
  }

  // One majorised step of the samples of V_i: of all at level 0, after that of those left.
  Tally hidden_pass(std::size_t i, int step, bool last, int level, double h, bool measure) {
    return pass(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace& array) -> const char* {
      Progress* const progress = state_of_.data() + tile.begin;
      if (level > 0 && std::none_of(progress, progress + tile.size,
                                    [](Progress p) { return p == Progress::unsettled; }))
        return nullptr;
      const char* const failed = move_samples(i, step, level, h, measure, tile, sums, array);
      if (failed) return failed;
      if (!last || level > 0) return nullptr;
      if (!Base::keeps_gram(i) && std::all_of(progress, progress + tile.size,
                                              [](Progress p) { return p == Progress::settled; })) {
        finish_tile(i, chunk, tile, sums, array);
      } else {  // its other samples have moved, or the tiles are finished in order
        std::replace(progress, progress + tile.size, Progress::settled, Progress::pending);
        ++sums[Sum::unfinished];
      }
      return nullptr;
    });
  }

  // S = σ(Z_i);  the model's minimiser from V;  kept sample by sample where it does not rise.
  const char* move_samples(std::size_t i, int step, int level, double h, bool measure, Tile tile,
                           Tally& sums, const Workspace& array) {
    const Layer<T>&here = layers_[i], &above = layers_[i + 1];
    const bool exact = is_exact(i + 1), inexact = is_inexact(here);
    const double pull = options_.gamma[i] + options_.alpha, gamma_above = options_.gamma[i + 1];
    const double ridge = ridge_v(here);
    Progress* const progress = state_of_.data() + tile.begin;
    T *const V = here.V + tile.begin * here.out, *const s = array(0);
    const T* const v_above = above.V + tile.begin * above.out;
    const bool begins = step == 0 && level == 0;
    T* const final_z = exact ? nullptr : final_product(i + 1, tile);
    const T* const z_above = begins && !exact ? moved_product(i + 1, tile) : final_z;
    T* const first =
        options_.inner_iters > 1 && !exact ? start_v_.data() + tile.begin * here.out : nullptr;
    if (begins) {
      products_.forget(i + 1, tile);
      target_from_below(i, tile, s, array);
      if (first) std::copy_n(V, tile.size * here.out, first);
    } else if (is_exact(i)) {
      target_from_below(i, tile, s, array);
    } else {
      here.activation->value(tile.size * here.out, product(i, tile), s);
    }
    const T* const start = first ? first : V;
    const T share = static_cast<T>(options_.alpha / pull);
    const T shrink = static_cast<T>(pull / (pull + ridge));
    for (Index k = 0; k < tile.size * here.out; ++k) s[k] += share * (start[k] - s[k]);
    if (ridge > 0)
      for (Index k = 0; k < tile.size * here.out; ++k) s[k] *= shrink;

    // The samples to move, close together. An array is read before the sample is written.
    Index t = tile.size;
    const T *from = V, *z = z_above, *goal = v_above;
    if (level > 0) {
      t = 0;
      T *const some_from = array(2), *const some_z = array(3), *const some_goal = array(4);
      for (Index j = 0; j < tile.size; ++j) {
        if (progress[j] != Progress::unsettled) continue;
        if (t < j) std::copy_n(s + j * here.out, here.out, s + t * here.out);
        std::copy_n(V + j * here.out, here.out, some_from + t * here.out);
        std::copy_n(v_above + j * above.out, above.out, some_goal + t * above.out);
        if (!exact) std::copy_n(z_above + j * above.out, above.out, some_z + t * above.out);
        ++t;
      }
      from = some_from;
      z = some_z;
      goal = some_goal;
    }
    const Index size = t * here.out, size_above = t * above.out;
    T *const value = array(5), *const slope = array(6), *const residual = array(7);
    if (!exact)
      for_each_slice<T>(Tile{0, t}, above.out, [&](Tile slice, Index at) {
        majorized_target(slice.size * above.out, *above.activation, z + at, goal + at, h,
                         value + at, slope + at, residual + at);
      });
    const T* const target = exact ? goal : residual;  // of W_{i+1} V_i + b_{i+1}1ᵀ
    T* const panels = array.panels.right.data();
    T* const v = inexact ? array(1) : s;  // else in the place of S
    if (inexact) {
      // Steps that go nowhere would hide it.
      if (!all_finite(size, s) || !all_finite(size_above, target)) return "V";
      std::copy_n(from, size, v);
      const T share_h = static_cast<T>(1 / h);
      if (exact)
        hidden_.residual(t, v, target, above.b, residual, panels);
      else  // −E/h
        for (Index k = 0; k < size_above; ++k)
          residual[k] = share_h * (goal[k] - value[k]) * slope[k];
      hidden_.update(t, s, residual, v, panels, *here.activation_regularizer, options_.inner,
                     array.steps);
    } else {
      hidden_.update(t, s, target, above.b, residual, v, panels);
    }
    if (!all_finite(size, v)) return "V";
    T *const delta = array(8), *const change = array(9), *const moved = array(10),
             *const difference = array(11);
    for (Index k = 0; k < size; ++k) delta[k] = v[k] - from[k];
    const bool by_product =
        !exact && options_.inner_iters == 1 && Base::is_long(sum_of_squares(size, delta), size, v);
    T* const product = array(12);
    if (by_product) {
      affine(above, t, hidden_.weights(), v, product, array.panels);
      for (Index k = 0; k < size_above; ++k) change[k] = product[k] - z[k];
    } else if (!exact || measure) {
      hidden_.apply(t, delta, change, panels);
    } else {  // only the decrease would need it
      std::fill_n(change, size_above, T(0));
    }

    bool all = true;
    for (Index j = 0, g = 0; j < tile.size; ++j) {
      if (level > 0 && progress[j] != Progress::unsettled) continue;
      const Index a = g * here.out, b = g * above.out;
      const double squared = sum_of_squares(here.out, delta + a);
      const double model = inexact ? array.steps.loop.fall(g)
                                   : ((pull + ridge) * squared +
                                      gamma_above * h * sum_of_squares(above.out, change + b)) /
                                         2;
      double gain = model;
      if (!exact)
        gain +=
            gamma_above *
            sum(above.out, majorized_gaps(above.out, *above.activation, z + b, value + b, slope + b,
                                          goal + b, change + b, h, moved + b, difference + b));
      ++g;
      if (!accepted(gain, model)) {
        progress[j] = Progress::unsettled;
        ++sums[Sum::rejected];
        all = false;
        if (!exact && z_above != final_z) std::copy_n(z + b, above.out, final_z + j * above.out);
        continue;
      }
      if (level > 0) progress[j] = Progress::pending;
      std::copy_n(v + a, here.out, V + j * here.out);
      if (!exact)
        std::copy_n((by_product ? product : moved) + b, above.out, final_z + j * above.out);
      sums[Sum::decrease_v] += gain;
      if (!first) {
        sums[Sum::step_v] += squared;
        sums[Sum::decrease_v] += options_.alpha / 2 * squared;
      }
    }
    if (exact) {
      T* const kept = begins ? products_.of(i + 1, above, tile) : nullptr;
      T* const z_new = kept ? kept : residual;
      affine(above, t, hidden_.weights(), v, z_new, array.panels);
      sums[Sum::fit_above] += gamma_above / 2 * squared_difference(size_above, target, z_new);
    }
    bool& is_product = is_product_.data()[tile.number];
    is_product = (begins || is_product) && (exact ? begins && all : by_product);
    return nullptr;
  }

  // Whether an objective did not rise, but for the rounding of terms of that size.
  static bool accepted(double gain, double size) {
    return gain >= -8 * std::numeric_limits<double>::epsilon() * size;
  }

  // V_i of a tile is final.
  void finish_tile(std::size_t i, Index chunk, Tile tile, Tally& sums, const Workspace& array) {
    const Layer<T>&here = layers_[i], &above = layers_[i + 1];
    const T* const V = here.V + tile.begin * here.out;
    const Progress* const progress = state_of_.data() + tile.begin;
    if (is_product_.data()[tile.number] &&
        std::find(progress, progress + tile.size, Progress::unsettled) == progress + tile.size)
      products_.keep(i + 1, above, tile, V);
    if (here.activation_regularizer)
      sums[Sum::regularizer_v] += here.activation_regularizer->value(tile.size, here.out, V);
    if (!is_exact(i + 1)) {
      for_each_slice<T>(tile, above.out, [&](Tile slice, Index) {
        sums[Sum::fit_above] += options_.gamma[i + 1] / 2 *
                                squared_fit(i + 1, slice, final_product(i + 1, slice), array(0));
      });
      if (options_.inner_iters > 1) {
        const Index from = tile.begin * here.out;
        const double squared = sum(tile.size * here.out, [&](Index k) {
          return square(static_cast<double>(here.V[from + k]) - start_v_.data()[from + k]);
        });
        sums[Sum::step_v] += squared;
        sums[Sum::decrease_v] += options_.alpha / 2 * squared;
      }
    }
    add_weight_sums(i, chunk, tile, array);
  }

  // ‖V_i − σ(Z_i)‖² of a slice; fit: scratch.
  double squared_fit(std::size_t i, Tile slice, const T* z, T* fit) const {
    const Layer<T>& l = layers_[i];
    const Index size = slice.size * l.out;
    const T* const v = l.V + slice.begin * l.out;
    l.activation->value(size, z, fit);
    for (Index k = 0; k < size; ++k) fit[k] = v[k] - fit[k];
    return sum_of_squares(size, fit);
  }

  // Of the tiles of which not all samples settled at once, if any process has some.
  void finishing_pass(std::size_t i, Tally& total) {
    if (total[Sum::unfinished] == 0) return;
    const auto settled = [](Progress p) { return p == Progress::settled; };
    const Tally tally = pass(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace& array) {
      const Progress* const progress = state_of_.data() + tile.begin;
      if (!std::all_of(progress, progress + tile.size, settled))
        finish_tile(i, chunk, tile, sums, array);
    });
    for (std::size_t k = 0; k < tally.size(); ++k) total[k] += tally[k];
  }

  void update_weight(std::size_t i) {
    const Layer<T>& l = layers_[i];
    Measurement& m = measurement_[i];
    if (is_exact(i)) {
      clock_.time(Phase::weight, [&] {
        const BlockStep moved =
            Base::update_weights(i, options_.gamma[i], options_.alpha, options_.inner);
        m.step_w = moved.squared_step;
        m.decrease += moved.decrease;
      });
    } else {
      const Index size = l.out * l.in;
      copy_weights(l, anchor_.data());
      for (int step = 0; step < options_.inner_iters; ++step) {
        if (step > 0) clock_.time(Phase::pass, [&] { weight_sums_pass(i); });
        m.decrease += step_weight(i);
      }
      for (Index k = 0; k < size; ++k)
        m.step_w += square(static_cast<double>(l.W[k]) - anchor_.data()[k]);
      if (l.b)
        for (Index k = 0; k < l.out; ++k)
          m.step_w += square(static_cast<double>(l.b[k]) - anchor_.data()[size + k]);
      m.decrease += options_.alpha / 2 * m.step_w;
    }
    m.regularizer_w = l.regularizer->value(l.out, l.in, l.W);
  }

  // For another step of W_i.
  void weight_sums_pass(std::size_t i) {
    const Index out = layers_[i].out;
    Base::begin_weight_sums(i);
    pass(i, [&](Index chunk, Tile tile, Tally&, const Workspace& array) {
      products_.forget(i, tile);
      std::copy_n(moved_product(i, tile), tile.size * out, product(i, tile));
      add_weight_sums(i, chunk, tile, array);
    });
    Base::reduce_weight_sums(i);
  }

  // One majorised step of (W_i, b_i) from the sums; the fall of its objective, that of f and the
  // α-term. A regulariser that couples the rows couples their acceptance.
  double step_weight(std::size_t i) {
    const Layer<T>& l = layers_[i];
    const Index size = l.out * l.in, rows = l.regularizer->by_row() ? l.out : 1;
    copy_weights(l, old_.data());
    copy_weights(l, new_.data());
    std::fill_n(left_.data(), rows, true);
    double h = curvature(i), fall = 0;
    for (int level = 0; level <= doublings; ++level, h *= 2) {
      set_weights(l, old_.data());
      clock_.time(Phase::weight, [&] {
        Base::update_weights(i, options_.gamma[i], options_.alpha, options_.inner, h,
                             anchor_.data(), anchor_.data() + size);
      });
      clock_.time(Phase::pass, [&] { checking_pass(i, h, level == 0); });
      model_fall(i);
      bool all = true;
      for (Index r = 0; r < rows; ++r) {
        if (!left_.data()[r]) continue;
        if (!accepted(gain_.data()[r], size_.data()[r])) {
          all = false;
          continue;
        }
        left_.data()[r] = false;
        fall += gain_.data()[r];
        for (Index q = rows == 1 ? 0 : r; q < (rows == 1 ? l.out : r + 1); ++q) {
          std::copy_n(l.W + q * l.in, l.in, new_.data() + q * l.in);
          if (l.b) new_.data()[size + q] = l.b[q];
        }
      }
      if (all) {
        set_weights(l, new_.data());
        if (level > 0) clock_.time(Phase::pass, [&] { product_pass(i); });
        return fall;
      }
    }
    set_weights(l, new_.data());
    clock_.time(Phase::pass, [&] { product_pass(i); });
    return fall;
  }

  // By rows of W_i, over all samples: Σ(ΔZ)², ΣEΔZ, and the model above the truth;  and Z_i + ΔZ.
  // Of a first try of W_1, as V_0 stays, that is a product to be kept if the step is long.
  void checking_pass(std::size_t i, double h, bool first_try) {
    const Layer<T>& l = layers_[i];
    const Index size = l.out * l.in;
    T* const step = step_.data();
    for (Index k = 0; k < size; ++k) step[k] = l.W[k] - old_.data()[k];
    for (Index k = 0; k < l.out; ++k) step[size + k] = l.b ? l.b[k] - old_.data()[size + k] : T(0);
    moved_is_product_ = i == 0 && first_try && Base::is_long(sum_of_squares(size, step), size, l.W);
    if (moved_is_product_)
      pack_weights(i);
    else
      pack_left_in_parallel(l.out, l.in, step, l.in, Index(1), packed_.data(), threads_);
    const Layer<T> change{l.in, l.out, false, l.activation, l.regularizer, step, step + size};
    std::fill_n(row_sums_.data(), plan_.chunks() * 3 * l.out, 0.0);
    pass(i, [&](Index chunk, Tile tile, Tally&, const Workspace& array) {
      const Index t = tile.size;
      const T* const v = l.V + tile.begin * l.out;
      const T* const z = product(i, tile);
      const T* const below = previous(i) + tile.begin * l.in;
      T *const dz = array(0), *const next = moved_product(i, tile);
      if (moved_is_product_)
        affine(l, t, packed_.data(), below, next, array.panels);
      else
        affine(change, t, packed_.data(), below, dz, array.panels);
      double* const squares = row_sums_.data() + chunk * 3 * l.out;
      double *const slopes = squares + l.out, *const above = slopes + l.out;
      for_each_slice<T>(tile, l.out, [&](Tile slice, Index at) {
        const Index count = slice.size * l.out;
        T *const value = array(1), *const slope = array(2);
        T* const moved = moved_is_product_ ? array(4) : next + at;
        if (moved_is_product_)
          for (Index k = at; k < at + count; ++k) dz[k] = next[k] - z[k];
        l.activation->value_and_derivative(count, z + at, value, slope);
        const auto gap = majorized_gaps(count, *l.activation, z + at, value, slope, v + at, dz + at,
                                        h, moved, array(3));
        for (Index j = 0; j < count; j += l.out)
          for (Index k = 0; k < l.out; ++k) {
            const double d = dz[at + j + k];
            squares[k] += d * d;
            slopes[k] += (static_cast<double>(value[j + k]) - v[at + j + k]) * slope[j + k] * d;
            above[k] += gap(j + k);
          }
      });
    });
    for (Index chunk = 1; chunk < plan_.chunks(); ++chunk)
      for (Index k = 0; k < 3 * l.out; ++k)
        row_sums_.data()[k] += row_sums_.data()[chunk * 3 * l.out + k];
    collective_.sum(row_sums_.data(), 3 * l.out);
    h_ = h;
  }

  // The gain of every row, or of all together in the first, and how large its terms are.
  void model_fall(std::size_t i) {
    const Layer<T>& l = layers_[i];
    const Index size = l.out * l.in;
    const double gamma = options_.gamma[i], alpha = options_.alpha;
    const Regularizer<T>& r = *l.regularizer;
    const bool exact = r.is_ridge(), coupled = !r.by_row();
    for (Index q = 0; q < l.out; ++q) {
      const T *const now = l.W + q * l.in, *const before = old_.data() + q * l.in,
                     *const from = anchor_.data() + q * l.in;
      const double* const totals = row_sums_.data() + q;  // as in checking_pass
      const double half = gamma * h_ / 2 * totals[0], gap = gamma * totals[2 * l.out];
      const auto squared = [](double a, double b) { return square(a - b); };
      const auto pulled = [](double a, double b, double c) {
        return (a - b) * ((a - c) + (b - c));
      };
      double moved = sum(l.in, [&](Index k) { return squared(now[k], before[k]); });
      double gain, terms;
      if (exact) {  // half the curvature along the step
        const double ridge = r.ridge() * moved;
        if (l.b) moved += squared(l.b[q], old_.data()[size + q]);
        terms = half + (ridge + alpha * moved) / 2;
        gain = terms;
      } else {
        double pull = sum(l.in, [&](Index k) { return pulled(now[k], before[k], from[k]); });
        if (l.b) pull += pulled(l.b[q], old_.data()[size + q], anchor_.data()[size + q]);
        const double linear = gamma * totals[l.out];
        double rise = coupled ? 0 : r.difference(1, l.in, now, before);
        if (coupled && q == 0) rise = r.difference(l.out, l.in, l.W, old_.data());
        gain = -(linear + half + rise + alpha / 2 * pull);
        terms = std::abs(linear) + half + std::abs(rise) + std::abs(alpha / 2 * pull);
      }
      gain += gap;
      if (coupled && q > 0) {
        gain_.data()[0] += gain;
        size_.data()[0] += terms;
      } else {
        gain_.data()[q] = gain;
        size_.data()[q] = terms;
      }
    }
  }

  // Z_i from the weights as they are.
  void product_pass(std::size_t i) {
    const Layer<T>& l = layers_[i];
    moved_is_product_ = true;
    pack_weights(i);
    pass(i, [&](Index, Tile tile, Tally&, const Workspace& array) {
      affine(l, tile.size, packed_.data(), previous(i) + tile.begin * l.in, moved_product(i, tile),
             array.panels);
    });
  }

  static void copy_weights(const Layer<T>& l, T* to) {
    std::copy_n(l.W, l.out * l.in, to);
    if (l.b) std::copy_n(l.b, l.out, to + l.out * l.in);
  }
  static void set_weights(const Layer<T>& l, const T* from) {
    std::copy_n(from, l.out * l.in, l.W);
    if (l.b) std::copy_n(from + l.out * l.in, l.out, l.b);
  }

  // The fit of layer 1, final since W_1 is.
  void closing_pass() {
    const Layer<T>& l = layers_[0];
    if (is_exact(0)) pack_weights(0);
    products_.begin(0, l);
    const Tally tally = pass(0, [&](Index, Tile tile, Tally& sums, const Workspace& array) {
      const Index size = tile.size * l.out;
      const double half = options_.gamma[0] / 2;
      if (is_exact(0)) {
        const T* const z = products_.get(0, l, tile, packed_.data(),
                                         previous(0) + tile.begin * l.in, array(0), array.panels);
        sums[Sum::fit_here] += half * squared_difference(size, l.V + tile.begin * l.out, z);
        return;
      }
      const T* const z = moved_product(0, tile);
      for_each_slice<T>(tile, l.out, [&](Tile slice, Index at) {
        sums[Sum::fit_here] += half * squared_fit(0, slice, z + at, array(0));
      });
      T* const kept = products_.of(0, l, tile);
      if (!kept || !moved_is_product_) return;
      std::copy_n(z, size, kept);
      products_.keep(0, l, tile, nullptr);
    });
    measurement_[0].fit = tally[Sum::fit_here];
  }

  void measure_distances() {
    measured_loss_ = 0;
    clock_.time(Phase::measuring, [&] {
      for (std::size_t i = 0; i < depth(); ++i) measuring_pass(i);
    });
  }

  // fit ← V_i − σ(Z_i);  outer ← −E_i = fit⊙σ'(Z_i)
  void error(std::size_t i, Tile tile, const T* packed, T* scratch, T* fit, T* outer,
             const Panels<T>& panels) {
    const Layer<T>& l = layers_[i];
    const Index size = tile.size * l.out;
    const T* const v = l.V + tile.begin * l.out;
    const T* const z =
        products_.get(i, l, tile, packed, previous(i) + tile.begin * l.in, scratch, panels);
    l.activation->value_and_derivative(size, z, fit, outer);
    for (Index k = 0; k < size; ++k) {
      fit[k] = v[k] - fit[k];
      outer[k] *= fit[k];
    }
  }

  // dist(0, ∂f) in the blocks of layer i, and its fit, at the state as it is.
  void measuring_pass(std::size_t i) {
    const bool top = i + 1 == depth();
    const Layer<T>& here = layers_[i];
    pack_weights(i);
    products_.begin(i, here);
    if (!top) {
      const Layer<T>& above = layers_[i + 1];
      hidden_.pack(above.out, above.in, above.W, threads_);
      products_.begin(i + 1, above);
    }
    Base::begin_gradient_sums(i);
    const Tally tally = pass(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace& array) {
      const Index t = tile.size, size = t * here.out;
      const T* const v = here.V + tile.begin * here.out;
      T *const fit = array(1), *const outer = array(2);
      error(i, tile, packed_.data(), array(0), fit, outer, array.panels);
      sums[Sum::fit_here] += options_.gamma[i] / 2 * sum_of_squares(size, fit);
      gradient_sums_.add(chunk, t, outer, previous(i) + tile.begin * here.in, array.panels);
      const double gamma = options_.gamma[i];
      const Regularizer<T>* const regularizer = here.activation_regularizer;
      if (regularizer) sums[Sum::regularizer_v] += regularizer->value(t, here.out, v);
      if (top) {
        const T* const y = Y_ + tile.begin * here.out;
        sums[Sum::loss] += loss_weight_ * loss_.value(here.out, t, v, y);
        sums[Sum::distance_v] += Base::output_distance(tile, v, fit, gamma, array(3), array(4));
      } else {  // γ_i(V_i − σ(Z_i)) + γ_{i+1} W_{i+1}ᵀE_{i+1}
        T *const outer_above = array(3), *const pulled = array(4);
        error(i + 1, tile, hidden_.weights(), array(0), array(5), outer_above, array.panels);
        hidden_.apply_transposed(t, outer_above, pulled, array.panels.right.data());
        const double gamma_above = options_.gamma[i + 1];
        for (Index k = 0; k < size; ++k)
          pulled[k] = static_cast<T>(gamma * fit[k] - gamma_above * pulled[k]);
        sums[Sum::distance_v] += regularizer ? regularizer->squared_distance(t, here.out, v, pulled)
                                             : sum_of_squares(size, pulled);
      }
    });
    Measurement& m = measurement_[i];
    m.measured_fit = tally[Sum::fit_here];
    m.measured_regularizer_v = tally[Sum::regularizer_v];
    m.distance_v = tally[Sum::distance_v];
    m.distance_w = Base::weight_distance(i, options_.gamma[i]);
    measured_loss_ += tally[Sum::loss];
  }

  void name_report() {
    report_.parts = {{"loss", 0}, {"weight_regularizer", 0}};
    if (regularizes_activations()) report_.parts.emplace_back("activation_regularizer", 0);
    first_fit_ = report_.parts.size();
    for (std::size_t i = 1; i <= depth(); ++i) {
      report_.parts.emplace_back("activation" + std::to_string(i), 0);
      for (const char* variable : {"W", "V"})
        report_.distance.emplace_back(variable + std::to_string(i), 0);
    }
    report_.step_norm = report_.distance;
    report_.seconds = {{"pass", 0}, {"factor", 0}, {"weight", 0}, {"measure", 0}};
  }

  const Report& fill_report(bool measured, bool swept) {
    constexpr double unmeasured = std::numeric_limits<double>::quiet_NaN();
    Report& r = report_;
    r.objective = r.parts[0].second = loss_value_;
    for (std::size_t k = 1; k < first_fit_; ++k) r.parts[k].second = 0;
    double squared_distance = 0, decrease = 0;
    for (std::size_t i = 0; i < depth(); ++i) {
      const Measurement& m = measurement_[i];
      r.parts[1].second += m.regularizer_w;
      if (first_fit_ > 2) r.parts[2].second += m.regularizer_v;
      r.parts[first_fit_ + i].second = m.fit;
      r.objective += m.regularizer_w + m.regularizer_v + m.fit;
      const std::array distances{m.distance_w, m.distance_v}, steps{m.step_w, m.step_v};
      for (std::size_t k = 0; k < 2; ++k) {
        r.distance[2 * i + k].second = measured ? std::sqrt(distances[k]) : unmeasured;
        r.step_norm[2 * i + k].second = measured && swept ? std::sqrt(steps[k]) : unmeasured;
        squared_distance += distances[k];
      }
      decrease += m.decrease;
    }
    r.subgradient_distance = measured ? std::sqrt(squared_distance) : unmeasured;
    r.decrease = measured && swept ? decrease : unmeasured;
    clock_.report(r.seconds);
    if (!std::isfinite(r.objective))
      throw NumericalError("the objective is not finite", static_cast<int>(depth()), "V");
    return r;
  }

  Options options_;
  HiddenBlock<T> hidden_;
  ProductCache<T> products_;             // Z_i
  Buffer<T> product_, moved_product_;    // of one layer; the first where none are kept
  bool moved_is_product_ = false;        // and not a sum
  Buffer<T> start_v_;                    // V_i before its steps, where there are several
  Buffer<Progress> state_of_;            // by sample
  Buffer<bool> is_product_;              // by tile: Z_{i+1} of every sample, bit by bit
  Buffer<T> old_, new_, anchor_, step_;  // of (W_i, b_i)
  Buffer<double> gain_, size_, row_sums_;
  Buffer<bool> left_;  // rows to move
  double h_ = 1;       // of the last check
  std::vector<Measurement> measurement_;
  double loss_value_ = 0, measured_loss_ = 0;
  Report report_;
  std::size_t first_fit_ = 0;  // of the parts: those before are the loss and the regularisers
  PhaseClock<Phase::count> clock_;
};

}  // namespace amcore
