"""The certificate of a run: which conditions of the theory it met, with which constants."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from amcore import _checks
from amcore._files import atomic_write
from amcore.analysis.critical import critical
from amcore.analysis.decrease import (
    StrongDecrease,
    SufficientDecrease,
    strong_decrease,
    sufficient_decrease,
)
from amcore.analysis.kl import KLFit, diverged, fit_kl
from amcore.analysis.local import LocalCertificate, local_certificate
from amcore.analysis.lyapunov import Lyapunov, lyapunov
from amcore.analysis.plot import plot_certificate
from amcore.analysis.rates import RateBound, bounds
from amcore.analysis.readings import before_divergence, check_consistent
from amcore.analysis.regimes import Regime, regimes
from amcore.analysis.verdict import Verdict
from amcore.solution import Solution
from amcore.trace import Array, Trace, check_lower_bound

__all__ = ["Certificate", "certify"]

# Where neither j asked for by default holds, the smallest one up to this is looked for.
MOST_J = 32
_SCOPE = "Measured along this run; another start may give other constants."


@dataclass(frozen=True)
class Certificate:
    """What a run says about the conditions of the convergence theory.

    `str()` gives a report to read, `to_dict` and `to_json` the numbers, `plot` the picture.

    Attributes
    ----------
    trace : Trace
        The run.
    decrease : tuple of SufficientDecrease
        Condition A1 for each j asked for.
    strong : StrongDecrease or None
        Condition A2 with α = θ, where an exponent θ was found.
    kl : KLFit
        The KL inequality at the limit, and how f_k − f* falls.
    rate : RateBound
        The theorem that applies, its bound checked against the run.
    verdicts : dict of Verdict
        The verdict on "A1" (for the smallest j for which it holds), "A2", "KL", "rate", and
        "critical": whether dist(0, ∂f) tends to 0.
    constants : dict
        The a-priori constants given.
    regimes : tuple of Regime
        The run cut where its law changes.
    local : LocalCertificate or None
        What the state at the end says of the limit; None where only the trace is known.
    lyapunov : Lyapunov or None
        Where A1 fails as f rises: f with a multiple of the squared step, if that falls.
    """

    trace: Trace
    decrease: tuple[SufficientDecrease, ...]
    strong: StrongDecrease | None
    kl: KLFit
    rate: RateBound
    verdicts: dict[str, Verdict]
    constants: dict[str, float]
    regimes: tuple[Regime, ...] = ()
    local: LocalCertificate | None = None
    lyapunov: Lyapunov | None = None

    def __str__(self) -> str:
        """Return the report."""
        trace = self.trace
        sweeps = len(trace)
        bound = " (an upper bound of it)" if trace.distance_is_bound else ""
        lines = [
            f"Certificate of a run of {sweeps} sweep{'' if sweeps == 1 else 's'}",
            *textwrap.wrap(self.summary, 79),
            "",
            f"  objective f        {_span(trace.objective)}",
            f"  g = dist(0, ∂f)    {_span(trace.subgradient_distance)}{bound}",
            "",
            "A1, sufficient decrease: c₁ g(k+j)² ≤ f(k) − f(k+j) for all sweeps k ≥ k₀",
            "   j  verdict            c₁     k₀  least at  violated  checked",
        ]
        for a1 in self.decrease:
            constant = "–" if a1.constant is None else f"{a1.constant:.4g}"
            k0 = "–" if a1.k0 is None else str(a1.k0)
            attained_at = "–" if a1.attained_at is None else str(a1.attained_at)
            lines.append(
                f"  {a1.j:>2}  {a1.verdict.verdict:<9}  {constant:>10}  {k0:>5}  {attained_at:>8}"
                f"  {a1.violations:>8.1%}  {a1.checked:>7}"
            )
        for a1 in self.decrease:
            if a1.below_floor or a1.unmeasured:
                lines.append(
                    f"  left out for j = {a1.j}: {a1.below_floor} within rounding,"
                    f" {a1.unmeasured} unmeasured"
                )
        if self.constants:
            told = ", ".join(f"{name} = {value:.4g}" for name, value in self.constants.items())
            lines.append(f"  a-priori constants: {told}")
        if self.kl.theta is not None and self.kl.theta_interval is not None:
            low, high = self.kl.theta_interval
            first, last = self.kl.window
            lines += [
                "",
                "KL inequality: (f(k) − f*)^θ ≤ c g(k), an estimate along this run",
                f"  θ = {self.kl.theta:.3f} in [{low:.3f}, {high:.3f}],"
                f" c = {self.kl.c:.4g}, from sweeps {first}–{last}",
                f"  f* = {self.kl.f_star:.10g}, {self.kl.remainder:.2g} below the last f"
                + (" (given)" if self.kl.f_star_given else ""),
            ]
        if len(self.regimes) > 1:
            parts = ", ".join(f"{part.kind} {part.first}–{part.last}" for part in self.regimes)
            lines += ["", *textwrap.wrap(f"Regimes: {parts}", 79, subsequent_indent="  ")]
        lines.append("")
        for name, verdict in self.verdicts.items():
            sentence = f"{name} {verdict.verdict}: {verdict.reason}."
            lines += textwrap.wrap(sentence, 79, subsequent_indent="  ")
        for more in (self.lyapunov, self.local):
            lines += [] if more is None else more.told()
        lines.append(_SCOPE)
        return "\n".join(lines)

    @property
    def summary(self) -> str:
        """One sentence for somebody who wants to know whether to go on."""
        f, kl, sweeps = self.trace.objective, self.kl, len(self.trace)
        if kl.decay.kind == "diverged":
            return f"The run diverged: {kl.decay.reason}."
        verdicts = {name: verdict.verdict for name, verdict in self.verdicts.items()}
        if kl.decay.kind == "finite":
            return f"The run is at its limit, f = {kl.f_star:.6g}: more sweeps change nothing."
        if verdicts["KL"] == "holds" and kl.remainder_interval is not None:
            most = f"at most {kl.remainder_interval[1]:.2g} of f = {f[-1]:.6g} is left to gain"
            if kl.decay.eta is not None:
                half = math.log(0.5) / math.log(kl.decay.eta)
                return f"The run converges: {most}, half of it within {half:.3g} sweeps."
            return f"The run converges, slowly ({kl.decay.reason}): {most}."
        if verdicts["critical"] == "fails":
            return (
                f"The run has stalled: f stays at {f[-1]:.6g}, where it is not critical; more"
                " sweeps will not help, other settings may."
            )
        if self.lyapunov is not None:
            return (
                f"f rises again and again, but f + {self.lyapunov.xi:.3g} ‖X(k) − X(k−1)‖² has"
                " fallen at every sweep so far, as it may with momentum: nothing more can be said"
                " of the limit of f."
            )
        if verdicts["A1"] == "fails" and self.decrease[0].violations > 0:
            return (
                "f rises again and again: nothing can be said of its limit; smaller steps or other"
                " penalties are needed."
            )
        tail = max(1, sweeps // 10)
        fall = float(f[-1 - tail] - f[-1]) / tail if sweeps else 0.0
        if sweeps == 0 or fall <= 0:
            return "Nothing can be said of the limit of f."
        share = f" ({fall / abs(f[-1]):.2g} of it)" if f[-1] != 0 else ""
        return (
            f"f still falls by {fall:.2g}{share} a sweep: nothing can be said of its limit yet; run"
            f" about {max(100, 2 * sweeps)} sweeps more."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate as nested plain data; what is not finite or unknown is None."""
        trace = self.trace
        content = {
            "sweeps": len(trace),
            "objective": _ends(trace.objective),
            "subgradient_distance": {
                **_ends(trace.subgradient_distance),
                "is_bound": trace.distance_is_bound,
            },
            "decrease": {
                "A1": [a1.to_dict() for a1 in self.decrease],
                "A2": None if self.strong is None else self.strong.to_dict(),
            },
            "kl": self.kl.to_dict(),
            "rate": _rate(self.kl, self.rate),
            "bound": self.rate.to_dict(),
            "constants": dict(self.constants),
            "local": None if self.local is None else self.local.to_dict(),
            "lyapunov": None if self.lyapunov is None else self.lyapunov.to_dict(),
            "regimes": [regime.to_dict() for regime in self.regimes],
            "verdicts": {name: verdict.to_dict() for name, verdict in self.verdicts.items()},
        }
        plain: dict[str, Any] = _finite(content)
        return plain

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write `to_dict` to `path` as JSON.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False, ensure_ascii=False)
        with atomic_write(path) as file:
            file.write(text.encode() + b"\n")

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw the run and its certificate into the file `path`.

        Parameters
        ----------
        path : path
            The file to write; its suffix is the format: .png, .pdf or .svg.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        ValueError
            If the suffix is not one of these.
        OSError
            If the file cannot be written.
        """
        plot_certificate(
            path, self.trace, self.decrease, self.kl, self.rate, self.regimes, self.lyapunov
        )


def certify(
    trace: Trace | Solution | None = None,
    *,
    objective: ArrayLike | None = None,
    subgradient_distance: ArrayLike | None = None,
    step_norm: ArrayLike | None = None,
    js: Iterable[int] | None = None,
    f_star: float | None = None,
    lower_bound: float | None = None,
    dtype: DTypeLike | None = None,
    constants: Mapping[str, float] | None = None,
    local: bool = False,
) -> Certificate:
    """Certify a run: measure the conditions of the convergence theory on its trace.

    Parameters
    ----------
    trace : Trace or Solution
        The trace of the run, from amcore or from `Trace.from_arrays`; or the run itself. A trace
        made record by record whose f ceases to be finite is that of a run that diverged.
    objective : array_like
        In place of `trace`: the objective f_0, …, f_K of any optimiser, shape (K + 1,).
    subgradient_distance : array_like, optional
        With `objective`: dist(0, ∂f) at the same points, the norm of the gradient where f is
        smooth; shape (K + 1,), NaN where it was not measured.
    step_norm : array_like, optional
        With `objective`: ‖X_{k+1} − X_k‖, shape (K,). Where f rises, as it does with momentum, it
        tells whether f with a multiple of its square falls.
    js : iterable of int, optional
        The numbers of sweeps j for which condition A1 is measured; by default 1 and 2, and where
        neither holds the smallest up to 32 that does.
    f_star : float, optional
        The limit of the objective, if it is known.
    lower_bound : float, optional
        A number that f is never below; by default that of the trace, if it has one.
    dtype : float type, optional
        With `objective`: the type it was computed in, such as float32 for PyTorch's losses. By
        default that of the array; of float64 numbers it is told whether they were float32 once.
    constants : mapping, optional
        A-priori constants such as `Scheme.constants` gives, to be shown beside the measured ones.
    local : bool
        Whether to look at the end point of a run too, where a trace can only show a trend: the
        Hessian in its pattern, and the sweep's own rate (`Certificate.local`). Takes seconds for
        hundreds of variables, the entries of U and V among them, minutes for many more.

    Returns
    -------
    Certificate

    Raises
    ------
    TypeError
        If neither or both of `trace` and `objective` are given, an argument has another type, or
        `local` is asked for without a run.
    ValueError
        If the trace is empty, an array has the wrong shape or holds what it cannot (infinities, a
        negative distance, decreases that contradict the objectives), `f_star` is not finite or
        above the last objective, an objective is below `lower_bound`, or `js` is empty or has an
        entry below 1.

    References
    ----------
    Xu, Bao, Xing (2022), assumptions (A1) and (A2), Theorems 4.1 and 4.2.

    Examples
    --------
    >>> x = 0.5 ** np.arange(20)
    >>> cert = certify(objective=x**2, subgradient_distance=2 * x)
    >>> cert.verdicts["A1"].verdict
    'holds'
    >>> cert.to_dict()["decrease"]["A1"][0]["constant"]
    0.75
    """
    if (trace is None) == (objective is None):
        raise TypeError("give either a trace or an objective (with its subgradient_distance)")
    run = trace if isinstance(trace, Solution) else None
    if _checks.flag("local", local) and run is None:
        raise TypeError("local: expected a run, whose state it looks at, got its trace alone")
    if isinstance(trace, Solution):
        trace = trace.trace
    if trace is None:
        assert objective is not None
        trace = Trace.from_arrays(objective, subgradient_distance, step_norm=step_norm, dtype=dtype)
    for name, given in (
        ("subgradient_distance", subgradient_distance),
        ("step_norm", step_norm),
        ("dtype", dtype),
    ):
        if objective is None and given is not None:
            raise TypeError(f"{name} goes with objective, the trace has its own")
    trace, lost = before_divergence(trace)
    check_consistent(trace)
    least = trace.lower_bound if lower_bound is None else lower_bound
    least = check_lower_bound(least, trace.objective, trace.dtype)
    told = _constants(constants)
    decrease = _measured(trace, js)
    kl = fit_kl(trace, f_star, least) if lost is None else diverged(trace, lost, least)
    a1 = smallest_holding(decrease)
    rate = bounds(trace, kl, a1)
    strong = None
    if kl.verdict.verdict == "holds" and kl.theta is not None and 0 < kl.theta < 1:
        strong = strong_decrease(trace, kl.theta, a1.j)
        other = bounds(trace, kl, strong)
        if rate.verdict.verdict != "holds" or _better(other, rate):
            rate = other if other.verdict.verdict == "holds" else rate
    settled = None if kl.decay.kind in ("undecided", "diverged") else kl.window[0]
    verdicts = {
        "A1": a1.verdict,
        "A2": strong.verdict if strong else Verdict("undecided", "no exponent α = θ was found"),
        "KL": kl.verdict,
        "rate": rate.verdict,
        "critical": critical(trace, settled),
    }
    if lost is not None:
        verdicts = dict.fromkeys(verdicts, Verdict("fails", lost))
    return Certificate(
        trace,
        decrease,
        strong,
        kl,
        rate,
        verdicts,
        told,
        regimes(trace, settled),
        local_certificate(run) if local and run is not None else None,
        lyapunov(trace) if a1.verdict.verdict == "fails" else None,
    )


def _measured(trace: Trace, js: Iterable[int] | None) -> tuple[SufficientDecrease, ...]:
    """Measure A1 for each j, by default for 1, 2 and the smallest that holds."""
    if js is None:
        found = sufficient_decrease(trace, [1, 2])
        if not any(a1.verdict.verdict == "holds" for a1 in found):
            more = (sufficient_decrease(trace, j) for j in range(3, min(MOST_J, len(trace)) + 1))
            found += [a1 for a1 in more if a1.verdict.verdict == "holds"][:1]
        return tuple(found)
    if not isinstance(js, Iterable):
        raise TypeError(f"js: expected a sequence of integers, got {_checks.describe(js)}")
    asked = tuple(sufficient_decrease(trace, list(dict.fromkeys(js))))
    if not asked:
        raise ValueError("js: expected at least one number of sweeps, got none")
    return asked


def _constants(given: Any) -> dict[str, float]:
    """Return a-priori constants by name, checked."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        got = _checks.describe(given)
        raise TypeError(f"constants: expected a mapping of names to numbers, got {got}")
    return {str(name): _checks.real(f"constants[{name!r}]", c) for name, c in given.items()}


def _better(one: RateBound, other: RateBound) -> bool:
    """Whether the first is a faster rate of the same kind."""
    if one.verdict.verdict != "holds" or one.eta is None:
        return False
    return other.eta is None or 1 - one.eta > 1.01 * (1 - other.eta)


def smallest_holding(decrease: Sequence[SufficientDecrease]) -> SufficientDecrease:
    """Return A1 for the smallest j that holds, else for the smallest undecided one."""
    ordered = sorted(decrease, key=lambda a1: a1.j)
    order = ("holds", "undecided", "fails")
    return min(ordered, key=lambda a1: order.index(a1.verdict.verdict))


def _rate(kl: KLFit, rate: RateBound) -> dict[str, Any]:
    """Return the observed decay beside the theorem's."""
    decay = kl.decay
    return {
        "kind": decay.kind,
        "eta": decay.eta,
        "eta_interval": list(decay.eta_interval) if decay.eta_interval else None,
        "exponent": decay.exponent,
        "exponent_interval": list(decay.exponent_interval) if decay.exponent_interval else None,
        "theorem": rate.theorem,
        "theorem_eta": rate.eta,
        "theorem_exponent": rate.exponent,
    }


def _known(values: Array) -> Array:
    return values[np.isfinite(values)]


def _span(values: Array) -> str:
    known = _known(values)
    return f"{known[0]:.6g} → {known[-1]:.6g}" if known.size else "not measured"


def _ends(values: Array) -> dict[str, float | None]:
    known = _known(values)
    if known.size == 0:
        return {"first": None, "last": None, "smallest": None}
    return {"first": float(known[0]), "last": float(known[-1]), "smallest": float(known.min())}


def _finite(data: Any) -> Any:
    """Replace by None every float in nested data that JSON cannot hold."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not np.isfinite(data) else data
