#pragma once

#include <numbers>
#include <utility>

#include "amcore/activation/activation.hpp"
#include "amcore/scalar/tanh.hpp"
#include "amcore/scalar/tanh_prox.hpp"

namespace amcore::activation {

// σ(u) = tanh u;  prox: see scalar::TanhProx
struct TanhActivation {
  static constexpr NoParameters parameters{};
  explicit TanhActivation(const ParameterValues&) {}
  static constexpr Bounds bounds{1, 1, 4 / (3 * std::numbers::sqrt3)};
  static constexpr Majorizer majorizer{1, bounds.curvature, 0};  // σσ'' ≤ 0

  template <class T> void value(Index n, const T* u, T* out) const {
    scalar::map_blocks(n, u, out, [](T t) { return scalar::Gaps<T>(t).tanh; });
  }
  template <class T> void derivative(Index n, const T* u, Side, T* out) const {
    scalar::map_blocks(n, u, out, [](T t) {
      const scalar::Gaps<T> g(t);
      return g.x * g.y;
    });
  }
  template <class T> void value_and_derivative(Index n, const T* u, T* value, T* slope) const {
    scalar::map_blocks_to_pairs(n, u, value, slope, [](T t) {
      const scalar::Gaps<T> g(t);
      return std::pair(g.tanh, g.x * g.y);
    });
  }
  template <class T> void difference(Index n, const T* a, const T* b, T* out) const {
    scalar::map_blocks(n, a, b, out, [](T s, T t) { return scalar::tanh_change(s, t); });
  }
  // ½ log((1 + v)/(1 − v)), accurate near 0 and near ±1
  template <class T> void inverse(Index n, const T* v, T* out) const {
    using Block = scalar::Block<T>;
    scalar::map_arrays(n, v, out, [](const Block& y) {
      const Block u = (2 * y.abs() / (1 - y.abs())).log1p() / 2;
      return Block((y < 0).select(-u, u));
    });
  }
  template <class T> void prox(Index n, const T* v, const T* z, T w, T* out) const {
    const auto target = [](auto goal) { return scalar::Target{goal, goal + 1, goal - 1}; };
    scalar::tanh_prox(n, v, z, w, T(1), T(1), target, out);
  }
};

}  // namespace amcore::activation
