"""Roots of functions of one variable, entry by entry."""

from collections.abc import Callable

import numpy as np

from amcore.reference.operator import Array

__all__ = ["local_minima", "root"]


def root(f: Callable[[Array], tuple[Array, Array]], low: Array, high: Array) -> Array:
    """Return a root of f, f(low) ≤ 0 ≤ f(high), given with its derivative: Newton, else bisect."""
    t, previous, moving = low, np.full_like(low, np.inf), np.ones(low.shape, bool)
    for _ in range(300):
        value, derivative = f(t)
        low, high = np.where(value <= 0, t, low), np.where(value >= 0, t, high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = t - value / derivative
        rounding = 2 * np.finfo(t.dtype).eps * np.abs(t)  # a root at an end may be overshot by it
        settled = np.abs(newton - t) <= rounding
        shrinks = 2 * np.abs(value) <= previous
        trusted = settled | (shrinks & (low - rounding <= newton) & (newton <= high + rounding))
        following = np.where(trusted, np.clip(newton, low, high), (low + high) / 2)
        neighbours = ~trusted & ((following == low) | (following == high))
        t, previous = np.where(moving, following, t), np.abs(value)
        moving &= ~(settled | neighbours | (low == high) | (value == 0))
        if not moving.any():
            break
    return t


def local_minima(
    slope: Callable[[Array], tuple[Array, Array]], low: Array, high: Array, p1: Array, p2: Array
) -> tuple[Array, Array]:
    """Return the first and the second minimum of h in [low, high]; equal where there is but one.

    h' is given with its derivative; it is ≤ 0 at `low`, ≥ 0 at `high`, and increasing but for one
    interval (p1, p2), empty where p1 = p2: there is at most one minimum on either side of it.
    """
    p1, p2 = np.clip(p1, low, high), np.clip(p2, low, high)
    left, right = slope(p1)[0] >= 0, slope(p2)[0] <= 0
    neither = ~left & ~right  # only by rounding, where (p1, p2) is tiny: the root is in it
    first = root(slope, low, np.where(left, p1, low))
    second = root(slope, np.where(neither, p1, p2), np.where(neither, p2, high))
    return np.where(left, first, second), np.where(right | neither, second, first)
