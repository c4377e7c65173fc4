"""What a sweep reports."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Report:
    """Measurements of one sweep, or of the start.

    Attributes
    ----------
    objective, decrease, subgradient_distance : float
        f, its fall over the sweep (accurate relative to the steps), dist(0, ∂f); NaN if unknown.
    parts, distance, step_norm, monitors, seconds : dict of str to float
        Terms of f, dist(0, ∂f) and ‖Δ‖ by block of variables, what else the scheme watches, wall
        time by phase.
    marks : tuple of str
        Events of the sweep, such as a change of a hyperparameter.
    """

    objective: float
    decrease: float = math.nan
    parts: dict[str, float] = field(default_factory=dict)
    distance: dict[str, float] = field(default_factory=dict)
    step_norm: dict[str, float] = field(default_factory=dict)
    monitors: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    marks: tuple[str, ...] = ()

    @property
    def subgradient_distance(self) -> float:
        """Root of the sum of the squares of `distance`."""
        return math.hypot(*self.distance.values()) if self.distance else math.nan
