// Piecewise-linear activations: σ(u) = slope·u + intercept = slope·(u − knot) + level on
// [left, right], continuous.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "amcore/types.hpp"

namespace amcore::scalar {

template <class T> struct Piece {
  T left, right, slope, intercept, knot = 0, level = intercept;
};

// argmin_u ½(v − σ(u))² + w/2 (u − z)²: on each piece the minimiser of the parabola, clipped to the
// piece; of these the one of least value, the leftmost among equals. Values are compared by their
// difference, as products of differences, which keeps its sign where the values agree to rounding,
// if σ has no error where pieces meet: hence the knot.
template <class T, std::size_t K>
inline T prox_piecewise_linear(const std::array<Piece<T>, K>& pieces, T v, T z, T w) {
  T best = 0, level = 0;  // the best minimiser so far and σ there
  for (std::size_t k = 0; k < K; ++k) {
    const auto& [left, right, slope, intercept, knot, at_knot] = pieces[k];
    const T free = (slope * (v - intercept) + w * z) / (slope * slope + w);
    const T u = std::min(std::max(free, left), right);
    const T sigma = slope * (u - knot) + at_knot;
    const T gain =
        (sigma - level) * ((v - level) + (v - sigma)) + w * ((best - u) * ((best - z) + (u - z)));
    const bool better = k == 0 || gain > 0;
    best = better ? u : best;
    level = better ? sigma : level;
  }
  return best;
}

// How many of n entries lie on different pieces in a and b, a kink being one of its own? Counted in
// integers as wide as T, n of them at most, so that comparisons and sum are of whole vectors.
template <class T, std::size_t K>
double count_changes(const std::array<Piece<T>, K>& pieces, Index n, const T* a, const T* b) {
  using Count = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  Count count = 0;
  for (Index i = 0; i < n; ++i) {
    bool changed = false;
    for (std::size_t k = 1; k < K; ++k) {
      const T kink = pieces[k].left;
      changed |= ((a[i] < kink) != (b[i] < kink)) | ((a[i] > kink) != (b[i] > kink));
    }
    count += changed;
  }
  return static_cast<double>(count);
}

}  // namespace amcore::scalar
