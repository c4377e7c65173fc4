// Piecewise-linear activations: σ(u) = slope·u + intercept on [left, right], continuous.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

namespace amcore::scalar {

template <class T> struct Piece {
  T left, right, slope, intercept;
};

// argmin_u ½(v − σ(u))² + w/2 (u − z)²: on each piece the minimiser of the parabola, clipped to the
// piece; of these the one of least value, the leftmost among equals.
template <class T, std::size_t K>
inline T prox_piecewise_linear(const std::array<Piece<T>, K>& pieces, T v, T z, T w) {
  T best = 0, least = 0;
  for (std::size_t k = 0; k < K; ++k) {
    const auto& [left, right, slope, intercept] = pieces[k];
    const T free = (slope * (v - intercept) + w * z) / (slope * slope + w);
    const T u = std::min(std::max(free, left), right);
    const T a = v - (slope * u + intercept), d = u - z;
    const T value = a * a + w * (d * d);
    const bool better = k == 0 || value < least;
    best = better ? u : best;
    least = better ? value : least;
  }
  return best;
}

}  // namespace amcore::scalar
