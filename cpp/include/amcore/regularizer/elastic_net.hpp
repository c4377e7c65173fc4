#pragma once

#include <algorithm>
#include <cmath>

#include "amcore/regularizer/regularizer.hpp"

namespace amcore::regularizer {

// r(x) = λ₁ Σ|x| + λ₂/2 ‖x‖²;  prox: soft threshold at τλ₁, then divided by 1 + τλ₂
struct ElasticNetRegularizer {
  static constexpr std::array parameters{Parameter{"lam1", 1.0}, Parameter{"lam2", 1.0}};
  static constexpr bool separable = true;
  explicit ElasticNetRegularizer(const ParameterValues& values)
      : lam1(in_range(values[0], "elastic_net: lam1", 0)),
        lam2(in_range(values[1], "elastic_net: lam2", 0)) {}

  ScalarTerms terms() const { return {.l1 = lam1, .ridge = lam2}; }
  template <class T, class Product> double value(T x, Product&& product) const {
    return lam1 * std::abs(x) + product(lam2 / 2, x, x);
  }
  template <class T> double difference(T a, T b) const {
    const double p = std::abs(static_cast<double>(a)), q = std::abs(static_cast<double>(b));
    return (p - q) * (lam1 + lam2 / 2 * (p + q));
  }
  template <class T> T prox(T x, T tau) const {
    const T soft = std::max(std::abs(x) - tau * static_cast<T>(lam1), T(0));
    return std::copysign(soft / (1 + tau * static_cast<T>(lam2)), x);
  }
  template <class T, class Squared> double squared_distance(T x, T g, Squared&& squared) const {
    if (x == 0) return squared(std::max(std::abs(g) - lam1, 0.0));
    return squared(g + lam2 * x + std::copysign(lam1, x));
  }

  double lam1, lam2;
};

}  // namespace amcore::regularizer
