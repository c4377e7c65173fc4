// The hidden block, a sample at a time (columns of V):
//   argmin γ/2‖V − S‖² + ρ/2‖U − b1ᵀ − W V‖²
// With R = U − b1ᵀ − W S and κ = ρ/γ, in the smaller of two forms,
//   dual (Woodbury):  E = (I + κ W Wᵀ)⁻¹ R,          V = S + κ Wᵀ E
//   primal:           V = S + κ (I + κ WᵀW)⁻¹Wᵀ R,   E = R − W (V − S)
// where E = U − b1ᵀ − W V is the residual that remains: the objective costs no further product.
// Zeng et al. (ICML 2019), Algorithm 2.
#pragma once

#include "amcore/error.hpp"
#include "amcore/linalg/product.hpp"
#include "amcore/linalg/spd_solve.hpp"

namespace amcore {

template <class T> class HiddenBlock {
 public:
  HiddenBlock() = default;
  // The widest layers: `out` rows of W, `in` columns.
  HiddenBlock(Index out, Index in)
      : solver_(std::min(out, in), std::max(out, in)),
        wide_(out * in),
        right_(std::min(out, in) * out),
        w_(left_panels_size<T>(out, in)),
        second_(left_panels_size<T>(std::max(out, in), out)),
        third_(left_panels_size<T>(in, out)) {}

  // For products with W (out × in, row-major) and its transpose.
  void pack(Index out, Index in, const T* W) {
    out_ = out;
    in_ = in;
    pack_left(out, in, W, in, Index(1), w_.data());
    pack_left(in, out, W, Index(1), in, third_.data());
  }

  // For updates.
  void prepare(Index out, Index in, const T* W, double gamma, double rho, int layer, int threads) {
    pack(out, in, W);
    kappa_ = rho / gamma;
    dual_ = out <= in;
    const Index size = std::min(out, in);
    const ConstRowMatrixMap<T> w(W, out, in);
    MatrixMap<double> wide(wide_.data(), size, std::max(out, in));  // W or Wᵀ
    if (dual_)
      wide = w.template cast<double>();
    else
      wide = w.transpose().template cast<double>();
    shifted_gram(wide, kappa_, solver_.matrix(size), threads);
    if (const auto condition = solver_.factorise())
      throw NumericalError(
          "the least-squares system of the hidden variables is not positive definite to rounding",
          layer, "V", *condition);
    MatrixMap<double> right(right_.data(), size, out);
    if (dual_)
      right.setIdentity();
    else
      right = kappa_ * wide;
    solver_.solve(right.data(), right.cols(), threads);
    pack_left(right.rows(), right.cols(), right.data(), Index(1), right.rows(), second_.data());
  }

  // s, v: in × t;  residual: out × t, U − b1ᵀ on entry, E on return;  panels: scratch.
  void update(Index t, const T* s, T* residual, T* v, T* panels) const {
    pack_right(in_, t, s, Index(1), in_, panels);
    multiply(out_, t, in_, w_.data(), panels, residual, out_, Update::subtract);
    pack_right(out_, t, residual, Index(1), out_, panels);
    if (dual_) {
      multiply(out_, t, out_, second_.data(), panels, residual, out_, Update::assign);
      apply_transposed(t, residual, v, panels);
      const T kappa = static_cast<T>(kappa_);
      for (Index i = 0; i < in_ * t; ++i) v[i] = s[i] + kappa * v[i];
    } else {
      multiply(in_, t, out_, second_.data(), panels, v, in_, Update::assign);
      pack_right(in_, t, v, Index(1), in_, panels);
      multiply(out_, t, in_, w_.data(), panels, residual, out_, Update::subtract);
      for (Index i = 0; i < in_ * t; ++i) v[i] += s[i];
    }
  }

  // y (out × t) ← W x
  void apply(Index t, const T* x, T* y, T* panels) const {
    pack_right(in_, t, x, Index(1), in_, panels);
    multiply(out_, t, in_, w_.data(), panels, y, out_, Update::assign);
  }
  // x (in × t) ← Wᵀ y
  void apply_transposed(Index t, const T* y, T* x, T* panels) const {
    pack_right(out_, t, y, Index(1), out_, panels);
    multiply(in_, t, out_, third_.data(), panels, x, in_, Update::assign);
  }
  const T* weights() const { return w_.data(); }  // packed

 private:
  SpdSolver solver_;
  Buffer<double> wide_, right_;
  Buffer<T> w_, second_, third_;  // W;  (I + κWWᵀ)⁻¹ or κ(I + κWᵀW)⁻¹Wᵀ;  Wᵀ
  Index out_ = 0, in_ = 0;
  double kappa_ = 1;
  bool dual_ = true;
};

}  // namespace amcore
