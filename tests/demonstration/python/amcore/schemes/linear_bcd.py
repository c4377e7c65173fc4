"""Block coordinate descent for deep linear networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from amcore import _checks
from amcore.problem import Problem
from amcore.schemes.scheme import Scheme, numbers

__all__ = ["LinearBCD"]


@dataclass(frozen=True, repr=False)
class LinearBCD(Scheme):
    """Block coordinate descent for deep linear networks, whose activations are the identity.

    Minimises over W, b, V

        f = c Σ ℓ(V_N) + Σ r_i(W_i) + Σ γ_i/2 ‖V_i − W_i V_{i−1} − b_i‖²,

    one sweep being, for i = 1, …, N, argmin f + α/2‖Δ‖² in (W_i, b_i) and argmin f in V_i.

    Parameters
    ----------
    gamma : float or sequence of N floats
        Weights γ_i > 0.
    alpha : float
        Weight α > 0 of the proximal term of the weights.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range.
    """

    stem: ClassVar[str] = "linear_bcd"
    remedies: ClassVar[dict[str, str]] = {"W": "increase alpha", "V": "increase gamma"}

    gamma: float | Sequence[float] = 1.0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Check and freeze the hyperparameters."""
        object.__setattr__(self, "gamma", numbers("gamma", self.gamma, above=0))
        object.__setattr__(self, "alpha", _checks.number("alpha", self.alpha, above=0))

    def check(self, problem: Problem) -> None:
        """Refuse weights that do not match the layers, and networks that are not linear.

        Raises
        ------
        ValueError
            Naming what is wrong.
        """
        network = problem.network
        _checks.per_layer("gamma", self.gamma, network.depth)
        if any(network.skip):
            raise ValueError("skip: LinearBCD takes no skip connections")
        for activation in network.activations:
            if activation.name != "identity":
                raise ValueError(f"activation: LinearBCD takes the identity, got {activation}")
        for regularizer in problem.weight_regularizers:
            if regularizer.curvature is None:
                raise ValueError(
                    f"weight_regularizer: LinearBCD takes none or ridge, got {regularizer}"
                )

    def stems(self, problem: Problem, layer: int) -> tuple[str, ...]:
        """W and V of every layer."""
        return "W", "V"

    def _options(self, problem: Problem) -> dict[str, Any]:
        gamma = _checks.per_layer("gamma", self.gamma, problem.network.depth)
        return {"gamma": list(gamma), "alpha": self.alpha}
