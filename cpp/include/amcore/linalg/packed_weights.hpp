// Products of a weight matrix and its transpose with tiles of samples.
#pragma once

#include <cassert>

#include "amcore/linalg/product.hpp"
#include "amcore/parallel.hpp"

namespace amcore {

// pack_left by a team.
template <class T, class Source> void pack_left_in_parallel(Index m, Index k, const Source* a,
                                                            Index row_stride, Index column_stride,
                                                            T* panels, int threads) {
  const int team = team_for_entries(m * k, threads);
  parallel_blocks(m, 4 * Kernel<T>::rows, team, [&](Index i, Index end, int) {
    pack_left(end - i, k, a + i * row_stride, row_stride, column_stride, panels + i * k);
  });
}

template <class T> class PackedWeights {
 public:
  PackedWeights() = default;
  // The widest layers: `out` rows of W, `in` columns.
  PackedWeights(Index out, Index in)
      : w_(left_panels_size<T>(out, in)), transposed_(left_panels_size<T>(in, out)) {}

  // W: out × in, row-major
  void pack(Index out, Index in, const T* W, int threads) {
    assert(left_panels_size<T>(out, in) <= w_.size());
    assert(left_panels_size<T>(in, out) <= transposed_.size());
    out_ = out;
    in_ = in;
    pack_left_in_parallel(out, in, W, in, Index(1), w_.data(), threads);
    pack_left_in_parallel(in, out, W, Index(1), in, transposed_.data(), threads);
  }
  // y (out × t) ← W x;  panels: scratch
  void apply(Index t, const T* x, T* y, T* panels) const {
    pack_right(in_, t, x, panels);
    multiply(out_, t, in_, w_.data(), panels, Destination<T>{y, out_});
  }
  // out (out × t) ← u − b1ᵀ − W x;  b: null if there is none;  out may be u.
  void residual(Index t, const T* x, const T* u, const T* b, T* out, T* panels) const {
    pack_right(in_, t, x, panels);
    multiply(out_, t, in_, w_.data(), panels, Destination<T>{out, out_, Update::subtract, u, b});
  }
  // x (in × t) ← Wᵀ y
  void apply_transposed(Index t, const T* y, T* x, T* panels) const {
    pack_right(out_, t, y, panels);
    multiply(in_, t, out_, transposed_.data(), panels, Destination<T>{x, in_});
  }
  const T* weights() const { return w_.data(); }  // packed

 protected:
  Buffer<T> w_, transposed_;
  Index out_ = 0, in_ = 0;
};

}  // namespace amcore
