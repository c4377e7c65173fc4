"""The V-block of a hidden layer: a strongly convex least-squares problem for every sample."""

from __future__ import annotations

import numpy as np

from amcore.reference.operator import Array


def hidden_update(S: Array, U: Array, W: Array, b: Array | None, gamma: float, rho: float) -> Array:
    """argmin_V γ/2‖V − S‖² + ρ/2‖U − V Wᵀ − b‖², W and U those of the next layer.

    V = S + (U − b − S Wᵀ) K with K = ((γ/ρ)I + W Wᵀ)⁻¹ W = W ((γ/ρ)I + WᵀW)⁻¹; the smaller matrix
    is factorised. Source: Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2, in Woodbury's form.
    """
    residual = U - S @ W.T if b is None else U - S @ W.T - b
    rows, columns = W.shape
    ratio = gamma / rho
    if rows <= columns:
        K = np.linalg.solve(W @ W.T + ratio * np.eye(rows, dtype=W.dtype), W)
    else:
        K = np.linalg.solve(W.T @ W + ratio * np.eye(columns, dtype=W.dtype), W.T).T
    return S + residual @ K
