"""What bounds ½(σ(z) − t)² by a parabola: h ≥ sup |σ'² + (σ − t)σ''|."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from amcore._checks import Array


@dataclass(frozen=True)
class Majorizer:
    """h = base + slope · max |T − center|, at least sup |d²/dz² ½(σ(z) − t)²| for all entries t."""

    base: float
    slope: float
    center: float

    def __call__(self, distance: float) -> float:
        """Return h for targets of that `distance`."""
        return self.base + self.slope * distance

    def distance(self, T: Array) -> float:
        """Return max |T − center|."""
        return float(np.max(np.abs(T - self.center), initial=0.0))

    @classmethod
    def published(cls, L0: float, L1: float, L2: float) -> Majorizer:
        """Return h = L1² + (L0 + max|T|) L2; infinite where σ is unbounded or has kinks.

        Source: Zeng, Lin, Yao, Zhou (JMLR 22, 2021), local linear approximation.
        """
        return cls(L1**2 + (L0 * L2 if L2 else 0.0), L2, 0.0)

    @classmethod
    def trial(cls, L0: float, L1: float, L2: float) -> Majorizer:
        """Return the published h, or where there is none one to begin with and to double at need.

        Away from kinks h = L1² majorises a piecewise linear σ.
        """
        known = cls.published(L0, L1, L2)
        if math.isfinite(known.base) and math.isfinite(known.slope):
            return known
        return cls(L1**2 if math.isfinite(L1) else 1.0, 0.0, 0.0)
