"""ℓ(v, y) = ½‖v − y‖²."""

from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Loss


@dataclass(frozen=True)
class SquaredLoss(Loss):
    """ℓ(v, y) = ½‖v − y‖², with prox (τ y + q)/(1 + τ)."""

    formula = "½‖v - y‖²"
    prox_formula = "(τ y + q)/(1 + τ)"
    source = "Zeng, Lau, Lin, Yao (ICML 2019), Section 2"
    traits = frozenset({"smooth", "convex", "analytic", "semialgebraic", "separable"})
    targets = "real"
    L2 = 1.0

    def value(self, v: Array, y: Array) -> float:
        """½‖v − y‖²."""
        return float(np.sum(np.square(v - y, dtype=np.float64)) / 2)

    def gradient(self, v: Array, y: Array) -> Array:
        """Return v − y."""
        return v - y

    def difference(self, a: Array, b: Array, y: Array) -> float:
        """½⟨a − b, (a − y) + (b − y)⟩."""
        return float(np.sum((a - b) * ((a - y) + (b - y)), dtype=np.float64) / 2)

    def prox(self, q: Array, y: Array, tau: float) -> Array:
        """(τ y + q)/(1 + τ)."""
        return (tau * y + q) / (1 + tau)
