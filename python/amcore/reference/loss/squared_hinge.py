"""ℓ(v, y) = Σ_k max(0, 1 − y_k v_k)²."""

from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Loss, wide


@dataclass(frozen=True)
class SquaredHingeLoss(Loss):
    """ℓ(v, y) = Σ_k max(0, 1 − y_k v_k)², y_k = ±1: the margin's violation squared, without ½."""

    formula = "Σ max(0, 1 - y v)²"
    prox_formula = "y·(m if m ≥ 1, else (m + 2τ)/(1 + 2τ)), m = y q"
    source = "Chang, Hsieh, Lin (JMLR 9, 2008); the prox is our own algebra"
    traits = frozenset({"smooth", "convex", "semialgebraic", "separable"})
    targets = "sign"
    L2 = 2.0

    def value(self, v: Array, y: Array) -> float:
        """Σ max(0, 1 − y v)²."""
        return float(np.sum(np.square(_slack(v, y))))

    def gradient(self, v: Array, y: Array) -> Array:
        """−2y max(0, 1 − y v)."""
        gradient: Array = (-2 * y * _slack(v, y)).astype(v.dtype)
        return gradient

    def difference(self, a: Array, b: Array, y: Array) -> float:
        """Σ (p − q)(p + q) for the violations p, q; where both are positive p − q = y(b − a)."""
        p, q = _slack(a, y), _slack(b, y)
        apart = y * (wide(b) - a)
        return float(np.sum(np.where((p > 0) & (q > 0), apart, p - q) * (p + q)))

    def prox(self, q: Array, y: Array, tau: float) -> Array:
        """Return q where the margin is kept, else the minimiser of the parabola."""
        m = y * q
        return y * np.where(m >= 1, m, (m + 2 * tau) / (1 + 2 * tau))


def _slack(v: Array, y: Array) -> Array:
    slack: Array = np.maximum(0, 1 - wide(y * v))
    return slack
