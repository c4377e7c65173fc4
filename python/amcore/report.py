"""What a sweep reports: the one list of fields that engines, records and traces go by."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Record", "Report"]


@dataclass(frozen=True)
class Report:
    """Measurements of one sweep, or of the start.

    Attributes
    ----------
    objective : float
        The objective f after the sweep.
    subgradient_distance : float
        dist(0, ∂f) after the sweep; NaN where it was not measured.
    decrease : float
        f before minus f after the sweep, accurate relative to the steps where the sweep was
        measured; NaN for the start.
    parts : dict of float
        The terms of the objective by name; they add up to it.
    distance : dict of float
        dist(0, ∂f) of each block of variables; the root of the sum of squares is
        `subgradient_distance`.
    step_norm : dict of float
        Frobenius norm of the change of each block of variables.
    monitors : dict of float
        What else the scheme watches, such as the residuals of its constraints, by name. If some
        activation has kinks and the state has V, ``pattern_changes`` is among them: how many
        entries of the U_i, or of the W_i V_{i−1} + b_i of a scheme without U, have changed their
        piece of σ_i in the sweep, a kink being a piece of its own; an entry counts once a step of a
        block that changes it.
    seconds : dict of float
        Wall time of each phase of the sweep in seconds.
    marks : sequence of str
        Events of the sweep, such as a change of a hyperparameter.
    """

    objective: float
    subgradient_distance: float = math.nan
    decrease: float = math.nan
    parts: Mapping[str, float] = field(default_factory=dict)
    distance: Mapping[str, float] = field(default_factory=dict)
    step_norm: Mapping[str, float] = field(default_factory=dict)
    monitors: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    marks: Sequence[str] = ()


@dataclass(frozen=True)
class _Numbered:
    sweep: int


@dataclass(frozen=True)
class Record(Report, _Numbered):  # in this order `sweep` is the first field
    """What one sweep left behind: its number, its report and its time.

    Attributes
    ----------
    sweep : int
        Number of the sweep; 0 is the start, before the first sweep.
    objective, subgradient_distance, decrease, parts, distance, step_norm, monitors, seconds, marks
        See `Report`.
    time : float
        Wall time of the sweep in seconds.
    """

    time: float = math.nan

    @property
    def step_length(self) -> float:
        """Frobenius norm of the change of all variables together; 0 where it was not measured."""
        return math.hypot(*self.step_norm.values())

    @classmethod
    def of(cls, report: Any, **others: Any) -> Record:
        """Return a record of what an engine reports, an object with the fields of `Report`.

        Parameters
        ----------
        report : Report
            Of either backend.
        **others
            The other fields, and those that are known better.
        """
        return cls(**({name: getattr(report, name) for name in _REPORTED} | others))


_REPORTED = tuple(f.name for f in dataclasses.fields(Report))
FAMILIES = tuple(f.name for f in dataclasses.fields(Report) if f.default_factory is dict)
SCALARS = tuple(f.name for f in dataclasses.fields(Record) if f.type == "float")
