// Checks and exact sums over contiguous arrays.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "amcore/types.hpp"

namespace amcore {

template <class T> bool all_finite(Index n, const T* x) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr Bits exponent = sizeof(T) == 4 ? Bits(0x7f800000u) : Bits(0x7ff0000000000000u);
  Bits bad = 0;
  for (Index i = 0; i < n; ++i)
    bad |= static_cast<Bits>((std::bit_cast<Bits>(x[i]) & exponent) == exponent);
  return bad == 0;
}

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

// Σ (x − y)², of differences as they are stored.
template <class T> double squared_difference(Index n, const T* x, const T* y) {
  return sum(n, [x, y](Index i) { return square(static_cast<T>(x[i] - y[i])); });
}

}  // namespace amcore
