// The update of (W_i, b_i) where an activation may stand around them: majorised least squares
// (block/majorized.hpp), accepted row by row.
#pragma once

#include "amcore/block/majorized.hpp"
#include "amcore/pass/pass.hpp"
#include "amcore/pass/product_cache.hpp"
#include "amcore/pass/weight_sums.hpp"

namespace amcore {

// Whether an objective did not rise, but for the rounding of terms of that size.
inline bool is_accepted(double gain, double size) {
  return gain >= -8 * std::numeric_limits<double>::epsilon() * size;
}

// Z_i = W_i V_{i−1} + b_i1ᵀ of all samples on the way of a sweep, for i with an activation.
template <class T> class MovingProducts : public ProductCache<T> {
 public:
  MovingProducts(const Task<T>& task, bool keep) : ProductCache<T>(task, keep), task_(task) {
    Index width = 0;
    for (const Layer<T>& l : task.layers)
      if (!l.activation->is_identity()) width = std::max(width, l.out);
    if (!keep) found_ = SampleArray<T>(width, task.samples, task.allocate);
    moved_ = SampleArray<T>(width, task.samples, task.allocate);
  }

  // Of a tile or slice: as the sweep finds it, after the step of W_i, and after that of V_{i−1}
  // too.
  T* found(std::size_t i, const Tile& tile) const {
    T* const kept = this->of(i, tile);
    return kept ? kept : task_.layers[i].of(found_.data(), tile);
  }
  T* moved(std::size_t i, const Tile& tile) const {
    return task_.layers[i].of(moved_.data(), tile);
  }
  T* settled(std::size_t i, const Tile& tile) const {
    T* const kept = this->of(i, tile);
    return kept ? kept : moved(i, tile);
  }

 private:
  const Task<T>& task_;
  SampleArray<T> found_, moved_;  // of one layer; the first where none are kept
};

// Arrays of a tile.
struct MajorizedArray {
  enum : std::size_t { value, slope, residual, change, moved, difference, count };
};

// (W_i, b_i) lowers r_i(W_i) + γ_i/2‖V_i − σ_i(W_i V_{i−1} + b_i1ᵀ)‖² + α/2‖Δ‖²: exactly where σ_i
// is the identity, else in majorised steps, whose curvature h is doubled for the rows that would
// rise. A regulariser that couples the rows couples their acceptance. `Sum` numbers the scheme's
// sums over samples.
template <class T, class Sum> class MajorizedWeights {
 public:
  using Array = MajorizedArray;
  using Tally = typename Pass<T, Sum::count>::Tally;
  static constexpr int doublings = 30;

  MajorizedWeights(const Task<T>& task, Pass<T, Sum::count>& pass, MovingProducts<T>& products,
                   PackedLayer<T>& packed)
      : task_(task),
        pass_(pass),
        products_(products),
        packed_(packed),
        sums_(task),
        weight_step_(task),
        gain_(task.out),
        size_(task.out),
        row_sums_(task.plan.chunks() * 3 * task.out),
        left_(task.out) {
    for (Buffer<T>* buffer : {&old_, &new_, &anchor_, &step_})
      *buffer = Buffer<T>(task.out * (task.in + 1));
  }

  // The sums over samples for W_i, of what lies between the products and their target: V_i − Z_i,
  // or −E_i = (V_i − σ(Z_i))⊙σ'(Z_i).
  void begin(std::size_t i) { sums_.begin(i); }
  bool keeps_gram(std::size_t i) const { return sums_.keeps_gram(i); }
  void add(std::size_t i, Index chunk, Tile tile, const Workspace<T>& array) {
    const Layer<T>& l = task_.layers[i];
    const Index size = tile.size * l.out;
    const T *const v = l.of(l.V, tile), *const below = task_.below(i, tile);
    T *const r = array[Array::residual], *const slope = array[Array::slope];
    if (l.activation->is_identity()) {
      const T* const z = products_.get(i, tile, packed_.data(), below, r, array.panels);
      for (Index k = 0; k < size; ++k) r[k] = v[k] - z[k];
    } else {
      const T* const z = products_.found(i, tile);
      for_each_slice<T>(tile, l.out, [&](Tile slice, Index at) {
        const Index count = slice.size * l.out;
        l.activation->value_and_derivative(count, z + at, r + at, slope);
        for (Index k = 0; k < count; ++k) r[at + k] = (v[at + k] - r[at + k]) * slope[k];
      });
    }
    sums_.add(chunk, tile.size, r, below, array.panels);
  }
  void reduce(std::size_t i) { sums_.reduce(i); }

  struct Settings {
    double gamma, alpha;
    InnerLoop inner;
    int steps;  // majorised ones
  };
  // From the sums; h majorises. Adds the squared step and the decrease, one step after the other,
  // and how many entries of Z_i changed their piece of σ_i.
  void update(std::size_t i, const Settings& settings, double h, double& squared_step,
              double& decrease, double& pattern_changes) {
    const Layer<T>& l = task_.layers[i];
    if (l.activation->is_identity()) {
      const BlockStep moved =
          weight_step_(i, sums_, settings.gamma, settings.alpha, settings.inner);
      squared_step = moved.squared_step;
      decrease += moved.decrease;
      return;
    }
    const Index size = l.out * l.in;
    copy_weights(l, anchor_.data());
    for (int step = 0; step < settings.steps; ++step) {
      if (step > 0) sums_pass(i);
      decrease += take_step(i, settings, h, pattern_changes);
    }
    for (Index k = 0; k < size; ++k)
      squared_step += square(static_cast<double>(l.W[k]) - anchor_.data()[k]);
    if (l.b)
      for (Index k = 0; k < l.out; ++k)
        squared_step += square(static_cast<double>(l.b[k]) - anchor_.data()[size + k]);
    decrease += settings.alpha / 2 * squared_step;
  }

  // Is the moved product Z_i, and not a sum with ΔW V_{i−1}?
  bool moved_is_product() const { return moved_is_product_; }

 private:
  // For another step.
  void sums_pass(std::size_t i) {
    const Index out = task_.layers[i].out;
    begin(i);
    pass_(i, [&](Index chunk, Tile tile, Tally&, const Workspace<T>& array) {
      products_.forget(i, tile);
      std::copy_n(products_.moved(i, tile), tile.size * out, products_.found(i, tile));
      add(i, chunk, tile, array);
    });
    reduce(i);
  }

  // One majorised step; the fall of its objective, that of f and the α-term.
  double take_step(std::size_t i, const Settings& settings, double h, double& pattern_changes) {
    const Layer<T>& l = task_.layers[i];
    const Index size = l.out * l.in, rows = l.regularizer->by_row() ? l.out : 1;
    copy_weights(l, old_.data());
    copy_weights(l, new_.data());
    std::fill_n(left_.data(), rows, true);
    double fall = 0;
    for (int level = 0; level <= doublings; ++level, h *= 2) {
      set_weights(l, old_.data());
      weight_step_(i, sums_, settings.gamma, settings.alpha, settings.inner, h, anchor_.data(),
                   anchor_.data() + size);
      const double changes = checking_pass(i, h, level == 0);
      model_fall(i, settings, h);
      bool all = true;
      for (Index r = 0; r < rows; ++r) {
        if (!left_.data()[r]) continue;
        if (!is_accepted(gain_.data()[r], size_.data()[r])) {
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
        pattern_changes += level > 0 ? product_pass(i) : changes;
        return fall;
      }
    }
    set_weights(l, new_.data());
    pattern_changes += product_pass(i);
    return fall;
  }

  // By rows of W_i, over all samples: Σ(ΔZ)², ΣEΔZ, and the model above the truth;  and Z_i + ΔZ.
  // Of a first try of W_1, as V_0 stays, that is a product to be kept if the step is long. Returns
  // how many entries of Z_i + ΔZ lie on another piece.
  double checking_pass(std::size_t i, double h, bool first_try) {
    const Layer<T>& l = task_.layers[i];
    const Index size = l.out * l.in;
    T* const step = step_.data();
    for (Index k = 0; k < size; ++k) step[k] = l.W[k] - old_.data()[k];
    for (Index k = 0; k < l.out; ++k) step[size + k] = l.b ? l.b[k] - old_.data()[size + k] : T(0);
    moved_is_product_ = i == 0 && first_try && is_long(sum_of_squares(size, step), size, l.W);
    if (moved_is_product_)
      packed_.pack(i);
    else
      packed_.pack(l.out, l.in, step);
    const Layer<T> change{l.in, l.out, false, l.activation, l.regularizer, step, step + size};
    std::fill_n(row_sums_.data(), task_.plan.chunks() * 3 * l.out, 0.0);
    const Tally total =
        pass_(i, [&](Index chunk, Tile tile, Tally& tally, const Workspace<T>& array) {
          const Index t = tile.size;
          const T *const v = l.of(l.V, tile), *const z = products_.found(i, tile);
          const T* const below = task_.below(i, tile);
          T *const dz = array[Array::change], *const next = products_.moved(i, tile);
          if (moved_is_product_)
            affine(l, t, packed_.data(), below, next, array.panels);
          else
            affine(change, t, packed_.data(), below, dz, array.panels);
          double* const squares = row_sums_.data() + chunk * 3 * l.out;
          double *const slopes = squares + l.out, *const above = slopes + l.out;
          for_each_slice<T>(tile, l.out, [&](Tile slice, Index at) {
            const Index count = slice.size * l.out;
            T *const value = array[Array::value], *const slope = array[Array::slope];
            T* const moved = moved_is_product_ ? array[Array::moved] : next + at;
            if (moved_is_product_)
              for (Index k = at; k < at + count; ++k) dz[k] = next[k] - z[k];
            l.activation->value_and_derivative(count, z + at, value, slope);
            const auto gap = majorized_gaps(count, *l.activation, z + at, value, slope, v + at,
                                            dz + at, h, moved, array[Array::difference]);
            tally[Sum::pattern_changes] += l.activation->pattern_changes(count, z + at, next + at);
            for (Index j = 0; j < count; j += l.out)
              for (Index k = 0; k < l.out; ++k) {
                const double d = dz[at + j + k];
                squares[k] += d * d;
                slopes[k] += (static_cast<double>(value[j + k]) - v[at + j + k]) * slope[j + k] * d;
                above[k] += gap(j + k);
              }
          });
        });
    for (Index chunk = 1; chunk < task_.plan.chunks(); ++chunk)
      for (Index k = 0; k < 3 * l.out; ++k)
        row_sums_.data()[k] += row_sums_.data()[chunk * 3 * l.out + k];
    task_.collective.sum(row_sums_.data(), 3 * l.out);
    return total[Sum::pattern_changes];
  }

  // The gain of every row, or of all together in the first, and how large its terms are.
  void model_fall(std::size_t i, const Settings& settings, double h) {
    const Layer<T>& l = task_.layers[i];
    const Index size = l.out * l.in;
    const double gamma = settings.gamma, alpha = settings.alpha;
    const Regularizer<T>& r = *l.regularizer;
    const bool exact = r.is_ridge(), coupled = !r.by_row();
    for (Index q = 0; q < l.out; ++q) {
      const T *const now = l.W + q * l.in, *const before = old_.data() + q * l.in,
                     *const from = anchor_.data() + q * l.in;
      const double* const totals = row_sums_.data() + q;  // as in checking_pass
      const double half = gamma * h / 2 * totals[0], gap = gamma * totals[2 * l.out];
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

  // Z_i from the weights as they are. Returns how many entries lie on another piece.
  double product_pass(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    moved_is_product_ = true;
    packed_.pack(i);
    const Tally total = pass_(i, [&](Index, Tile tile, Tally& tally, const Workspace<T>& array) {
      T* const next = products_.moved(i, tile);
      affine(l, tile.size, packed_.data(), task_.below(i, tile), next, array.panels);
      tally[Sum::pattern_changes] +=
          l.activation->pattern_changes(tile.size * l.out, products_.found(i, tile), next);
    });
    return total[Sum::pattern_changes];
  }

  static void copy_weights(const Layer<T>& l, T* to) {
    std::copy_n(l.W, l.out * l.in, to);
    if (l.b) std::copy_n(l.b, l.out, to + l.out * l.in);
  }
  static void set_weights(const Layer<T>& l, const T* from) {
    std::copy_n(from, l.out * l.in, l.W);
    if (l.b) std::copy_n(from + l.out * l.in, l.out, l.b);
  }

  const Task<T>& task_;
  Pass<T, Sum::count>& pass_;
  MovingProducts<T>& products_;
  PackedLayer<T>& packed_;  // W_i, or its step
  WeightSums<T> sums_;
  WeightStep<T> weight_step_;
  Buffer<T> old_, new_, anchor_, step_;  // of (W_i, b_i)
  Buffer<double> gain_, size_, row_sums_;
  Buffer<bool> left_;  // rows to move
  bool moved_is_product_ = false;
};

}  // namespace amcore
