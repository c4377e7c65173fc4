#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "amcore/loss/loss.hpp"
#include "amcore/scalar/decay_prox.hpp"
#include "amcore/scalar/tanh.hpp"

namespace amcore::loss {

// ℓ(v, y) = log Σ_k e^{v_k} − ⟨y, v⟩ for y a probability vector (a class as its indicator).
//
// prox: v = q − τ(p − y), p = softmax(v). With λ = log Σ e^{v_k} − log τ every class has its own
// equation u + e^u = z, z = q_k + τy_k − λ, for u = log τp_k, whose e^u = ω(z) is convex; what is
// left is Σ e^{u_k} = τ Σ y_k. Newton's method for all u and λ at a time puts tangents of ω in its
// place, which lie below it: λ is never above its root but at the start, and rises to it.
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

  template <class T, class Squared> double squared_distance(Index K, const T* v, const T* y,
                                                            const T* g, double push, double scale,
                                                            Squared&& squared) const {
    const double log_sum = log_sum_exp(K, v);
    double distance = 0;
    for (Index k = 0; k < K; ++k)
      distance += squared(push * g[k] + scale * (std::exp(v[k] - log_sum) - y[k]));
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

  template <class T> void prox(Index K, Index n, const T* q, const T* y, T tau, T* out) const {
    constexpr Index on_stack = 128;
    Class stack[on_stack];
    const std::unique_ptr<Class[]> heap(K > on_stack ? new Class[static_cast<std::size_t>(K)]
                                                     : nullptr);
    Class* const classes = heap ? heap.get() : stack;
    scalar::for_each_block<width>(n, [&](Index first, int count) {
      for (Index k = 0; k < K; ++k)
        for (int i = 0; i < width; ++i) {  // the last one again where there are fewer
          const Index at = (first + std::min(i, count - 1)) * K + k;
          classes[k].q[i] = q[at];
          classes[k].pull[i] = static_cast<double>(tau) * y[at];
        }
      const Samples level = solve(K, classes, tau);
      for (Index k = 0; k < K; ++k) {
        const Class& c = classes[k];  // v = λ + u too, but digits of a small x would be lost
        const Samples x = c.u.exp(), v = (x < 1).select(c.q + c.pull - x, level + c.u);
        for (int i = 0; i < count; ++i) out[(first + i) * K + k] = static_cast<T>(v[i]);
      }
    });
  }

 private:
  // Samples side by side.
  static constexpr int width = 8;
  using Samples = scalar::Block<double, width>;
  struct Class {
    Samples q, pull, u;    // pull = τy
    Samples lag, inverse;  // of a step: (u + e^u − z)/(1 + e^u), 1/(1 + e^u)
  };

  // λ, and u in `classes`. It starts from the larger of two lower bounds: what a class alone tells,
  // e^u ≤ τ, and all of them with their mean in place of each. A step h of u leaves an error of
  // h²/2 · e^u/(1 + e^u), which tells the last one; from then on a sample stays as it is, whatever
  // the others need.
  static Samples solve(Index K, Class* classes, double tau) {
    constexpr double eps = std::numeric_limits<double>::epsilon();
    constexpr int most_steps = 50;
    const double log_tau = std::log(tau), log_K = std::log(static_cast<double>(K));
    Samples sum = Samples::Zero(), total = sum, most = classes[0].q + classes[0].pull;
    for (Index k = 0; k < K; ++k) {
      const Class& c = classes[k];
      sum += c.q;
      total += c.pull;
      most = most.max(c.q + c.pull);
    }
    Samples level = (most - total).max(sum / static_cast<double>(K) + log_K) - log_tau;
    for (Index k = 0; k < K; ++k)
      for (int i = 0; i < width; ++i)
        classes[k].u[i] = scalar::rough_log_root((classes[k].q[i] - level[i]) + classes[k].pull[i]);

    Samples open = Samples::Ones();
    for (int step = 0; step < most_steps && (open > 0).any(); ++step) {
      Samples excess = Samples::Zero(), slope = excess, change = excess;
      for (Index k = 0; k < K; ++k) {
        Class& c = classes[k];
        const Samples x = c.u.exp(), rest = c.q - level - c.u, own = x - c.pull;
        c.inverse = 1 / (1 + x);
        c.lag = (own - rest) * c.inverse;
        slope += x * c.inverse;
        // Σ e^u − τy to first order: small differences, of small or of large numbers.
        excess += (x < 1).select(own - x * c.lag, rest + c.lag);
      }
      const Samples rise = open * (excess / slope);
      level += rise;
      for (Index k = 0; k < K; ++k) {
        Class& c = classes[k];
        const Samples move = open * (c.lag + rise * c.inverse);
        c.u = (c.u - move).min(log_tau + 1);  // p ≤ 1, whatever the rounding of a large q
        change = change.max((1 - c.inverse) * move.square());
      }
      open = (change <= eps * slope.min(1.0)).select(Samples::Zero(), open);
    }
    return level;
  }

  template <class T> static double log_sum_exp(Index K, const T* v) {
    double top = v[0], total = 0;
    for (Index k = 1; k < K; ++k) top = std::max<double>(top, v[k]);
    for (Index k = 0; k < K; ++k) total += std::exp(v[k] - top);
    return top + std::log(total);
  }
};

}  // namespace amcore::loss
