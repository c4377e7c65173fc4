// The preactivation block, entry by entry:
//   argmin γ/2‖V − σ(U)‖² + ρ/2‖U − P‖² + α/2‖U − Uᵏ‖² = prox_σ(V, (ρP + αUᵏ)/(ρ + α); (ρ + α)/γ)
// Zeng et al. (ICML 2019), Algorithm 2.
#pragma once

#include "amcore/activation/activation.hpp"
#include "amcore/block/weight.hpp"
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

// Its step and decrease; sigma_old = σ(u), delta = σ(u_new) − σ(u) accurate relative to the step.
template <class T> BlockStep preactivation_step(Index n, const T* v, const T* p, const T* u,
                                                const T* u_new, const T* sigma_old, const T* delta,
                                                double gamma, double rho) {
  const double squared =
      sum(n, [&](Index i) { return square(static_cast<double>(u_new[i]) - u[i]); });
  const double fit = sum(n, [&](Index i) {
    const double d = delta[i];
    return d * (2 * (static_cast<double>(v[i]) - sigma_old[i]) - d);
  });
  const double coupling = sum(n, [&](Index i) {
    return (static_cast<double>(u[i]) - u_new[i]) *
           ((static_cast<double>(u[i]) - p[i]) + (static_cast<double>(u_new[i]) - p[i]));
  });
  return {squared, gamma / 2 * fit + rho / 2 * coupling};
}

// dist²(0, ∂_U f): A = V − σ(U), E = U − P; `left`, `right`: the one-sided derivatives of σ at U.
// At a kink that is convex the subdifferential is the interval between the one-sided derivatives of
// f, else the two points.
template <class T> double preactivation_distance(Index n, const T* a, const T* e, const T* left,
                                                 const T* right, double gamma, double rho) {
  return sum(n, [&](Index i) {
    const double pull = rho * e[i], push = gamma * a[i];
    const double l = pull - push * left[i], r = pull - push * right[i];
    const double convex = std::max(std::max(l, -r), 0.0),
                 concave = std::min(std::abs(l), std::abs(r));
    return square(r >= l ? convex : concave);
  });
}

}  // namespace amcore
