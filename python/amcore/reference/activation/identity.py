"""σ(u) = u."""

import math
from dataclasses import dataclass

from amcore.reference.operator import Activation, Array


@dataclass(frozen=True)
class IdentityActivation(Activation):
    """σ(u) = u, with prox (v + w z)/(1 + w)."""

    formula = "u"
    prox_formula = "(v + w z)/(1 + w)"
    source = "Zeng, Lau, Lin, Yao (ICML 2019): the output layer"
    traits = frozenset(
        {
            "smooth",
            "piecewise_linear",
            "monotone",
            "analytic",
            "semialgebraic",
            "convex",
            "separable",
        }
    )
    L0, L1, L2 = math.inf, 1.0, 0.0

    def value(self, u: Array) -> Array:
        """Return a copy of u."""
        return u.copy()

    def derivative(self, u: Array, side: str = "left") -> Array:
        """1."""
        return u * 0 + 1

    def difference(self, a: Array, b: Array) -> Array:
        """Return a − b."""
        return a - b

    def inverse(self, v: Array) -> Array:
        """Return a copy of v."""
        return v.copy()

    def prox(self, v: Array, z: Array, weight: float) -> Array:
        """(v + w z)/(1 + w)."""
        return (v + weight * z) / (1 + weight)
