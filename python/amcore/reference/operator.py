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

from amcore import _checks
from amcore.reference.majorizer import Majorizer

__all__ = [
    "Activation",
    "Loss",
    "Operator",
    "PiecewiseLinear",
    "Regularizer",
    "ScalarTerms",
    "load",
    "norm",
    "stems",
    "weighted_square",
    "wide",
]

Array: TypeAlias = npt.NDArray[np.floating[Any]]
Parameter: TypeAlias = float | tuple[float, ...]


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


def wide(x: Array) -> Array:
    """Return x in float64, or as it is if that is wider."""
    return x.astype(np.result_type(x, np.float64), copy=False)


def norm(x: Array, axis: int | None = None) -> Any:
    """‖x‖, along an axis that is kept; of x times a power of two where squares are out of range."""
    x, limits = wide(x), np.finfo(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        plain = np.linalg.norm(x, axis=axis, keepdims=axis is not None)
        in_range = (plain >= math.sqrt(limits.tiny / limits.eps)) & (plain <= limits.max)
        if np.all(in_range):
            return plain
        scale = np.where(plain < 1, 2.0**600, 2.0**-600)
        scaled = np.linalg.norm(scale * x, axis=axis, keepdims=axis is not None) / scale
    return np.where(in_range, plain, scaled)


def weighted_square(weight: float, x: Array) -> float:
    """Weight times ‖x‖², which may be out of range where the product is not."""
    limits = np.finfo(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        plain = weight * float(np.sum(np.square(x, dtype=np.float64)))
    if limits.tiny / limits.eps <= plain <= limits.max:
        return plain
    size = float(norm(x))
    return weight * size * size


@dataclasses.dataclass(frozen=True)
class Operator(ABC):
    """A function of the catalogue; the fields of the dataclass are its parameters.

    Attributes
    ----------
    family : str
        activation, loss or regularizer.
    formula, prox_formula, source : str
        The function, its proximal map, and where it is defined.
    traits : frozenset of str
        Among convex, smooth, piecewise_linear, monotone, bounded, analytic, semialgebraic,
        separable, quadratic, indicator.
    L0, L1, L2 : float
        Least upper bounds of the function's modulus, of its Lipschitz constant and of that of its
        gradient; infinite where unbounded. Of one entry for separable operators, of one sample
        for the other losses, of one group or of the whole array for the other regularisers.
    """

    family: ClassVar[str]
    formula: ClassVar[str]
    prox_formula: ClassVar[str]
    source: ClassVar[str]
    traits: ClassVar[frozenset[str]]

    def __post_init__(self) -> None:
        """Keep the parameters as floats, those with a tuple for a default as tuples.

        They are finite but for fields with ``{"infinite": True}`` among their metadata.
        """
        for field in dataclasses.fields(self):
            name, given = field.name, getattr(self, field.name)
            check = _checks.real if field.metadata.get("infinite") else _checks.number
            if isinstance(field.default, tuple):
                numbers = _checks.sequence(name, given, "a sequence of numbers")
                kept: Parameter = tuple(
                    check(f"{name}[{i}]", entry) for i, entry in enumerate(numbers)
                )
            elif _checks.entries(name, given, "a number") is not None:
                wrong = _checks.describe(given)
                raise TypeError(
                    f"{name}: expected one number for all entries, got {wrong}; "
                    "one for each needs an operator of your own"
                )
            else:
                kept = check(name, given)
            object.__setattr__(self, name, kept)

    @property
    def name(self) -> str:
        """The stem: the name of the operator in every layer of the library."""
        stem = type(self).__module__.rpartition(".")[2]
        return stem if self.in_catalogue else type(self).__name__

    @property
    def in_catalogue(self) -> bool:
        """Whether it is an operator of this library, which has a compiled counterpart."""
        return type(self).__module__.startswith(__name__.rpartition(".")[0] + ".")

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Parameters by name, in the order of the constructor."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def numbers(self) -> list[float]:
        """Parameters one after another, as the compiled core takes them."""
        given = self.parameters.values()
        return [x for entry in given for x in (entry if isinstance(entry, tuple) else (entry,))]

    def _nonnegative(self, *names: str) -> None:
        """Refuse parameters below 0."""
        for name in names:
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected a number >= 0, got {getattr(self, name)}")

    @property
    def nonnegative(self) -> bool:
        """Whether a loss or regulariser is certain to be >= 0: all of this library, not others."""
        return self.in_catalogue

    @property
    def L0(self) -> float:
        """Least upper bound of the modulus."""
        return math.inf

    @property
    def L1(self) -> float:
        """Lipschitz constant."""
        return math.inf

    @property
    def L2(self) -> float:
        """Lipschitz constant of the derivative or gradient."""
        return math.inf


class Activation(Operator):
    """An elementwise function σ: L0 = sup|σ|, L1 = sup|σ'|, L2 = sup|σ''| (infinite at a kink)."""

    family = "activation"

    @property
    def kinks(self) -> tuple[float, ...]:
        """Where σ' jumps, in ascending order."""
        return ()

    def piece(self, u: Array) -> npt.NDArray[np.intp]:
        """Return a number for the piece between two kinks that u lies on, a kink being one."""
        kinks = np.array(self.kinks, dtype=u.dtype)
        return np.searchsorted(kinks, u, side="left") + np.searchsorted(kinks, u, side="right")

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

    @property
    def published_majorizer(self) -> Majorizer:
        """The majoriser of ½(σ − t)² by the bounds L0, L1 and L2; infinite where one is."""
        return Majorizer.published(self.L0, self.L1, self.L2)

    @property
    def majorizer(self) -> Majorizer:
        """The least h known for ½(σ − t)², which where there is none is one to begin with."""
        return Majorizer.trial(self.L0, self.L1, self.L2)

    @property
    def invertible(self) -> bool:
        """Whether σ is monotone and `inverse` is there."""
        return "monotone" in self.traits and type(self).inverse is not Activation.inverse

    def inverse(self, v: Array) -> Array:
        """Return u with σ(u) = v where σ increases; outside its range anything."""
        raise NotImplementedError(f"{self.name} has no inverse")


class PiecewiseLinear(Activation):
    """A continuous σ with σ(u) = m u + q on each interval [l, r] of `pieces`, left to right."""

    L2 = math.inf

    @property
    @abstractmethod
    def pieces(self) -> tuple[tuple[float, float, float, float], ...]:
        """The pieces (l, r, m, q)."""

    @property
    def kinks(self) -> tuple[float, ...]:
        """Where pieces meet."""
        return tuple(r for _, r, _, _ in self.pieces[:-1])

    def derivative(self, u: Array, side: str = "left") -> Array:
        """Slope of the piece that ends (left) or begins (right) at u."""
        kinks = np.array(self.kinks, dtype=u.dtype)
        slopes = np.array([m for _, _, m, _ in self.pieces], dtype=u.dtype)
        return slopes[np.searchsorted(kinks, u, side="left" if side == "left" else "right")]

    def difference(self, a: Array, b: Array) -> Array:
        """Sum over the pieces of the slope times the part of a − b on the piece."""
        parts = [m * (np.clip(a, l, r) - np.clip(b, l, r)) for l, r, m, _ in self.pieces]  # noqa: E741
        return sum(parts[1:], start=parts[0])

    def inverse(self, v: Array) -> Array:
        """(v − q)/m on the increasing piece whose values v is among, or the nearest end of one."""
        result: Array | None = None
        for l, r, m, q in self.pieces:  # noqa: E741
            if m > 0:
                u = np.clip((v - q) / m, l, r)
                result = u if result is None else np.where(v > m * l + q, u, result)
        assert result is not None
        return result

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

    family = "loss"
    targets: ClassVar[str]

    @abstractmethod
    def value(self, v: Array, y: Array) -> float:
        """Σ_j ℓ(v_j, y_j) over the samples."""

    @abstractmethod
    def gradient(self, v: Array, y: Array) -> Array:
        """∇ℓ(v_j, y_j) by rows; at a kink one member of the subdifferential."""

    def derivatives(self, v: Array, y: Array) -> tuple[Array, Array]:
        """One-sided derivatives of a separable ℓ, from the left and from the right, by entries."""
        gradient = self.gradient(v, y)
        return gradient, gradient

    @abstractmethod
    def difference(self, a: Array, b: Array, y: Array) -> float:
        """Σ_j ℓ(a_j, y_j) − ℓ(b_j, y_j), with an error relative to |a − b|."""

    @abstractmethod
    def prox(self, q: Array, y: Array, tau: float) -> Array:
        """argmin_v ℓ(v, y) + ‖v − q‖²/(2τ) by rows."""

    def subgradient_distance(self, v: Array, y: Array, g: Array, scale: float = 1.0) -> float:
        """dist(0, g + scale ∂ℓ(v, y)), over all samples."""
        return float(norm(g + scale * self.gradient(v, y)))


@dataclasses.dataclass(frozen=True)
class ScalarTerms:
    """l1 |x| + ridge/2 x² + l0 [x ≠ 0], infinite outside [lo, hi]: an entry's share of r."""

    l1: float = 0.0
    ridge: float = 0.0
    l0: float = 0.0
    lo: float = -math.inf
    hi: float = math.inf


class Regularizer(Operator):
    """A function r of a matrix: the last axis of x holds its columns, the others its rows."""

    family = "regularizer"

    @property
    def terms(self) -> ScalarTerms | None:
        """What r is for every entry, if it is of that form; updates may then be exact."""
        return None

    @property
    def curvature(self) -> float | None:
        """λ where r = λ/2‖·‖², so that updates stay linear; None otherwise."""
        terms = self.terms
        return terms.ridge if terms and terms == ScalarTerms(ridge=terms.ridge) else None

    @property
    def by_row(self) -> bool:
        """Whether r is a sum over rows: of activations, over samples."""
        return "separable" in self.traits

    @abstractmethod
    def value(self, x: Array) -> float:
        """r(x)."""

    @abstractmethod
    def difference(self, a: Array, b: Array) -> float:
        """r(a) − r(b), with an error relative to |a − b|."""

    @abstractmethod
    def prox(self, x: Array, tau: float) -> Array:
        """argmin_p r(p) + ‖p − x‖²/(2τ)."""

    @abstractmethod
    def subgradient_distance(self, x: Array, g: Array) -> float:
        """dist(−g, ∂r(x))."""
