// The hidden block, a sample at a time (columns of V):
//   argmin γ/2‖V − S‖² + ρ/2‖U − b1ᵀ − W V‖²
// With δ = γ/ρ,
//   V = S + K (U − b1ᵀ − W S),   K = Wᵀ(δI + W Wᵀ)⁻¹ = (δI + WᵀW)⁻¹Wᵀ,
// K from the smaller of the two (the first is Woodbury's form). Zeng et al. (ICML 2019),
// Algorithm 2.
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
  HiddenBlock(Index out, Index in, int threads)
      : PackedWeights<T>(out, in),
        solver_(std::min(out, in), std::max(out, in), threads),
        gram_(std::min(out, in)),
        wide_(out * in),
        packed_k_(left_panels_size<T>(in, out)),
        vector_(2 * std::min(out, in)) {}

  // For updates.
  void prepare(Index out, Index in, const T* W, double gamma, double rho, int layer, int threads) {
    threads = worth_a_team(flops(out, in), threads);
    prepare_gram(out, in, W, gamma, rho, threads);
    if (const auto condition = solver_.factorise(threads))
      throw not_positive_definite("hidden variables", layer, "V", *condition);
    solver_.solve(wide_.data(), std::max(out, in), threads);  // K, or Kᵀ
    const bool transposed = out <= in;
    pack_left_in_parallel(in, out, wide_.data(), transposed ? out : Index(1),
                          transposed ? Index(1) : in, packed_k_.data(), threads);
  }

  // For regularised updates.
  void prepare_regularized(Index out, Index in, const T* W, double gamma, double rho, int threads) {
    threads = worth_a_team(flops(out, in), threads);
    steepest_ = rho * largest_eigenvalue(prepare_gram(out, in, W, gamma, rho, threads),
                                         vector_.data(), threads);
  }

  // s, v: in × t, may be the same;  u: out × t;  b: null if there is none;  residual: out × t, on
  // return U − b1ᵀ − W S;  panels: scratch.
  void update(Index t, const T* s, const T* u, const T* b, T* residual, T* v, T* panels) const {
    this->residual(t, s, u, b, residual, panels);
    pack_right(out_, t, residual, panels);
    multiply(in_, t, out_, packed_k_.data(), panels, Destination<T>{v, in_, Update::add, s});
  }

  // Of one thread: what a regularised update of a tile needs.
  struct Workspace {
    Workspace() = default;
    Workspace(Index width, Index samples)
        : loop(width, samples), ahead(width * samples), change(width * samples) {}
    SampleProximalGradient<T> loop;
    Buffer<T> ahead, change;  // U − b1ᵀ − W y;  W(z − x)
  };

  // With regularizer(V): v is the old value on entry, s apart; residual: U − b1ᵀ − W v on entry and
  // on return.
  void update(Index t, const T* s, T* residual, T* v, T* panels, const Regularizer<T>& regularizer,
              const InnerLoop& loop, const Workspace& workspace) const {
    std::copy_n(residual, out_ * t, workspace.ahead.data());
    workspace.loop.solve(in_, t, LeastSquares{*this, t, s, residual, panels, workspace}, steepest_,
                         regularizer, v, loop);
  }

 private:
  using PackedWeights<T>::in_, PackedWeights<T>::out_;

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

  // Gram matrix and both substitutions.
  static double flops(Index out, Index in) {
    return 3 * square(static_cast<double>(std::min(out, in))) *
           static_cast<double>(std::max(out, in));
  }

  // The smaller of δI + W Wᵀ and δI + WᵀW, the solver's matrix; W or Wᵀ is left in wide_.
  MatrixMap<double> prepare_gram(Index out, Index in, const T* W, double gamma, double rho,
                                 int threads) {
    pack(out, in, W, threads);
    gamma_ = gamma;
    rho_ = rho;
    const MatrixMap<double> wide = wider(out, in, W, wide_.data(), threads);
    MatrixMap<double> shifted = solver_.matrix(wide.rows());
    gram_(wide, 1, shifted, threads);
    shifted.diagonal().array() += gamma / rho;
    return shifted;
  }

  SpdSolver solver_;
  GramProduct<double> gram_;
  Buffer<double> wide_;
  Buffer<T> packed_k_;
  Buffer<double> vector_;  // scratch
  double gamma_ = 1, rho_ = 1;
  double steepest_ = 1;  // λ_max(γI + ρWᵀW)
};

}  // namespace amcore
