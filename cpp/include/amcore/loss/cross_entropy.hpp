#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "amcore/loss/loss.hpp"

namespace amcore::loss {

// ℓ(v, y) = s log Σ_k e^{v_k} − ⟨y, v⟩, s = Σ_k y_k (1 for one-hot and for probability targets).
// Gradient s p − y with p = softmax(v).
//
// prox: damped Newton on φ(v) = τ ℓ(v, y) + ½‖v − q‖². Its Hessian I + τs(diag p − p pᵀ) is
// inverted by Sherman–Morrison in O(K). Computed in float64 for either type.
struct CrossEntropyLoss {
  static constexpr NoParameters parameters{};
  static constexpr bool separable = false;
  explicit CrossEntropyLoss(const ParameterValues&) {}

  template <class T> double value(Index K, const T* v, const T* y) const {
    double s = 0, inner = 0;
    for (Index k = 0; k < K; ++k) {
      s += y[k];
      inner += static_cast<double>(y[k]) * v[k];
    }
    return s * log_sum_exp(K, v) - inner;
  }

  template <class T> void gradient(Index K, const T* v, const T* y, T* out) const {
    const double s = mass(K, y), log_sum = log_sum_exp(K, v);
    for (Index k = 0; k < K; ++k) out[k] = static_cast<T>(s * std::exp(v[k] - log_sum) - y[k]);
  }

  template <class T> double squared_distance(Index K, const T* v, const T* y, const T* g,
                                             double push, double scale) const {
    const double s = mass(K, y), log_sum = log_sum_exp(K, v);
    double distance = 0;
    for (Index k = 0; k < K; ++k)
      distance += square(push * g[k] + scale * (s * std::exp(v[k] - log_sum) - y[k]));
    return distance;
  }

  // With p = softmax(b), d = a − b:  s log Σ p e^d − ⟨y, d⟩. Only differences enter.
  template <class T> double difference(Index K, const T* a, const T* b, const T* y) const {
    const double log_sum = log_sum_exp(K, b);
    double s = 0, growth = 0, inner = 0;
    for (Index k = 0; k < K; ++k) {
      const double d = static_cast<double>(a[k]) - b[k];
      s += y[k];
      growth += std::exp(b[k] - log_sum) * std::expm1(d);
      inner += static_cast<double>(y[k]) * d;
    }
    const bool small = std::abs(growth) < 0.5;
    return s * (small ? std::log1p(growth) : log_sum_exp(K, a) - log_sum) - inner;
  }

  template <class T> void prox(Index K, const T* q, const T* y, T tau, T* out) const {
    constexpr Index on_stack = 128;
    double stack[3 * on_stack];
    const std::unique_ptr<double[]> heap(K > on_stack ? new double[static_cast<std::size_t>(3 * K)]
                                                      : nullptr);
    double* const v = heap ? heap.get() : stack;
    double* const p = v + K;
    double* const step = p + K;

    constexpr double eps = std::numeric_limits<double>::epsilon();
    constexpr int most_steps = 200, most_halvings = 50;
    const double t = tau, s = mass(K, y);
    std::copy(q, q + K, v);
    for (int iteration = 0; iteration < most_steps; ++iteration) {
      const double log_sum = log_sum_exp(K, v);
      // Solve (D − ts p pᵀ) step = g with D = I + ts diag p.
      // As Σp = 1, the denominator 1 − ts pᵀD⁻¹p is Σ p/(1 + ts p).
      double norm = 0, scale = 0, pg = 0, rest = 0;
      for (Index k = 0; k < K; ++k) {
        p[k] = std::exp(v[k] - log_sum);
        const double g = t * (s * p[k] - y[k]) + (v[k] - q[k]), d = 1 + t * s * p[k];
        step[k] = g;
        norm += g * g;
        scale += square(t * s * p[k]) + square(t * y[k]) + square(v[k]) + square(q[k]);
        pg += p[k] * g / d;
        rest += p[k] / d;
      }
      if (norm <= square(2 * eps) * scale) break;
      const double lift = t * s * pg / rest;
      double descent = 0;
      for (Index k = 0; k < K; ++k) {
        const double g = step[k];
        step[k] = (g + lift * p[k]) / (1 + t * s * p[k]);
        descent += g * step[k];
      }
      // Armijo on the difference of φ, formed from the step so that it stays exact near the
      // minimiser.
      double length = 1;
      for (int halving = 0; halving < most_halvings; ++halving, length /= 2) {
        double growth = 0, change = 0, top = -std::numeric_limits<double>::infinity();
        for (Index k = 0; k < K; ++k) {
          const double d = -length * step[k];
          growth += p[k] * std::expm1(d);
          top = std::max(top, d);
          change += d * (v[k] - q[k] + d / 2 - t * y[k]);
        }
        if (std::isfinite(growth) && growth > -0.5) {
          change += t * s * std::log1p(growth);
        } else {
          double total = 0;
          for (Index k = 0; k < K; ++k) total += p[k] * std::exp(-length * step[k] - top);
          change += t * s * (top + std::log(total));
        }
        if (change <= -1e-4 * length * descent) break;
      }
      bool moved = false;
      for (Index k = 0; k < K; ++k) {
        const double next = v[k] - length * step[k];
        moved = moved || next != v[k];
        v[k] = next;
      }
      if (!moved) break;
    }
    for (Index k = 0; k < K; ++k) out[k] = static_cast<T>(v[k]);
  }

 private:
  template <class T> static double mass(Index K, const T* y) {
    double s = 0;
    for (Index k = 0; k < K; ++k) s += y[k];
    return s;
  }
  template <class T> static double log_sum_exp(Index K, const T* v) {
    double top = v[0], total = 0;
    for (Index k = 1; k < K; ++k) top = std::max<double>(top, v[k]);
    for (Index k = 0; k < K; ++k) total += std::exp(v[k] - top);
    return top + std::log(total);
  }
};

}  // namespace amcore::loss
