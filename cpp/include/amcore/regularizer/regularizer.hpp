// Regularisers r of a weight matrix or an activation. An operator provides
//   value(n, x), prox(n, x, tau, out) = argmin_z r(z) + ‖z − x‖²/(2 tau),
//   squared_distance(n, x, g) = dist²(−g, ∂r(x)),
//   ridge(): λ where r = λ/2 ‖·‖², so that a least-squares block absorbs it, else NaN.
#pragma once

#include "amcore/check.hpp"
#include "amcore/scalar/parameter.hpp"
#include "amcore/types.hpp"

namespace amcore {

template <class T> class Regularizer {
 public:
  virtual ~Regularizer() = default;
  virtual double ridge() const = 0;
  virtual double value(Index n, const T* x) const = 0;
  virtual void prox(Index n, const T* x, T tau, T* out) const = 0;
  virtual double squared_distance(Index n, const T* x, const T* g) const = 0;
};

template <class Op, class T> class RegularizerOf final : public Regularizer<T> {
 public:
  explicit RegularizerOf(const ParameterValues& values) : op_(values) {}
  double ridge() const override { return op_.ridge(); }
  double value(Index n, const T* x) const override { return op_.value(n, x); }
  void prox(Index n, const T* x, T tau, T* out) const override { op_.prox(n, x, tau, out); }
  double squared_distance(Index n, const T* x, const T* g) const override {
    return op_.squared_distance(n, x, g);
  }

 private:
  const Op op_;
};

}  // namespace amcore
