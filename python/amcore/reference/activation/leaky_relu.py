"""σ(u) = max(u, slope·u)."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, PiecewiseLinear


@dataclass(frozen=True)
class LeakyReluActivation(PiecewiseLinear):
    """σ(u) = max(u, s u), 0 ≤ s ≤ 1; prox: the lower of the two pieces' minimisers.

    Parameters
    ----------
    slope : float
        The slope s for u < 0.
    """

    slope: float = 0.01

    formula = "max(u, slope u)"
    prox_formula = "min((s v + w z)/(s² + w), 0) or max((v + w z)/(1 + w), 0)"
    source = "Zeng, Lau, Lin, Yao (ICML 2019), Section 2"
    traits = frozenset({"piecewise_linear", "monotone", "convex", "semialgebraic", "separable"})
    L0, L1 = math.inf, 1.0

    def __post_init__(self) -> None:
        """Refuse a slope outside [0, 1]."""
        super().__post_init__()
        if not 0 <= self.slope <= 1:
            raise ValueError(f"slope: expected a number in [0, 1], got {self.slope}")

    @property
    def pieces(self) -> tuple[tuple[float, float, float, float], ...]:
        """Slope s, then slope 1."""
        return (-math.inf, 0.0, self.slope, 0.0), (0.0, math.inf, 1.0, 0.0)

    def value(self, u: Array) -> Array:
        """max(u, s u)."""
        value: Array = np.maximum(u, self.slope * u)
        return value
