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
#include "amcore/measure/two_split_bcd.hpp"
#include "amcore/pass/activation_update.hpp"
#include "amcore/pass/forward.hpp"
#include "amcore/pass/majorized_weights.hpp"
#include "amcore/scheme/declaration.hpp"
#include "amcore/scheme/scheme.hpp"

namespace amcore {

struct TwoSplitOptions {
  std::vector<double> gamma;  // one per layer
  double alpha;
  int inner_iters;    // majorised steps of a block
  InnerLoop inner{};  // for regularisers other than a ridge

  template <class Visit> void each(Visit&& option) {
    option("gamma", gamma, Range::positive);
    option("alpha", alpha, Range::positive);
    option("inner_iters", inner_iters);
    option(inner);
  }
};

template <class T> class TwoSplitBCD final : public Scheme {
 public:
  using Options = TwoSplitOptions;

  static Declaration declaration() {
    return {.variables = {{"W"}, {"b"}, {"V"}}, .activation_regularizers = true};
  }

  TwoSplitBCD(const Problem<T>& problem, Options options, const Execution& execution)
      : task_(problem, execution, 12),
        options_(std::move(options)),
        pass_(task_, Array::count),
        hidden_(task_.hidden_out, task_.hidden_in, task_.threads),
        packed_(task_),
        products_(task_, execution.keep_products),
        weights_(task_, pass_, products_, packed_),
        state_of_(1, task_.samples, task_.allocate),
        is_product_(task_.plan.tiles()),
        measure_(task_, options_.gamma, options_.alpha) {
    Index kept = 0;
    for (std::size_t i = 1; i < task_.depth(); ++i)
      if (!is_exact(i) && options_.inner_iters > 1) kept = std::max(kept, task_.layers[i].in);
    start_v_ = SampleArray<T>(kept, task_.samples, task_.allocate);
  }

  void forward() override {
    forward_state(task_, pass_, [&](std::size_t i) { return packed_.pack(i); });
  }

  const Report& sweep(bool measure) override {
    Ledger& ledger = measure_.ledger;
    measure_.begin();
    for (std::size_t i = task_.depth(); i-- > 0;) {
      if (task_.is_top(i))
        ledger.time(Phase::pass, [&] { output_pass(); });
      else
        update_hidden(i, measure);
      ledger.time(Phase::weight, [&] { update_weights(i); });
    }
    ledger.time(Phase::pass, [&] { closing_pass(); });
    if (measure) measure_state(true);
    return measure_.report(measure, true);
  }

  const Report& measure() override {
    measure_.begin();
    measure_state(false);
    return measure_.report(true, false);
  }

 private:
  using Array = TwoSplitArray;
  using Sum = TwoSplitSum;
  using Block = typename TwoSplitMeasure<T>::Block;
  using Phase = typename TwoSplitMeasure<T>::Phase;
  using Tally = typename TwoSplitMeasure<T>::Tally;
  using Weights = MajorizedWeights<T, Sum>;

  enum class Progress : unsigned char { settled, unsettled, pending };

  bool is_exact(std::size_t i) const { return task_.layers[i].activation->is_identity(); }

  double curvature(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    const Majorizer majorizer = l.activation->majorizer();
    if (!(majorizer.slope > 0)) return majorizer(0);
    return majorizer(pass_.greatest(i, [&](Tile tile, const Workspace<T>&) {
      return distance_from(tile.size * l.out, l.of(l.V, tile), majorizer.center);
    }));
  }

  // V_N, and the sums for W_N.
  void output_pass() {
    const std::size_t i = task_.depth() - 1;
    const Layer<T>& l = task_.layers[i];
    packed_.pack(i);
    products_.begin(i);
    weights_.begin(i);
    const Tally tally = pass_(
        i, [&](Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) -> const char* {
          T *const s = array[Array::s], *const v = array[Array::v];
          target_from_below(i, tile, s, array);
          const char* const failed =
              update_output(task_, tile, s, options_.gamma[i], options_.alpha, options_.inner,
                            array, array[Array::some_from], array[Array::some_z], v);
          if (failed) return failed;
          measure_.step_output(tile, s, v, sums);
          std::copy_n(v, tile.size * l.out, l.of(l.V, tile));
          weights_.add(i, chunk, tile, array);
          return nullptr;
        });
    weights_.reduce(i);
    measure_.end_output(tally);
  }

  // s ← σ_i(Z_i)
  void target_from_below(std::size_t i, Tile tile, T* s, const Workspace<T>& array) {
    T* const scratch = is_exact(i) ? s : products_.found(i, tile);
    const T* const z =
        products_.get(i, tile, packed_.data(), task_.below(i, tile), scratch, array.panels);
    const Layer<T>& l = task_.layers[i];
    if (z != s) l.activation->value(tile.size * l.out, z, s);
  }

  // V_i, i < N, and the sums for W_i.
  void update_hidden(std::size_t i, bool measure) {
    Ledger& ledger = measure_.ledger;
    packed_.pack(i);
    products_.begin(i);
    products_.begin(i + 1);
    weights_.begin(i);
    const int steps = is_exact(i + 1) ? 1 : options_.inner_iters;
    Tally total{};
    for (int step = 0; step < steps; ++step) {
      double h = is_exact(i + 1) ? 1 : curvature(i + 1);
      std::fill_n(state_of_.data(), task_.samples, Progress::settled);
      for (int level = 0; level <= Weights::doublings; ++level, h *= 2) {
        ledger.time(Phase::factor, [&] {
          prepare_hidden(task_, i, options_.gamma[i] + options_.alpha, options_.gamma[i + 1] * h,
                         hidden_);
        });
        Tally tally{};
        ledger.time(Phase::pass,
                    [&] { tally = hidden_pass(i, step, step + 1 == steps, level, h, measure); });
        for (std::size_t k = 0; k < tally.size(); ++k) total[k] += tally[k];
        if (tally[Sum::rejected] == 0) break;
      }
      if (step + 1 == steps) ledger.time(Phase::pass, [&] { finishing_pass(i, total); });
    }
    weights_.reduce(i);
    measure_.end_hidden(i, total);
  }

  // One majorised step of the samples of V_i: of all at level 0, after that of those left.
  Tally hidden_pass(std::size_t i, int step, bool last, int level, double h, bool measure) {
    return pass_(
        i, [&](Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) -> const char* {
          Progress* const progress = state_of_.of(tile);
          if (level > 0 && std::none_of(progress, progress + tile.size,
                                        [](Progress p) { return p == Progress::unsettled; }))
            return nullptr;
          const char* const failed = move_samples(i, step, level, h, measure, tile, sums, array);
          if (failed) return failed;
          if (!last || level > 0) return nullptr;
          if (!weights_.keeps_gram(i) &&
              std::all_of(progress, progress + tile.size,
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
                           Tally& sums, const Workspace<T>& array) {
    const Layer<T>&here = task_.layers[i], &above = task_.layers[i + 1];
    const bool exact = is_exact(i + 1), inexact = here.is_inexact();
    const double pull = options_.gamma[i] + options_.alpha, gamma_above = options_.gamma[i + 1];
    const double ridge = here.ridge_v();
    Progress* const progress = state_of_.of(tile);
    T *const V = here.of(here.V, tile), *const s = array[Array::s];
    const T* const v_above = above.of(above.V, tile);
    const bool begins = step == 0 && level == 0;
    T* const final_z = exact ? nullptr : products_.settled(i + 1, tile);
    const T* const z_above = begins && !exact ? products_.moved(i + 1, tile) : final_z;
    T* const first = options_.inner_iters > 1 && !exact ? here.of(start_v_.data(), tile) : nullptr;
    if (begins) {
      products_.forget(i + 1, tile);
      target_from_below(i, tile, s, array);
      if (first) std::copy_n(V, tile.size * here.out, first);
    } else if (is_exact(i)) {
      target_from_below(i, tile, s, array);
    } else {
      here.activation->value(tile.size * here.out, products_.found(i, tile), s);
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
      T *const some_from = array[Array::some_from], *const some_z = array[Array::some_z],
               *const some_goal = array[Array::some_goal];
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
    T *const value = array[Array::value], *const slope = array[Array::slope],
             *const residual = array[Array::residual];
    if (!exact)
      for_each_slice<T>(Tile{0, t}, above.out, [&](Tile slice, Index at) {
        majorized_target(slice.size * above.out, *above.activation, z + at, goal + at, h,
                         value + at, slope + at, residual + at);
      });
    const T* const target = exact ? goal : residual;  // of W_{i+1} V_i + b_{i+1}1ᵀ
    T* const panels = array.panels.right.data();
    T* const v = inexact ? array[Array::v] : s;  // else in the place of S
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
    T *const step_v = array[Array::step], *const change = array[Array::change],
             *const moved = array[Array::moved], *const difference = array[Array::difference];
    for (Index k = 0; k < size; ++k) step_v[k] = v[k] - from[k];
    const bool by_product =
        !exact && options_.inner_iters == 1 && is_long(sum_of_squares(size, step_v), size, v);
    T* const product = array[Array::product];
    if (by_product) {
      affine(above, t, hidden_.weights(), v, product, array.panels);
      for (Index k = 0; k < size_above; ++k) change[k] = product[k] - z[k];
    } else if (!exact || measure) {
      hidden_.apply(t, step_v, change, panels);
    } else {  // only the decrease would need it
      std::fill_n(change, size_above, T(0));
    }

    bool all = true;
    for (Index j = 0, g = 0; j < tile.size; ++j) {
      if (level > 0 && progress[j] != Progress::unsettled) continue;
      const Index a = g * here.out, b = g * above.out;
      const double squared = sum_of_squares(here.out, step_v + a);
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
      if (!is_accepted(gain, model)) {
        progress[j] = Progress::unsettled;
        ++sums[Sum::rejected];
        all = false;
        if (!exact && z_above != final_z) std::copy_n(z + b, above.out, final_z + j * above.out);
        continue;
      }
      if (level > 0) progress[j] = Progress::pending;
      std::copy_n(v + a, here.out, V + j * here.out);
      if (!exact) {
        const T* const z_new = (by_product ? product : moved) + b;
        measure_.step_above(i, z + b, z_new, sums);
        std::copy_n(z_new, above.out, final_z + j * above.out);
      }
      measure_.step_sample(gain, sums);
      if (!first) measure_.step_v(squared, sums);
    }
    if (exact) {
      T* const kept = begins ? products_.of(i + 1, tile) : nullptr;
      T* const z_new = kept ? kept : residual;
      affine(above, t, hidden_.weights(), v, z_new, array.panels);
      measure_.linear_above(i, size_above, target, z_new, sums);
    }
    bool& is_product = is_product_.data()[tile.number];
    is_product = (begins || is_product) && (exact ? begins && all : by_product);
    return nullptr;
  }

  // V_i of a tile is final.
  void finish_tile(std::size_t i, Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) {
    const Layer<T>&here = task_.layers[i], &above = task_.layers[i + 1];
    const T* const V = here.of(here.V, tile);
    const Progress* const progress = state_of_.of(tile);
    if (is_product_.data()[tile.number] &&
        std::find(progress, progress + tile.size, Progress::unsettled) == progress + tile.size)
      products_.keep(i + 1, tile, V);
    measure_.final_v(i, tile, sums);
    if (!is_exact(i + 1)) {
      for_each_slice<T>(tile, above.out, [&](Tile slice, Index) {
        measure_.fit_above(i, slice, products_.settled(i + 1, slice), array[Array::s], sums);
      });
      if (options_.inner_iters > 1) {
        const T* const start = here.of(start_v_.data(), tile);
        measure_.step_v(sum(tile.size * here.out,
                            [&](Index k) { return square(static_cast<double>(V[k]) - start[k]); }),
                        sums);
      }
    }
    weights_.add(i, chunk, tile, array);
  }

  // Of the tiles of which not all samples settled at once, if any process has some.
  void finishing_pass(std::size_t i, Tally& total) {
    if (total[Sum::unfinished] == 0) return;
    const auto settled = [](Progress p) { return p == Progress::settled; };
    const Tally tally =
        pass_(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) {
          const Progress* const progress = state_of_.of(tile);
          if (!std::all_of(progress, progress + tile.size, settled))
            finish_tile(i, chunk, tile, sums, array);
        });
    for (std::size_t k = 0; k < tally.size(); ++k) total[k] += tally[k];
  }

  void update_weights(std::size_t i) {
    LayerEntries& entries = measure_.ledger[i];
    weights_.update(i, {options_.gamma[i], options_.alpha, options_.inner, options_.inner_iters},
                    is_exact(i) ? 1 : curvature(i), entries.step[Block::W], entries.decrease,
                    measure_.ledger.pattern_changes);
    measure_.end_weights(i);
  }

  // Z_1, final since W_1 is.
  void closing_pass() {
    if (is_exact(0)) packed_.pack(0);
    products_.begin(0);
    const Tally tally = pass_(0, [&](Index, Tile tile, Tally& sums, const Workspace<T>& array) {
      if (is_exact(0)) {
        T* const scratch = array[Array::product];
        measure_.closing(
            tile,
            products_.get(0, tile, packed_.data(), task_.below(0, tile), scratch, array.panels),
            array[Array::s], sums);
        return;
      }
      const T* const z = products_.moved(0, tile);
      measure_.closing(tile, z, array[Array::s], sums);
      T* const kept = products_.of(0, tile);
      if (!kept || !weights_.moved_is_product()) return;
      std::copy_n(z, tile.size * task_.layers[0].out, kept);
      products_.keep(0, tile, nullptr);
    });
    measure_.end_closing(tally);
  }

  void measure_state(bool swept) {
    measure_.ledger.time(Phase::measuring, [&] {
      for (std::size_t i = 0; i < task_.depth(); ++i) measuring_pass(i, swept);
    });
  }

  void measuring_pass(std::size_t i, bool swept) {
    const bool top = task_.is_top(i);
    packed_.pack(i);
    products_.begin(i);
    if (!top) {
      const Layer<T>& above = task_.layers[i + 1];
      hidden_.pack(above.out, above.in, above.W, task_.threads);
      products_.begin(i + 1);
    }
    measure_.begin_state(i);
    const Tally tally =
        pass_(i, [&](Index chunk, Tile tile, Tally& sums, const Workspace<T>& array) {
          const auto product = [&](std::size_t j, const T* packed) {
            return products_.get(j, tile, packed, task_.below(j, tile), array[Array::product],
                                 array.panels);
          };
          measure_.state(i, chunk, tile, product(i, packed_.data()), sums, array);
          if (!top)
            measure_.state_hidden(i, tile, product(i + 1, hidden_.weights()), hidden_, sums, array);
        });
    measure_.end_state(i, tally, swept);
  }

  const Task<T> task_;
  const Options options_;
  Pass<T, Sum::count> pass_;
  HiddenBlock<T> hidden_;       // with W_{i+1}
  PackedLayer<T> packed_;       // W_i, or its step
  MovingProducts<T> products_;  // Z_i
  Weights weights_;
  SampleArray<T> start_v_;          // V_i before its steps, where there are several
  SampleArray<Progress> state_of_;  // by sample
  Buffer<bool> is_product_;         // by tile: Z_{i+1} of every sample, bit by bit
  TwoSplitMeasure<T> measure_;
};

}  // namespace amcore
