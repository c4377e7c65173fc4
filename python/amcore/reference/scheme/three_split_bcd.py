"""Three-splitting block coordinate descent, with or without skip connections."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from amcore.errors import NumericalError
from amcore.reference.block.hidden import hidden_update
from amcore.reference.block.output import output_update
from amcore.reference.block.preactivation import preactivation_update
from amcore.reference.block.weight import proximal_update, ridge_update
from amcore.reference.operator import Activation, Array, Loss, Regularizer
from amcore.reference.scheme.report import Report


@dataclass(frozen=True)
class Layer:
    """One layer: its arrays, updated in place, and its terms of the objective."""

    W: Array
    b: Array | None
    U: Array
    V: Array
    activation: Activation
    skip: bool
    regularizer: Regularizer
    gamma: float
    rho: float

    def linear(self, V: Array) -> Array:
        """V Wᵀ + b for the layer's input V."""
        return V @ self.W.T if self.b is None else V @ self.W.T + self.b

    def target(self, V: Array) -> Array:
        """[V +] σ(U): what the layer's output couples to."""
        value = self.activation.value(self.U)
        return V + value if self.skip else value


class ThreeSplitBCD:
    """Three-splitting block coordinate descent, for every pattern of skip connections.

    Minimises, with V_0 = X and the term in brackets where layer i has a skip connection,

        f = c Σ ℓ(V_N) + Σ r_i(W_i) + Σ γ_i/2 ‖V_i − [V_{i−1}] − σ_i(U_i)‖²
                                   + Σ ρ_i/2 ‖U_i − V_{i−1} W_iᵀ − b_i‖²

    one block after the other, always with the newest values: V_i, U_i, W_i for i = N, …, 1, each

        argmin f + α/2 ‖block − old block‖²,

    without the proximal term for V_i, i < N, and for U_N if σ_N is the identity.

    Source: Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2; Xu, Bao, Xing (2022), equations (3) and
    (6). The measures are our own algebra.
    """

    def __init__(
        self,
        X: Array,
        Y: Array,
        layers: Sequence[tuple[Array, Array | None, Array, Array]],
        activations: Sequence[Activation],
        skip: Sequence[bool],
        loss: Loss,
        loss_weight: float,
        weight_regularizers: Sequence[Regularizer],
        gamma: Sequence[float],
        rho: Sequence[float],
        alpha: float,
        num_threads: int = 0,
        reducer: Callable[[Array], None] | None = None,
        inner_tol: float = 1e-6,
        inner_iters: int = 200,
    ) -> None:
        self.X, self.Y, self.loss, self.loss_weight, self.alpha = X, Y, loss, loss_weight, alpha
        self.inner = inner_tol, inner_iters
        terms = zip(layers, activations, skip, weight_regularizers, gamma, rho, strict=True)
        self.layers = [Layer(*arrays, *rest) for arrays, *rest in terms]
        self.reducer = reducer
        self.objective = math.nan

    def forward(self) -> None:
        """U_i = V_{i−1} W_iᵀ + b_i, V_i = [V_{i−1}] + σ_i(U_i)."""
        V = self.X
        for layer in self.layers:
            layer.U[...] = layer.linear(V)
            layer.V[...] = layer.target(V)
            V = layer.V

    def measure(self) -> Report:
        """Objective, its parts and dist(0, ∂f) at the current state."""
        start = perf_counter()
        with np.errstate(all="ignore"):
            parts = self._parts()
            self.objective = sum(parts.values())
            middle = perf_counter()
            distance = self._distance()
        seconds = {"objective": middle - start, "distance": perf_counter() - middle}
        return Report(self.objective, parts=parts, distance=distance, seconds=seconds)

    def sweep(self, measure: bool) -> Report:
        """One sweep; distances, step norms and the accurate decrease only if `measure`."""
        before = self.objective
        if math.isnan(before):
            before = sum(self._parts().values())
        start = perf_counter()
        with np.errstate(all="ignore"):
            decrease, step_norm = self._update()
            middle = perf_counter()
            parts = self._parts()
            self.objective = sum(parts.values())
            end = perf_counter()
            seconds = {"update": middle - start, "objective": end - middle}
            if not measure:
                return Report(self.objective, before - self.objective, parts=parts, seconds=seconds)
            distance = self._distance()
        seconds["distance"] = perf_counter() - end
        return Report(self.objective, decrease, parts, distance, step_norm, seconds)

    # The updates. A block is written only when its new value is finite.

    def _update(self) -> tuple[float, dict[str, float]]:
        decrease = 0.0
        step: dict[str, float] = {}
        for i in reversed(range(len(self.layers))):
            old = self.layers[i].V.copy()
            decrease += self._update_v(i)
            step[f"V{i + 1}"] = self._norm(self.layers[i].V - old)
            old = self.layers[i].U.copy()
            decrease += self._update_u(i)
            step[f"U{i + 1}"] = self._norm(self.layers[i].U - old)
            W, b = self.layers[i].W.copy(), self.layers[i].b
            b = None if b is None else b.copy()
            decrease += self._update_w(i)
            step[f"W{i + 1}"] = _weight_step(self.layers[i], W, b)
        return decrease, {block: step[block] for block in self._blocks()}

    def _update_v(self, i: int) -> float:
        layer, old = self.layers[i], self.layers[i].V.copy()
        S = layer.target(self._input(i))
        if i == len(self.layers) - 1:
            c, gamma = self.loss_weight, layer.gamma
            new = output_update(self.loss, c, self.Y, S, old, gamma, self.alpha)
            self._write(layer.V, new, i, "V")
            quadratic = _square_difference(old, new, S)
            fall = c * self.loss.difference(old, new, self.Y) + gamma / 2 * quadratic
        else:
            above, gamma = self.layers[i + 1], layer.gamma
            if above.skip:
                gamma += above.gamma
                rest = above.V - above.activation.value(above.U)
                S = (layer.gamma * S + above.gamma * rest) / gamma
            new = hidden_update(S, above.U, above.W, above.b, gamma, above.rho)
            self._write(layer.V, new, i, "V")
            step = new - old
            fall = (gamma * _square(step) + above.rho * _square(step @ above.W.T)) / 2
        return self._total(fall)

    def _update_u(self, i: int) -> float:
        layer, old = self.layers[i], self.layers[i].U.copy()
        V = layer.V - self._input(i) if layer.skip else layer.V
        P = layer.linear(self._input(i))
        last_identity = i == len(self.layers) - 1 and layer.activation.name == "identity"
        alpha = 0.0 if last_identity else self.alpha
        new = preactivation_update(layer.activation, V, P, old, layer.gamma, layer.rho, alpha)
        self._write(layer.U, new, i, "U")
        sigma = layer.activation
        residuals = (V - sigma.value(old)) + (V - sigma.value(new))
        coupling = np.sum(sigma.difference(new, old) * residuals, dtype=np.float64)
        fall = layer.gamma / 2 * coupling + layer.rho / 2 * _square_difference(old, new, P)
        return self._total(float(fall))

    def _update_w(self, i: int) -> float:
        layer = self.layers[i]
        lam = layer.regularizer.curvature
        data = (layer.U, self._input(i), layer.W, layer.b, layer.rho, self.alpha)
        try:
            W, b, decrease = (
                proximal_update(*data, layer.regularizer, *self.inner, self._total_array)
                if lam is None
                else ridge_update(*data, lam, self._total_array)
            )
        except np.linalg.LinAlgError:
            message = "the weight update's matrix is not positive definite; raise alpha"
            raise NumericalError(message, layer=i + 1, block="W") from None
        if b is not None and layer.b is not None and np.isfinite(W).all():
            self._write(layer.b, b, i, "W")
        self._write(layer.W, W, i, "W")
        return decrease

    # The measures.

    def _parts(self) -> dict[str, float]:
        loss = self.loss_weight * self.loss.value(self.layers[-1].V, self.Y)
        activation = [
            layer.gamma / 2 * _square(layer.V - layer.target(self._input(i)))
            for i, layer in enumerate(self.layers)
        ]
        linear = [
            layer.rho / 2 * _square(layer.U - layer.linear(self._input(i)))
            for i, layer in enumerate(self.layers)
        ]
        totals = self._total_array(np.array([loss, *activation, *linear])).tolist()
        depth = len(self.layers)
        return {
            "loss": totals[0],
            "weight_regularizer": sum(layer.regularizer.value(layer.W) for layer in self.layers),
            **{f"activation{i + 1}": totals[1 + i] for i in range(depth)},
            **{f"linear{i + 1}": totals[1 + depth + i] for i in range(depth)},
        }

    def _distance(self) -> dict[str, float]:
        """dist(0, ∂f) by blocks; ∂f is the product of the blocks' subdifferentials."""
        distance: dict[str, float] = {}
        for i, layer in enumerate(self.layers):
            V, sigma = self._input(i), layer.activation
            linear = layer.rho * (layer.U - layer.linear(V))
            coupling = layer.gamma * (layer.V - layer.target(V))

            gradient = -self._total_array(linear.T @ V)
            parts = [layer.regularizer.subgradient_distance(layer.W, gradient)]
            if layer.b is not None:
                parts.append(math.sqrt(_square(self._total_array(linear.sum(axis=0)))))
            distance[f"W{i + 1}"] = math.hypot(*parts)

            left, right = (
                linear - coupling * sigma.derivative(layer.U, s) for s in ("left", "right")
            )
            distance[f"U{i + 1}"] = self._norm(_kink_distance(left, right))

            if i == len(self.layers) - 1:
                c = self.loss_weight
                local = self.loss.subgradient_distance(layer.V, self.Y, coupling, c)
                distance[f"V{i + 1}"] = math.sqrt(self._total(local * local))
            else:
                above = self.layers[i + 1]
                gradient = coupling - above.rho * (above.U - above.linear(layer.V)) @ above.W
                if above.skip:
                    gradient = gradient - above.gamma * (above.V - above.target(layer.V))
                distance[f"V{i + 1}"] = self._norm(gradient)
        return distance

    # Small things.

    def _blocks(self) -> list[str]:
        return [f"{block}{i + 1}" for i in range(len(self.layers)) for block in "WUV"]

    def _input(self, i: int) -> Array:
        return self.X if i == 0 else self.layers[i - 1].V

    def _write(self, target: Array, new: Array, i: int, block: str) -> None:
        if not np.isfinite(new).all():
            raise NumericalError("a non-finite value appeared", layer=i + 1, block=block)
        target[...] = new

    def _total_array(self, array: Array) -> Array:
        """Sum of an array over all processes."""
        if self.reducer is None:
            return array
        flat = np.ascontiguousarray(array).reshape(-1).copy()
        self.reducer(flat)
        return flat.reshape(array.shape)

    def _total(self, number: float) -> float:
        return float(self._total_array(np.array([number]))[0])

    def _norm(self, array: Array) -> float:
        return math.sqrt(self._total(_square(array)))


def _square(array: Array) -> float:
    """‖array‖², summed in float64."""
    return float(np.sum(np.square(array, dtype=np.float64)))


def _square_difference(a: Array, b: Array, center: Array) -> float:
    """Return ‖a − center‖² − ‖b − center‖², as a product of differences."""
    return float(np.sum((a - b) * ((a - center) + (b - center)), dtype=np.float64))


def _weight_step(layer: Layer, W: Array, b: Array | None) -> float:
    square = _square(layer.W - W)
    if b is not None and layer.b is not None:
        square += _square(layer.b - b)
    return math.sqrt(square)


def _kink_distance(left: Array, right: Array) -> Array:
    """Distance of 0 to the limiting subdifferential of a function of one variable.

    A convex kink has the interval [left, right], a concave one the two one-sided derivatives.
    """
    convex = np.maximum(0, np.maximum(left, -right))
    concave = np.minimum(np.abs(left), np.abs(right))
    return np.where(left <= right, convex, concave)
