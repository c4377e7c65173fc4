// The weight block, (W, b) jointly:
//   argmin ρ/2‖U − W V − b1ᵀ‖² + λ/2‖W‖² + α/2‖(W, b) − (Wᵏ, bᵏ)‖²
// as a correction, so that the Gram matrix's rounding scales the step and not the weights. With
// Ṽ = [V; 1ᵀ], R = U − Wᵏ V − bᵏ1ᵀ, E = diag(1, …, 1, 0) where there is a bias,
//   Δ (ρ Ṽ Ṽᵀ + αI + λE) = ρ R Ṽᵀ − λ[Wᵏ, 0],      (W, b) += Δ.
// Its decrease of the objective is exactly ½⟨Δ, right side⟩ + α/2‖Δ‖².
// Zeng et al. (ICML 2019), Algorithm 2; the bias as part of the block is ours.
#pragma once

#include <string>

#include "amcore/error.hpp"
#include "amcore/linalg/gram.hpp"
#include "amcore/linalg/spd_solve.hpp"

namespace amcore {

struct BlockStep {
  double squared_step = 0, decrease = 0;
};

template <class T> class WeightBlock {
 public:
  WeightBlock() = default;
  WeightBlock(Index out, Index in) : solver_(in + 1, out), delta_((in + 1) * out) {}

  // `v`: the moments of V (the input's are computed once and kept); `sums`: R Vᵀ and the sum of R;
  // n samples.
  BlockStep update(T* W, T* b, const Moments<T>& v, const SampleSums<T>& sums, double samples,
                   double rho, double alpha, double lam, int layer, int threads) {
    const Index out = sums.rows(), in = sums.columns(), size = in + (b ? 1 : 0);
    MatrixMap<double> h = solver_.matrix(size);
    for (Index j = 0; j < in; ++j) {
      const double s_j = v.sum[j], m_j = v.shift[j];
      for (Index i = j; i < in; ++i)
        h(i, j) = rho * (v.gram[j * in + i] +
                         (v.shift[i] * s_j + (v.sum[i] + samples * v.shift[i]) * m_j));
      h(j, j) += alpha + lam;
      if (b) h(in, j) = rho * (s_j + samples * m_j);
    }
    if (b) h(in, in) = rho * samples + alpha;
    h.template triangularView<Eigen::StrictlyUpper>() = h.transpose();

    MatrixMap<double> delta(delta_.data(), size, out);  // a row of Δ is a column here
    for (Index r = 0; r < out; ++r) {
      for (Index j = 0; j < in; ++j)
        delta(j, r) = rho * sums.cross(r, j) - lam * static_cast<double>(W[r * in + j]);
      if (b) delta(in, r) = rho * sums.sum_r()[r];
    }

    if (const auto condition = solver_.factorise())
      throw NumericalError(
          "the least-squares system of the weights is not positive definite to rounding "
          "(increase alpha or the ridge, or use float64)",
          layer, "W", *condition);
    const double product = solver_.solve(delta_.data(), out, threads);
    if (!all_finite(size * out, delta_.data()))
      throw NumericalError("the weight update is not finite", layer, "W");
    for (Index r = 0; r < out; ++r) {
      for (Index j = 0; j < in; ++j) W[r * in + j] = static_cast<T>(W[r * in + j] + delta(j, r));
      if (b) b[r] = static_cast<T>(b[r] + delta(in, r));
    }
    const double squared_step = sum_of_squares(size * out, delta_.data());
    return {squared_step, product / 2 + alpha / 2 * squared_step};
  }

 private:
  SpdSolver solver_;
  Buffer<double> delta_;
};

}  // namespace amcore
