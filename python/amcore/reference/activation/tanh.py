"""σ(u) = tanh(u), and the global minimiser of its coupled proximal problem."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.majorizer import Majorizer
from amcore.reference.operator import Activation, Array
from amcore.reference.root import local_minima


@dataclass(frozen=True)
class TanhActivation(Activation):
    """σ(u) = tanh(u); the prox solves w(u − z) = (v − σ)(1 − σ²) for its lowest local minimum."""

    formula = "tanh(u)"
    prox_formula = "lowest root of w(u - z) = (v - tanh u)(1 - tanh² u)"
    source = "Zeng, Lin, Yao, Zhou (JMLR 22, 2021), Section 2; the prox is our own algebra"
    traits = frozenset({"smooth", "monotone", "bounded", "analytic", "separable"})
    L0, L1, L2 = 1.0, 1.0, 4 / (3 * math.sqrt(3))

    @property
    def majorizer(self) -> Majorizer:
        """Sup σ'² + max|T| sup|σ''|, as σσ'' ≤ 0."""
        return Majorizer(self.L1**2, self.L2, 0.0)

    def value(self, u: Array) -> Array:
        """tanh(u)."""
        value: Array = np.tanh(u)
        return value

    def derivative(self, u: Array, side: str = "left") -> Array:
        """1 − tanh²(u), accurate in the tails too."""
        x, y = gaps(u)
        return x * y

    def difference(self, a: Array, b: Array) -> Array:
        """Addition theorem: tanh a − tanh b = tanh(a − b)(1 − tanh a tanh b)."""
        (above, below), (other_above, other_below) = gaps(a), gaps(b)
        # 1 − tanh a tanh b, where neither term cancels the other.
        factor = (above * other_below + below * other_above) / 2
        return np.tanh(a - b) * factor

    def inverse(self, v: Array) -> Array:
        """½ log((1 + v)/(1 − v))."""
        with np.errstate(divide="ignore", invalid="ignore"):
            u: Array = np.arctanh(v)
        return u

    def prox(self, v: Array, z: Array, weight: float) -> Array:
        """Global minimiser, computed in float64."""
        wide = v.astype(np.float64)
        return prox(wide, wide + 1, wide - 1, z.astype(np.float64), weight).astype(v.dtype)


def gaps(t: Array) -> tuple[Array, Array]:
    """1 + tanh t and 1 − tanh t, each with full relative accuracy."""
    e = np.exp(-2 * np.abs(t))
    small, large = 2 * e / (1 + e), 2 / (1 + e)
    return np.where(t < 0, small, large), np.where(t < 0, large, small)


def prox(v: Array, v_plus_1: Array, v_minus_1: Array, z: Array, weight: float) -> Array:
    """argmin_t h(t) = ½(v − tanh t)² + w/2 (t − z)², globally; ties go to the leftmost.

    h' = w(t − z) − φ with φ = (v − tanh t)(1 − tanh² t). Reflect so that tanh z ≤ v. Then every
    stationary point lies right of z, where φ' = g(x) for x = 1 + tanh t and δ = v + 1,

        g(x) = x(2 − x)(2δ − (4 + 2δ)x + 3x²),

    is positive only below the first root x₀ of its last factor, and concave there. So h fails to be
    convex at most on one interval (p₁, p₂), where g > w, and its local minima are at most one root
    of h' in [z, p₁] and one right of p₂. v + 1 and v − 1 are given beside v, because near its ends
    v − tanh t is known accurately only through them.
    """
    reflect = _residual(v, v_plus_1, v_minus_1, z) < 0
    delta, delta_minus_2 = np.where(reflect, [-v_minus_1, -v_plus_1], [v_plus_1, v_minus_1])
    v, z = np.where(reflect, [-v, -z], [v, z])

    def residual(t: Array) -> Array:
        return _residual(v, delta, delta_minus_2, t)

    def slope(t: Array) -> tuple[Array, Array]:
        x, y = gaps(t)
        s, r = x * y, residual(t)
        return weight * (t - z) - r * s, weight + s * (s + 2 * r * (1 - y))

    top = _upper_bound(v, delta, delta_minus_2, z, weight)
    p1, p2 = _nonconvex_interval(delta, weight)
    first, second = local_minima(slope, z, top, p1, p2)

    # 2 h(first) − 2 h(second), as products of differences.
    gain = TanhActivation().difference(second, first) * (residual(first) + residual(second))
    gain = gain + weight * ((first - second) * ((first - z) + (second - z)))
    lower = np.where(reflect, gain < 0, gain <= 0)
    t = np.where(lower, first, second)
    return np.where(reflect, -t, t)


def _residual(v: Array, v_plus_1: Array, v_minus_1: Array, t: Array) -> Array:
    """Return v − tanh t, with the accuracy of the nearest of v, v + 1 and v − 1."""
    x, y = gaps(t)
    near_end = np.where(t < 0, v_plus_1 - x, v_minus_1 + y)
    return np.where(np.abs(t) < 0.5, v - np.tanh(t), near_end)


def _upper_bound(v: Array, delta: Array, delta_minus_2: Array, z: Array, weight: float) -> Array:
    """Return a point where h' ≥ 0, the least of three.

    z + δ/w, as φ ≤ δ; atanh v, where φ = 0; and m + s with m = max(z, 0) and s e^{2s} ≥ C for
    C = 4δ e^{−2m}/w, as φ(t) ≤ 4δ e^{−2t} for t ≥ 0.
    """
    m = np.maximum(z, 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_c = np.log(4 * delta) - 2 * m - math.log(weight)
        tail = m + np.where(log_c < 2, np.exp(np.minimum(log_c, 2)), log_c / 2)
        reach = np.where(delta_minus_2 < 0, np.log(delta / -delta_minus_2) / 2, np.inf)
        reach = np.where(np.abs(v) < 0.5, np.arctanh(v), reach)
        bound: Array = np.minimum(np.minimum(z + delta / weight, tail), reach)
    return np.where(bound > z, bound, z)


def _nonconvex_interval(delta: Array, weight: float) -> tuple[Array, Array]:
    """Return the ends p₁, p₂ of {g > w}; both the maximiser of g where that is empty.

    g is concave on [0, x₀] and g' convex up to its zero, so Newton's method is monotone for g' from
    0 and for g − w from 0 and from x₀.
    """

    def g(x: Array) -> Array:
        return x * (2 - x) * (2 * delta - (4 + 2 * delta) * x + 3 * x * x)

    def g1(x: Array) -> Array:
        return 4 * delta - (16 + 12 * delta) * x + (30 + 6 * delta) * x * x - 12 * x * x * x

    def g2(x: Array) -> Array:
        return (60 + 12 * delta) * x - (16 + 12 * delta) - 36 * x * x

    x0 = 2 * delta / (2 + delta + np.hypot(delta - 1, math.sqrt(3)))
    peak = np.zeros_like(delta)
    for _ in range(20):
        peak = np.minimum(peak - g1(peak) / g2(peak), x0)
    left, right = np.where(g(peak) > weight, [np.zeros_like(x0), x0], peak)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(60):
            left = np.where(left < peak, left - (g(left) - weight) / g1(left), peak)
            right = np.where(right > peak, right - (g(right) - weight) / g1(right), peak)
        return np.log(left / (2 - left)) / 2, np.log(right / (2 - right)) / 2
