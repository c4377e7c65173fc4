"""Losses ℓ(v, y) by name: ``hinge.value(v, y)``, ``.gradient(v, y)``, ``.prox(q, y, tau)``.

An operator without parameters is an object of this module, one with parameters a constructor with
defaults. ``dir()`` lists them; the names as strings work wherever an operator is expected.
"""

from __future__ import annotations

from collections.abc import Callable

from amcore._operator import Loss, attribute
from amcore.reference.operator import stems


def __getattr__(name: str) -> Loss | Callable[..., Loss]:
    if name.startswith("__"):
        raise AttributeError(name)
    return attribute(Loss, name)


def __dir__() -> list[str]:
    return stems(Loss.family)
