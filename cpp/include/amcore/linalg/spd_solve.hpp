// Symmetric positive definite systems of a layer's width, in float64 for either type of the state:
// they are small beside the products over samples, and float32 Gram matrices are often too
// ill-conditioned.
//
// Cholesky and both substitutions go over blocks of rows: what is beside a diagonal block comes off
// as a product with packed panels of L, the block itself by substitution in registers.
#pragma once

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <cassert>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "amcore/linalg/product.hpp"
#include "amcore/parallel.hpp"
#include "amcore/sums.hpp"

namespace amcore {

namespace detail {

// x ← L⁻¹ x, or L⁻ᵀ x, for the k × columns right panel x: L lower triangular, its columns ld apart;
// `inverse`: one over its diagonal. Several rows at a time stay in registers.
template <bool transposed> class Substitution {
 public:
  Substitution(Index k, const double* l, Index ld, const double* inverse)
      : k_(k), l_(l), ld_(ld), inverse_(inverse) {}

  void operator()(double* x) const {
    const Index several = k_ / rows * rows;
    if constexpr (transposed) {
      for (Index r = k_; r-- > several;) solve<1>(r, r + 1, k_, x);
      for (Index r = several; (r -= rows) >= 0;) solve<rows>(r, r + rows, k_, x);
    } else {
      for (Index r = 0; r < several; r += rows) solve<rows>(r, 0, r, x);
      for (Index r = several; r < k_; ++r) solve<1>(r, 0, r, x);
    }
  }

 private:
  static constexpr int columns = Kernel<double>::columns, width = Kernel<double>::width;
  static constexpr int rows = AMCORE_VECTOR_BYTES == 64 ? 8 : 4;

  // A row of the panel: whole vectors, and half of one where they leave that.
  struct Row {
    static constexpr int whole = columns / width, rest = columns % width;
    using Whole = Kernel<double>::Vector;
    typedef double Half __attribute__((vector_size(AMCORE_VECTOR_BYTES / 2)));
    static_assert(rest == 0 || 2 * rest == width);
    Whole vector[whole];
    Half half;

    explicit Row(const double* from) {
#pragma GCC unroll 3
      for (int v = 0; v < whole; ++v) std::memcpy(&vector[v], from + v * width, sizeof(Whole));
      if constexpr (rest > 0) std::memcpy(&half, from + whole * width, sizeof(Half));
    }
    void store(double* to) const {
#pragma GCC unroll 3
      for (int v = 0; v < whole; ++v) std::memcpy(to + v * width, &vector[v], sizeof(Whole));
      if constexpr (rest > 0) std::memcpy(to + whole * width, &half, sizeof(Half));
    }
    void subtract(double factor, const Row& other) {
#pragma GCC unroll 3
      for (int v = 0; v < whole; ++v) vector[v] -= factor * other.vector[v];
      if constexpr (rest > 0) half -= factor * other.half;
    }
    void scale(double factor) {
#pragma GCC unroll 3
      for (int v = 0; v < whole; ++v) vector[v] *= factor;
      if constexpr (rest > 0) half *= factor;
    }
  };

  double entry(Index i, Index j) const { return transposed ? l_[j + i * ld_] : l_[i + j * ld_]; }

  // M rows from r on, those from `begin` to `end` being known.
  template <int M> void solve(Index r, Index begin, Index end, double* x) const {
    solve<M>(r, begin, end, x, std::make_integer_sequence<int, M>());
  }
  template <int M, int... I>
  void solve(Index r, Index begin, Index end, double* x, std::integer_sequence<int, I...>) const {
    Row sum[M] = {Row(x + (r + I) * columns)...};
    for (Index q = begin; q < end; ++q) {
      const Row known(x + q * columns);
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) sum[i].subtract(entry(r + i, q), known);
    }
#pragma GCC unroll 8
    for (int step = 0; step < M; ++step) {
      const int i = transposed ? M - 1 - step : step;
      sum[i].scale(inverse_[r + i]);
#pragma GCC unroll 8
      for (int later = step + 1; later < M; ++later) {
        const int j = transposed ? M - 1 - later : later;
        sum[j].subtract(entry(r + j, r + i), sum[i]);
      }
      sum[i].store(x + (r + i) * columns);
    }
  }

  Index k_;
  const double* l_;
  Index ld_;
  const double* inverse_;
};

}  // namespace detail

class SpdSolver {
 public:
  SpdSolver() = default;
  SpdSolver(Index size, Index right_sides, int threads)
      : matrix_(size * size),
        diagonal_(size),
        inverse_(size),
        norms_(blocks(right_sides)),
        rows_(triangle(blocks(size))),
        columns_(triangle(blocks(size))),
        pivot_(right_panels_size<double>(size, block)) {
    for (int thread = 0; thread < team_of(threads, blocks(std::max(size, right_sides))); ++thread)
      scratch_.emplace_back(right_panels_size<double>(size, block));
  }

  // The matrix to be filled (both triangles), size × size.
  MatrixMap<double> matrix(Index size) {
    assert(size * size <= matrix_.size());
    size_ = size;
    return {matrix_.data(), size, size};
  }

  Index size() const { return size_; }

  // Factorise. On failure: the condition number's estimate; the matrix was not positive definite to
  // rounding.
  std::optional<double> factorise(int threads) {
    threads = worth_a_team(std::pow(static_cast<double>(size_), 3) / 3, threads);
    MatrixMap<double> a(matrix_.data(), size_, size_);
    Eigen::Map<Eigen::VectorXd>(diagonal_.data(), size_) = a.diagonal();
    const Index count = blocks(size_);
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, 0, block, block> corner;
    for (Index b = 0; b < count; ++b) {
      const Index k = b * block, width = std::min(block, size_ - k);
      // A_cb − Σ_p L_cp L_bpᵀ for the blocks c from b on
      corner = a.block(k, k, width, width);
      double* const column = matrix_.data() + k * size_;
      if (b > 0) {
        pack_right_transposed(k, width, matrix_.data() + k, size_, pivot_.data(), k);
        parallel_for(count - b, threads, [&](Index piece, int) {
          const Index c = b + piece, r = c * block;
          const Destination<double> to =
              piece == 0 ? Destination<double>{corner.data(), width, Update::subtract}
                         : Destination<double>{column + r, size_, Update::subtract};
          multiply(std::min(block, size_ - r), width, k, rows_of(c), r, pivot_.data(), k, to);
        });
      }
      Eigen::Ref<Matrix<double>> in_place(corner);
      const Eigen::LLT<Eigen::Ref<Matrix<double>>> cholesky(in_place);
      if (cholesky.info() != Eigen::Success || !corner.diagonal().allFinite()) return condition();
      a.block(k, k, width, width).template triangularView<Eigen::Lower>() = corner;
      for (Index i = 0; i < width; ++i) inverse_.data()[k + i] = 1 / corner(i, i);
      // L_cb = A_cb L_bb⁻ᵀ
      const detail::Substitution<false> substitute(width, corner.data(), width,
                                                   inverse_.data() + k);
      parallel_for(count - b - 1, threads, [&](Index piece, int thread) {
        const Index c = b + 1 + piece, r = c * block, rows = std::min(block, size_ - r);
        double* const panels = scratch_[static_cast<std::size_t>(thread)].data();
        pack_right_transposed(width, rows, column + r, size_, panels, width);
        for (Index j = 0; j < rows; j += columns) {
          double* const panel = panels + j * width;
          substitute(panel);
          const Index valid = std::min(columns, rows - j);
          for (Index p = 0; p < width; ++p)
            std::copy_n(panel + p * columns, valid, column + p * size_ + r + j);
        }
        pack_left(rows, width, column + r, Index(1), size_, rows_of(c) + k * Kernel<double>::rows,
                  r);
      });
    }
    parallel_blocks(size_, block, threads, [&](Index k, Index end, int) {
      pack_left(end - k, size_ - end, matrix_.data() + k * size_ + end, size_, Index(1),
                columns_of(k / block));
    });
    return std::nullopt;
  }

  // B (size × columns) ← A⁻¹B; returns ⟨B, A⁻¹B⟩ of the B that came in, a sum of squares. Blocks of
  // columns are fixed, so the result does not depend on the number of threads.
  double solve(double* b, Index right_sides, int threads) {
    const auto of_columns = [&](Index first, Index last, int thread) {
      const Index n = last - first;
      double* const x = b + first * size_;
      double* const panels = scratch_[static_cast<std::size_t>(thread)].data();
      const auto each_panel = [&](Index k, auto&& step) {
        for (Index j = 0; j < n; j += columns) step(panels + j * size_ + k * columns, j);
      };
      const Index count = blocks(size_);
      for (Index c = 0; c < count; ++c) {
        const Index k = c * block, width = std::min(block, size_ - k);
        if (k > 0)
          multiply(width, n, k, rows_of(c), k, panels, size_,
                   Destination<double>{x + k, size_, Update::subtract});
        pack_right(width, n, x + k, size_, panels + k * columns, size_);
        const detail::Substitution<false> substitute(width, diagonal_block(k), size_,
                                                     inverse_.data() + k);
        each_panel(k, [&](double* panel, Index) { substitute(panel); });
      }
      const double norm = sum_of_squares(right_panels_size<double>(size_, n), panels);
      for (Index c = count; c-- > 0;) {
        const Index k = c * block, width = std::min(block, size_ - k), below = k + width;
        const auto unpack = [&](const double* panel, Index j) {
          for (Index q = j; q < std::min(n, j + columns); ++q)
            for (Index p = 0; p < width; ++p) x[q * size_ + k + p] = panel[p * columns + q - j];
        };
        if (below < size_) {
          each_panel(k, unpack);
          multiply(width, n, size_ - below, columns_of(c), size_ - below, panels + below * columns,
                   size_, Destination<double>{x + k, size_, Update::subtract});
          pack_right(width, n, x + k, size_, panels + k * columns, size_);
        }
        const detail::Substitution<true> substitute(width, diagonal_block(k), size_,
                                                    inverse_.data() + k);
        each_panel(k, [&](double* panel, Index j) {
          substitute(panel);
          unpack(panel, j);
        });
      }
      return norm;
    };
    return parallel_sum(right_sides, block, threads, norms_.data(), of_columns);
  }

  static constexpr Index block = 48;  // a multiple of the panels' rows and columns

 private:
  static constexpr Index columns = Kernel<double>::columns;

  static Index blocks(Index n) { return blocks_of(n, block); }

  // Panels of blocks that are strictly below the diagonal.
  static Index triangle(Index count) { return block * block * (count * (count - 1) / 2); }
  // Of L: rows of block c, as many columns as there are before.
  double* rows_of(Index c) const { return rows_.data() + triangle(c); }
  // Of Lᵀ: columns of block c of L, as many rows as there are behind.
  double* columns_of(Index c) const {
    return columns_.data() + c * block * size_ - triangle(c + 1);
  }
  const double* diagonal_block(Index k) const { return matrix_.data() + k * (size_ + 1); }

  // Of the matrix that could not be factorised: only its lower triangle was overwritten.
  double condition() const {
    const MatrixMap<double> a(matrix_.data(), size_, size_);
    Matrix<double> original = a.template selfadjointView<Eigen::Upper>();
    original.diagonal() = Eigen::Map<Eigen::VectorXd>(diagonal_.data(), size_);
    if (!original.allFinite()) return std::numeric_limits<double>::quiet_NaN();
    const Eigen::SelfAdjointEigenSolver<Matrix<double>> eigen(original, Eigen::EigenvaluesOnly);
    const double least = eigen.eigenvalues().minCoeff(),
                 most = eigen.eigenvalues().cwiseAbs().maxCoeff();
    return least > 0 ? most / least : std::numeric_limits<double>::infinity();
  }

  Buffer<double> matrix_, diagonal_;
  Buffer<double> inverse_;  // of the diagonal of L
  Buffer<double> norms_;    // of blocks of right sides
  Buffer<double> rows_, columns_, pivot_;
  std::vector<Buffer<double>> scratch_;  // right panels, of one thread
  Index size_ = 0;
};

// For who looks at the outcome: where a matrix cannot be factorised, for what is not finite in it,
// the solutions are not finite.
class LenientSpdSolver : private SpdSolver {
 public:
  using SpdSolver::matrix;
  using SpdSolver::SpdSolver;

  void factorise(int threads) { factorised_ = !SpdSolver::factorise(threads); }
  void solve(double* b, Index right_sides, int threads) {
    if (factorised_)
      SpdSolver::solve(b, right_sides, threads);
    else
      std::fill_n(b, size() * right_sides, std::numeric_limits<double>::quiet_NaN());
  }

 private:
  bool factorised_ = true;
};

// h ← scale · h, of which only the lower triangle is read; both are written.
template <class S> void mirror(MatrixMap<S> h, S scale, int threads) {
  constexpr Index block = SpdSolver::block;
  const Index n = h.rows();
  parallel_blocks(n, block, threads, [&](Index first, Index last, int) {
    for (Index r = first; r < n; r += block)
      for (Index j = first; j < last; ++j)
        for (Index i = std::max(r, j); i < std::min(n, r + block); ++i) h(j, i) = h(i, j) *= scale;
  });
}

// W or its transpose, whichever has no more rows than columns, column-major into `out`.
// W: rows × columns, row-major.
template <class T>
MatrixMap<double> wider(Index rows, Index columns, const T* W, double* out, int threads) {
  constexpr Index block = SpdSolver::block;
  const bool transposed = rows > columns;
  const Index m = std::min(rows, columns), n = std::max(rows, columns);
  const Index row_stride = transposed ? 1 : columns, column_stride = transposed ? columns : 1;
  parallel_blocks(n, block, threads, [&](Index first, Index last, int) {
    for (Index i0 = 0; i0 < m; i0 += block)
      for (Index j = first; j < last; ++j)
        for (Index i = i0; i < std::min(m, i0 + block); ++i)
          out[j * m + i] = static_cast<double>(W[i * row_stride + j * column_stride]);
  });
  return {out, m, n};
}

// Products A Aᵀ of matrices of S.
template <class S> class GramProduct {
 public:
  GramProduct() = default;
  explicit GramProduct(Index rows)
      : left_(left_panels_size<S>(rows, depth)), right_(right_panels_size<S>(depth, rows)) {}

  // out (both triangles) ← scale · A Aᵀ, A: m × k column-major.
  void operator()(const MatrixMap<S>& a, S scale, MatrixMap<S> out, int threads) {
    constexpr Index block = SpdSolver::block;
    const Index m = out.rows();
    for (Index p = 0; p < a.cols(); p += depth) {
      const Index k = std::min(depth, a.cols() - p);
      parallel_blocks(m, block, threads, [&](Index i, Index end, int) {
        const Index rows = end - i;
        const S* const from = a.data() + p * m + i;
        pack_left(rows, k, from, Index(1), m, left_.data() + i * k);
        pack_right_transposed(k, rows, from, m, right_.data() + i * k, k);
      });
      parallel_blocks(m, block, threads, [&](Index j, Index end, int) {
        multiply(
            m - j, end - j, k, left_.data() + j * k, right_.data() + j * k,
            Destination<S>{out.data() + j * (m + 1), m, p == 0 ? Update::assign : Update::add});
      });
    }
    mirror(out, scale, threads);
  }

 private:
  static constexpr Index depth = 256;

  Buffer<S> left_, right_;
};

// λ_max(H) by power iteration from a fixed start, enlarged a little; scratch: 2n numbers.
inline double largest_eigenvalue(const MatrixMap<double>& h, double* scratch, int threads) {
  const Index n = h.rows();
  Eigen::Map<Eigen::VectorXd> v(scratch, n), hv(scratch + n, n);
  for (Index i = 0; i < n; ++i) v[i] = 1 + 0.5 * std::sin(static_cast<double>(i + 1));
  threads = team_for_entries(n * n, threads);
  double estimate = 0;
  for (int k = 0; k < 30; ++k) {
    v /= v.norm();
    parallel_blocks(n, SpdSolver::block, threads, [&](Index first, Index last, int) {
      hv.segment(first, last - first).noalias() = h.middleCols(first, last - first).transpose() * v;
    });
    estimate = hv.norm();
    v = hv;
  }
  return 1.02 * estimate;
}

}  // namespace amcore
