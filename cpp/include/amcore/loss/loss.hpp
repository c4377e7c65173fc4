// Losses ℓ(v, y), summed over samples. Arrays are K × n: a sample is a column of K outputs.
//
// A separable operator provides scalar functions
//   value(v, y), left_derivative(v, y), right_derivative(v, y), difference(a, b, y) = ℓ(a) − ℓ(b),
//   prox(q, y, tau) = argmin_v ℓ(v, y) + (v − q)²/(2 tau)
// for a convex ℓ; a coupled one provides the same functions of a column (K, pointers) and
//   gradient(K, v, y, out), squared_distance(K, v, y, g, push, scale, squared),
// the sum of squared(d) over the entries of a distance.
// Where a loop over entries or columns would not vectorise, prox may be of all samples, with the
// arguments of `Loss`.
#pragma once

#include <cmath>
#include <type_traits>

#include "amcore/scalar/parameter.hpp"
#include "amcore/scalar/side.hpp"
#include "amcore/sums.hpp"
#include "amcore/types.hpp"

namespace amcore {

template <class T> class Loss {
 public:
  virtual ~Loss() = default;
  virtual double value(Index k, Index n, const T* v, const T* y) const = 0;
  virtual bool is_separable() const = 0;
  // At a kink the derivative from that side.
  virtual void gradient(Index k, Index n, const T* v, const T* y, Side side, T* out) const = 0;
  virtual double difference(Index k, Index n, const T* a, const T* b, const T* y) const = 0;
  virtual void prox(Index k, Index n, const T* q, const T* y, T tau, T* out) const = 0;
  // dist²(0, push g + scale ∂ℓ(v)), and its root, which may be a number where the square is none.
  virtual double squared_distance(Index k, Index n, const T* v, const T* y, const T* g, double push,
                                  double scale) const = 0;
  virtual double distance(Index k, Index n, const T* v, const T* y, const T* g, double push,
                          double scale) const = 0;
};

template <class Op, class T> class LossOf final : public Loss<T> {
  static constexpr bool separable = Op::separable;

 public:
  explicit LossOf(const ParameterValues& values) : op_(values) {}

  bool is_separable() const override { return separable; }
  double value(Index k, Index n, const T* v, const T* y) const override {
    if constexpr (separable)
      return sum(k * n, [&](Index i) { return op_.value(v[i], y[i]); });
    else
      return sum(n, [&](Index j) { return op_.value(k, v + j * k, y + j * k); });
  }
  void gradient(Index k, Index n, const T* v, const T* y, Side side, T* out) const override {
    if constexpr (separable)
      for (Index i = 0; i < k * n; ++i)
        out[i] =
            side == Side::left ? op_.left_derivative(v[i], y[i]) : op_.right_derivative(v[i], y[i]);
    else
      for (Index j = 0; j < n; ++j) op_.gradient(k, v + j * k, y + j * k, out + j * k);
  }
  double difference(Index k, Index n, const T* a, const T* b, const T* y) const override {
    if constexpr (separable)
      return sum(k * n, [&](Index i) { return op_.difference(a[i], b[i], y[i]); });
    else
      return sum(n, [&](Index j) { return op_.difference(k, a + j * k, b + j * k, y + j * k); });
  }
  void prox(Index k, Index n, const T* q, const T* y, T tau, T* out) const override {
    if constexpr (requires { op_.prox(k, n, q, y, tau, out); })
      op_.prox(k, n, q, y, tau, out);
    else if constexpr (separable)
      for (Index i = 0; i < k * n; ++i) out[i] = op_.prox(q[i], y[i], tau);
    else
      for (Index j = 0; j < n; ++j) op_.prox(k, q + j * k, y + j * k, tau, out + j * k);
  }
  double squared_distance(Index k, Index n, const T* v, const T* y, const T* g, double push,
                          double scale) const override {
    return squared_distance(k, n, v, y, g, push, scale, [](double d) { return square(d); });
  }
  double distance(Index k, Index n, const T* v, const T* y, const T* g, double push,
                  double scale) const override {
    return root(
        [&](auto&& squared) { return squared_distance(k, n, v, y, g, push, scale, squared); });
  }

 private:
  template <class Squared> double squared_distance(Index k, Index n, const T* v, const T* y,
                                                   const T* g, double push, double scale,
                                                   Squared&& squared) const {
    if constexpr (separable)
      return sum(k * n, [&](Index i) {
        // The distance of 0 to an interval.
        const double left = push * g[i] + scale * op_.left_derivative(v[i], y[i]);
        const double right = push * g[i] + scale * op_.right_derivative(v[i], y[i]);
        return squared(std::max({left, -right, 0.0}));
      });
    else
      return sum(n, [&](Index j) {
        return op_.squared_distance(k, v + j * k, y + j * k, g + j * k, push, scale, squared);
      });
  }

  const Op op_;
};

}  // namespace amcore
