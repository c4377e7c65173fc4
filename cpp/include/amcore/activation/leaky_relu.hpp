#pragma once

#include <limits>

#include "amcore/activation/activation.hpp"
#include "amcore/scalar/piecewise_linear.hpp"

namespace amcore::activation {

// σ(u) = u for u ≥ 0, slope·u below;  prox: the best of the two pieces' clipped parabolas
struct LeakyReluActivation {
  static constexpr std::array parameters{Parameter{"slope", 0.01}};
  explicit LeakyReluActivation(const ParameterValues& values)
      : slope(in_range(values[0], "leaky_relu: slope", 0, 1)) {}
  static constexpr Bounds bounds{Bounds::none, 1};

  // The slope is read whatever u is, so that loops are free of branches.
  template <class T> T value(T u) const {
    const T low = static_cast<T>(slope) * u;
    return u >= 0 ? u : low;
  }
  template <class T> T left_derivative(T u) const {
    const T low = static_cast<T>(slope);
    return u > 0 ? T(1) : low;
  }
  template <class T> T right_derivative(T u) const {
    const T low = static_cast<T>(slope);
    return u >= 0 ? T(1) : low;
  }
  template <class T> T difference(T a, T b) const {
    const T low = static_cast<T>(slope) * (a - b), high = value(a) - value(b);
    return a < 0 && b < 0 ? low : high;
  }
  template <class T> T inverse(T v) const {
    return v >= 0 ? v : (slope > 0 ? v / static_cast<T>(slope) : T(0));
  }
  template <class T> T prox(T v, T z, T w) const {
    return scalar::prox_piecewise_linear(pieces<T>(), v, z, w);
  }
  template <class T> std::array<scalar::Piece<T>, 2> pieces() const {
    constexpr T inf = std::numeric_limits<T>::infinity();
    return {{{-inf, 0, static_cast<T>(slope), 0}, {0, inf, 1, 0}}};
  }

  double slope;
};

}  // namespace amcore::activation
