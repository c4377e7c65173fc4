"""Block coordinate descent for deep linear networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from amcore.reference.block.hidden import hidden_update
from amcore.reference.block.output import output_update
from amcore.reference.block.weight import ridge_update
from amcore.reference.operator import Array
from amcore.reference.scheme.layered_scheme import (
    LayeredScheme,
    square,
    square_difference,
    weight_step,
)


class LinearBCD(LayeredScheme):
    """Minimises f = c Σ ℓ(V_N) + Σ r_i(W_i) + Σ γ_i/2 ‖V_i − V_{i−1} W_iᵀ − b_i‖², V_0 = X.

    For i = 1, …, N, always with the newest values: (W_i, b_i) ← argmin f + α/2‖Δ‖²,
    V_i ← argmin f.
    """

    def __init__(self, *, gamma: Sequence[float], alpha: float, **assembly: Any) -> None:
        super().__init__(**assembly)
        self.gamma, self.alpha = gamma, alpha

    # The updates. A block is written only when its new value is finite.

    def _update(self) -> tuple[float, dict[str, float]]:
        decrease, step = 0.0, {}
        for i in range(len(self.layers)):
            with self._of_layer(i):
                falls = (self._update_w(i, step), self._update_v(i, step))
            decrease += sum(falls)
        return decrease, step

    def _update_w(self, i: int, step: dict[str, float]) -> float:
        layer, lam = self.layers[i], self.layers[i].regularizer.curvature
        old = layer.W.copy(), None if layer.b is None else layer.b.copy()
        arguments = layer.V, self._input(i), layer.W, layer.b, self.gamma[i], self.alpha, lam
        W, b, decrease = ridge_update(*arguments, self._total_array)
        self._write(layer.W, W, i, "W")
        if b is not None:
            self._write(layer.b, b, i, "W")
        step[f"W{i + 1}"] = weight_step(layer, *old)
        return decrease

    def _update_v(self, i: int, step: dict[str, float]) -> float:
        """For i < N, of a quadratic to its minimiser, f falls by half its curvature on the step."""
        layer, gamma, old = self.layers[i], self.gamma[i], self.layers[i].V.copy()
        P = layer.linear(self._input(i))
        if i + 1 < len(self.layers):
            above, gamma_above = self.layers[i + 1], self.gamma[i + 1]
            new = hidden_update(P, above.V, above.W, above.b, gamma, gamma_above)
            self._write(layer.V, new, i, "V")
            moved = new - old
            fall = gamma / 2 * square(moved) + gamma_above / 2 * square(moved @ above.W.T)
        else:
            new = output_update(self.loss, self.loss_weight, self.Y, P, old, gamma, 0.0)
            self._write(layer.V, new, i, "V")
            fall = self.loss_weight * self.loss.difference(old, new, self.Y)
            fall += gamma / 2 * square_difference(old, new, P)
        step[f"V{i + 1}"] = self._norm(new - old)
        return self._total(fall)

    # The measures.

    def _parts(self) -> dict[str, float]:
        loss = self.loss_weight * self.loss.value(self.layers[-1].V, self.Y)
        linear = [gamma / 2 * square(self._residual(i)) for i, gamma in enumerate(self.gamma)]
        loss, *linear = self._total_array(np.array([loss, *linear])).tolist()
        regularizer = sum(layer.regularizer.value(layer.W) for layer in self.layers)
        parts = {"loss": loss, "weight_regularizer": regularizer}
        return parts | {f"linear{i}": term for i, term in enumerate(linear, start=1)}

    def _distance(self) -> dict[str, float]:
        distance: dict[str, float] = {}
        for i, layer in enumerate(self.layers):
            pull = self.gamma[i] * self._residual(i)
            gradient = -self._total_array(pull.T @ self._input(i))
            bias_gradient = -self._total_array(pull.sum(axis=0))
            distance[f"W{i + 1}"] = self._weight_distance(i, gradient, bias_gradient)
            if i + 1 < len(self.layers):
                above = self.gamma[i + 1] * self._residual(i + 1) @ self.layers[i + 1].W
                distance[f"V{i + 1}"] = self._norm(pull - above)
            else:
                c = self.loss_weight
                local = self.loss.subgradient_distance(layer.V, self.Y, pull, c)
                distance[f"V{i + 1}"] = math.sqrt(self._total(local * local))
        return distance

    def _residual(self, i: int) -> Array:
        """V_i − V_{i−1} W_iᵀ − b_i."""
        residual: Array = self.layers[i].V - self.layers[i].linear(self._input(i))
        return residual
