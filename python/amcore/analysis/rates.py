"""The rates that the theorems give for measured constants."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amcore.analysis.decrease import MIN_CHECKED, StrongDecrease, SufficientDecrease
from amcore.analysis.kl import KLFit
from amcore.analysis.verdict import Verdict
from amcore.trace import Trace

__all__ = ["RateBound", "bounds", "rate_bound"]

Array = NDArray[np.float64]

# Rounding of the sums on both sides of a bound.
_SLACK = 1e-9


def rate_bound(
    m: ArrayLike, *, theta: float, c: float, c1: float, C1: float, strong: bool = False
) -> Array:
    """Evaluate the theorems' bound of f_k − f*.

    Parameters
    ----------
    m : array_like of int
        ⌊(k − k₁)/j⌋ ≥ 0.
    theta, c : float
        Exponent 0 < θ < 1 and constant of the KL inequality (f_k − f*)^θ ≤ c g_k.
    c1 : float
        Constant of A1; of A2 with α = θ if `strong`.
    C1 : float
        max{f_{k₁−j} − f*, …, f_{k₁−1} − f*}.
    strong : bool
        Whether the decrease is that of A2, c₂ g_{k+j}^{1/θ} ≤ f_k − f_{k+j}.

    Returns
    -------
    ndarray
        - θ ≤ ½: C₁ (c²/(c₁ + c²))^{m+1}, Theorem 4.1 (ii), proved where f_k − f* ≤ 1.
        - θ > ½: (C₁^{1−2θ} + L(m+1))^{−1/(2θ−1)}, Theorem 4.1 (iii), with
          L = min{c₁(2θ−1)/(c²ω), (ω^{(2θ−1)/(2θ)} − 1)C₁^{1−2θ}}, the largest over ω > 1.
        - strong: C₁ (c^{1/θ}/(c₂ + c^{1/θ}))^{m+1}, Theorem 4.2, proved where g_k ≤ 1.

    Raises
    ------
    ValueError
        If a constant is not positive or θ not in (0, 1).

    References
    ----------
    Xu, Bao, Xing (2022), Theorems 4.1 and 4.2.

    Examples
    --------
    >>> rate_bound([0, 1], theta=0.5, c=1.0, c1=1.0, C1=1.0)
    array([0.5 , 0.25])
    """
    for name, value in (("c", c), ("c1", c1), ("C1", C1)):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be positive and finite, got {value}")
    if not 0 < theta < 1:
        raise ValueError(f"theta must be in (0, 1), got {theta}")
    steps = np.asarray(m, dtype=np.float64) + 1
    if (steps < 1).any():
        raise ValueError("m must not be negative")
    if strong or theta <= 0.5:
        power = 1 / theta if strong else 2.0
        # c^p/(c₁ + c^p) by its logarithm: either constant may be far from 1
        log_ratio = -np.logaddexp(0.0, math.log(c1) - power * math.log(c))
        result: Array = np.exp(math.log(C1) + steps * log_ratio)
        return result
    q = 2 * theta - 1
    log_L = _largest_L(math.log(c1 * q) - 2 * math.log(c), -q * math.log(C1), q / (2 * theta))
    terms = np.logaddexp(-q * math.log(C1), log_L + np.log(steps))
    bound: Array = np.exp(-terms / q)
    return bound


def _largest_L(log_a: float, log_b: float, r: float) -> float:
    """Log of the largest min{a/ω, b(ω^r − 1)} over ω > 1: one falls in ω and the other rises."""

    def difference(log_omega: float) -> float:
        return log_a - log_omega - log_b - math.log(math.expm1(min(700.0, r * log_omega)))

    low, high = 1e-300, 1e-12
    while difference(high) > 0:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if difference(middle) > 0:
            low = middle
        else:
            high = middle
    return log_a - high


@dataclass(frozen=True)
class RateBound:
    """The theorem that applies to a run, with its numbers, checked against the run.

    Attributes
    ----------
    theorem : str
        "4.1 (i)", "4.1 (ii)", "4.1 (iii)", "4.2" or "none".
    verdict : Verdict
        Whether the theorem's bound holds along the run.
    theta, c, c1, C1 : float or None
        The numbers in it, for f/`scale`.
    j, k1 : int or None
        Step of the decrease, and the sweep from which the bound counts.
    scale : float
        The s for which f/s meets the theorem's condition f_k − f* ≤ 1 (4.2: g_k ≤ 1).
    eta, exponent : float or None
        The rate: f_k − f* ≤ const·η^k, or const·k^{−exponent}.
    tightness : float or None
        Bound over actual value at the last sweep of the window.
    values : ndarray
        The bound of f_k − f* for every k, NaN before k₁.
    """

    theorem: str
    verdict: Verdict
    theta: float | None = None
    c: float | None = None
    c1: float | None = None
    C1: float | None = None
    j: int | None = None
    k1: int | None = None
    scale: float = 1.0
    eta: float | None = None
    exponent: float | None = None
    tightness: float | None = None
    values: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the bound as plain data, its values included."""
        names = ("theorem", "theta", "c", "c1", "C1", "j", "k1", "scale", "eta", "exponent")
        numbers = {name: getattr(self, name) for name in (*names, "tightness")}
        return numbers | {"values": self.values.tolist()}


def bounds(trace: Trace, kl: KLFit, decrease: SufficientDecrease | StrongDecrease) -> RateBound:
    """Bound f_k − f* for every k by the theorem that the measured constants call for.

    The constants are those of the sweeps from the start of the KL window on. An exponent whose
    interval takes in ½, or lies below it, is used as ½: the inequality then holds with ½ too, with
    a constant of its own.

    Parameters
    ----------
    trace : Trace
        The run.
    kl : KLFit
        Its KL inequality, from `fit_kl`.
    decrease : SufficientDecrease or StrongDecrease
        A1, or A2 with α = θ.

    Returns
    -------
    RateBound
        With the theorem "none" and the reason where none applies.

    References
    ----------
    Xu, Bao, Xing (2022), Theorems 4.1 and 4.2.
    """
    if kl.decay.kind == "finite":
        return RateBound("4.1 (i)", Verdict("holds", kl.decay.reason), theta=0.0)
    if kl.theta is None or kl.theta_interval is None or kl.verdict.verdict != "holds":
        return RateBound("none", Verdict("undecided", kl.verdict.reason))
    if decrease.verdict.verdict != "holds" or decrease.k0 is None:
        reason = f"sufficient decrease is not certain: {decrease.verdict.reason}"
        return RateBound("none", Verdict("undecided", reason))
    strong = isinstance(decrease, StrongDecrease)
    theta = kl.theta
    if not strong and kl.theta_interval[0] <= 0.5 and kl.decay.kind != "power":
        theta = 0.5
    elif not strong and kl.theta_interval[0] <= 0.5:
        reason = f"a power law, but θ = {theta:.3g} is not told from ½"
        return RateBound("none", Verdict("undecided", reason))
    if not 0 < theta < 1:
        reason = f"θ = {theta:.3g} is not in (0, 1): dist(0, ∂f) does not fall with f − f*"
        return RateBound("none", Verdict("undecided", reason))

    j, g, gap = decrease.j, trace.subgradient_distance, kl.gap_most
    k1 = max(kl.window[0], decrease.k0) + j
    # the theorems need dist(0, ∂f) and the decrease at every sweep up to the last one
    unknown = np.flatnonzero(np.isnan(decrease.ratio[k1 - j :]))
    last = min(kl.window[1], k1 - 1 + int(unknown[0]) if unknown.size else gap.size)
    if last - k1 < MIN_CHECKED:
        reason = f"A1 and dist(0, ∂f) are known on sweeps {k1}–{last} of the window only"
        return RateBound("none", Verdict("undecided", reason))
    ratio = decrease.ratio[k1 - j : last - j + 1]
    C1 = float(np.max(gap[k1 - j : k1]))
    if not C1 > 0:
        return RateBound("none", Verdict("undecided", "f − f* leaves the range of floats"))
    c1, c = float(ratio.min()), kl.constant(theta, g)
    # For f/s the constants are c₁s (A2: c₂ s^{1/θ − 1}) and c s^{1−θ}; by logarithms, for f may be
    # in any units.
    scale = max(1.0, float(np.max(g[k1 - j : last + 1])) if strong else C1)
    logs = (
        math.log(c1) + math.log(scale) * (1 / theta - 1 if strong else 1),
        math.log(c) + math.log(scale) * (1 - theta),
    )
    if max(map(abs, logs)) > 690:
        return RateBound("none", Verdict("undecided", "the constants leave the range of floats"))
    scaled_c1, scaled_c, scaled_C1 = math.exp(logs[0]), math.exp(logs[1]), C1 / scale
    if scaled_C1 < 1e-300:
        return RateBound("none", Verdict("undecided", "f − f* leaves the range of floats"))
    m = np.maximum(0, (np.arange(gap.size) - k1) // j)
    values = scale * rate_bound(
        m, theta=theta, c=scaled_c, c1=scaled_c1, C1=scaled_C1, strong=strong
    )
    values[:k1] = np.nan
    values[last + 1 :] = np.nan  # the inequalities were seen to hold on the window only

    inside = slice(k1, last + 1)
    broken = np.flatnonzero(values[inside] < gap[inside] * (1 - _SLACK)) + k1
    tightness = float(values[last] / kl.gap[last]) if kl.gap[last] > 0 else None
    theorem = "4.2" if strong else "4.1 (ii)" if theta <= 0.5 else "4.1 (iii)"
    if broken.size:
        at = f"the bound of Theorem {theorem} is below f − f* at sweep {broken[0]}"
        verdict = Verdict("fails", at)
    else:
        over = "" if tightness is None else f", {tightness:.3g} times the actual value at its end"
        verdict = Verdict(
            "holds", f"Theorem {theorem} bounds f − f* from sweep {k1} to {last}{over}"
        )
    power = 1 / theta if strong else 2.0
    geometric = strong or theta <= 0.5
    eta = float(np.exp(-np.logaddexp(0, logs[0] - power * logs[1]) / j)) if geometric else None
    return RateBound(
        theorem,
        verdict,
        theta,
        scaled_c,
        scaled_c1,
        scaled_C1,
        j,
        k1,
        scale,
        eta,
        None if geometric else 1 / (2 * theta - 1),
        tightness,
        values,
    )
