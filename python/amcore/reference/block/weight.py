"""The W-block: a regularised regression of the pre-activations on the layer's input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from amcore.reference.block.spd_solve import cholesky
from amcore.reference.operator import Array, Regularizer


def ridge_update(
    U: Array,
    V: Array,
    W: Array,
    b: Array | None,
    rho: float,
    alpha: float,
    lam: float,
    total: Callable[[Array], Array] = np.asarray,
    *,
    anchor: Array | None = None,
) -> tuple[Array, Array | None, float]:
    """Return argmin ρ/2‖U − V Wᵀ − b‖² + λ/2‖W‖² + α/2‖(W, b) − (W, b)⁰‖² and the decrease.

    As a correction of the old value: with Ṽ = [V, 1], W̃ = [W, b], R = U − Ṽ W̃⁰ᵀ and
    E = diag(1, …, 1, 0),

        (W̃ − W̃⁰)(ρ ṼᵀṼ + αI + λE) = ρ RᵀṼ − λ W̃⁰E.

    Source: Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2; the joint update of b and the correction
    form are our own algebra. Computed in float64; `total` adds an array over all processes. With
    an `anchor` [W, b] the α-term is the distance from that instead of from (W, b)⁰; the decrease
    is that of the rest only without it.
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
    if anchor is not None:
        rhs -= alpha * (old - anchor)
    matrix = rho * total(inputs.T @ inputs) + np.diag(alpha + lam * penalty)
    factor = cholesky(matrix, "weights", "W")
    step = np.linalg.solve(factor.T, np.linalg.solve(factor, rhs.T)).T
    decrease = float(np.vdot(step, rhs) / 2 + alpha / 2 * np.vdot(step, step))
    new = (old + step).astype(W.dtype)
    return (new, None, decrease) if b is None else (new[:, :-1], new[:, -1], decrease)


def proximal_update(
    U: Array,
    V: Array,
    W: Array,
    b: Array | None,
    rho: float,
    alpha: float,
    regularizer: Regularizer,
    tolerance: float,
    iterations: int,
    total: Callable[[Array], Array] = np.asarray,
    *,
    anchor: Array | None = None,
) -> tuple[Array, Array | None, float]:
    """Return argmin r(W) + ρ/2‖U − V Wᵀ − b‖² + α/2‖(W, b) − (W, b)⁰‖² and the decrease.

    Proximal gradient steps on the Gram data of `ridge_update`, H = ρ ṼᵀṼ + αI and R = ρ RᵀṼ, from
    which the bias is eliminated: for a given step D of W the best one of b is
    (R_b − D H_b)/H_bb, which leaves the Schur complement H' = H_WW − H_b H_bᵀ/H_bb and
    R' = R_W − R_b H_bᵀ/H_bb.
    """
    inputs = V if b is None else np.column_stack([V, np.ones(len(V), V.dtype)])
    old = W if b is None else np.column_stack([W, b])
    rhs = rho * total((U - inputs @ old.T).T @ inputs)
    if anchor is not None:
        rhs -= alpha * (old - anchor)
    matrix = rho * total(inputs.T @ inputs) + alpha * np.eye(inputs.shape[1])
    if b is None:
        schur, reduced = matrix, rhs
    else:
        border, corner = matrix[:-1, -1], matrix[-1, -1]
        schur = matrix[:-1, :-1] - np.outer(border, border) / corner
        reduced = rhs[:, :-1] - np.outer(rhs[:, -1], border) / corner
    new = proximal_gradient(schur, reduced, W, regularizer, tolerance, iterations)

    D = new - W
    step = D if b is None else np.column_stack([D, (rhs[:, -1] - D @ border) / corner])
    fall = np.vdot(step, rhs) - np.vdot(step, step @ matrix) / 2 + alpha / 2 * np.vdot(step, step)
    decrease = float(fall) + regularizer.difference(W, new)
    return new, None if b is None else b + step[:, -1], decrease


def proximal_gradient(
    H: Array,
    R: Array,
    X: Array,
    regularizer: Regularizer,
    tolerance: float,
    iterations: int,
) -> Array:
    """Return argmin over X + D of r(X + D) + ½⟨D, D H⟩ − ⟨D, R⟩.

    Accelerated proximal gradient steps (Beck, Teboulle 2009) with restarts (O'Donoghue, Candès
    2015), where a step would raise the objective or goes against the momentum; until the residual
    of the prox-gradient step is `tolerance` times that of the first one. The objective never rises.
    """
    L = 1.02 * largest_eigenvalue(H)
    best, d = X, np.zeros_like(X)
    y = d
    momentum, first = 1.0, None
    for _ in range(iterations):
        point = regularizer.prox(X + y - (y @ H - R) / L, 1 / L)
        z = point - X
        smooth = float(np.vdot(z - d, (d + z) @ H / 2 - R))
        rest = regularizer.difference(point, best)
        if not smooth + rest <= 0:
            if y is d:
                few = 8 * np.finfo(np.float64).eps
                if not smooth + rest > few * (abs(smooth) + abs(rest)):
                    break
                L *= 2
            y, momentum = d, 1.0
            continue
        residual = L * float(np.linalg.norm(z - y))
        first = residual if first is None else first
        if np.vdot(y - z, z - d) > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        share, momentum = (momentum - 1) / following, following
        y = z + share * (z - d) if share else z
        best, d = point, z
        if residual <= tolerance * first:
            break
    return best


def largest_eigenvalue(H: Array) -> float:
    """Estimate from below by power iteration; 0 of H = 0."""
    v: Array = 1 + 0.5 * np.sin(np.arange(1, len(H) + 1))
    for _ in range(30):
        v = H @ (v / np.linalg.norm(v))
        if not v.any():
            break
    return float(np.linalg.norm(v))
