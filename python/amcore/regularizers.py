"""Regularisers r by name: ``ridge(lam).value(x)``, ``.prox(x, tau)``.

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


class Regularizer(Operator):
    """A function r of a matrix: the last axis of x holds its columns, the others its rows."""

    family = "regularizer"
    reference: definitions.Regularizer

    @property
    def by_row(self) -> bool:
        """Whether r is a sum over rows: of activations, over samples."""
        return self.reference.by_row

    @property
    def by_entry(self) -> bool:
        """Whether r is a sum over entries of l1 |x| + ridge/2 x² + l0 [x ≠ 0] on an interval."""
        return self.reference.terms is not None

    @property
    def curvature(self) -> float | None:
        """λ where r = λ/2‖·‖², None otherwise."""
        return self.reference.curvature

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
        return into(out, shape, x, lambda result: self.native.prox(x, tau, result))

    def subgradient_distance(self, x: Any, g: Any) -> float:
        """dist(−g, ∂r(x)), g of the shape of x; errors as for `value`."""
        _, (x, g) = _matrices(x=x, g=g)
        return self.native.subgradient_distance(x, g)


def _matrices(**arrays: Any) -> tuple[tuple[int, ...], list[Array]]:
    """Return the common shape of the arguments and themselves as contiguous matrices."""
    given = together(**arrays)
    shape = given[0].shape
    columns = shape[-1] if shape else 1
    rows = given[0].size // max(columns, 1)
    return shape, [_checks.contiguous(values).reshape(rows, columns) for values in given]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return attribute(Regularizer, name)


def __dir__() -> list[str]:
    return stems(Regularizer.family)
