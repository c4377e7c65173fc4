// Steps of Halley's method towards a zero of h'.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace amcore::scalar {

// H = h'h''/D, D = h''² − h'h'''/2, taken with D ≥ h''²/2, of A = h', B = h'' and C = ½h'''. With
// J = h'h'''/(2D), the step leaves |h'| ≤ J²|h'| + |h''''||H|³/6; `left` is J²|h'|.
template <class T> struct HalleyStep {
  T step, left;
  [[gnu::always_inline]] HalleyStep(T A, T B, T C) {
    const T bend = A * C, square = B * B, reciprocal = 1 / std::max(square - bend, square / 2);
    const T J = bend * reciprocal;
    step = A * B * reciprocal;
    left = J * J * std::abs(A);
  }
};

// The tolerance of float32 steps where others follow.
inline constexpr float roughly = 64 * std::numeric_limits<float>::epsilon();

}  // namespace amcore::scalar
