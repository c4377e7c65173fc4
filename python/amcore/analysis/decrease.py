"""Sufficient decrease along a trace: conditions A1 and A2 of Xu, Bao, Xing (2022)."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from amcore.analysis.readings import distance_floor, resolution, rounding_floor
from amcore.analysis.verdict import Verdict
from amcore.trace import Trace

__all__ = [
    "StrongDecrease",
    "SufficientDecrease",
    "remaining_decrease",
    "strong_decrease",
    "sufficient_decrease",
]

Array = NDArray[np.float64]

# Fewer checked sweeps than this from k₀ on decide nothing.
MIN_CHECKED = 10
# The least ratio of the last half of the sweeps (and of the last quarter) is at least this share of
# the least before: it has stopped to fall.
SETTLED = 0.9
# A ratio that keeps falling and has come down to this share of what it was tends to 0.
VANISHING = 1e-2
# A run whose distance has come down by less is at its beginning; so much of it over the last
# octaves, lest all of it be a huge start's.
STARTED, OF_LATE = 100.0, 10.0
OCTAVES = 3
# Over these the ratio falls no faster than this power of k: the least one of an early transient
# would hide a fall.
LEVEL = -0.1


@dataclass(frozen=True)
class SufficientDecrease:
    """Condition A1 with a given j along a trace: c₁ g_{k+j}² ≤ f_k − f_{k+j} for all k ≥ k₀.

    Attributes
    ----------
    j : int
        The number of sweeps the decrease is taken over.
    constant : float or None
        The largest c₁ from `k0` on; None if there is none.
    k0 : int or None
        The smallest k₀ for which `constant` is positive; None if there is none.
    attained_at : int or None
        The sweep k at which the ratio (f_k − f_{k+j}) / g_{k+j}² is `constant`.
    violations : float
        The share of the checked sweeps at which f_k < f_{k+j} by more than rounding.
    last_violation : int or None
        The last such sweep; None if there is none.
    checked : int
        How many sweeps k were checked.
    below_floor : int
        How many were left out because rounding hides whether f fell, or what g_{k+j} is.
    stalled : int
        How many of those tell nevertheless that no constant as large as `constant` can hold there:
        f is flat while g_{k+j} is not small.
    unmeasured : int
        How many were left out because g_{k+j} was not measured.
    fallen, fallen_of_late : float
        How far dist(0, ∂f) has come down since `k0`, and over the last three octaves of the sweeps
        after it (their last ⅞): its largest value over its last.
    imposed : float or None
        The c₁ that the scheme itself has imposed on every step with j = 1, by its
        `monitors["c1"]`, unchanged over the last half of the checked sweeps; None if there is none.
    ratio : ndarray
        The ratio for k = 0, …, K − j, NaN where it was left out.
    unsure : ndarray
        The share of each decrease that rounding may have made.
    """

    j: int
    constant: float | None
    k0: int | None
    attained_at: int | None
    violations: float
    last_violation: int | None
    checked: int
    below_floor: int
    stalled: int
    unmeasured: int
    fallen: float
    fallen_of_late: float
    imposed: float | None
    ratio: Array = field(repr=False, compare=False)
    unsure: Array = field(repr=False, compare=False)

    @property
    def verdict(self) -> Verdict:
        """Whether A1 holds with this j on the trace."""
        j, checked = self.j, self.checked
        if checked == 0 and self.unmeasured > 0:
            return Verdict("undecided", "dist(0, ∂f) was not measured")
        if checked < MIN_CHECKED:
            return Verdict(
                "undecided",
                f"only {checked} sweep{'' if checked == 1 else 's'} could be checked,"
                f" at least {MIN_CHECKED} are needed",
            )
        if self.constant is None or self.k0 is None:
            return Verdict(
                "fails",
                f"f rises over j = {j} at {self.violations:.1%} of the checked sweeps,"
                f" up to the last of them, sweep {self.last_violation}",
            )
        after = self.k0 + np.flatnonzero(~np.isnan(self.ratio[self.k0 :]))
        later = after.size
        if 2 * later < checked:
            return Verdict(
                "fails",
                f"f rises over j = {j} at {self.violations:.1%} of the checked sweeps,"
                f" as late as sweep {self.last_violation}",
            )
        if later < MIN_CHECKED:
            return Verdict(
                "undecided",
                f"only {later} sweep{'' if later == 1 else 's'} could be checked after the last"
                f" violation, at sweep {self.last_violation}; at least {MIN_CHECKED} are needed",
            )
        if self.stalled:
            return Verdict(
                "undecided",
                f"at {self.stalled} sweeps f is flat to rounding while dist(0, ∂f) is not small:"
                f" c₁ = {self.constant:.3g} does not hold there, a smaller constant might",
            )
        start = "from the start" if self.k0 == 0 else f"from sweep {self.k0} on"
        if self.imposed is not None:
            told = f"which the scheme imposes on every step, is kept {start}"
            return Verdict("holds", f"j = {j} and c₁ = {self.imposed:.3g}, {told}")
        least = self._octaves(after)
        if least[-1] < SETTLED * least[:-1].min():
            trend = f"the ratio keeps falling, to {least[-1]:.3g} at sweep {self.attained_at}"
            falls = -np.diff(np.log(least))
            since = least.size - 1 - int(np.argmin(np.append(falls[::-1] > 0, False)))
            # the last octave falls at least half as far as the one before: no sign of a limit
            on = falls.size < 2 or falls[-1] > 0.5 * falls[-2]
            if on and least[-1] < VANISHING * least[since] and self.fallen < math.inf:
                return Verdict("fails", f"{trend}, from {least[since]:.3g}: it tends to 0")
            return Verdict("undecided", f"{trend}, and may tend to 0; run on until it has settled")
        late = after[after >= _late(self.k0, self.ratio.size)]
        logs = np.log(late - self.k0 + 1.0)
        power = 0.0
        if late.size >= MIN_CHECKED:
            power = float(
                np.polyfit(logs, np.log(self.ratio[late] * (1 + self.unsure[late])), 1)[0]
            )
        if power < LEVEL:
            trend = f"the ratio falls like k^({power:.2g}) over the last {OCTAVES} octaves"
            return Verdict("undecided", f"{trend}, and may tend to 0; run on until it has settled")
        if self.fallen < STARTED or self.fallen_of_late < OF_LATE:
            return Verdict(
                "undecided",
                f"j = {j} and c₁ = {self.constant:.3g} {start}, but dist(0, ∂f) has come down by"
                f" {self.fallen:.3g} only, {self.fallen_of_late:.3g} over the last {OCTAVES}"
                " octaves: too early to tell what the ratio will be",
            )
        return Verdict("holds", f"j = {j} and c₁ = {self.constant:.3g} {start}")

    def _octaves(self, after: NDArray[np.intp]) -> Array:
        """Least ratio of the sweeps checked, in octaves: …, the last quarter but half, half."""
        cuts = [after.size]
        while cuts[-1] >= 4:
            cuts.append(cuts[-1] // 2)
        cuts[-1] = 0
        ratio = self.ratio[after] * (1 + self.unsure[after])
        return np.array([ratio[a:b].min() for b, a in pairwise(cuts)])[::-1]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, without the ratios."""
        numbers = {each.name: getattr(self, each.name) for each in fields(self) if each.compare}
        return numbers | self.verdict.to_dict()


@dataclass(frozen=True)
class StrongDecrease(SufficientDecrease):
    """Condition A2 along a trace: c₂ g_{k+j}^{1/α} ≤ f_k − f_{k+j} for all k ≥ k₀.

    The attributes are those of A1, `constant` being c₂ and the ratio (f_k − f_{k+j})/g_{k+j}^{1/α},
    and:

    Attributes
    ----------
    alpha : float
        The α asked for.
    alpha_most : float or None
        The largest α for which the trace shows a constant that does not tend to 0: one over the
        slope of log(f_k − f_{k+j}) over log g_{k+j}; None if that cannot be told.
    """

    alpha: float
    alpha_most: float | None


def remaining_decrease(trace: Trace) -> Array:
    """Return f_k − f_K for every k, as sums of the decreases.

    Where the trace has accurate decreases this stays meaningful far below the rounding of f.

    Parameters
    ----------
    trace : Trace
        A trace of K sweeps.

    Returns
    -------
    ndarray
        Shape (K + 1,); summed from the last sweep backwards, smallest terms first on a converging
        run.
    """
    return np.concatenate([np.cumsum(trace.decrease[::-1])[::-1], [0.0]])


@overload
def sufficient_decrease(trace: Trace, j: SupportsIndex = ...) -> SufficientDecrease: ...
@overload
def sufficient_decrease(trace: Trace, j: Sequence[int]) -> list[SufficientDecrease]: ...
def sufficient_decrease(
    trace: Trace, j: SupportsIndex | Sequence[int] = 1
) -> SufficientDecrease | list[SufficientDecrease]:
    """Measure condition A1 on a trace: c₁ g_{k+j}² ≤ f_k − f_{k+j} for all k ≥ k₀.

    Here g_k = dist(0, ∂f(X_k)). The decreases are the accurate ones of the trace where it has
    them, differences of objectives otherwise. Sweeps whose decrease rounding hides are left out
    and counted, never called violations.

    Parameters
    ----------
    trace : Trace
        The run.
    j : int or sequence of int
        The number of sweeps to take the decrease over, or several such numbers.

    Returns
    -------
    SufficientDecrease or list of SufficientDecrease
        One for each j asked for, a list if `j` is a sequence.

    Raises
    ------
    TypeError
        If `trace` is not a trace or `j` not an integer.
    ValueError
        If the trace is empty or `j` is less than 1.

    References
    ----------
    Xu, Bao, Xing (2022), assumption (A1).

    Examples
    --------
    Gradient descent with step 1/4 on x² satisfies A1 with c₁ = 3/4:

    >>> x = 0.5 ** np.arange(20)
    >>> trace = Trace.from_arrays(x**2, subgradient_distance=2 * x)
    >>> result = sufficient_decrease(trace, j=1)
    >>> result.constant, result.k0, result.violations
    (0.75, 0, 0.0)
    """
    if not isinstance(trace, Trace):
        raise TypeError(f"trace must be an amcore.Trace, got {type(trace).__name__}")
    if trace.objective.size == 0:
        raise ValueError("trace is empty")
    if isinstance(j, Sequence):
        return [_sufficient_decrease(trace, _steps(each)) for each in j]
    return _sufficient_decrease(trace, _steps(j))


def strong_decrease(trace: Trace, alpha: float, j: SupportsIndex = 1) -> StrongDecrease:
    """Measure condition A2 on a trace: c₂ g_{k+j}^{1/α} ≤ f_k − f_{k+j} for all k ≥ k₀.

    Parameters
    ----------
    trace : Trace
        The run.
    alpha : float
        The α in (0, 1).
    j : int
        The number of sweeps to take the decrease over.

    Returns
    -------
    StrongDecrease

    Raises
    ------
    TypeError
        If `trace` is not a trace, `alpha` no number or `j` no integer.
    ValueError
        If the trace is empty, `alpha` is not in (0, 1) or `j` is less than 1.

    References
    ----------
    Xu, Bao, Xing (2022), assumption (A2).

    Examples
    --------
    Gradient descent on x² satisfies it for every α ≤ ½:

    >>> x = 0.5 ** np.arange(20)
    >>> result = strong_decrease(Trace.from_arrays(x**2, subgradient_distance=2 * x), alpha=0.5)
    >>> result.constant, round(result.alpha_most, 6)
    (0.75, 0.5)
    """
    if not isinstance(trace, Trace):
        raise TypeError(f"trace must be an amcore.Trace, got {type(trace).__name__}")
    if trace.objective.size == 0:
        raise ValueError("trace is empty")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.floating):
        raise TypeError(f"alpha must be a number, got {alpha!r}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha}")
    steps = _steps(j)
    found = _sufficient_decrease(trace, steps, 1 / float(alpha))
    fall, g = _sums(trace.decrease, steps), trace.subgradient_distance[steps:]
    used = ~np.isnan(found.ratio) & (found.ratio > 0)
    most = None
    if np.count_nonzero(used) >= MIN_CHECKED:
        x, y = np.log(g[used]), np.log(fall[used])
        if np.ptp(x) > 1:
            slope = float(np.polyfit(x, y, 1)[0])
            most = 1 / slope if slope > 0 else None
    numbers = {each.name: getattr(found, each.name) for each in fields(SufficientDecrease)}
    return StrongDecrease(**numbers, alpha=float(alpha), alpha_most=most)


def _steps(j: Any) -> int:
    """Return j as an integer of at least 1."""
    if isinstance(j, bool) or not hasattr(j, "__index__"):
        raise TypeError(f"j must be an integer, got {j!r}")
    if operator.index(j) < 1:
        raise ValueError(f"j must be at least 1, got {j}")
    return operator.index(j)


def _sufficient_decrease(trace: Trace, j: int, power: float = 2.0) -> SufficientDecrease:
    g = trace.subgradient_distance[j:]
    decrease = _sums(trace.decrease, j)
    floor = _largest(rounding_floor(trace), j)

    measured = np.isfinite(g) & np.isfinite(decrease)
    few = 8.0 * resolution(trace)
    resolved = g > distance_floor(trace)
    visible = (decrease < -floor) | ((decrease > floor) & resolved)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(measured & visible, _quotient(decrease, g, power), np.nan)
    checked = np.flatnonzero(~np.isnan(ratio))
    violated = np.flatnonzero(ratio < 0)

    last_violation = int(violated[-1]) if violated.size else None
    after = checked[checked > (-1 if last_violation is None else last_violation)]
    attained_at = int(after[np.argmin(ratio[after])]) if after.size else None
    constant = None if attained_at is None else float(ratio[attained_at])
    k0 = None if attained_at is None else 0 if last_violation is None else last_violation + 1

    hidden = measured & ~visible
    # where even the largest decrease that the rounding of f itself allows is too small for c₁
    most = decrease + few * np.abs(trace.objective[j:])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        stalled = hidden & (
            _quotient(most, g, power) < (0.0 if constant is None else 0.99 * constant)
        )
    return SufficientDecrease(
        j=j,
        constant=constant,
        k0=k0,
        attained_at=attained_at,
        violations=violated.size / checked.size if checked.size else 0.0,
        last_violation=last_violation,
        checked=checked.size,
        below_floor=int(np.count_nonzero(hidden)),
        stalled=int(np.count_nonzero(stalled)),
        unmeasured=int(np.count_nonzero(~measured)),
        fallen=_fallen(g[k0 or 0 :]),
        fallen_of_late=_fallen(g[_late(k0 or 0, g.size) :]),
        imposed=_imposed(trace, ratio) if j == 1 and power == 2 else None,
        ratio=ratio,
        unsure=floor / np.maximum(np.abs(decrease), 1e-300),
    )


def _imposed(trace: Trace, ratio: Array) -> float | None:
    """Return the c₁ that the scheme imposes, if it is kept and has not changed of late."""
    stated = trace.monitors.get("c1")
    checked = np.flatnonzero(~np.isnan(ratio))
    if stated is None or checked.size == 0:
        return None
    c1 = stated[1:][checked]
    settled = (c1[checked.size // 2 :] == c1[-1]).all() and c1[-1] > 0
    # both are quotients of numbers that are exact to rounding
    kept = (ratio[checked] >= c1 * (1 - 1e-6)).all()
    return float(c1[-1]) if settled and kept else None


def _late(first: int, end: int) -> int:
    """Return where the last octaves of the sweeps from `first` to `end` begin."""
    return first + (end - first) // (1 << OCTAVES)


def _fallen(g: Array) -> float:
    """Return the largest of the known distances over the last one."""
    known = g[np.isfinite(g)]
    if known.size == 0:
        return 1.0
    return float(known.max() / known[-1]) if known[-1] > 0 else math.inf


def _quotient(decrease: Array, g: Array, power: float) -> Array:
    """Decrease / g^power, finite where g^power alone is not."""
    size = g**power
    by_logs = np.exp(np.log(np.abs(decrease)) - power * np.log(g))
    far = (size < 1e-290) | (size > 1e290)
    result: Array = np.where(
        far, np.sign(decrease) * np.clip(by_logs, 1e-300, 1e300), decrease / size
    )
    return result


def _largest(values: Array, j: int) -> Array:
    """Return the largest of j successive values."""
    if values.size < j:
        return np.empty(0)
    largest: Array = sliding_window_view(values, j).max(axis=1)
    return largest


def _sums(values: Array, j: int) -> Array:
    """Return the sums of j successive values."""
    if values.size < j:
        return np.empty(0)
    sums: Array = sliding_window_view(values, j).sum(axis=1)
    return sums
