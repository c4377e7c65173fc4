"""The public operators: activations, losses and regularisers as functions of any array."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np

from amcore import _checks, _core
from amcore.reference import operator as definitions
from amcore.reference.operator import Parameter, stems

Array = _checks.Array


class Operator:
    """A named function of the catalogue, computed by the compiled core.

    Attributes
    ----------
    name : str
        Its name, usable wherever the operator is.
    parameters : dict of str to float or tuple of float
        Its parameters by name.
    reference
        The same operator in plain NumPy, which also holds its formula, source and traits.
    """

    family: ClassVar[str]
    reference: definitions.Operator

    def __init__(self, definition: definitions.Operator) -> None:
        self.reference = definition

    @property
    def name(self) -> str:
        """Name of the operator."""
        return self.reference.name

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Parameters by name."""
        return self.reference.parameters

    @property
    def formula(self) -> str:
        """The function, written out."""
        return self.reference.formula

    @property
    def prox_formula(self) -> str:
        """Its proximal map, written out."""
        return self.reference.prox_formula

    @property
    def source(self) -> str:
        """Where it is defined."""
        return self.reference.source

    @property
    def traits(self) -> frozenset[str]:
        """Its properties: convex, smooth, piecewise_linear, monotone, bounded, …."""
        return self.reference.traits

    @property
    def L0(self) -> float:
        """Least upper bound of its modulus, sup|σ|; infinite where unbounded."""
        return self.reference.L0

    @property
    def L1(self) -> float:
        """Its Lipschitz constant, sup|σ'|; infinite where there is none."""
        return self.reference.L1

    @property
    def L2(self) -> float:
        """The Lipschitz constant of its derivative, sup|σ''|; infinite where there is none."""
        return self.reference.L2

    def _compiled(self) -> tuple[str, list[float]]:
        """Name and parameters for the compiled core."""
        if not self.reference.in_catalogue:
            raise ValueError(
                f'{self.family} {self.name} is written in Python: it needs backend="reference"'
            )
        return self.name, self.reference.numbers

    def __getstate__(self) -> dict[str, Any]:
        return {"reference": self.reference}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Operator) and self.reference == other.reference

    def __hash__(self) -> int:
        return hash(self.reference)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={_text(value)}" for name, value in self.parameters.items())
        return f"{self.name}({given})" if given else self.name


def _text(value: Parameter) -> str:
    return f"[{', '.join(map(_text, value))}]" if isinstance(value, tuple) else f"{value:g}"


class Activation(Operator):
    """An elementwise function σ."""

    family = "activation"
    reference: definitions.Activation

    @functools.cached_property
    def native(self) -> _core.Activation:
        """The operator of the compiled core; an operator written in Python has none."""
        return _core.Activation(*self._compiled())

    def value(self, u: Any, *, out: Array | None = None) -> Any:
        """σ(u), entry by entry.

        Parameters
        ----------
        u : array_like
            Any shape; float32 and float64 are kept, integers become float64.
        out : ndarray, optional
            Array of that shape and dtype for the result.

        Returns
        -------
        ndarray
            `out` if given; a scalar for a scalar.

        Raises
        ------
        TypeError, ValueError
            If an argument is no array of real numbers, or `out` does not fit.
        """
        shape, (u,) = _flat(u=u)
        return _into(out, shape, u, lambda result: self.native.value(u, result))

    def derivative(self, u: Any, side: str = "left", *, out: Array | None = None) -> Any:
        """σ'(u); at a kink the derivative from the ``"left"`` or from the ``"right"``.

        Parameters, result and errors otherwise as for `value`.
        """
        _checks.choice("side", side, ("left", "right"))
        shape, (u,) = _flat(u=u)
        return _into(out, shape, u, lambda result: self.native.derivative(u, side, result))

    def difference(self, a: Any, b: Any, *, out: Array | None = None) -> Any:
        """σ(a) − σ(b), with a rounding error relative to |a − b|.

        Parameters, result and errors otherwise as for `value`; `a` and `b` are broadcast together.
        """
        shape, (a, b) = _flat(a=a, b=b)
        return _into(out, shape, a, lambda result: self.native.difference(a, b, result))

    def prox(self, v: Any, z: Any, weight: float, *, out: Array | None = None) -> Any:
        """argmin_u ½(v − σ(u))² + weight/2 (u − z)², globally; ties go to the leftmost minimiser.

        Parameters
        ----------
        v, z : array_like
            Any shapes that broadcast together, of one dtype.
        weight : float
            Positive.
        out : ndarray, optional
            Array for the result.

        Returns
        -------
        ndarray

        Raises
        ------
        TypeError, ValueError
            If an argument is no array of real numbers, the weight is not positive, or shapes or
            dtypes differ.
        """
        weight = _checks.number("weight", weight, above=0)
        shape, (v, z) = _flat(v=v, z=z)
        return _into(out, shape, v, lambda result: self.native.prox(v, z, weight, result))


class Loss(Operator):
    """A function ℓ(v, y) of a sample's outputs v and targets y; samples are rows."""

    family = "loss"
    reference: definitions.Loss

    @functools.cached_property
    def native(self) -> _core.Loss:
        """The operator of the compiled core; an operator written in Python has none."""
        return _core.Loss(*self._compiled())

    @property
    def targets(self) -> str:
        """What the rows of y hold: ``"real"`` numbers, a ``"sign"`` or a ``"distribution"``."""
        return self.reference.targets

    def _rows(self, **arrays: Any) -> tuple[tuple[int, ...], list[Array]]:
        given = _together(**arrays)
        for name, values in zip(arrays, given, strict=True):
            if values.ndim == 0 or values.shape[-1] == 0:
                raise ValueError(f"{name}: expected shape (n, K), got {values.shape}")
            if name == "y":
                check_targets(self, "y", values)
        shape = given[0].shape
        return shape, [_checks.contiguous(values).reshape(-1, shape[-1]) for values in given]

    def value(self, v: Any, y: Any) -> float:
        """Σ_j ℓ(v_j, y_j).

        Parameters
        ----------
        v, y : array_like
            Shape (n, K), or (K,) for one sample; one dtype.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            If an argument is no such array, or y holds no targets of this loss.
        """
        _, (v, y) = self._rows(v=v, y=y)
        return self.native.value(v, y)

    def gradient(self, v: Any, y: Any, *, out: Array | None = None) -> Any:
        """∇ℓ(v_j, y_j) by rows, in the shape of v; arguments and errors as for `value`."""
        shape, (v, y) = self._rows(v=v, y=y)
        return _into(out, shape, v, lambda result: self.native.gradient(v, y, result))

    def difference(self, a: Any, b: Any, y: Any) -> float:
        """Σ_j ℓ(a_j, y_j) − ℓ(b_j, y_j), with a rounding error relative to |a − b|.

        Arguments and errors as for `value`.
        """
        _, (a, b, y) = self._rows(a=a, b=b, y=y)
        return self.native.difference(a, b, y)

    def prox(self, q: Any, y: Any, tau: float, *, out: Array | None = None) -> Any:
        """argmin_v ℓ(v, y) + ‖v − q‖²/(2τ) by rows, τ > 0; arguments and errors as for `value`."""
        tau = _checks.number("tau", tau, above=0)
        shape, (q, y) = self._rows(q=q, y=y)
        return _into(out, shape, q, lambda result: self.native.prox(q, y, tau, result))

    def subgradient_distance(self, v: Any, y: Any, g: Any, scale: float = 1.0) -> float:
        """dist(0, g + scale ∂ℓ(v, y)) over all samples; arguments and errors as for `value`."""
        scale = _checks.number("scale", scale, least=0)
        _, (v, y, g) = self._rows(v=v, y=y, g=g)
        return self.native.subgradient_distance(v, y, g, scale)


class Regularizer(Operator):
    """A function r of a matrix: the last axis of x holds its columns, the others its rows."""

    family = "regularizer"
    reference: definitions.Regularizer

    @functools.cached_property
    def native(self) -> _core.Regularizer:
        """The operator of the compiled core; an operator written in Python has none."""
        return _core.Regularizer(*self._compiled())

    def value(self, x: Any) -> float:
        """r(x).

        Parameters
        ----------
        x : array_like
            Any shape; float32 and float64 are kept, integers become float64.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            If x is no array of real numbers.
        """
        _, (x,) = _matrices(x=x)
        return self.native.value(x)

    def difference(self, a: Any, b: Any) -> float:
        """r(a) − r(b), with a rounding error relative to |a − b|; errors as for `value`."""
        _, (a, b) = _matrices(a=a, b=b)
        return self.native.difference(a, b)

    def prox(self, x: Any, tau: float, *, out: Array | None = None) -> Any:
        """argmin_p r(p) + ‖p − x‖²/(2τ), τ > 0, in the shape of x; errors as for `value`.

        Where not unique, the leftmost.
        """
        tau = _checks.number("tau", tau, above=0)
        shape, (x,) = _matrices(x=x)
        return _into(out, shape, x, lambda result: self.native.prox(x, tau, result))

    def subgradient_distance(self, x: Any, g: Any) -> float:
        """dist(−g, ∂r(x)), g of the shape of x; errors as for `value`."""
        _, (x, g) = _matrices(x=x, g=g)
        return self.native.subgradient_distance(x, g)


Kind = TypeVar("Kind", bound=Operator)


_attributes: dict[tuple[str, str], Any] = {}


def attribute(kind: type[Kind], stem: str) -> Kind | Callable[..., Kind]:
    """Return the operator `stem`, or its constructor if it has parameters.

    Raises
    ------
    AttributeError
        If there is no such operator.
    """
    if (kind.family, stem) not in _attributes:
        if stem not in stems(kind.family):
            known = ", ".join(stems(kind.family))
            raise AttributeError(f"no {kind.family} {stem!r}: there is {known}")
        _attributes[kind.family, stem] = _instance_or_constructor(kind, stem)
    found: Kind | Callable[..., Kind] = _attributes[kind.family, stem]
    return found


def _instance_or_constructor(kind: type[Kind], stem: str) -> Kind | Callable[..., Kind]:
    definition: Any = definitions.load(kind.family, stem)
    signature = inspect.signature(definition)
    if not signature.parameters:
        return kind(definition())

    def construct(*args: Any, **kwargs: Any) -> Kind:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{stem}: {error}") from None
        return kind(definition(*bound.args, **bound.kwargs))

    construct.__name__ = construct.__qualname__ = stem
    construct.__doc__ = definition.__doc__
    construct.__dict__["__signature__"] = signature
    return construct


def resolve(kind: type[Kind], given: Any, argument: str) -> Kind:
    """Return the operator that an argument names or is, or that a definition in Python makes.

    Raises
    ------
    TypeError, ValueError
        If it is neither, naming the argument.
    """
    if isinstance(given, kind):
        return given
    if isinstance(given, definitions.Operator) and given.family == kind.family:
        return kind(given)
    if isinstance(given, str):
        try:
            found = attribute(kind, given)
        except AttributeError as error:
            raise ValueError(f"{argument}: {error}") from None
        return found if isinstance(found, kind) else found()  # type: ignore[operator]
    if callable(given) and getattr(given, "__name__", "") in stems(kind.family):
        name = given.__name__
        raise TypeError(f"{argument}: {name} is a constructor; call it, {name}()")
    article = "an" if kind.family[0] in "aeiou" else "a"
    raise TypeError(
        f"{argument}: expected {article} {kind.family} or its name, got {_checks.describe(given)}"
    )


def check_targets(loss: Loss, name: str, y: Array) -> None:
    """Refuse targets that the loss is not defined for."""
    if loss.targets == "sign" and not (np.abs(y) == 1).all():
        raise ValueError(f"{name}: expected entries -1 and 1 for the {loss.name} loss")
    if loss.targets == "distribution":
        total = y.sum(axis=-1, dtype=np.float64)
        tolerance = 4 * y.shape[-1] * np.finfo(y.dtype).eps
        if not ((y >= 0).all() and (np.abs(total - 1) <= tolerance).all()):
            raise ValueError(
                f"{name}: expected rows of probabilities that add up to 1 for the {loss.name} loss"
            )


def _together(**arrays: Any) -> tuple[Array, ...]:
    """Check and broadcast arguments of one dtype; plain numbers take the dtype of the others."""
    plain = {name for name, value in arrays.items() if isinstance(value, int | float)}
    given = {name: _checks.array(name, value) for name, value in arrays.items()}
    names = [name for name in given if name not in plain] or list(given)
    for name in names[1:]:
        _checks.same_dtype(name, given[name], names[0], given[names[0]])
    kept = given[names[0]].dtype
    values = [value.astype(kept, copy=False) for value in given.values()]
    try:
        return np.broadcast_arrays(*values)
    except ValueError:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in given.items())
        raise ValueError(
            f"{', '.join(given)}: expected shapes that broadcast together, got {shapes}"
        ) from None


def _flat(**arrays: Any) -> tuple[tuple[int, ...], list[Array]]:
    """Return the common shape of the arguments and themselves, flat and contiguous."""
    given = _together(**arrays)
    return given[0].shape, [_checks.contiguous(values).reshape(-1) for values in given]


def _matrices(**arrays: Any) -> tuple[tuple[int, ...], list[Array]]:
    """Return the common shape of the arguments and themselves as contiguous matrices."""
    given = _together(**arrays)
    shape = given[0].shape
    columns = shape[-1] if shape else 1
    rows = given[0].size // max(columns, 1)
    return shape, [_checks.contiguous(values).reshape(rows, columns) for values in given]


def _into(
    out: Array | None, shape: tuple[int, ...], like: Array, compute: Callable[[Array], None]
) -> Any:
    """Let `compute` fill an array like `like`; return it in `shape`, in `out` if that is given."""
    if out is not None:
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out: expected a NumPy array, got {_checks.describe(out)}")
        _checks.shape("out", out, shape)
        if out.dtype != like.dtype:
            raise TypeError(f"out: expected dtype {like.dtype}, got {out.dtype}")
        if not out.flags.writeable:
            raise ValueError("out: expected a writeable array, got a read-only one")
    # A fresh array: `out` may have strides or overlap an argument.
    result = np.empty_like(like)
    compute(result)
    if out is None:
        return result.reshape(shape)[()]
    out[...] = result.reshape(shape)
    return out
