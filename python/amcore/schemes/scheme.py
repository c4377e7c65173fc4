"""What a scheme is: hyperparameters, and how the engine for its sweeps is built."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from amcore import _checks, _core
from amcore._checks import Array
from amcore.collective import Collective
from amcore.problem import Problem
from amcore.state import State

__all__ = ["Engine", "Scheme"]


class Engine(Protocol):
    """A scheme at work on the arrays of a state, in place."""

    def forward(self) -> None:
        """Fill the auxiliary variables by the forward pass from the weights."""

    def measure(self) -> Any:
        """Measure the current state; the result has the fields of `amcore.report.Report`."""

    def sweep(self, measure: bool) -> Any:
        """Do one sweep; distances, step norms and the accurate decrease only if `measure`.

        The result is as that of `measure`.
        """


class Scheme(ABC):
    """A scheme with its hyperparameters, the fields of a dataclass.

    A subclass names the arrays of a layer (`stems`), what it refuses (`check`) and its options for
    the engines (`_options`). These are found by name: the scheme `stem` of the core, and the
    class of the subclass's name in the module `stem` of `amcore.reference.scheme`. Its `numbers`
    are those of the state that belong to no layer, arrays of no dimension in float64.
    `accurate_decrease` tells whether its decreases are more accurate than differences of
    objectives. Its `remedies` say, by block, what makes the least-squares systems better
    conditioned.
    """

    stem: ClassVar[str]
    regularizes_activations: ClassVar[bool] = False
    accurate_decrease: ClassVar[bool] = True
    weighs_samples: ClassVar[bool] = False
    remedies: ClassVar[dict[str, str]] = {}
    numbers: ClassVar[tuple[str, ...]] = ()

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

    @property
    def descends(self) -> bool:
        """Whether every sweep lowers f but for rounding."""
        return True

    @abstractmethod
    def stems(self, problem: Problem, layer: int) -> tuple[str, ...]:
        """Names of the arrays of a layer, counted from 1, without its number and the biases."""

    def shape(self, problem: Problem, layer: int, stem: str) -> tuple[int, ...]:
        """Shape of an array of a layer."""
        inputs, outputs = problem.network.widths[layer - 1 : layer + 1]
        return (outputs, inputs) if stem.startswith("W") else (problem.n_samples, outputs)

    def begin(
        self,
        problem: Problem,
        arrays: Mapping[str, Array],
        *,
        drawn: bool,
        max_iter: int,
        seed: Any,
        collective: Collective,
    ) -> None:
        """Set what else a state starts from than weights, and fit these if a rule has `drawn` them.

        In place, and on all processes the same.
        """
        return

    @abstractmethod
    def _options(self, problem: Problem) -> dict[str, Any]:
        """Arguments of the engines beside the problem's."""

    def distance_is_bound(self, problem: Problem) -> bool:
        """Whether the measured dist(0, ∂f) is only an upper bound."""
        return False

    def lower_bound(self, problem: Problem) -> float:
        """Return a number that the objective is nowhere below, −inf if none is known."""
        return problem.lower_bound

    def constants(self, state: State) -> dict[str, float]:
        """A-priori constants of sufficient decrease and relative error, where they are known.

        Parameters
        ----------
        state : State
            Of a run with this scheme; the norms of the iterates are bounded by those of the state
            and of the steps of the run.

        Returns
        -------
        dict
            ``a``: f_k − f_{k+1} ≥ a ‖ΔX‖²; ``b``: dist(0, ∂f(X_{k+1})) ≤ b Σ ‖ΔX_block‖;
            ``c1``: the constant of A1 that follows; these two if the steps of all sweeps were
            measured. Empty where none is known.

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
        shapes: dict[str, tuple[int, ...]] = {}
        for i, outputs in enumerate(problem.network.widths[1:], start=1):
            for stem in self.stems(problem, i):
                shapes[f"{stem}{i}"] = self.shape(problem, i, stem)
                if stem.startswith("W") and problem.network.bias:
                    shapes[f"b{stem[1:]}{i}"] = (outputs,)
        return shapes | dict.fromkeys(self.numbers, ())

    def engine(
        self,
        problem: Problem,
        state: State,
        *,
        X: Array,
        Y: Array,
        loss_weight: float,
        num_threads: int,
        collective: Collective | None,
        backend: str,
        keep_products: bool = True,
        sample_weight: Array | None = None,
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
            "numbers": {name: state[name] for name in self.numbers},
            "activations": [getattr(activation, backend) for activation in network.activations],
            "skip": list(network.skip),
            "loss": getattr(problem.loss, backend),
            "loss_weight": loss_weight,
            "weight_regularizers": [getattr(r, backend) for r in problem.weight_regularizers],
            "num_threads": num_threads,
            "collective": collective,
            "activation_regularizers": [
                getattr(r, backend) for r in problem.activation_regularizers
            ],
        }
        if sample_weight is not None:
            assembly["sample_weight"] = sample_weight
        options = self._options(problem)
        if backend == "native":
            native = _core.Assembly(**assembly, keep_products=keep_products)
            return _core.Engine(self.stem, native, options)
        module = importlib.import_module(f"amcore.reference.scheme.{self.stem}")
        reference: Engine = getattr(module, type(self).__name__)(**assembly, **options)
        return reference


def check_activation_regularizers(problem: Problem) -> None:
    """Refuse s_i that are no sums over samples, and an s_N that the loss does not go with."""
    for i, regularizer in enumerate(problem.activation_regularizers, start=1):
        if not regularizer.by_row:
            raise ValueError(
                f"activation_regularizer: {regularizer} of layer {i} couples the samples, "
                "whose activations are updated one by one"
            )
    last = problem.activation_regularizers[-1]
    if not last.by_entry and "smooth" not in problem.loss.traits:
        raise ValueError(
            f"activation_regularizer: {last} of the output goes with smooth losses only, "
            f"got {problem.loss}"
        )


def numbers(name: str, value: Any, **bounds: float) -> float | tuple[float, ...]:
    """Return a number within the bounds, or one for every layer."""
    given = _checks.entries(name, value)
    if given is None:
        return _checks.number(name, value, **bounds)
    return tuple(_checks.number(f"{name}[{i}]", x, **bounds) for i, x in enumerate(given))
