// The coupled prox of tanh.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "amcore/scalar/halley.hpp"
#include "amcore/scalar/root.hpp"
#include "amcore/scalar/tanh.hpp"
#include "amcore/types.hpp"

namespace amcore::scalar {

// The target v of a tanh, with v + 1 and v − 1 beside it: near the ends of the range v − tanh t is
// known accurately only through them.
template <class T> struct Target {
  T v, plus, minus;
  Target operator-() const { return {-v, -minus, -plus}; }
};
template <class T> Target(T, T, T) -> Target<T>;  // before 17, Clang has none for aggregates

// v − tanh t
template <class T> [[gnu::always_inline]] inline T residual_at(const Target<T>& target, T t) {
  const Gaps<T> g(t);
  const T middle = target.v - g.tanh, left = target.plus - g.x, right = target.minus + g.y;
  return std::abs(t) < T(0.5) ? middle : (t < 0 ? left : right);
}

// g, see TanhProx, and its derivatives at x
template <class T> struct Rise {
  T value, first, second;
  Rise(T d, T x)
      : value(x * (2 - x) * (2 * d - (4 + 2 * d) * x + 3 * x * x)),
        first(4 * d - x * (16 + 12 * d - x * (30 + 6 * d - 12 * x))),
        second(x * (60 + 12 * d - 36 * x) - (16 + 12 * d)) {}
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
    target_ = mirror_ ? -target : target;
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
  Slope slope(double t) const {  // h', h''
    const Gaps<double> g(t);
    const double s = g.x * g.y, r = residual_at(target_, t);
    return {w_ * (t - z_) - r * s, w_ + s * (s + 2 * r * g.tanh)};
  }

  // A point where h' ≥ 0, the least of three: z + δ/w, as φ ≤ δ; atanh v, as φ = 0 there; and
  // m + c with m = max(z, 0), φ(t) ≤ 4δ e^{−2t} for t ≥ 0 and (m − z + c) e^{2c} ≥ 4δ e^{−2m}/w,
  // as log(1 + y)(1 + y) ≥ y.
  double upper_bound() const {
    const double delta = target_.plus, m = std::max(z_, 0.0);
    const double c = std::log1p(8 * delta * std::exp(-2 * m) / (w_ * (1 + 2 * (m - z_)))) / 2;
    double bound = std::min(z_ + delta / w_, m + c);
    if (target_.minus < 0)
      bound = std::min(bound, std::abs(target_.v) < 0.5 ? std::atanh(target_.v)
                                                        : std::log(delta / -target_.minus) / 2);
    return bound > z_ ? bound : z_;
  }

  // Newton's method is monotone for g' from 0, and for g − w from 0 and from x₀.
  void nonconvex_interval(double& p1, double& p2) const {
    const double d = target_.plus;
    const double x0 = 2 * d / (2 + d + std::hypot(d - 1, std::sqrt(3.0)));
    double peak = 0;
    for (int k = 0; k < 20; ++k) {
      const Rise g(d, peak);
      peak = std::min(peak - g.first / g.second, x0);
    }
    if (!(Rise(d, peak).value > w_)) return;
    double left = 0, right = x0;
    for (int k = 0; k < 60; ++k) {
      const Rise g(d, left), f(d, right);
      const double a = left < peak ? left - (g.value - w_) / g.first : peak;
      const double b = right > peak ? right - (f.value - w_) / f.first : peak;
      if (a == left && b == right) break;
      left = a;
      right = b;
    }
    p1 = std::log(left / (2 - left)) / 2;
    p2 = std::log(right / (2 - right)) / 2;
  }

  // The better of a < b: 2h(a) − 2h(b) as products of differences.
  double lower_of(double a, double b) const {
    const double gain = tanh_change(b, a) * (residual_at(target_, a) + residual_at(target_, b)) +
                        w_ * ((a - b) * ((a - z_) + (b - z_)));
    return gain < 0 || (gain == 0 && !mirror_) ? a : b;
  }

  Target<double> target_;
  bool mirror_;
  double w_, z_;
};

// Excludes a second minimum, for most entries that have none; the others pay for it only in time.
//
// Two minima need h'(p₁) > 0 (see TanhProx), which puts z below p₁ − φ(p₁)/w, and w < max g.
// Mirrored to z ≤ 0, with δ = 1 + v: max g ≤ δ²/2, and p₁ − φ(p₁)/w ≤ −½ log(8δ/w) − 0.354
// (checked for 1e-3 ≤ δ ≤ 1e6); log δ ≥ (δ − 1)/δ.
class OneMinimum {
 public:
  static constexpr double least_weight = 1e-8;  // far from the rounding of δ
  explicit OneMinimum(double w)
      : least_delta_(static_cast<float>(1.4 * std::sqrt(w))),
        nearest_(static_cast<float>(std::log(8 / w) / 2 + 0.33)) {}
  [[gnu::always_inline]] bool operator()(const Target<float>& to, float z) const {
    const float delta = z < 0 ? to.plus : -to.minus;
    return (delta < least_delta_) | ((std::abs(z) - nearest_) * delta < (delta - 1) / 2);
  }

 private:
  float least_delta_, nearest_;
};

// The same for nearly all entries that have none, where w ≥ 0.335, which makes h convex where
// tanh z > v ≥ 0.
//
// Let δ = 1 + |v|. Mirrored to v ≥ 0, two minima need h'(p₂) < 0 < h'(p₁), which puts wz between
// wp₂ − φ(p₂) and wp₁ − φ(p₁) and w below max g ≤ 0.77(δ − 1) + 0.3951/(1 + δ) + 0.5492/(1 + δ)².
// Times (1 + δ)², this bound less w is a cubic in |v|, and cubics are fitted to middle and half
// length of the interval, so that they cover it with a margin of 9e-4 max g to spare (checked on a
// dense grid).
class TightOneMinimum {
 public:
  static constexpr double least_weight = 0.335;
  explicit TightOneMinimum(double w)
      : w_(static_cast<float>(w)),
        lack_{1.3394 - 4 * w, 3.4751 - 4 * w, 3.08 - w, 0.77},
        middle_{-0.9537 + w * (1.1548 * w - 5.4355), -2.3626 + w * (0.3886 * w - 4.5518),
                -2.1883 - 1.1644 * w, -0.5016},
        half_{0.6048 + w * (3.4788 * w - 2.8863), 1.8469 + w * (0.7166 * w - 5.0801),
              1.9985 - 1.1957 * w, 0.5024} {}
  [[gnu::always_inline]] bool operator()(const Target<float>& to, float z) const {
    const float size = std::abs(to.v), pull = to.v < 0 ? -w_ * z : w_ * z, more = 2 + size;
    const float off = std::abs(pull * (more * more) - middle_(size));
    return (lack_(size) <= 0) | (off > half_(size));
  }

 private:
  struct Cubic {
    float a0, a1, a2, a3;
    Cubic(double a, double b, double c, double d)
        : a0(static_cast<float>(a)),
          a1(static_cast<float>(b)),
          a2(static_cast<float>(c)),
          a3(static_cast<float>(d)) {}
    [[gnu::always_inline]] float operator()(float x) const {
      return a0 + x * (a1 + x * (a2 + x * a3));
    }
  };
  float w_;
  Cubic lack_, middle_, half_;
};

// body(i) for every entry that is not 0.
template <class T, int size, class Body>
void for_each_nonzero(const Block<T, size>& a, Body&& body) {
  static_assert(std::endian::native == std::endian::little && size % 8 == 0);
  std::uint8_t flags[size];
  for (int i = 0; i < size; ++i) flags[i] = a[i] != 0;
  for (int k = 0; k < size; k += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, flags + k, 8);
    for (; eight != 0; eight &= eight - 1) body(k + std::countr_zero(eight) / 8);
  }
}

// Halley steps H for the entries with open ≠ 0, which becomes 0 with the last one: where what it
// leaves of |h'| (see HalleyStep, |h''''| ≤ 4.1|v| + 8) is within `tolerance` of the terms of h'.
//
// For one division in all, A = h' sum³, B = h'' sum⁴ and C = ½h''' sum⁵ (see Ratio). Three loops,
// as one chain of operations would be too long for a processor to overlap with its neighbours'.
template <class T, int size, class TargetOf>
void descend(const Block<T, size>& goal, const Block<T, size>& z, T w, T tolerance, int most_steps,
             TargetOf&& target, Block<T, size>& t, Block<T, size>& open) {
  Block<T, size> x, y, difference, A, B, C, terms;
  for (int k = 0; k < most_steps && any(open); ++k) {
    for (int i = 0; i < size; ++i) {
      const Ratio<T> ratio(t[i]);
      x[i] = ratio.x;
      y[i] = ratio.y;
      difference[i] = ratio.difference;
    }
    for (int i = 0; i < size; ++i) {
      const Target<T> to = target(goal[i]);
      const T sum = x[i] + y[i], square = sum * sum, cube = square * sum, d = difference[i];
      const T r = std::abs(t[i]) < T(0.5) ? to.v * sum - d : to.minus * x[i] + to.plus * y[i];
      const T s = 4 * x[i] * y[i], push = s * r;
      A[i] = w * (t[i] - z[i]) * cube - push;
      B[i] = w * (square * square) + s * (s + 2 * r * d);
      C[i] = s * (s * (r - 3 * d) - 2 * r * d * d);
      terms[i] = w * (std::abs(t[i]) + std::abs(z[i])) * cube + std::abs(push);
    }
    for (int i = 0; i < size; ++i) {
      const HalleyStep<T> halley(A[i], B[i], C[i]);
      const T sum = x[i] + y[i], step = sum * halley.step, scaled = std::abs(sum * step);
      const T fourth = T(1.34) + T(0.69) * std::abs(target(goal[i]).v);  // ≥ |h''''|/6
      const T left = halley.left + fourth * (scaled * scaled * scaled);
      t[i] = open[i] != 0 ? t[i] - step : t[i];
      open[i] = left - tolerance * terms[i] <= 0 ? T(0) : open[i];
    }
  }
}

// How many steps follow those in float32 at most.
inline constexpr int last_steps = 2;

// t within ±limit. Of a limit that it knows, GCC computes whatever follows as well, and blends:
// 14 of 37 instructions of a rough step.
class Clamp {
 public:
  explicit Clamp(float limit) {
    const volatile float hidden = limit;
    limit_ = hidden;
  }
  [[gnu::always_inline]] float operator()(float t) const {
    return std::min(std::max(t, -limit_), limit_);
  }

 private:
  float limit_;
};

// Steps towards a minimum from afar, with an approximate tanh.
class RoughSteps {
 public:
  explicit RoughSteps(float w) : w_(w) {}

  // From z, with the slope of tanh a fifth of the way to v.
  [[gnu::always_inline]] float first(float v, float z) const {
    const float y = tanh(z), between = 0.8f * y + 0.2f * unit_(v), s = 1 - between * between;
    return z + (v - y) * s / (w_ + s * s);
  }
  [[gnu::always_inline]] float newton(float t, float v, float z) const {
    const float y = tanh(t), s = 1 - y * y, r = v - y;
    return t - (w_ * (t - z) - r * s) / std::max(w_ + s * (s + 2 * r * y), (w_ + s * s) / 2);
  }
  // As in descend, of tanh t = d/sum to 5e-5: h' sum³, h'' sum⁴ and ½h''' sum⁵.
  [[gnu::always_inline]] float halley(float t, float v, float z) const {
    const float u = far_(t), q = u * u;
    const float d = u * (0.99981241f + q * (0.10175674f + q * 0.00065589f));
    const float sum = 1 + q * (0.43454328f + q * 0.01264901f);
    const float square = sum * sum, s = square - d * d, r = v * sum - d;
    const float A = w_ * (t - z) * (square * sum) - s * r;
    const float B = w_ * (square * square) + s * (s + 2 * r * d);
    const float C = s * (s * (r - 3 * d) - 2 * r * d * d);
    return t - sum * HalleyStep<float>(A, B, C).step;
  }

 private:
  // To 0.015, the least that a polynomial of this degree reaches.
  [[gnu::always_inline]] float tanh(float t) const {
    const float u = near_(t), q = u * u;
    return u * (0.9431f - q * (0.19147f - 0.019047f * q));
  }

  float w_;
  Clamp unit_{1}, near_{2.1f}, far_{5};
};

// TanhProx in a block, in float32: t near the minimiser. Where `open` is not 0 in the end, that is
// not sure. Not inlined, as GCC vectorises less of it then.
//
// h'(p₁) and h'(p₂) tell which minima there are, and what is found must lie on its own side. The
// maximiser of g is about δ/(4 + 2.366δ); p₁ and p₂ start from two parabolas that have their
// maximum in common with g, and the roots 0 and x₀. Two Newton steps for each give these slopes
// within 3e-7 of their terms (checked for 1e-8 ≤ δ ≤ 1e9 and 1e-20 ≤ w/max g ≤ 1); slopes within
// 1e-5 of them are not trusted, nor is such a difference of the two minima.
//
// A minimum is sought from where h' would vanish as a parabola with its extremum at p₁ or p₂; the
// second one beyond that, where y (y − 1 + v) ≤ φ, y = 1 − tanh t, is what w(t − z) is at most.
template <int size, class TargetOf>
[[gnu::noinline]] void find_basin(const Block<float, size>& goal, const Block<float, size>& z,
                                  float w, TargetOf&& target, Block<float, size>& t,
                                  Block<float, size>& open) {
  constexpr float margin = 1e-5f;
  constexpr int most_steps = 8;
  const float depth = std::log1p(8 / w) / 2;

  Block<float, size> mirror, delta, start, far, x0, peak, share, x1, x2;
  for (int i = 0; i < size; ++i) mirror[i] = residual_at(target(goal[i]), z[i]) < 0 ? -1.0f : 1.0f;
  for (int i = 0; i < size; ++i) {
    const Target<float> to = target(goal[i]);
    const float d = mirror[i] < 0 ? -to.minus : to.plus;
    const float below = mirror[i] < 0 ? to.plus : -to.minus;
    delta[i] = d;
    start[i] = mirror[i] * z[i];
    const float pull = w * std::min(d / w, std::max(-start[i], 0.0f) + depth);
    const float root = std::sqrt(below * below + 4 * pull);
    const float inside = (below + root) / 2, outside = 2 * pull / (root - below);
    const float y = below > 0 ? inside : outside;
    far[i] = y / (2 - y);
    x0[i] = 2 * d / (2 + d + std::sqrt((d - 1) * (d - 1) + 3));
    peak[i] = d / (4 + 2.366f * d);
  }
  far = far.log() / -2;
  for (int k = 0; k < 2; ++k)
    for (int i = 0; i < size; ++i) {
      const Rise g(delta[i], peak[i]);
      peak[i] = std::min(peak[i] - g.first / g.second, x0[i]);
    }
  for (int i = 0; i < size; ++i) {
    const float most = Rise(delta[i], peak[i]).value;
    share[i] = w < (1 - margin) * most ? w / most : 1;  // else p₁ = p₂
    const float root = std::sqrt(1 - share[i]);
    x1[i] = peak[i] * share[i] / (1 + root);
    x2[i] = peak[i] + (x0[i] - peak[i]) * root;
  }
  for (int k = 0; k < 2; ++k)
    for (int i = 0; i < size; ++i) {
      const Rise g1(delta[i], x1[i]), g2(delta[i], x2[i]);
      const float left = x1[i] - (g1.value - w) / g1.first;
      const float right = x2[i] - (g2.value - w) / g2.first;
      x1[i] = share[i] < 1 ? std::min(left, peak[i]) : peak[i];
      x2[i] = share[i] < 1 ? std::max(right, peak[i]) : peak[i];
    }
  Block<float, size> p1 = x1 / (2 - x1), p2 = x2 / (2 - x2), first, second, a, b;
  p1 = p1.log() / 2;
  p2 = p2.log() / 2;
  for (int i = 0; i < size; ++i) {
    const float s1 = x1[i] * (2 - x1[i]), s2 = x2[i] * (2 - x2[i]), d = delta[i];
    const float slope1 = w * (p1[i] - start[i]) - (d - x1[i]) * s1;
    const float slope2 = w * (p2[i] - start[i]) - (d - x2[i]) * s2;
    const float pull = w * (std::abs(p1[i]) + std::abs(p2[i]) + std::abs(start[i]));
    const bool sure = (std::abs(slope1) > margin * (pull + (d + x1[i]) * s1)) &
                      (std::abs(slope2) > margin * (pull + (d + x2[i]) * s2));
    first[i] = slope1 > 0 ? 1.0f : 0.0f;
    second[i] = slope2 < 0 ? 1.0f : 0.0f;
    open[i] = (sure & ((slope1 > 0) | (slope2 < 0))) ? 0.0f : 1.0f;
    const float bend1 = Rise(d, x1[i]).first * s1, bend2 = Rise(d, x2[i]).first * s2;  // −h'''
    const float left = p1[i] - std::min(1.0f, std::sqrt(2 * slope1 / bend1));
    const float right = p2[i] + std::min(1.0f, std::sqrt(2 * slope2 / bend2));
    a[i] = mirror[i] * std::max(start[i], left);
    b[i] = mirror[i] * std::max(std::max(start[i], far[i]), right);
  }

  Block<float, 2 * size> goals, centres, minima, wanted;
  goals << goal, goal;
  centres << z, z;
  minima << a, b;
  wanted << first, second;
  const RoughSteps rough(w);
  for (int k = 0; k < 2; ++k)
    for (int i = 0; i < 2 * size; ++i)
      minima[i] = rough.halley(minima[i], target(goals[i]).v, centres[i]);
  descend(goals, centres, w, roughly, most_steps, target, minima, wanted);
  a = minima.template head<size>();
  b = minima.template tail<size>();
  open += wanted.template head<size>() + wanted.template tail<size>();
  for (int i = 0; i < size; ++i) {
    const Target<float> to = target(goal[i]);
    const bool one = first[i] != 0, two = second[i] != 0;
    const bool astray = (one & !(mirror[i] * a[i] < p1[i])) | (two & !(mirror[i] * b[i] > p2[i]));
    const float moved = tanh_change(b[i], a[i]), way = b[i] - a[i];
    const float gain = moved * (residual_at(to, a[i]) + residual_at(to, b[i])) -
                       w * (way * ((a[i] - z[i]) + (b[i] - z[i])));
    const float terms = std::abs(moved) * (1 + std::abs(to.v)) +
                        w * std::abs(way) * (std::abs(a[i]) + std::abs(b[i]) + std::abs(z[i]));
    const bool close = one & two & !(std::abs(gain) > margin * terms);
    open[i] += (astray | close) ? 1.0f : 0.0f;
    t[i] = (two & (!one | (gain > 0))) ? b[i] : a[i];
  }
}

// Entries put aside until they fill a block; what a block is not sure of is solved alone.
template <class T, class TargetOf> class Aside {
 public:
  Aside(T w, T outer, const TargetOf& target, T* out)
      : w_(w), outer_(outer), target_(target), out_(out) {}
  void add(T goal, T z, Index place) {
    goal_[count_] = goal;
    z_[count_] = z;
    place_[count_++] = place;
    if (count_ == size) solve();
  }
  void finish() {
    if (count_ > 0) solve();
  }

 private:
  void solve() {
    std::fill(goal_.data() + count_, goal_.data() + size, T(0));
    std::fill(z_.data() + count_, z_.data() + size, T(0));
    const Block<float, size>& v32 = goal_.template cast<float>();
    const Block<float, size>& z32 = z_.template cast<float>();
    Block<float, size> t32, open32;
    find_basin(v32, z32, static_cast<float>(w_), target_, t32, open32);
    Block<T, size> t = t32.template cast<T>(), open = Block<T, size>::Ones();
    descend(goal_, z_, w_, std::numeric_limits<T>::epsilon(), last_steps, target_, t, open);
    open += open32.template cast<T>();
    for (int i = 0; i < count_; ++i) {
      const double one =
          open[i] == 0 ? t[i] : TanhProx(target_(double(goal_[i])), z_[i], w_).solve();
      out_[place_[i]] = outer_ * static_cast<T>(one);
    }
    count_ = 0;
  }

  static constexpr int size = 64;
  T w_, outer_;
  const TargetOf& target_;
  T* out_;
  int count_ = 0;
  Block<T, size> goal_, z_;
  Index place_[size];
};

// out ← outer · argmin_t ½(target(v) − tanh t)² + w/2 (t − inner z)², entry by entry. `target`
// gives a Target of either type. Where there is one minimum, rough steps and one in float32 lead
// near it, and steps in T to it; where there may be two, or these are not enough, the entry is put
// aside.
template <class T, class TargetOf> void tanh_prox(Index n, const T* v, const T* z, T w, T inner,
                                                  T outer, const TargetOf& target, T* out) {
  constexpr int size = 128;
  constexpr bool wide = sizeof(T) > sizeof(float);
  constexpr float enough = wide ? roughly : std::numeric_limits<float>::epsilon();
  const auto weight = static_cast<float>(w);
  // As suits most entries; what is left by the others costs less aside.
  const int newton_steps = w < 1.5 ? 2 : w < 3.5 ? 1 : 0;
  const OneMinimum one_minimum(w);
  const TightOneMinimum tight(w);
  const RoughSteps rough(weight);
  Aside aside(w, outer, target, out);
  for_each_block<size>(n, [&](Index first, int count) {
    const Block<T, size> goal = block_of<T, size>(v + first, count);
    Block<T, size> start = block_of<T, size>(z + first, count);
    start *= inner;

    const Block<float, size>& v32 = goal.template cast<float>();  // no copy of float32
    const Block<float, size>& z32 = start.template cast<float>();
    Block<float, size> t32, open32, left;
    for (int i = 0; i < size; ++i) t32[i] = rough.first(target(v32[i]).v, z32[i]);
    for (int k = 0; k < newton_steps; ++k)
      for (int i = 0; i < size; ++i) t32[i] = rough.newton(t32[i], target(v32[i]).v, z32[i]);
    for (int i = 0; i < size; ++i) t32[i] = rough.halley(t32[i], target(v32[i]).v, z32[i]);
    const auto open_where = [&](const auto& has_one_minimum) {
      for (int i = 0; i < size; ++i)
        open32[i] = has_one_minimum(target(v32[i]), z32[i]) ? 1.0f : 0.0f;
    };
    if (w >= TightOneMinimum::least_weight)
      open_where(tight);
    else if (w >= OneMinimum::least_weight)
      open_where(one_minimum);
    else
      open32.setZero();
    left = 1 - open32;
    descend(v32, z32, weight, enough, 1, target, t32, open32);
    if constexpr (wide) {
      Block<T, size> t = t32.template cast<T>(), open = (1 - left).template cast<T>();
      descend(goal, start, w, std::numeric_limits<T>::epsilon(), last_steps, target, t, open);
      left += open.template cast<float>();
      t *= outer;
      write_block(t, count, out + first);
    } else {
      left += open32;
      t32 *= outer;
      write_block(t32, count, out + first);
    }
    if (count < size) std::fill(left.data() + count, left.data() + size, 0.0f);
    if (any(left)) for_each_nonzero(left, [&](int i) { aside.add(goal[i], start[i], first + i); });
  });
  aside.finish();
}

}  // namespace amcore::scalar
