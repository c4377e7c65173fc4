"""r(x) = λ₁ Σ|x| + λ₂/2 ‖x‖²."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Regularizer, ScalarTerms, norm, weighted_square, wide


@dataclass(frozen=True)
class ElasticNetRegularizer(Regularizer):
    """r(x) = λ₁ Σ|x| + λ₂/2 ‖x‖², with prox sign(x) max(|x| − τλ₁, 0)/(1 + τλ₂).

    Parameters
    ----------
    lam1, lam2 : float
        The strengths λ₁, λ₂ ≥ 0.
    """

    lam1: float = 1.0
    lam2: float = 1.0

    formula = "λ₁ Σ|x| + λ₂/2 ‖x‖²"
    prox_formula = "sign(x) max(|x| - τλ₁, 0)/(1 + τλ₂)"
    source = "Zou, Hastie (JRSS B 67, 2005)"
    traits = frozenset({"convex", "semialgebraic", "separable"})

    def __post_init__(self) -> None:
        """Refuse negative strengths."""
        super().__post_init__()
        self._nonnegative("lam1", "lam2")

    @property
    def L1(self) -> float:
        """λ₁ where λ₂ = 0."""
        return self.lam1 if self.lam2 == 0 else math.inf

    @property
    def L2(self) -> float:
        """λ₂ where λ₁ = 0."""
        return self.lam2 if self.lam1 == 0 else math.inf

    @property
    def terms(self) -> ScalarTerms:
        """λ₁ and λ₂."""
        return ScalarTerms(l1=self.lam1, ridge=self.lam2)

    def value(self, x: Array) -> float:
        """λ₁ Σ|x| + λ₂/2 ‖x‖²."""
        return self.lam1 * float(np.sum(np.abs(wide(x)))) + weighted_square(self.lam2 / 2, x)

    def difference(self, a: Array, b: Array) -> float:
        """Σ (|a| − |b|)(λ₁ + λ₂/2 (|a| + |b|))."""
        p, q = np.abs(a.astype(np.float64)), np.abs(b.astype(np.float64))
        return float(np.sum((p - q) * (self.lam1 + self.lam2 / 2 * (p + q))))

    def prox(self, x: Array, tau: float) -> Array:
        """sign(x) max(|x| − τλ₁, 0)/(1 + τλ₂)."""
        return np.sign(x) * (np.maximum(np.abs(x) - tau * self.lam1, 0) / (1 + tau * self.lam2))

    def subgradient_distance(self, x: Array, g: Array) -> float:
        """|g + λ₂ x + λ₁ sign x| for x ≠ 0; at 0, max(|g| − λ₁, 0)."""
        g = g.astype(np.float64)
        slope = g + self.lam2 * x + self.lam1 * np.sign(x)
        return float(norm(np.where(x == 0, np.maximum(np.abs(g) - self.lam1, 0), slope)))
