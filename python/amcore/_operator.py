"""What activations, losses and regularisers share: names, constructors, arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np

from amcore import _checks
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


def is_definition(given: Any, family: str) -> bool:
    """Whether it is an operator of the family written in Python, of the catalogue or a user's."""
    return isinstance(given, definitions.Operator) and given.family == family


def resolve(kind: type[Kind], given: Any, argument: str) -> Kind:
    """Return the operator that an argument names or is, or that a definition in Python makes.

    Raises
    ------
    TypeError, ValueError
        If it is neither, naming the argument.
    """
    if isinstance(given, kind):
        return given
    if is_definition(given, kind.family):
        return kind(given)
    if isinstance(given, str):
        try:
            found = attribute(kind, given)
        except AttributeError as error:
            raise ValueError(f"{argument}: {error}") from None
        return found if isinstance(found, kind) else found()  # type: ignore[operator]
    name = getattr(given, "__name__", "")
    if name in stems(kind.family) and given is attribute(kind, name):
        raise TypeError(f"{argument}: {name} is a constructor; call it, {name}()")
    article = "an" if kind.family[0] in "aeiou" else "a"
    raise TypeError(
        f"{argument}: expected {article} {kind.family} or its name, got {_checks.describe(given)}"
    )


def together(**arrays: Any) -> tuple[Array, ...]:
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


def into(
    out: Array | None, shape: tuple[int, ...], like: Array, compute: Callable[[Array], None]
) -> Any:
    """Let `compute` fill an array like `like`; return it in `shape`, in `out` if that is given."""
    if out is not None:
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out: expected a NumPy array, got {_checks.describe(out)}")
        _checks.raw("out", out)
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
