#pragma once

#include <cmath>

#include "amcore/activation/activation.hpp"
#include "amcore/scalar/tanh_prox.hpp"

namespace amcore::activation {

// σ(u) = 1/(1 + e^{−u}) = ½ + ½ tanh(u/2);  prox_σ(v, z; w) = 2 prox_tanh(2v − 1, z/2; 16w)
struct SigmoidActivation {
  static constexpr NoParameters parameters{};
  explicit SigmoidActivation(const ParameterValues&) {}

  template <class T> T value(T u) const {
    const T e = std::exp(-std::abs(u));
    return (u >= 0 ? T(1) : e) / (1 + e);
  }
  template <class T> T left_derivative(T u) const {
    const T e = std::exp(-std::abs(u));
    return e / ((1 + e) * (1 + e));
  }
  template <class T> T right_derivative(T u) const { return left_derivative(u); }
  template <class T> T difference(T a, T b) const {
    return scalar::tanh_difference(a / 2, b / 2) / 2;
  }
  template <class T> T prox(T v, T z, T w) const {
    return 2 * scalar::prox_tanh(2 * v - 1, z / 2, 16 * w);
  }
};

}  // namespace amcore::activation
