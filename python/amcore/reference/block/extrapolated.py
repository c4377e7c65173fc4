"""Blocks that take one extrapolated proximal gradient step, which must lower the objective.

From B = x + ω(x − x_old) a step of the majorised problem is accepted only if the objective falls by
at least δ/2‖x⁺ − x‖²; else the step is redone from B = x. Where rounding lets even that one rise,
the block stays. Source: Wang, Li, Zhao (Neurocomputing 2022), Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from amcore.reference.block.weight import largest_eigenvalue
from amcore.reference.operator import Array, Regularizer

SQUARINGS = 6


def extrapolated_weight_update(
    Z: Array,
    A: Array,
    W: Array,
    b: Array | None,
    step: tuple[Array, Array | None] | None,
    rho: float,
    delta: float,
    regularizer: Regularizer,
    total: Callable[[Array], Array] = np.asarray,
) -> tuple[Array, Array | None, float]:
    """One step on r(W) + ρ/2‖Z − A Wᵀ − b‖² from (W, b) + `step`; return (W, b)⁺, the decrease.

    With Ã = [A, 1], H = ρ ÃᵀÃ and R = ρ (Z − Ã(W, b)ᵀ)ᵀÃ the step is

        (W, b)⁺ = prox_{r/θ}((W, b) + D + (R − D H)/θ),

    D the extrapolation; θ is an estimate of the largest eigenvalue of H, doubled until the
    quadratic model majorises at the point reached: ⟨E, E H⟩ ≤ θ‖E‖² for E = (W, b)⁺ − (W, b) − D.
    Computed in float64; `total` adds an array over all processes.
    """
    inputs = A.astype(np.float64)
    if b is not None:
        inputs = np.column_stack([inputs, np.ones(len(A))])
    old = _joined(W, b)
    rhs = rho * total((Z - inputs @ old.T).T @ inputs)
    H = rho * total(inputs.T @ inputs)
    columns = W.shape[1]
    theta = 1.02 * largest_eigenvalue(H) or rho

    def step_from(D: Array, theta: float) -> tuple[Array, Array | None, float, float]:
        DH = D @ H
        while True:
            point = (old + D + (rhs - DH) / theta).astype(W.dtype)
            new = regularizer.prox(point[:, :columns], 1 / theta)
            bias = None if b is None else point[:, columns]
            moved = _joined(new, bias) - old
            E = moved - D
            EH = E @ H
            if not np.vdot(E, EH) > theta * np.vdot(E, E):
                break
            theta *= 2
        fall = float(np.vdot(moved, rhs - (DH + EH) / 2)) + regularizer.difference(W, new)
        return new, bias, fall, float(np.vdot(moved, moved))

    if step is not None:
        new, bias, fall, squared = step_from(_joined(*step), theta)
        if fall >= delta / 2 * squared:
            return new, bias, fall
    new, bias, fall, _ = step_from(np.zeros_like(old), theta)
    return (W, b, 0.0) if fall < 0 else (new, bias, fall)


def _joined(W: Array, b: Array | None) -> Array:
    """(W, b) as one matrix in float64."""
    return W.astype(np.float64) if b is None else np.column_stack([W, b]).astype(np.float64)


def extrapolated_hidden_update(
    A: Array,
    step: Array | None,
    interval: tuple[Array, Array],
    residual: Array,
    W: Array,
    rho: float,
    delta: float,
) -> tuple[Array, Array]:
    """One step on ρ/2‖Z − A Wᵀ − b‖² over an interval from A + `step`; return A⁺, the decrease.

    `interval` holds the least and largest A by entries, the old values among them; `residual` is
    E = Z − A Wᵀ − b. The problem is separable over the samples, and so are the decisions; the
    decrease is returned sample by sample. With τ ≥ ρ λ_max(WᵀW)

        A⁺ = clip(A + D + ρ(E − D Wᵀ)W/τ, *interval).
    """
    tau = rho * eigenvalue_bound(W @ W.T if len(W) <= W.shape[1] else W.T @ W) or rho

    def step_from(D: Array) -> tuple[Array, Array]:
        new = np.clip(A + (D + rho / tau * ((residual - D @ W.T) @ W)), *interval)
        through = (new - A) @ W.T
        rows: Array = through * (2 * residual - through)
        return new, rho / 2 * rows.sum(axis=1, dtype=np.float64)

    plain, plain_fall = step_from(np.zeros_like(A))
    stays = plain_fall < 0
    plain, plain_fall = np.where(stays[:, None], A, plain), np.where(stays, 0, plain_fall)
    if step is None:
        return plain, plain_fall
    new, fall = step_from(step)
    enough = fall >= delta / 2 * np.sum(np.square(new - A), axis=1, dtype=np.float64)
    return np.where(enough[:, None], new, plain), np.where(enough, fall, plain_fall)


def eigenvalue_bound(M: Array) -> float:
    """Upper bound ‖M^p‖^{1/p} of the largest eigenvalue of M ≥ 0, p = 2^6.

    It exceeds the eigenvalue by a factor of at most d^{1/(2p)}, d the size of M.
    """
    power = M.astype(np.float64)
    size = float(np.linalg.norm(power))
    if not size > 0:
        return size
    bound, exponent = size, 1.0
    power = power / size
    for _ in range(SQUARINGS):
        power = power @ power
        exponent /= 2
        norm = float(np.linalg.norm(power))
        bound *= norm**exponent
        power = power / norm
    return bound
