// Symmetric positive definite systems of a layer's width, in float64 for either type of the state:
// they are small beside the products over samples, and float32 Gram matrices are often too
// ill-conditioned.
#pragma once

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <cmath>
#include <optional>

#include "amcore/check.hpp"
#include "amcore/parallel.hpp"
#include "amcore/types.hpp"

namespace amcore {

class SpdSolver {
 public:
  SpdSolver() = default;
  explicit SpdSolver(Index size, Index right_sides)
      : matrix_(size * size), diagonal_(size), norms_((right_sides + block - 1) / block + 1) {}

  // The matrix to be filled (both triangles), size × size.
  MatrixMap<double> matrix(Index size) {
    size_ = size;
    return {matrix_.data(), size, size};
  }

  // Factorise. On failure: the condition number's estimate; the matrix was not positive definite to
  // rounding.
  std::optional<double> factorise() {
    MatrixMap<double> a(matrix_.data(), size_, size_);
    Eigen::Map<Eigen::VectorXd>(diagonal_.data(), size_) = a.diagonal();
    Eigen::Ref<Matrix<double>> in_place(a);
    Eigen::LLT<Eigen::Ref<Matrix<double>>> cholesky(in_place);
    if (cholesky.info() == Eigen::Success && a.diagonal().allFinite()) return std::nullopt;
    // Only the lower triangle was overwritten.
    Matrix<double> original = a.template selfadjointView<Eigen::Upper>();
    original.diagonal() = Eigen::Map<Eigen::VectorXd>(diagonal_.data(), size_);
    if (!original.allFinite()) return std::numeric_limits<double>::quiet_NaN();
    const Eigen::SelfAdjointEigenSolver<Matrix<double>> eigen(original, Eigen::EigenvaluesOnly);
    const double least = eigen.eigenvalues().minCoeff(),
                 most = eigen.eigenvalues().cwiseAbs().maxCoeff();
    return least > 0 ? most / least : std::numeric_limits<double>::infinity();
  }

  // B (size × columns) ← A⁻¹B; returns ⟨B, A⁻¹B⟩ of the B that came in, a sum of squares. Blocks of
  // columns are fixed, so the result does not depend on the number of threads.
  double solve(double* b, Index columns, int threads) {
    const MatrixMap<double> a(matrix_.data(), size_, size_);
    const Index blocks = (columns + block - 1) / block;
    parallel_for(blocks, threads, [&](Index k, int) {
      const Index first = k * block, count = std::min(block, columns - first);
      MatrixMap<double> part(b + first * size_, size_, count);
      a.template triangularView<Eigen::Lower>().solveInPlace(part);
      norms_.data()[k] = sum_of_squares(size_ * count, part.data());
      a.template triangularView<Eigen::Lower>().transpose().solveInPlace(part);
    });
    double total = 0;
    for (Index k = 0; k < blocks; ++k) total += norms_.data()[k];
    return total;
  }

  static constexpr Index block = 48;

 private:
  Buffer<double> matrix_, diagonal_, norms_;
  Index size_ = 0;
};

// out (lower triangle and its mirror) ← scale · A Aᵀ, A: m × k column-major; column blocks in
// parallel.
inline void gram(const MatrixMap<double>& a, double scale, MatrixMap<double> out, int threads) {
  constexpr Index block = SpdSolver::block;
  const Index m = out.rows();
  parallel_for((m + block - 1) / block, threads, [&](Index k, int) {
    const Index j = k * block, count = std::min(block, m - j);
    out.block(j, j, m - j, count).noalias() =
        scale * (a.middleRows(j, m - j) * a.middleRows(j, count).transpose());
  });
  out.template triangularView<Eigen::StrictlyUpper>() = out.transpose();
}

// λ_max(H) by power iteration from a fixed start, enlarged a little; scratch: 2n numbers.
inline double largest_eigenvalue(const MatrixMap<double>& h, double* scratch) {
  const Index n = h.rows();
  Eigen::Map<Eigen::VectorXd> v(scratch, n), hv(scratch + n, n);
  for (Index i = 0; i < n; ++i) v[i] = 1 + 0.5 * std::sin(static_cast<double>(i + 1));
  double estimate = 0;
  for (int k = 0; k < 30; ++k) {
    v /= v.norm();
    hv.noalias() = h * v;
    estimate = hv.norm();
    v = hv;
  }
  return 1.02 * estimate;
}

}  // namespace amcore
