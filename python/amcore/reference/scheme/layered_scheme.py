"""What the schemes share: the layers of a problem, sweeps and measurements, sums over processes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import numpy as np

from amcore.errors import NumericalError
from amcore.reference.operator import Activation, Array, Loss, Regularizer
from amcore.reference.regularizer.none import NoneRegularizer
from amcore.report import Report


class Layer:
    """One layer: its arrays by name (`layer.W`, None if absent), updated in place, and its terms.

    The arrays are W (out, in), b (out,), U, V, Lambda, V_old (n, out), W_old and b_old.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        activation: Activation,
        skip: bool,
        regularizer: Regularizer,
        activation_regularizer: Regularizer,
    ) -> None:
        self.arrays, self.activation = arrays, activation
        self.skip, self.regularizer = skip, regularizer
        self.activation_regularizer = activation_regularizer

    def __getattr__(self, name: str) -> Any:
        if name in ("W", "b", "U", "V", "Lambda", "W_old", "b_old", "V_old"):
            return self.arrays.get(name)
        raise AttributeError(name)

    def linear(self, V: Array) -> Array:
        """V Wᵀ + b for the layer's input V."""
        product: Array = V @ self.W.T if self.b is None else V @ self.W.T + self.b
        return product


class Assembly:
    """A problem and a state of layers that it does not own, as a scheme is given them."""

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
        num_threads: int = 0,
        collective: Any = None,
        activation_regularizers: Sequence[Regularizer] = (),
    ) -> None:
        self.X, self.Y, self.loss, self.loss_weight = X, Y, loss, loss_weight
        of_V = activation_regularizers or [NoneRegularizer() for _ in layers]
        terms = zip(layers, activations, skip, weight_regularizers, of_V, strict=True)
        self.layers = [Layer(*term) for term in terms]
        self.numbers = numbers
        self.collective = collective

    def _total_array(self, array: Array) -> Array:
        """Sum of an array over all processes."""
        if self.collective is None:
            return array
        flat = np.ascontiguousarray(array).reshape(-1).copy()
        self.collective.sum(flat)
        return flat.reshape(array.shape)

    def _total_arrays(self, arrays: list[Array]) -> list[Array]:
        """Return the sums of arrays over all processes, which meet once."""
        if self.collective is None:
            return arrays
        total = self._total_array(np.concatenate([array.reshape(-1) for array in arrays]))
        ends = np.cumsum([array.size for array in arrays])
        parts = np.split(total, ends[:-1])
        return [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]

    def _total(self, number: float) -> float:
        return float(self._total_array(np.array([number]))[0])

    def _greatest(self, number: float) -> float:
        """Return the greatest of the numbers of all processes."""
        array = np.array([number])
        if self.collective is not None:
            self.collective.max(array)
        return float(array[0])

    def _before(self, number: float) -> float:
        """Return the sum of a number over the processes of lower rank."""
        return 0.0 if self.collective is None else float(self.collective.before(number))


class LayeredScheme(Assembly, ABC):
    """Sweeps and measurements of a state of layers.

    A scheme defines `_update`, one sweep; `_parts`, the terms of the objective; `_distance`,
    dist(0, ∂f) by blocks.
    """

    def __init__(self, **assembly: Any) -> None:
        super().__init__(**assembly)
        self.objective = math.nan
        self.marks: tuple[str, ...] = ()  # of the last sweep
        self.pattern_changes = 0.0  # of the last sweep, of this process

    def forward(self) -> None:
        """U_i = V_{i−1} W_iᵀ + b_i, V_i = [V_{i−1}] + σ_i(U_i), as far as there are U_i and V_i.

        Where s_i(V_i) is infinite, V_i is projected before the next layer takes it.
        """
        V = self.X
        for layer in self.layers:
            U = layer.linear(V)
            value = layer.activation.value(U)
            if layer.U is not None:
                layer.U[...] = U
            if layer.V is not None:
                layer.V[...] = V + value if layer.skip else value
                if not math.isfinite(layer.activation_regularizer.value(layer.V)):
                    layer.V[...] = layer.activation_regularizer.prox(layer.V, 1.0)
            V = layer.V

    def measure(self) -> Report:
        """Objective, its parts and dist(0, ∂f) at the current state."""
        start = perf_counter()
        self.pattern_changes = 0.0
        with np.errstate(all="ignore"):
            parts = self._parts()
            self.objective = sum(parts.values())
            middle = perf_counter()
            distance, monitors = self._distance(), self._monitors()
        seconds = {"objective": middle - start, "distance": perf_counter() - middle}
        return Report(
            self.objective,
            math.hypot(*distance.values()),
            parts=parts,
            distance=distance,
            monitors=monitors,
            seconds=seconds,
        )

    def sweep(self, measure: bool) -> Report:
        """One sweep; distances, step norms and the accurate decrease only if `measure`."""
        before = self.objective
        if math.isnan(before):
            before = sum(self._parts().values())
        start = perf_counter()
        self.pattern_changes = 0.0
        with np.errstate(all="ignore"):
            decrease, step_norm = self._update()
            middle = perf_counter()
            parts, monitors = self._parts(), self._monitors()
            self.objective = sum(parts.values())
            end = perf_counter()
            seconds = {"update": middle - start, "objective": end - middle}
            if not measure:
                decrease, distance, step_norm = before - self.objective, {}, {}
            else:
                distance = self._distance()
                seconds["distance"] = perf_counter() - end
        return Report(
            self.objective,
            math.hypot(*distance.values()) if measure else math.nan,
            decrease,
            parts,
            distance,
            step_norm,
            monitors,
            seconds,
            self.marks,
        )

    @abstractmethod
    def _update(self) -> tuple[float, dict[str, float]]:
        """One sweep: its decrease, accurate relative to the steps, and ‖Δ‖ by blocks."""

    @abstractmethod
    def _parts(self) -> dict[str, float]:
        """Terms of the objective, summed over all processes."""

    @abstractmethod
    def _distance(self) -> dict[str, float]:
        """dist(0, ∂f) by blocks."""

    def _monitors(self) -> dict[str, float]:
        """Return what else the scheme watches, summed over all processes."""
        if any(layer.activation.kinks for layer in self.layers):
            return {"pattern_changes": self._total(self.pattern_changes)}
        return {}

    def _count_pattern(self, i: int, old: Array, new: Array) -> None:
        """Count the arguments of σ_i that lie on another piece of it."""
        sigma = self.layers[i].activation
        if sigma.kinks:
            self.pattern_changes += np.count_nonzero(sigma.piece(old) != sigma.piece(new))

    def _input(self, i: int) -> Array:
        """V_{i−1}, the input of layer i counted from 0."""
        V: Array = self.X if i == 0 else self.layers[i - 1].V
        return V

    @contextmanager
    def _of_layer(self, i: int) -> Iterator[None]:
        """Tell an error of a block its layer."""
        try:
            yield
        except NumericalError as error:
            error.layer = i + 1
            raise

    def _write(self, target: Array, new: Array, i: int, block: str) -> None:
        """Write a block, if its new value is finite."""
        self._expect_finite(new, i, block)
        target[...] = new

    def _expect_finite(self, array: Array, i: int, block: str) -> None:
        """Check a block, or what proximal gradient steps of it, that go nowhere, would hide."""
        if not np.isfinite(array).all():
            raise NumericalError("a non-finite value appeared", layer=i + 1, block=block)

    def _norm(self, array: Array) -> float:
        return math.sqrt(self._total(square(array)))

    def _weight_distance(self, i: int, gradient: Array, bias_gradient: Array) -> float:
        """dist(0, ∂_{(W_i, b_i)} f) from the gradients of the smooth terms over all processes."""
        layer = self.layers[i]
        parts = [layer.regularizer.subgradient_distance(layer.W, gradient)]
        if layer.b is not None:
            parts.append(math.sqrt(square(bias_gradient)))
        return math.hypot(*parts)


def square(array: Array) -> float:
    """‖array‖², summed in float64."""
    return float(np.sum(np.square(array, dtype=np.float64)))


def square_difference(a: Array, b: Array, center: Array) -> float:
    """Return ‖a − center‖² − ‖b − center‖², as a product of differences."""
    return float(np.sum((a - b) * ((a - center) + (b - center)), dtype=np.float64))


def weight_step(layer: Layer, W: Array, b: Array | None) -> float:
    """‖(W_i, b_i) − (W, b)‖."""
    total = square(layer.W - W)
    if b is not None:
        total += square(layer.b - b)
    return math.sqrt(total)


def kink_distance(left: Array, right: Array) -> Array:
    """Distance of 0 to the limiting subdifferential of a function of one variable.

    A convex kink has the interval [left, right], a concave one the two one-sided derivatives.
    """
    convex = np.maximum(0, np.maximum(left, -right))
    concave = np.minimum(np.abs(left), np.abs(right))
    return np.where(left <= right, convex, concave)
