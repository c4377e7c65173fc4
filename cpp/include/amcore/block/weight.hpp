// The weight block, (W, b) jointly:
//   argmin r(W) + ρ/2‖U − W V − b1ᵀ‖² + α/2‖(W, b) − (Wᵏ, bᵏ)‖²
// as a correction Δ, so that the Gram matrix's rounding scales the step and not the weights. With
// Ṽ = [V; 1ᵀ], R = ρ(U − Wᵏ V − bᵏ1ᵀ)Ṽᵀ, H = ρ Ṽ Ṽᵀ + αI, E = diag(1, …, 1, 0) where there is a
// bias, r = λ/2‖·‖² gives a linear system,
//   Δ (H + λE) = R − λ[Wᵏ, 0],
// whose decrease of the objective is exactly ½⟨Δ, right side⟩ + α/2‖Δ‖². For any other r the bias
// is eliminated and proximal gradient steps on the Gram data do the rest; the decrease is then
//   r(Wᵏ) − r(W) + ⟨Δ, R⟩ − ½⟨Δ, Δ H⟩ + α/2‖Δ‖².
// Zeng et al. (ICML 2019), Algorithm 2; the bias as part of the block is ours.
#pragma once

#include <string>

#include "amcore/block/step.hpp"
#include "amcore/check.hpp"
#include "amcore/error.hpp"
#include "amcore/linalg/gram.hpp"
#include "amcore/linalg/proximal_gradient.hpp"
#include "amcore/linalg/spd_solve.hpp"

namespace amcore {

// h ← ρ Ṽ Ṽᵀ over n samples, both triangles, from the moments of V; h is of the size of Ṽ.
template <class T> void gram_matrix(MatrixMap<double> h, const Moments<T>& v, Index in,
                                    double samples, double rho, int threads) {
  parallel_blocks(in, SpdSolver::block, threads, [&](Index first, Index last, int) {
    for (Index j = first; j < last; ++j) {
      const double s_j = v.sum[j], m_j = v.shift[j];
      for (Index i = j; i < in; ++i)
        h(i, j) = v.gram[j * in + i] + (v.shift[i] * s_j + (v.sum[i] + samples * v.shift[i]) * m_j);
      if (h.rows() > in) h(in, j) = s_j + samples * m_j;
    }
  });
  if (h.rows() > in) h(in, in) = samples;
  mirror(h, rho, threads);
}

// Rows of R = ρ (U − W V − b1ᵀ)Ṽᵀ, from the sums over samples; a row of R is a column of `right`.
template <class T> void residual_rows(Index first, Index last, const SampleSums<T>& sums,
                                      double rho, MatrixMap<double> right) {
  const Index in = sums.columns();
  // Where the sums of few rows stay in the cache, whose order is the other one.
  for (Index j = 0; j < in; ++j)
    for (Index r = first; r < last; ++r) right(j, r) = rho * sums.cross(r, j);
  if (right.rows() > in)
    for (Index r = first; r < last; ++r) right(in, r) = rho * sums.sum_r()[r];
}

template <class T> class WeightBlock {
 public:
  WeightBlock() = default;
  // `proximal`: whether any regulariser is other than a ridge.
  WeightBlock(Index out, Index in, bool proximal, int threads)
      : solver_(in + 1, out, threads),
        right_((in + 1) * out),
        squares_(blocks_of(out, SpdSolver::block)) {
    if (proximal) {
      inner_ = ProximalGradient<T>(out, in, threads);
      old_ = Buffer<T>(out * in);
      schur_ = Buffer<double>(in * in);
      reduced_ = Buffer<double>(in * out);
      row_ = Buffer<double>(in);
    }
  }

  // `v`: the moments of V (the input's are computed once and kept); `sums`: R Vᵀ and the sum of R;
  // n samples. With a `curvature` h the Gram matrix counts h times, as a majoriser wants it; with
  // an anchor the α-term is the distance from that, and the decrease is not the one of the rest.
  BlockStep update(T* W, T* b, const Moments<T>& v, const SampleSums<T>& sums, double samples,
                   double rho, double alpha, const Regularizer<T>& regularizer,
                   const InnerLoop& loop, int layer, int threads, double curvature = 1,
                   const T* anchor_W = nullptr, const T* anchor_b = nullptr) {
    const Index out = sums.rows(), in = sums.columns(), size = in + (b ? 1 : 0);
    threads = worth_a_team(
        square(static_cast<double>(size)) * static_cast<double>(size / 3 + 2 * out), threads);
    const bool exact = regularizer.is_ridge();
    const double lam = exact ? regularizer.ridge() : 0;
    MatrixMap<double> h = solver_.matrix(size);
    gram_matrix(h, v, in, samples, rho * curvature, threads);
    h.diagonal().array() += alpha;
    h.diagonal().head(in).array() += lam;

    MatrixMap<double> right(right_.data(), size, out);  // a row of the right side is a column here
    parallel_blocks(out, SpdSolver::block, threads, [&](Index first, Index last, int) {
      residual_rows(first, last, sums, rho, right);
      for (Index r = first; r < last; ++r) {
        for (Index j = 0; j < in; ++j) right(j, r) -= lam * static_cast<double>(W[r * in + j]);
        if (!anchor_W) continue;
        for (Index j = 0; j < in; ++j)
          right(j, r) -= alpha * (static_cast<double>(W[r * in + j]) - anchor_W[r * in + j]);
        if (b) right(in, r) -= alpha * (static_cast<double>(b[r]) - anchor_b[r]);
      }
    });
    return exact ? least_squares(right, W, b, alpha, layer, threads)
                 : proximal(h, right, W, b, alpha, regularizer, loop, layer, threads);
  }

 private:
  BlockStep least_squares(MatrixMap<double> delta, T* W, T* b, double alpha, int layer,
                          int threads) {
    const Index size = delta.rows(), out = delta.cols(), in = size - (b ? 1 : 0);
    if (const auto condition = solver_.factorise(threads))
      throw not_positive_definite("weights", layer, "W", *condition);
    const double product = solver_.solve(delta.data(), out, threads);
    const double squared_step = parallel_sum(
        out, SpdSolver::block, threads, squares_.data(), [&](Index first, Index last, int) {
          return sum_of_squares(size * (last - first), delta.data() + size * first);
        });
    if (!std::isfinite(squared_step))
      throw NumericalError("the weight update is not finite", layer, "W");
    parallel_blocks(out, SpdSolver::block, threads, [&](Index first, Index last, int) {
      for (Index r = first; r < last; ++r) {
        for (Index j = 0; j < in; ++j) W[r * in + j] = static_cast<T>(W[r * in + j] + delta(j, r));
        if (b) b[r] = static_cast<T>(b[r] + delta(in, r));
      }
    });
    return {squared_step, product / 2 + alpha / 2 * squared_step};
  }

  BlockStep proximal(const MatrixMap<double>& h, const MatrixMap<double>& right, T* W, T* b,
                     double alpha, const Regularizer<T>& regularizer, const InnerLoop& loop,
                     int layer, int threads) {
    const Index size = right.rows(), out = right.cols(), in = size - (b ? 1 : 0);
    // For given Δ_W the best bias is Δ_b = (R_b − ⟨H_b, Δ_W⟩)/H_bb; the Schur complement is left.
    MatrixMap<double> schur(schur_.data(), in, in), reduced(reduced_.data(), in, out);
    schur = h.topLeftCorner(in, in);
    reduced = right.topRows(in);
    if (b) {
      schur.noalias() -= h.col(in).head(in) * (h.row(in).head(in) / h(in, in));
      reduced.noalias() -= h.col(in).head(in) * (right.row(in) / h(in, in));
    }
    if (!all_finite(in * in, schur_.data()) || !all_finite(in * out, reduced_.data()))
      throw NumericalError("the weight update is not finite", layer, "W");
    std::copy_n(W, out * in, old_.data());
    double fall = inner_.solve(out, in, schur, reduced, regularizer, W, loop, threads);

    double squared_step = 0;
    Eigen::Map<Eigen::VectorXd> d(row_.data(), in);
    for (Index r = 0; r < out; ++r) {
      for (Index j = 0; j < in; ++j)
        d[j] = static_cast<double>(W[r * in + j]) - old_.data()[r * in + j];
      squared_step += d.squaredNorm();
      if (b) {
        const double step = (right(in, r) - h.col(in).head(in).dot(d)) / h(in, in);
        fall += square(right(in, r)) / (2 * h(in, in));
        squared_step += square(step);
        b[r] = static_cast<T>(b[r] + step);
      }
    }
    fall += regularizer.difference(out, in, old_.data(), W);
    return {squared_step, fall + alpha / 2 * squared_step};
  }

  SpdSolver solver_;
  Buffer<double> right_, squares_;
  // For regularisers other than a ridge:
  ProximalGradient<T> inner_;
  Buffer<T> old_;
  Buffer<double> schur_, reduced_, row_;
};

}  // namespace amcore
