"""The W-block: a ridge regression of the pre-activations on the layer's input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from amcore.reference.operator import Array


def ridge_update(
    U: Array,
    V: Array,
    W: Array,
    b: Array | None,
    rho: float,
    alpha: float,
    lam: float,
    total: Callable[[Array], Array] = np.asarray,
) -> tuple[Array, Array | None, float]:
    """Return argmin ρ/2‖U − V Wᵀ − b‖² + λ/2‖W‖² + α/2‖(W, b) − (W, b)⁰‖² and the decrease.

    As a correction of the old value: with Ṽ = [V, 1], W̃ = [W, b], R = U − Ṽ W̃⁰ᵀ and
    E = diag(1, …, 1, 0),

        (W̃ − W̃⁰)(ρ ṼᵀṼ + αI + λE) = ρ RᵀṼ − λ W̃⁰E.

    Source: Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2; the joint update of b and the correction
    form are our own algebra. Computed in float64; `total` adds an array over all processes.
    """
    inputs = V.astype(np.float64)
    old = W.astype(np.float64)
    if b is not None:
        inputs, old = np.column_stack([inputs, np.ones(len(V))]), np.column_stack([old, b])
    penalty = np.ones(inputs.shape[1])
    if b is not None:
        penalty[-1] = 0
    residual = U - inputs @ old.T
    rhs = rho * total(residual.T @ inputs) - lam * old * penalty
    matrix = rho * total(inputs.T @ inputs) + np.diag(alpha + lam * penalty)
    factor = np.linalg.cholesky(matrix)
    step = np.linalg.solve(factor.T, np.linalg.solve(factor, rhs.T)).T
    decrease = float(np.vdot(step, rhs) / 2 + alpha / 2 * np.vdot(step, step))
    new = (old + step).astype(W.dtype)
    return (new, None, decrease) if b is None else (new[:, :-1], new[:, -1], decrease)
