"""The certificate of a run: which conditions of the theory it met, with which constants."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from amcore.analysis.decrease import SufficientDecrease, Verdict, sufficient_decrease
from amcore.trace import Array, Trace, atomic_write

__all__ = ["Certificate", "certify"]

# what the exported file says of the numbers in it
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
    verdicts : dict of Verdict
        The verdict on each condition; "A1" is that of the smallest j for which A1 holds.
    """

    trace: Trace
    decrease: tuple[SufficientDecrease, ...]
    verdicts: dict[str, Verdict]

    def __str__(self) -> str:
        """Return the report."""
        trace = self.trace
        sweeps = len(trace)
        bound = " (an upper bound of it)" if trace.distance_is_bound else ""
        lines = [
            f"Certificate of a run of {sweeps} sweep{'' if sweeps == 1 else 's'}",
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
        lines.append("")
        for name, verdict in self.verdicts.items():
            sentence = f"{name} {verdict.verdict}: {verdict.reason}."
            lines += textwrap.wrap(sentence, 79, subsequent_indent="  ")
        lines.append(_SCOPE)
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate as nested plain data; what is not finite or unknown is None."""
        trace = self.trace
        return {
            "sweeps": len(trace),
            "objective": _ends(trace.objective),
            "subgradient_distance": {
                **_ends(trace.subgradient_distance),
                "is_bound": trace.distance_is_bound,
            },
            "decrease": {"A1": [a1.to_dict() for a1 in self.decrease]},
            "verdicts": {name: verdict.to_dict() for name, verdict in self.verdicts.items()},
        }

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write `to_dict` to `path` as JSON.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        text = json.dumps(_finite(self.to_dict()), indent=1, allow_nan=False, ensure_ascii=False)
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
        from amcore.analysis.plot import plot_certificate

        plot_certificate(self, path)


def certify(
    trace: Trace | None = None,
    *,
    objective: ArrayLike | None = None,
    subgradient_distance: ArrayLike | None = None,
    js: Iterable[int] = (1, 2),
) -> Certificate:
    """Certify a run: measure the conditions of the convergence theory on its trace.

    Parameters
    ----------
    trace : Trace
        The trace of the run, from amcore or from `Trace.from_arrays`.
    objective : array_like
        In place of `trace`: the objective f_0, …, f_K of any optimiser, shape (K + 1,).
    subgradient_distance : array_like, optional
        With `objective`: dist(0, ∂f) at the same points, the norm of the gradient where f is
        smooth; shape (K + 1,), NaN where it was not measured.
    js : iterable of int
        The numbers of sweeps j for which condition A1 is measured.

    Returns
    -------
    Certificate

    Raises
    ------
    TypeError
        If neither or both of `trace` and `objective` are given, or an argument has another type.
    ValueError
        If the trace is empty, an array has the wrong shape or holds what it cannot, or `js` is
        empty or has an entry below 1.

    References
    ----------
    Xu, Bao, Xing (2022), assumption (A1).

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
    if trace is None:
        assert objective is not None
        trace = Trace.from_arrays(objective, subgradient_distance)
    elif subgradient_distance is not None:
        raise TypeError("subgradient_distance goes with objective, the trace has its own")
    if not isinstance(js, Iterable):
        raise TypeError(f"js must be a sequence of integers, got {js!r}")
    decrease = tuple(sufficient_decrease(trace, list(dict.fromkeys(js))))
    if not decrease:
        raise ValueError("js is empty, at least one number of sweeps is needed")
    return Certificate(trace, decrease, {"A1": _smallest_holding(decrease)})


def _smallest_holding(decrease: Sequence[SufficientDecrease]) -> Verdict:
    """Return the verdict for the smallest j that holds, else for the smallest undecided one."""
    ordered = sorted(decrease, key=lambda a1: a1.j)
    for wanted in ("holds", "undecided", "fails"):
        for a1 in ordered:
            if a1.verdict.verdict == wanted:
                return a1.verdict
    raise AssertionError("a verdict is one of these three")


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
