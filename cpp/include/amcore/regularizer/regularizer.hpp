// Regularisers r of a matrix: weights (out × in), or activations with a sample per row. Matrices
// are row-major and contiguous.
//
// A separable operator provides scalar functions
//   value(x), difference(a, b) = r(a) − r(b), accurate relative to a − b,
//   prox(x, tau) = argmin_p r(p) + (p − x)²/(2 tau), the leftmost where not unique,
//   squared_distance(x, g) = dist²(−g, ∂r(x)), infinite where ∂r(x) is empty;
// a coupled one provides the same functions of a matrix, with the arguments of `Regularizer`.
// Where r = λ/2 ‖·‖², ridge() is λ: a least-squares block absorbs it.
#pragma once

#include <limits>

#include "amcore/check.hpp"
#include "amcore/scalar/parameter.hpp"
#include "amcore/types.hpp"

namespace amcore {

template <class T> class Regularizer {
 public:
  virtual ~Regularizer() = default;
  virtual double ridge() const = 0;  // NaN where r is no such square
  virtual double value(Index rows, Index columns, const T* x) const = 0;
  virtual double difference(Index rows, Index columns, const T* a, const T* b) const = 0;
  // out may be x
  virtual void prox(Index rows, Index columns, const T* x, T tau, T* out) const = 0;
  virtual double squared_distance(Index rows, Index columns, const T* x, const T* g) const = 0;
};

template <class Op, class T> class RegularizerOf final : public Regularizer<T> {
  static constexpr bool separable = Op::separable;

 public:
  explicit RegularizerOf(const ParameterValues& values) : op_(values) {}

  double ridge() const override {
    if constexpr (requires { op_.ridge(); })
      return op_.ridge();
    else
      return std::numeric_limits<double>::quiet_NaN();
  }
  double value(Index rows, Index columns, const T* x) const override {
    if constexpr (separable)
      return sum(rows * columns, [&](Index i) { return op_.value(x[i]); });
    else
      return op_.value(rows, columns, x);
  }
  double difference(Index rows, Index columns, const T* a, const T* b) const override {
    if constexpr (separable)
      return sum(rows * columns, [&](Index i) { return op_.difference(a[i], b[i]); });
    else
      return op_.difference(rows, columns, a, b);
  }
  void prox(Index rows, Index columns, const T* x, T tau, T* out) const override {
    if constexpr (separable)
      for (Index i = 0; i < rows * columns; ++i) out[i] = op_.prox(x[i], tau);
    else
      op_.prox(rows, columns, x, tau, out);
  }
  double squared_distance(Index rows, Index columns, const T* x, const T* g) const override {
    if constexpr (separable)
      return sum(rows * columns, [&](Index i) { return op_.squared_distance(x[i], g[i]); });
    else
      return op_.squared_distance(rows, columns, x, g);
  }

 private:
  const Op op_;
};

}  // namespace amcore
