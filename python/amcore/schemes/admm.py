"""Alternating directions of multipliers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from amcore import _checks
from amcore.network import Network
from amcore.problem import Problem
from amcore.schemes.scheme import Scheme, numbers

__all__ = ["ADMM"]


@dataclass(frozen=True, repr=False)
class ADMM(Scheme):
    """Alternating directions of multipliers, for smooth activations with bounded derivatives.

    Constrains V_i = σ_i(V_{i−1} W_iᵀ + b_i) by multipliers Λ_i. One sweep minimises the augmented
    Lagrangian, R_i = σ_i(V_{i−1} W_iᵀ + b_i) − V_i,

        L = c Σ ℓ(V_N) + Σ λ_i/2 ‖W_i‖² + Σ (β_i/2 ‖R_i‖² + ⟨Λ_i, R_i⟩),

    in (W_i, b_i) for i = N, …, 1 and V_i for i = 1, …, N, with a quadratic majoriser where σ_i
    stands around the variable, and then steps Λ_i += β_i R_i. The λ_i are those of the problem's
    weight regularisers. The objective that is measured is the Lyapunov function

        f = L + Σ ξ_i ‖V_i − V̂_i‖²,     V̂_i (``V_old``) the V_i of the sweep before:

    it falls in every sweep if the β_i fall fast enough from the first layer to the last and the λ_i
    are large enough; nothing falls for certain else. ``trace.monitors`` holds L, the primal
    residuals ‖R_i‖ and the dual residuals β_i ‖V_i − V̂_i‖.

    Parameters
    ----------
    beta : float or sequence of N floats
        Penalties β_i > 0.
    xi : float or sequence of N floats, optional
        Weights ξ_i ≥ 0; they change what is measured, not the iterates. By default β_i/4, half of
        the decrease β_i/2 ‖ΔV_i‖² that is certain of a step of V_i: so f credits this sweep's
        step and the last one's, which bounds the steps of the multipliers, alike.
    dual_init : {"zero", "backprop"}
        Start of the multipliers: Λ = 0, or the derivatives of the loss by V_i, at which the
        gradient of L by every V_i vanishes.
    majorizer : {"published", "tight"}
        Curvature h_i of the majoriser of ½(σ_i − t)², t any entry of T_i = V_i − Λ_i/β_i:
        sup|σ'|² + (sup|σ| + max|T_i|) sup|σ''|; or for sigmoid and tanh, with m the middle of
        their range, sup|σ'|² + max|T_i − m| sup|σ''|, which takes longer steps.

    Raises
    ------
    TypeError, ValueError
        If a hyperparameter is not such a value.

    References
    ----------
    Zeng, Lin, Yao, Zhou (JMLR 22, 2021), Algorithm 1; Xu, Bao, Xing (2022), equation (4).
    """

    stem: ClassVar[str] = "admm"
    remedies: ClassVar[dict[str, str]] = {
        "W": "increase the ridge of weight_regularizer",
        "V": "increase the beta of the layer",
    }

    beta: float | Sequence[float] = 1.0
    xi: float | Sequence[float] | None = None
    dual_init: str = "zero"
    majorizer: str = "published"

    def __post_init__(self) -> None:
        """Check and freeze the hyperparameters."""
        object.__setattr__(self, "beta", numbers("beta", self.beta, above=0))
        if self.xi is not None:
            object.__setattr__(self, "xi", numbers("xi", self.xi, least=0))
        _checks.choice("dual_init", self.dual_init, ("zero", "backprop"))
        _checks.choice("majorizer", self.majorizer, ("published", "tight"))

    @property
    def descends(self) -> bool:
        """No: dual ascent may raise the augmented Lagrangian."""
        return False

    def check(self, problem: Problem) -> None:
        """Refuse skip connections and operators that the scheme has no update for.

        Raises
        ------
        ValueError
            Naming what is wrong.
        """
        self._penalties(problem.network)
        network = problem.network
        if any(network.skip):
            raise ValueError("skip: ADMM takes no skip connections")
        *hidden, output = network.activations
        if output.name != "identity":
            raise ValueError(f"output_activation: ADMM needs identity, got {output}")
        for sigma in hidden:
            bounds = (sigma.L0 if sigma.L2 else 0.0, sigma.L1, sigma.L2)
            if "smooth" not in sigma.traits or not np.isfinite(bounds).all():
                raise ValueError(
                    "activation: ADMM needs smooth ones that are bounded with their first two "
                    f"derivatives, got {sigma}"
                )
        for regularizer in problem.weight_regularizers:
            if regularizer.curvature is None:
                raise ValueError(f"weight_regularizer: ADMM takes none or ridge, got {regularizer}")

    def lower_bound(self, problem: Problem) -> float:
        """−inf: ⟨Λ_i, R_i⟩ has any sign."""
        return -math.inf

    def stems(self, problem: Problem, layer: int) -> tuple[str, ...]:
        """W, V, Lambda and V_old for every layer."""
        return "W", "V", "Lambda", "V_old"

    def _options(self, problem: Problem) -> dict[str, Any]:
        beta, xi = self._penalties(problem.network)
        return {
            "beta": beta,
            "xi": xi,
            "tight": self.majorizer == "tight",
            "backprop": self.dual_init == "backprop",
        }

    def _penalties(self, network: Network) -> tuple[list[float], list[float]]:
        """Return β_i and ξ_i of every layer."""
        beta = _checks.per_layer("beta", self.beta, network.depth)
        quarter = [weight / 4 for weight in beta]
        xi = quarter if self.xi is None else _checks.per_layer("xi", self.xi, network.depth)
        return list(beta), list(xi)
