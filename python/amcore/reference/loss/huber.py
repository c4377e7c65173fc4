"""ℓ(v, y) = Σ_k ½r_k² for |r_k| ≤ δ, else δ(|r_k| − δ/2), r = v − y."""

from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Loss, wide


@dataclass(frozen=True)
class HuberLoss(Loss):
    """ℓ(v, y) = Σ_k ½r_k² for |r_k| ≤ δ, else δ(|r_k| − δ/2), r = v − y.

    The prox is (τ y + q)/(1 + τ) for |q − y| ≤ δ(1 + τ), else q ∓ τδ.

    Parameters
    ----------
    delta : float
        Where the parabola becomes linear, δ > 0.
    """

    delta: float = 1.0

    formula = "Σ ½r² if |r| ≤ δ else δ(|r| - δ/2), r = v - y"
    prox_formula = "(τ y + q)/(1 + τ) if |q - y| ≤ δ(1 + τ), else q ∓ τδ"
    source = "Huber (Annals of Mathematical Statistics 35, 1964)"
    traits = frozenset({"smooth", "convex", "semialgebraic", "separable"})
    targets = "real"
    L2 = 1.0

    def __post_init__(self) -> None:
        """Refuse a threshold that is not positive."""
        super().__post_init__()
        if self.delta <= 0:
            raise ValueError(f"delta: expected a number > 0, got {self.delta}")

    @property
    def L1(self) -> float:
        """δ."""
        return self.delta

    def value(self, v: Array, y: Array) -> float:
        """Σ ½s² + δ(|r| − |s|) with s the residual clipped to [−δ, δ]."""
        r = np.abs(wide(v) - y)
        s = np.minimum(r, self.delta)
        return float(np.sum(s * s / 2 + self.delta * (r - s)))

    def gradient(self, v: Array, y: Array) -> Array:
        """Return the residual clipped to [−δ, δ]."""
        return np.clip(wide(v) - y, -self.delta, self.delta).astype(v.dtype)

    def difference(self, a: Array, b: Array, y: Array) -> float:
        """±δ(a − b), less a product of two differences for the share of the parabola."""
        d, p, q = wide(a) - b, wide(a) - y, wide(b) - y
        s, t = np.clip(p, -self.delta, self.delta), np.clip(q, -self.delta, self.delta)
        low, high = np.minimum(p, q), np.maximum(p, q)
        steep = np.where(high > self.delta, self.delta, -self.delta)
        mixed = steep * d - (s - t) * (steep - (s + t) / 2)
        inside = (low >= -self.delta) & (high <= self.delta)
        opposite = (low < -self.delta) & (high > self.delta)
        far = np.sign(p) * self.delta * (p + q)
        return float(np.sum(np.where(inside, d * (p + q) / 2, np.where(opposite, far, mixed))))

    def prox(self, q: Array, y: Array, tau: float) -> Array:
        """Return the minimiser of the parabola, or a step of τδ towards y."""
        start, goal = wide(q), wide(y)
        r = start - goal
        near = (tau * goal + start) / (tau + 1)
        far = start - tau * self.delta * np.sign(r)
        v: Array = np.where(np.abs(r) <= self.delta * (1 + tau), near, far).astype(q.dtype)
        return v
