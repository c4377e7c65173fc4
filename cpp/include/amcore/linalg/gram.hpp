// The only reductions over samples that a scheme needs: G = Σ v vᵀ and C = Σ r vᵀ, with Σ v and Σ r
// beside them for the bias (a constant entry 1 in v).
//
// Activations lie far from the origin beside their spread, and float32 sums of v vᵀ then lose the
// small eigenvalues that decide. So the sums are taken of v − m, m a mean over a few samples, and m
// is put back in float64 (no mean where most entries are zero):
//   Σ v vᵀ = Σ (v−m)(v−m)ᵀ + m sᵀ + s mᵀ + n m mᵀ,   s = Σ (v−m)
//   Σ r vᵀ = Σ r (v−m)ᵀ + (Σ r) mᵀ
#pragma once

#include <array>
#include <cassert>
#include <vector>

#include "amcore/collective.hpp"
#include "amcore/linalg/partial_sums.hpp"
#include "amcore/linalg/product.hpp"
#include "amcore/parallel.hpp"

namespace amcore {

// Panels that one thread packs its tiles into.
template <class T> struct Panels {
  using Sparse = SparsePanels<T>;
  Panels() = default;
  Panels(Index width, Index tile)
      : left(left_panels_size<T>(width, tile)),
        right(std::max(right_panels_size<T>(width, tile), right_panels_size<T>(tile, width))),
        rows(std::max(Sparse::rows_size(width, tile), Sparse::rows_size(tile, width))),
        counts(Sparse::counts_size(std::max(width, tile))) {}
  Sparse sparse() const { return {right.data(), rows.data(), counts.data()}; }

  Buffer<T> left, right;
  Buffer<std::int32_t> rows, counts;
};

// Left panels of x − shift for t samples (columns of x), and total += Σ (x − shift).
template <class T, class Shift>
void pack_left_summed(Index size, Index t, const T* x, Shift&& shift, T* panels, T* total) {
  constexpr Index R = Kernel<T>::rows;
  for (Index i0 = 0; i0 < size; i0 += R, panels += R * t) {
    const Index valid = std::min(R, size - i0);
    T sum[R] = {}, by[R] = {};
    for (Index i = 0; i < valid; ++i) by[i] = shift(i0 + i);
    const auto pack = [&](Index count) {
      for (Index p = 0; p < t; ++p)
        for (Index i = 0; i < count; ++i) {
          const T entry = x[p * size + i0 + i] - by[i];
          panels[p * R + i] = entry;
          sum[i] += entry;
        }
    };
    if (valid == R) {
      pack(R);
    } else {
      pack(valid);
      for (Index p = 0; p < t; ++p) complete_column(valid, panels + p * R);
    }
    for (Index i = 0; i < valid; ++i) total[i0 + i] += sum[i];
  }
}

// Right panels of (x − shift)ᵀ, without their zero rows where the shift is zero. Else a third of a
// row at a time: whole rows are of no vector's length.
template <class T> void pack_right_shifted(Index size, Index t, const T* x, const T* shift,
                                           const SparsePanels<T>& panels) {
  constexpr Index C = Kernel<T>::columns, third = C / 3;
  typedef T Third __attribute__((vector_size(third * sizeof(T))));
  for (Index j0 = 0, q = 0; j0 < size; j0 += C, ++q) {
    const Index valid = std::min(C, size - j0);
    T* const to = panels.entries + j0 * t;
    std::int32_t* const rows = panels.rows + q * t;
    std::int32_t& count = panels.counts[q];
    T by[C] = {};
    std::copy_n(shift + j0, valid, by);
    count = static_cast<std::int32_t>(t);
    if (valid < C) {
      std::fill_n(to, C * t, T(0));
      for (Index p = 0; p < t; ++p)
        for (Index j = 0; j < valid; ++j) to[p * C + j] = x[p * size + j0 + j] - by[j];
    } else if (std::all_of(by, by + C, [](T m) { return m == 0; })) {
      count = 0;
      for (Index p = 0; p < t; ++p) {
        const T* const from = x + p * size + j0;
        bool any = false;
        for (Index j = 0; j < C; ++j) any |= from[j] != 0;
        std::copy_n(from, C, to + count * C);
        rows[count] = static_cast<std::int32_t>(p);
        count += any;
      }
    } else {
      for (Index p = 0; p < t; ++p)
#pragma GCC unroll 3
        for (Index j = 0; j < C; j += third) {
          Third entries, shifts;
          std::memcpy(&entries, x + p * size + j0 + j, sizeof(Third));
          std::memcpy(&shifts, by + j, sizeof(Third));
          entries -= shifts;
          std::memcpy(to + p * C + j, &entries, sizeof(Third));
        }
    }
  }
}

// Totals of v as a least-squares block takes them: shifted Gram matrix (lower triangle), s, m.
template <class T> struct Moments {
  const T *gram, *sum, *shift;
};

// Partial sums of every chunk for r of size `rows` and v of size `columns`; after `reduce` the
// totals.
template <class T> class SampleSums {
 public:
  SampleSums() = default;
  SampleSums(Index rows, Index columns, const TilePlan& plan, bool with_gram)
      : parts_(plan, part_size(rows, columns, with_gram)), shift_(2 * columns + 1) {}

  // Start a pass from zero over samples v (columns × n); sizes not above those of the constructor.
  void begin(Index rows, Index columns, bool gram, Index n, const T* v, Collective& collective) {
    constexpr Index few = 64;
    assert(2 * columns + 1 <= shift_.size());
    const Index used = std::min(few, n), stride = std::max<Index>(1, n / few);
    T *const shift = shift_.data(), *const zeros = shift + columns, &count = shift[2 * columns];
    std::fill_n(shift, 2 * columns, T(0));
    for (Index j = 0; j < used; ++j)
      for (Index i = 0; i < columns; ++i) {
        const T entry = v[j * stride * columns + i];
        shift[i] += entry;
        zeros[i] += static_cast<T>(entry == 0);
      }
    count = static_cast<T>(used);
    collective.sum(shift, 2 * columns + 1);
    // Where most are zero the mean is below the spread, and zeros are worth more.
    for (Index i = 0; i < columns; ++i)
      shift[i] = 2 * zeros[i] > count ? T(0) : shift[i] / std::max(count, T(1));
    rows_ = rows;
    columns_ = columns;
    gram_size_ = gram ? columns * columns : 0;
    parts_.begin(part_size(rows, columns, gram));
  }

  // Add a tile of t samples, r: rows × t, v: columns × t, both contiguous columns.
  void add(Index chunk, Index t, const T* r, const T* v, const Panels<T>& panels) {
    T* const part = parts_.of(chunk);
    const auto shift = [by = shift_.data()](Index i) { return by[i]; };
    const auto zero = [](Index) { return T(0); };
    pack_right_shifted(columns_, t, v, shift_.data(), panels.sparse());
    T *const cross = part + gram_size_, *const sum_v = cross + rows_ * columns_;
    if (gram_size_ > 0) {
      pack_left_summed(columns_, t, v, shift, panels.left.data(), sum_v);
      multiply(columns_, columns_, t, panels.left.data(), panels.sparse(),
               Destination<T>{part, columns_, Update::add}, true);
    }
    pack_left_summed(rows_, t, r, zero, panels.left.data(), sum_v + columns_);
    multiply(rows_, columns_, t, panels.left.data(), panels.sparse(),
             Destination<T>{cross, rows_, Update::add});
    parts_.added(chunk, t);
  }

  // Over all processes, once every sample of this one has been added.
  void reduce(Collective& collective, int threads) { parts_.reduce(collective, threads); }

  // With the Gram matrix only.
  Moments<T> moments() const {
    return {parts_.total(), cross_sum() + rows_ * columns_, shift_.data()};
  }

  // (Σ r vᵀ)(row, column) and (Σ r)(row)
  double cross(Index row, Index column) const {
    return cross_sum()[column * rows_ + row] +
           static_cast<double>(sum_r()[row]) * shift_.data()[column];
  }
  const T* shift() const { return shift_.data(); }
  const T* sum_r() const { return cross_sum() + rows_ * columns_ + columns_; }
  Index rows() const { return rows_; }
  Index columns() const { return columns_; }

 private:
  static Index part_size(Index rows, Index columns, bool with_gram) {
    return (with_gram ? columns * columns : 0) + rows * columns + columns + rows;
  }
  const T* cross_sum() const { return parts_.total() + gram_size_; }

  PartialSums<T> parts_;
  Buffer<T> shift_;
  Index rows_ = 0, columns_ = 0, gram_size_ = 0;
};

// Σ ‖W d‖² over samples d as ⟨W, W Σ d dᵀ⟩: half the flops of the products W d.
template <class T> class StepGram {
 public:
  StepGram() = default;
  // The widest layers: `out` rows of W, `in` columns.
  StepGram(Index out, Index in, const TilePlan& plan, int threads)
      : parts_(plan, in * in), sums_(blocks_of(in, block)) {
    for (int thread = 0; thread < team_of(threads, blocks_of(in, block)); ++thread)
      scratch_.push_back({Buffer<T>(in * block), Buffer<T>(right_panels_size<T>(in, block)),
                          Buffer<T>(out * block)});
  }

  void begin(Index in) {
    in_ = in;
    parts_.begin(in * in);
  }
  // d: in × t
  void add(Index chunk, Index t, const T* d, const Panels<T>& panels) {
    pack_left(in_, t, d, Index(1), in_, panels.left.data());
    pack_right_transposed(t, in_, d, in_, panels.right.data(), t);
    multiply(in_, in_, t, panels.left.data(), panels.right.data(),
             Destination<T>{parts_.of(chunk), in_, Update::add}, true);
    parts_.added(chunk, t);
  }
  void reduce(Collective& collective, int threads) { parts_.reduce(collective, threads); }

  // W: out × in, row-major, and packed.
  double sum_of_products(Index out, const T* W, const T* packed, int threads) {
    const T* const gram = parts_.total();  // lower triangle
    const auto of_columns = [&](Index first, Index last, int thread) {
      const auto& [column, panels, product] = scratch_[static_cast<std::size_t>(thread)];
      const Index count = last - first;
      for (Index j = 0; j < count; ++j)
        for (Index i = 0; i < in_; ++i)
          column.data()[j * in_ + i] =
              gram[i < first + j ? i * in_ + first + j : (first + j) * in_ + i];
      pack_right(in_, count, column.data(), panels.data());
      multiply(out, count, in_, packed, panels.data(), Destination<T>{product.data(), out});
      double total = 0;
      for (Index r = 0; r < out; ++r)
        for (Index j = 0; j < count; ++j)
          total += static_cast<double>(W[r * in_ + first + j]) * product.data()[j * out + r];
      return total;
    };
    return parallel_sum(in_, block, threads, sums_.data(), of_columns);
  }

 private:
  static constexpr Index block = 48;

  PartialSums<T> parts_;
  Buffer<double> sums_;                            // of blocks of columns
  std::vector<std::array<Buffer<T>, 3>> scratch_;  // of one thread
  Index in_ = 0;
};

}  // namespace amcore
