"""The schemes: a dataclass of hyperparameters each, which builds the engine for the sweeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Protocol

from amcore import _checks, _core
from amcore._checks import Array
from amcore.network import Network
from amcore.problem import Problem
from amcore.reference.scheme import three_split_bcd
from amcore.state import State

__all__ = ["Engine", "Report", "Scheme", "ThreeSplitBCD"]


class Report(Protocol):
    """Measurements of a sweep; see `amcore.trace.Record` for their meaning."""

    @property
    def objective(self) -> float: ...  # noqa: D102
    @property
    def decrease(self) -> float: ...  # noqa: D102
    @property
    def subgradient_distance(self) -> float: ...  # noqa: D102
    @property
    def parts(self) -> dict[str, float]: ...  # noqa: D102
    @property
    def distance(self) -> dict[str, float]: ...  # noqa: D102
    @property
    def step_norm(self) -> dict[str, float]: ...  # noqa: D102
    @property
    def seconds(self) -> dict[str, float]: ...  # noqa: D102


class Engine(Protocol):
    """A scheme at work on the arrays of a state, in place."""

    def forward(self) -> None:
        """Fill the auxiliary variables by the forward pass from the weights."""

    def measure(self) -> Report:
        """Measure the current state."""

    def sweep(self, measure: bool) -> Report:
        """Do one sweep; distances, step norms and the accurate decrease only if `measure`."""


class Scheme(ABC):
    """A scheme with its hyperparameters."""

    @abstractmethod
    def check(self, problem: Problem) -> None:
        """Refuse a problem that the scheme does not solve, or hyperparameters that do not fit it.

        Raises
        ------
        ValueError
            Naming what is wrong.
        """

    @abstractmethod
    def variables(self, problem: Problem) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the arrays of the state."""

    @abstractmethod
    def engine(
        self,
        problem: Problem,
        state: State,
        *,
        X: Array,
        Y: Array,
        loss_weight: float,
        num_threads: int,
        reducer: Callable[[Array], None] | None,
        backend: str,
    ) -> Engine:
        """Build the engine that works on the arrays of `state`.

        X and Y are the problem's in the dtype of the state, `loss_weight` is c; the other arguments
        are those of the engines.
        """


@dataclass(frozen=True)
class ThreeSplitBCD(Scheme):
    """Three-splitting block coordinate descent, for every pattern of skip connections.

    Minimises over W, b, U, V, the term in brackets where layer i has a skip connection,

        f = c Σ ℓ(V_N) + Σ r_i(W_i) + Σ γ_i/2 ‖V_i − [V_{i−1}] − σ_i(U_i)‖²
                                   + Σ ρ_i/2 ‖U_i − W_i V_{i−1} − b_i‖²,

    one sweep being the exact minimisation in V_i, U_i, (W_i, b_i) for i = N, …, 1, with the
    proximal term α/2‖block − old block‖² where the block's problem needs it.

    Parameters
    ----------
    gamma : float or sequence of N floats
        Weights γ_i > 0.
    rho : float or sequence of N floats, optional
        Weights ρ_i > 0; by default those of `gamma`.
    alpha : float
        Proximal weight α > 0.
    inner_tol : float
        A weight block whose regulariser is no ridge is minimised by proximal gradient steps, until
        their residual is this share of the first one's; at least 0.
    inner_iters : int
        At most so many of these steps per block and sweep.

    Raises
    ------
    TypeError, ValueError
        If a weight is not such a number.

    References
    ----------
    Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2; Xu, Bao, Xing (2022), equations (3) and (6).
    """

    gamma: float | Sequence[float] = 1.0
    rho: float | Sequence[float] | None = None
    alpha: float = 1.0
    inner_tol: float = 1e-6
    inner_iters: int = 200

    def __post_init__(self) -> None:
        """Check and freeze the hyperparameters."""
        object.__setattr__(self, "gamma", _positive("gamma", self.gamma))
        if self.rho is not None:
            object.__setattr__(self, "rho", _positive("rho", self.rho))
        object.__setattr__(self, "alpha", _checks.number("alpha", self.alpha, above=0))
        object.__setattr__(self, "inner_tol", _checks.number("inner_tol", self.inner_tol, least=0))
        object.__setattr__(self, "inner_iters", _checks.integer("inner_iters", self.inner_iters, 1))

    def __repr__(self) -> str:
        given = ", ".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))
        return f"{type(self).__name__}({given})"

    def check(self, problem: Problem) -> None:
        """Refuse weights that do not match the layers.

        Raises
        ------
        ValueError
            Naming what is wrong.
        """
        self._couplings(problem.network)

    def variables(self, problem: Problem) -> dict[str, tuple[int, ...]]:
        """W_i, b_i, U_i, V_i for every layer, with their shapes."""
        n, widths = problem.n_samples, problem.network.widths
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            shapes[f"W{i}"] = (outputs, inputs)
            if problem.network.bias:
                shapes[f"b{i}"] = (outputs,)
            shapes[f"U{i}"] = shapes[f"V{i}"] = (n, outputs)
        return shapes

    def engine(
        self,
        problem: Problem,
        state: State,
        *,
        X: Array,
        Y: Array,
        loss_weight: float,
        num_threads: int,
        reducer: Callable[[Array], None] | None,
        backend: str,
    ) -> Engine:
        """Build the native or the reference engine."""
        gamma, rho = self._couplings(problem.network)
        network = problem.network
        shared: Mapping[str, Any] = {
            "X": X,
            "Y": Y,
            "layers": [
                (W, b, state[f"U{i}"], state[f"V{i}"])
                for i, (W, b) in enumerate(state.weights, start=1)
            ],
            "skip": list(network.skip),
            "loss_weight": loss_weight,
            "gamma": gamma,
            "rho": rho,
            "alpha": self.alpha,
            "num_threads": num_threads,
            "reducer": reducer,
            "inner_tol": self.inner_tol,
            "inner_iters": self.inner_iters,
        }
        if backend == "native":
            return _core.ThreeSplitBCD(
                activations=[activation.native for activation in network.activations],
                loss=problem.loss.native,
                weight_regularizers=[r.native for r in problem.weight_regularizers],
                **shared,
            )
        return three_split_bcd.ThreeSplitBCD(
            activations=[activation.reference for activation in network.activations],
            loss=problem.loss.reference,
            weight_regularizers=[r.reference for r in problem.weight_regularizers],
            **shared,
        )

    def _couplings(self, network: Network) -> tuple[list[float], list[float]]:
        """Return the weights γ_i and ρ_i of every layer."""
        gamma = _checks.per_layer("gamma", self.gamma, network.depth)
        rho = gamma if self.rho is None else _checks.per_layer("rho", self.rho, network.depth)
        return list(gamma), list(rho)


def _positive(name: str, value: Any) -> float | tuple[float, ...]:
    """Return a positive number, or one for every layer."""
    if hasattr(value, "__len__") and not isinstance(value, str | bytes):
        return tuple(_checks.number(f"{name}[{i}]", x, above=0) for i, x in enumerate(value))
    return _checks.number(name, value, above=0)
