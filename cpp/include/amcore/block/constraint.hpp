// The inequality constraint |a − h(z)| ≤ ε, entry by entry in the (a, z) plane; h is monotone.
// Wang, Li, Zhao (Neurocomputing 2022), Algorithm 1; the rounding is our own.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "amcore/activation/activation.hpp"
#include "amcore/scalar/tanh.hpp"
#include "amcore/sums.hpp"

namespace amcore {

// The least and the largest a with |a − h| ≤ ε as it is computed; h: values of the activation.
template <class T> void constraint_bounds(Index n, const T* h, T epsilon, T* low, T* high) {
  constexpr T eps = std::numeric_limits<T>::epsilon();
  for (Index i = 0; i < n; ++i) {
    const T l = h[i] - epsilon, u = h[i] + epsilon;
    low[i] = h[i] - l > epsilon ? std::min(l + eps * std::abs(l), h[i]) : l;
    high[i] = u - h[i] > epsilon ? std::max(u - eps * std::abs(u), h[i]) : u;
  }
}

// out ← argmin ‖· − P‖² over {z : |a − h(z)| ≤ ε}: P clipped to an interval. z, the old value,
// satisfies the constraint; so does the new one, as it is computed with this h. Where P does not,
// the end of the interval is h⁻¹(a ± ε), moved inwards by rounding if need be; the old value is
// kept where no such point is found, because ε is below the rounding of a or h is flat to rounding.
template <class T> void constrained_update(Index n, const Activation<T>& activation, const T* a,
                                           const T* p, const T* z, T epsilon, T* out) {
  constexpr Index block = 128;
  constexpr T eps = std::numeric_limits<T>::epsilon();
  std::array<T, block> value, inwards, end;
  std::array<scalar::Bits<T>, block> open;  // 1 or 0, whether an entry is still to be found
  for (Index first = 0; first < n;
       first += block, a += block, p += block, z += block, out += block) {
    const Index count = std::min(block, n - first);
    activation.value(count, p, value.data());
    scalar::Bits<T> any = 0;
    for (Index i = 0; i < count; ++i) {
      open[i] = std::abs(a[i] - value[i]) > epsilon;
      inwards[i] = value[i] > a[i] ? T(-1) : T(1);
      out[i] = open[i] ? z[i] : p[i];
      any |= open[i];
    }
    // Of all entries, also those that are not open: that vectorises.
    for (const int units : {0, 2, 4, 8, 16}) {
      if (!any) break;
      const T few = static_cast<T>(units) * eps;
      for (Index i = 0; i < count; ++i)
        value[i] = a[i] - inwards[i] * epsilon + inwards[i] * (few * (std::abs(a[i]) + epsilon));
      activation.inverse(count, value.data(), end.data());
      for (Index i = 0; i < count; ++i) {
        const T moved = end[i] + inwards[i] * (few * std::abs(end[i]));
        end[i] = std::max(std::min(z[i], p[i]), std::min(std::max(z[i], p[i]), moved));
      }
      activation.value(count, end.data(), value.data());
      any = 0;
      for (Index i = 0; i < count; ++i) {
        const scalar::Bits<T> found = open[i] & (std::abs(a[i] - value[i]) <= epsilon);
        out[i] = found ? end[i] : out[i];
        open[i] &= ~found;
        any |= open[i];
      }
    }
  }
}

// Squared distance of (x, y) to the ray of (1, −slope).
inline double ray_distance(double x, double y, double slope) {
  const double length = 1 + slope * slope;
  return x - slope * y > 0 ? square(slope * x + y) / length : x * x + y * y;
}

// dist² of −(gradient_a, gradient_z) to the normal cones of the constraint; h, left, right: the
// activation at z and its one-sided derivatives.
//
// The cone is {0} in the interior; on the upper face a = h(z) + ε it is spanned by (1, −l) and
// (1, −r): the two rays where the kink is convex, l < r (the corner of the set is reentrant), and
// all between them where it is concave; on the lower face by (−1, l) and (−1, r), with convex and
// concave exchanged. An entry is on a face within 32 units of rounding; where that does not tell
// the faces from each other the nearer cone counts.
template <class T> double constraint_distance(Index n, const T* h, const T* left, const T* right,
                                              const T* a, const T* gradient_a, const T* gradient_z,
                                              T epsilon) {
  constexpr double units = 32.0 * std::numeric_limits<T>::epsilon();
  const double tolerance = epsilon;
  return sum(n, [&](Index i) {
    const double along = -static_cast<double>(gradient_a[i]),
                 across = -static_cast<double>(gradient_z[i]), l = left[i], r = right[i];
    const double beyond = static_cast<double>(a[i]) - h[i],
                 face = tolerance - units * (std::abs(static_cast<double>(h[i])) + tolerance);
    double squared = along * along + across * across;
    for (const double sign : {1.0, -1.0}) {
      if (!(sign * beyond >= face)) continue;
      const double x = sign * along, y = sign * across;
      const bool convex = sign > 0 ? l > r : l < r;  // of the set
      const bool inside = convex && x >= 0 && y <= -std::min(l, r) * x && y >= -std::max(l, r) * x;
      squared = inside ? 0 : std::min({squared, ray_distance(x, y, l), ray_distance(x, y, r)});
    }
    return squared;
  });
}

}  // namespace amcore
