"""The Kurdyka–Łojasiewicz exponent along a trace, and how f_k falls to its limit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from amcore.analysis.decrease import remaining_decrease, rounding_floor
from amcore.analysis.verdict import Verdict
from amcore.trace import RISE, Trace

__all__ = ["Decay", "KLFit", "fit_kl"]

Array = NDArray[np.float64]

# Fewer sweeps in the window decide nothing.
MIN_WINDOW = 20
# Residuals of log decreases beyond this (a factor of 2) follow no law.
MAX_SCATTER = 0.7
# Decreases this far above the rounding floor are known to a per cent.
CLEAR = 100.0
# The shift s of a power law (k + s)^{−p}, as a share of the window's end, that is still one: with a
# larger one it cannot be told from a geometric decay.
MOST_SHIFT = 1.0
# A difference of information criteria that decides.
DECISIVE = 10.0


@dataclass(frozen=True)
class Decay:
    """How f_k − f* falls over the window.

    Attributes
    ----------
    kind : str
        "finite", "geometric" (η^k), "power" (k^{−p}) or "undecided".
    eta, eta_interval : float, tuple or None
        Factor per sweep of a geometric decay, with its 95 % interval.
    exponent, exponent_interval : float, tuple or None
        The p of a power law, with its 95 % interval.
    evidence : float
        By how much the information criterion (AIC of the log decreases) prefers this law to the
        other.
    reason : str
        One sentence with the numbers behind it.
    """

    kind: Literal["finite", "geometric", "power", "undecided"]
    reason: str
    eta: float | None = None
    eta_interval: tuple[float, float] | None = None
    exponent: float | None = None
    exponent_interval: tuple[float, float] | None = None
    evidence: float = 0.0


@dataclass(frozen=True)
class KLFit:
    """The KL inequality (f_k − f*)^θ ≤ c g_k along a trace; an estimate, valid along it.

    Attributes
    ----------
    theta, theta_interval : float, tuple or None
        The exponent: slope of the lower envelope of log g_k over log(f_k − f*), with a 95 %
        interval that takes in the uncertainty of f*.
    c : float or None
        The smallest constant for which the inequality holds on the window with `theta`.
    f_star, f_star_interval : float or None, tuple or None
        The limit of f_k.
    remainder, remainder_interval : float or None, tuple or None
        f_K − f*, known more accurately than either of them.
    f_star_given : bool
        Whether the limit was given.
    window : tuple of int
        First and last sweep that the fit uses.
    decay : Decay
        The law by which f_k falls.
    verdict : Verdict
        Whether an exponent was found.
    gap : ndarray
        f_k − f* for every k, from tail sums of the decreases.
    """

    theta: float | None
    theta_interval: tuple[float, float] | None
    c: float | None
    f_star: float | None
    f_star_interval: tuple[float, float] | None
    remainder: float | None
    remainder_interval: tuple[float, float] | None
    f_star_given: bool
    window: tuple[int, int]
    decay: Decay
    verdict: Verdict
    gap: Array = field(repr=False, compare=False)

    def constant(self, theta: float, g: Array) -> float:
        """Return the smallest c for which (f_k − f*)^θ ≤ c g_k on the window."""
        first, last = self.window
        gap, distance = self.gap[first : last + 1], g[first : last + 1]
        used = (gap > 0) & (distance > 0) & np.isfinite(distance)
        return float(np.max(np.exp(theta * np.log(gap[used]) - np.log(distance[used]))))

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as plain data."""
        known = self.theta is not None
        return {
            "theta": {
                "estimate": self.theta,
                "interval": list(self.theta_interval) if self.theta_interval else None,
            },
            "c": self.c if known else None,
            "f_star": self.f_star,
            "f_star_interval": list(self.f_star_interval) if self.f_star_interval else None,
            "f_star_given": self.f_star_given,
            "remainder": self.remainder,
            "window": list(self.window),
            "decay": {each.name: _plain(getattr(self.decay, each.name)) for each in fields(Decay)},
        }


def fit_kl(trace: Trace, f_star: float | None = None) -> KLFit:
    """Estimate the KL exponent and constant at the limit of a run.

    The limit f* is that of the trace's decreases: their tail sums, which stay accurate far below
    the rounding of f, and a remainder by the law that the decreases follow.

    Parameters
    ----------
    trace : Trace
        The run.
    f_star : float, optional
        The limit of the objective, if it is known.

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
    f, g = trace.objective, trace.subgradient_distance
    if f.size == 0:
        raise ValueError("trace is empty")
    if f_star is not None:
        f_star = float(f_star)
        if not math.isfinite(f_star):
            raise ValueError(f"f_star must be finite, got {f_star}")
        if f_star > f[-1]:
            raise ValueError(f"f_star is {f_star:.6g}, above the last objective {f[-1]:.6g}")

    remaining = remaining_decrease(trace)
    decrease, floor = trace.decrease, rounding_floor(trace)
    changes = (sweep for sweep, text in trace.marks if text != RISE)  # of the problem
    start = max(changes, default=0)
    visible = np.flatnonzero(np.abs(decrease) > CLEAR * floor)
    end = int(visible[-1]) + 1 if visible.size else 0  # f has moved up to here
    finite = _terminates(f, g, decrease, start, end)
    window, law, other = _window(decrease, start, end)
    if finite:
        decay = Decay("finite", f"the run is at its limit from sweep {end} on, to the last bit")
        remainder = spread = (0.0, 0.0, 0.0)
        window = (max(start, end - max(MIN_WINDOW, end // 2)), end - 1)
    else:
        decay, remainder = _decide(law, other, decrease, window)
        spread = remainder
    if f_star is not None:
        spread = (float(f[-1]) - f_star,) * 3
    gap = remaining + spread[1]

    known = decay.kind != "undecided" or f_star is not None
    theta, interval, verdict = (None, None, Verdict("undecided", decay.reason))
    if known:
        theta, interval, verdict = _exponent(remaining, spread, g, window)
    fit = KLFit(
        theta=theta,
        theta_interval=interval,
        c=None,
        f_star=float(f[-1]) - spread[1] if known else None,
        f_star_interval=(float(f[-1]) - spread[2], float(f[-1]) - spread[0]) if known else None,
        remainder=spread[1] if known else None,
        remainder_interval=(spread[0], spread[2]) if known else None,
        f_star_given=f_star is not None,
        window=window,
        decay=decay,
        verdict=verdict,
        gap=gap,
    )
    if theta is None:
        return fit
    numbers = {each.name: getattr(fit, each.name) for each in fields(KLFit)}
    return KLFit(**numbers | {"c": fit.constant(theta, g)})


@dataclass(frozen=True)
class _Law:
    """log decrease = level + slope · x(k) on a window, x = k or log(k + shift)."""

    kind: Literal["geometric", "power"]
    level: float
    slope: float
    error: float  # standard error of the slope
    scatter: float  # root mean square of the residuals
    aic: float
    shift: float = 0.0

    def tail(self, k: int, slope: float) -> float:
        """Return the sum of the decreases from sweep k on."""
        if self.kind == "geometric":
            eta = math.exp(slope)
            return math.exp(self.level + slope * k) / (1 - eta) if eta < 1 else math.inf
        if slope >= -1:
            return math.inf
        x = k + self.shift - 0.5
        return math.exp(self.level + (slope + 1) * math.log(x)) / (-slope - 1)


def _line(x: Array, y: Array) -> tuple[float, float, float, float]:
    """Level, slope, its standard error and the sum of squared residuals of a straight line."""
    centre = x.mean()
    spread = float(np.sum((x - centre) ** 2))
    slope = float(np.sum((x - centre) * y) / spread)
    level = float(y.mean() - slope * centre)
    rest = float(np.sum((y - level - slope * x) ** 2))
    return level, slope, math.sqrt(rest / max(1, x.size - 2) / spread), rest


def _law(kind: Literal["geometric", "power"], k: Array, y: Array, shift: float = 0.0) -> _Law:
    level, slope, error, rest = _line(k if kind == "geometric" else np.log(k + shift), y)
    count = 2 if kind == "geometric" else 3
    # residuals below 1e-9 are rounding and prefer nothing
    aic = k.size * math.log(rest / k.size + 1e-18) + 2 * count
    return _Law(kind, level, slope, error, math.sqrt(rest / k.size), aic, shift)


def _fit_laws(k: Array, y: Array) -> tuple[_Law, _Law]:
    """Both laws, the power law with the best shift of its sweeps."""
    shifts = np.concatenate([[1.0], k[-1] * np.geomspace(1e-3, MOST_SHIFT, 40)])
    power = min((_law("power", k, y, float(s)) for s in shifts), key=lambda law: law.aic)
    finer = np.minimum(power.shift * np.geomspace(0.8, 1.25, 40), MOST_SHIFT * k[-1])
    power = min((_law("power", k, y, float(s)) for s in finer), key=lambda law: law.aic)
    return _law("geometric", k, y), power


def _log_decreases(decrease: Array, first: int, last: int) -> tuple[Array, Array]:
    """Sweeps and log decreases, averaged over pieces where single ones are not positive."""
    values = decrease[first:last]
    k = np.arange(first, last, dtype=np.float64)
    for piece in (1, 2, 4, 8):
        count = values.size // piece
        if count < MIN_WINDOW // 2:
            break
        means = values[values.size - count * piece :].reshape(count, piece).mean(axis=1)
        if (means > 0).all():
            middles = k[values.size - count * piece :].reshape(count, piece).mean(axis=1)
            keep = np.unique(np.linspace(0, count - 1, min(count, 400)).astype(int))
            return middles[keep], np.log(means[keep])
    return np.empty(0), np.empty(0)


def _window(decrease: Array, start: int, end: int) -> tuple[tuple[int, int], _Law, _Law]:
    """Return the longest window up to `end` on which a law fits about as well as on the best."""
    found: list[tuple[tuple[int, int], _Law, _Law]] = []
    for share in (0.0, 0.125, 0.25, 0.5, 0.75):
        first = start + int(share * (end - start))
        if end - first < MIN_WINDOW:
            continue
        k, y = _log_decreases(decrease, first, end)
        if k.size:
            best_law, other = sorted(_fit_laws(k, y), key=lambda law: law.aic)
            found.append(((first, end), best_law, other))
    if not found:
        nothing = _Law("geometric", math.nan, math.nan, math.nan, math.inf, math.inf)
        return (start, end), nothing, nothing
    best = min(law.scatter for _, law, _ in found)
    return next(each for each in found if each[1].scatter <= 1.5 * best + 0.01)


def _terminates(f: Array, g: Array, decrease: Array, start: int, end: int) -> bool:
    """Whether the run reached its limit in finitely many sweeps, not by ever smaller decreases."""
    if end - start < MIN_WINDOW // 2 or end >= f.size - 1:
        return False
    last = decrease[max(start, end - MIN_WINDOW // 2) : end]
    at_rest = (decrease[end:] == 0).all() and g[-1] <= 1e-12 * np.nanmax(g)
    return bool(at_rest and (last > 0).all() and last.min() > 1e-3 * last.max())


def _decide(
    law: _Law, other: _Law, decrease: Array, window: tuple[int, int]
) -> tuple[Decay, tuple[float, float, float]]:
    """Return the decay, and the remainder f_K − f* with an interval."""
    unknown = (0.0, 0.0, 0.0)
    sweeps = window[1] - window[0]
    if not math.isfinite(law.aic):
        if sweeps < MIN_WINDOW:
            few = f"f moves over {sweeps} sweeps only, at least {MIN_WINDOW} are needed"
            return Decay("undecided", few), unknown
        return Decay("undecided", "f rises as often as it falls"), unknown
    if law.scatter > MAX_SCATTER:
        reason = f"the decreases scatter by a factor of {math.exp(law.scatter):.2g} about any law"
        return Decay("undecided", reason), unknown
    evidence = other.aic - law.aic
    low, high = law.slope - 2 * law.error, law.slope + 2 * law.error
    K = decrease.size
    if law.kind == "power" and law.shift > 0.99 * MOST_SHIFT * (window[1] - 1):
        return Decay("undecided", "the window is too short to tell a power law"), unknown
    if evidence < DECISIVE:
        reason = (
            f"the window does not tell a geometric decay from a power law (ΔAIC {evidence:.1f})"
        )
        return Decay("undecided", reason, evidence=evidence), unknown
    if high >= (0 if law.kind == "geometric" else -1):
        return Decay("undecided", "the decreases do not tend to a finite sum"), unknown
    tails = tuple(sorted(law.tail(K, slope) for slope in (low, law.slope, high)))
    if law.kind == "geometric":
        eta = math.exp(law.slope)
        interval = (math.exp(low), math.exp(high))
        reason = f"f − f* falls by η = {eta:.6g} per sweep"
        decay = Decay("geometric", reason, eta, interval, evidence=evidence)
    else:
        p = -law.slope - 1
        reason = f"f − f* falls like k^(−{p:.3g})"
        decay = Decay("power", reason, None, None, p, (-high - 1, -low - 1), evidence)
    return decay, (tails[0], law.tail(K, law.slope), tails[2])


def _exponent(
    remaining: Array, spread: tuple[float, float, float], g: Array, window: tuple[int, int]
) -> tuple[float | None, tuple[float, float] | None, Verdict]:
    """θ with its interval: the slope of the lower envelope, for f* and the ends of its interval."""
    first, last = window
    slopes, errors = [], []
    for remainder in (spread[1], spread[0], spread[2]):
        gap = remaining[first : last + 1] + remainder
        distance = g[first : last + 1]
        used = (gap > max(remainder, 0)) & np.isfinite(distance) & (distance > 0)
        x, y = np.log(gap[used]), np.log(distance[used])
        if x.size < MIN_WINDOW // 2:
            few = f"dist(0, ∂f) is known at {x.size} sweeps of the window only"
            return None, None, Verdict("undecided", few)
        if np.ptp(x) < 1:
            return None, None, Verdict("undecided", "f − f* hardly falls over the window")
        _, slope, _, _ = _line(x, y)
        # The envelope: in pieces of the range, the point lowest beside the line.
        piece = np.minimum(((x - x.min()) / np.ptp(x) * 24).astype(int), 23)
        lowest = [
            members[np.argmin((y - slope * x)[members])]
            for members in (np.flatnonzero(piece == k) for k in range(24))
            if members.size
        ]
        _, slope, error, _ = _line(x[lowest], y[lowest])
        slopes.append(slope)
        errors.append(error)
    theta = slopes[0]
    interval = (
        min(s - 2 * e for s, e in zip(slopes, errors, strict=True)),
        max(s + 2 * e for s, e in zip(slopes, errors, strict=True)),
    )
    if interval[1] - interval[0] > 0.5:
        wide = f"θ = {theta:.2f} is known to {interval[0]:.2f} … {interval[1]:.2f} only"
        return theta, interval, Verdict("undecided", wide)
    reason = f"θ = {theta:.3f} in [{interval[0]:.3f}, {interval[1]:.3f}] on sweeps {first}–{last}"
    return theta, interval, Verdict("holds", reason)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
