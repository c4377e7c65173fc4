"""The law by which a positive sequence falls: geometric, a power, or between the two.

A sequence y_k falls at its end with a time constant τ_k = −1/(d log y/dk). For a geometric sequence
τ is constant, for a power (k + s)^(−1/ξ) it grows like ξ(k + s). Both are one family, τ_k linear in
k with slope ξ:

    log y_k = level − log(1 + ξ (k − K)/τ)/ξ,   τ = τ_K,

with ξ = 0 geometric, ξ > 0 a power, ξ < 0 faster than geometric. All laws that the data do not
exclude are kept, so that the interval of anything that follows from a law is its range over them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_WINDOW", "Law", "Pieces", "averages", "fit", "settle", "slopes"]

Array = NDArray[np.float64]

# Fewer sweeps than this in a window decide nothing.
MIN_WINDOW = 16
# A window is averaged into at most so many points.
_POINTS = 200
# What rounding leaves of a logarithm.
_EXACT = 1e-12
# Windows end at the end; these are the shares of the run at which they start, the longest first.
_STARTS = (0.0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8)


@dataclass(frozen=True)
class Law:
    """The laws that the data of a window do not exclude, the best one first.

    Attributes
    ----------
    first, last : int
        The window: it takes in the values number `first`, …, `last` − 1.
    level, rate, xi : ndarray
        log y at `last`, 1/τ there, and ξ of each law.
    scatter : float
        Root mean square of the residuals of the best one.
    offset : float
        How far a slower component could lift the end of the window, in log y: what the law misses
        there, or the standard error of it.
    lift : tuple of float
        How far the last value lies above the law, in log y, beside the largest residual before the
        last quarter.
    span : ndarray
        log((K + s)/(first + s)) of each law: 0 for a geometric one.
    """

    first: int
    last: int
    level: Array
    rate: Array
    xi: Array
    scatter: float
    offset: float
    lift: tuple[float, float]
    span: Array

    def at(self, k: float) -> Array:
        """Log y at k, by each law."""
        x = self.rate * (k - self.last)
        bend = self.xi * x
        with np.errstate(divide="ignore", invalid="ignore"):
            fall = np.where(np.abs(bend) < 1e-9, x, np.log1p(np.maximum(bend, -1)) / self.xi)
        result: Array = self.level - fall
        return result

    def tail(self, k: float) -> Array:
        """Log of y_k + y_{k+1} + …, by each law; infinite where it does not converge.

        The integral from k − ½, with what a geometric sum has beside it.
        """
        ahead = k - 0.5 - self.last
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            tau = 1 / self.rate + self.xi * ahead
            x = 0.5 / tau
            sinh = np.where(x < 1e-4, 1.0, x / np.sinh(np.minimum(x, 350)))
            sums = self.at(k - 0.5) + np.log(tau / (1 - self.xi) * sinh)
        usable = (self.xi < 1) & (tau > 0) & (self.rate > 0)
        result: Array = np.where(usable, sums, np.inf)
        return result

    def reaches(self, values: Array, start: int) -> int:
        """Return the first sweep from which on all values are within a factor 2 of the best law."""
        pieces = averages(values, start, self.last)
        if pieces is None or not np.isfinite(self.xi[0]):
            return self.first
        x = self.rate[0] * (pieces.k - self.last)
        bend = np.maximum(self.xi[0] * x, -1 + 1e-12)
        straight = abs(self.xi[0]) < 1e-9
        law = self.level[0] - (x if straight else np.log1p(bend) / self.xi[0])
        off = np.flatnonzero(np.abs(pieces.logs - law) > np.log(2))
        if off.size == 0:
            return start
        return min(self.first, math.ceil(float(pieces.k[off[-1]] + pieces.weight[off[-1]] / 2)))


def slopes(law: Law, logs: Array, over: Array | None, first: int) -> Array | None:
    """Rate −d log/dk of another sequence at the end of the window, in the time of each law.

    With `over` the slope d log/d log over in place of it. None where fewer than half of MIN_WINDOW
    values are known.
    """
    used = np.isfinite(logs[first : law.last])
    if over is not None:
        used &= over[first : law.last] > 0
    k = np.flatnonzero(used) + first
    if k.size < MIN_WINDOW // 2:
        return None
    k = k[np.unique(np.linspace(0, k.size - 1, 2000).astype(int))]
    n = law.last - law.first
    z = -_regressor(law.span, (k - law.last) / n) * n if over is None else np.log(over[k])[None, :]
    dz, dy = z - z.mean(axis=1)[:, None], logs[k] - logs[k].mean()
    spread = (dz * dz).sum(axis=1)
    slope = (dz @ dy) / spread
    rest = dy - slope[0] * dz[0]
    points = max(1.0, _independent(rest, np.ones(k.size)) - 2)
    error = 2 * np.sqrt(((rest**2).mean() + _EXACT**2) * k.size / points / spread)
    result: Array = slope[0] + np.concatenate([slope - slope[0], -error, error])
    return result


def fit(pieces: Pieces, first: int, last: int) -> Law:
    """Fit the family to the averages of a window.

    For a given ratio t = log((K + s)/(first + s)) the law is a straight line over
    log(1 + u(k − K))/u; t is found by search. Residuals that follow each other make for fewer
    independent points, so that a law that misses the data in a regular way is not thought certain.
    """
    n, y = float(last - first), pieces.logs
    behind = (pieces.k - last) / n
    w = pieces.weight / pieces.weight.sum()
    most = np.log(n + 1)
    tried = np.linspace(-2.0, most, 41)
    step = float(tried[1] - tried[0])
    found = _lines(tried, behind, y, w)
    for _ in range(4):
        best = tried[np.argmin(found[2])]
        finer = np.clip(best + step * np.linspace(-1, 1, 31), -2.0, most)
        step /= 15
        tried = np.concatenate([tried, finer])
        found = np.concatenate([found, _lines(finer, behind, y, w)], axis=1)
    order = np.argsort(tried, kind="stable")
    tried, (level, slope, rest, spread) = tried[order], found[:, order]
    best_at = int(np.argmin(rest))
    least = float(rest[best_at]) + _EXACT**2

    residual = (
        y - level[best_at] + slope[best_at] * _regressor(tried[best_at : best_at + 1], behind)[0]
    )
    points = _independent(residual, w)
    freedom = max(1.0, points - 3)
    allowed = least * (1 + 4 * (1 + 3 / freedom) ** 2 / freedom)
    kept = rest <= allowed
    # the two beside them are excluded, and are the ends of the interval
    kept |= np.append(kept[1:], False) | np.append(False, kept[:-1])
    kept[best_at] = False
    chosen = np.append(best_at, np.flatnonzero(kept))
    error = 2 * np.sqrt(least / freedom / spread[chosen])
    lines = np.concatenate([slope[chosen], slope[chosen] - error, slope[chosen] + error])
    u = np.tile(-np.expm1(-tried[chosen]), 3)
    # the line turns about its centre
    centre = np.array([(w * z).sum() for z in _regressor(tried[chosen], behind)])
    levels = np.concatenate(
        [level[chosen], level[chosen] - error * centre, level[chosen] + error * centre]
    )
    tail = behind > -0.25
    late = float(np.average(residual[tail], weights=w[tail]))
    offset = abs(late) + 2 * np.sqrt(least / max(1.0, points * float(w[tail].sum())))
    with np.errstate(divide="ignore", invalid="ignore"):
        xi = np.where(lines > 0, u / lines, np.where(u > 0, np.inf, 0.0))
    # the mean of a piece of a falling sequence is above its value in the middle
    half = np.maximum(lines / n, 1e-9) / 2
    above = np.log(np.sinh(np.minimum(pieces.length * half, 300))) - np.log(
        pieces.length * np.sinh(np.minimum(half, 300))
    )
    return Law(
        first,
        last,
        levels - above,
        lines / n,
        xi,
        float(np.sqrt(least)),
        float(offset),
        (float(residual[-1]), float(np.abs(residual[~tail]).max(initial=0.0))),
        np.tile(tried[chosen], 3),
    )


def _regressor(t: Array, behind: Array) -> Array:
    """log(1 + u(k − K))/u for u = 1 − e^(−t), in units of the window; shape (t, k)."""
    u = -np.expm1(-t)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.log1p(np.maximum(u * behind, -1 + 1e-9)) / u
    result: Array = np.where(np.abs(u) < 1e-9, behind[None, :], z)
    return result


def _lines(t: Array, behind: Array, y: Array, w: Array) -> Array:
    """Level, slope, mean squared residual and spread of the regressor, for each t."""
    z = _regressor(t, behind)
    mean_z, mean_y = z @ w, float(y @ w)
    dz, dy = z - mean_z[:, None], y - mean_y
    spread = (dz * dz) @ w
    slope = -((dz * dy) @ w) / spread
    rest = ((dy + slope[:, None] * dz) ** 2) @ w
    result: Array = np.array([mean_y + slope * mean_z, slope, rest, spread])
    return result


def _independent(residual: Array, w: Array) -> float:
    """How many independent points there are, by the correlation of neighbours."""
    scaled = residual * np.sqrt(w)
    total = float(scaled @ scaled) + 1e-300
    rho = min(max(float(scaled[1:] @ scaled[:-1]) / total, 0.0), 0.999)
    return residual.size * (1 - rho) / (1 + rho)


@dataclass(frozen=True)
class Pieces:
    """A window in pieces: middle, mean logarithm and number of sweeps of each.

    The logarithms are those of means over `length` sweeps.
    """

    k: Array
    logs: Array
    weight: Array
    length: int


def averages(values: Array, first: int, last: int) -> Pieces | None:
    """Return a window in pieces; None where it has too few values.

    Where single values are not positive, sums over as few sweeps as make them so are taken, which
    costs as many points. Pieces are short at the start, where a power law bends most.
    """
    window = values[first:last]
    for piece in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64):
        count = window.size // piece
        if count < MIN_WINDOW:
            return None
        begin = window.size - count * piece
        means = window[begin:].reshape(count, piece).mean(axis=1) if piece > 1 else window
        if (means > 0).all():
            break
    else:
        return None
    k = first + begin + piece * np.arange(count) + (piece - 1) / 2
    edges = np.unique((count * np.linspace(0, 1, _POINTS + 1) ** 2).astype(int))
    weight = np.diff(edges).astype(float)
    logs = np.add.reduceat(np.log(means), edges[:-1]) / weight
    return Pieces(np.add.reduceat(k, edges[:-1]) / weight, logs, weight * piece, piece)


def settle(values: Array, start: int, last: int) -> Law | None:
    """Return the law of that window up to `last` which agrees with all shorter ones and tells most.

    None where no window has enough values.
    """
    found: list[Law] = []
    for share in reversed(_STARTS):
        first = start + int(share * (last - start))
        taken = averages(values, first, last) if last - first >= MIN_WINDOW else None
        if taken is None or (found and found[-1].first == first):
            continue
        law = fit(taken, first, last)
        if all(_agree(law, other) for other in found):
            found.append(law)
        elif len(found) > 0:
            break
    return min(found, key=_width) if found else None


def _width(law: Law) -> float:
    """How uncertain the sum of what is to come is."""
    tail = law.tail(law.last)
    return float(np.ptp(tail)) if np.isfinite(tail).all() else np.inf


def _agree(one: Law, other: Law) -> bool:
    """Whether the intervals of rate and ξ meet."""
    return all(
        a.min() <= b.max() and b.min() <= a.max()
        for a, b in ((one.rate, other.rate), (one.xi, other.xi))
    )
