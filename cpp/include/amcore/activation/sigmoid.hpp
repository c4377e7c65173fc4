#pragma once

#include <numbers>
#include <utility>

#include "amcore/activation/activation.hpp"
#include "amcore/scalar/tanh.hpp"
#include "amcore/scalar/tanh_prox.hpp"

namespace amcore::activation {

// σ(u) = 1/(1 + e^{−u}) = ½ + ½ tanh(u/2);  prox_σ(v, z; w) = 2 prox_tanh(2v − 1, z/2; 16w)
struct SigmoidActivation {
  static constexpr NoParameters parameters{};
  explicit SigmoidActivation(const ParameterValues&) {}
  static constexpr Bounds bounds{1, 0.25, 1 / (6 * std::numbers::sqrt3)};
  static constexpr Majorizer majorizer{0.0625, bounds.curvature, 0.5};  // (σ − ½)σ'' ≤ 0

  template <class T> void value(Index n, const T* u, T* out) const {
    scalar::map_blocks(n, u, out, [](T t) { return scalar::Gaps<T>(t / 2).x / 2; });
  }
  template <class T> void derivative(Index n, const T* u, Side, T* out) const {
    scalar::map_blocks(n, u, out, [](T t) {
      const scalar::Gaps<T> g(t / 2);
      return g.x * g.y / 4;
    });
  }
  template <class T> void value_and_derivative(Index n, const T* u, T* value, T* slope) const {
    scalar::map_blocks_to_pairs(n, u, value, slope, [](T t) {
      const scalar::Gaps<T> g(t / 2);
      return std::pair(g.x / 2, g.x * g.y / 4);
    });
  }
  template <class T> void difference(Index n, const T* a, const T* b, T* out) const {
    scalar::map_blocks(n, a, b, out,
                       [](T s, T t) { return scalar::tanh_change(s, t, T(0.5)) / 2; });
  }
  template <class T> void inverse(Index n, const T* v, T* out) const {
    using Block = scalar::Block<T>;
    scalar::map_arrays(n, v, out, [](const Block& y) { return Block((y / (1 - y)).log()); });
  }
  template <class T> void prox(Index n, const T* v, const T* z, T w, T* out) const {
    const auto target = [](auto goal) {
      return scalar::Target{2 * goal - 1, 2 * goal, 2 * (goal - 1)};
    };
    scalar::tanh_prox(n, v, z, 16 * w, T(0.5), T(2), target, out);
  }
};

}  // namespace amcore::activation
