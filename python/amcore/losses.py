"""Losses ℓ(v, y) by name: ``hinge.value(v, y)``, ``.gradient(v, y)``, ``.prox(q, y, tau)``.

An operator without parameters is an object of this module, one with parameters a constructor with
defaults. ``dir()`` lists them; the names as strings work wherever an operator is expected.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from amcore import _checks, _core
from amcore._checks import Array
from amcore._operator import Operator, attribute, into, together
from amcore.reference import operator as definitions
from amcore.reference.operator import stems


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
        given = dict(zip(arrays, together(**arrays), strict=True))
        for name, values in given.items():
            if values.ndim == 0 or values.shape[-1] == 0:
                raise ValueError(f"{name}: expected shape (n, K), got {values.shape}")
        given["y"] = check_targets(self, "y", given["y"])
        shape = given["y"].shape
        return shape, [
            _checks.contiguous(values).reshape(-1, shape[-1]) for values in given.values()
        ]

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
        return into(out, shape, v, lambda result: self.native.gradient(v, y, result))

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
        return into(out, shape, q, lambda result: self.native.prox(q, y, tau, result))

    def subgradient_distance(self, v: Any, y: Any, g: Any, scale: float = 1.0) -> float:
        """dist(0, g + scale ∂ℓ(v, y)) over all samples; arguments and errors as for `value`."""
        scale = _checks.number("scale", scale, least=0)
        _, (v, y, g) = self._rows(v=v, y=y, g=g)
        return self.native.subgradient_distance(v, y, g, scale)


def check_targets(loss: Loss, name: str, y: Array) -> Array:
    """Return targets; refuse those that the loss is not defined for.

    Rows of probabilities that add up to 1 only to the rounding of float32, in which they may have
    been computed, are divided by their sum.
    """
    if loss.targets == "sign":
        _checks.refuse(name, y, np.abs(y) != 1, f"entries -1 and 1 for the {loss.name} loss")
    if loss.targets != "distribution":
        return y
    expected = f"rows of probabilities that add up to 1 for the {loss.name} loss"
    _checks.refuse(name, y, ~(y >= 0), expected)
    total = y.sum(axis=-1, keepdims=True, dtype=np.float64)
    error = np.abs(total - 1)
    rounding, single = (4 * y.shape[-1] * np.finfo(dtype).eps for dtype in (y.dtype, np.float32))
    bad = error > single
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{name}: expected {expected}, got {total.flat[row]:.9g} for row {row}")
    if (error <= rounding).all():
        return y
    return np.where(error <= rounding, y, y / total).astype(y.dtype)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return attribute(Loss, name)


def __dir__() -> list[str]:
    return stems(Loss.family)
