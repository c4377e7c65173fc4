#pragma once

#include <cmath>

#include "amcore/regularizer/regularizer.hpp"

namespace amcore::regularizer {

// r(x) = λ · number of entries x ≠ 0;  prox: x where x² > 2τλ, else 0.
// The limiting subdifferential is {0} where x ≠ 0 and ℝ at 0.
struct L0Regularizer {
  static constexpr std::array parameters{Parameter{"lam", 1.0}};
  static constexpr bool separable = true;
  explicit L0Regularizer(const ParameterValues& values) : lam(in_range(values[0], "l0: lam", 0)) {}

  ScalarTerms terms() const { return {.l0 = lam}; }
  template <class T> double value(T x) const { return x != 0 ? lam : 0; }
  template <class T> double difference(T a, T b) const { return value(a) - value(b); }
  template <class T> T prox(T x, T tau) const {
    double gain = square(x) - 2 * lam * tau;
    if (x != 0 && (gain == 0 || !std::isfinite(gain))) {  // a tie, or out of range
      const double size = std::abs(x);
      gain = size / tau - 2 * lam / size;
    }
    return gain < 0 || (gain == 0 && x > 0) ? T(0) : x;
  }
  template <class T, class Squared> double squared_distance(T x, T g, Squared&& squared) const {
    return x != 0 ? squared(g) : 0;
  }

  double lam;
};

}  // namespace amcore::regularizer
