// The hidden block, a sample at a time (columns of V):
//   argmin γ/2‖V − S‖² + ρ/2‖U − b1ᵀ − W V‖²
// With R = U − b1ᵀ − W S and κ = ρ/γ, in the smaller of two forms,
//   dual (Woodbury):  E = (I + κ W Wᵀ)⁻¹ R,          V = S + κ Wᵀ E
//   primal:           V = S + κ (I + κ WᵀW)⁻¹Wᵀ R,   E = R − W (V − S)
// where E = U − b1ᵀ − W V is the residual that remains: the objective costs no further product.
// Zeng et al. (ICML 2019), Algorithm 2.
//
// With a regulariser s(V), a sum over samples: a ridge is absorbed into γ and S, any other takes
// proximal gradient steps from the old V, with λ_max(γI + ρWᵀW) of the smaller Gram matrix.
#pragma once

#include "amcore/error.hpp"
#include "amcore/linalg/packed_weights.hpp"
#include "amcore/linalg/sample_proximal_gradient.hpp"
#include "amcore/linalg/spd_solve.hpp"

namespace amcore {

template <class T> class HiddenBlock : public PackedWeights<T> {
 public:
  using PackedWeights<T>::apply_transposed, PackedWeights<T>::pack;

  HiddenBlock() = default;
  // The widest layers: `out` rows of W, `in` columns.
  HiddenBlock(Index out, Index in)
      : PackedWeights<T>(out, in),
        solver_(std::min(out, in), std::max(out, in)),
        wide_(out * in),
        right_(std::min(out, in) * out),
        second_(left_panels_size<T>(std::max(out, in), out)),
        vector_(2 * std::min(out, in)) {}

  // For updates.
  void prepare(Index out, Index in, const T* W, double gamma, double rho, int layer, int threads) {
    const MatrixMap<double> wide = prepare_gram(out, in, W, gamma, rho, threads);
    if (const auto condition = solver_.factorise())
      throw NumericalError(
          "the least-squares system of the hidden variables is not positive definite to rounding",
          layer, "V", *condition);
    MatrixMap<double> right(right_.data(), wide.rows(), out);
    if (dual_)
      right.setIdentity();
    else
      right = kappa_ * wide;
    solver_.solve(right.data(), right.cols(), threads);
    pack_left(right.rows(), right.cols(), right.data(), Index(1), right.rows(), second_.data());
  }

  // For regularised updates.
  void prepare_regularized(Index out, Index in, const T* W, double gamma, double rho, int threads) {
    const Index size = prepare_gram(out, in, W, gamma, rho, threads).rows();
    steepest_ = gamma * largest_eigenvalue(solver_.matrix(size), vector_.data());
  }

  // s, v: in × t;  residual: out × t, U − b1ᵀ on entry, E on return;  panels: scratch.
  void update(Index t, const T* s, T* residual, T* v, T* panels) const {
    subtract_product(t, s, residual, panels);
    pack_right(out_, t, residual, Index(1), out_, panels);
    if (dual_) {
      multiply(out_, t, out_, second_.data(), panels, residual, out_, Update::assign);
      apply_transposed(t, residual, v, panels);
      const T kappa = static_cast<T>(kappa_);
      for (Index i = 0; i < in_ * t; ++i) v[i] = s[i] + kappa * v[i];
    } else {
      multiply(in_, t, out_, second_.data(), panels, v, in_, Update::assign);
      subtract_product(t, v, residual, panels);
      for (Index i = 0; i < in_ * t; ++i) v[i] += s[i];
    }
  }

  // Of one thread: what a regularised update of a tile needs.
  struct Workspace {
    Workspace(Index width, Index samples)
        : loop(width, samples),
          target(width * samples),
          ahead(width * samples),
          change(width * samples) {}
    SampleProximalGradient<T> loop;
    Buffer<T> target, ahead, change;  // U − b1ᵀ;  U − b1ᵀ − W y;  W(z − x)
  };

  // As above, plus regularizer(V); v is the old value on entry.
  void update(Index t, const T* s, T* residual, T* v, T* panels, const Regularizer<T>& regularizer,
              const InnerLoop& loop, const Workspace& workspace) const {
    std::copy_n(residual, out_ * t, workspace.target.data());
    subtract_product(t, v, residual, panels);
    std::copy_n(residual, out_ * t, workspace.ahead.data());
    workspace.loop.solve(in_, t, LeastSquares{*this, t, s, residual, panels, workspace}, steepest_,
                         regularizer, v, loop);
    std::copy_n(workspace.target.data(), out_ * t, residual);  // without the rounding of the steps
    subtract_product(t, v, residual, panels);
  }

 private:
  using PackedWeights<T>::in_, PackedWeights<T>::out_, PackedWeights<T>::w_;

  // γ/2‖v − S‖² + ρ/2‖R − W v‖² of every sample, the residuals carried along.
  struct LeastSquares {
    const HiddenBlock& block;
    Index t;
    const T* s;
    T* residual;  // at x
    T* panels;
    const Workspace& workspace;
    const T *x = nullptr, *step = nullptr;

    void gradient(const T* y, T* out) const {
      block.apply_transposed(t, workspace.ahead.data(), out, panels);
      const T gamma = static_cast<T>(block.gamma_), rho = static_cast<T>(block.rho_);
      for (Index i = 0; i < block.in_ * t; ++i) out[i] = gamma * (y[i] - s[i]) - rho * out[i];
    }
    void compare(const T*, const T* from, const T* by) {
      x = from;
      step = by;
      block.apply(t, step, workspace.change.data(), panels);
    }
    Rise rise(Index j) const {
      const Index in = block.in_, out = block.out_;
      const double pull =
          block.gamma_ * sum(in, [&](Index i) {
            const double by = step[j * in + i];
            return by * ((static_cast<double>(x[j * in + i]) - s[j * in + i]) + by / 2);
          });
      const T *const e = residual + j * out, *const c = workspace.change.data() + j * out;
      const double fit =
          block.rho_ * sum(out, [&](Index i) {
            return static_cast<double>(c[i]) * (e[i] - static_cast<double>(c[i]) / 2);
          });
      return {pull - fit, std::abs(pull) + std::abs(fit)};
    }
    void accept(Index j, T share) const {
      const Index out = block.out_;
      const T* const c = workspace.change.data() + j * out;
      T *const e = residual + j * out, *const ahead = workspace.ahead.data() + j * out;
      for (Index i = 0; i < out; ++i) {
        e[i] -= c[i];
        ahead[i] = e[i] - share * c[i];
      }
    }
    void restart(Index j) const {
      const Index out = block.out_;
      std::copy_n(residual + j * out, out, workspace.ahead.data() + j * out);
    }
  };

  // The smaller of I + κ W Wᵀ and I + κ WᵀW, into the solver; returns W or Wᵀ, with as many rows.
  MatrixMap<double> prepare_gram(Index out, Index in, const T* W, double gamma, double rho,
                                 int threads) {
    pack(out, in, W);
    gamma_ = gamma;
    rho_ = rho;
    kappa_ = rho / gamma;
    dual_ = out <= in;
    const Index size = std::min(out, in);
    const ConstRowMatrixMap<T> w(W, out, in);
    MatrixMap<double> wide(wide_.data(), size, std::max(out, in));
    if (dual_)
      wide = w.template cast<double>();
    else
      wide = w.transpose().template cast<double>();
    shifted_gram(wide, kappa_, solver_.matrix(size), threads);
    return wide;
  }
  // y (out × t) ← y − W x
  void subtract_product(Index t, const T* x, T* y, T* panels) const {
    pack_right(in_, t, x, Index(1), in_, panels);
    multiply(out_, t, in_, w_.data(), panels, y, out_, Update::subtract);
  }

  SpdSolver solver_;
  Buffer<double> wide_, right_;
  Buffer<T> second_;       // (I + κWWᵀ)⁻¹ or κ(I + κWᵀW)⁻¹Wᵀ
  Buffer<double> vector_;  // scratch
  double gamma_ = 1, rho_ = 1, kappa_ = 1;
  double steepest_ = 1;  // λ_max(γI + ρWᵀW)
  bool dual_ = true;
};

}  // namespace amcore
