// Regularisers r of a matrix: weights (out × in), or activations with a sample per row. Matrices
// are row-major and contiguous.
//
// A separable operator provides scalar functions
//   value(x), difference(a, b) = r(a) − r(b), accurate relative to a − b,
//   prox(x, tau) = argmin_p r(p) + (p − x)²/(2 tau), the leftmost where not unique,
//   squared_distance(x, g, squared) = squared(dist(−g, ∂r(x))), infinite where ∂r(x) is empty;
// a coupled one provides the same functions of a matrix, with the arguments of `Regularizer`, and
// by_row where it may be a sum over rows. Where products of entries may be out of range beside
// others that are not, value and difference take a `product` as in sum_in_range. An operator whose
// entries have the form of `ScalarTerms` says so in terms(), so that updates can be exact.
#pragma once

#include <cmath>
#include <limits>
#include <optional>

#include "amcore/scalar/parameter.hpp"
#include "amcore/sums.hpp"
#include "amcore/types.hpp"

namespace amcore {

// l1 |x| + ridge/2 x² + l0 [x ≠ 0], infinite outside [lo, hi]
struct ScalarTerms {
  double l1 = 0, ridge = 0, l0 = 0;
  double lo = -std::numeric_limits<double>::infinity();
  double hi = std::numeric_limits<double>::infinity();
};

template <class T> class Regularizer {
 public:
  virtual ~Regularizer() = default;
  virtual std::optional<ScalarTerms> terms() const = 0;
  virtual bool by_row() const = 0;  // a sum over rows: of activations, over samples
  virtual double value(Index rows, Index columns, const T* x) const = 0;
  virtual double difference(Index rows, Index columns, const T* a, const T* b) const = 0;
  // out may be x
  virtual void prox(Index rows, Index columns, const T* x, T tau, T* out) const = 0;
  // dist²(−g, ∂r(x)), and its root, which may be a number where the square is none.
  virtual double squared_distance(Index rows, Index columns, const T* x, const T* g) const = 0;
  virtual double distance(Index rows, Index columns, const T* x, const T* g) const = 0;

  // Is r = ridge()/2 ‖·‖²? A least-squares block absorbs it.
  bool is_ridge() const {
    const auto t = terms();
    return t && t->l1 == 0 && t->l0 == 0 && std::isinf(t->lo) && std::isinf(t->hi);
  }
  double ridge() const { return terms().value_or(ScalarTerms{}).ridge; }
};

template <class Op, class T> class RegularizerOf final : public Regularizer<T> {
  static constexpr bool separable = Op::separable;

 public:
  explicit RegularizerOf(const ParameterValues& values) : op_(values) {}

  std::optional<ScalarTerms> terms() const override {
    if constexpr (requires { op_.terms(); })
      return op_.terms();
    else
      return std::nullopt;
  }
  bool by_row() const override {
    if constexpr (requires { op_.by_row; })
      return op_.by_row;
    else
      return separable;
  }
  double value(Index rows, Index columns, const T* x) const override {
    if constexpr (requires(double (*product)(double, double, double)) { op_.value(*x, product); })
      return sum_in_range([&](auto&& product) {
        return sum(rows * columns, [&](Index i) { return op_.value(x[i], product); });
      });
    else if constexpr (separable)
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
    return squared_distance(rows, columns, x, g, [](double d) { return square(d); });
  }
  double distance(Index rows, Index columns, const T* x, const T* g) const override {
    return root([&](auto&& squared) { return squared_distance(rows, columns, x, g, squared); });
  }

 private:
  template <class Squared> double squared_distance(Index rows, Index columns, const T* x,
                                                   const T* g, Squared&& squared) const {
    if constexpr (separable)
      return sum(rows * columns,
                 [&](Index i) { return op_.squared_distance(x[i], g[i], squared); });
    else
      return op_.squared_distance(rows, columns, x, g, squared);
  }

  const Op op_;
};

}  // namespace amcore
