"""σ(u) = max(u, 0)."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, PiecewiseLinear


@dataclass(frozen=True)
class ReluActivation(PiecewiseLinear):
    """σ(u) = max(u, 0); prox: min(z, 0) or max((v + w z)/(1 + w), 0), whichever is lower."""

    formula = "max(u, 0)"
    prox_formula = "min(z, 0) or max((v + w z)/(1 + w), 0)"
    source = "Zeng, Lau, Lin, Yao (ICML 2019), Lemma 13"
    traits = frozenset({"piecewise_linear", "monotone", "convex", "semialgebraic", "separable"})
    L0, L1 = math.inf, 1.0

    @property
    def pieces(self) -> tuple[tuple[float, float, float, float], ...]:
        """Slope 0, then slope 1."""
        return (-math.inf, 0.0, 0.0, 0.0), (0.0, math.inf, 1.0, 0.0)

    def value(self, u: Array) -> Array:
        """max(u, 0)."""
        return np.maximum(u, 0)
