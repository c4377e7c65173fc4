"""r(x) = λ/2 ‖x‖²."""

from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Regularizer, ScalarTerms, norm, weighted_square, wide


@dataclass(frozen=True)
class RidgeRegularizer(Regularizer):
    """r(x) = λ/2 ‖x‖², with prox x/(1 + λτ).

    Parameters
    ----------
    lam : float
        The strength λ ≥ 0.
    """

    lam: float = 1.0

    formula = "λ/2 ‖x‖²"
    prox_formula = "x/(1 + λτ)"
    source = "Hoerl, Kennard (Technometrics 12, 1970)"
    traits = frozenset({"smooth", "convex", "analytic", "semialgebraic", "separable", "quadratic"})

    def __post_init__(self) -> None:
        """Refuse a negative strength."""
        super().__post_init__()
        self._nonnegative("lam")

    @property
    def L2(self) -> float:
        """λ."""
        return self.lam

    @property
    def terms(self) -> ScalarTerms:
        """λ."""
        return ScalarTerms(ridge=self.lam)

    def value(self, x: Array) -> float:
        """λ/2 ‖x‖²."""
        return weighted_square(self.lam / 2, x)

    def difference(self, a: Array, b: Array) -> float:
        """λ/2 ⟨a − b, a + b⟩."""
        a, b = a.astype(np.float64), b.astype(np.float64)
        return float(self.lam / 2 * np.sum((a - b) * (a + b)))

    def prox(self, x: Array, tau: float) -> Array:
        """x/(1 + λτ)."""
        return x / (1 + self.lam * tau)

    def subgradient_distance(self, x: Array, g: Array) -> float:
        """‖g + λx‖."""
        return float(norm(wide(g) + self.lam * wide(x)))
