"""Alternating minimisation for neural networks, with a certificate of convergence.

>>> import numpy as np, amcore
>>> X = np.linspace(-1, 1, 40)[:, None]
>>> net = amcore.Network([1, 16, 1], activation="relu")
>>> problem = amcore.Problem(net, X, abs(X), loss="squared")
>>> run = amcore.solve(problem, amcore.ThreeSplitBCD(gamma=1.0, alpha=1.0), max_iter=20)
>>> run.trace.objective.shape
(21,)
"""

from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

from amcore import _isa

_isa.load()

from amcore import (  # noqa: E402
    activations,
    blocks,
    callbacks,
    checkpoint,
    initialization,
    losses,
    regularizers,
)
from amcore._isa import get_include, show_config  # noqa: E402
from amcore.check import check_operator  # noqa: E402
from amcore.errors import NumericalError  # noqa: E402
from amcore.network import Network  # noqa: E402
from amcore.problem import Problem  # noqa: E402
from amcore.schemes import ADMM, MDLAM, ThreeSplitBCD, TwoSplitBCD  # noqa: E402
from amcore.solve import Solution, iterate, solve  # noqa: E402
from amcore.solve_many import solve_many  # noqa: E402
from amcore.state import State  # noqa: E402
from amcore.trace import Trace  # noqa: E402

if TYPE_CHECKING:
    from amcore.analysis import certify

__all__ = [
    "ADMM",
    "MDLAM",
    "Network",
    "NumericalError",
    "Problem",
    "Solution",
    "State",
    "ThreeSplitBCD",
    "Trace",
    "TwoSplitBCD",
    "activations",
    "blocks",
    "callbacks",
    "certify",
    "check_operator",
    "checkpoint",
    "get_include",
    "initialization",
    "iterate",
    "losses",
    "regularizers",
    "show_config",
    "solve",
    "solve_many",
]

__version__ = _version("amcore")


def __getattr__(name: str) -> Any:
    # The analysis is loaded on first use.
    if name == "certify":
        from amcore.analysis import certify

        return certify
    raise AttributeError(f"module 'amcore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
