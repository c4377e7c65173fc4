"""The schemes: a dataclass of hyperparameters each, which builds the engine for the sweeps."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Protocol

import numpy as np

from amcore import _checks, _core
from amcore._checks import Array
from amcore.network import Network
from amcore.problem import Problem
from amcore.reference.block.majorized import Majorizer
from amcore.state import State

__all__ = ["ADMM", "MDLAM", "Engine", "Report", "Scheme", "ThreeSplitBCD"]


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
    def monitors(self) -> dict[str, float]: ...  # noqa: D102
    @property
    def seconds(self) -> dict[str, float]: ...  # noqa: D102
    @property
    def marks(self) -> Sequence[str]: ...  # noqa: D102


class Engine(Protocol):
    """A scheme at work on the arrays of a state, in place."""

    def forward(self) -> None:
        """Fill the auxiliary variables by the forward pass from the weights."""

    def measure(self) -> Report:
        """Measure the current state."""

    def sweep(self, measure: bool) -> Report:
        """Do one sweep; distances, step norms and the accurate decrease only if `measure`."""


class Scheme(ABC):
    """A scheme with its hyperparameters, the fields of a dataclass.

    A subclass names the arrays of a layer (`stems`), what it refuses (`check`) and its options for
    the engines (`_options`). These are found by name: the function `stem` of the core, and the
    class of the subclass's name in the module `stem` of `amcore.reference.scheme`. A scheme that
    needs more of other processes than sums is not `distributed`.
    """

    stem: ClassVar[str]
    regularizes_activations: ClassVar[bool] = False
    distributed: ClassVar[bool] = True

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"{type(self).__name__}({given})"

    @abstractmethod
    def check(self, problem: Problem) -> None:
        """Refuse a problem that the scheme does not solve, or hyperparameters that do not fit it.

        Raises
        ------
        ValueError
            Naming what is wrong.
        """

    @abstractmethod
    def stems(self, problem: Problem, layer: int) -> tuple[str, ...]:
        """Names of the arrays of a layer, counted from 1, without its number and the biases."""

    @abstractmethod
    def _options(self, problem: Problem) -> dict[str, Any]:
        """Arguments of the engines beside the problem's."""

    def shared(self, problem: Problem) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the arrays of the state that belong to no layer."""
        return {}

    def distance_is_bound(self, problem: Problem) -> bool:
        """Whether the measured dist(0, ∂f) is only an upper bound."""
        return False

    def constants(self, state: State) -> dict[str, float]:
        """A-priori constants of sufficient decrease and relative error, where they are known.

        Parameters
        ----------
        state : State
            Of a run with this scheme; its norms bound those of the iterates.

        Returns
        -------
        dict
            ``a``: f_k − f_{k+1} ≥ a ‖ΔX‖²; ``b``: dist(0, ∂f(X_{k+1})) ≤ b Σ ‖ΔX_block‖;
            ``c1``: the constant of A1 that follows. Empty where none is known.

        Raises
        ------
        ValueError
            If the state does not belong to a problem.
        """
        if state.problem is None:
            raise ValueError("state: expected that of a run, got one without a problem")
        return self._constants(state, state.problem)

    def _constants(self, state: State, problem: Problem) -> dict[str, float]:
        return {}

    def variables(self, problem: Problem) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the arrays of the state."""
        n, widths = problem.n_samples, problem.network.widths
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            for stem in self.stems(problem, i):
                if stem.startswith("W"):
                    shapes[f"{stem}{i}"] = (outputs, inputs)
                    if problem.network.bias:
                        shapes[f"b{stem[1:]}{i}"] = (outputs,)
                else:
                    shapes[f"{stem}{i}"] = (n, outputs)
        return shapes | self.shared(problem)

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
        keep_products: bool = True,
    ) -> Engine:
        """Build the engine that works on the arrays of `state`, native or reference.

        X and Y are the problem's in the dtype of the state, `loss_weight` is c; the other arguments
        are those of the engines. The reference keeps no products.
        """
        network = problem.network
        layers = []
        for i in range(1, network.depth + 1):
            stems = self.stems(problem, i)
            biases = [f"b{stem[1:]}" for stem in stems if stem.startswith("W") and network.bias]
            layers.append({stem: state[f"{stem}{i}"] for stem in (*stems, *biases)})
        # An operator keeps one object for each backend, under its name.
        assembly = {
            "X": X,
            "Y": Y,
            "layers": layers,
            "activations": [getattr(activation, backend) for activation in network.activations],
            "skip": list(network.skip),
            "loss": getattr(problem.loss, backend),
            "loss_weight": loss_weight,
            "weight_regularizers": [getattr(r, backend) for r in problem.weight_regularizers],
            "num_threads": num_threads,
            "reducer": reducer,
            "activation_regularizers": [
                getattr(r, backend) for r in problem.activation_regularizers
            ],
        }
        options = self._options(problem) | {name: state[name] for name in self.shared(problem)}
        if backend == "native":
            native: Engine = getattr(_core, self.stem)(
                _core.Assembly(**assembly, keep_products=keep_products), **options
            )
            return native
        module = importlib.import_module(f"amcore.reference.scheme.{self.stem}")
        reference: Engine = getattr(module, type(self).__name__)(**assembly, **options)
        return reference


def _check_activation_regularizers(problem: Problem) -> None:
    """Refuse s_i that are no sums over samples, and an s_N that the loss does not go with."""
    for i, regularizer in enumerate(problem.activation_regularizers, start=1):
        if not regularizer.reference.by_row:
            raise ValueError(
                f"activation_regularizer: {regularizer} of layer {i} couples the samples, "
                "whose activations are updated one by one"
            )
    last = problem.activation_regularizers[-1]
    if last.reference.terms is None and "smooth" not in problem.loss.traits:
        raise ValueError(
            f"activation_regularizer: {last} of the output goes with smooth losses only, "
            f"got {problem.loss}"
        )


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

    stem: ClassVar[str] = "three_split_bcd"
    regularizes_activations: ClassVar[bool] = True

    gamma: float | Sequence[float] = 1.0
    rho: float | Sequence[float] | None = None
    alpha: float = 1.0
    inner_tol: float = 1e-6
    inner_iters: int = 200

    def __post_init__(self) -> None:
        """Check and freeze the hyperparameters."""
        object.__setattr__(self, "gamma", _numbers("gamma", self.gamma, above=0))
        if self.rho is not None:
            object.__setattr__(self, "rho", _numbers("rho", self.rho, above=0))
        object.__setattr__(self, "alpha", _checks.number("alpha", self.alpha, above=0))
        object.__setattr__(self, "inner_tol", _checks.number("inner_tol", self.inner_tol, least=0))
        object.__setattr__(self, "inner_iters", _checks.integer("inner_iters", self.inner_iters, 1))

    def check(self, problem: Problem) -> None:
        """Refuse weights that do not match the layers, and regularisers that couple samples.

        Raises
        ------
        ValueError
            Naming what is wrong.
        """
        self._couplings(problem.network)
        _check_activation_regularizers(problem)

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
            "inner_iters": self.inner_iters,
        }

    def _constants(self, state: State, problem: Problem) -> dict[str, float]:
        # Our own algebra: dist(0, ∂f) by the changes of the blocks, B the greatest norm of a
        # block, L the greatest Lipschitz constant of an activation.
        if not all("convex" in s.traits for s in problem.activation_regularizers):
            return {}
        network = problem.network
        gamma, rho = (max(weights) for weights in self._couplings(network))
        a = min(self.alpha, *self._couplings(network)[0]) / 2
        B = max(float(np.linalg.norm(np.float64(x))) for x in (problem.X, *state.values()))
        L = max(activation.L1 for activation in network.activations)
        b = max(
            gamma,
            self.alpha + rho * B,
            self.alpha + gamma * L,
            2 * rho * (B + B**2) + (gamma * (1 + L) if any(network.skip) else 0),
        )
        return {"a": a, "b": b, "c1": a / (3 * network.depth * b**2)}

    def _couplings(self, network: Network) -> tuple[list[float], list[float]]:
        """Return the weights γ_i and ρ_i of every layer."""
        gamma = _checks.per_layer("gamma", self.gamma, network.depth)
        rho = gamma if self.rho is None else _checks.per_layer("rho", self.rho, network.depth)
        return list(gamma), list(rho)


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

    dist(0, ∂f) is measured with the right derivative at kinks of an activation, and is an upper
    bound there.

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
    distributed: ClassVar[bool] = False  # h needs a maximum over all samples

    gamma: float | Sequence[float] = 1.0
    alpha: float = 1.0
    inner_iters: int = 1
    inner_tol: float = 1e-6
    inner_steps: int = 200

    def __post_init__(self) -> None:
        """Check and freeze the hyperparameters."""
        object.__setattr__(self, "gamma", _numbers("gamma", self.gamma, above=0))
        object.__setattr__(self, "alpha", _checks.number("alpha", self.alpha, above=0))
        object.__setattr__(self, "inner_iters", _checks.integer("inner_iters", self.inner_iters, 1))
        object.__setattr__(self, "inner_tol", _checks.number("inner_tol", self.inner_tol, least=0))
        object.__setattr__(self, "inner_steps", _checks.integer("inner_steps", self.inner_steps, 1))

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
        _check_activation_regularizers(problem)

    def stems(self, problem: Problem, layer: int) -> tuple[str, ...]:
        """W and V for every layer."""
        return "W", "V"

    def distance_is_bound(self, problem: Problem) -> bool:
        """Whether an activation has kinks."""
        return any("smooth" not in sigma.traits for sigma in problem.network.activations)

    def _options(self, problem: Problem) -> dict[str, Any]:
        majorizers = [Majorizer.trial(sigma.reference) for sigma in problem.network.activations]
        return {
            "gamma": self._couplings(problem.network),
            "alpha": self.alpha,
            "inner_iters": self.inner_iters,
            "majorizers": [(m.base, m.slope, m.center) for m in majorizers],
            "inner_tol": self.inner_tol,
            "inner_steps": self.inner_steps,
        }

    def _couplings(self, network: Network) -> list[float]:
        return list(_checks.per_layer("gamma", self.gamma, network.depth))


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
    distributed: ClassVar[bool] = False  # h needs a maximum over all samples

    beta: float | Sequence[float] = 1.0
    xi: float | Sequence[float] | None = None
    dual_init: str = "zero"
    majorizer: str = "published"

    def __post_init__(self) -> None:
        """Check and freeze the hyperparameters."""
        object.__setattr__(self, "beta", _numbers("beta", self.beta, above=0))
        if self.xi is not None:
            object.__setattr__(self, "xi", _numbers("xi", self.xi, least=0))
        _checks.choice("dual_init", self.dual_init, ("zero", "backprop"))
        _checks.choice("majorizer", self.majorizer, ("published", "tight"))

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
        for sigma, majorizer in zip(hidden, self._majorizers(network), strict=False):
            if "smooth" not in sigma.traits or not majorizer.finite:
                raise ValueError(
                    "activation: ADMM needs smooth ones that are bounded with their first two "
                    f"derivatives, got {sigma}"
                )
        for regularizer in problem.weight_regularizers:
            if regularizer.reference.curvature is None:
                raise ValueError(f"weight_regularizer: ADMM takes none or ridge, got {regularizer}")

    def stems(self, problem: Problem, layer: int) -> tuple[str, ...]:
        """W, V, Lambda and V_old for every layer."""
        return "W", "V", "Lambda", "V_old"

    def _options(self, problem: Problem) -> dict[str, Any]:
        beta, xi = self._penalties(problem.network)
        majorizers = self._majorizers(problem.network)
        return {
            "beta": beta,
            "xi": xi,
            "majorizers": [(m.base, m.slope, m.center) for m in majorizers],
            "backprop": self.dual_init == "backprop",
        }

    def _penalties(self, network: Network) -> tuple[list[float], list[float]]:
        """Return β_i and ξ_i of every layer."""
        beta = _checks.per_layer("beta", self.beta, network.depth)
        quarter = [weight / 4 for weight in beta]
        xi = quarter if self.xi is None else _checks.per_layer("xi", self.xi, network.depth)
        return list(beta), list(xi)

    def _majorizers(self, network: Network) -> list[Majorizer]:
        rule = Majorizer.tight if self.majorizer == "tight" else Majorizer.published
        return [rule(activation.reference) for activation in network.activations]


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

    rho: float | Sequence[float] = 1.0
    epsilon: float = 0.01
    epsilon_schedule: tuple[float, float] | None = None
    extrapolate: bool = True
    delta: float = 1e-8

    def __post_init__(self) -> None:
        """Check and freeze the hyperparameters."""
        object.__setattr__(self, "rho", _numbers("rho", self.rho, above=0))
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
            if not activation.reference.invertible:
                raise ValueError(
                    f"network: MDLAM needs monotone activations with an inverse, "
                    f"got {activation} at layer {i}"
                )

    def stems(self, problem: Problem, layer: int) -> tuple[str, ...]:
        """W and U, V below the output layer, and the last values that are extrapolated."""
        now = ("W", "U", "V") if layer < problem.network.depth else ("W", "U")
        old = tuple(f"{stem}_old" for stem in now if stem != "U") if self.extrapolate else ()
        return now + old

    def shared(self, problem: Problem) -> dict[str, tuple[int, ...]]:
        """``momentum``: the s of the extrapolation and ε."""
        return {"momentum": (2,)}

    def _options(self, problem: Problem) -> dict[str, Any]:
        shrink, floor = self.epsilon_schedule or (1.0, self.epsilon)
        return {
            "rho": list(_checks.per_layer("rho", self.rho, problem.network.depth)),
            "epsilon": self.epsilon,
            "shrink": shrink,
            "floor": floor,
            "delta": self.delta,
        }


def _numbers(name: str, value: Any, **bounds: float) -> float | tuple[float, ...]:
    """Return a number within the bounds, or one for every layer."""
    if hasattr(value, "__len__") and not isinstance(value, str | bytes):
        return tuple(_checks.number(f"{name}[{i}]", x, **bounds) for i, x in enumerate(value))
    return _checks.number(name, value, **bounds)
