// The preactivation block, entry by entry:
//   argmin γ/2‖V − σ(U)‖² + ρ/2‖U − P‖² + α/2‖U − Uᵏ‖² = prox_σ(V, (ρP + αUᵏ)/(ρ + α); (ρ + α)/γ)
// Zeng et al. (ICML 2019), Algorithm 2.
#pragma once

#include "amcore/activation/activation.hpp"
#include "amcore/check.hpp"

namespace amcore {

// out ← the minimiser; z: scratch. All of size n.
template <class T> void preactivation_update(Index n, const Activation<T>& activation, const T* v,
                                             const T* p, const T* u, double gamma, double rho,
                                             double alpha, T* z, T* out) {
  const T share = static_cast<T>(alpha / (rho + alpha));
  for (Index i = 0; i < n; ++i) z[i] = p[i] + share * (u[i] - p[i]);
  activation.prox(n, v, z, static_cast<T>((rho + alpha) / gamma), out);
}

// What it did, beside its decrease, as sums of squares.
struct PreactivationStep {
  double step, change, residual, decrease;  // U − Uᵏ, σ(U) − σ(Uᵏ), U − P
};

// sigma_old = σ(u), delta = σ(u_new) − σ(u) accurate relative to the step.
template <class T> PreactivationStep preactivation_step(Index n, const T* v, const T* p, const T* u,
                                                        const T* u_new, const T* sigma_old,
                                                        const T* delta, double gamma, double rho) {
  const auto [step, change, residual, fit, coupling] = sums<5>(n, [=](Index i) {
    const double from = u[i], to = u_new[i], product = p[i], d = delta[i];
    const double moved = to - from, left = to - product;
    return std::array{square(moved), square(d), square(left),
                      d * (2 * (static_cast<double>(v[i]) - sigma_old[i]) - d),
                      moved * ((from - product) + left)};
  });
  return {step, change, residual, gamma / 2 * fit - rho / 2 * coupling};
}

// dist²(0, ∂_U f): A = V − σ(U), E = U − P; `left`, `right`: the one-sided derivatives of σ at U.
// At a kink that is convex the subdifferential is the interval between the one-sided derivatives of
// f, else the two points. An entry is as accurate as A and E are.
template <class T> double preactivation_distance(Index n, const T* a, const T* e, const T* left,
                                                 const T* right, double gamma, double rho) {
  const T pull = static_cast<T>(rho), push = static_cast<T>(gamma);
  return sum(n, [=](Index i) {
    const T l = pull * e[i] - push * a[i] * left[i], r = pull * e[i] - push * a[i] * right[i];
    const T convex = std::max(std::max(l, -r), T(0)), concave = std::min(std::abs(l), std::abs(r));
    return square(r >= l ? convex : concave);
  });
}

}  // namespace amcore
