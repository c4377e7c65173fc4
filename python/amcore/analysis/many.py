"""Certificates of many runs beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, TypeAlias

import numpy as np

from amcore.analysis.certificate import Certificate, certify, smallest_holding
from amcore.analysis.plot import finish, line_style, nothing, saved_figure

__all__ = ["Certificates", "certify_many"]

_PROPERTIES = ("A1", "A2", "KL", "rate", "critical")
_VERDICTS = ("holds", "fails", "undecided")
# The number of a run, what was found in it, and the interval of that.
_Found: TypeAlias = tuple[int, float, tuple[float, float] | None]


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
        return {name: [value for _, value, _ in found] for name, found in self._found().items()}

    def _found(self) -> dict[str, list[_Found]]:
        """Return these with the number of the run, and the interval of the value if it has one."""
        found: dict[str, list[_Found]] = {name: [] for name in ("c1", "theta", "eta", "f")}
        for run, each in enumerate(self):
            a1, kl = smallest_holding(each.decrease), each.kl
            if a1.verdict.verdict == "holds" and a1.constant is not None:
                found["c1"].append((run, a1.constant, None))
            if kl.theta is not None:
                found["theta"].append((run, kl.theta, kl.theta_interval))
            if kl.decay.eta is not None:
                found["eta"].append((run, kl.decay.eta, kl.decay.eta_interval))
            found["f"].append((run, float(each.trace.objective[-1]), None))
        return found

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
        """Draw all runs into the file `path`.

        The panels are objective and distance, how often each verdict, and c₁, θ and η of every run
        that has them, with their intervals and their median.

        Raises
        ------
        ModuleNotFoundError, ValueError, OSError
            As for `Certificate.plot`.
        """
        with saved_figure(path, 6) as axes:
            for axis, name in zip(axes, ("objective", "subgradient_distance"), strict=False):
                for index, each in enumerate(self):
                    values = getattr(each.trace, name)
                    shown = np.flatnonzero(values > 0)
                    axis.plot(shown, values[shown], **line_style(index, shown.size))
                finish(axis, legend=False)
            axes[0].set_title(f"objective of {len(self)} runs")
            axes[1].set_title("dist(0, ∂f)")
            self._draw_counts(axes[2])
            found = self._found()
            for axis, name, title in zip(
                axes[3:], ("c1", "theta", "eta"), ("$c_1$", r"$\theta$", r"$\eta$"), strict=True
            ):
                axis.set_title(f"{title}: {len(found[name])} of {len(self)} runs")
                axis.set_xlabel("run")
                axis.set_xlim(-0.5, len(self) - 0.5)
                _draw_spread(axis, found[name])

    def _draw_counts(self, axis: Any) -> None:
        """Bars of how many runs got each verdict."""
        counts = self.counts
        begin = np.zeros(len(counts))
        for index, verdict in enumerate(_VERDICTS):
            length = np.array([told[verdict] for told in counts.values()])
            color = line_style(index, 1)["color"]
            axis.barh(list(counts), length, left=begin, color=color, label=verdict)
            begin = begin + length
        axis.invert_yaxis()
        axis.set_title("verdicts")
        axis.set_xlabel("runs")
        axis.legend(fontsize="small", frameon=False, loc="upper center", ncols=len(_VERDICTS))
        axis.set_ylim(len(counts) - 0.5, -1.5)  # room for the legend


def _draw_spread(axis: Any, found: Sequence[_Found]) -> None:
    """Draw the value of every run, with its interval where it has one, and the median."""
    for run, value, interval in found:
        axis.plot([run], [value], **line_style(0, 1))
        if interval is not None:
            axis.plot([run, run], interval, color=line_style(0, 1)["color"], linewidth=1.3)
    if found:
        axis.axhline(float(np.median([value for _, value, _ in found])), color="0.4", linewidth=0.8)
    else:
        nothing(axis)


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
