"""r(x) = 0 where x ≥ 0, else ∞."""

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Regularizer, ScalarTerms, norm


@dataclass(frozen=True)
class NonnegativeRegularizer(Regularizer):
    """r(x) = 0 where every entry is ≥ 0, else ∞; the prox is the projection max(x, 0)."""

    formula = "0 if x ≥ 0 else ∞"
    prox_formula = "max(x, 0)"
    source = "Parikh, Boyd (Proximal Algorithms, 2014)"
    traits = frozenset({"convex", "semialgebraic", "separable", "indicator"})

    @property
    def terms(self) -> ScalarTerms:
        """The half-line."""
        return ScalarTerms(lo=0.0)

    def value(self, x: Array) -> float:
        """0 or ∞."""
        return 0.0 if (x >= 0).all() else math.inf

    def difference(self, a: Array, b: Array) -> float:
        """0 within the set."""
        return self.value(a) - self.value(b)

    def prox(self, x: Array, tau: float) -> Array:
        """max(x, 0)."""
        return np.maximum(x, 0)

    def subgradient_distance(self, x: Array, g: Array) -> float:
        """|g| for x > 0; at 0, where the normal cone is (−∞, 0], max(−g, 0); outside ∞."""
        return self.value(x) + float(norm(np.where(x > 0, g, np.minimum(g, 0))))
