"""r(x) = 0 where ‖x‖ ≤ radius, else ∞."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Regularizer, norm, wide


@dataclass(frozen=True)
class L2BallRegularizer(Regularizer):
    """r(x) = 0 where ‖x‖ ≤ radius, else ∞; the prox is the projection x min(1, radius/‖x‖).

    A norm within 4 ulp of the radius counts as on the sphere, as that of a projection does.

    Parameters
    ----------
    radius : float
        Positive.
    """

    radius: float = 1.0

    formula = "0 if ‖x‖ ≤ radius else ∞"
    prox_formula = "x min(1, radius/‖x‖)"
    source = "Parikh, Boyd (Proximal Algorithms, 2014)"
    traits = frozenset({"convex", "semialgebraic", "indicator"})

    def __post_init__(self) -> None:
        """Refuse a radius that is not positive."""
        super().__post_init__()
        if self.radius <= 0:
            raise ValueError(f"radius: expected a number > 0, got {self.radius}")

    def _excess(self, x: Array) -> tuple[float, float]:
        """‖x‖/radius − 1, and how much of it may be rounding."""
        return float(norm(x)) / self.radius - 1, 4 * float(np.finfo(x.dtype).eps)

    def value(self, x: Array) -> float:
        """0 or ∞."""
        excess, rounding = self._excess(x)
        return 0.0 if excess <= rounding else math.inf

    def difference(self, a: Array, b: Array) -> float:
        """0 within the ball."""
        return self.value(a) - self.value(b)

    def prox(self, x: Array, tau: float) -> Array:
        """Projection x min(1, radius/‖x‖)."""
        size = float(norm(x))
        if size <= self.radius:
            return x.copy()
        shrink = self.radius / size
        in_range = shrink >= np.finfo(np.float64).tiny
        projected = wide(x) * shrink if in_range else self.radius * (wide(x) / size)
        return projected.astype(x.dtype)

    def subgradient_distance(self, x: Array, g: Array) -> float:
        """‖g‖ inside; on the sphere, with normal cone {t x, t ≥ 0}, ‖g + t x‖; outside ∞."""
        excess, rounding = self._excess(x)
        if excess > rounding:
            return math.inf
        x, g = x.astype(np.float64), g.astype(np.float64)
        if excess >= -rounding:
            normal = x / norm(x)
            g = g + max(0.0, -float(np.sum(normal * g))) * normal
        return float(norm(g))
