"""σ(u) = min(max(u, −1), 1)."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, PiecewiseLinear


@dataclass(frozen=True)
class HardTanhActivation(PiecewiseLinear):
    """σ(u) = clip(u, −1, 1); prox: the lowest of the three pieces' minimisers."""

    formula = "clip(u, -1, 1)"
    prox_formula = "min(z, -1), clip((v + w z)/(1 + w), -1, 1) or max(z, 1)"
    source = "Zeng, Lau, Lin, Yao (ICML 2019), Section 2"
    traits = frozenset({"piecewise_linear", "monotone", "bounded", "semialgebraic", "separable"})
    L0, L1 = 1.0, 1.0

    @property
    def pieces(self) -> tuple[tuple[float, float, float, float], ...]:
        """Constant −1, slope 1, constant 1."""
        inf = math.inf
        return (-inf, -1.0, 0.0, -1.0), (-1.0, 1.0, 1.0, 0.0), (1.0, inf, 0.0, 1.0)

    def value(self, u: Array) -> Array:
        """clip(u, −1, 1)."""
        return np.clip(u, -1, 1)
