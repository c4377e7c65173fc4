#pragma once

#include <cmath>

#include "amcore/activation/activation.hpp"
#include "amcore/scalar/tanh_prox.hpp"

namespace amcore::activation {

// σ(u) = tanh u
struct TanhActivation {
  static constexpr NoParameters parameters{};
  explicit TanhActivation(const ParameterValues&) {}

  template <class T> T value(T u) const { return std::tanh(u); }
  template <class T> T left_derivative(T u) const {
    const T c = 1 / std::cosh(u);
    return c * c;
  }
  template <class T> T right_derivative(T u) const { return left_derivative(u); }
  template <class T> T difference(T a, T b) const { return scalar::tanh_difference(a, b); }
  template <class T> T prox(T v, T z, T w) const { return scalar::prox_tanh(v, z, w); }
};

}  // namespace amcore::activation
