#pragma once

#include <algorithm>
#include <cmath>

#include "amcore/regularizer/regularizer.hpp"

namespace amcore::regularizer {

// r(x) = λ Σ|x|;  prox: soft threshold at τλ
struct L1Regularizer {
  static constexpr std::array parameters{Parameter{"lam", 1.0}};
  static constexpr bool separable = true;
  explicit L1Regularizer(const ParameterValues& values) : lam(in_range(values[0], "l1: lam", 0)) {}

  ScalarTerms terms() const { return {.l1 = lam}; }
  template <class T> double value(T x) const { return lam * std::abs(x); }
  template <class T> double difference(T a, T b) const {
    return lam * (std::abs(static_cast<double>(a)) - std::abs(static_cast<double>(b)));
  }
  template <class T> T prox(T x, T tau) const {
    return std::copysign(std::max(std::abs(x) - tau * static_cast<T>(lam), T(0)), x);
  }
  template <class T, class Squared> double squared_distance(T x, T g, Squared&& squared) const {
    if (x == 0) return squared(std::max(std::abs(g) - lam, 0.0));
    return squared(g + std::copysign(lam, x));
  }

  double lam;
};

}  // namespace amcore::regularizer
