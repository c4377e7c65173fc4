#pragma once

#include <algorithm>
#include <limits>

#include "amcore/regularizer/regularizer.hpp"

namespace amcore::regularizer {

// r(x) = 0 where lo ≤ x ≤ hi, else ∞;  prox = clip(x, lo, hi).  The bounds are rounded to T; there
// may be none, lo = −∞ or hi = ∞.
// ∂r(lo) = (−∞, 0], ∂r(hi) = [0, ∞), both together where lo = hi.
struct BoxRegularizer {
  static constexpr std::array parameters{Parameter{"lo", -1.0}, Parameter{"hi", 1.0}};
  static constexpr bool separable = true;
  explicit BoxRegularizer(const ParameterValues& values)
      : lo(in_range(values[0], "box: lo", -infinity)),
        hi(in_range(values[1], "box: hi", std::max(lo, -largest), infinity)) {}

  ScalarTerms terms() const { return {.lo = lo, .hi = hi}; }
  template <class T> double value(T x) const {
    const bool inside = static_cast<T>(lo) <= x && x <= static_cast<T>(hi);
    return inside ? 0 : infinity;
  }
  template <class T> double difference(T a, T b) const { return value(a) - value(b); }
  template <class T> T prox(T x, T) const {
    return std::min(std::max(x, static_cast<T>(lo)), static_cast<T>(hi));
  }
  template <class T, class Squared> double squared_distance(T x, T g, Squared&& squared) const {
    const bool held = g > 0 ? x == static_cast<T>(lo) : x == static_cast<T>(hi);
    return value(x) + (held ? 0 : squared(g));
  }

  static constexpr double infinity = std::numeric_limits<double>::infinity();
  static constexpr double largest = std::numeric_limits<double>::max();
  double lo, hi;
};

}  // namespace amcore::regularizer
