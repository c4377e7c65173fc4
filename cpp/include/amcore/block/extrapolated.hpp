// Blocks that take one extrapolated proximal gradient step, which must lower the objective: from
// B = x + D, D = ω(x − x_old), the step of the majorised problem is accepted only if the objective
// falls by at least δ/2‖x⁺ − x‖²; else it is redone from B = x. Where rounding lets even that one
// rise, the block stays. Wang, Li, Zhao (Neurocomputing 2022), Algorithm 1.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "amcore/block/weight.hpp"
#include "amcore/check.hpp"
#include "amcore/linalg/packed_weights.hpp"
#include "amcore/linalg/symmetric_product.hpp"

namespace amcore {

// (W, b) jointly, for r(W) + ρ/2‖U − W V − b1ᵀ‖²: with Ṽ = [V; 1ᵀ], R = ρ(U − (W, b)Ṽ)Ṽᵀ and
// H = ρ Ṽ Ṽᵀ
//   (W, b)⁺ = prox_{r/θ}((W, b) + D + (R − D H)/θ),
// θ an estimate of the largest eigenvalue of H, doubled until the quadratic model majorises at the
// point reached: ⟨E, E H⟩ ≤ θ‖E‖² for E = (W, b)⁺ − (W, b) − D. The objective falls by
//   ⟨Δ, R⟩ − ½⟨Δ, Δ H⟩ + r(W) − r(W⁺),   Δ = (W, b)⁺ − (W, b) = D + E.
template <class T> class ExtrapolatedWeightBlock {
 public:
  ExtrapolatedWeightBlock() = default;
  ExtrapolatedWeightBlock(Index out, Index in, int threads)
      : h_((in + 1) * (in + 1)),
        times_h_(in + 1, out, threads),
        vector_(2 * (in + 1)),
        sums_(5 * blocks_of(out, block)),
        w_(out * in),
        b_(out) {
    for (auto& buffer : buffers_) buffer = Buffer<double>((in + 1) * out);
  }

  // H and θ, from the moments of V over `samples` samples.
  void prepare(const Moments<T>& v, Index in, bool bias, double samples, double rho, int threads) {
    size_ = in + (bias ? 1 : 0);
    const MatrixMap<double> h(h_.data(), size_, size_);
    gram_matrix(h, v, in, samples, rho, threads);
    times_h_.pack(h, threads);
    theta_ = largest_eigenvalue(h, vector_.data(), threads);
    if (!(theta_ > 0)) theta_ = rho;
  }

  // `sums`: of (U − W V − b1ᵀ)Vᵀ; w_old and b_old, null if nothing is extrapolated, become W and b.
  BlockStep update(T* W, T* b, T* w_old, T* b_old, double omega, const SampleSums<T>& sums,
                   double rho, double delta, const Regularizer<T>& regularizer, int layer,
                   int threads) {
    const Index out = sums.rows(), in = sums.columns();
    threads =
        worth_a_team(4 * square(static_cast<double>(size_)) * static_cast<double>(out), threads);
    const MatrixMap<double> right(array(right_), size_, out);
    parallel_blocks(out, block, threads, [&](Index first, Index last, int) {
      residual_rows(first, last, sums, rho, right);
    });
    BlockStep outcome;
    bool accepted = false;
    if (w_old && omega > 0) {
      outcome = step(out, in, W, b, Extrapolation{w_old, b_old, omega}, regularizer, threads);
      accepted = outcome.decrease >= delta / 2 * outcome.squared_step;
    }
    if (!accepted) {
      outcome = step(out, in, W, b, Extrapolation{}, regularizer, threads);
      accepted = !(outcome.decrease < 0);
    }
    if (accepted && (!std::isfinite(outcome.decrease) || !all_finite(out * in, w_.data())))
      throw NumericalError("the weight update is not finite", layer, "W");
    if (w_old) std::copy_n(W, out * in, w_old);
    if (b_old) std::copy_n(b, out, b_old);
    if (!accepted) return {};
    std::copy_n(w_.data(), out * in, W);
    if (b) std::copy_n(b_.data(), out, b);
    return outcome;
  }

 private:
  static constexpr Index block = SymmetricProduct::block;  // rows
  enum Name : std::size_t {
    right_,
    extrapolation_,
    product_,
    moved_,
    rest_,
    rest_product_,
    count_
  };

  // D = ω(x − x_old), 0 without an x_old.
  struct Extrapolation {
    const T *w_old = nullptr, *b_old = nullptr;
    double omega = 0;
  };

  double* array(Name name) const { return buffers_[name].data(); }

  // One step from (W, b) + D into w_ and b_.
  BlockStep step(Index out, Index in, const T* W, const T* b, const Extrapolation& d,
                 const Regularizer<T>& regularizer, int threads) {
    const bool by_row = regularizer.by_row();
    parallel_blocks(out, block, threads, [&](Index first, Index last, int thread) {
      double* const extrapolation = array(extrapolation_);
      if (!d.w_old) {
        std::fill(extrapolation + first * size_, extrapolation + last * size_, 0.0);
        std::fill(array(product_) + first * size_, array(product_) + last * size_, 0.0);
        return;
      }
      for (Index r = first; r < last; ++r) {
        difference(in, W + r * in, d.w_old + r * in, d.omega, extrapolation + r * size_);
        if (b) difference(1, b + r, d.b_old + r, d.omega, extrapolation + r * size_ + in);
      }
      times_h_(first, last, extrapolation, array(product_), thread);
    });
    for (double theta = theta_;; theta *= 2) {
      const T tau = static_cast<T>(1 / theta);
      const auto move = [&](Index first, Index last, int) {
        const double *const extrapolation = array(extrapolation_), *const right = array(right_),
                            *const product = array(product_);
        for (Index r = first; r < last; ++r) {
          const auto moved = [=, at = r * size_](Index j) {
            return extrapolation[at + j] + (right[at + j] - product[at + j]) / theta;
          };
          T* const w = w_.data() + r * in;
          for (Index j = 0; j < in; ++j) w[j] = static_cast<T>(W[r * in + j] + moved(j));
          if (b) b_.data()[r] = static_cast<T>(b[r] + moved(in));
        }
      };
      if (!by_row) {
        parallel_blocks(out, block, threads, move);
        regularizer.prox(out, in, w_.data(), tau, w_.data());
      }
      const auto judge = [&](Index first, Index last, int thread) {
        const Index at = first * size_;
        T* const w = w_.data() + first * in;
        if (by_row) {
          move(first, last, thread);
          regularizer.prox(last - first, in, w, tau, w);
        }
        double *const moved = array(moved_) + at, *const rest = array(rest_) + at;
        for (Index r = first; r < last; ++r) {
          double* const row = array(moved_) + r * size_;
          difference(in, w_.data() + r * in, W + r * in, 1, row);
          if (b) difference(1, b_.data() + r, b + r, 1, row + in);
        }
        const double* const extrapolation = array(extrapolation_) + at;
        for (Index i = 0; i < (last - first) * size_; ++i) rest[i] = moved[i] - extrapolation[i];
        times_h_(first, last, array(rest_), array(rest_product_), thread);
        const double *const right = array(right_) + at, *const product = array(product_) + at,
                            *const rest_product = array(rest_product_) + at;
        const auto of_entries = sums<4>((last - first) * size_, [=](Index i) {
          return std::array{rest[i] * rest_product[i], square(rest[i]), square(moved[i]),
                            moved[i] * (right[i] - 0.5 * (product[i] + rest_product[i]))};
        });
        return std::array{
            of_entries[0], of_entries[1], of_entries[2], of_entries[3],
            by_row ? regularizer.difference(last - first, in, W + first * in, w) : 0.0};
      };
      const auto [curve, squared, squared_step, smooth, fall] =
          parallel_sums<5>(out, block, threads, sums_.data(), judge);
      if (curve > theta * squared) continue;
      return {squared_step,
              smooth + (by_row ? fall : regularizer.difference(out, in, W, w_.data()))};
    }
  }

  // out ← factor (x − y)
  static void difference(Index n, const T* x, const T* y, double factor, double* out) {
    for (Index i = 0; i < n; ++i) out[i] = factor * (static_cast<double>(x[i]) - y[i]);
  }

  Index size_ = 0;
  double theta_ = 1;
  Buffer<double> h_;  // on its way into times_h_
  SymmetricProduct times_h_;
  Buffer<double> vector_, sums_;
  std::array<Buffer<double>, count_> buffers_;  // a row of (W, b) after the other
  Buffer<T> w_, b_;
};

// V, sample by sample, for ρ/2‖U − b1ᵀ − W V‖² over low ≤ V ≤ high, the old value among these:
// with the residual E = U − b1ᵀ − W V and τ ≥ ρ λ_max(WᵀW)
//   V⁺ = clip(V + D + (ρ/τ) Wᵀ(E − W D), low, high).
// The problem is separable over the samples, and so are the decisions.
template <class T> class ExtrapolatedHiddenBlock : public PackedWeights<T> {
 public:
  using PackedWeights<T>::apply, PackedWeights<T>::apply_transposed;

  ExtrapolatedHiddenBlock() = default;
  // The widest layers: `out` rows of W, `in` columns.
  ExtrapolatedHiddenBlock(Index out, Index in)
      : PackedWeights<T>(out, in),
        wide_(out * in),
        gram_(square_size(out, in)),
        powers_{Buffer<T>(square_size(out, in)), Buffer<T>(square_size(out, in))},
        gram_product_(std::min(out, in)),
        square_product_(std::min(out, in)) {}

  void prepare(Index out, Index in, const T* W, double rho, double delta, int threads) {
    this->pack(out, in, W, threads);
    rho_ = rho;
    delta_ = delta;
    const double tau = rho * eigenvalue_bound(out, in, W, threads);
    share_ = static_cast<T>(tau > 0 ? rho / tau : 1);
  }

  // v, v_old (null if nothing is extrapolated), low, high: in × t; residual: out × t, E on entry
  // and on return. v_old becomes v, v becomes V⁺. Scratch: two arrays in × t, two out × t. The
  // decrease is NaN where a value is not finite; the v of that sample is then as it was.
  BlockStep update(Index t, T* v, T* v_old, T omega, const T* low, const T* high, T* residual,
                   const std::array<T*, 4>& scratch, T* panels) const {
    // No structured binding: before 16, Clang has lambdas capture none.
    T *const candidate = scratch[0], *const moved = scratch[1], *const through = scratch[2];
    T* const pull = scratch[3];
    std::array<Index, TilePlan::largest_tile> open;  // samples without a step so far
    BlockStep total;
    // Step of sample j to the k-th candidate, if it lowers the objective enough.
    const auto take = [&](Index j, Index k, double least) {
      T* const e = residual + j * out_;
      const T* const through_k = through + k * out_;
      const double squared = sum_of_squares(in_, moved + k * in_);
      const double fall = rho_ / 2 * sum(out_, [&](Index i) {
                            return static_cast<double>(through_k[i]) * (2 * e[i] - through_k[i]);
                          });
      if (!(fall >= least * squared)) return Taken{false, fall};
      if (v_old) std::copy_n(v + j * in_, in_, v_old + j * in_);
      std::copy_n(candidate + k * in_, in_, v + j * in_);
      for (Index i = 0; i < out_; ++i) e[i] -= through_k[i];
      total.squared_step += squared;
      total.decrease += fall;
      return Taken{true, fall};
    };

    Index left = 0;
    if (v_old && omega > 0) {
      for (Index i = 0; i < in_ * t; ++i) moved[i] = omega * (v[i] - v_old[i]);
      this->residual(t, moved, residual, nullptr, pull, panels);
      apply_transposed(t, pull, candidate, panels);
      for (Index i = 0; i < in_ * t; ++i) {
        candidate[i] = std::clamp(v[i] + (moved[i] + share_ * candidate[i]), low[i], high[i]);
        moved[i] = candidate[i] - v[i];
      }
      apply(t, moved, through, panels);
      for (Index j = 0; j < t; ++j)
        if (!take(j, j, delta_ / 2).taken) open[left++] = j;
    } else {
      for (Index j = 0; j < t; ++j) open[left++] = j;
    }

    for (Index k = 0; k < left; ++k) std::copy_n(residual + open[k] * out_, out_, pull + k * out_);
    if (left > 0) apply_transposed(left, pull, candidate, panels);
    for (Index k = 0; k < left; ++k)
      for (Index i = 0; i < in_; ++i) {
        const Index from = open[k] * in_ + i, to = k * in_ + i;
        candidate[to] = std::clamp(v[from] + share_ * candidate[to], low[from], high[from]);
        moved[to] = candidate[to] - v[from];
      }
    if (left > 0) apply(left, moved, through, panels);
    for (Index k = 0; k < left; ++k) {
      const auto [taken, fall] = take(open[k], k, 0);
      if (!taken && v_old) std::copy_n(v + open[k] * in_, in_, v_old + open[k] * in_);
      if (!std::isfinite(fall)) total.decrease = std::numeric_limits<double>::quiet_NaN();
    }
    return total;
  }

 private:
  using PackedWeights<T>::in_, PackedWeights<T>::out_;
  struct Taken {
    bool taken;
    double fall;
  };

  static Index square_size(Index out, Index in) { return std::min(out, in) * std::min(out, in); }

  // Upper bound ‖M^p‖^{1/p} of the largest eigenvalue of M = W Wᵀ or WᵀW, whichever is smaller,
  // p = 2⁶; too large by a factor of d^{1/(2p)} at most, d the size of M. The powers are of T: a
  // step lowers F for any τ > ½ρ λ_max, so that their rounding does not matter.
  double eigenvalue_bound(Index out, Index in, const T* W, int threads) {
    constexpr int squarings = 6;
    const Index size = std::min(out, in), entries = size * size;
    const MatrixMap<double> gram(gram_.data(), size, size);
    gram_product_(wider(out, in, W, wide_.data(), threads), 1, gram, threads);
    double norm = std::sqrt(sum_of_squares(entries, gram.data())), bound = norm, exponent = 1;
    if (!(norm > 0)) return norm;
    T *power = powers_[0].data(), *next = powers_[1].data();
    for (Index i = 0; i < entries; ++i) power[i] = static_cast<T>(gram.data()[i] / norm);
    norm = 1;
    for (int k = 0; k < squarings; ++k) {
      // (M/‖M‖)² = M Mᵀ/‖M‖²
      square_product_(MatrixMap<T>(power, size, size), static_cast<T>(1 / square(norm)),
                      MatrixMap<T>(next, size, size), threads);
      std::swap(power, next);
      norm = std::sqrt(sum_of_squares(entries, power));
      exponent /= 2;
      bound *= std::pow(norm, exponent);
    }
    return bound;
  }

  Buffer<double> wide_, gram_;
  std::array<Buffer<T>, 2> powers_;
  GramProduct<double> gram_product_;
  GramProduct<T> square_product_;
  double rho_ = 1, delta_ = 0;
  T share_ = 1;  // ρ/τ
};

}  // namespace amcore
