#pragma once

#include <algorithm>
#include <cmath>

#include "amcore/loss/loss.hpp"
#include "amcore/scalar/decay_prox.hpp"

namespace amcore::loss {

// ℓ(v, y) = log(1 + e^{−y v}), y = ±1
// prox = y m, where m solves m − y q = τ/(1 + e^m). Computed in float64 for either type.
struct LogisticLoss {
  static constexpr NoParameters parameters{};
  static constexpr bool separable = true;
  explicit LogisticLoss(const ParameterValues&) {}

  template <class T> double value(T v, T y) const {
    const double m = static_cast<double>(y) * v;
    return std::max(-m, 0.0) + std::log1p(std::exp(-std::abs(m)));
  }
  template <class T> T left_derivative(T v, T y) const {
    return static_cast<T>(-y / (1 + std::exp(static_cast<double>(y) * v)));
  }
  template <class T> T right_derivative(T v, T y) const { return left_derivative(v, y); }
  // With m = y a and k = y b, log(1 + (e^{k−m} − 1)/(1 + e^k)).
  template <class T> double difference(T a, T b, T y) const {
    const double m = static_cast<double>(y) * a, k = static_cast<double>(y) * b, d = m - k;
    if (std::abs(d) < 1) return std::log1p(std::expm1(-d) / (1 + std::exp(k)));
    return (std::max(-m, 0.0) - std::max(-k, 0.0)) +
           (std::log1p(std::exp(-std::abs(m))) - std::log1p(std::exp(-std::abs(k))));
  }
  // The equation for −m has −y q − τ in place of y q, as 1/(1 + e^m) + 1/(1 + e^{−m}) = 1: so that
  // the root is at least 0.
  template <class T> void prox(Index K, Index n, const T* q, const T* y, T tau_, T* out) const {
    const double tau = tau_;
    scalar::map_blocks(K * n, q, y, out, [tau](T at, T sign) {
      const double m = static_cast<double>(sign) * at;
      const bool mirror = m < -tau / 2;
      const double root = scalar::decay_prox<1>(mirror ? -m - tau : m, tau);
      return sign * static_cast<T>(mirror ? -root : root);
    });
  }
};

}  // namespace amcore::loss
