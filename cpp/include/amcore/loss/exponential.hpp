#pragma once

#include <algorithm>
#include <cmath>

#include "amcore/loss/loss.hpp"
#include "amcore/scalar/decay_prox.hpp"

namespace amcore::loss {

// ℓ(v, y) = e^{−y v}, y = ±1
// prox = y m, where m solves m − y q = τ e^{−m}. Computed in float64 for either type.
struct ExponentialLoss {
  static constexpr NoParameters parameters{};
  static constexpr bool separable = true;
  explicit ExponentialLoss(const ParameterValues&) {}

  template <class T> double value(T v, T y) const { return std::exp(-static_cast<double>(y) * v); }
  template <class T> T left_derivative(T v, T y) const {
    return static_cast<T>(-y * std::exp(-static_cast<double>(y) * v));
  }
  template <class T> T right_derivative(T v, T y) const { return left_derivative(v, y); }
  // ± the larger value times 1 − e^{−|a − b|}
  template <class T> double difference(T a, T b, T y) const {
    const double m = static_cast<double>(y) * a, k = static_cast<double>(y) * b;
    if (m == k) return 0;
    const double larger = std::exp(-std::min(m, k)), part = std::expm1(-std::abs(m - k));
    return m < k ? -larger * part : larger * part;
  }
  template <class T> void prox(Index K, Index n, const T* q, const T* y, T tau, T* out) const {
    scalar::map_blocks(K * n, q, y, out, [tau](T at, T sign) {
      const double root = scalar::decay_prox<0>(static_cast<double>(sign) * at, tau);
      return sign * static_cast<T>(root);
    });
  }
};

}  // namespace amcore::loss
