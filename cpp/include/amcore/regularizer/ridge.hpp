#pragma once

#include "amcore/regularizer/regularizer.hpp"

namespace amcore::regularizer {

// r(x) = λ/2 ‖x‖²;  prox = x/(1 + τλ)
struct RidgeRegularizer {
  static constexpr std::array parameters{Parameter{"lam", 1.0}};
  static constexpr bool separable = true;
  explicit RidgeRegularizer(const ParameterValues& values)
      : lam(in_range(values[0], "ridge: lam", 0)) {}

  ScalarTerms terms() const { return {.ridge = lam}; }
  template <class T, class Product> double value(T x, Product&& product) const {
    return product(lam / 2, x, x);
  }
  template <class T> double difference(T a, T b) const {
    return lam / 2 * ((static_cast<double>(a) - b) * (static_cast<double>(a) + b));
  }
  template <class T> T prox(T x, T tau) const { return x / (1 + tau * static_cast<T>(lam)); }
  template <class T, class Squared> double squared_distance(T x, T g, Squared&& squared) const {
    return squared(g + lam * x);
  }

  double lam;
};

}  // namespace amcore::regularizer
