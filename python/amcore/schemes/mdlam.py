"""Deep-learning alternating minimisation with inequality constraints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from amcore import _checks
from amcore.problem import Problem
from amcore.schemes.scheme import Scheme, numbers

__all__ = ["MDLAM"]


@dataclass(frozen=True, repr=False)
class MDLAM(Scheme):
    """Deep-learning alternating minimisation with inequality constraints (mDLAM).

    Minimises over W, b, U, V (the literature's z is U, its a is V)

        F = c Σ ℓ(U_N) + Σ r_i(W_i) + Σ ρ_i/2 ‖U_i − W_i V_{i−1} − b_i‖²
            subject to |V_i − σ_i(U_i)| ≤ ε entry by entry, i < N,

    one sweep being, for i = 1, …, N, an extrapolated proximal gradient step for (W_i, b_i), exact
    minimisation in U_i, and an extrapolated projected gradient step for V_i. An extrapolated step
    counts only if F falls by at least δ/2‖step‖², else it is redone without extrapolation; this is
    decided for V_i sample by sample. With a fixed ε, F never rises, and |V_i − σ_i(U_i)| ≤ ε holds
    exactly as it is computed.

    For small ε the separate updates of U_i and V_i can stall where F is not stationary: dist(0, ∂F)
    then stays away from 0. In the trace the distance of U_i and V_i, which the constraint couples,
    is one block, ``"UV1"``, …. The network's output layer is the identity, without skip
    connections, its activations are monotone.

    Parameters
    ----------
    rho : float or sequence of N floats
        Weights ρ_i > 0.
    epsilon : float
        The tolerance ε > 0 of the constraints.
    epsilon_schedule : (factor, floor), optional
        Before every sweep ε becomes max(factor·ε, floor), 0 < factor < 1, 0 < floor ≤ ε. The V_i
        are clipped to the new constraint, which may raise F; such a sweep has the mark ``"epsilon
        changed"`` in the trace.
    extrapolate : bool
        Whether to extrapolate at all.
    delta : float
        The δ >= 0 of the restart.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Wang, Li, Zhao (Neurocomputing 2022), Algorithm 1; Xu, Bao, Xing (2022), equation (5).
    """

    stem: ClassVar[str] = "mdlam"
    numbers: ClassVar[tuple[str, ...]] = ("s", "epsilon")  # of the extrapolation; ε as it is now

    rho: float | Sequence[float] = 1.0
    epsilon: float = 0.01
    epsilon_schedule: tuple[float, float] | None = None
    extrapolate: bool = True
    delta: float = 1e-8

    def __post_init__(self) -> None:
        """Check and freeze the hyperparameters."""
        object.__setattr__(self, "rho", numbers("rho", self.rho, above=0))
        object.__setattr__(self, "epsilon", _checks.number("epsilon", self.epsilon, above=0))
        object.__setattr__(self, "delta", _checks.number("delta", self.delta, least=0))
        object.__setattr__(self, "extrapolate", _checks.flag("extrapolate", self.extrapolate))
        if self.epsilon_schedule is not None:
            object.__setattr__(self, "epsilon_schedule", self._schedule())

    def _schedule(self) -> tuple[float, float]:
        given = self.epsilon_schedule
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise TypeError(
                f"epsilon_schedule: expected (factor, floor), got {_checks.describe(given)}"
            )
        factor = _checks.number("epsilon_schedule[0]", given[0], above=0)
        floor = _checks.number("epsilon_schedule[1]", given[1], above=0)
        if factor >= 1:
            raise ValueError(f"epsilon_schedule[0]: expected a factor below 1, got {factor}")
        if floor > self.epsilon:
            raise ValueError(
                f"epsilon_schedule[1]: expected a floor <= epsilon = {self.epsilon}, got {floor}"
            )
        return factor, floor

    def check(self, problem: Problem) -> None:
        """Refuse weights that do not match the layers, and networks the constraints do not suit.

        Raises
        ------
        ValueError
            Naming what is wrong.
        """
        network = problem.network
        _checks.per_layer("rho", self.rho, network.depth)
        *hidden, output = network.activations
        if output.name != "identity":
            raise ValueError(
                f"network: MDLAM needs the identity at the output layer, got {output}; "
                "the loss takes its place"
            )
        if any(network.skip):
            raise ValueError("network: MDLAM does not take skip connections")
        for regularizer in problem.activation_regularizers:
            if regularizer.name != "none":
                raise ValueError(f"activation_regularizer: MDLAM takes none, got {regularizer}")
        for i, activation in enumerate(hidden, start=1):
            if not activation.invertible:
                raise ValueError(
                    f"network: MDLAM needs monotone activations with an inverse, "
                    f"got {activation} at layer {i}"
                )

    def stems(self, problem: Problem, layer: int) -> tuple[str, ...]:
        """W and U, V below the output layer, and the last values that are extrapolated."""
        now = ("W", "U", "V") if layer < problem.network.depth else ("W", "U")
        old = tuple(f"{stem}_old" for stem in now if stem != "U") if self.extrapolate else ()
        return now + old

    def _options(self, problem: Problem) -> dict[str, Any]:
        shrink, floor = self.epsilon_schedule or (1.0, self.epsilon)
        return {
            "rho": list(_checks.per_layer("rho", self.rho, problem.network.depth)),
            "epsilon": self.epsilon,
            "shrink": shrink,
            "floor": floor,
            "delta": self.delta,
        }
