// The coupled prox of tanh, globally minimised:
//   argmin_t h(t) = ½(v − tanh t)² + w/2 (t − z)².
//
// With y = tanh t:  h' = w(t − z) − φ,  φ = (v − y)(1 − y²),  φ' = (1 − y²)(3y² − 2vy − 1).
// Let tanh z ≤ v (else mirror: h(t; v, z) = h(−t; −v, −z)). Then every minimiser lies right of z, left
// of atanh v and within max|φ|/w of z. There φ ≥ 0, and φ' exceeds w at most on one interval (p₁,
// p₂) left of the maximum of φ, at y = (v − √(v² + 3))/3. So h' rises up to p₁, falls, and rises
// again from p₂: at most two minima, one on each rising piece.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace amcore::scalar {

template <class T> struct Slope {
  T value, derivative;
};

// The root of an increasing function on [lo, hi]: Newton, bisecting where a step leaves the bracket
// or does not halve the residual.
template <class T, class Function> T increasing_root(T lo, T hi, T start, Function&& function) {
  T t = start, previous = std::numeric_limits<T>::infinity();
  while (lo < hi) {
    const auto [f, slope] = function(t);
    if (f == 0) return t;
    (f > 0 ? hi : lo) = t;
    T next = t - f / slope;
    if (next == t) return t;
    if (!(next >= lo && next <= hi) || !(std::abs(f) <= previous / 2)) {
      next = lo + (hi - lo) / 2;
      if (next == lo || next == hi) return t;
    }
    previous = std::abs(f);
    t = next;
  }
  return t;
}

// The last point, going from `inside` (where the predicate holds) to `outside` (where it does not),
// up to rounding.
template <class T, class Predicate> T bisect(T inside, T outside, Predicate&& holds) {
  while (true) {
    const T middle = inside + (outside - inside) / 2;
    if (middle == inside || middle == outside) return outside;
    (holds(middle) ? inside : outside) = middle;
  }
}

template <class T> T prox_tanh(T v, T z, T w) {
  const bool mirror = std::tanh(z) > v;
  if (mirror) {
    v = -v;
    z = -z;
  }
  const auto gradient = [&](T t) -> Slope<T> {  // h', h''
    const T y = std::tanh(t), c = 1 / std::cosh(t), c2 = c * c;
    return {w * (t - z) - (v - y) * c2, w - c2 * (2 * y * (y - v) - c2)};
  };
  const auto value = [&](T t) {
    return (v - std::tanh(t)) * (v - std::tanh(t)) + w * ((t - z) * (t - z));
  };

  const T lo = z;
  T hi = z + (std::abs(v) + 1) / w;
  if (v < 1) hi = std::max(lo, std::min(hi, std::atanh(v)));

  T p1 = hi, p2 = hi;  // h is concave on (p1, p2), if at all
  const T root = std::sqrt(v * v + 3);
  const T y_top = v >= 0 ? -1 / (v + root) : (v - root) / 3;
  const T top = std::atanh(y_top);  // φ' > 0 left of it only
  if (lo < top) {
    // The peak of φ': d/dy (1 − y²)(3y² − 2vy − 1) = −12y³ + 6vy² + 8y − 2v changes sign once on
    // (−1, y_top).
    const T y_peak =
        bisect(y_top, T(-1), [v](T y) { return ((-12 * y + 6 * v) * y + 8) * y - 2 * v <= 0; });
    const T peak = std::atanh(std::max(y_peak, std::nextafter(T(-1), T(0))));
    const auto concave = [&](T t) { return gradient(t).derivative < 0; };
    if (concave(peak)) {
      T far = peak - 1;
      while (concave(far)) far += far - peak;
      p1 = std::clamp(bisect(peak, far, concave), lo, hi);
      p2 = std::clamp(bisect(peak, top, concave), lo, hi);
    }
  }
  T t;
  if (p1 < p2) {
    const bool first = gradient(p1).value >= 0, second = gradient(p2).value <= 0;
    const T t1 = first ? increasing_root(lo, p1, lo, gradient) : p2;
    const T t2 = second ? increasing_root(p2, hi, p2 + (hi - p2) / 2, gradient) : p1;
    const T f1 = value(t1), f2 = value(t2);
    t = !second || (first && (f1 < f2 || (f1 == f2 && !mirror))) ? t1 : t2;
  } else {
    t = increasing_root(lo, hi, lo, gradient);
  }
  return mirror ? -t : t;
}

// tanh a − tanh b, accurate relative to a − b.
template <class T> inline T tanh_difference(T a, T b) {
  return std::tanh(a - b) * (1 - std::tanh(a) * std::tanh(b));
}

}  // namespace amcore::scalar
