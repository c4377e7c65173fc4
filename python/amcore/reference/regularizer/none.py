"""r(x) = 0."""

from dataclasses import dataclass

from amcore.reference.operator import Array, Regularizer, ScalarTerms, norm


@dataclass(frozen=True)
class NoneRegularizer(Regularizer):
    """r(x) = 0, with prox x."""

    formula = "0"
    prox_formula = "x"
    source = "no regularisation"
    traits = frozenset({"smooth", "convex", "analytic", "semialgebraic", "separable", "quadratic"})
    L0, L1, L2 = 0.0, 0.0, 0.0

    @property
    def terms(self) -> ScalarTerms:
        """None."""
        return ScalarTerms()

    def value(self, x: Array) -> float:
        """0."""
        return 0.0

    def difference(self, a: Array, b: Array) -> float:
        """0."""
        return 0.0

    def prox(self, x: Array, tau: float) -> Array:
        """Return a copy of x."""
        return x.copy()

    def subgradient_distance(self, x: Array, g: Array) -> float:
        """‖g‖."""
        return float(norm(g))
