#pragma once

#include "amcore/regularizer/regularizer.hpp"

namespace amcore::regularizer {

// r = 0
struct NoneRegularizer {
  static constexpr NoParameters parameters{};
  static constexpr bool separable = true;
  explicit NoneRegularizer(const ParameterValues&) {}

  ScalarTerms terms() const { return {}; }
  template <class T> double value(T) const { return 0; }
  template <class T> double difference(T, T) const { return 0; }
  template <class T> T prox(T x, T) const { return x; }
  template <class T, class Squared> double squared_distance(T, T g, Squared&& squared) const {
    return squared(g);
  }
};

}  // namespace amcore::regularizer
