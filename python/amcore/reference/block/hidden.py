"""The V-block of a hidden layer: a strongly convex least-squares problem for every sample."""

from __future__ import annotations

import numpy as np

from amcore.reference.operator import Array


def hidden_update(S: Array, U: Array, W: Array, b: Array | None, gamma: float, rho: float) -> Array:
    """argmin_V γ/2‖V − S‖² + ρ/2‖U − V Wᵀ − b‖², W and U those of the next layer.

    V = S + (U − b − S Wᵀ) K with K = ((γ/ρ)I + W Wᵀ)⁻¹ W = W ((γ/ρ)I + WᵀW)⁻¹; the smaller matrix
    is factorised, in float64.

    Source: Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2, in Woodbury's form.
    """
    residual = U - S @ W.T if b is None else U - S @ W.T - b
    rows, columns = W.shape
    wide, ratio = W.astype(np.float64), gamma / rho
    if rows <= columns:
        K = np.linalg.solve(wide @ wide.T + ratio * np.eye(rows), wide)
    else:
        K = np.linalg.solve(wide.T @ wide + ratio * np.eye(columns), wide.T).T
    return S + residual @ K.astype(W.dtype)
