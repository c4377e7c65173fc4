#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "amcore/loss/loss.hpp"

namespace amcore::loss {

// ℓ(v, y) = e^{−y v}, y = ±1
// prox = y (m + c) with m = y q, where c + log c = log τ − m: a form that does not overflow.
// Computed in float64 for either type.
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
  // Newton's method is monotone, after its first step at the latest, for x = log c from x = s and
  // for c from c = s. Where m is far below 0, m + c = log τ − log c is free of cancellation.
  template <class T> T prox(T q, T y, T tau) const {
    constexpr double eps = std::numeric_limits<double>::epsilon();
    constexpr int most_steps = 100;
    const double m = static_cast<double>(y) * q, log_tau = std::log(static_cast<double>(tau));
    const double s = log_tau - m;
    if (s < 1) {
      double x = s;
      for (int k = 0; k < most_steps; ++k) {
        const double e = std::exp(x), step = (x + e - s) / (1 + e);
        x -= step;
        if (!(step > eps * std::abs(x))) break;
      }
      // One more step, for c = τ e^{−m} e^{−c}: log τ has lost digits of a small c.
      const double c = std::exp(x), half = std::exp(-m / 2);
      return y * static_cast<T>(m + (c - (c - half * tau * half * std::exp(-c)) / (1 + c)));
    }
    double c = s;
    for (int k = 0; k < most_steps; ++k) {
      const double next = c * (1 + s - std::log(c)) / (1 + c);
      const bool settled = std::abs(next - c) <= eps * c;
      c = next;
      if (settled) break;
    }
    return y * static_cast<T>(m < 0 ? log_tau - std::log(c) : m + c);
  }
};

}  // namespace amcore::loss
