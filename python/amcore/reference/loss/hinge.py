"""ℓ(v, y) = Σ_k max(0, 1 − y_k v_k)."""

from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Loss, norm


@dataclass(frozen=True)
class HingeLoss(Loss):
    """ℓ(v, y) = Σ_k max(0, 1 − y_k v_k), y_k = ±1; with m = y q the prox is y(m, m + τ or 1)."""

    formula = "Σ max(0, 1 - y v)"
    prox_formula = "y·(m if m ≥ 1; m + τ if m ≤ 1 - τ; else 1), m = y q"
    source = "Zeng, Lau, Lin, Yao (ICML 2019), Lemma 14"
    traits = frozenset({"piecewise_linear", "convex", "semialgebraic", "separable"})
    targets = "sign"
    L1 = 1.0

    def value(self, v: Array, y: Array) -> float:
        """Σ max(0, 1 − y v)."""
        return float(np.sum(np.maximum(0, 1 - y * v), dtype=np.float64))

    def gradient(self, v: Array, y: Array) -> Array:
        """−y where y v < 1, else 0."""
        return np.where(y * v < 1, -y, 0 * y)

    def derivatives(self, v: Array, y: Array) -> tuple[Array, Array]:
        """−y and 0 in their order where y v = 1, else the gradient."""
        m, gradient = y * v, self.gradient(v, y)
        left, right = np.minimum(-y, 0), np.maximum(-y, 0)
        return np.where(m == 1, left, gradient), np.where(m == 1, right, gradient)

    def difference(self, a: Array, b: Array, y: Array) -> float:
        """−y(a − b) where both violate the margin; else the values are that accurate."""
        slack_a, slack_b = 1 - y * a, 1 - y * b
        apart = np.maximum(0, slack_a) - np.maximum(0, slack_b)
        both = (slack_a > 0) & (slack_b > 0)
        return float(np.sum(np.where(both, y * (b - a), apart), dtype=np.float64))

    def prox(self, q: Array, y: Array, tau: float) -> Array:
        """Move by τ towards the margin, not beyond it."""
        m = y * q
        return y * np.where(m >= 1, m, np.where(m > 1 - tau, 1, m + tau))

    def subgradient_distance(self, v: Array, y: Array, g: Array, scale: float = 1.0) -> float:
        """dist(0, g − scale·y·[0, 1]) at y v = 1, where the subdifferential is an interval."""
        m, slope = y * v, y * g
        at_kink = np.maximum(0, np.maximum(slope - scale, -slope))
        off_kink = np.where(m < 1, slope - scale, slope)
        return float(norm(np.where(m == 1, at_kink, off_kink)))
