"""The compiled core: one extension module per CPU level, the chosen one `amcore._core`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy.typing as npt

from amcore.errors import NumericalError

Array: TypeAlias = npt.NDArray[Any]

__isa__: str

def max_threads() -> int: ...
def pause_threads() -> None: ...
def registry() -> dict[str, dict[str, list[tuple[str, float | tuple[float, ...]]]]]: ...

class Activation:
    def __init__(self, name: str, parameters: Sequence[float] = ...) -> None: ...
    def value(self, u: Array, out: Array) -> None: ...
    def derivative(self, u: Array, side: str, out: Array) -> None: ...
    def difference(self, a: Array, b: Array, out: Array) -> None: ...
    def prox(self, v: Array, z: Array, weight: float, out: Array) -> None: ...

class Loss:
    def __init__(self, name: str, parameters: Sequence[float] = ...) -> None: ...
    def value(self, v: Array, y: Array) -> float: ...
    def gradient(self, v: Array, y: Array, out: Array) -> None: ...
    def difference(self, a: Array, b: Array, y: Array) -> float: ...
    def prox(self, q: Array, y: Array, tau: float, out: Array) -> None: ...
    def subgradient_distance(self, v: Array, y: Array, g: Array, scale: float) -> float: ...

class Regularizer:
    def __init__(self, name: str, parameters: Sequence[float] = ...) -> None: ...
    def value(self, x: Array) -> float: ...
    def difference(self, a: Array, b: Array) -> float: ...
    def prox(self, x: Array, tau: float, out: Array) -> None: ...
    def subgradient_distance(self, x: Array, g: Array) -> float: ...

def schemes() -> list[str]: ...

class Report:
    @property
    def objective(self) -> float: ...
    @property
    def decrease(self) -> float: ...
    @property
    def subgradient_distance(self) -> float: ...
    @property
    def parts(self) -> dict[str, float]: ...
    @property
    def distance(self) -> dict[str, float]: ...
    @property
    def step_norm(self) -> dict[str, float]: ...
    @property
    def monitors(self) -> dict[str, float]: ...
    @property
    def seconds(self) -> dict[str, float]: ...
    @property
    def marks(self) -> list[str]: ...

class Assembly:
    def __init__(
        self,
        X: Array,
        Y: Array,
        layers: Sequence[Mapping[str, Array]],
        numbers: Mapping[str, Array],
        activations: Sequence[Activation],
        skip: Sequence[bool],
        loss: Loss,
        loss_weight: float,
        weight_regularizers: Sequence[Regularizer],
        activation_regularizers: Sequence[Regularizer],
        num_threads: int,
        collective: Any,
        keep_products: bool = ...,
        sample_weight: Array | None = ...,
    ) -> None: ...

class Engine:
    def __init__(self, scheme: str, assembly: Assembly, options: dict[str, Any]) -> None: ...
    def forward(self) -> None: ...
    def measure(self) -> Report: ...
    def sweep(self, measure: bool) -> Report: ...

def solve_many(
    engines: Sequence[Engine],
    max_iter: int,
    tol: float,
    measure_every: int,
    num_threads: int,
    stops: Callable[[], bool],
) -> list[tuple[dict[str, Array], list[tuple[int, str]], NumericalError | MemoryError | None]]: ...
def forward(
    X: Array,
    weights: Sequence[tuple[Array, Array | None]],
    activations: Sequence[Activation],
    skip: Sequence[bool],
    out: Array,
    num_threads: int,
) -> None: ...
def ridge_update(
    U: Array,
    V: Array,
    W: Array,
    b: Array | None,
    rho: float,
    alpha: float,
    lam: float,
    num_threads: int,
) -> None:
    """Update (W, b) in place: argmin ρ/2‖U − VWᵀ − b‖² + λ/2‖W‖² + α/2‖(W, b) − (W, b)⁰‖²."""

def hidden_update(
    S: Array,
    U: Array,
    W: Array,
    b: Array | None,
    gamma: float,
    rho: float,
    out: Array,
    num_threads: int,
) -> None:
    """Set `out` to argmin_V γ/2‖V − S‖² + ρ/2‖U − VWᵀ − b‖²."""

def preactivation_update(
    activation: Activation,
    V: Array,
    P: Array,
    U: Array,
    gamma: float,
    rho: float,
    alpha: float,
    num_threads: int,
) -> None:
    """Update U in place: argmin γ/2‖V − σ(U)‖² + ρ/2‖U − P‖² + α/2‖U − U⁰‖²."""

def output_update(
    loss: Loss,
    loss_weight: float,
    Y: Array,
    S: Array,
    V: Array,
    gamma: float,
    alpha: float,
    num_threads: int,
) -> None:
    """Update V in place: argmin c ℓ(V, Y) + γ/2‖V − S‖² + α/2‖V − V⁰‖²."""
