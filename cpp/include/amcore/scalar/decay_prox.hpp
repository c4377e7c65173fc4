// The prox of a loss of one variable whose slope is −s(v), s(v) = 1/(λ + e^v): v − q = τ s(v).
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "amcore/scalar/tanh.hpp"

namespace amcore::scalar {

// log z less at most 0.06: between powers of 2, the bits of a number are linear.
[[gnu::always_inline]] inline double rough_log(double z) {
  constexpr double log_2 = 0x1.62e42fefa39efp-1, bias = 1023;
  // The leading bits as an integer, by way of a mantissa, which every processor converts.
  const std::uint64_t leading = std::bit_cast<std::uint64_t>(z) >> 11;
  const double integer =
      std::bit_cast<double>(leading + std::bit_cast<std::uint64_t>(0x1p52)) - 0x1p52;
  return log_2 * (0x1p-41 * integer - bias);
}

// The root u of u + e^u = z, within 0.4, which is at most z, (z − 1)/2 and, for z ≥ 1, log z.
[[gnu::always_inline]] inline double rough_log_root(double z) {
  return z < 1 ? std::min(z, (z - 1) / 2) : rough_log(z);
}

// The root v of v − q = τ/(λ + e^v), λ = 0, or λ = 1 and v ≥ 0. Without branches, to vectorise.
//
// For λ = 0, v = log τ − u with u + e^u = log τ − q; for λ = 1 it is less by 0.7 at most. Three
// Halley steps from there lead to the root: within 0.03, 2e-6, and rounding (checked for
// 1e-12 ≤ τ ≤ 1e12 and q ≥ −1e8 on a million points).
template <int lambda> [[gnu::always_inline]] inline double decay_prox(double q, double tau) {
  const double log_tau = rough_log(tau);
  double v = log_tau - rough_log_root(log_tau - q);
  for (int k = 0; k < 3; ++k) {
    const Ratio<double> e(v / 2);  // e^v = x/y
    const double reciprocal = 1 / (e.x + lambda * e.y), s = e.y * reciprocal;
    const double bend = tau * s * (e.x * reciprocal);  // −τ s'; τ s'' is (1 − 2λs) times that
    const double inverse = 1 / (1 + bend), newton = (v - q - tau * s) * inverse;
    v -= newton / (1 + newton * (bend * inverse) * (0.5 - lambda * s));
  }
  return v;
}

}  // namespace amcore::scalar
