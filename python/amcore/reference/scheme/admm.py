"""ADMM with majorised block updates on the augmented Lagrangian of a deep network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from amcore.reference.block.hidden import hidden_update
from amcore.reference.block.majorized import majorized_gap, majorized_target
from amcore.reference.block.output import output_update
from amcore.reference.block.weight import ridge_update
from amcore.reference.operator import Array
from amcore.reference.scheme.layered_scheme import (
    LayeredScheme,
    square,
    square_difference,
    weight_step,
)


class ADMM(LayeredScheme):
    """Alternating directions of multipliers, a local majoriser for each activation.

    With V_0 = X, R_i = σ_i(V_{i−1} W_iᵀ + b_i) − V_i and V̂_i the V_i of the sweep before,

        f = L + Σ ξ_i ‖V_i − V̂_i‖²,
        L = c Σ ℓ(V_N) + Σ r_i(W_i) + Σ (β_i/2 ‖R_i‖² + ⟨Λ_i, R_i⟩),   r_i = λ_i/2 ‖·‖²,

    where, with T_i = V_i − Λ_i/β_i, the terms in R_i are β_i/2 ‖σ_i(…) − T_i‖² − ‖Λ_i‖²/(2β_i).
    A sweep minimises L, with that norm majorised where σ_i is not the identity, over
    (W_N, b_N), …, (W_1, b_1), then V_1, …, V_N, and ends with the step Λ_i += β_i R_i of every
    multiplier. All use T_i as it is when the sweep begins.

    Source: Zeng, Lin, Yao, Zhou (JMLR 22, 2021), Algorithm 1; Xu, Bao, Xing (2022), equation (4).
    The measures and the start of the multipliers by backpropagation are our own algebra.
    """

    def __init__(
        self,
        *,
        beta: Sequence[float],
        xi: Sequence[float],
        tight: bool,
        backprop: bool,
        **assembly: Any,
    ) -> None:
        super().__init__(**assembly)
        self.beta, self.xi, self.backprop = beta, xi, backprop
        self.majorizers = [
            layer.activation.majorizer if tight else layer.activation.published_majorizer
            for layer in self.layers
        ]

    def forward(self) -> None:
        """Fill V by the forward pass, V̂ = V, and Λ = 0 or the derivatives of c Σ ℓ by V."""
        super().forward()
        gradient = self.loss_weight * self.loss.gradient(self.layers[-1].V, self.Y)
        for i, layer in reversed(list(enumerate(self.layers))):
            layer.V_old[...] = layer.V
            layer.Lambda[...] = gradient if self.backprop else 0
            slope = layer.activation.derivative(layer.linear(self._input(i)))
            gradient = (gradient * slope) @ layer.W

    # The updates. A block is written only when its new value is finite.

    def _update(self) -> tuple[float, dict[str, float]]:
        step: dict[str, float] = {}
        decrease = 0.0
        # Neither V_i nor Λ_i moves before the last use of T_i.
        distances = [m.distance(self._multiplied(i)) for i, m in enumerate(self.majorizers)]
        self.h = [m(self._greatest(d)) for m, d in zip(self.majorizers, distances, strict=True)]
        for i in reversed(range(len(self.layers))):
            W, b = self.layers[i].W.copy(), self.layers[i].b
            b = None if b is None else b.copy()
            decrease += self._update_w(i)
            step[f"W{i + 1}"] = weight_step(self.layers[i], W, b)
        for i, layer in enumerate(self.layers):
            old = layer.V.copy()
            decrease += self._total(self._update_v(i))
            step[f"V_old{i + 1}"] = self._norm(old - layer.V_old)
            layer.V_old[...] = old
            step[f"V{i + 1}"] = self._norm(layer.V - old)
            decrease += self.xi[i] * (step[f"V_old{i + 1}"] ** 2 - step[f"V{i + 1}"] ** 2)
        for i, layer in enumerate(self.layers):
            change = self.beta[i] * self._residual(i)
            self._write(layer.Lambda, layer.Lambda + change, i, "Lambda")
            step[f"Lambda{i + 1}"] = self._norm(change)
            decrease -= step[f"Lambda{i + 1}"] ** 2 / self.beta[i]
        return decrease, {block: step[block] for block in self._blocks()}

    def _update_w(self, i: int) -> float:
        layer, V, beta = self.layers[i], self._input(i), self.beta[i]
        Z, T, h = layer.linear(V), self._multiplied(i), self.h[i]
        target = majorized_target(layer.activation, Z, T, h)
        lam = layer.regularizer.curvature
        assert lam is not None
        with self._of_layer(i):
            W, b, decrease = ridge_update(
                target, V, layer.W, layer.b, beta * h, 0.0, lam, self._total_array
            )
        change = V @ (W - layer.W).T + (0 if b is None else b - layer.b)
        gap = float(majorized_gap(layer.activation, Z, change, T, h))
        decrease += beta * self._total(gap)
        if b is not None and np.isfinite(W).all():
            self._write(layer.b, b, i, "W")
        self._write(layer.W, W, i, "W")
        return decrease

    def _update_v(self, i: int) -> float:
        layer, beta, old = self.layers[i], self.beta[i], self.layers[i].V.copy()
        S = layer.activation.value(layer.linear(self._input(i))) + layer.Lambda / beta
        if i == len(self.layers) - 1:
            c = self.loss_weight
            new = output_update(self.loss, c, self.Y, S, old, beta, 0.0)
            decrease = c * self.loss.difference(old, new, self.Y)
            decrease += beta / 2 * square_difference(old, new, S)
        else:
            above, h = self.layers[i + 1], self.h[i + 1]
            Z, T, rho = above.linear(old), self._multiplied(i + 1), self.beta[i + 1] * h
            target = majorized_target(above.activation, Z, T, h)
            with self._of_layer(i):
                new = hidden_update(S, target, above.W, above.b, beta, rho)
            change = (new - old) @ above.W.T
            decrease = beta / 2 * square(new - old) + rho / 2 * square(change)
            decrease += self.beta[i + 1] * float(majorized_gap(above.activation, Z, change, T, h))
        self._write(layer.V, new, i, "V")
        return decrease

    # The measures.

    def _parts(self) -> dict[str, float]:
        numbers = range(1, len(self.layers) + 1)
        residuals = [self._residual(i) for i in range(len(self.layers))]
        penalty = [beta / 2 * square(R) for beta, R in zip(self.beta, residuals, strict=True)]
        multiplier = [
            float(np.sum(layer.Lambda * R, dtype=np.float64))
            for layer, R in zip(self.layers, residuals, strict=True)
        ]
        memory = [
            xi * square(layer.V - layer.V_old)
            for xi, layer in zip(self.xi, self.layers, strict=True)
        ]
        loss = self.loss_weight * self.loss.value(self.layers[-1].V, self.Y)
        totals = self._total_array(np.array([loss, *penalty, *multiplier, *memory])).tolist()
        names = [f"{term}{i}" for term in ("penalty", "multiplier", "memory") for i in numbers]
        return {
            "loss": totals[0],
            "weight_regularizer": sum(layer.regularizer.value(layer.W) for layer in self.layers),
            **dict(zip(names, totals[1:], strict=True)),
        }

    def _monitors(self) -> dict[str, float]:
        """L; the primal residuals ‖R_i‖ and the dual ones β_i ‖V_i − V̂_i‖."""
        parts = self._parts()
        lagrangian = sum(value for name, value in parts.items() if not name.startswith("memory"))
        monitors = {"lagrangian": lagrangian}
        for i, layer in enumerate(self.layers):
            monitors[f"primal{i + 1}"] = self._norm(self._residual(i))
            monitors[f"dual{i + 1}"] = self.beta[i] * self._norm(layer.V - layer.V_old)
        return monitors

    def _distance(self) -> dict[str, float]:
        """dist(0, ∂f) by blocks: the norms of the gradients of f, and dist(0, ∂f/∂V_N)."""
        distance: dict[str, float] = {}
        for i, layer in enumerate(self.layers):
            V, Z = self._input(i), layer.linear(self._input(i))
            residual, moved = self._residual(i), 2 * self.xi[i] * (layer.V - layer.V_old)
            force = self.beta[i] * residual + layer.Lambda  # ∂L/∂R_i
            outer = force * layer.activation.derivative(Z)
            distance[f"W{i + 1}"] = self._weight_distance(
                i, self._total_array(outer.T @ V), self._total_array(outer.sum(axis=0))
            )
            gradient = moved - force
            if i == len(self.layers) - 1:
                local = self.loss.subgradient_distance(layer.V, self.Y, gradient, self.loss_weight)
                distance[f"V{i + 1}"] = math.sqrt(self._total(local * local))
            else:
                above = self.layers[i + 1]
                slope = above.activation.derivative(above.linear(layer.V))
                force = self.beta[i + 1] * self._residual(i + 1) + above.Lambda
                distance[f"V{i + 1}"] = self._norm(gradient + (force * slope) @ above.W)
            distance[f"Lambda{i + 1}"] = self._norm(residual)
            distance[f"V_old{i + 1}"] = self._norm(moved)
        return distance

    def _residual(self, i: int) -> Array:
        """R_i = σ_i(V_{i−1} W_iᵀ + b_i) − V_i."""
        layer = self.layers[i]
        residual: Array = layer.activation.value(layer.linear(self._input(i))) - layer.V
        return residual

    def _multiplied(self, i: int) -> Array:
        """T_i = V_i − Λ_i/β_i, which σ_i(V_{i−1} W_iᵀ + b_i) is drawn to."""
        layer = self.layers[i]
        target: Array = layer.V - layer.Lambda / self.beta[i]
        return target

    def _blocks(self) -> list[str]:
        numbers = range(1, len(self.layers) + 1)
        return [f"{block}{i}" for i in numbers for block in ("W", "V", "Lambda", "V_old")]
