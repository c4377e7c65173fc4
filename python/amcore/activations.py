"""Activations σ by name: ``relu.value(u)``, ``.derivative(u)``, ``.prox(v, z, weight)``.

An operator without parameters is an object of this module, one with parameters a constructor with
defaults. ``dir()`` lists them; the names as strings work wherever an operator is expected.
"""

from __future__ import annotations

from collections.abc import Callable

from amcore._operator import Activation, attribute
from amcore.reference.operator import stems


def __getattr__(name: str) -> Activation | Callable[..., Activation]:
    if name.startswith("__"):
        raise AttributeError(name)
    return attribute(Activation, name)


def __dir__() -> list[str]:
    return stems(Activation.family)
