// The output block:
//   argmin c ℓ(V, Y) + γ/2‖V − S‖² + α/2‖V − Vᵏ‖² = prox_{ℓ}((γS + αVᵏ)/(γ + α), Y; c/(γ + α))
// Zeng et al. (ICML 2019), Algorithm 2.
#pragma once

#include "amcore/block/weight.hpp"
#include "amcore/loss/loss.hpp"

namespace amcore {

// Arrays k × n; q: scratch.
template <class T> void output_update(Index k, Index n, const Loss<T>& loss, double weight,
                                      const T* y, const T* s, const T* v, double gamma,
                                      double alpha, T* q, T* out) {
  const T share = static_cast<T>(alpha / (gamma + alpha));
  for (Index i = 0; i < k * n; ++i) q[i] = s[i] + share * (v[i] - s[i]);
  loss.prox(k, n, q, y, static_cast<T>(weight / (gamma + alpha)), out);
}

template <class T> BlockStep output_step(Index k, Index n, const Loss<T>& loss, double weight,
                                         const T* y, const T* s, const T* v, const T* v_new,
                                         double gamma) {
  const double squared =
      sum(k * n, [&](Index i) { return square(static_cast<double>(v_new[i]) - v[i]); });
  const double fit = sum(k * n, [&](Index i) {
    return (static_cast<double>(v[i]) - v_new[i]) *
           ((static_cast<double>(v[i]) - s[i]) + (static_cast<double>(v_new[i]) - s[i]));
  });
  return {squared, weight * loss.difference(k, n, v, v_new, y) + gamma / 2 * fit};
}

}  // namespace amcore
