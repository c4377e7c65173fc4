"""Two-splitting block coordinate descent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from amcore import _checks
from amcore.network import Network
from amcore.problem import Problem
from amcore.schemes.scheme import Scheme, check_activation_regularizers, numbers

__all__ = ["TwoSplitBCD"]


@dataclass(frozen=True, repr=False)
class TwoSplitBCD(Scheme):
    """Two-splitting block coordinate descent.

    Minimises over W, b, V

        f = c Σ ℓ(V_N) + Σ r_i(W_i) + Σ s_i(V_i) + Σ γ_i/2 ‖V_i − σ_i(W_i V_{i−1} + b_i)‖²,

    one sweep lowering f + α/2‖block − old block‖² in V_i, (W_i, b_i) for i = N, …, 1: exactly for
    V_N and where the activation around the block is the identity, else by steps of least squares
    that majorise the square around the activation, with proximal gradient steps inside for r_i and
    s_i that are no ridge. No step is taken that would raise it, so every sweep has
    f_k − f_{k+1} ≥ α/2 Σ‖Δblock‖².

    A regulariser s_i must be a sum over samples: any but ``l2_ball`` and ``group_lasso(axis=0)``.

    Where some W_i V_{i−1} + b_i is at a kink of σ_i, dist(0, ∂f) is measured by one member of ∂f, a
    limit of gradients at points nearby, and is an upper bound.

    Parameters
    ----------
    gamma : float or sequence of N floats
        Weights γ_i > 0.
    alpha : float
        Proximal weight α > 0.
    inner_iters : int
        Majorised steps per block and sweep, at least 1.
    inner_tol : float
        A block whose regulariser is no ridge takes proximal gradient steps, until their residual is
        this share of the first one's, for activations sample by sample; at least 0.
    inner_steps : int
        At most so many of these steps per majorised step.

    Raises
    ------
    TypeError, ValueError
        If a hyperparameter is not such a number.

    References
    ----------
    Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 1; Xu, Bao, Xing (2022), equation (2); for the
    majorised steps Zeng, Lin, Yao, Zhou (JMLR 22, 2021).
    """

    stem: ClassVar[str] = "two_split_bcd"
    regularizes_activations: ClassVar[bool] = True
    remedies: ClassVar[dict[str, str]] = {
        "W": "increase alpha or the ridge of weight_regularizer",
        "V": "increase alpha",
    }

    gamma: float | Sequence[float] = 1.0
    alpha: float = 1.0
    inner_iters: int = 1
    inner_tol: float = 1e-6
    inner_steps: int = 200

    def __post_init__(self) -> None:
        """Check and freeze the hyperparameters."""
        object.__setattr__(self, "gamma", numbers("gamma", self.gamma, above=0))
        object.__setattr__(self, "alpha", _checks.number("alpha", self.alpha, above=0))
        object.__setattr__(
            self,
            "inner_iters",
            _checks.integer("inner_iters", self.inner_iters, 1, _checks.INT_MAX),
        )
        object.__setattr__(self, "inner_tol", _checks.number("inner_tol", self.inner_tol, least=0))
        object.__setattr__(
            self,
            "inner_steps",
            _checks.integer("inner_steps", self.inner_steps, 1, _checks.INT_MAX),
        )

    def check(self, problem: Problem) -> None:
        """Refuse skip connections, weights that do not match, regularisers that couple samples.

        Raises
        ------
        ValueError
            Naming what is wrong.
        """
        self._couplings(problem.network)
        if any(problem.network.skip):
            raise ValueError("skip: TwoSplitBCD takes no skip connections")
        check_activation_regularizers(problem)

    def stems(self, problem: Problem, layer: int) -> tuple[str, ...]:
        """W and V for every layer."""
        return "W", "V"

    def distance_is_bound(self, problem: Problem) -> bool:
        """Whether an activation has kinks."""
        return any("smooth" not in sigma.traits for sigma in problem.network.activations)

    def _options(self, problem: Problem) -> dict[str, Any]:
        return {
            "gamma": self._couplings(problem.network),
            "alpha": self.alpha,
            "inner_iters": self.inner_iters,
            "inner_tol": self.inner_tol,
            "inner_steps": self.inner_steps,
        }

    def _couplings(self, network: Network) -> list[float]:
        return list(_checks.per_layer("gamma", self.gamma, network.depth))
