#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "amcore/loss/loss.hpp"

namespace amcore::loss {

// ℓ(v, y) = log Σ_k e^{v_k} − ⟨y, v⟩ for y a probability vector (a class as its indicator).
//
// prox: v = q − τe with the excess e = p − y, p = softmax(v). With L = log Σ e^{v_k} every class
// has its own equation log(y_k + e_k) + τ e_k = q_k − L, whose root e_k(L) is decreasing and
// convex; what is left is Σ e_k(L) = 0, for which Newton's method is monotone from the left.
// Computed in float64 for either type.
struct CrossEntropyLoss {
  static constexpr NoParameters parameters{};
  static constexpr bool separable = false;
  explicit CrossEntropyLoss(const ParameterValues&) {}

  template <class T> double value(Index K, const T* v, const T* y) const {
    const double log_sum = log_sum_exp(K, v);
    double total = 0;  // −⟨y, log p⟩: nothing cancels where the outputs are large
    for (Index k = 0; k < K; ++k) total += static_cast<double>(y[k]) * (log_sum - v[k]);
    return total;
  }

  template <class T> void gradient(Index K, const T* v, const T* y, T* out) const {
    const double log_sum = log_sum_exp(K, v);
    for (Index k = 0; k < K; ++k) out[k] = static_cast<T>(std::exp(v[k] - log_sum) - y[k]);
  }

  template <class T> double squared_distance(Index K, const T* v, const T* y, const T* g,
                                             double push, double scale) const {
    const double log_sum = log_sum_exp(K, v);
    double distance = 0;
    for (Index k = 0; k < K; ++k)
      distance += square(push * g[k] + scale * (std::exp(v[k] - log_sum) - y[k]));
    return distance;
  }

  // With p = softmax(b), d = a − b:  log Σ p e^d − ⟨y, d⟩. Only differences enter.
  template <class T> double difference(Index K, const T* a, const T* b, const T* y) const {
    const double log_sum = log_sum_exp(K, b);
    double growth = 0, inner = 0;
    for (Index k = 0; k < K; ++k) {
      const double d = static_cast<double>(a[k]) - b[k];
      growth += std::exp(b[k] - log_sum) * std::expm1(d);
      inner += static_cast<double>(y[k]) * d;
    }
    const bool small = std::abs(growth) < 0.5;
    return (small ? std::log1p(growth) : log_sum_exp(K, a) - log_sum) - inner;
  }

  template <class T> void prox(Index K, const T* q, const T* y, T tau, T* out) const {
    constexpr Index on_stack = 256;
    double stack[on_stack];
    const std::unique_ptr<double[]> heap(K > on_stack ? new double[static_cast<std::size_t>(K)]
                                                      : nullptr);
    double* const m = heap ? heap.get() : stack;
    constexpr double eps = std::numeric_limits<double>::epsilon();
    const double t = tau;

    // From the left: at the root some class has p_k ≤ 1, that is e_k ≤ 1 − y_k.
    double log_sum = -std::numeric_limits<double>::infinity();
    for (Index k = 0; k < K; ++k) log_sum = std::max(log_sum, q[k] - t * (1.0 - y[k]));
    for (Index k = 0; k < K; ++k) m[k] = Class(y[k], t).start(q[k] - log_sum);
    for (int step = 0; step < 100; ++step) {
      double excess = 0, slope = 0;
      for (Index k = 0; k < K; ++k) {
        const Class c(y[k], t);
        m[k] = c.solve(q[k] - log_sum, m[k]);
        const double p = c.scale * std::exp(m[k]);
        excess += c.excess(m[k]);
        slope += p / (1 + t * p);
      }
      const double move = excess / slope;
      log_sum += move;
      if (!(std::abs(move) > 2 * eps * std::max(1.0, std::abs(log_sum)))) break;
    }
    for (Index k = 0; k < K; ++k) {
      const Class c(y[k], t);
      out[k] = static_cast<T>(q[k] - t * c.excess(c.solve(q[k] - log_sum, m[k])));
    }
  }

 private:
  // One class's equation log(y + e) + τe = s in m = log(y + e) − log y, or m = log e where y = 0:
  // m + A(e^m − 1) = B, or m + A e^m = B. Convex and increasing: Newton's method is monotone from
  // the right.
  struct Class {
    double scale, a;
    bool inside;
    Class(double y, double tau) : scale(y > 0 ? y : 1), a(tau * scale), inside(y > 0) {}

    double excess(double m) const { return scale * power_less(m); }
    // x = A e^m solves x + log x = z, whence x ≤ e^z, and x ≤ z for z ≥ 1.
    double start(double s) const {
      const double z = s - std::log(scale) + (inside ? a : 0) + std::log(a);
      return (z < 1 ? z : std::log(z)) - std::log(a);
    }
    double solve(double s, double m) const {
      constexpr double eps = std::numeric_limits<double>::epsilon();
      const double b = s - std::log(scale);
      for (int step = 0; step < 50; ++step) {
        const double move = (m - b + a * power_less(m)) / (1 + a * std::exp(m));
        m -= move;
        if (!(std::abs(move) > 2 * eps * std::abs(m))) break;
      }
      return m;
    }

   private:
    double power_less(double m) const { return inside ? std::expm1(m) : std::exp(m); }
  };

  template <class T> static double log_sum_exp(Index K, const T* v) {
    double top = v[0], total = 0;
    for (Index k = 1; k < K; ++k) top = std::max<double>(top, v[k]);
    for (Index k = 0; k < K; ++k) total += std::exp(v[k] - top);
    return top + std::log(total);
  }
};

}  // namespace amcore::loss
