"""Alternating minimisation for neural networks, with a certificate of convergence.

>>> import numpy as np, amcore
>>> X = np.linspace(-1, 1, 40)[:, None]
>>> net = amcore.Network([1, 16, 1], activation="relu")
>>> problem = amcore.Problem(net, X, abs(X), loss="squared")
>>> run = amcore.solve(problem, amcore.ThreeSplitBCD(gamma=1.0, alpha=1.0), max_iter=20)
>>> run.trace.objective.shape
(21,)
"""

from importlib import import_module as _import_module
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
from amcore.schemes import SCHEMES as _SCHEMES  # noqa: E402
from amcore.solution import Solution  # noqa: E402
from amcore.solve import iterate, solve  # noqa: E402
from amcore.solve_many import solve_many  # noqa: E402
from amcore.state import State  # noqa: E402
from amcore.trace import Trace  # noqa: E402

if TYPE_CHECKING:
    from amcore.analysis import (
        bounds,
        certify,
        certify_many,
        fit_kl,
        rate_bound,
        strong_decrease,
        sufficient_decrease,
    )
    from amcore.schemes import ADMM as ADMM
    from amcore.schemes import MDLAM as MDLAM
    from amcore.schemes import OnlineAM as OnlineAM
    from amcore.schemes import ThreeSplitBCD as ThreeSplitBCD
    from amcore.schemes import TwoSplitBCD as TwoSplitBCD

__all__ = [
    "Network",
    "NumericalError",
    "Problem",
    "Solution",
    "State",
    "Trace",
    "activations",
    "blocks",
    "bounds",
    "callbacks",
    "certify",
    "certify_many",
    "check_operator",
    "checkpoint",
    "fit_kl",
    "get_include",
    "initialization",
    "iterate",
    "losses",
    "rate_bound",
    "regularizers",
    "show_config",
    "solve",
    "solve_many",
    "strong_decrease",
    "sufficient_decrease",
]
globals().update(_SCHEMES)
__all__ += _SCHEMES

_ANALYSIS = (
    "bounds",
    "certify",
    "certify_many",
    "fit_kl",
    "rate_bound",
    "strong_decrease",
    "sufficient_decrease",
)
__version__ = _version("amcore")


def __getattr__(name: str) -> Any:
    # The analysis is loaded on first use.
    if name in _ANALYSIS:
        return getattr(_import_module("amcore.analysis"), name)
    raise AttributeError(f"module 'amcore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
