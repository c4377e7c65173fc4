#pragma once

#include <algorithm>
#include <limits>

#include "amcore/activation/activation.hpp"
#include "amcore/scalar/piecewise_linear.hpp"

namespace amcore::activation {

// σ(u) = clip(u/6 + ½, 0, 1), torch's definition (Keras has u/5 + ½)
// prox: the best of the three pieces' clipped parabolas
struct HardSigmoidActivation {
  static constexpr NoParameters parameters{};
  explicit HardSigmoidActivation(const ParameterValues&) {}
  static constexpr Bounds bounds{1, 1.0 / 6};

  template <class T> T value(T u) const { return std::clamp(u + 3, T(0), T(6)) / 6; }
  template <class T> T left_derivative(T u) const { return u > -3 && u <= 3 ? T(1) / 6 : T(0); }
  template <class T> T right_derivative(T u) const { return u >= -3 && u < 3 ? T(1) / 6 : T(0); }
  template <class T> T difference(T a, T b) const {
    return (std::clamp(a, T(-3), T(3)) - std::clamp(b, T(-3), T(3))) / 6;
  }
  template <class T> T inverse(T v) const {
    return std::clamp((v - T(0.5)) / (T(1) / 6), T(-3), T(3));
  }
  template <class T> T prox(T v, T z, T w) const {
    return scalar::prox_piecewise_linear(pieces<T>(), v, z, w);
  }
  template <class T> std::array<scalar::Piece<T>, 3> pieces() const {
    constexpr T inf = std::numeric_limits<T>::infinity();
    return {{{-inf, -3, 0, 0}, {-3, 3, T(1) / 6, T(0.5), -3, 0}, {3, inf, 0, 1}}};
  }
};

}  // namespace amcore::activation
