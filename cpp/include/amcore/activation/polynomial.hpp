#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "amcore/activation/activation.hpp"
#include "amcore/scalar/root.hpp"
#include "amcore/sums.hpp"

namespace amcore::activation {

// σ(u) = Σ c_k u^k, at most 16 coefficients.  prox: the best of the real roots of
//   h'(u) = (σ − v)σ' + w(u − z)
// where h' grows. They are isolated between the real roots of its derivative, and these in the same
// way between those of the next one, down to a linear function: between neighbours each is
// monotone. Computed in float64 for either type.
struct PolynomialActivation {
  static constexpr Sequence parameters{"coefficients", std::array{0.0, 0.0, 1.0}};
  static constexpr int most_coefficients = 16;

  explicit PolynomialActivation(const ParameterValues& values) {
    if (values.empty() || values.size() > most_coefficients)
      throw std::invalid_argument("polynomial takes 1 to 16 coefficients");
    size_ = static_cast<int>(values.size());
    for (std::size_t k = 0; k < values.size(); ++k)
      c_[k] =
          in_range(values[k], "polynomial: coefficients", std::numeric_limits<double>::lowest());
    while (size_ > 1 && c_[size_ - 1] == 0) --size_;
    if (size_ <= 1) bounds.value = std::abs(c_[0]);
    if (size_ <= 2) bounds.slope = std::abs(c_[1]);
    if (size_ <= 3) bounds.curvature = std::abs(2 * c_[2]);
  }
  Bounds bounds;

  template <class T> T value(T u) const { return static_cast<T>(at(u).value); }
  template <class T> T left_derivative(T u) const { return static_cast<T>(at(u).derivative); }
  template <class T> T right_derivative(T u) const { return left_derivative(u); }
  template <class T> T difference(T a, T b) const { return static_cast<T>(change(a, b)); }

  template <class T> T prox(T v_, T z_, T w_) const {
    if (std::isnan(v_)) return v_;
    const double v = v_, z = z_, w = w_;
    const auto slope = [&](double u) {
      const auto [sigma, first] = at(u);
      const double r = sigma - v;
      return scalar::Slope{r * first + w * (u - z), first * first + r * second_derivative(u) + w};
    };
    const Coefficients a = slope_coefficients(v, z, w);
    const int degree = std::max(1, 2 * size_ - 3);

    // h(u) ≤ h(z) only where |u − z| ≤ |v − σ(z)|/√w. No root of h', nor of its derivatives, is
    // beyond Fujiwara's bound.
    const double reach = std::abs(v - at(z).value) / std::sqrt(w) * (1 + 1e-9);
    double bound = 0;
    for (int k = 0; k < degree; ++k)
      bound = std::max(bound, std::pow(std::abs(a[k] / a[degree]), 1.0 / (degree - k)));
    const double low = std::max(z - reach, -2 * bound), high = std::min(z + reach, 2 * bound);
    if (!(low < high)) return static_cast<T>(z);

    std::array<double, most_degree + 2> points{low, high};
    int count = 2;
    for (int order = degree - 1; order > 0; --order) {
      const Coefficients derivative = derivative_of(a, degree, order);
      const auto f = [&](double u) { return horner(derivative, degree - order + 1, u); };
      count = roots_between(f, points, count, high);
    }

    double best = z;
    bool found = false;
    for (int k = 0; k + 1 < count; ++k) {
      if (slope(points[k]).value > 0 || slope(points[k + 1]).value < 0) continue;
      const double u = scalar::root(slope, points[k], points[k + 1]);
      if (!found || is_better(best, u, v, z, w)) best = u;
      found = true;
    }
    return static_cast<T>(best);
  }

 private:
  static constexpr int most_degree = 2 * most_coefficients - 3;  // of h'
  using Coefficients = std::array<double, most_degree + 1>;

  template <class Array> static scalar::Slope horner(const Array& c, int size, double u) {
    double value = 0, derivative = 0;
    for (int k = size - 1; k >= 0; --k) {
      derivative = derivative * u + value;
      value = value * u + c[k];
    }
    return {value, derivative};
  }
  scalar::Slope at(double u) const { return horner(c_, size_, u); }
  double second_derivative(double u) const {
    double value = 0;
    for (int k = size_ - 1; k >= 2; --k) value = value * u + k * (k - 1) * c_[k];
    return value;
  }

  // (a − b) times the divided difference of σ
  double change(double a, double b) const {
    double value = 0, divided = 0;
    for (int k = size_ - 1; k >= 0; --k) {
      divided = divided * b + value;
      value = value * a + c_[k];
    }
    return (a - b) * divided;
  }

  Coefficients slope_coefficients(double v, double z, double w) const {
    Coefficients a{};
    for (int i = 0; i < size_; ++i)
      for (int j = 1; j < size_; ++j) a[i + j - 1] += (i == 0 ? c_[0] - v : c_[i]) * (j * c_[j]);
    a[0] -= w * z;
    a[1] += w;
    return a;
  }

  // Of the derivative of that order, divided by its factorial.
  static Coefficients derivative_of(const Coefficients& a, int degree, int order) {
    Coefficients d{};
    double binomial = 1;  // of order + k over k
    for (int k = 0; k <= degree - order; ++k) {
      d[k] = binomial * a[order + k];
      binomial = binomial * (order + k + 1) / (k + 1);
    }
    return d;
  }

  // Replaces the points between the first and the last by the roots of f between neighbours.
  template <class F, class Points>
  static int roots_between(F&& f, Points& points, int count, double high) {
    int found = 1;
    double left = points[0], at_left = f(left).value;
    for (int k = 1; k < count; ++k) {
      const double right = points[k], at_right = f(right).value;
      if (at_left < 0 ? at_right > 0 : (at_left > 0 && at_right < 0)) {
        const double sign = at_left < 0 ? 1 : -1;
        const auto g = [&](double u) {
          const auto [value, derivative] = f(u);
          return scalar::Slope{sign * value, sign * derivative};
        };
        points[found++] = scalar::root(g, left, right);
      }
      left = right;
      at_left = at_right;
    }
    points[found++] = high;
    return found;
  }

  // v − σ(u) at a root u of h', where it equals w(u − z)/σ'(u): the form that suffers less from
  // the rounding of u.
  double residual(double u, double v, double z, double w) const {
    const auto [sigma, derivative] = at(u);
    return derivative * derivative > w ? w * (u - z) / derivative : v - sigma;
  }

  // Whether h(b) < h(a) by more than rounding, for roots a < b of h'.
  bool is_better(double a, double b, double v, double z, double w) const {
    const double r = residual(a, v, z, w), s = residual(b, v, z, w);
    const double gain = (r - s) * (r + s) + w * ((a - b) * ((a - z) + (b - z)));
    const double size = r * r + s * s + w * (square(a - z) + square(b - z));
    return gain > 4 * std::numeric_limits<double>::epsilon() * size;
  }

  int size_ = 0;
  std::array<double, most_coefficients> c_{};
};

}  // namespace amcore::activation
