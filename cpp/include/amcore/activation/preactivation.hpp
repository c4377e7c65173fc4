// The preactivation block, entry by entry:
//   argmin γ/2‖V − σ(U)‖² + ρ/2‖U − P‖² + α/2‖U − Uᵏ‖² = prox_σ(V, (ρP + αUᵏ)/(ρ + α); (ρ + α)/γ)
// Zeng et al. (ICML 2019), Algorithm 2. `Op` is what computes σ: the loops are the activation's own
// (activation/activation.hpp), which inlines it.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "amcore/scalar/entries.hpp"
#include "amcore/sums.hpp"

namespace amcore {

// out ← the minimiser, residual ← out − P; returns ‖V − σ(out)‖². What is written is apart from the
// rest.
template <class T, class Op>
double preactivation_update(const Op& op, Index n, const T* v, const T* p, const T* u, double gamma,
                            double rho, double alpha, T* __restrict out, T* __restrict residual) {
  const Entries<Op, T> entries{op};
  const T share = static_cast<T>(alpha / (rho + alpha));
  const T weight = static_cast<T>((rho + alpha) / gamma);
  double fit = 0;
  entries.for_each_piece(n, [&](Index first, Index count) {
    const T *const target = v + first, *const product = p + first, *const from = u + first;
    T *const to = out + first, *const left = residual + first;
    T scratch[entries.piece] = {};
    if constexpr (OfArrays<Op, T>) {
      for (Index i = 0; i < count; ++i) scratch[i] = product[i] + share * (from[i] - product[i]);
      op.prox(count, target, scratch, weight, to);
      for (Index i = 0; i < count; ++i) left[i] = to[i] - product[i];
    } else {
      for (Index i = 0; i < count; ++i) {
        const T z = product[i] + share * (from[i] - product[i]);
        const T best = op.prox(target[i], z, weight);
        to[i] = best;
        left[i] = best - product[i];
      }
    }
    const auto sigma = entries.value(count, to, scratch);
    fit += sum(count, [=](Index i) { return square(static_cast<T>(target[i] - sigma(i))); });
  });
  return fit;
}

// What it did, beside its decrease, as sums of squares.
struct PreactivationStep {
  double step = 0, change = 0, residual = 0, decrease = 0;  // U − Uᵏ, σ(U) − σ(Uᵏ), U − P
};

// σ(U) − σ(Uᵏ) is accurate relative to the step.
template <class T, class Op>
PreactivationStep preactivation_step(const Op& op, Index n, const T* v, const T* p, const T* u,
                                     const T* u_new, double gamma, double rho) {
  const Entries<Op, T> entries{op};
  PreactivationStep total;
  entries.for_each_piece(n, [&](Index first, Index count) {
    T ahead[2][entries.piece];
    const T *const target = v + first, *const products = p + first, *const olds = u + first,
                   *const news = u_new + first;
    const auto sigma = entries.value(count, olds, ahead[0]);
    const auto delta = entries.difference(count, news, olds, ahead[1]);
    const auto [step, change, residual, fit, coupling] = sums<5>(count, [=](Index i) {
      const double from = olds[i], to = news[i], product = products[i], d = delta(i);
      const double moved = to - from, left = to - product;
      return std::array{square(moved), square(d), square(left),
                        d * (2 * (static_cast<double>(target[i]) - sigma(i)) - d),
                        moved * ((from - product) + left)};
    });
    total.step += step;
    total.change += change;
    total.residual += residual;
    total.decrease += gamma / 2 * fit - rho / 2 * coupling;
  });
  return total;
}

// dist²(0, ∂_U f): A = V − σ(U), E = U − P. At a kink that is convex the subdifferential is the
// interval between the one-sided derivatives of f, else the two points. An entry is as accurate as
// A and E are.
template <class T, class Op> double preactivation_distance(const Op& op, Index n, const T* v,
                                                           const T* u, const T* e, double gamma,
                                                           double rho) {
  const Entries<Op, T> entries{op};
  const T pull = static_cast<T>(rho), push = static_cast<T>(gamma);
  double total = 0;
  entries.for_each_piece(n, [&](Index first, Index count) {
    T ahead[3][entries.piece];
    const T *const target = v + first, *const residual = e + first;
    const auto sigma = entries.value(count, u + first, ahead[0]);
    const auto left = entries.template derivative<Side::left>(count, u + first, ahead[1]);
    const auto right = entries.template derivative<Side::right>(count, u + first, ahead[2]);
    total += sum(count, [=](Index i) {
      const T a = target[i] - sigma(i);
      const T l = pull * residual[i] - push * a * left(i),
              r = pull * residual[i] - push * a * right(i);
      const T convex = std::max(std::max(l, -r), T(0)),
              concave = std::min(std::abs(l), std::abs(r));
      return square(r >= l ? convex : concave);
    });
  });
  return total;
}

}  // namespace amcore
