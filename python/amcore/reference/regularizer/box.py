"""r(x) = 0 where lo ≤ x ≤ hi, else ∞."""

import math
from dataclasses import dataclass, field

import numpy as np

from amcore.reference.operator import Array, Regularizer, ScalarTerms, norm


@dataclass(frozen=True)
class BoxRegularizer(Regularizer):
    """r(x) = 0 where lo ≤ x ≤ hi for every entry, else ∞; prox clip(x, lo, hi).

    Parameters
    ----------
    lo, hi : float
        The bounds, lo ≤ hi, rounded to the dtype of x; −∞ and ∞ for none.
    """

    lo: float = field(default=-1.0, metadata={"infinite": True})
    hi: float = field(default=1.0, metadata={"infinite": True})

    formula = "0 if lo ≤ x ≤ hi else ∞"
    prox_formula = "clip(x, lo, hi)"
    source = "Parikh, Boyd (Proximal Algorithms, 2014)"
    traits = frozenset({"convex", "semialgebraic", "separable", "indicator"})

    def __post_init__(self) -> None:
        """Refuse an empty box."""
        super().__post_init__()
        if not self.lo < math.inf:
            raise ValueError(f"lo: expected a number < inf, got {self.lo}")
        if not self.hi > -math.inf:
            raise ValueError(f"hi: expected a number > -inf, got {self.hi}")
        if self.lo > self.hi:
            raise ValueError(f"hi: expected a number >= lo = {self.lo}, got {self.hi}")

    @property
    def terms(self) -> ScalarTerms:
        """The interval."""
        return ScalarTerms(lo=self.lo, hi=self.hi)

    def value(self, x: Array) -> float:
        """0 or ∞."""
        lo, hi = np.asarray((self.lo, self.hi), x.dtype)
        return 0.0 if ((lo <= x) & (x <= hi)).all() else math.inf

    def difference(self, a: Array, b: Array) -> float:
        """0 within the box."""
        return self.value(a) - self.value(b)

    def prox(self, x: Array, tau: float) -> Array:
        """clip(x, lo, hi)."""
        return np.clip(x, *np.asarray((self.lo, self.hi), x.dtype))

    def subgradient_distance(self, x: Array, g: Array) -> float:
        """0 where −g is in the normal cone, (−∞, 0] at lo and [0, ∞) at hi; else |g|; outside ∞."""
        lo, hi = np.asarray((self.lo, self.hi), x.dtype)
        held = np.where(g > 0, x == lo, x == hi)
        return self.value(x) + float(norm(np.where(held, 0, g)))
