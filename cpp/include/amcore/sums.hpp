// Exact sums over contiguous arrays: in float64, in a fixed order.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

#include "amcore/types.hpp"

namespace amcore {

// Sums of the arrays terms(i), in float64 over interleaved lanes, several vectors of them, lest
// additions wait for each other. Their order is fixed.
template <std::size_t K, class Terms> std::array<double, K> sums(Index n, Terms&& terms) {
  constexpr Index lanes = K == 1 ? 32 : 16, few = 8;
  double lane[K][lanes] = {};
  const auto add = [&](Index i, Index l) {
    const std::array<double, K> term = terms(i);
    for (std::size_t k = 0; k < K; ++k) lane[k][l] += term[k];
  };
  Index i = 0;
  for (; i + lanes <= n; i += lanes)
    for (Index l = 0; l < lanes; ++l) add(i + l, l);
  for (; i + few <= n; i += few)
    for (Index l = 0; l < few; ++l) add(i + l, l);
  for (; i < n; ++i) add(i, i % few);
  std::array<double, K> total;
  for (std::size_t k = 0; k < K; ++k) {
    for (Index half = lanes / 2; half > 0; half /= 2)
      for (Index l = 0; l < half; ++l) lane[k][l] += lane[k][l + half];
    total[k] = lane[k][0];
  }
  return total;
}

template <class Term> double sum(Index n, Term&& term) {
  return sums<1>(n, [&](Index i) { return std::array{static_cast<double>(term(i))}; })[0];
}

inline double square(double x) { return x * x; }

template <class T> double sum_of_squares(Index n, const T* x) {
  return sum(n, [x](Index i) { return square(x[i]); });
}

// Is a sum of squares or other products one whose terms neither overflowed, nor underflowed so that
// digits of it are lost? Not 0, of which that cannot be told.
inline bool in_range(double total) {
  using Limits = std::numeric_limits<double>;
  return std::abs(total) >= Limits::min() / Limits::epsilon() && std::abs(total) <= Limits::max();
}

// √sum(squared), a sum of squared(x): of x as it is, or times a power of two where that is needed.
template <class Sum> double root(Sum&& sum) {
  const double plain = sum([](double x) { return square(x); });
  if (in_range(plain)) return std::sqrt(plain);
  const double scale = plain < 1 ? 0x1p600 : 0x1p-600;
  return std::sqrt(sum([scale](double x) { return square(scale * x); })) / scale;
}

// sum(product), a sum of product(w, x, y) = w x y, where x y may be out of range and w x y not.
template <class Sum> double sum_in_range(Sum&& sum) {
  const double plain = sum([](double w, double x, double y) { return w * (x * y); });
  if (in_range(plain)) return plain;
  return sum([](double w, double x, double y) { return w * x * y; });
}

// Σ (x − y)², of differences as they are stored.
template <class T> double squared_difference(Index n, const T* x, const T* y) {
  return sum(n, [x, y](Index i) { return square(static_cast<T>(x[i] - y[i])); });
}

}  // namespace amcore
