#pragma once

#include "amcore/loss/loss.hpp"

namespace amcore::loss {

// ℓ(v, y) = ½(v − y)²;  prox = (τ y + q)/(τ + 1)
struct SquaredLoss {
  static constexpr NoParameters parameters{};
  static constexpr bool separable = true;
  explicit SquaredLoss(const ParameterValues&) {}

  template <class T> double value(T v, T y) const { return square(static_cast<double>(v) - y) / 2; }
  template <class T> T left_derivative(T v, T y) const { return v - y; }
  template <class T> T right_derivative(T v, T y) const { return v - y; }
  template <class T> double difference(T a, T b, T y) const {
    return (static_cast<double>(a) - b) *
           ((static_cast<double>(a) - y) + (static_cast<double>(b) - y)) / 2;
  }
  template <class T> T prox(T q, T y, T tau) const { return (tau * y + q) / (tau + 1); }
};

}  // namespace amcore::loss
