// The output block:
//   argmin c ℓ(V, Y) + γ/2‖V − S‖² + α/2‖V − Vᵏ‖² = prox_{ℓ}((γS + αVᵏ)/(γ + α), Y; c/(γ + α))
// Zeng et al. (ICML 2019), Algorithm 2.
//
// With a regulariser s(V), a sum over samples: through proximal maps of ℓ where ℓ and s are
// separable or s is a ridge, else, for a smooth ℓ, by proximal gradient steps from Vᵏ.
#pragma once

#include "amcore/block/step.hpp"
#include "amcore/linalg/sample_proximal_gradient.hpp"
#include "amcore/loss/loss.hpp"

namespace amcore {

// Arrays k × n; q: scratch.
template <class T> void output_update(Index k, Index n, const Loss<T>& loss, double weight,
                                      const T* y, const T* s, const T* v, double gamma,
                                      double alpha, T* q, T* out) {
  const T share = static_cast<T>(alpha / (gamma + alpha));
  for (Index i = 0; i < k * n; ++i) q[i] = s[i] + share * (v[i] - s[i]);
  loss.prox(k, n, q, y, static_cast<T>(weight / (gamma + alpha)), out);
}

namespace detail {

// argmin c ℓ(v, y) + s(v) + μ/2‖v − q‖² for s of the form of `terms`. The ridge goes into the
// square. λ|v| shifts q by ∓λ/μ where the minimiser is positive or negative, else it is 0; an
// interval clips it, ℓ being convex; with l0 it is the better of that point and 0.
template <class T> void output_by_prox(Index k, Index n, const Loss<T>& loss, double c, const T* y,
                                       T* q, double mu, const ScalarTerms& terms, T* other,
                                       T* out) {
  const Index size = k * n;
  const T shrink = static_cast<T>(mu / (mu + terms.ridge));
  mu += terms.ridge;
  const T shift = static_cast<T>(terms.l1 / mu), tau = static_cast<T>(c / mu);
  for (Index i = 0; i < size; ++i) q[i] = shrink * q[i] - shift;
  loss.prox(k, n, q, y, tau, out);
  if (terms.l1 > 0) {
    for (Index i = 0; i < size; ++i) q[i] += 2 * shift;
    loss.prox(k, n, q, y, tau, other);
    for (Index i = 0; i < size; ++i) out[i] = std::min(std::max(out[i], T(0)), other[i]);
  }
  const T lo = static_cast<T>(terms.lo), hi = static_cast<T>(terms.hi);
  for (Index i = 0; i < size; ++i) out[i] = std::min(std::max(out[i], lo), hi);
  if (terms.l0 == 0) return;
  const T zero = 0;
  for (Index i = 0; i < size; ++i) {
    const double v = out[i], centre = static_cast<double>(q[i]) - shift;
    const double gain = c * loss.difference(1, 1, out + i, &zero, y + i) +
                        mu / 2 * v * (v - 2 * centre) + terms.l1 * std::abs(v) + terms.l0;
    if (!(gain < 0)) out[i] = 0;
  }
}

// c ℓ(v, y) + μ/2‖v − q‖² of every sample.
template <class T> struct ProximalLoss {
  Index k, n;
  const Loss<T>& loss;
  double c;
  const T* y;
  const T* q;
  double mu;
  const T *z = nullptr, *x = nullptr;

  void gradient(const T* at, T* out) const {
    loss.gradient(k, n, at, y, Side::right, out);
    const T weight = static_cast<T>(c), pull = static_cast<T>(mu);
    for (Index i = 0; i < k * n; ++i) out[i] = weight * out[i] + pull * (at[i] - q[i]);
  }
  void compare(const T* to, const T* from, const T*) {
    z = to;
    x = from;
  }
  Rise rise(Index j) const {
    const Index at = j * k;
    const double data = c * loss.difference(k, 1, z + at, x + at, y + at);
    const double pull = -quadratic_step(k, mu, q + at, x + at, z + at).decrease;
    return {data + pull, std::abs(data) + std::abs(pull)};
  }
  void accept(Index, T) const {}
  void restart(Index) const {}
};

}  // namespace detail

// As above, plus regularizer(V); other: scratch, as large as q. The first guess L = γ + α + c makes
// the first step exact for the squared loss.
template <class T> void output_update(Index k, Index n, const Loss<T>& loss, double weight,
                                      const T* y, const T* s, const T* v, double gamma,
                                      double alpha, const Regularizer<T>& regularizer,
                                      const InnerLoop& loop, const SampleProximalGradient<T>& steps,
                                      T* q, T* other, T* out) {
  const double mu = gamma + alpha;
  const T share = static_cast<T>(alpha / mu);
  for (Index i = 0; i < k * n; ++i) q[i] = s[i] + share * (v[i] - s[i]);
  const auto terms = regularizer.terms();
  if (terms && (loss.is_separable() || regularizer.is_ridge()))
    return detail::output_by_prox(k, n, loss, weight, y, q, mu, *terms, other, out);
  std::copy_n(v, k * n, out);
  steps.solve(k, n, detail::ProximalLoss<T>{k, n, loss, weight, y, q, mu}, mu + weight, regularizer,
              out, loop);
}

// dist²(0, ∂(c ℓ + s)(V) + push g). At a kink of a separable ℓ its derivatives are an interval. The
// distance of an entry to ∂s, as a function of the gradient of the rest, falls with slope −1, is 0
// and rises with slope 1; from its values p and q at the ends of an interval of length w, its
// minimum is max(0, (p + q − w)/2). left, right: scratch.
template <class T> double output_distance(Index k, Index n, const Loss<T>& loss, double weight,
                                          const T* y, const T* v, const Regularizer<T>& regularizer,
                                          const T* g, double push, T* left, T* right) {
  loss.gradient(k, n, v, y, Side::left, left);
  loss.gradient(k, n, v, y, Side::right, right);
  bool kinks = false;
  for (Index i = 0; i < k * n; ++i) {
    left[i] = static_cast<T>(push * g[i] + weight * left[i]);
    right[i] = static_cast<T>(push * g[i] + weight * right[i]);
    kinks = kinks || left[i] < right[i];
  }
  if (!kinks) return regularizer.squared_distance(n, k, v, left);
  return sum(k * n, [&](Index i) {
    const double p = regularizer.squared_distance(1, 1, v + i, left + i);
    if (!(left[i] < right[i])) return p;
    const double q = regularizer.squared_distance(1, 1, v + i, right + i);
    const double width = static_cast<double>(right[i]) - left[i];
    return square(std::max(0.0, (std::sqrt(p) + std::sqrt(q) - width) / 2));
  });
}

template <class T> BlockStep output_step(Index k, Index n, const Loss<T>& loss, double weight,
                                         const T* y, const T* s, const T* v, const T* v_new,
                                         double gamma) {
  BlockStep moved = quadratic_step(k * n, gamma, s, v, v_new);
  moved.decrease += weight * loss.difference(k, n, v, v_new, y);
  return moved;
}

}  // namespace amcore
