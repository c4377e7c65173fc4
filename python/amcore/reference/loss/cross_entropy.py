"""ℓ(v, y) = log Σ_k exp v_k − ⟨y, v⟩."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Loss


@dataclass(frozen=True)
class CrossEntropyLoss(Loss):
    """ℓ(v, y) = −⟨y, log softmax(v)⟩ for y a probability vector (a class as its indicator).

    Its prox solves v = q − τ(p − y), p = softmax(v). With L = log Σ exp v and the excess e = p − y,
    every class has its own scalar equation

        log(y_k + e_k) + τ e_k = q_k − L,

    whose root e_k(L) is decreasing and convex; what is left is one equation Σ e_k(L) = 0.
    """

    formula = "log Σ exp v - ⟨y, v⟩"
    prox_formula = "root of v - q + τ(softmax(v) - y)"
    source = "softmax cross-entropy; the prox is our own algebra"
    traits = frozenset({"smooth", "convex", "analytic"})
    targets = "distribution"
    L1, L2 = math.sqrt(2), 1 / 2

    def value(self, v: Array, y: Array) -> float:
        """Σ_j log Σ exp v − ⟨y, v⟩, as Σ log Σ exp(v − max v) − ⟨y, v − max v⟩."""
        v = (v - v.max(axis=1, keepdims=True)).astype(np.float64)
        return float(np.sum(_log_sum(v) - (y * v).sum(axis=1)))

    def gradient(self, v: Array, y: Array) -> Array:
        """softmax(v) − y."""
        return _softmax(v) - y

    def difference(self, a: Array, b: Array, y: Array) -> float:
        """Σ_j log(1 + Σ softmax(b)(e^{a−b} − 1)) − ⟨y, a − b⟩."""
        a, b = a.astype(np.float64), b.astype(np.float64)
        growth = (_softmax(b) * np.expm1(np.minimum(a - b, 1))).sum(axis=1)
        near = (np.abs(a - b) < 0.5).all(axis=1)
        rise = np.where(near, np.log1p(np.maximum(growth, -0.5)), _log_sum(a) - _log_sum(b))
        return float(np.sum(rise - (y * (a - b)).sum(axis=1)))

    def prox(self, q: Array, y: Array, tau: float) -> Array:
        """Newton's method for L from the left, where it is monotone; computed in float64."""
        q_, y_ = q.astype(np.float64), y.astype(np.float64)
        log_sum = (q_ - tau * (1 - y_)).max(axis=1, keepdims=True)
        for _ in range(100):
            excess = _excess(q_ - log_sum, y_, tau)
            p = y_ + excess
            step = excess.sum(axis=1) / (p / (1 + tau * p)).sum(axis=1)
            log_sum += step[:, None]
            if (np.abs(step) <= 4e-16 * np.maximum(1, np.abs(log_sum[:, 0]))).all():
                break
        v: Array = (q_ - tau * _excess(q_ - log_sum, y_, tau)).astype(q.dtype)
        return v


def _log_sum(v: Array) -> Array:
    top = v.max(axis=1)
    log_sum: Array = top + np.log(np.exp(v - top[:, None]).sum(axis=1))
    return log_sum


def _softmax(v: Array) -> Array:
    e = np.exp(v - v.max(axis=1, keepdims=True))
    p: Array = e / e.sum(axis=1, keepdims=True)
    return p


def _excess(s: Array, y: Array, tau: float) -> Array:
    """Return the root e of log(y + e) + τe = s.

    In m = log(y + e) − log y, or m = log e where y = 0, this is m + A(e^m − 1) = B or m + Ae^m = B:
    convex and increasing, so Newton's method is monotone from the right. It starts from the bounds
    e^z for z < 1 and z for z ≥ 1 of the root x = Ae^m of x + log x = z.
    """
    inside = y > 0
    scale = np.where(inside, y, 1)
    A, B = tau * scale, s - np.log(scale)
    z = B + np.where(inside, A, 0) + np.log(A)
    m = np.where(z < 1, z, np.log(np.maximum(z, 1))) - np.log(A)
    for _ in range(60):
        power, less_1 = np.exp(m), np.expm1(m)
        step = (m - B + A * np.where(inside, less_1, power)) / (1 + A * power)
        m = m - step
        if (np.abs(step) <= 4e-16 * np.abs(m)).all():
            break
    excess: Array = scale * np.where(inside, np.expm1(m), np.exp(m))
    return excess
