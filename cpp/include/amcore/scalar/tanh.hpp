// tanh and its coupled prox, the whole of the smooth bounded activations: sigmoid is a tanh with
// shifted arguments.
//
// With x = 1 + tanh t and y = 1 − tanh t, both known with full relative accuracy ("gaps"), nothing
// here loses the tails. Loops over blocks of a fixed size vectorise; what they cannot settle goes
// to a scalar path in float64.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "amcore/scalar/root.hpp"
#include "amcore/types.hpp"

namespace amcore::scalar {

inline constexpr int block_size = 64;
template <class T> using Block = Eigen::Array<T, block_size, 1>;

// From e = e^{−2|t|}: x = 1 + tanh t, y = 1 − tanh t and tanh t itself, each to rounding, for one
// division. For |t| < ½ tanh is Lambert's continued fraction t/(1 + t²/(3 + t²/(5 + …))), cut after
// 17.
template <class T> struct Gaps {
  T x, y, tanh;
  Gaps(T t, T e) {
    const T q = t * t;
    const T above = (((q + 990) * q + 135135) * q + 4729725) * q + 34459425;
    const T below = (((45 * q + 13860) * q + 945945) * q + 16216200) * q + 34459425;
    const bool near = std::abs(t) < T(0.5);
    const T reciprocal = 1 / (near ? below : 1 + e);
    const T middle = t * above * reciprocal, large = 2 * reciprocal, small = large * e;
    x = near ? 1 + middle : (t < 0 ? small : large);
    y = near ? 1 - middle : (t < 0 ? large : small);
    tanh = near ? middle : (t < 0 ? small - 1 : 1 - small);
  }
};

template <class T> inline void decay(const Block<T>& t, Block<T>& e) {
  e = (T(-2) * t.abs()).exp();
}

// body(offset, count) over blocks; the last one may be short.
template <class Body> void for_each_block(Index n, Body&& body) {
  for (Index first = 0; first < n; first += block_size)
    body(first, static_cast<int>(std::min<Index>(block_size, n - first)));
}

// out ← outer · tanh(inner · u) + shift
template <class T> void tanh_value(Index n, const T* u, T inner, T outer, T shift, T* out) {
  for_each_block(n, [&](Index first, int count) {
    Block<T> t = Block<T>::Zero(), e;
    for (int i = 0; i < count; ++i) t[i] = inner * u[first + i];
    decay(t, e);
    for (int i = 0; i < block_size; ++i) e[i] = outer * Gaps<T>(t[i], e[i]).tanh + shift;
    std::copy_n(e.data(), count, out + first);
  });
}

// out ← outer · (1 − tanh²(inner · u))
template <class T> void tanh_derivative(Index n, const T* u, T inner, T outer, T* out) {
  for_each_block(n, [&](Index first, int count) {
    Block<T> t = Block<T>::Zero(), e;
    for (int i = 0; i < count; ++i) t[i] = inner * u[first + i];
    decay(t, e);
    for (int i = 0; i < block_size; ++i) {
      const Gaps<T> g(t[i], e[i]);
      e[i] = outer * g.x * g.y;
    }
    std::copy_n(e.data(), count, out + first);
  });
}

// out ← outer · (tanh(inner · a) − tanh(inner · b)), with an error relative to a − b:
// tanh a − tanh b = tanh(a − b)(1 − tanh a tanh b), the last factor being (x_a y_b + y_a x_b)/2.
template <class T> void tanh_difference(Index n, const T* a, const T* b, T inner, T outer, T* out) {
  for_each_block(n, [&](Index first, int count) {
    Block<T> s = Block<T>::Zero(), t = Block<T>::Zero(), e, f, d, g;
    for (int i = 0; i < count; ++i) {
      s[i] = inner * a[first + i];
      t[i] = inner * b[first + i];
      d[i] = inner * (a[first + i] - b[first + i]);
    }
    for (int i = count; i < block_size; ++i) d[i] = 0;
    decay(s, e);
    decay(t, f);
    decay(d, g);
    for (int i = 0; i < block_size; ++i) {
      const Gaps<T> p(s[i], e[i]), q(t[i], f[i]);
      e[i] = outer * (Gaps<T>(d[i], g[i]).tanh * ((p.x * q.y + p.y * q.x) / 2));
    }
    std::copy_n(e.data(), count, out + first);
  });
}

// The target v of a tanh, with v + 1 and v − 1 beside it: near the ends of the range v − tanh t is
// known accurately only through them.
template <class T> struct Target {
  T v, plus, minus;
};

// argmin_t h(t) = ½(v − tanh t)² + w/2 (t − z)², globally, the leftmost where not unique.
//
// h' = w(t − z) − φ, φ = (v − tanh t)(1 − tanh² t). Let tanh z ≤ v (else mirror). Then every
// minimiser lies right of z, where φ' as a function of x = 1 + tanh t is, with δ = v + 1,
//   g(x) = x(2 − x)(2δ − (4 + 2δ)x + 3x²),
// positive only left of the first root x₀ of its last factor, and concave there. So h fails to be
// convex at most on one interval (p₁, p₂), where g > w, and it has at most two minima: one root of
// h' in [z, p₁], one right of p₂.
class TanhProx {
 public:
  TanhProx(Target<double> target, double z, double weight)
      : mirror_(residual_at(target, z) < 0), w_(weight), z_(mirror_ ? -z : z) {
    target_ = mirror_ ? Target<double>{-target.v, -target.minus, -target.plus} : target;
  }

  double solve() const {
    const double top = upper_bound();
    double p1 = top, p2 = top;
    nonconvex_interval(p1, p2);
    const double t = least_minimum([this](double u) { return slope(u); }, z_, top, p1, p2,
                                   [this](double a, double b) { return lower_of(a, b); });
    return mirror_ ? -t : t;
  }

 private:
  static double residual_at(const Target<double>& target, double t) {
    const Gaps<double> g(t, std::exp(-2 * std::abs(t)));
    return std::abs(t) < 0.5 ? target.v - g.tanh : (t < 0 ? target.plus - g.x : target.minus + g.y);
  }

  Slope slope(double t) const {  // h', h''
    const Gaps<double> g(t, std::exp(-2 * std::abs(t)));
    const double s = g.x * g.y, r = residual_at(target_, t);
    return {w_ * (t - z_) - r * s, w_ + s * (s + 2 * r * g.tanh)};
  }

  // A point where h' ≥ 0: z + δ/w, as φ ≤ δ; or atanh v, as φ = 0 there; or m + c with m = max(z,
  // 0) and c e^{2c} ≥ 4δ e^{−2m}/w, as φ(t) ≤ 4δ e^{−2t} for t ≥ 0.
  double upper_bound() const {
    const double delta = target_.plus, m = std::max(z_, 0.0);
    double bound = z_ + delta / w_;
    const double log_c = std::log(4 * delta) - 2 * m - std::log(w_);
    bound = std::min(bound, m + (log_c < 2 ? std::exp(log_c) : log_c / 2));
    if (target_.minus < 0)
      bound = std::min(bound, std::abs(target_.v) < 0.5 ? std::atanh(target_.v)
                                                        : std::log(delta / -target_.minus) / 2);
    return bound > z_ ? bound : z_;
  }

  // Newton's method is monotone for g' from 0, and for g − w from 0 and from x₀.
  void nonconvex_interval(double& p1, double& p2) const {
    const double d = target_.plus, w = w_;
    const auto g = [d](double x) { return x * (2 - x) * (2 * d - (4 + 2 * d) * x + 3 * x * x); };
    const auto g1 = [d](double x) {
      return 4 * d - (16 + 12 * d) * x + (30 + 6 * d) * x * x - 12 * x * x * x;
    };
    const auto g2 = [d](double x) { return (60 + 12 * d) * x - (16 + 12 * d) - 36 * x * x; };
    const double x0 = 2 * d / (2 + d + std::hypot(d - 1, std::sqrt(3.0)));
    double peak = 0;
    for (int k = 0; k < 20; ++k) peak = std::min(peak - g1(peak) / g2(peak), x0);
    if (!(g(peak) > w)) return;
    double left = 0, right = x0;
    for (int k = 0; k < 60; ++k) {
      const double a = left < peak ? left - (g(left) - w) / g1(left) : peak;
      const double b = right > peak ? right - (g(right) - w) / g1(right) : peak;
      if (a == left && b == right) break;
      left = a;
      right = b;
    }
    p1 = std::log(left / (2 - left)) / 2;
    p2 = std::log(right / (2 - right)) / 2;
  }

  // The better of a < b: 2h(a) − 2h(b) as products of differences.
  double lower_of(double a, double b) const {
    double rise;
    tanh_difference(1, &b, &a, 1.0, 1.0, &rise);
    const double gain = rise * (residual_at(target_, a) + residual_at(target_, b)) +
                        w_ * ((a - b) * ((a - z_) + (b - z_)));
    return gain < 0 || (gain == 0 && !mirror_) ? a : b;
  }

  Target<double> target_;
  bool mirror_;
  double w_, z_;
};

// out ← outer · argmin_t ½(target(v) − tanh t)² + w/2 (t − inner z)², entry by entry. `target`
// gives a Target of either type. Steps from z settle all entries where w keeps h convex; the
// others are solved one at a time.
//
// max g ≤ 0.77 δ²/(1 + δ), δ ≤ 1 + |v|, makes h convex for larger w (checked numerically; a sixth
// too large at most for δ ≥ 1). A step is Halley's, H = h'h''/D, D = h''² − h'h'''/2, taken with
// D ≥ h''²/2; it leaves |h'| ≤ (h'''/2)²|h'|H²/h''² + |h''''||H|³/6, where |h''''| ≤ 4.1|v| + 8:
// where that is within rounding, it is the last.
template <class T, class TargetOf>
void tanh_prox(Index n, const T* v, const T* z, T w, T inner, T outer, TargetOf&& target, T* out) {
  constexpr T eps = std::numeric_limits<T>::epsilon();
  constexpr int most_steps = 8;
  for_each_block(n, [&](Index first, int count) {
    Block<T> t, e, start = Block<T>::Zero(), goal = Block<T>::Zero(), step, unsettled;
    std::copy_n(v + first, count, goal.data());
    for (int i = 0; i < count; ++i) start[i] = inner * z[first + i];
    t = start;
    unsettled.setOnes();
    for (int k = 0; k < most_steps; ++k) {
      decay(t, e);
      for (int i = 0; i < block_size; ++i) {
        const Target<T> to = target(goal[i]);
        const Gaps<T> g(t[i], e[i]);
        const T y = g.tanh, s = g.x * g.y;
        const T tail = t[i] < 0 ? to.plus - g.x : to.minus + g.y;
        const T r = std::abs(t[i]) < T(0.5) ? to.v - y : tail;
        const T pull = w * (t[i] - start[i]), push = r * s;
        const T rounding = eps * (w * (std::abs(t[i]) + std::abs(start[i])) + std::abs(push));
        const T slope = pull - push, curvature = w + s * (s + 2 * r * y);
        const T square = curvature * curvature, bend = s * (s * (r - 3 * y) - 2 * r * y * y);
        const T halley = slope * curvature / std::max(square - slope * bend, square / 2);
        const T quartic = (T(1.34) + T(0.69) * std::abs(to.v)) * std::abs(halley);
        const T left = halley * halley * (bend * bend * std::abs(slope) + quartic * square);
        const bool exact = std::abs(slope) <= 2 * rounding;
        step[i] = exact ? T(0) : unsettled[i] * halley;
        unsettled[i] = exact || left <= rounding * square ? T(0) : unsettled[i];
      }
      t -= step;
      if ((unsettled == 0).all()) break;
    }
    for (int i = 0; i < count; ++i) {
      const T delta = std::abs(target(goal[i]).v) + 1;
      const bool convex = w * (1 + delta) >= T(0.77) * delta * delta;
      if (!convex || !(unsettled[i] == 0)) {
        const auto wide = static_cast<double>(inner) * z[first + i];
        t[i] = static_cast<T>(TanhProx(target(static_cast<double>(goal[i])), wide, w).solve());
      }
      out[first + i] = outer * t[i];
    }
  });
}

}  // namespace amcore::scalar
