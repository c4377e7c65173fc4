#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "amcore/loss/loss.hpp"

namespace amcore::loss {

// ℓ(v, y) = ½r² for |r| ≤ δ, else δ(|r| − δ/2), r = v − y
// prox = (τ y + q)/(τ + 1) for |q − y| ≤ δ(1 + τ), else q ∓ τδ
struct HuberLoss {
  static constexpr std::array parameters{Parameter{"delta", 1.0}};
  static constexpr bool separable = true;
  explicit HuberLoss(const ParameterValues& values)
      : delta(in_range(values[0], "huber: delta", std::numeric_limits<double>::min())) {}

  template <class T> double value(T v, T y) const {
    const double r = std::abs(static_cast<double>(v) - y);
    return r <= delta ? r * r / 2 : delta * (r - delta / 2);
  }
  template <class T> T left_derivative(T v, T y) const {
    return static_cast<T>(clipped(static_cast<double>(v) - y));
  }
  template <class T> T right_derivative(T v, T y) const { return left_derivative(v, y); }
  // The integral of the clipped residual: on the linear part ±δ(a − b), less a product of two
  // differences for the share of the parabola.
  template <class T> double difference(T a, T b, T y) const {
    const double d = static_cast<double>(a) - b;
    const double p = static_cast<double>(a) - y, q = static_cast<double>(b) - y;
    const double low = std::min(p, q), high = std::max(p, q);
    if (low < -delta && high > delta) return (p > q ? delta : -delta) * (p + q);
    if (low >= -delta && high <= delta) return d * (p + q) / 2;
    const double steep = high > delta ? delta : -delta;
    const double s = clipped(p), t = clipped(q);
    return steep * d - (s - t) * (steep - (s + t) / 2);
  }
  template <class T> T prox(T q, T y, T tau_) const {
    const double r = static_cast<double>(q) - y, tau = tau_;
    if (std::abs(r) <= delta * (1 + tau)) return static_cast<T>((tau * y + q) / (tau + 1));
    return static_cast<T>(q - tau * std::copysign(delta, r));
  }

  double delta;

 private:
  double clipped(double r) const { return std::clamp(r, -delta, delta); }
};

}  // namespace amcore::loss
