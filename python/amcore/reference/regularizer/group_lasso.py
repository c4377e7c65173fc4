"""r(x) = λ Σ ‖x_G‖ over the rows or columns G."""

from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Array, Regularizer, norm


@dataclass(frozen=True)
class GroupLassoRegularizer(Regularizer):
    """r(x) = λ Σ ‖x_G‖, with prox x_G max(1 − τλ/‖x_G‖, 0), over groups of entries of a matrix.

    Parameters
    ----------
    lam : float
        The strength λ ≥ 0.
    axis : {0, 1}
        The axis along which the norms are taken: 1 makes every row a group (all weights into a
        neuron), 0 every column (all weights out of one).
    """

    lam: float = 1.0
    axis: float = 1

    formula = "λ Σ‖x_G‖, G the rows (axis=1) or columns (axis=0)"
    prox_formula = "x_G max(1 - τλ/‖x_G‖, 0)"
    source = "Yuan, Lin (JRSS B 68, 2006)"
    traits = frozenset({"convex", "semialgebraic"})

    def __post_init__(self) -> None:
        """Refuse a negative strength and another axis."""
        super().__post_init__()
        self._nonnegative("lam")
        if self.axis not in (0, 1):
            raise ValueError(f"axis: expected 0 or 1, got {self.axis:g}")

    @property
    def L1(self) -> float:
        """λ."""
        return self.lam

    @property
    def by_row(self) -> bool:
        """Whether the groups are rows."""
        return self.axis == 1

    def _matrix(self, x: Array) -> Array:
        return x.astype(np.float64).reshape(-1, x.shape[-1] if x.ndim else 1)

    def _norms(self, matrix: Array) -> Array:
        norms: Array = norm(matrix, axis=int(self.axis))
        return norms

    def value(self, x: Array) -> float:
        """λ Σ‖x_G‖."""
        return float(self.lam * np.sum(self._norms(self._matrix(x))))

    def difference(self, a: Array, b: Array) -> float:
        """λ Σ ⟨a_G − b_G, a_G + b_G⟩/(‖a_G‖ + ‖b_G‖)."""
        a, b = self._matrix(a), self._matrix(b)
        sizes = self._norms(a) + self._norms(b)
        return float(self.lam * np.sum((a - b) * ((a + b) / np.where(sizes == 0, 1, sizes))))

    def prox(self, x: Array, tau: float) -> Array:
        """x_G max(1 − τλ/‖x_G‖, 0)."""
        matrix = self._matrix(x)
        norms = self._norms(matrix)
        shrink = np.maximum(norms - tau * self.lam, 0) / np.where(norms == 0, 1, norms)
        shrunk: Array = (shrink * matrix).reshape(x.shape).astype(x.dtype)
        return shrunk

    def subgradient_distance(self, x: Array, g: Array) -> float:
        """‖g_G + λ x_G/‖x_G‖‖; for x_G = 0, where ∂r is the ball of radius λ, max(‖g_G‖ − λ, 0)."""
        x, g = self._matrix(x), self._matrix(g)
        norms = self._norms(x)
        at_0 = np.maximum(self._norms(g) - self.lam, 0)
        off_0 = self._norms(g + self.lam * (x / np.where(norms == 0, 1, norms)))
        return float(norm(np.where(norms == 0, at_0, off_0)))
