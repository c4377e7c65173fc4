"""A function that falls where f does not: f with a multiple of the squared step, as of momentum."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np

from amcore.analysis.decrease import MIN_CHECKED, SufficientDecrease, sufficient_decrease
from amcore.analysis.readings import resolution, rounding_floor
from amcore.trace import Array, Trace

__all__ = ["Lyapunov", "lyapunov"]


@dataclass(frozen=True)
class Lyapunov:
    """F_k = f_k + ξ‖X_k − X_{k−1}‖², which falls at every sweep of a trace on which f rises.

    It is what the trace shows, not a property of the scheme.

    Attributes
    ----------
    xi : float
        Twice the smallest ξ for which it does, or the middle of the interval if that is less.
    interval : tuple of float
        All ξ with which F falls at every sweep; the upper end may be infinite.
    decrease : SufficientDecrease
        Condition A1 with j = 1 for F, a function of X_k and X_{k−1}, whose dist(0, ∂F) is known by
        an upper bound; its index 0 is the first sweep.
    first_broken : int or None
        The first sweep of the second half of the run in which F rises with the ξ that the first
        half alone would give; None if there is none.
    from_first_half : bool
        Whether the first half alone gives a ξ.
    values : ndarray
        F_1, …, F_K.
    """

    xi: float
    interval: tuple[float, float]
    decrease: SufficientDecrease
    first_broken: int | None
    from_first_half: bool
    values: Array

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return {
            "xi": self.xi,
            "interval": list(self.interval),
            "decrease": self.decrease.to_dict(),
            "first_broken": self.first_broken,
            "from_first_half": self.from_first_half,
        }

    def told(self) -> list[str]:
        """Return the lines of a report."""
        low, high = self.interval
        a1 = self.decrease.verdict
        if not self.from_first_half:
            past = "the first half of the run alone gives no ξ"
        elif self.first_broken is None:
            past = "the ξ of the first half of the run does for the second half too"
        else:
            past = f"the ξ of the first half of the run is not enough at sweep {self.first_broken}"
        text = (
            f"Over this trace F(k) = f(k) + ξ‖X(k) − X(k−1)‖² falls at every sweep, for ξ from"
            f" {low:.3g} to {high:.3g}; {past}. With ξ = {self.xi:.3g} A1 {a1.verdict} for F:"
            f" {a1.reason}."
        )
        return textwrap.wrap(text, 79, subsequent_indent="  ")


def lyapunov(trace: Trace) -> Lyapunov | None:
    """Find the ξ for which f_k + ξ‖X_k − X_{k−1}‖² falls, up to rounding, at every sweep k ≥ 2.

    Each sweep gives a linear inequality, f_k − f_{k+1} + ξ(‖ΔX_k‖² − ‖ΔX_{k+1}‖²) ≥ 0; what they
    leave is an interval.

    Parameters
    ----------
    trace : Trace
        The run.

    Returns
    -------
    Lyapunov or None
        None where there is no such ξ > 0, f falls by itself, or not all steps were measured.

    References
    ----------
    Zavriev, Kostyuk (1993) for the heavy-ball method; Ochs, Chen, Brox, Pock (2014).

    Examples
    --------
    The heavy-ball method on x²/2, of which ξ = β/(2α) is known to do:

    >>> x, alpha, beta = [1.0, 1.0], 1e-3, 0.99
    >>> for _ in range(1000):
    ...     x.append(x[-1] - alpha * x[-1] + beta * (x[-1] - x[-2]))
    >>> x = np.array(x[1:])
    >>> trace = Trace.from_arrays(x**2 / 2, abs(x), step_norm=abs(np.diff(x)))
    >>> low, high = lyapunov(trace).interval
    >>> low < beta / (2 * alpha) < high
    True
    """
    fall, steps = trace.decrease[1:], trace.step_length
    squares = steps**2
    gain = squares[:-1] - squares[1:]
    if fall.size < MIN_CHECKED or not np.isfinite(steps).all():
        return None
    fall_at_most = fall + rounding_floor(trace)[1:]
    low, high = _allowed(fall_at_most, gain)
    if not 0 < low < high:
        return None
    half = fall.size // 2
    earlier = _allowed(fall_at_most[:half], gain[:half])
    from_first_half = 0 < earlier[0] < earlier[1]
    rises = fall_at_most[half:] + _chosen(*earlier) * gain[half:] < 0
    xi = _chosen(low, high)
    values = trace.objective[1:] + xi * squares
    # ∂F = (∂f + 2ξΔX, −2ξΔX)
    push = 2 * xi * steps
    distance = np.hypot(trace.subgradient_distance[1:] + push, push)
    coarse = resolution(trace) > float(np.finfo(trace.dtype).eps)
    own = Trace.from_arrays(
        values,
        distance,
        fall + xi * gain if trace.accurate_decrease else None,
        distance_is_bound=True,
        dtype=np.float32 if coarse else trace.dtype,
    )
    return Lyapunov(
        xi=xi,
        interval=(low, high),
        decrease=sufficient_decrease(own, 1),
        first_broken=(
            int(np.argmax(rises)) + half + 2 if from_first_half and rises.any() else None
        ),
        from_first_half=from_first_half,
        values=values,
    )


def _allowed(fall: Array, gain: Array) -> tuple[float, float]:
    """Return the interval of all ξ ≥ 0 with fall + ξ gain ≥ 0 everywhere, low > high if empty."""
    if (fall[gain == 0] < 0).any():
        return np.inf, -np.inf
    up, down = gain > 0, gain < 0
    low = np.max(-fall[up] / gain[up], initial=0.0)
    high = np.min(fall[down] / -gain[down], initial=np.inf)
    return float(low), float(high)


def _chosen(low: float, high: float) -> float:
    return min(2 * low, low + (high - low) / 2)
