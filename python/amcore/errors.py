"""Exceptions raised while a scheme runs."""

from __future__ import annotations

import copyreg
from typing import Any

import numpy as np

__all__ = ["NumericalError", "ProcessError"]


class ProcessError(RuntimeError):
    """Another process of a distributed run failed, which ends all of them."""


class NumericalError(ArithmeticError):
    """A factorisation failed or a non-finite value appeared during a sweep.

    The block that failed was not written, so the state is finite; `solution` holds it.

    Parameters
    ----------
    message : str
        One line saying what went wrong.
    layer : int
        The layer, counted from 1 (0 where the failure belongs to no layer).
    block : str
        The block of variables, ``"W"``, ``"U"`` or ``"V"``, or ``"objective"`` or ``"distance"``.
    sweep : int, optional
        The sweep during which it happened, counted from 1; filled in by `amcore.solve`.
    condition : float, optional
        Estimate of the condition number of the matrix that could not be factorised.

    Attributes
    ----------
    advice : str
        What helps where a matrix could not be factorised; empty otherwise.
    solution : Solution or None
        The run up to the failure; filled in by `amcore.solve` and `amcore.iterate`.
    """

    def __init__(
        self,
        message: str,
        *,
        layer: int,
        block: str,
        sweep: int | None = None,
        condition: float | None = None,
    ) -> None:
        super().__init__(message)
        self.layer = layer
        self.block = block
        self.sweep = sweep
        self.condition = condition
        self.advice = ""
        self.solution: Any = None

    def advise(self, remedy: str, dtype: np.dtype[Any]) -> None:
        """Name what makes the matrix better conditioned, if one could not be factorised."""
        if self.condition is not None:
            wider = dtype == np.float32
            self.advice = " or ".join(filter(None, (remedy, "use float64" if wider else "")))

    def __reduce__(self) -> tuple[Any, ...]:
        # that of its base would call __init__ with the message alone
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]

    def __str__(self) -> str:
        """Return the message with the place of the failure."""
        place = [f"layer {self.layer}, block {self.block}"] if self.layer else []
        if self.sweep is not None:
            place.append(f"sweep {self.sweep}")
        if self.condition is not None:
            place.append(f"condition number about {self.condition:.1e}")
        message = "; ".join(filter(None, (str(self.args[0]), self.advice)))
        return f"{message} ({', '.join(place)})" if place else message
