#pragma once

#include <algorithm>
#include <limits>

#include "amcore/regularizer/regularizer.hpp"

namespace amcore::regularizer {

// r(x) = 0 where x ≥ 0, else ∞;  prox = max(x, 0).  ∂r(0) = (−∞, 0].
struct NonnegativeRegularizer {
  static constexpr NoParameters parameters{};
  static constexpr bool separable = true;
  explicit NonnegativeRegularizer(const ParameterValues&) {}

  ScalarTerms terms() const { return {.lo = 0}; }
  template <class T> double value(T x) const {
    return x >= 0 ? 0 : std::numeric_limits<double>::infinity();
  }
  template <class T> double difference(T a, T b) const { return value(a) - value(b); }
  template <class T> T prox(T x, T) const { return std::max(x, T(0)); }
  template <class T, class Squared> double squared_distance(T x, T g, Squared&& squared) const {
    return value(x) + squared(x > 0 ? g : std::min(g, T(0)));
  }
};

}  // namespace amcore::regularizer
