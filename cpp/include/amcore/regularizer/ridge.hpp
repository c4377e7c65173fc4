#pragma once

#include <cmath>
#include <stdexcept>

#include "amcore/regularizer/regularizer.hpp"

namespace amcore::regularizer {

// r(x) = λ/2 ‖x‖²;  prox = x/(1 + τλ)
struct RidgeRegularizer {
  static constexpr std::array parameters{Parameter{"lam", 1.0}};
  explicit RidgeRegularizer(const ParameterValues& values) : lam(values[0]) {
    if (!(lam >= 0 && std::isfinite(lam)))
      throw std::invalid_argument("ridge: lam must be non-negative and finite");
  }

  double ridge() const { return lam; }
  template <class T> double value(Index n, const T* x) const {
    return lam / 2 * sum_of_squares(n, x);
  }
  template <class T> void prox(Index n, const T* x, T tau, T* out) const {
    const T shrink = 1 + tau * static_cast<T>(lam);
    for (Index i = 0; i < n; ++i) out[i] = x[i] / shrink;
  }
  template <class T> double squared_distance(Index n, const T* x, const T* g) const {
    return sum(n, [&](Index i) { return square(g[i] + lam * x[i]); });
  }

  double lam;
};

}  // namespace amcore::regularizer
