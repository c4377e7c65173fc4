"""σ(u) = clip(u/6 + ½, 0, 1)."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, PiecewiseLinear


@dataclass(frozen=True)
class HardSigmoidActivation(PiecewiseLinear):
    """σ(u) = clip(u/6 + ½, 0, 1), torch's definition (Keras has u/5 + ½).

    The prox is the lowest of the three pieces' minimisers.
    """

    formula = "clip(u/6 + 1/2, 0, 1)"
    prox_formula = "min(z, -3), clip((6v - 3 + 36w z)/(1 + 36w), -3, 3) or max(z, 3)"
    source = "Howard et al. (ICCV 2019): ReLU6(u + 3)/6"
    traits = frozenset({"piecewise_linear", "monotone", "bounded", "semialgebraic", "separable"})
    L0, L1 = 1.0, 1 / 6

    @property
    def pieces(self) -> tuple[tuple[float, float, float, float], ...]:
        """Constant 0, slope 1/6, constant 1."""
        inf = math.inf
        return (-inf, -3.0, 0.0, 0.0), (-3.0, 3.0, 1 / 6, 0.5), (3.0, inf, 0.0, 1.0)

    def value(self, u: Array) -> Array:
        """clip(u + 3, 0, 6)/6."""
        return np.clip(u + 3, 0, 6) / 6
