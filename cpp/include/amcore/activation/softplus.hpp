#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "amcore/activation/activation.hpp"
#include "amcore/scalar/halley.hpp"
#include "amcore/scalar/root.hpp"
#include "amcore/scalar/tanh.hpp"
#include "amcore/sums.hpp"

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
  static constexpr Bounds bounds{Bounds::none, 1, 0.25};
  static constexpr Majorizer majorizer{1.1, bounds.curvature, 0};  // σ'² + σσ'' < 1.1

  template <class T> void value(Index n, const T* u, T* out) const {
    scalar::map_blocks(n, u, out, [](T t) { return Parts<T>(t).value; });
  }
  template <class T> void derivative(Index n, const T* u, Side, T* out) const {
    scalar::map_blocks(n, u, out, [](T t) { return scalar::Gaps<T>(t / 2).x / 2; });
  }
  template <class T> void value_and_derivative(Index n, const T* u, T* value, T* slope) const {
    scalar::map_blocks_to_pairs(n, u, value, slope, [](T t) {
      const Parts<T> parts(t);
      return std::pair(parts.value, parts.s);
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
      const scalar::Block<T> sum = x + 1;
      result = sum.log() - ((sum - 1) - x) / sum;  // the rounding of 1 + x made good for
      if (((to - from).abs() >= 1).any())
        for (int i = 0; i < scalar::block_size; ++i) {
          const T t = to[i], f = from[i], ramps = std::max(t, T(0)) - std::max(f, T(0));
          const T far = ramps + (Parts<T>(t).rest - Parts<T>(f).rest);
          result[i] = std::abs(t - f) < 1 ? result[i] : far;
        }
      scalar::write_block(result, count, out + first);
    });
  }
  template <class T> void inverse(Index n, const T* v, T* out) const {
    using Block = scalar::Block<T>;
    scalar::map_arrays(n, v, out, [](const Block& y) { return Block(y + (-(-y).expm1()).log()); });
  }
  // h has one minimum where it is convex: where v ≤ 0, or φ' ≤ v²/(8 + 3.4v) ≤ w (checked on a
  // dense grid); and where z ≥ −1.9: with two, h'(p) > 0 where φ'(p) = w for a p > z, so that
  // z < p − φ/φ' < p − 1/(1 − s) = p − 1 − e^p ≤ −2. There float32 steps lead near it, and steps
  // in T to it. What else there is, or is not settled so, is solved one entry at a time.
  template <class T> void prox(Index n, const T* v, const T* z, T w, T* out) const {
    constexpr bool wide = sizeof(T) > sizeof(float);
    constexpr float enough = wide ? scalar::roughly : std::numeric_limits<float>::epsilon();
    constexpr int most_steps = 5;
    const auto weight = static_cast<float>(w);
    scalar::for_each_block(n, [&](Index first, int count) {
      const scalar::Block<T> goal = scalar::block_of(v + first, count),
                             start = scalar::block_of(z + first, count);
      const scalar::Block<float>&v32 = goal.template cast<float>(),
            &z32 = start.template cast<float>();  // no copies of float32
      scalar::Block<float> t32, open32, alone;
      for (int i = 0; i < scalar::block_size; ++i) {
        t32[i] = rough_step(z32[i], v32[i], z32[i], weight);
        const float g = v32[i];
        const bool one = (g <= 0) | (weight * (8 + 3.4f * g) > g * g) | (z32[i] >= -1.9f);
        open32[i] = one ? 1.0f : 0.0f;
        alone[i] = 1 - open32[i];
      }
      descend(v32, z32, weight, enough, most_steps, t32, open32);
      if constexpr (wide) {
        scalar::Block<T> t = t32.template cast<T>(), open = (1 - alone).template cast<T>();
        descend(goal, start, w, std::numeric_limits<T>::epsilon(), most_steps, t, open);
        alone += open.template cast<float>();
        scalar::write_block(t, count, out + first);
      } else {
        alone += open32;
        scalar::write_block(t32, count, out + first);
      }
      if (!scalar::any(alone)) return;
      for (int i = 0; i < count; ++i)
        if (alone[i] != 0) out[first + i] = static_cast<T>(Prox{goal[i], start[i], w}.solve());
    });
  }

 private:
  // With e^t = x/y: σ = max(t, 0) + rest, rest = log(1 + e^{−|t|}), s = σ' and 1 − s. The logarithm
  // is 2 artanh a, 0 ≤ a ≤ 1/3, by polynomials of least relative error, 4e-9 and 1e-18.
  template <class T> struct Parts {
    T value, rest, s, complement;
    [[gnu::always_inline]] explicit Parts(T t) {
      const scalar::Ratio<T> e(t / 2);
      const T reciprocal = 1 / e.sum, a = e.small / (e.sum + e.large), q = a * a;
      s = e.x * reciprocal;
      complement = e.y * reciprocal;
      T series;
      if constexpr (sizeof(T) == 4) {
        series = T(2.000000008) +
                 q * (T(0.6666631468) +
                      q * (T(0.4002491036) + q * (T(0.2796060139) + q * T(0.2817834208))));
      } else {
        const T high = T(0.153866354676059979) +
                       q * (T(0.133001023400152563) +
                            q * (T(0.121122503186533471) +
                                 q * (T(0.0831567846462951119) + q * T(0.170600733202390565))));
        const T middle = T(0.285714285449247989) +
                         q * (T(0.222222241117926355) + q * (T(0.181817397870725961) + q * high));
        series = 2 + q * (T(0.666666666666661342) + q * (T(0.400000000001903283) + q * middle));
      }
      rest = a * series;
      value = std::max(t, T(0)) + rest;
    }
  };

  // A Newton step with σ = (t + √(t² + (2 log 2)²))/2.
  [[gnu::always_inline]] static float rough_step(float t, float v, float z, float w) {
    constexpr float square = 1.92f;
    const float root = std::sqrt(t * t + square), reciprocal = 1 / root;
    const float s = (1 + t * reciprocal) / 2, r = v - (t + root) / 2;
    const float bend = square / 2 * (reciprocal * reciprocal * reciprocal);
    return t - (w * (t - z) - r * s) / std::max(w + s * s - r * bend, (w + s * s) / 2);
  }

  // Halley steps as in scalar::descend. |h''''| ≤ 0.26 + 0.125|v − σ|, and σ grows by |H| at most.
  template <class T> static void descend(const scalar::Block<T>& goal, const scalar::Block<T>& z,
                                         T w, T tolerance, int most_steps, scalar::Block<T>& t,
                                         scalar::Block<T>& open) {
    scalar::Block<T> sigma, s, complement;
    for (int k = 0; k < most_steps && scalar::any(open); ++k) {
      for (int i = 0; i < scalar::block_size; ++i) {
        const Parts<T> parts(t[i]);
        sigma[i] = parts.value;
        s[i] = parts.s;
        complement[i] = parts.complement;
      }
      for (int i = 0; i < scalar::block_size; ++i) {
        const T r = goal[i] - sigma[i], c = s[i] * complement[i], push = r * s[i];
        const T A = w * (t[i] - z[i]) - push, B = w + s[i] * s[i] - r * c;
        const T C = c * (3 * s[i] - r * (complement[i] - s[i])) / 2;
        const scalar::HalleyStep<T> halley(A, B, C);
        const T H = halley.step, fourth = T(0.044) + T(0.021) * (std::abs(r) + std::abs(H));
        const T left = halley.left + fourth * std::abs(H * H * H);
        const T terms =
            w * (std::abs(t[i]) + std::abs(z[i])) + s[i] * (std::abs(goal[i]) + sigma[i]);
        t[i] = open[i] != 0 ? t[i] - H : t[i];
        open[i] = left - tolerance * terms <= 0 ? T(0) : open[i];
      }
    }
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
