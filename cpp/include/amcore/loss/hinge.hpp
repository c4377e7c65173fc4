#pragma once

#include <algorithm>

#include "amcore/loss/loss.hpp"

namespace amcore::loss {

// ℓ(v, y) = max(0, 1 − y v), y = ±1
// prox = y · (m if m ≥ 1;  m + τ if m ≤ 1 − τ;  else 1) with m = y q
struct HingeLoss {
  static constexpr NoParameters parameters{};
  static constexpr bool separable = true;
  explicit HingeLoss(const ParameterValues&) {}

  template <class T> double value(T v, T y) const {
    return std::max(0.0, 1 - static_cast<double>(y) * v);
  }
  template <class T> T left_derivative(T v, T y) const {
    return y > 0 ? (v <= 1 ? -y : T(0)) : (y * v < 1 ? -y : T(0));
  }
  template <class T> T right_derivative(T v, T y) const {
    return y > 0 ? (v < 1 ? -y : T(0)) : (y * v <= 1 ? -y : T(0));
  }
  template <class T> double difference(T a, T b, T y) const {
    if (y * a <= 1 && y * b <= 1) return -static_cast<double>(y) * (static_cast<double>(a) - b);
    return value(a, y) - value(b, y);
  }
  template <class T> T prox(T q, T y, T tau) const {
    const T m = y * q;
    return y * (m >= 1 ? m : m > 1 - tau ? T(1) : m + tau);
  }
};

}  // namespace amcore::loss
