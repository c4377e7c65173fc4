"""ℓ(v, y) = Σ_k log(1 + e^{−y_k v_k})."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Loss, wide
from amcore.reference.root import root


@dataclass(frozen=True)
class LogisticLoss(Loss):
    """ℓ(v, y) = Σ_k log(1 + e^{−y_k v_k}), y_k = ±1; the prox y m solves m − y q = τ/(1 + e^m)."""

    formula = "Σ log(1 + exp(-y v))"
    prox_formula = "y·(root m of m - y q = τ/(1 + exp m))"
    source = "Zeng, Lau, Lin, Yao (ICML 2019); the prox is our own algebra"
    traits = frozenset({"smooth", "convex", "analytic", "separable"})
    targets = "sign"
    L1, L2 = 1.0, 1 / 4

    def value(self, v: Array, y: Array) -> float:
        """Σ log(e^0 + e^{−y v})."""
        return float(np.sum(np.logaddexp(0, -wide(y * v))))

    def gradient(self, v: Array, y: Array) -> Array:
        """−y/(1 + e^{y v})."""
        gradient: Array = (-y * _sigmoid(-wide(y * v))).astype(v.dtype)
        return gradient

    def difference(self, a: Array, b: Array, y: Array) -> float:
        """Σ log(1 + (e^{k−m} − 1)/(1 + e^k)), m = y a, k = y b; of the values where far apart."""
        m, k = wide(y * a), wide(y * b)
        near = np.log1p(np.expm1(np.clip(k - m, -1, 1)) * _sigmoid(-k))
        ramps = np.maximum(-m, 0) - np.maximum(-k, 0)
        far = ramps + (np.log1p(np.exp(-np.abs(m))) - np.log1p(np.exp(-np.abs(k))))
        return float(np.sum(np.where(np.abs(m - k) < 1, near, far)))

    def prox(self, q: Array, y: Array, tau: float) -> Array:
        """Safeguarded Newton, in float64, between y q and an upper bound of the root.

        The bound is the least of q + τ and o + c, o = max(q, 0), c e^c ≥ τ e^{−o}.
        """
        low = wide(y * q)
        start = np.maximum(low, 0)
        log_c = math.log(tau) - start
        c = np.where(log_c < 1, np.exp(np.minimum(log_c, 1)), log_c)

        def equation(m: Array) -> tuple[Array, Array]:
            s = _sigmoid(-m)
            return m - low - tau * s, 1 + tau * s * _sigmoid(m)

        high = np.maximum(low, np.minimum(low + tau, start + c))
        v: Array = (y * root(equation, low, high)).astype(q.dtype)
        return v


def _sigmoid(t: Array) -> Array:
    e = np.exp(-np.abs(t))
    sigmoid: Array = np.where(t < 0, e, 1) / (1 + e)
    return sigmoid
