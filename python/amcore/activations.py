"""Activations σ by name: ``relu.value(u)``, ``.derivative(u)``, ``.prox(v, z, weight)``.

An operator without parameters is an object of this module, one with parameters a constructor with
defaults. ``dir()`` lists them; the names as strings work wherever an operator is expected.
"""

from __future__ import annotations

import functools
from typing import Any

from amcore import _checks, _core
from amcore._checks import Array
from amcore._operator import Operator, attribute, into, together
from amcore.reference import operator as definitions
from amcore.reference.operator import stems


class Activation(Operator):
    """An elementwise function σ."""

    family = "activation"
    reference: definitions.Activation

    @property
    def invertible(self) -> bool:
        """Whether it is monotone and has an inverse where it increases."""
        return self.reference.invertible

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
        return into(out, shape, u, lambda result: self.native.value(u, result))

    def derivative(self, u: Any, side: str = "left", *, out: Array | None = None) -> Any:
        """σ'(u); at a kink the derivative from the ``"left"`` or from the ``"right"``.

        Parameters, result and errors otherwise as for `value`.
        """
        _checks.choice("side", side, ("left", "right"))
        shape, (u,) = _flat(u=u)
        return into(out, shape, u, lambda result: self.native.derivative(u, side, result))

    def difference(self, a: Any, b: Any, *, out: Array | None = None) -> Any:
        """σ(a) − σ(b), with a rounding error relative to |a − b|.

        Parameters, result and errors otherwise as for `value`; `a` and `b` are broadcast together.
        """
        shape, (a, b) = _flat(a=a, b=b)
        return into(out, shape, a, lambda result: self.native.difference(a, b, result))

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
        return into(out, shape, v, lambda result: self.native.prox(v, z, weight, result))


def _flat(**arrays: Any) -> tuple[tuple[int, ...], list[Array]]:
    """Return the common shape of the arguments and themselves, flat and contiguous."""
    given = together(**arrays)
    return given[0].shape, [_checks.contiguous(values).reshape(-1) for values in given]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return attribute(Activation, name)


def __dir__() -> list[str]:
    return stems(Activation.family)
