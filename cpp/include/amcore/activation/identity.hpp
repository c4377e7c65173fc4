#pragma once

#include "amcore/activation/activation.hpp"

namespace amcore::activation {

// σ(u) = u;  prox = (v + w z)/(1 + w)
struct IdentityActivation {
  static constexpr NoParameters parameters{};
  explicit IdentityActivation(const ParameterValues&) {}
  static constexpr Bounds bounds{Bounds::none, 1, 0};

  template <class T> T value(T u) const { return u; }
  template <class T> T left_derivative(T) const { return 1; }
  template <class T> T right_derivative(T) const { return 1; }
  template <class T> T difference(T a, T b) const { return a - b; }
  template <class T> T inverse(T v) const { return v; }
  template <class T> T prox(T v, T z, T w) const { return (v + w * z) / (1 + w); }
};

}  // namespace amcore::activation
