"""ℓ(v, y) = Σ_k e^{−y_k v_k}."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Loss, wide


@dataclass(frozen=True)
class ExponentialLoss(Loss):
    """ℓ(v, y) = Σ_k e^{−y_k v_k}, y_k = ±1; prox y(m + c), m = y q, c + log c = log τ − m."""

    formula = "Σ exp(-y v)"
    prox_formula = "y·(m + c), m = y q, c + log c = log τ - m"
    source = "Zeng, Lau, Lin, Yao (ICML 2019); the prox is our own algebra"
    traits = frozenset({"smooth", "convex", "analytic", "separable"})
    targets = "sign"

    def value(self, v: Array, y: Array) -> float:
        """Σ e^{−y v}, infinite where that exceeds float64."""
        with np.errstate(over="ignore"):
            return float(np.sum(np.exp(-wide(y * v))))

    def gradient(self, v: Array, y: Array) -> Array:
        """−y e^{−y v}."""
        with np.errstate(over="ignore"):
            gradient: Array = (-y * np.exp(-wide(y * v))).astype(v.dtype)
        return gradient

    def difference(self, a: Array, b: Array, y: Array) -> float:
        """Σ ± the larger value times 1 − e^{−|a − b|}."""
        m, k = wide(y * a), wide(y * b)
        with np.errstate(over="ignore", invalid="ignore"):
            fall = np.exp(-np.minimum(m, k)) * np.expm1(-np.abs(m - k))
        return float(np.sum(np.where(m == k, 0, np.where(m < k, -fall, fall))))

    def prox(self, q: Array, y: Array, tau: float) -> Array:
        """Newton's method, monotone for x = log c where s = log τ − m < 1 and for c elsewhere.

        Where m is far below 0, m + c = log τ − log c is free of cancellation.
        """
        m = wide(y * q)
        s = math.log(tau) - m
        x, c = np.minimum(s, 1), np.maximum(s, 1)
        for _ in range(100):
            e = np.exp(x)
            step_x, next_c = (x + e - np.minimum(s, 1)) / (1 + e), c * (1 + s - np.log(c)) / (1 + c)
            next_c = np.where(s < 1, c, next_c)
            settled = (np.abs(step_x) <= 2e-16 * np.abs(x)) & (np.abs(next_c - c) <= 2e-16 * c)
            x, c = x - step_x, next_c
            if settled.all():
                break
        # One more step, for c = τ e^{−m} e^{−c}: log τ has lost digits of a small c.
        small, half = np.exp(x), np.exp(-np.where(s < 1, m, 0) / 2)
        small = small - (small - half * tau * half * np.exp(-small)) / (1 + small)
        large = np.where(m < 0, math.log(tau) - np.log(c), m + c)
        v: Array = (y * np.where(s < 1, m + small, large)).astype(q.dtype)
        return v
