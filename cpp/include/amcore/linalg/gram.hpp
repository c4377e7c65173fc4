// The only reductions over samples that a scheme needs: G = Σ v vᵀ and C = Σ r vᵀ, with Σ v and Σ r
// beside them for the bias (a constant entry 1 in v).
//
// Activations lie far from the origin beside their spread, and float32 sums of v vᵀ then lose the
// small eigenvalues that decide. So the sums are taken of v − m, m a mean over a few samples, and m
// is put back in float64:
//   Σ v vᵀ = Σ (v−m)(v−m)ᵀ + m sᵀ + s mᵀ + n m mᵀ,   s = Σ (v−m)
//   Σ r vᵀ = Σ r (v−m)ᵀ + (Σ r) mᵀ
#pragma once

#include "amcore/linalg/product.hpp"
#include "amcore/parallel.hpp"
#include "amcore/reducer.hpp"
#include "amcore/tile.hpp"

namespace amcore {

// Panels that one thread packs its tiles into.
template <class T> struct Panels {
  Panels() = default;
  Panels(Index width, Index tile)
      : left(left_panels_size<T>(width, tile)),
        right(std::max(right_panels_size<T>(width, tile), right_panels_size<T>(tile, width))),
        shifted(width * tile) {}
  Buffer<T> left, right, shifted;
};

// Totals of v as a least-squares block takes them: shifted Gram matrix (lower triangle), s, m.
template <class T> struct Moments {
  const T *gram, *sum, *shift;
};

// Partial sums of every chunk for r of size `rows` and v of size `columns`; after `reduce` the
// totals.
template <class T> class SampleSums {
 public:
  SampleSums() = default;
  SampleSums(Index rows, Index columns, Index chunks, bool with_gram)
      : parts_(chunks * part_size(rows, columns, with_gram)),
        shift_(columns + 1),
        chunks_(chunks) {}
  static Index part_size(Index rows, Index columns, bool with_gram) {
    return round_up((with_gram ? columns * columns : 0) + rows * columns + columns + rows, 64);
  }

  // Start a pass from zero over samples v (columns × n); sizes not above those of the constructor.
  void begin(Index rows, Index columns, bool gram, Index n, const T* v, int threads,
             Reducer& reducer) {
    constexpr Index few = 64;
    const Index count = std::min(few, n), stride = n / count;
    T* const shift = shift_.data();
    std::fill_n(shift, columns, T(0));
    for (Index j = 0; j < count; ++j)
      for (Index i = 0; i < columns; ++i) shift[i] += v[j * stride * columns + i];
    shift[columns] = static_cast<T>(count);
    reducer.add(shift, columns + 1);
    for (Index i = 0; i < columns; ++i) shift[i] /= shift[columns];
    rows_ = rows;
    columns_ = columns;
    gram_size_ = gram ? columns * columns : 0;
    stride_ = part_size(rows, columns, gram);
    parallel_for(chunks_, threads, [&](Index chunk, int) {
      std::fill_n(parts_.data() + chunk * stride_, stride_, T(0));
    });
  }

  // Add a tile of t samples, r: rows × t, v: columns × t, both contiguous columns.
  void add(Index chunk, Index t, const T* r, const T* v, const Panels<T>& panels) {
    T* const part = parts_.data() + chunk * stride_;
    T* const shifted = panels.shifted.data();
    for (Index j = 0; j < t; ++j)
      for (Index i = 0; i < columns_; ++i)
        shifted[j * columns_ + i] = v[j * columns_ + i] - shift_.data()[i];
    pack_right(t, columns_, shifted, columns_, Index(1), panels.right.data());
    if (gram_size_ > 0) {
      pack_left(columns_, t, shifted, Index(1), columns_, panels.left.data());
      multiply(columns_, columns_, t, panels.left.data(), panels.right.data(), part, columns_,
               Update::add, true);
      add_columns(t, columns_, shifted, part + gram_size_ + rows_ * columns_);
    }
    pack_left(rows_, t, r, Index(1), rows_, panels.left.data());
    multiply(rows_, columns_, t, panels.left.data(), panels.right.data(), part + gram_size_, rows_,
             Update::add);
    add_columns(t, rows_, r, part + gram_size_ + rows_ * columns_ + columns_);
  }

  void reduce(int threads, Reducer& reducer) {
    tree_sum(parts_.data(), chunks_, stride_, stride_, threads);
    reducer.add(parts_.data(), stride_);
  }

  // With the Gram matrix only.
  Moments<T> moments() const {
    return {parts_.data(), cross_sum() + rows_ * columns_, shift_.data()};
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
  static void add_columns(Index t, Index size, const T* x, T* total) {
    for (Index j = 0; j < t; ++j, x += size)
      for (Index i = 0; i < size; ++i) total[i] += x[i];
  }

  const T* cross_sum() const { return parts_.data() + gram_size_; }

  Buffer<T> parts_, shift_;
  Index chunks_ = 0;
  Index rows_ = 0, columns_ = 0, gram_size_ = 0, stride_ = 0;
};

}  // namespace amcore
