"""Whether dist(0, ∂f) tends to 0, by its own trend."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amcore.analysis.decrease import MIN_CHECKED
from amcore.analysis.readings import distance_floor
from amcore.analysis.verdict import Verdict
from amcore.trace import Trace

__all__ = ["critical"]

Array = NDArray[np.float64]

# A limit of the distance below this share of its largest value since the transient is 0.
SMALL = 1e-3
# The distance has changed by less than this factor over the last half: it stays.
STAYS = 1.1
# f that falls by less than this share of its whole fall over the last half is flat.
FLAT = 1e-3


def critical(trace: Trace, since: int | None) -> Verdict:
    """Judge whether g_k → 0: an accumulation point is critical if and only if f there is f*.

    Three medians of g at sweeps in equal ratio (or in equal steps) extrapolate to its limit, which
    is 0 for a power (or a geometric law) and g itself for a stall.

    Parameters
    ----------
    trace : Trace
        The run.
    since : int or None
        The sweep at which its transient ends; None where no law says so: the first eighth of the
        run is then taken for it.
    """
    g = trace.subgradient_distance
    known = np.flatnonzero(np.isfinite(g))
    if known.size < MIN_CHECKED:
        return Verdict("undecided", "dist(0, ∂f) was measured at too few sweeps")
    name = "the bound of dist(0, ∂f)" if trace.distance_is_bound else "dist(0, ∂f)"
    values, last = g[known], float(g[known[-1]])
    end = float(np.median(values[-max(3, values.size // 32) :]))
    floor = distance_floor(trace)
    if last == 0 or (end <= 8 * floor and end < SMALL * values.max()):
        return Verdict("holds", f"{name} is 0 to rounding from {values.max():.3g} at its largest")
    begins = known[values.size // 8] if since is None else min(since, known[values.size // 2])
    most = float(values[known >= begins].max())
    limit = max(_limit(values, known), 0.0)
    falls = f"{name} has come down to {last:.3g}, from {most:.3g} since the transient"
    half = values[values.size // 2 :]
    middle = float(np.median(half[: max(3, half.size // 8)]))
    if limit <= SMALL * most and end <= SMALL * most and end < middle / STAYS:
        return Verdict("holds", f"{falls}, and still falls")
    f = trace.objective
    at = known[values.size // 2]
    flat = abs(float(f[at] - f[-1])) <= FLAT * float(np.ptp(f))
    steady = middle / STAYS <= end <= middle * STAYS and end > 1e3 * floor
    if flat and steady and float(np.ptp(f)) > 0:
        return Verdict(
            "undecided" if trace.distance_is_bound else "fails",
            f"f is flat while {name} stays at {last:.3g}: the run stalls where it is not critical",
        )
    return Verdict(
        "undecided",
        f"{falls}; a limit of 0 would show once it is {SMALL:g} of that and still falling",
    )


def _limit(values: Array, known: NDArray[np.intp]) -> float:
    """Return the smaller limit of g that a power law and a geometric one extrapolate to."""
    n = values.size
    width = max(1, n // 32)

    def extrapolated(*middles: int) -> float:
        one, two, three = (
            float(np.median(values[max(0, m - width) : m + width + 1])) for m in middles
        )
        bend = (three - two) - (two - one)
        return (
            three - (three - two) * ((three - two) / bend)
            if bend > 0 and three < two < one
            else three
        )

    ends = n - 1 - width
    return min(
        extrapolated(ends // 4, ends // 2, ends), extrapolated(ends - n // 4, ends - n // 8, ends)
    )
