// Activations σ. An operator is a small struct of scalar functions in a header of its own;
// `ActivationOf` turns it into loops over arrays: chosen once per block, inlined within.
//
// An operator provides
//   value(u)               σ(u)
//   left_derivative(u), right_derivative(u)   one-sided, equal where σ is smooth
//   difference(a, b)       σ(a) − σ(b), accurate relative to a − b
//   prox(v, z, w)          argmin_u ½(v − σ(u))² + w/2 (u − z)², globally and leftmost
//   inverse(v)             u with σ(u) = v where σ increases, outside its range anything; of
//                          monotone σ only
//   pieces()               of piecewise linear σ only: where its kinks are
//   bounds                 of |σ|, |σ'| and |σ''|, where there are any
//   majorizer              where a better one is known than follows from these
// or the same functions of arrays, with the arguments of `Activation`, where a loop over entries
// would not vectorise; of these also `value_and_derivative`, where the two have much in common.
#pragma once

#include <type_traits>

#include "amcore/activation/majorizer.hpp"
#include "amcore/activation/preactivation.hpp"
#include "amcore/scalar/parameter.hpp"
#include "amcore/scalar/piecewise_linear.hpp"
#include "amcore/sums.hpp"
#include "amcore/types.hpp"

namespace amcore {

template <class T> class Activation {
 public:
  virtual ~Activation() = default;
  virtual bool is_identity() const = 0;
  virtual void value(Index n, const T* u, T* out) const = 0;
  virtual void derivative(Index n, const T* u, Side side, T* out) const = 0;
  // σ and its right derivative
  virtual void value_and_derivative(Index n, const T* u, T* value, T* slope) const = 0;
  virtual void difference(Index n, const T* a, const T* b, T* out) const = 0;
  virtual void prox(Index n, const T* v, const T* z, T weight, T* out) const = 0;
  virtual bool has_kinks() const = 0;
  // How many entries lie on other pieces in a than in b, a kink being one of its own.
  virtual double pattern_changes(Index n, const T* a, const T* b) const = 0;
  // Of ½(σ − t)²: as published, or the least h known, which where there is none is one to begin
  // with.
  virtual Majorizer published_majorizer() const = 0;
  virtual Majorizer majorizer() const = 0;
  virtual bool invertible() const = 0;
  virtual void inverse(Index n, const T* v, T* out) const = 0;  // if invertible
  // The loops of activation/preactivation.hpp.
  virtual double preactivation_update(Index n, const T* v, const T* p, const T* u, double gamma,
                                      double rho, double alpha, T* out, T* residual) const = 0;
  virtual PreactivationStep preactivation_step(Index n, const T* v, const T* p, const T* u,
                                               const T* u_new, double gamma, double rho) const = 0;
  virtual double preactivation_distance(Index n, const T* v, const T* u, const T* e, double gamma,
                                        double rho) const = 0;
};

namespace activation {
struct IdentityActivation;
}

template <class Op, class T> class ActivationOf final : public Activation<T> {
  static constexpr bool of_arrays = OfArrays<Op, T>;
  static constexpr bool piecewise = requires(const Op& op) { op.template pieces<T>(); };
  static constexpr bool has_inverse = requires(const Op& op, T v) {
    op.inverse(v);
  } || requires(const Op& op, Index n, T* x) { op.inverse(n, x, x); };

 public:
  explicit ActivationOf(const ParameterValues& values) : op_(values) {}
  bool is_identity() const override { return std::is_same_v<Op, activation::IdentityActivation>; }
  void value(Index n, const T* u, T* out) const override {
    if constexpr (of_arrays)
      op_.value(n, u, out);
    else
      for (Index i = 0; i < n; ++i) out[i] = op_.value(u[i]);
  }
  void derivative(Index n, const T* u, Side side, T* out) const override {
    if constexpr (of_arrays)
      op_.derivative(n, u, side, out);
    else if (side == Side::left)
      for (Index i = 0; i < n; ++i) out[i] = op_.left_derivative(u[i]);
    else
      for (Index i = 0; i < n; ++i) out[i] = op_.right_derivative(u[i]);
  }
  void value_and_derivative(Index n, const T* u, T* value, T* slope) const override {
    if constexpr (requires { op_.value_and_derivative(n, u, value, slope); }) {
      op_.value_and_derivative(n, u, value, slope);
    } else if constexpr (of_arrays) {
      op_.value(n, u, value);
      op_.derivative(n, u, Side::right, slope);
    } else {
      for (Index i = 0; i < n; ++i) {
        value[i] = op_.value(u[i]);
        slope[i] = op_.right_derivative(u[i]);
      }
    }
  }
  void difference(Index n, const T* a, const T* b, T* out) const override {
    if constexpr (of_arrays)
      op_.difference(n, a, b, out);
    else
      for (Index i = 0; i < n; ++i) out[i] = op_.difference(a[i], b[i]);
  }
  void prox(Index n, const T* v, const T* z, T weight, T* out) const override {
    if constexpr (of_arrays)
      op_.prox(n, v, z, weight, out);
    else
      for (Index i = 0; i < n; ++i) out[i] = op_.prox(v[i], z[i], weight);
  }
  bool has_kinks() const override { return piecewise; }
  double pattern_changes(Index n, const T* a, const T* b) const override {
    if constexpr (piecewise) {
      return scalar::count_changes(op_.template pieces<T>(), n, a, b);
    } else {
      return 0;
    }
  }
  Majorizer published_majorizer() const override { return Majorizer::published(bounds()); }
  Majorizer majorizer() const override {
    if constexpr (requires { Op::majorizer; })
      return Op::majorizer;
    else
      return Majorizer::trial(bounds());
  }
  bool invertible() const override { return has_inverse; }
  void inverse(Index n, const T* v, T* out) const override {
    if constexpr (has_inverse && of_arrays)
      op_.inverse(n, v, out);
    else if constexpr (has_inverse)
      for (Index i = 0; i < n; ++i) out[i] = op_.inverse(v[i]);
  }
  double preactivation_update(Index n, const T* v, const T* p, const T* u, double gamma, double rho,
                              double alpha, T* out, T* residual) const override {
    return amcore::preactivation_update(op_, n, v, p, u, gamma, rho, alpha, out, residual);
  }
  PreactivationStep preactivation_step(Index n, const T* v, const T* p, const T* u, const T* u_new,
                                       double gamma, double rho) const override {
    return amcore::preactivation_step(op_, n, v, p, u, u_new, gamma, rho);
  }
  double preactivation_distance(Index n, const T* v, const T* u, const T* e, double gamma,
                                double rho) const override {
    return amcore::preactivation_distance(op_, n, v, u, e, gamma, rho);
  }

 private:
  Bounds bounds() const {
    if constexpr (requires(const Op& op) { op.bounds; })
      return op_.bounds;
    else
      return {};
  }

  const Op op_;
};

}  // namespace amcore
