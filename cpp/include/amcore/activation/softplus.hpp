#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "amcore/activation/activation.hpp"
#include "amcore/check.hpp"
#include "amcore/scalar/root.hpp"
#include "amcore/scalar/tanh.hpp"

namespace amcore::activation {

// σ(u) = log(1 + e^u);  prox: the better minimum of h(u) = ½(v − σ)² + w/2 (u − z)².
//
// With s = σ'(u) = 1/(1 + e^{−u}), h' = w(u − z) − φ, φ = (v − σ)s.
// Where σ(z) ≥ v every stationary point lies in [σ⁻¹(v), z], where h is convex. Else it lies in
// [z, σ⁻¹(v)], where with p = e^u
//   φ' = p/(1 + p)² · (v − log(1 + p) − p).
// log φ', where defined, is concave in u: log p − 2 log(1 + p) is, and so is the logarithm of a
// positive concave function. So h fails to be convex on one interval at most, where φ' > w, and
// has at most two minima. φ' is largest where (1 − p)(v − log(1 + p)) = 3p, 0 < p < 1.
struct SoftplusActivation {
  static constexpr NoParameters parameters{};
  explicit SoftplusActivation(const ParameterValues&) {}

  template <class T> void value(Index n, const T* u, T* out) const {
    scalar::for_each_block(n, [&](Index first, int count) {
      const scalar::Block<T> t = scalar::block_of(u + first, count);
      scalar::Block<T> e, l;
      log_1_plus_decay(t, e, l);
      l += t.max(T(0));
      scalar::write_block(l, count, out + first);
    });
  }
  template <class T> void derivative(Index n, const T* u, Side, T* out) const {
    scalar::for_each_block(n, [&](Index first, int count) {
      const scalar::Block<T> t = scalar::block_of(u + first, count);
      scalar::Block<T> e = (-t.abs()).exp();
      for (int i = 0; i < scalar::block_size; ++i) e[i] = (t[i] < 0 ? e[i] : T(1)) / (1 + e[i]);
      scalar::write_block(e, count, out + first);
    });
  }
  // σ(a) − σ(b) = log(1 + σ'(b)(e^{a−b} − 1)), or from afar the difference of its parts.
  template <class T> void difference(Index n, const T* a, const T* b, T* out) const {
    scalar::for_each_block(n, [&](Index first, int count) {
      const scalar::Block<T> to = scalar::block_of(a + first, count),
                             from = scalar::block_of(b + first, count);
      scalar::Block<T> x, result;
      for (int i = 0; i < scalar::block_size; ++i) {
        const scalar::Ratio<T> step((to[i] - from[i]) / 2), start(from[i] / 2);
        x[i] = (start.x * step.difference) / (start.sum * step.y);
      }
      log_1_plus(x, result);
      if (((to - from).abs() >= 1).any()) {
        scalar::Block<T> e, l, l_from;
        log_1_plus_decay(to, e, l);
        log_1_plus_decay(from, e, l_from);
        result =
            ((to - from).abs() < 1).select(result, (to.max(T(0)) - from.max(T(0))) + (l - l_from));
      }
      scalar::write_block(result, count, out + first);
    });
  }
  template <class T> T inverse(T v) const { return v + std::log(-std::expm1(-v)); }
  // Newton from z settles nearly all entries where h is convex between z and the minimiser: as
  // φ' ≤ v²/(8 + 3.4v) for v > 0 (checked on a dense grid), and φ' ≤ 0 right of log v ≤ v − 1. The
  // others are solved one at a time. The third derivative of h is at most |v − σ|/10 + 0.45, and σ
  // grows by |s| at most in a Newton step s, which leaves |h'| ≤ (0.05(|v − σ| + |s|) + 0.23)s²:
  // where that is within rounding, it is the last.
  template <class T> void prox(Index n, const T* v, const T* z, T w, T* out) const {
    constexpr T eps = std::numeric_limits<T>::epsilon();
    constexpr int most_steps = 8;
    scalar::for_each_block(n, [&](Index first, int count) {
      const scalar::Block<T> goal = scalar::block_of(v + first, count),
                             start = scalar::block_of(z + first, count);
      scalar::Block<T> t = start, e, l, step, unsettled;
      unsettled.setOnes();
      for (int k = 0; k < most_steps; ++k) {
        log_1_plus_decay(t, e, l);
        for (int i = 0; i < scalar::block_size; ++i) {
          const T reciprocal = 1 / (1 + e[i]), s = (t[i] < 0 ? e[i] : T(1)) * reciprocal;
          const T sigma = std::max(t[i], T(0)) + l[i], r = goal[i] - sigma;
          const T slope = w * (t[i] - start[i]) - r * s;
          const T rounding =
              eps * (w * (std::abs(t[i]) + std::abs(start[i])) + s * (std::abs(goal[i]) + sigma));
          const T newton = slope / (w + s * s - r * e[i] * reciprocal * reciprocal);
          const T left = (T(0.05) * (std::abs(r) + std::abs(newton)) + T(0.23)) * newton * newton;
          const bool exact = std::abs(slope) <= 2 * rounding;
          step[i] = exact ? T(0) : unsettled[i] * newton;
          unsettled[i] = exact || left <= rounding ? T(0) : unsettled[i];
        }
        t -= step;
        if ((unsettled == 0).all()) break;
      }
      for (int i = 0; i < scalar::block_size; ++i) {
        const T g = goal[i];
        const bool convex = (g <= 0) | (w * (8 + T(3.4) * g) > g * g) | (start[i] >= g - 1);
        unsettled[i] = convex ? unsettled[i] : T(1);
      }
      scalar::write_block(t, count, out + first);
      if ((unsettled == 0).all()) return;
      for (int i = 0; i < count; ++i)
        if (unsettled[i] != 0) out[first + i] = static_cast<T>(Prox{goal[i], start[i], w}.solve());
    });
  }

 private:
  // e ← e^{−|t|}, l ← log(1 + e), the rounding of 1 + e made good for.
  template <class T> static void log_1_plus_decay(const scalar::Block<T>& t, scalar::Block<T>& e,
                                                  scalar::Block<T>& l) {
    e = (-t.abs()).exp();
    log_1_plus(e, l);
  }
  template <class T> static void log_1_plus(const scalar::Block<T>& e, scalar::Block<T>& l) {
    const scalar::Block<T> x = e + 1;
    l = x.log() - ((x - 1) - e) / x;
  }

  static double ramp(double u) { return std::max(u, 0.0); }
  static double rest(double u) { return std::log1p(std::exp(-std::abs(u))); }
  static double sigma(double u) { return ramp(u) + rest(u); }

  // σ(a) − σ(b) = log(1 + σ'(b)(e^{a−b} − 1))
  static double change(double a, double b) {
    if (std::abs(a - b) < 1) return std::log1p(std::expm1(a - b) / (1 + std::exp(-b)));
    return (ramp(a) - ramp(b)) + (rest(a) - rest(b));
  }

  struct Prox {
    double v, z, w;

    double solve() const {
      const auto slope = [this](double u) {
        const double e = std::exp(-std::abs(u)), s = (u < 0 ? e : 1) / (1 + e), r = v - sigma(u);
        return scalar::Slope{w * (u - z) - r * s, w + s * s - r * e / square(1 + e)};
      };
      const double r = v - sigma(z), s = 1 / (1 + std::exp(-z));
      // σ⁻¹(v)
      const double reach =
          v > 0 ? v + std::log(-std::expm1(-v)) : -std::numeric_limits<double>::infinity();
      if (r <= 0) {
        const double low = std::min(z, std::max(z + r * s / w, reach));
        return scalar::root(slope, low, z);
      }
      const double top = std::max(z, std::min(z + r / w, reach));
      double p1 = top, p2 = top;
      nonconvex_interval(p1, p2);
      return scalar::least_minimum(slope, z, top, p1, p2,
                                   [this](double a, double b) { return lower_of(a, b); });
    }

    // Where φ' > w. Newton from 0 is monotone for the convex equation of the peak.
    void nonconvex_interval(double& p1, double& p2) const {
      double p = 0;
      for (int k = 0; k < 60; ++k) {
        const double l = std::log1p(p), m = (1 - p) * (v - l) - 3 * p;
        const double next = p + m / (v + 3 - l + (1 - p) / (1 + p));
        if (!(next > p)) break;
        p = next;
      }
      const double peak = std::log(p), log_w = std::log(w);
      const auto excess = [&](double u) {  // log φ' − log w
        const double power = std::exp(u), l = std::log1p(power), rest = v - l - power;
        return scalar::Slope{u - 2 * l + std::log(rest) - log_w,
                             (1 - power) / (1 + power) - power * (2 + power) / (1 + power) / rest};
      };
      if (!(excess(peak).value > 0)) return;
      const auto shortfall = [&](double u) {
        const auto [value, derivative] = excess(u);
        return scalar::Slope{-value, -derivative};
      };
      p1 = scalar::root(excess, log_w - std::log(v), peak);
      p2 = scalar::root(shortfall, peak, std::log(v));
    }

    // 2h(a) − 2h(b) as products of differences
    double lower_of(double a, double b) const {
      const double gain =
          change(b, a) * ((v - sigma(a)) + (v - sigma(b))) + w * ((a - b) * ((a - z) + (b - z)));
      return gain <= 0 ? a : b;
    }
  };
};

}  // namespace amcore::activation
