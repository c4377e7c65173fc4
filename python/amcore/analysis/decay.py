"""How f_k falls to its limit: the law of its decreases, trusted as far as it held before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from amcore.analysis.law import MIN_WINDOW, Law, settle

__all__ = ["Cut", "Decay", "backtest", "gap_to", "name_decay", "remainder_of", "widened"]

Array = NDArray[np.float64]
Interval = tuple[float, float]

# Residuals of log decreases beyond this (a factor of 2) follow no law.
MAX_SCATTER = 0.7
# The back-test cuts the window of the law at these shares.
CUTS = (0.5, 0.625, 0.75, 0.875)
# A back-test that misses what remained by more than this factor speaks against the law.
MISSED = 1.25
# f_K − f* known to less than this factor, or more than this share of the fall: not known.
WIDE, SHARE = 3.0, 0.2
# The law is left where the last residual exceeds those before it by this.
OUTSTANDING = 3.0
# A power k^(−p) of f with 1/(p + 1) below this is not told from a geometric decay.
STRAIGHT = 0.05


@dataclass(frozen=True)
class Decay:
    """How f_k − f* falls over the window.

    Attributes
    ----------
    kind : str
        "finite", "geometric" (η^k), "power" (k^{−p}), "diverged" or "undecided".
    reason : str
        One sentence with the numbers behind it.
    eta, eta_interval : float, tuple or None
        Factor per sweep of a geometric decay, with its 95 % interval.
    exponent, exponent_interval : float, tuple or None
        The p of a power law, with its 95 % interval.
    """

    kind: Literal["finite", "geometric", "power", "diverged", "undecided"]
    reason: str
    eta: float | None = None
    eta_interval: Interval | None = None
    exponent: float | None = None
    exponent_interval: Interval | None = None


@dataclass(frozen=True)
class Cut:
    """The law of the run up to `sweep`, and the error of its remainder there in log."""

    sweep: int
    law: Law
    error: float

    @property
    def own(self) -> float:
        """The width of the interval that the law itself gave."""
        tail = self.law.tail(self.sweep)
        return float(np.ptp(tail)) if np.isfinite(tail).all() else math.inf

    @property
    def allowed(self) -> float:
        """How large an error says nothing against the law: beside its own interval, a quarter."""
        return math.log(MISSED) + min(math.log(2), self.own)


def backtest(
    law: Law, decrease: Array, remaining: Array, start: int, first: int
) -> tuple[Cut, ...]:
    """Predict what remains from the beginnings of the run, beside what the whole run gives."""
    tests = []
    beyond = math.exp(min(700.0, law.tail(law.last)[0]))
    for share in CUTS:
        cut = first + int(share * (law.last - first))
        earlier = settle(decrease, start, cut) if cut - first >= MIN_WINDOW else None
        left = remaining[cut] - remaining[law.last] + beyond
        if earlier is not None and left > 0:
            tests.append(Cut(cut, earlier, float(earlier.tail(cut)[0]) - math.log(left)))
    return tuple(tests)


def octaves(law: Law, k: int) -> float:
    """How far the law is extrapolated to k: 1 at its window's end, 2 at twice as many sweeps."""
    return 1 + math.log2(k / law.last)


def widened(values: Array, earlier: list[float], times: float) -> tuple[float, float, float]:
    """Lower end, estimate and upper end of an interval that takes in the drift of the estimates.

    An error that falls like 1/k moves from half of the run to its end by as much as is left of it,
    and by a third of that from three quarters on; one that falls slower by less, hence twice that.
    """
    best = float(values[0])
    weights = {CUTS.index(0.5): 2.0, CUTS.index(0.75): 3.0}
    drift = max(
        (
            weight * abs(earlier[cut] - best)
            for cut, weight in weights.items()
            if cut < len(earlier)
        ),
        default=0.0,
    )
    return float(values.min()) - times * drift, best, float(values.max()) + times * drift


def remainder_of(
    law: Law, tests: tuple[Cut, ...], k: int, unsure: float
) -> tuple[float, float, float]:
    """Log of f_k − f* for k from the end of the window on, with its interval.

    Beside the law and its error in the past: `unsure`, the relative error of the last decreases,
    and a slower component that the window could hide, going on for as long as the window is.
    """
    tail = law.tail(k)
    if not np.isfinite(tail).all():
        return float(tail.min()), float(tail[0]), math.inf
    missed = max((max(0.0, abs(test.error) - test.own / 2) for test in tests), default=math.inf)
    missed = unsure + 2 * missed * octaves(law, k) + _astray(law, tests, k)
    hidden = math.log(max(math.expm1(min(law.offset, 50.0)), 1e-300))
    hidden += float(law.level[0]) + math.log(law.last - law.first)
    most = float(np.logaddexp(tail.max(), hidden)) + missed
    return float(tail.min()) - missed, float(tail[0]), most


def _astray(law: Law, tests: tuple[Cut, ...], k: int) -> float:
    """How far the drift of the law takes log(f_k − f*) astray beyond the end of the window."""
    xi, ahead = float(law.xi[0]), k - law.last
    if xi > STRAIGHT:
        low, _, high = widened(law.xi, [float(test.law.xi[0]) for test in tests], 1.0)
        power = max(1 / max(low, STRAIGHT / 2) - 1 / xi, 1 / xi - 1 / high)
        return power * math.log1p(xi * float(law.rate[0]) * ahead)
    low, rate, high = widened(law.rate, [float(test.law.rate[0]) for test in tests], 1.0)
    return max(high - rate, rate - low) * ahead


def name_decay(
    law: Law,
    tests: tuple[Cut, ...],
    remainder: tuple[float, float, float],
    remaining: Array,
    first: int,
    unsure: float,
) -> Decay:
    """Name the law, if the data tell it and it held before.

    `unsure`: the relative error of the last decreases.
    """

    def undecided(reason: str) -> Decay:
        return Decay("undecided", reason)

    if law.scatter > MAX_SCATTER:
        return undecided(
            f"the decreases scatter by a factor of {math.exp(min(law.scatter, 99)):.2g} about"
            " any law"
        )
    if (law.xi >= 1).any() or (law.rate <= 0).any():
        return undecided("the decreases do not tend to a finite sum, or too slowly to tell")
    if len(tests) < 3:
        return undecided(
            f"f has followed one law for {law.last - first} sweeps only: too few for a back-test"
        )
    last, before = law.lift
    if last > OUTSTANDING * (before + unsure):
        return undecided(
            f"the last decreases of f exceed their law by {last:.2g} of themselves, where"
            f" {before:.2g} was the most before: a slower mode begins to show"
        )
    worst = max(tests[1:], key=lambda test: abs(test.error) - test.allowed)
    if abs(worst.error) > worst.allowed:
        return undecided(
            f"the law keeps changing: what was left at sweep {worst.sweep} is"
            f" {math.exp(min(-worst.error, 99)):.2g} times what the sweeps before it predict"
        )
    if remainder[2] - remainder[0] > math.log(WIDE):
        return undecided(
            f"f − f* is known to a factor of {math.exp(min(99, remainder[2] - remainder[0])):.2g}"
            " only"
        )
    fall = float(remaining[first] - remaining[law.last])
    if math.exp(remainder[2]) > SHARE * fall:
        return undecided("too much of f's fall is still to come to tell its law")
    times = octaves(law, remaining.size - 1)
    low, xi, high = widened(law.xi, [float(test.law.xi[0]) for test in tests], times)
    if high < STRAIGHT and low > -STRAIGHT:
        rates = widened(law.rate, [float(test.law.rate[0]) for test in tests], times)
        interval = (math.exp(-rates[2]), math.exp(-rates[0]))
        eta = math.exp(-rates[1])
        return Decay("geometric", f"f − f* falls by η = {eta:.6g} per sweep", eta, interval)
    if low > STRAIGHT and high < 1:
        p = 1 / xi - 1
        interval = (1 / high - 1, 1 / low - 1)
        reason = f"f − f* falls like k^(−{p:.3g})"
        return Decay("power", reason, exponent=p, exponent_interval=interval)
    return undecided("the window does not tell a geometric decay from a power law")


def gap_to(law: Law, remaining: Array, log_left: float) -> Array:
    """f_k − f*: sums of the decreases to the end of the window, by the best law after it."""
    left = math.exp(min(log_left, 700.0))
    gap: Array = np.maximum(remaining - remaining[law.last], 0.0) + left
    xi, x = float(law.xi[0]), np.arange(1, gap.size - law.last) * law.rate[0]
    straight = abs(xi) * x.size * float(law.rate[0]) < 1e-9
    later = x if straight else np.log1p(np.maximum(xi * x, -0.99)) * (1 / xi - 1)
    gap[law.last + 1 :] = left * np.exp(-later)
    return gap
