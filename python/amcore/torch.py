"""In PyTorch: networks as modules and modules as networks, trained by amcore or only measured.

Importing amcore does not import torch; importing this module does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import nn

from amcore import _checks, activations
from amcore._checks import Array
from amcore.activations import Activation
from amcore.errors import NumericalError
from amcore.network import Network, Weights
from amcore.problem import Problem
from amcore.report import Record
from amcore.schemes import Scheme
from amcore.schemes.online_am import OnlineAM
from amcore.solution import Solution
from amcore.solve import solve
from amcore.trace import Trace

__all__ = ["Objective", "Skip", "fit", "from_sequential", "to_sequential"]

_DTYPES = {torch.float32, torch.float64}


class Skip(nn.Sequential):
    """A layer with a skip connection: x + layer(x), the layer being a Linear and its activation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x + layer(x)."""
        layer: Callable[[torch.Tensor], torch.Tensor] = super().forward
        return x + layer(x)


# Of each activation the module, what that calls its parameters, and what else has to be so there.
_MODULES: dict[str, tuple[type[nn.Module], dict[str, str], dict[str, float]]] = {
    "hard_sigmoid": (nn.Hardsigmoid, {}, {}),
    "hard_tanh": (nn.Hardtanh, {}, {"min_val": -1, "max_val": 1}),
    "leaky_relu": (nn.LeakyReLU, {"slope": "negative_slope"}, {}),
    "relu": (nn.ReLU, {}, {}),
    "sigmoid": (nn.Sigmoid, {}, {}),
    # above the threshold torch takes u, which is less by 2e-9 at most
    "softplus": (nn.Softplus, {}, {"beta": 1, "threshold": 20}),
    "tanh": (nn.Tanh, {}, {}),
}
_KINDS = (nn.Linear, Skip, nn.Identity, *(kind for kind, _, _ in _MODULES.values()))
_SUPPORTED = ", ".join(kind.__name__ for kind in _KINDS)


@dataclass(frozen=True)
class _Layer:
    """A Linear, by its name in the module, and what follows it."""

    name: str
    linear: Any  # torch's types know of no Linear without bias
    activation: Activation | None = None
    skip: bool = False


def from_sequential(module: nn.Sequential) -> tuple[Network, Weights]:
    """Return the network that a module is, and its weights.

    Parameters
    ----------
    module : torch.nn.Sequential
        Linear modules, each followed by at most one of Hardsigmoid, Hardtanh, LeakyReLU, ReLU,
        Sigmoid, Softplus and Tanh, with the parameters that amcore's activations have; `Skip` for a
        layer with a skip connection. Sequentials within and Identity are allowed.

    Returns
    -------
    network : Network
    weights : list of (W, b)
        Views of the parameters, in their dtype: nothing is copied.

    Raises
    ------
    TypeError, ValueError
        If the module is no such network, naming the first part that is not: another module, a
        Linear that computes its weight, some biases but not all, a parameter that is shared, not on
        the CPU or neither float32 nor float64.

    Notes
    -----
    The module and ``network.forward`` add up products in orders of their own, so their outputs
    agree to rounding. The bits of the weights are the same, and so are all bits of the outputs of
    the module that `to_sequential` makes of them.

    Examples
    --------
    >>> module = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.1), nn.Linear(8, 2))
    >>> from_sequential(module)[0].activations
    (leaky_relu(slope=0.1), identity)
    """
    if not _is_plain(module):
        raise TypeError(f"module: expected a torch.nn.Sequential, got {type(module).__name__}")
    layers = _layers(module)
    first = layers[0].linear
    weights: Weights = []
    owners: dict[int, str] = {}
    for i, layer in enumerate(layers):
        linear, name = layer.linear, layer.name
        if i and linear.in_features != (given := layers[i - 1].linear.out_features):
            raise ValueError(
                f"{name}: expected {given} in_features, the outputs of {layers[i - 1].name}, "
                f"got {linear.in_features}"
            )
        if (linear.bias is None) is not (first.bias is None):
            those, this = ("without", "with") if first.bias is None else ("with", "without")
            raise ValueError(
                f"{name}: expected a Linear {those} bias as {layers[0].name}, got one {this}"
            )
        for part, parameter in linear.named_parameters():
            place = f"{name}.{part}"
            _check_parameter(place, parameter, first.weight.dtype)
            if id(parameter) in owners:
                raise ValueError(
                    f"{place}: expected parameters of its own, got those of {owners[id(parameter)]}"
                )
            owners[id(parameter)] = place
        bias = None if linear.bias is None else linear.bias.detach().numpy()
        weights.append((linear.weight.detach().numpy(), bias))
    *hidden, output = [layer.activation or activations.identity for layer in layers]
    network = Network(
        [first.in_features, *(layer.linear.out_features for layer in layers)],
        hidden,
        output,
        [layer.skip for layer in layers],
        first.bias is not None,
    )
    return network, network.check_weights(weights, "module")


def to_sequential(network: Network, weights: Any) -> nn.Sequential:
    """Return a network as a module.

    Parameters
    ----------
    network : Network
        A network without polynomial activations, which torch has no module for.
    weights : sequence of (W, b)
        Its weights, all of one dtype.

    Returns
    -------
    torch.nn.Sequential
        Linear modules, each followed by that of its activation unless it is the identity; a layer
        with a skip connection is a `Skip`. The parameters share the memory of the weights where
        these are writeable and C-contiguous, and are copies otherwise.

    Raises
    ------
    TypeError, ValueError
        If the weights do not fit the network or differ in dtype, or an activation has no module.

    Examples
    --------
    >>> network, weights = from_sequential(nn.Sequential(nn.Linear(4, 8), nn.Tanh()))
    >>> to_sequential(network, weights)
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): Tanh()
    )
    """
    modules: list[nn.Module] = []
    checked = network.check_weights(weights)
    for i, (W, b) in enumerate(checked):
        _checks.same_dtype(f"weights[{i}] W", W, "weights[0] W", checked[0][0])
        linear = nn.Linear(W.shape[1], W.shape[0], bias=False, device="meta")
        linear.weight = _parameter(W)
        if b is not None:
            _checks.same_dtype(f"weights[{i}] b", b, "weights[0] W", checked[0][0])
            linear.bias = _parameter(b)
        activation = network.activations[i]
        layer: list[nn.Module] = [linear]
        if activation != activations.identity:
            layer.append(_module(f"network.activations[{i}]", activation))
        modules += [Skip(*layer)] if network.skip[i] else layer
    return nn.Sequential(*modules)


def fit(
    module: nn.Sequential,
    X: Any,
    Y: Any,
    scheme: Scheme | None = None,
    *,
    loss: Any = "squared",
    loss_scale: str = "sum",
    weight_regularizer: Any = None,
    activation_regularizer: Any = None,
    sample_weight: Any = None,
    **options: Any,
) -> Solution:
    """Train a module in place, by sweeps of a scheme that start from its parameters.

    Parameters
    ----------
    module : torch.nn.Sequential
        A network as `from_sequential` takes it, all of whose parameters require gradients.
    X, Y : tensor or array_like
        Inputs and targets, as for `amcore.Problem`; the computation is in the module's dtype.
    scheme : Scheme, optional
        By default ``OnlineAM()``, the one to predict with.
    loss, loss_scale, weight_regularizer, activation_regularizer, sample_weight
        As for `amcore.Problem`: the loss is one of amcore's.
    **options
        Those of `amcore.solve` but for `init` and `dtype`, such as ``max_iter=50``.

    Returns
    -------
    Solution
        The run, with its trace. Its weights are not the module's memory, only equal.

    Raises
    ------
    TypeError, ValueError, NumericalError, Exception
        As `from_sequential`, `amcore.Problem` and `amcore.solve`, or if a parameter is frozen. The
        module is then as it was: it is written once the run has ended without an error.

    Examples
    --------
    >>> module = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 1))
    >>> X = torch.linspace(-1, 1, 50)[:, None]
    >>> run = fit(module, X, abs(X), max_iter=20)
    >>> torch.equal(module[0].weight, torch.from_numpy(run.weights[0][0]))
    True
    """
    network, weights = from_sequential(module)
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            raise ValueError(
                f"module.{name}: expected requires_grad=True, as all layers are fitted"
            )
    problem = Problem(
        network,
        X,
        Y,
        loss,
        loss_scale=loss_scale,
        weight_regularizer=weight_regularizer,
        activation_regularizer=activation_regularizer,
        sample_weight=sample_weight,
    )
    chosen = OnlineAM() if scheme is None else scheme
    run = solve(problem, chosen, init=weights, dtype=weights[0][0].dtype, **options)
    arrays = [array for pair in run.weights for array in pair if array is not None]
    with torch.no_grad():
        for parameter, array in zip(module.parameters(), arrays, strict=True):
            parameter.copy_(torch.from_numpy(array))
    return run


class Objective:
    """The full-batch loss f of a module, measured as any optimiser trains it.

    ``amcore.certify(objective.trace)`` then says what the convergence theory says of the run.

    Parameters
    ----------
    module : torch.nn.Module
        Any module; what is differentiated by are its parameters that require gradients.
    X, Y : tensor
        All samples, such as the module and the loss take.
    loss : callable
        ``loss(module(X), Y)`` is f, a tensor of one number: one of torch's losses, or a function
        that adds a penalty of the module's parameters to it.

    Attributes
    ----------
    trace : Trace
        The start, and what `record` has added.

    Raises
    ------
    TypeError, ValueError
        If no parameter requires a gradient, or f is no such tensor in float32 or float64.
    NumericalError
        If f or its gradient is not finite.

    Notes
    -----
    The module is measured in evaluation mode, without dropout; its mode, its buffers and the
    gradients that it holds stay as they are.

    Examples
    --------
    >>> module = nn.Linear(3, 1)
    >>> X, Y = torch.eye(3), torch.ones(3, 1)
    >>> optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    >>> objective = Objective(module, X, Y, nn.MSELoss())
    >>> for _ in range(10):
    ...     optimizer.zero_grad()
    ...     nn.MSELoss()(module(X), Y).backward()
    ...     _ = optimizer.step()
    ...     _ = objective.record()
    >>> len(objective.trace)
    10
    """

    def __init__(
        self,
        module: nn.Module,
        X: Any,
        Y: Any,
        loss: Callable[[Any, Any], torch.Tensor],
    ) -> None:
        self.module, self.X, self.Y, self.loss = module, X, Y, loss
        kinds = {parameter.dtype for parameter in self._parameters()}
        if not kinds or not kinds <= _DTYPES:
            found = ", ".join(sorted(map(str, kinds))) or "none"
            raise TypeError(
                "module: expected parameters in float32 or float64 that require gradients, got "
                + found
            )
        self.trace = Trace(
            dtype=np.float32 if torch.float32 in kinds else np.float64, accurate_decrease=False
        )
        self._time = perf_counter()
        self.record()

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def measure(self) -> tuple[float, float]:
        """Return f and dist(0, ∂f) at the parameters as they are.

        The distance is the norm of the gradient by backpropagation: equal wherever f is
        differentiable, which for the usual modules is at almost all parameters.

        Raises
        ------
        TypeError, ValueError, NumericalError
            As for the class.
        """
        modes = [(part, part.training) for part in self.module.modules()]
        self.module.eval()
        try:
            with torch.enable_grad():
                value: Any = self.loss(self.module(self.X), self.Y)
        finally:
            for part, mode in modes:
                part.training = mode
        if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
            raise ValueError(
                "loss: expected a tensor of one number that depends on the parameters, got "
                + _checks.describe(value)
            )
        gradients = torch.autograd.grad(value, self._parameters(), materialize_grads=True)
        norms = [float(torch.linalg.vector_norm(g, dtype=torch.float64)) for g in gradients]
        f, distance = float(value.detach()), math.hypot(*norms)
        for name, number in (("objective", f), ("distance", distance)):
            if not math.isfinite(number):
                raise NumericalError(f"the {name} is {number}", layer=0, block=name)
        return f, distance

    def record(self) -> Record:
        """Measure, and add what was found to the trace as its next record.

        Returns
        -------
        Record
            Its `time` is that since the last one.

        Raises
        ------
        TypeError, ValueError, NumericalError
            As for the class; the trace then stays as it is.
        """
        elapsed = perf_counter() - self._time
        f, distance = self.measure()
        before = self.trace.objective[-1] if self.trace.objective.size else math.nan
        record = Record(
            sweep=self.trace.objective.size,
            objective=f,
            subgradient_distance=distance,
            decrease=float(before - f),
            time=elapsed,
        )
        self.trace.append(record)
        self._time = perf_counter()
        return record


def _parts(module: nn.Sequential, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts in their order, those of Sequentials within too, by their names."""
    # not named_children, which leaves out what comes a second time
    parts: dict[str, Any] = module._modules
    for key, part in parts.items():
        place = f"{name}.{key}"
        if _is_plain(part):
            yield from _parts(part, place)
        elif not isinstance(part, nn.Identity):
            yield place, part


def _is_plain(part: Any) -> TypeGuard[nn.Sequential]:
    """Whether it does nothing but apply its parts one after the other."""
    return isinstance(part, nn.Sequential) and type(part).forward is nn.Sequential.forward


def _layers(module: nn.Sequential, name: str = "module") -> list[_Layer]:
    """Return the layers of a module; refuse by its name the first part that belongs to none."""
    layers: list[_Layer] = []
    for place, part in _parts(module, name):
        if isinstance(part, Skip):
            inner = _layers(part, place)
            if len(inner) != 1:
                raise ValueError(f"{place}: expected one layer, got {len(inner)}")
            layers.append(replace(inner[0], skip=True))
        elif type(part) is nn.Linear:
            if not {key for key, _ in part.named_parameters()} <= {"weight", "bias"}:
                raise ValueError(
                    f"{place}: expected a Linear with a weight of its own, got one that computes it"
                )
            layers.append(_Layer(place, part))
        else:
            activation = _activation(place, part)
            if not layers or layers[-1].activation is not None or layers[-1].skip:
                raise ValueError(f"{place}: expected a Linear before it, got {part}")
            layers[-1] = replace(layers[-1], activation=activation)
    if not layers:
        raise ValueError(f"{name}: expected at least one Linear, got none")
    return layers


def _activation(place: str, part: nn.Module) -> Activation:
    """Return the activation that a module is."""
    for stem, (kind, parameters, fixed) in _MODULES.items():
        if type(part) is kind:
            given = {key: getattr(part, theirs) for key, theirs in parameters.items()}
            different = [key for key, value in fixed.items() if getattr(part, key) != value]
            if different:
                expected = ", ".join(f"{key}={value}" for key, value in fixed.items())
                raise ValueError(f"{place}: expected {kind.__name__}({expected}), got {part}")
            try:
                found = getattr(activations, stem)
                activation: Activation = found(**given) if given else found
                return activation
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None
    raise TypeError(f"{place}: expected one of {_SUPPORTED}, got {str(part).splitlines()[0]:.60}")


def _module(place: str, activation: Activation) -> nn.Module:
    """Return the module that an activation is."""
    if activation.name not in _MODULES or not activation.reference.in_catalogue:
        known = ", ".join(_MODULES)
        raise ValueError(f"{place}: expected one of {known}, identity, got {activation}")
    kind, parameters, _ = _MODULES[activation.name]
    return kind(**{theirs: activation.parameters[key] for key, theirs in parameters.items()})


def _check_parameter(place: str, parameter: nn.Parameter, dtype: torch.dtype) -> None:
    if parameter.device.type != "cpu":
        raise ValueError(f"{place}: expected a tensor on the CPU, got one on {parameter.device}")
    if parameter.dtype not in _DTYPES:
        raise TypeError(f"{place}: expected float32 or float64, got {parameter.dtype}")
    if parameter.dtype != dtype:
        raise TypeError(f"{place}: expected {dtype} as of the first layer, got {parameter.dtype}")


def _parameter(array: Array) -> nn.Parameter:
    """Return a parameter in the memory of the array, or in that of a copy if it must be."""
    return nn.Parameter(torch.from_numpy(np.require(array, None, ["C", "A", "W"])))
