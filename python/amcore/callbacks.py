"""Callbacks: what happens beside the sweeps.

A callback is a callable ``callback(step)``, or an object with any of the methods ``begin(step)``,
called with the start before the first sweep, ``step(step)``, called after every sweep, and
``end(solution)``, however the run ends. A callable or a `step` or `begin` method that returns True,
Python's or NumPy's, stops the run, one that returns False or None does not; anything else is a
TypeError. What a callback raises ends the run; the exception then holds it as `solution`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from os import PathLike
from time import monotonic
from typing import Any, TextIO

from amcore import _checks, _files, checkpoint
from amcore.solution import Solution, Step

__all__ = ["Checkpoint", "EarlyStop", "ProgressTable", "TimeLimit"]


class ProgressTable:
    """Print a row per sweep: objective, dist(0, ∂f), length of the step, scores, seconds.

    Parameters
    ----------
    every : int
        Print every so many sweeps, and the last one.
    data : mapping of str to (X, y), optional
        Sets to score, each a column under its name: accuracy for class labels, else R².
    stream : text stream, optional
        Where to print, by default standard output; signs that its encoding lacks become ``?``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind.
    """

    def __init__(
        self,
        every: int = 1,
        data: Mapping[str, tuple[Any, Any]] | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self.every = _checks.integer("every", every, 1)
        if not isinstance(data, Mapping | None):
            wrong = _checks.describe(data)
            raise TypeError(f"data: expected a mapping of names to (X, y), got {wrong}")
        if stream is not None and not hasattr(stream, "write"):
            raise TypeError(f"stream: expected a text stream, got {_checks.describe(stream)}")
        self.data: dict[str, Any] = dict(data or {})
        for name, pair in self.data.items():
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                wrong = _checks.describe(pair)
                raise TypeError(f"data[{name!r}]: expected a pair (X, y), got {wrong}")
        self.stream = stream
        self._pending: Step | None = None

    def begin(self, step: Step) -> None:
        """Print the header and the start."""
        names = ["sweep", "objective", "dist(0,∂f)", "step", *self.data, "seconds"]
        self._print("  ".join(f"{name:>{_width(name)}}" for name in names))
        self._row(step)

    def step(self, step: Step) -> None:
        """Print the sweep if it is its turn."""
        self._pending = step
        if step.sweep % self.every == 0:
            self._row(step)

    def end(self, solution: Solution) -> None:
        """Print the last sweep and why the run ended."""
        if self._pending is not None:
            self._row(self._pending)
        self._print(f"stopped: {solution.stop_reason}")

    def _row(self, step: Step) -> None:
        self._pending = None
        record = step.record
        cells = {
            "sweep": f"{step.sweep}",
            "objective": f"{record.objective:.6e}",
            "dist(0,∂f)": f"{record.subgradient_distance:.3e}",
            "step": f"{record.step_length:.3e}" if record.step_norm else "",
            **{name: f"{step.score(X, y):.4f}" for name, (X, y) in self.data.items()},
            "seconds": f"{record.time:.3f}",
        }
        self._print("  ".join(f"{cell:>{_width(name)}}" for name, cell in cells.items()))

    def _print(self, line: str) -> None:
        stream = sys.stdout if self.stream is None else self.stream
        encoding = getattr(stream, "encoding", None) or "utf-8"
        print(line.encode(encoding, "replace").decode(encoding), file=stream, flush=True)


def _width(name: str) -> int:
    return max(len(name), {"sweep": 6, "objective": 13, "seconds": 8}.get(name, 10))


class EarlyStop:
    """Stop once the objective has not fallen noticeably for some sweeps in a row.

    Parameters
    ----------
    patience : int
        That many sweeps.
    min_decrease : float
        A fall counts if it is more than this share of the objective.

    Raises
    ------
    TypeError, ValueError
        If an argument is no such number.
    """

    def __init__(self, patience: int = 10, min_decrease: float = 1e-6) -> None:
        self.patience = _checks.integer("patience", patience, 1)
        self.min_decrease = _checks.number("min_decrease", min_decrease, least=0)
        self._idle = 0

    def begin(self, step: Step) -> None:
        """Start counting."""
        self._idle = 0

    def step(self, step: Step) -> bool:
        """Count the sweep; return True if the patience is at its end."""
        record = step.record
        fell = record.decrease > self.min_decrease * abs(record.objective)
        self._idle = 0 if fell else self._idle + 1
        return self._idle >= self.patience


class TimeLimit:
    """Stop before a sweep that would end later than some seconds after the start.

    A sweep is taken to last as long as the one before it. The first sweep is always made.

    Parameters
    ----------
    seconds : float
        Wall time, not counting the forward pass at the start.

    Raises
    ------
    TypeError, ValueError
        If it is no positive number.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = _checks.number("seconds", seconds, above=0)
        self._begin = self._latest = monotonic()

    def begin(self, step: Step) -> None:
        """Start the clock."""
        self._begin = self._latest = monotonic()

    def step(self, step: Step) -> bool:
        """Return True if there is no time for another sweep."""
        before, self._latest = self._latest, monotonic()
        return self._latest + (self._latest - before) - self._begin > self.seconds


class Checkpoint:
    """Save state and trace, atomically: every so many sweeps, and at the end.

    A run that failed is not saved at its end: the file keeps the last good sweep. To resume,
    ``state, trace = amcore.checkpoint.load(path)`` and ``solve(…, init=state, trace=trace)``, which
    keeps the history of the first leg. A save that fails ends the run in its OSError, which names
    the file and holds the run as `solution`; what the file held before stays.

    Parameters
    ----------
    path : path
        The file, overwritten each time.
    every : int
        Number of sweeps between two saves.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind.
    OSError
        If the file cannot be written, such as a folder or a file in a folder that does not exist.
    """

    def __init__(self, path: str | PathLike[str], every: int = 1) -> None:
        self.path = _checks.path("path", path)
        self.every = _checks.integer("every", every, 1)
        _files.check_writable(self.path)
        self._tried = -1

    def begin(self, step: Step) -> None:
        """Nothing is saved yet."""
        self._tried = -1

    def step(self, step: Step) -> None:
        """Save if it is this sweep's turn."""
        if step.sweep % self.every == 0:
            self._save(step)

    def end(self, solution: Solution) -> None:
        """Save the last sweep."""
        if solution.stop_reason != "failed" and self._tried != len(solution.trace):
            self._save(solution)

    def _save(self, fit: Step | Solution) -> None:
        self._tried = len(fit.trace)
        checkpoint.save(self.path, fit.state, fit.trace)
