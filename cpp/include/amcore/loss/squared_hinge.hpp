#pragma once

#include <algorithm>

#include "amcore/loss/loss.hpp"

namespace amcore::loss {

// ℓ(v, y) = max(0, 1 − y v)², y = ±1
// prox = y · (m if m ≥ 1, else (m + 2τ)/(1 + 2τ)) with m = y q
struct SquaredHingeLoss {
  static constexpr NoParameters parameters{};
  static constexpr bool separable = true;
  explicit SquaredHingeLoss(const ParameterValues&) {}

  template <class T> double value(T v, T y) const { return square(slack(v, y)); }
  template <class T> T left_derivative(T v, T y) const {
    return static_cast<T>(-2 * y * slack(v, y));
  }
  template <class T> T right_derivative(T v, T y) const { return left_derivative(v, y); }
  template <class T> double difference(T a, T b, T y) const {
    const double p = slack(a, y), q = slack(b, y);
    const double rise = p > 0 && q > 0 ? y * (static_cast<double>(b) - a) : p - q;
    return rise * (p + q);
  }
  template <class T> T prox(T q, T y, T tau) const {
    const T m = y * q;
    return y * (m >= 1 ? m : (m + 2 * tau) / (1 + 2 * tau));
  }

 private:
  template <class T> static double slack(T v, T y) {
    return std::max(0.0, 1 - static_cast<double>(y) * v);
  }
};

}  // namespace amcore::loss
