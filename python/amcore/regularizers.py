"""Regularisers r by name: ``ridge(lam).value(x)``, ``.prox(x, tau)``.

An operator without parameters is an object of this module, one with parameters a constructor with
defaults. ``dir()`` lists them; the names as strings work wherever an operator is expected.
"""

from __future__ import annotations

from collections.abc import Callable

from amcore._operator import Regularizer, attribute
from amcore.reference.operator import stems


def __getattr__(name: str) -> Regularizer | Callable[..., Regularizer]:
    if name.startswith("__"):
        raise AttributeError(name)
    return attribute(Regularizer, name)


def __dir__() -> list[str]:
    return stems(Regularizer.family)
