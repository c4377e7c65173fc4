"""r(x) = λ Σ|x|."""

from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Regularizer, ScalarTerms, norm


@dataclass(frozen=True)
class L1Regularizer(Regularizer):
    """r(x) = λ Σ|x|, with prox the soft threshold sign(x) max(|x| − τλ, 0).

    Parameters
    ----------
    lam : float
        The strength λ ≥ 0.
    """

    lam: float = 1.0

    formula = "λ Σ|x|"
    prox_formula = "sign(x) max(|x| - τλ, 0)"
    source = "Tibshirani (JRSS B 58, 1996)"
    traits = frozenset({"piecewise_linear", "convex", "semialgebraic", "separable"})

    def __post_init__(self) -> None:
        """Refuse a negative strength."""
        super().__post_init__()
        self._nonnegative("lam")

    @property
    def L1(self) -> float:
        """λ."""
        return self.lam

    @property
    def terms(self) -> ScalarTerms:
        """λ."""
        return ScalarTerms(l1=self.lam)

    def value(self, x: Array) -> float:
        """λ Σ|x|."""
        return float(self.lam * np.sum(np.abs(x), dtype=np.float64))

    def difference(self, a: Array, b: Array) -> float:
        """λ Σ (|a| − |b|)."""
        return float(self.lam * np.sum(np.abs(a.astype(np.float64)) - np.abs(b)))

    def prox(self, x: Array, tau: float) -> Array:
        """sign(x) max(|x| − τλ, 0)."""
        return np.sign(x) * np.maximum(np.abs(x) - tau * self.lam, 0)

    def subgradient_distance(self, x: Array, g: Array) -> float:
        """|g + λ sign x| for x ≠ 0; at 0, where the subdifferential is [−λ, λ], max(|g| − λ, 0)."""
        g = g.astype(np.float64)
        apart = np.where(x == 0, np.maximum(np.abs(g) - self.lam, 0), g + self.lam * np.sign(x))
        return float(norm(apart))
