"""Regularised smooth problems, one for every sample, by accelerated proximal gradient steps."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from amcore.reference.operator import Array, Regularizer

Rows: TypeAlias = npt.NDArray[np.intp]


class SmoothPart(Protocol):
    """A smooth function of every sample; `rows` are the samples that x and z hold."""

    def gradient(self, x: Array, rows: Rows) -> Array:
        """∇g(x) by rows."""

    def rise(self, z: Array, x: Array, rows: Rows) -> tuple[Array, Array]:
        """g(z) − g(x) by rows, accurate relative to z − x, and the size of its terms."""


def sample_proximal_gradient(
    X: Array,
    smooth: SmoothPart,
    L: float,
    regularizer: Regularizer,
    tolerance: float,
    iterations: int,
) -> Array:
    """Return argmin over every row x of s(x) + g(x), from the rows of X.

    Accelerated proximal gradient steps (Beck, Teboulle 2009) with restarts (O'Donoghue, Candès
    2015), as in the weight block; every sample has its own momentum, its own step 1/L, L doubled
    where a plain step raises the objective, and its own end, so that it does not matter which
    samples are treated together. No sample's objective rises.
    """
    eps = float(np.finfo(X.dtype).eps)
    best, y = X.copy(), X.copy()
    steep = np.full(len(X), L)
    momentum, first, plain = np.ones(len(X)), np.full(len(X), -1.0), np.ones(len(X), bool)
    active = np.ones(len(X), bool)
    for _ in range(iterations):
        rows: Rows = np.flatnonzero(active).astype(np.intp)
        if rows.size == 0:
            break
        x, ahead, curve = best[rows], y[rows], steep[rows]
        z = ahead - smooth.gradient(ahead, rows) / curve.astype(X.dtype)[:, None]
        for value in np.unique(curve):
            z[curve == value] = regularizer.prox(z[curve == value], 1 / value)
        rise, size = smooth.rise(z, x, rows)
        rest = np.array([regularizer.difference(*pair) for pair in zip(z, x, strict=True)])
        total = rise + rest
        lower = total <= 0

        # Rejected: the next step is a plain one; if this one was, L was too small, or it is done.
        noise = 8 * eps * (size + np.abs(rest))
        rejected, stuck = rows[~lower], plain[rows] & ~lower
        steep[rows[stuck]] *= 2
        active[rows[stuck & np.isfinite(total) & ~(total > noise)]] = False
        y[rejected], momentum[rejected], plain[rejected] = best[rejected], 1.0, True

        kept = rows[lower]
        x, ahead, z = x[lower], ahead[lower], z[lower]
        residual = steep[kept] * np.sqrt(np.sum(np.square(z - ahead, dtype=np.float64), axis=1))
        first[kept] = np.where(first[kept] < 0, residual, first[kept])
        against = np.sum((ahead - z) * (z - x), axis=1, dtype=np.float64) > 0
        now = np.where(against, 1.0, momentum[kept])
        momentum[kept] = (1 + np.sqrt(1 + 4 * now**2)) / 2
        share = (now - 1) / momentum[kept]
        y[kept] = z + share.astype(X.dtype)[:, None] * (z - x)
        plain[kept] = share == 0
        best[kept] = z
        active[kept[residual <= tolerance * first[kept]]] = False
    return best
