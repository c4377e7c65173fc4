#pragma once

#include <algorithm>
#include <limits>

#include "amcore/activation/activation.hpp"
#include "amcore/scalar/piecewise_linear.hpp"

namespace amcore::activation {

// σ(u) = min(max(u, −1), 1);  prox: the best of the three pieces' clipped parabolas
struct HardTanhActivation {
  static constexpr NoParameters parameters{};
  explicit HardTanhActivation(const ParameterValues&) {}
  static constexpr Bounds bounds{1, 1};

  template <class T> T value(T u) const { return std::min(std::max(u, T(-1)), T(1)); }
  template <class T> T left_derivative(T u) const { return u > -1 && u <= 1 ? T(1) : T(0); }
  template <class T> T right_derivative(T u) const { return u >= -1 && u < 1 ? T(1) : T(0); }
  template <class T> T difference(T a, T b) const { return value(a) - value(b); }
  template <class T> T inverse(T v) const { return std::clamp(v, T(-1), T(1)); }
  template <class T> T prox(T v, T z, T w) const {
    return scalar::prox_piecewise_linear(pieces<T>(), v, z, w);
  }
  template <class T> std::array<scalar::Piece<T>, 3> pieces() const {
    constexpr T inf = std::numeric_limits<T>::infinity();
    return {{{-inf, -1, 0, -1}, {-1, 1, 1, 0}, {1, inf, 0, 1}}};
  }
};

}  // namespace amcore::activation
