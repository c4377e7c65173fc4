"""σ(u) = 1/(1 + e^{−u})."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.activation import tanh
from amcore.reference.majorizer import Majorizer
from amcore.reference.operator import Activation, Array


@dataclass(frozen=True)
class SigmoidActivation(Activation):
    """σ(u) = 1/(1 + e^{−u}) = ½ + ½ tanh(u/2), so every formula is that of tanh at u/2."""

    formula = "1/(1 + exp(-u))"
    prox_formula = "2 prox_tanh(2v - 1, z/2; 16w)"
    source = "Zeng, Lin, Yao, Zhou (JMLR 22, 2021), Section 2; the prox is our own algebra"
    traits = frozenset({"smooth", "monotone", "bounded", "analytic", "separable"})
    L0, L1, L2 = 1.0, 1 / 4, 1 / (6 * math.sqrt(3))

    @property
    def majorizer(self) -> Majorizer:
        """Sup σ'² + max|T − ½| sup|σ''|, as (σ − ½)σ'' ≤ 0."""
        return Majorizer(self.L1**2, self.L2, 0.5)

    def value(self, u: Array) -> Array:
        """½(1 + tanh(u/2)), accurate in the tails too."""
        return tanh.gaps(u / 2)[0] / 2

    def derivative(self, u: Array, side: str = "left") -> Array:
        """σ(1 − σ)."""
        above, below = tanh.gaps(u / 2)
        return above * below / 4

    def difference(self, a: Array, b: Array) -> Array:
        """½(tanh(a/2) − tanh(b/2))."""
        return tanh.TanhActivation().difference(a / 2, b / 2) / 2

    def inverse(self, v: Array) -> Array:
        """log(v/(1 − v))."""
        with np.errstate(divide="ignore", invalid="ignore"):
            u: Array = np.log(v / (1 - v))
        return u

    def prox(self, v: Array, z: Array, weight: float) -> Array:
        """Global minimiser, computed in float64."""
        wide = v.astype(np.float64)
        half_z = z.astype(np.float64) / 2
        t = tanh.prox(2 * wide - 1, 2 * wide, 2 * (wide - 1), half_z, 16 * weight)
        return (2 * t).astype(v.dtype)
