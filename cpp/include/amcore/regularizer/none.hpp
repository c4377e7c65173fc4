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
  template <class T> double squared_distance(T, T g) const { return square(g); }
};

}  // namespace amcore::regularizer
