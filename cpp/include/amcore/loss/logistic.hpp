#pragma once

#include <algorithm>
#include <cmath>

#include "amcore/loss/loss.hpp"
#include "amcore/scalar/root.hpp"

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
  // The root is at most q + τ; and at most o + c with o = max(q, 0) and c e^c ≥ τ e^{−o}, because
  // 1/(1 + e^m) ≤ e^{−m}.
  template <class T> T prox(T q_, T y, T tau_) const {
    const double q = static_cast<double>(y) * q_, tau = tau_, o = std::max(q, 0.0);
    const double log_c = std::log(tau) - o;
    const double high = std::min(q + tau, o + (log_c < 1 ? std::exp(log_c) : log_c));
    const auto f = [&](double m) {
      const double e = std::exp(-std::abs(m)), s = (m < 0 ? 1 : e) / (1 + e);
      return scalar::Slope{m - q - tau * s, 1 + tau * e / square(1 + e)};
    };
    return y * static_cast<T>(high > q ? scalar::root(f, q, high) : q);
  }
};

}  // namespace amcore::loss
