// Roots of a function of one variable inside a bracket.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace amcore::scalar {

struct Slope {
  double value, derivative;
};

// A root of f, given as a Slope, with f(low) ≤ 0 ≤ f(high): Newton from `low`, bisecting where a
// step leaves the bracket or the last one did not halve f. NaN where f(low) is.
template <class F> double root(F&& f, double low, double high) {
  constexpr int most_steps = 300;
  double t = low, previous = std::numeric_limits<double>::infinity();
  for (int k = 0; k < most_steps; ++k) {
    const auto [value, derivative] = f(t);
    (value <= 0 ? low : high) = t;
    if (value == 0 || low == high) return std::isnan(value) ? value : t;
    const double newton = t - value / derivative;
    // A root at an end of the bracket may be overshot by so much.
    const double rounding = 2 * std::numeric_limits<double>::epsilon() * std::abs(t);
    const bool settled = std::abs(newton - t) <= rounding;
    const bool trusted = settled || (2 * std::abs(value) <= previous && newton >= low - rounding &&
                                     newton <= high + rounding);
    t = trusted ? std::clamp(newton, low, high) : low + (high - low) / 2;
    if (settled || (!trusted && (t == low || t == high))) return t;  // none is between these
    previous = std::abs(value);
  }
  return t;
}

// The better of the minima of a function in [low, high], given by its slope h', which is ≤ 0 at
// `low`, ≥ 0 at `high` and increasing but for one interval (p1, p2), empty where p1 = p2: at most
// one minimum on either side of it. better(a, b) returns the better of two points a ≤ b.
template <class F, class Better>
double least_minimum(F&& slope, double low, double high, double p1, double p2, Better&& better) {
  p1 = std::clamp(p1, low, high);
  p2 = std::clamp(p2, low, high);
  if (!(p1 < p2)) return root(slope, low, high);
  const bool first = slope(p1).value >= 0, second = slope(p2).value <= 0;
  if (first && second) return better(root(slope, low, p1), root(slope, p2, high));
  if (first) return root(slope, low, p1);
  if (second) return root(slope, p2, high);
  return root(slope, p1, p2);  // by rounding only
}

}  // namespace amcore::scalar
