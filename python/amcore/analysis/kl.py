"""The Kurdyka–Łojasiewicz inequality along a trace, and how f_k falls to its limit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amcore import _checks
from amcore.analysis.decay import (
    Cut,
    Decay,
    backtest,
    gap_to,
    name_decay,
    octaves,
    remainder_of,
    widened,
)
from amcore.analysis.decrease import remaining_decrease
from amcore.analysis.law import MIN_WINDOW, Law, settle, slopes
from amcore.analysis.readings import distance_floor, resolution, rounding_floor
from amcore.analysis.verdict import Verdict
from amcore.trace import RISE, Trace

__all__ = ["Decay", "KLFit", "fit_kl"]

Array = NDArray[np.float64]
Interval = tuple[float, float]

# Decreases this far above the rounding floor are known to a per cent.
CLEAR = 100.0
# The distance has come down so far on one law that its limit is near; so far that a slower mode
# would have shown.
NEAR, DEEP = 1e3, 1e6
# … unless the law is followed so closely that a slower mode is excluded, to this share.
CERTAIN = 0.02
# What is said of a limit should hold in a run so many times as long.
LONGER = 10


@dataclass(frozen=True)
class KLFit:
    """The KL inequality (f_k − f*)^θ ≤ c g_k along a trace; an estimate, valid along it.

    Attributes
    ----------
    theta, theta_interval : float, tuple or None
        The exponent, with a 95 % interval that takes in the uncertainty of f*; None where the
        inequality is undecided.
    c : float or None
        The smallest constant for which the inequality holds on the window with `theta`, for every
        f* of its interval.
    f_star, f_star_interval : float or None, tuple or None
        The limit of f_k.
    remainder, remainder_interval : float or None, tuple or None
        f_K − f*, known more accurately than either of them.
    f_star_given : bool
        Whether the limit was given.
    window : tuple of int
        First and last sweep that the fit uses: from the first on the decreases follow the law.
    decay : Decay
        The law by which f_k falls.
    verdict : Verdict
        Whether an exponent was found.
    backtest : tuple of (int, float)
        Sweeps at which the run was cut, and the remainder that its beginning predicted there over
        the one that the whole run gives.
    gap, gap_most : ndarray
        f_k − f* for every k, from tail sums of the decreases, and the upper end of its interval.
    """

    theta: float | None
    theta_interval: Interval | None
    c: float | None
    f_star: float | None
    f_star_interval: Interval | None
    remainder: float | None
    remainder_interval: Interval | None
    f_star_given: bool
    window: tuple[int, int]
    decay: Decay
    verdict: Verdict
    backtest: tuple[tuple[int, float], ...] = ()
    gap: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    gap_most: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)

    def constant(self, theta: float, g: Array) -> float:
        """Return the smallest c for which (f_k − f*)^θ ≤ c g_k on the window, whatever f* is."""
        first, last = self.window
        gap, distance = self.gap_most[first : last + 1], g[first : last + 1]
        used = (gap > 0) & (distance > 0) & np.isfinite(distance)
        logs = theta * np.log(gap[used]) - np.log(distance[used])
        return float(np.exp(min(700.0, np.max(logs))))

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as plain data."""
        return {
            "theta": {
                "estimate": self.theta,
                "interval": list(self.theta_interval) if self.theta_interval else None,
            },
            "c": self.c,
            "f_star": self.f_star,
            "f_star_interval": list(self.f_star_interval) if self.f_star_interval else None,
            "f_star_given": self.f_star_given,
            "remainder": self.remainder,
            "remainder_interval": (
                list(self.remainder_interval) if self.remainder_interval else None
            ),
            "window": list(self.window),
            "decay": {each.name: _plain(getattr(self.decay, each.name)) for each in fields(Decay)},
            "backtest": [{"sweep": k, "predicted": ratio} for k, ratio in self.backtest],
        }


def fit_kl(trace: Trace, f_star: float | None = None, lower_bound: float = -math.inf) -> KLFit:
    """Estimate the KL exponent and constant at the limit of a run.

    The limit f* is that of the trace's decreases: their tail sums, which stay accurate far below
    the rounding of f, and a remainder by the law that the decreases follow. The run's own past says
    how far that law can be trusted: the window is cut, the law of its beginning predicts what
    remains, and the error widens the intervals.

    Parameters
    ----------
    trace : Trace
        The run.
    f_star : float, optional
        The limit of the objective, if it is known.
    lower_bound : float, optional
        A number that f is never below, such as 0.

    Returns
    -------
    KLFit

    Raises
    ------
    TypeError
        If `trace` is not a trace or `f_star` no number.
    ValueError
        If the trace is empty, or `f_star` is not finite or above the last objective.

    References
    ----------
    Xu, Bao, Xing (2022), definition of the KL property; the estimate is our own.

    Examples
    --------
    Gradient descent on x⁴, whose exponent is 3/4:

    >>> x = [1.0]
    >>> for _ in range(3000):
    ...     x.append(x[-1] - 0.1 * 4 * x[-1] ** 3)
    >>> x = np.array(x)
    >>> fit = fit_kl(Trace.from_arrays(x**4, 4 * abs(x) ** 3))
    >>> fit.decay.kind, round(fit.theta, 2)
    ('power', 0.75)
    """
    if not isinstance(trace, Trace):
        raise TypeError(f"trace must be an amcore.Trace, got {type(trace).__name__}")
    f = trace.objective
    if f.size == 0:
        raise ValueError("trace is empty")
    f_star = _limit(trace, f_star)
    remaining, decrease, floor = remaining_decrease(trace), trace.decrease, rounding_floor(trace)
    changes = (sweep for sweep, text in trace.marks if text != RISE)  # of the problem
    start = max(changes, default=0)
    visible = np.flatnonzero(np.abs(decrease) > CLEAR * floor)
    moved = int(visible[-1]) + 1 if visible.size else 0  # up to here
    ended = _terminates(trace, floor, start)
    if ended is not None and (f_star is None or f_star == f[-1]):
        return _finite(trace, remaining, start, ended)
    law = settle(decrease, start, moved)
    if law is None:
        why = f"f falls over {max(0, moved - start)} sweeps only, or rises as often as it falls"
        return _undecided(trace, remaining, (start, moved), why, lower_bound)
    first = law.reaches(decrease, start)
    tests = backtest(law, decrease, remaining, start, first)
    last = law.last
    unsure = float(floor[last - 1] / max(abs(decrease[last - 1]), 1e-300))
    remainder = remainder_of(law, tests, last, unsure)
    decay = name_decay(law, tests, remainder, remaining, first, unsure)
    end = float(f[-1])
    if f_star is not None:
        gap = gap_most = remaining + (end - f_star)
        least = left = most = end - f_star
    else:
        gap, gap_most = (gap_to(law, remaining, log) for log in (remainder[1], remainder[2]))
        ends = remainder_of(law, tests, len(trace), unsure)
        least, left, most = (math.exp(min(log, 700.0)) for log in ends)
        if end - least < lower_bound:
            below = f"the law would take f below its lower bound {lower_bound:.6g}"
            return _undecided(trace, remaining, (first, last), below, lower_bound, tests)
        left, most = min(left, end - lower_bound), min(most, end - lower_bound)
    if decay.kind == "undecided" and f_star is None:
        return _undecided(trace, remaining, (first, law.last), decay.reason, lower_bound, tests)
    window = (first, law.last)
    found = _exponent(trace, law, tests, gap if f_star is not None else None, first)
    verdict = _verdict(trace, window, law.offset, left, found, f_star is not None)
    fit = KLFit(
        theta=None,
        theta_interval=None,
        c=None,
        f_star=end - left,
        f_star_interval=(end - most, end - least),
        remainder=left,
        remainder_interval=(least, most),
        f_star_given=f_star is not None,
        window=window,
        decay=decay,
        verdict=verdict,
        backtest=tuple((test.sweep, math.exp(test.error)) for test in tests),
        gap=gap,
        gap_most=gap_most,
    )
    if verdict.verdict != "holds" or found is None:
        # the law is told, but how far down it leads is open
        unknown = _undecided(trace, remaining, window, verdict.reason, lower_bound, tests)
        return fit if f_star is not None else replace(unknown, decay=decay, gap=gap)
    theta, interval = found
    c = fit.constant(theta, trace.subgradient_distance)
    return replace(fit, theta=theta, theta_interval=interval, c=c)


def diverged(trace: Trace, reason: str, lower_bound: float) -> KLFit:
    """Return the fit of a run that went on, for that reason, to where f is not finite."""
    fit = _undecided(trace, remaining_decrease(trace), (0, len(trace)), reason, lower_bound)
    return replace(fit, decay=Decay("diverged", reason), verdict=Verdict("fails", reason))


def _limit(trace: Trace, f_star: float | None) -> float | None:
    """Return the given limit, at most the last objective."""
    if f_star is None:
        return None
    limit, last = _checks.number("f_star", f_star), float(trace.objective[-1])
    if limit - last > 64 * resolution(trace) * max(abs(limit), abs(last)):
        raise ValueError(f"f_star is {limit:.17g}, above the last objective {last:.17g}")
    return min(limit, last)


def _terminates(trace: Trace, floor: Array, start: int) -> int | None:
    """Return the sweep from which the run is at its limit, if it got there abruptly.

    By the ratio of the decreases before it, the next one would have been plain to see; a law that
    goes on below rounding is no end.
    """
    decrease, g = trace.decrease, trace.subgradient_distance
    moved = np.flatnonzero(np.abs(decrease) > floor)
    end = int(moved[-1]) + 1 if moved.size else 0
    if end - start < MIN_WINDOW // 2 or end + 3 > decrease.size:
        return None
    last = decrease[end - 3 : end]
    rest = g[end:][np.isfinite(g[end:])]
    if (last <= 0).any() or rest.size == 0 or rest.max() > distance_floor(trace):
        return None
    due = last[-1] * min(1.0, float((last[1:] / last[:-1]).min()))
    return end if due > CLEAR * max(float(floor[end]), 1e-300) else None


def _finite(trace: Trace, remaining: Array, start: int, end: int) -> KLFit:
    """Return the fit of a run that is at its limit: θ = 0, c = 1/g."""
    f_star = float(trace.objective[-1])
    window = (max(start, end - max(MIN_WINDOW, end // 2)), end - 1)
    g = trace.subgradient_distance[window[0] : end]
    known = g[np.isfinite(g) & (g > 0)]
    decay = Decay("finite", f"the run is at its limit from sweep {end} on, to the last bit")
    told = Verdict("holds", f"θ = 0: f is at its limit from sweep {end} on")
    return KLFit(
        theta=0.0,
        theta_interval=(0.0, 0.0),
        c=float(1 / known.min()) if known.size else None,
        f_star=f_star,
        f_star_interval=(f_star, f_star),
        remainder=0.0,
        remainder_interval=(0.0, 0.0),
        f_star_given=False,
        window=window,
        decay=decay,
        verdict=told,
        gap=remaining,
        gap_most=remaining,
    )


def _undecided(
    trace: Trace,
    remaining: Array,
    window: tuple[int, int],
    reason: str,
    lower_bound: float,
    tests: tuple[Cut, ...] = (),
) -> KLFit:
    """All that is known of the limit then: it is at most f_K, and at least the lower bound."""
    most = float(trace.objective[-1])
    return KLFit(
        theta=None,
        theta_interval=None,
        c=None,
        f_star=None,
        f_star_interval=(lower_bound, most),
        remainder=None,
        remainder_interval=(0.0, most - lower_bound),
        f_star_given=False,
        window=window,
        decay=Decay("undecided", reason),
        verdict=Verdict("undecided", reason),
        backtest=tuple((test.sweep, math.exp(test.error)) for test in tests),
        gap=remaining,
        gap_most=remaining,
    )


def _exponent(
    trace: Trace, law: Law, tests: tuple[Cut, ...], gap: Array | None, first: int
) -> tuple[float, Interval] | None:
    """θ = (d log g/dk)/(d log(f − f*)/dk), for every law, widened by its drift.

    f − f* falls at its end like its decreases, 1 − ξ times as fast; so f* does not enter.
    """
    g = trace.subgradient_distance

    logs = np.log(np.where(g > 0, g, np.nan))

    def theta(of: Law, begin: int) -> Array | None:
        line = slopes(of, logs, gap, begin)
        if line is None or gap is not None:
            return line
        n = of.rate.size
        falls = of.rate * (1 - of.xi)
        return np.concatenate([line[:n] / falls, line[n:] / np.tile(falls[:1], line.size - n)])

    def told(of: Law) -> Array | None:
        """On the window of the law, or on all that follows it if that agrees and tells more."""
        short, long = theta(of, of.first), theta(of, min(first, of.first))
        if short is None or long is None:
            return long
        agree = short.min() <= long.max() and long.min() <= short.max()
        return long if agree and np.ptp(long) < np.ptp(short) else short

    values = told(law)
    earlier = [value for test in tests if (value := told(test.law)) is not None]
    if values is None:
        return None
    times = octaves(law, len(trace))
    low, best, high = widened(values, [float(value[0]) for value in earlier], times)
    return best, (low, high)


def _verdict(
    trace: Trace,
    window: tuple[int, int],
    offset: float,
    left: float,
    found: tuple[float, Interval] | None,
    given: bool,
) -> Verdict:
    """Whether the limit is near, and an exponent in [0, 1) known."""
    g = trace.subgradient_distance[window[0] : window[1] + 1]
    g = g[np.isfinite(g) & (g > 0)]
    if found is None or g.size < MIN_WINDOW // 2:
        return Verdict("undecided", "dist(0, ∂f) is known at too few sweeps of the window")
    moving = trace.monitors.get("pattern_changes")
    if moving is not None and np.nansum(moving[window[0] + 1 : window[1] + 1]) > 0:
        return Verdict("undecided", "pieces of the activation still change: the limit is not near")
    come_down = float(g.max() / g[-1])
    if come_down < NEAR and not given:
        return Verdict(
            "undecided",
            f"dist(0, ∂f) has come down by {come_down:.3g} on this law, {NEAR:g} are needed to be"
            " near a limit",
        )
    if come_down < DEEP and offset > CERTAIN and not given:
        return Verdict(
            "undecided",
            f"dist(0, ∂f) has come down by {come_down:.3g} on this law: a slower mode may not have"
            f" shown yet, {DEEP:g} would tell",
        )
    moving_on = None if given else _moving_on(trace, window, left)
    if moving_on is not None:
        return Verdict(
            "undecided",
            f"{moving_on} moves on with steps of no finite sum, by which f may fall by more than"
            " its law leaves",
        )
    theta, (low, high) = found
    if high >= 1 or low < -0.02 or high - low > 0.2:
        told = f"θ = {theta:.2f} is known to {low:.2f} … {high:.2f} only"
        return Verdict("undecided", f"{told}, the inequality needs 0 ≤ θ < 1")
    reason = f"θ = {theta:.3f} in [{low:.3f}, {high:.3f}] on sweeps {window[0]}–{window[1]}"
    return Verdict("holds", reason)


def _moving_on(trace: Trace, window: tuple[int, int], left: float) -> str | None:
    """Return the block whose steps are not summable by their trend, if f − f* has to do with it.

    Steps that fall more slowly than 1/k over the last quarter of the window have no finite sum. By
    the ratio of decrease to squared steps there, such steps can go on to lower f; they count where
    that makes a share of what the law leaves, in a run `LONGER` times as long.
    """
    begin, last = window[1] - (window[1] - window[0]) // 4, window[1]
    half = (last - begin) // 2
    if not trace.step_norm or half < 1:
        return None
    names = list(trace.step_norm)
    squares = np.stack([trace.step_norm[name][begin:last] for name in names]) ** 2
    ratios = trace.decrease[begin:last] / np.maximum(squares.sum(axis=0), 1e-300)
    before, after = (np.median(part, axis=1) for part in (squares[:, :half], squares[:, -half:]))
    # The squares of steps like 1/k fall by this.
    slow = after * (last - half / 2) ** 2 > before * (begin + half / 2) ** 2
    falls = np.where(slow, np.median(ratios) * after * LONGER * len(trace), 0.0)
    most = int(np.argmax(falls))
    return names[most] if falls.sum() > CERTAIN * left else None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
