"""r(x) = λ · number of entries x ≠ 0."""

from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Regularizer, ScalarTerms, norm, wide


@dataclass(frozen=True)
class L0Regularizer(Regularizer):
    """r(x) = λ · number of entries x ≠ 0, with prox the hard threshold: x where x² > 2τλ, else 0.

    Where x² = 2τλ the leftmost of 0 and x. The subdifferential is the limiting one.

    Parameters
    ----------
    lam : float
        The strength λ ≥ 0.
    """

    lam: float = 1.0

    formula = "λ · #{x ≠ 0}"
    prox_formula = "x if x² > 2τλ else 0"
    source = "Blumensath, Davies (Journal of Fourier Analysis and Applications 14, 2008)"
    traits = frozenset({"semialgebraic", "separable"})

    def __post_init__(self) -> None:
        """Refuse a negative strength."""
        super().__post_init__()
        self._nonnegative("lam")

    @property
    def L0(self) -> float:
        """λ."""
        return self.lam

    @property
    def terms(self) -> ScalarTerms:
        """λ."""
        return ScalarTerms(l0=self.lam)

    def value(self, x: Array) -> float:
        """λ · #{x ≠ 0}."""
        return self.lam * float(np.count_nonzero(x))

    def difference(self, a: Array, b: Array) -> float:
        """λ (#{a ≠ 0} − #{b ≠ 0})."""
        return self.value(a) - self.value(b)

    def prox(self, x: Array, tau: float) -> Array:
        """Return x where x² > 2τλ, else 0."""
        size = np.abs(wide(x))
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            gain = size * size - 2 * self.lam * tau
            apart = size / tau - 2 * self.lam / size  # of a tie, or where both are out of range
        gain = np.where((x == 0) | (gain < 0) | (gain > 0), gain, apart)
        return np.where((gain < 0) | ((gain == 0) & (x > 0)), 0 * x, x)

    def subgradient_distance(self, x: Array, g: Array) -> float:
        """|g| for x ≠ 0; 0 at x = 0, where the limiting subdifferential is the whole line."""
        return float(norm(np.where(x == 0, 0, g)))
