"""What an activation, a loss and a regulariser are, and how their files are found."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Activation", "Loss", "Operator", "PiecewiseLinear", "Regularizer", "load", "stems"]

Array: TypeAlias = npt.NDArray[np.floating[Any]]


def stems(family: str) -> list[str]:
    """Names of the operators of a family: the files of the package of that name."""
    package = importlib.import_module(f"amcore.reference.{family}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def load(family: str, stem: str) -> type[Operator]:
    """Class of the operator `stem`: ``activation/leaky_relu.py`` holds ``LeakyReluActivation``."""
    module = importlib.import_module(f"amcore.reference.{family}.{stem}")
    name = "".join(word.capitalize() for word in [*stem.split("_"), family])
    operator: type[Operator] = getattr(module, name)
    return operator


@dataclasses.dataclass(frozen=True)
class Operator(ABC):
    """A function of the catalogue; the fields of the dataclass are its parameters.

    Attributes
    ----------
    formula, prox_formula, source : str
        The function, its proximal map, and where it is defined.
    traits : frozenset of str
        Among convex, smooth, piecewise_linear, monotone, bounded, analytic, semialgebraic,
        separable, quadratic.
    """

    formula: ClassVar[str]
    prox_formula: ClassVar[str]
    source: ClassVar[str]
    traits: ClassVar[frozenset[str]]

    def __post_init__(self) -> None:
        """Keep the parameters as finite floats."""
        for field in dataclasses.fields(self):
            given = getattr(self, field.name)
            try:
                number = float(given)
            except (TypeError, ValueError):
                raise TypeError(
                    f"{field.name}: expected a number, got {type(given).__name__}"
                ) from None
            if not math.isfinite(number):
                raise ValueError(f"{field.name}: expected a finite number, got {number}")
            object.__setattr__(self, field.name, number)

    @property
    def name(self) -> str:
        """The stem: the name of the operator in every layer of the library."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def parameters(self) -> dict[str, float]:
        """Parameters by name, in the order of the constructor."""
        return dataclasses.asdict(self)


class Activation(Operator):
    """An elementwise function σ.

    Attributes
    ----------
    L0, L1, L2 : float
        sup|σ|, sup|σ'|, sup|σ''|; infinite where unbounded (L2 also at a kink).
    """

    L0: ClassVar[float]
    L1: ClassVar[float]
    L2: ClassVar[float]

    @abstractmethod
    def value(self, u: Array) -> Array:
        """σ(u)."""

    @abstractmethod
    def derivative(self, u: Array, side: str = "left") -> Array:
        """σ'(u); at a kink the derivative from the left or from the right."""

    @abstractmethod
    def difference(self, a: Array, b: Array) -> Array:
        """σ(a) − σ(b), with an error relative to |a − b|."""

    @abstractmethod
    def prox(self, v: Array, z: Array, weight: float) -> Array:
        """argmin_u ½(v − σ(u))² + weight/2 (u − z)², globally; ties go to the leftmost."""


class PiecewiseLinear(Activation):
    """A continuous σ with σ(u) = m u + q on each interval [l, r] of `pieces`, left to right."""

    L2 = math.inf

    @property
    @abstractmethod
    def pieces(self) -> tuple[tuple[float, float, float, float], ...]:
        """The pieces (l, r, m, q)."""

    def _piece(self, u: Array, side: str) -> npt.NDArray[np.intp]:
        kinks = np.array([r for _, r, _, _ in self.pieces[:-1]], dtype=u.dtype)
        return np.searchsorted(kinks, u, side="left" if side == "left" else "right")

    def derivative(self, u: Array, side: str = "left") -> Array:
        """Slope of the piece that ends (left) or begins (right) at u."""
        slopes = np.array([m for _, _, m, _ in self.pieces], dtype=u.dtype)
        return slopes[self._piece(u, side)]

    def difference(self, a: Array, b: Array) -> Array:
        """Slope times a − b on a common piece; across a kink the values are that accurate."""
        same = self._piece(a, "left") == self._piece(b, "left")
        return np.where(same, self.derivative(a) * (a - b), self.value(a) - self.value(b))

    def prox(self, v: Array, z: Array, weight: float) -> Array:
        """Least of the pieces' minimisers clip((m(v − q) + w z)/(m² + w), l, r)."""
        best: Array | None = None
        for l, r, m, q in self.pieces:  # noqa: E741
            u = np.clip((m * (v - q) + weight * z) / (m * m + weight), l, r)
            best = u if best is None else np.where(self._gain(best, u, v, z, weight) > 0, u, best)
        assert best is not None
        return best

    def _gain(self, a: Array, b: Array, v: Array, z: Array, weight: float) -> Array:
        """Twice the prox objective at a less that at b, as products of differences."""
        values = self.difference(b, a) * ((v - self.value(a)) + (v - self.value(b)))
        return values + weight * ((a - b) * ((a - z) + (b - z)))


class Loss(Operator):
    """A function ℓ(v, y) of one sample's outputs and targets; samples are the rows of arrays.

    Attributes
    ----------
    targets : {"real", "sign", "distribution"}
        What the rows of y hold: real numbers, ±1, or probabilities. Class labels are encoded as 0/1
        indicators (real, distribution) or as −1/1 indicators (sign).
    """

    targets: ClassVar[str]

    @abstractmethod
    def value(self, v: Array, y: Array) -> float:
        """Σ_j ℓ(v_j, y_j) over the samples."""

    @abstractmethod
    def gradient(self, v: Array, y: Array) -> Array:
        """∇ℓ(v_j, y_j) by rows; at a kink one member of the subdifferential."""

    @abstractmethod
    def difference(self, a: Array, b: Array, y: Array) -> float:
        """Σ_j ℓ(a_j, y_j) − ℓ(b_j, y_j), with an error relative to |a − b|."""

    @abstractmethod
    def prox(self, q: Array, y: Array, tau: float) -> Array:
        """argmin_v ℓ(v, y) + ‖v − q‖²/(2τ) by rows."""

    def subgradient_distance(self, v: Array, y: Array, g: Array, scale: float = 1.0) -> float:
        """dist(0, g + scale ∂ℓ(v, y)), over all samples."""
        return float(np.linalg.norm(g + scale * self.gradient(v, y)))


class Regularizer(Operator):
    """A function r of an array."""

    @property
    def curvature(self) -> float | None:
        """λ where r = λ/2‖·‖², so that updates stay linear; None otherwise."""
        return None

    @abstractmethod
    def value(self, x: Array) -> float:
        """r(x)."""

    @abstractmethod
    def prox(self, x: Array, tau: float) -> Array:
        """argmin_p r(p) + ‖p − x‖²/(2τ)."""

    @abstractmethod
    def subgradient_distance(self, x: Array, g: Array) -> float:
        """dist(−g, ∂r(x))."""
