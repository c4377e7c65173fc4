"""σ(u) = Σ c_k u^k."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.polynomial import polynomial

from amcore.reference.operator import Activation, Array
from amcore.reference.root import root


@dataclass(frozen=True)
class PolynomialActivation(Activation):
    """σ(u) = Σ c_k u^k; the prox is the best of all real roots of h' = (σ − v)σ' + w(u − z).

    They are isolated between the real roots of h'', and these in the same way between those of the
    next derivative, down to a linear function: between neighbours each is monotone.

    Parameters
    ----------
    coefficients : sequence of float
        c_0, c_1, … in ascending order, as in `numpy.polynomial`; 1 to 16 of them. By default the
        square.
    """

    coefficients: tuple[float, ...] = (0.0, 0.0, 1.0)

    formula = "Σ c_k u^k"
    prox_formula = "best real root of (σ - v)σ' + w(u - z)"
    source = "Livni, Shalev-Shwartz, Shamir (NIPS 2014); the prox is our own algebra"
    traits = frozenset({"smooth", "analytic", "semialgebraic", "separable"})

    def __post_init__(self) -> None:
        """Refuse no coefficients and too many."""
        super().__post_init__()
        if not 1 <= len(self.coefficients) <= 16:
            raise ValueError(f"coefficients: expected 1 to 16, got {len(self.coefficients)}")

    @property
    def _c(self) -> Array:
        c: Array = np.trim_zeros(np.array(self.coefficients), "b")
        return c if len(c) else np.zeros(1)

    @property
    def L0(self) -> float:
        """|c_0| of a constant."""
        return abs(float(self._c[0])) if len(self._c) == 1 else math.inf

    @property
    def L1(self) -> float:
        """|c_1| of a linear function."""
        return _bound(polynomial.polyder(self._c))

    @property
    def L2(self) -> float:
        """|2c_2| of a quadratic one."""
        return _bound(polynomial.polyder(self._c, 2))

    def value(self, u: Array) -> Array:
        """Horner's scheme."""
        return _horner(self._c, u)

    def derivative(self, u: Array, side: str = "left") -> Array:
        """Σ k c_k u^{k−1}."""
        return _horner(polynomial.polyder(self._c), u)

    def difference(self, a: Array, b: Array) -> Array:
        """Return (a − b) times the divided difference."""
        value = divided = np.zeros(a.shape, np.result_type(a, np.float64))
        for c in self._c[::-1]:
            divided, value = divided * b + value, value * a + c
        return ((a - b) * divided).astype(a.dtype)

    def prox(self, v: Array, z: Array, weight: float) -> Array:
        """Global minimiser, computed in float64."""
        dtype, shape = v.dtype, v.shape
        v, z = v.astype(np.float64).ravel(), z.astype(np.float64).ravel()
        c = self._c
        first, second = polynomial.polyder(c), polynomial.polyder(c, 2)

        def slope(u: Array) -> tuple[Array, Array]:
            r, s = _horner(c, u) - v, _horner(first, u)
            return r * s + weight * (u - z), s * s + r * _horner(second, u) + weight

        # The coefficients of h', a row for every power of u.
        a = np.zeros((max(2, 2 * len(c) - 2), len(v)))
        product = polynomial.polymul(c, first)
        a[: len(product)] += product[:, None]
        a[: len(first)] -= first[:, None] * v
        a[0] -= weight * z
        a[1] += weight
        degree = len(a) - 1

        # h(u) ≤ h(z) only where |u − z| ≤ |v − σ(z)|/√w. No root of h', nor of its derivatives, is
        # beyond Fujiwara's bound.
        reach = np.abs(v - _horner(c, z)) / math.sqrt(weight) * (1 + 1e-9)
        powers = 1 / (degree - np.arange(degree))
        bound = 2 * (np.abs(a[:-1] / a[-1]) ** powers[:, None]).max(axis=0)
        low, high = np.maximum(z - reach, -bound), np.minimum(z + reach, bound)
        high = np.maximum(low, high)

        points = [low, high]
        for order in range(degree - 1, 0, -1):
            f = _function(polynomial.polyder(a, order), polynomial.polyder(a, order + 1))
            points = [low, *(_crossing(f, l, r) for l, r in pairwise(points)), high]  # noqa: E741

        best, found = z, np.zeros(z.shape, bool)
        for left, right in pairwise(points):
            bracket = (slope(left)[0] <= 0) & (slope(right)[0] >= 0)
            u = root(slope, left, np.where(bracket, right, left))
            r, s = (self._residual(x, v, z, weight) for x in (best, u))
            better = _is_better(best, r, u, s, z, weight)
            best = np.where(bracket & (~found | better), u, best)
            found |= bracket
        return np.where(np.isnan(v), v, best).astype(dtype).reshape(shape)

    def _residual(self, u: Array, v: Array, z: Array, weight: float) -> Array:
        """Return v − σ(u) at a root u of h', where it equals w(u − z)/σ'(u).

        Of the two the form that suffers less from the rounding of u.
        """
        derivative = self.derivative(u)
        steep = derivative * derivative > weight
        quotient = weight * (u - z) / np.where(steep, derivative, 1)
        return np.where(steep, quotient, v - _horner(self._c, u))


def _is_better(a: Array, r: Array, b: Array, s: Array, z: Array, weight: float) -> Any:
    """Whether b, with residual s, is better than a < b, with r, by more than rounding."""
    gain = (r - s) * (r + s) + weight * ((a - b) * ((a - z) + (b - z)))
    size = r * r + s * s + weight * ((a - z) ** 2 + (b - z) ** 2)
    return gain > 4 * np.finfo(np.float64).eps * size


def _bound(c: Array) -> float:
    return abs(float(c[0])) if len(c) == 1 else math.inf


def _horner(c: Array, u: Array) -> Array:
    wide: Any = u.astype(np.result_type(u, np.float64))
    value: Array = polynomial.polyval(wide, c, tensor=False).astype(u.dtype)
    return value


def _function(c: Array, derivative: Array) -> Callable[[Array], tuple[Array, Array]]:
    return lambda u: (_horner(c, u), _horner(derivative, u))


def _crossing(f: Callable[[Array], tuple[Array, Array]], low: Array, high: Array) -> Array:
    """Return the root of a monotone f between low and high, or `low` where there is none."""
    at_low, at_high = f(low)[0], f(high)[0]
    sign = np.where(at_low < 0, 1, -1)
    crosses = np.where(at_low < 0, at_high > 0, (at_low > 0) & (at_high < 0))

    def rising(u: Array) -> tuple[Array, Array]:
        value, derivative = f(u)
        return sign * value, sign * derivative

    return root(rising, low, np.where(crosses, high, low))
