"""Certificates of many runs beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from amcore.analysis.certificate import Certificate, certify, smallest_holding
from amcore.analysis.plot import line_style, saved_figure

__all__ = ["Certificates", "certify_many"]

_PROPERTIES = ("A1", "A2", "KL", "rate", "critical")
_VERDICTS = ("holds", "fails", "undecided")


@dataclass(frozen=True)
class Certificates:
    """The certificates of several runs, such as those of one problem from several seeds.

    `str()` gives a table: how often each verdict, and the spread of c₁, θ and η over the runs.
    """

    certificates: tuple[Certificate, ...]

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.certificates)

    def __iter__(self) -> Iterator[Certificate]:
        """Iterate over the certificates."""
        return iter(self.certificates)

    def __getitem__(self, index: int) -> Certificate:
        """Return the certificate of one run."""
        return self.certificates[index]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many runs each verdict was given to, by property."""
        return {
            name: {
                told: sum(each.verdicts[name].verdict == told for each in self)
                for told in _VERDICTS
            }
            for name in _PROPERTIES
        }

    @property
    def values(self) -> dict[str, list[float]]:
        """The constants c₁, θ and η of the runs that have them, and the last f of all."""
        first = [smallest_holding(each.decrease) for each in self]
        found: dict[str, list[float | None]] = {
            "c1": [a1.constant for a1 in first if a1.verdict.verdict == "holds"],
            "theta": [each.kl.theta for each in self],
            "eta": [each.kl.decay.eta for each in self],
            "f": [float(each.trace.objective[-1]) for each in self],
        }
        return {name: [v for v in values if v is not None] for name, values in found.items()}

    def __str__(self) -> str:
        """Return the table."""
        lines = [f"Certificates of {len(self)} runs", "            holds  fails  undecided"]
        for name, told in self.counts.items():
            lines.append(
                f"  {name:<8} {told['holds']:>6} {told['fails']:>6} {told['undecided']:>10}"
            )
        lines.append("           runs      least     median       most")
        for name, values in self.values.items():
            if values:
                least, middle, most = np.quantile(values, (0, 0.5, 1))
                lines.append(
                    f"  {name:<8} {len(values):>4} {least:>10.4g} {middle:>10.4g} {most:>10.4g}"
                )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return counts, values and all certificates as plain data."""
        return {
            "counts": self.counts,
            "values": self.values,
            "certificates": [each.to_dict() for each in self],
        }

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw objective and distance of all runs into the file `path`.

        Raises
        ------
        ModuleNotFoundError, ValueError, OSError
            As for `Certificate.plot`.
        """
        with saved_figure(path, 2) as axes:
            for index, each in enumerate(self):
                trace = each.trace
                for axis, values in zip(
                    axes, (trace.objective, trace.subgradient_distance), strict=True
                ):
                    style = line_style(index, values.size)
                    axis.plot(values, label=f"run {index}", **style)
            for axis, title in zip(axes, ("objective", "dist(0, ∂f)"), strict=True):
                axis.set_yscale("log" if (axis.dataLim.y0 > 0) else "linear")
                axis.set_title(title)


def certify_many(runs: Iterable[Any], **options: Any) -> Certificates:
    """Certify several runs alike.

    Parameters
    ----------
    runs : iterable of Trace or Solution
        The runs, such as `solve_many` gives.
    **options
        Those of `certify`, for each of them.

    Returns
    -------
    Certificates

    Raises
    ------
    TypeError, ValueError
        As for `certify`, or if there are no runs.

    Examples
    --------
    >>> k = np.arange(200.0)
    >>> import amcore
    >>> traces = [amcore.Trace.from_arrays(eta**k, eta ** (k / 2)) for eta in (0.7, 0.8, 0.9)]
    >>> many = certify_many(traces)
    >>> many.counts["KL"]["holds"], [round(eta, 3) for eta in many.values["eta"]]
    (3, [0.7, 0.8, 0.9])
    """
    if not isinstance(runs, Iterable):
        raise TypeError(f"runs: expected an iterable of runs or traces, got {runs!r:.60}")
    certificates = tuple(certify(run, **options) for run in runs)
    if not certificates:
        raise ValueError("runs: expected at least one, got none")
    return Certificates(certificates)
