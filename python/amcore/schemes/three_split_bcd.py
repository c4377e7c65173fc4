"""Three-splitting block coordinate descent."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from typing import Any, ClassVar

import numpy as np

from amcore import _checks
from amcore.network import Network
from amcore.problem import Problem
from amcore.schemes.scheme import Scheme, check_activation_regularizers, numbers
from amcore.state import State

__all__ = ["ThreeSplitBCD"]


@dataclass(frozen=True, repr=False)
class ThreeSplitBCD(Scheme):
    """Three-splitting block coordinate descent, for every pattern of skip connections.

    Minimises over W, b, U, V, the term in brackets where layer i has a skip connection,

        f = c Σ ℓ(V_N) + Σ r_i(W_i) + Σ s_i(V_i) + Σ γ_i/2 ‖V_i − [V_{i−1}] − σ_i(U_i)‖²
                                                 + Σ ρ_i/2 ‖U_i − W_i V_{i−1} − b_i‖²,

    one sweep being the minimisation in V_i, U_i, (W_i, b_i) for i = N, …, 1, with the proximal
    term α/2‖block − old block‖² where the block's problem needs it. It is exact but for r_i and
    s_i, i < N, that are no ridge, and for an s_N that does not go with the loss entry by entry.

    A regulariser s_i must be a sum over samples: any but ``l2_ball`` and ``group_lasso(axis=0)``.

    Parameters
    ----------
    gamma : float or sequence of N floats
        Weights γ_i > 0.
    rho : float or sequence of N floats, optional
        Weights ρ_i > 0; by default those of `gamma`.
    alpha : float
        Proximal weight α > 0.
    inner_tol : float
        A block that is not minimised exactly takes proximal gradient steps, until their residual is
        this share of the first one's, for activations sample by sample; at least 0.
    inner_steps : int
        At most so many of these steps per block and sweep.
    inner_iters : int, optional
        The former name of `inner_steps`, with a FutureWarning.

    Raises
    ------
    TypeError, ValueError
        If a weight is not such a number.

    References
    ----------
    Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2; Xu, Bao, Xing (2022), equations (3) and (6).
    """

    stem: ClassVar[str] = "three_split_bcd"
    regularizes_activations: ClassVar[bool] = True
    remedies: ClassVar[dict[str, str]] = {
        "W": "increase alpha or the ridge of weight_regularizer",
        "V": "increase gamma or decrease rho",
    }

    gamma: float | Sequence[float] = 1.0
    rho: float | Sequence[float] | None = None
    alpha: float = 1.0
    inner_tol: float = 1e-6
    inner_steps: int = 200
    inner_iters: InitVar[int | None] = None

    def __post_init__(self, inner_iters: int | None) -> None:
        """Check and freeze the hyperparameters."""
        if inner_iters is not None:
            message = "ThreeSplitBCD: inner_iters is now called inner_steps"
            warnings.warn(message, FutureWarning, stacklevel=3)
            object.__setattr__(self, "inner_steps", inner_iters)
        object.__setattr__(self, "gamma", numbers("gamma", self.gamma, above=0))
        if self.rho is not None:
            object.__setattr__(self, "rho", numbers("rho", self.rho, above=0))
        object.__setattr__(self, "alpha", _checks.number("alpha", self.alpha, above=0))
        object.__setattr__(self, "inner_tol", _checks.number("inner_tol", self.inner_tol, least=0))
        object.__setattr__(
            self,
            "inner_steps",
            _checks.integer("inner_steps", self.inner_steps, 1, _checks.INT_MAX),
        )

    def check(self, problem: Problem) -> None:
        """Refuse weights that do not match the layers, and regularisers that couple samples.

        Raises
        ------
        ValueError
            Naming what is wrong.
        """
        self._couplings(problem.network)
        check_activation_regularizers(problem)

    def stems(self, problem: Problem, layer: int) -> tuple[str, ...]:
        """W, U and V for every layer."""
        return "W", "U", "V"

    def _options(self, problem: Problem) -> dict[str, Any]:
        gamma, rho = self._couplings(problem.network)
        return {
            "gamma": gamma,
            "rho": rho,
            "alpha": self.alpha,
            "inner_tol": self.inner_tol,
            "inner_steps": self.inner_steps,
        }

    def _constants(self, state: State, problem: Problem) -> dict[str, float]:
        # Our own algebra: dist(0, ∂f) by the changes of the blocks, B the greatest norm of a
        # block on the way, B̃ that of V with the row of ones that a bias acts on, L the greatest
        # Lipschitz constant of an activation.
        if not all("convex" in s.traits for s in problem.activation_regularizers):
            return {}
        network = problem.network
        gamma, rho = (max(weights) for weights in self._couplings(network))
        a = min(self.alpha, *self._couplings(network)[0]) / 2
        B = float(np.max([np.linalg.norm(problem.X), *state.greatest_norms().values()]))
        if not math.isfinite(B):
            return {"a": a}
        with_ones = math.hypot(B, math.sqrt(problem.n_samples)) if network.bias else B
        L = max(activation.L1 for activation in network.activations)
        b = max(
            gamma,
            self.alpha + rho * with_ones,
            self.alpha + gamma * L,
            2 * rho * (B + B * with_ones) + (gamma * (1 + L) if any(network.skip) else 0),
        )
        return {"a": a, "b": b, "c1": a / (3 * network.depth * b**2)}

    def _couplings(self, network: Network) -> tuple[list[float], list[float]]:
        """Return the weights γ_i and ρ_i of every layer."""
        gamma = _checks.per_layer("gamma", self.gamma, network.depth)
        rho = gamma if self.rho is None else _checks.per_layer("rho", self.rho, network.depth)
        return list(gamma), list(rho)
