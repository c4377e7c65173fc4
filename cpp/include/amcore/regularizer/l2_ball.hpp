#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "amcore/regularizer/regularizer.hpp"

namespace amcore::regularizer {

// r(x) = 0 where ‖x‖ ≤ radius, else ∞;  prox = x · min(1, radius/‖x‖).  On the sphere ∂r(x) is the
// ray {t x, t ≥ 0}; a norm within rounding of the radius counts as on the sphere.
struct L2BallRegularizer {
  static constexpr std::array parameters{Parameter{"radius", 1.0}};
  static constexpr bool separable = false;
  explicit L2BallRegularizer(const ParameterValues& values)
      : radius(in_range(values[0], "l2_ball: radius", std::numeric_limits<double>::min())) {}

  template <class T> double value(Index rows, Index columns, const T* x) const {
    return norm(rows * columns, x) <= radius * (1 + rounding<T>)
               ? 0
               : std::numeric_limits<double>::infinity();
  }
  template <class T> double difference(Index rows, Index columns, const T* a, const T* b) const {
    return value(rows, columns, a) - value(rows, columns, b);
  }
  template <class T> void prox(Index rows, Index columns, const T* x, T, T* out) const {
    const Index n = rows * columns;
    const double size = norm(n, x), shrink = size > radius ? radius / size : 1;
    const bool exact = shrink >= std::numeric_limits<double>::min();
    for (Index i = 0; i < n; ++i)
      out[i] = static_cast<T>(exact ? shrink * x[i] : radius * (x[i] / size));
  }
  template <class T, class Squared> double squared_distance(Index rows, Index columns, const T* x,
                                                            const T* g, Squared&& squared) const {
    const Index n = rows * columns;
    const double size = norm(n, x);
    if (size > radius * (1 + rounding<T>)) return std::numeric_limits<double>::infinity();
    if (size < radius * (1 - rounding<T>)) return sum(n, [&](Index i) { return squared(g[i]); });
    const double inward = -sum(n, [&](Index i) { return x[i] / size * g[i]; });
    const double t = std::max(inward, 0.0);
    return sum(n, [&](Index i) { return squared(g[i] + t * (x[i] / size)); });
  }

  double radius;

 private:
  template <class T> static constexpr double rounding = 4 * std::numeric_limits<T>::epsilon();
  template <class T> static double norm(Index n, const T* x) {
    return root([&](auto&& squared) { return sum(n, [&](Index i) { return squared(x[i]); }); });
  }
};

}  // namespace amcore::regularizer
