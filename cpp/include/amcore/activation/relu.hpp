#pragma once

#include <algorithm>
#include <limits>

#include "amcore/activation/activation.hpp"
#include "amcore/scalar/piecewise_linear.hpp"

namespace amcore::activation {

// σ(u) = max(u, 0);  prox: the better of min(z, 0) and max((v + w z)/(1 + w), 0)
struct ReluActivation {
  static constexpr NoParameters parameters{};
  explicit ReluActivation(const ParameterValues&) {}
  static constexpr Bounds bounds{Bounds::none, 1};

  template <class T> T value(T u) const { return std::max(u, T(0)); }
  template <class T> T left_derivative(T u) const { return u > 0 ? T(1) : T(0); }
  template <class T> T right_derivative(T u) const { return u >= 0 ? T(1) : T(0); }
  template <class T> T difference(T a, T b) const { return value(a) - value(b); }
  template <class T> T inverse(T v) const { return std::max(v, T(0)); }
  template <class T> T prox(T v, T z, T w) const {
    return scalar::prox_piecewise_linear(pieces<T>(), v, z, w);
  }
  template <class T> std::array<scalar::Piece<T>, 2> pieces() const {
    constexpr T inf = std::numeric_limits<T>::infinity();
    return {{{-inf, 0, 0, 0}, {0, inf, 1, 0}}};
  }
};

}  // namespace amcore::activation
