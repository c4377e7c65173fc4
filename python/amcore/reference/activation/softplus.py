"""σ(u) = log(1 + e^u)."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.majorizer import Majorizer
from amcore.reference.operator import Activation, Array
from amcore.reference.root import local_minima, root


@dataclass(frozen=True)
class SoftplusActivation(Activation):
    """σ(u) = log(1 + e^u); the prox is the lower of at most two minima.

    With s = σ'(u), h' = w(u − z) − φ, φ = (v − σ)s. Where σ(z) ≥ v every stationary point lies in
    [σ⁻¹(v), z], where h is convex. Else it lies in [z, σ⁻¹(v)], where with p = e^u

        φ' = p/(1 + p)² (v − log(1 + p) − p)

    has a concave logarithm in u. So h fails to be convex at most on one interval, where φ' > w.
    φ' is largest where (1 − p)(v − log(1 + p)) = 3p, 0 < p < 1.
    """

    formula = "log(1 + exp(u))"
    prox_formula = "lowest root of w(u - z) = (v - σ)σ', σ' = 1/(1 + exp(-u))"
    source = "Dugas, Bengio, Bélisle, Nadeau, Garcia (NIPS 2000); the prox is our own algebra"
    traits = frozenset({"smooth", "monotone", "convex", "analytic", "separable"})
    L1, L2 = 1.0, 1 / 4

    @property
    def majorizer(self) -> Majorizer:
        """1.1 + max|T| sup|σ''|, as σ'² + σσ'' < 1.1."""
        return Majorizer(1.1, self.L2, 0.0)

    def value(self, u: Array) -> Array:
        """max(u, 0) + log(1 + e^{−|u|})."""
        return np.maximum(u, 0) + np.log1p(np.exp(-np.abs(u)))

    def derivative(self, u: Array, side: str = "left") -> Array:
        """1/(1 + e^{−u})."""
        e = np.exp(-np.abs(u))
        slope: Array = np.where(u < 0, e, 1) / (1 + e)
        return slope

    def difference(self, a: Array, b: Array) -> Array:
        """log(1 + σ'(b)(e^{a−b} − 1)); of the values where a and b are far apart."""
        near = np.log1p(self.derivative(b) * np.expm1(np.clip(a - b, -1, 1)))
        ramps = np.maximum(a, 0) - np.maximum(b, 0)
        far = ramps + (np.log1p(np.exp(-np.abs(a))) - np.log1p(np.exp(-np.abs(b))))
        return np.where(np.abs(a - b) < 1, near, far)

    def inverse(self, v: Array) -> Array:
        """V + log(1 − e^{−v})."""
        with np.errstate(divide="ignore", invalid="ignore"):
            u: Array = v + np.log(-np.expm1(-v))
        return u

    def prox(self, v: Array, z: Array, weight: float) -> Array:
        """Global minimiser, computed in float64."""
        dtype, v, z = v.dtype, v.astype(np.float64), z.astype(np.float64)

        def slope(u: Array) -> tuple[Array, Array]:
            e, s, r = np.exp(-np.abs(u)), self.derivative(u), v - self.value(u)
            return weight * (u - z) - r * s, weight + s * s - r * e / (1 + e) ** 2

        r = v - self.value(z)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(v > 0, v + np.log(-np.expm1(-np.maximum(v, 0))), -np.inf)
        above = ~(r > 0)  # the stationary point is left of z, or one of both is NaN
        bottom = np.minimum(z, np.maximum(z + r * self.derivative(z) / weight, reach))
        top = np.maximum(z, np.minimum(z + r / weight, reach))
        low, high = np.where(above, bottom, z), np.where(above, z, top)
        p1, p2 = _nonconvex_interval(np.where(above, 1, v), weight)
        p1, p2 = (np.where(above, high, p) for p in (p1, p2))
        a, b = local_minima(slope, low, high, p1, p2)
        # 2 h(a) − 2 h(b), as products of differences.
        gain = self.difference(b, a) * ((v - self.value(a)) + (v - self.value(b)))
        gain = gain + weight * ((a - b) * ((a - z) + (b - z)))
        u: Array = np.where(gain <= 0, a, b).astype(dtype)
        return u


def _nonconvex_interval(v: Array, weight: float) -> tuple[Array, Array]:
    """Return the ends of {φ' > w}, both the maximiser of φ' where that is empty; v > 0."""
    p = np.zeros_like(v)
    for _ in range(60):  # monotone: the equation of the maximiser is convex
        rest = v - np.log1p(p)
        p = np.maximum(p, p + ((1 - p) * rest - 3 * p) / (rest + 3 + (1 - p) / (1 + p)))
    peak = np.log(p)

    def excess(u: Array) -> tuple[Array, Array]:  # log φ' − log w
        power = np.exp(u)
        rest = v - np.log1p(power) - power
        height = u - 2 * np.log1p(power) + np.log(rest) - math.log(weight)
        return height, (1 - power - power * (2 + power) / rest) / (1 + power)

    def shortfall(u: Array) -> tuple[Array, Array]:
        value, derivative = excess(u)
        return -value, -derivative

    with np.errstate(divide="ignore", invalid="ignore"):
        any_ = excess(peak)[0] > 0
        p1 = root(excess, np.where(any_, math.log(weight) - np.log(v), peak), peak)
        p2 = root(shortfall, peak, np.where(any_, np.log(v), peak))
    return p1, p2
