"""Three-splitting block coordinate descent, with or without skip connections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from amcore.reference.block.hidden import regularized_hidden_update
from amcore.reference.block.output import output_distance, regularized_output_update
from amcore.reference.block.preactivation import preactivation_update
from amcore.reference.block.weight import proximal_update, ridge_update
from amcore.reference.operator import Array
from amcore.reference.scheme.layered_scheme import (
    LayeredScheme,
    kink_distance,
    square,
    square_difference,
    weight_step,
)


class ThreeSplitBCD(LayeredScheme):
    """Three-splitting block coordinate descent, for every pattern of skip connections.

    Minimises, with V_0 = X and the term in brackets where layer i has a skip connection,

        f = c Σ ℓ(V_N) + Σ r_i(W_i) + Σ s_i(V_i) + Σ γ_i/2 ‖V_i − [V_{i−1}] − σ_i(U_i)‖²
                                                 + Σ ρ_i/2 ‖U_i − V_{i−1} W_iᵀ − b_i‖²

    one block after the other, always with the newest values: V_i, U_i, W_i for i = N, …, 1, each

        argmin f + α/2 ‖block − old block‖²,

    without the proximal term for V_i, i < N, and for U_N if σ_N is the identity.

    Source: Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2; Xu, Bao, Xing (2022), equations (3) and
    (6). The measures are our own algebra.
    """

    def __init__(
        self,
        *,
        gamma: Sequence[float],
        rho: Sequence[float],
        alpha: float,
        inner_tol: float = 1e-6,
        inner_steps: int = 200,
        **assembly: Any,
    ) -> None:
        super().__init__(**assembly)
        self.gamma, self.rho, self.alpha = gamma, rho, alpha
        self.inner = inner_tol, inner_steps

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
            step[f"W{i + 1}"] = weight_step(self.layers[i], W, b)
        return decrease, {block: step[block] for block in self._blocks()}

    def _update_v(self, i: int) -> float:
        layer, old = self.layers[i], self.layers[i].V.copy()
        S = self._target(i)
        self._expect_finite(S, i, "V")
        regularizer = layer.activation_regularizer
        if i == len(self.layers) - 1:
            c, gamma = self.loss_weight, self.gamma[i]
            data = (self.loss, c, self.Y, S, old, gamma, self.alpha)
            new = regularized_output_update(*data, regularizer, *self.inner)
            self._write(layer.V, new, i, "V")
            quadratic = square_difference(old, new, S)
            fall = c * self.loss.difference(old, new, self.Y) + gamma / 2 * quadratic
        else:
            above, gamma, rho = self.layers[i + 1], self.gamma[i], self.rho[i + 1]
            if above.skip:
                gamma += self.gamma[i + 1]
                rest = above.V - above.activation.value(above.U)
                S = (self.gamma[i] * S + self.gamma[i + 1] * rest) / gamma
            couplings = (S, above.U, above.W, above.b, old, gamma, rho)
            with self._of_layer(i):
                new = regularized_hidden_update(*couplings, regularizer, *self.inner)
            self._write(layer.V, new, i, "V")
            step = new - old
            change = step @ above.W.T
            if (ridge := regularizer.curvature) is not None:  # minimised exactly
                return self._total(((gamma + ridge) * square(step) + rho * square(change)) / 2)
            residuals = 2 * (above.U - above.linear(new)) + change
            couple = np.sum(change * residuals, dtype=np.float64)
            fall = gamma / 2 * square_difference(old, new, S) + rho / 2 * float(couple)
        fall += regularizer.difference(old, new)
        return self._total(fall)

    def _update_u(self, i: int) -> float:
        layer, old = self.layers[i], self.layers[i].U.copy()
        V = layer.V - self._input(i) if layer.skip else layer.V
        P = layer.linear(self._input(i))
        last_identity = i == len(self.layers) - 1 and layer.activation.name == "identity"
        alpha = 0.0 if last_identity else self.alpha
        new = preactivation_update(layer.activation, V, P, old, self.gamma[i], self.rho[i], alpha)
        self._write(layer.U, new, i, "U")
        self._count_pattern(i, old, new)
        sigma = layer.activation
        residuals = (V - sigma.value(old)) + (V - sigma.value(new))
        coupling = np.sum(sigma.difference(new, old) * residuals, dtype=np.float64)
        fall = self.gamma[i] / 2 * coupling + self.rho[i] / 2 * square_difference(old, new, P)
        return self._total(float(fall))

    def _update_w(self, i: int) -> float:
        layer = self.layers[i]
        lam = layer.regularizer.curvature
        data = (layer.U, self._input(i), layer.W, layer.b, self.rho[i], self.alpha)
        with self._of_layer(i):
            W, b, decrease = (
                proximal_update(*data, layer.regularizer, *self.inner, self._total_array)
                if lam is None
                else ridge_update(*data, lam, self._total_array)
            )
        if b is not None and layer.b is not None and np.isfinite(W).all():
            self._write(layer.b, b, i, "W")
        self._write(layer.W, W, i, "W")
        return decrease

    # The measures.

    def _parts(self) -> dict[str, float]:
        loss = self.loss_weight * self.loss.value(self.layers[-1].V, self.Y)
        activation = [
            self.gamma[i] / 2 * square(layer.V - self._target(i))
            for i, layer in enumerate(self.layers)
        ]
        linear = [
            self.rho[i] / 2 * square(layer.U - layer.linear(self._input(i)))
            for i, layer in enumerate(self.layers)
        ]
        of_V = sum(layer.activation_regularizer.value(layer.V) for layer in self.layers)
        totals = self._total_array(np.array([loss, of_V, *activation, *linear])).tolist()
        depth = len(self.layers)
        parts = {
            "loss": totals[0],
            "weight_regularizer": sum(layer.regularizer.value(layer.W) for layer in self.layers),
        }
        if any(layer.activation_regularizer.curvature != 0 for layer in self.layers):
            parts["activation_regularizer"] = totals[1]
        parts |= {f"activation{i + 1}": totals[2 + i] for i in range(depth)}
        return parts | {f"linear{i + 1}": totals[2 + depth + i] for i in range(depth)}

    def _distance(self) -> dict[str, float]:
        """dist(0, ∂f) by blocks; ∂f is the product of the blocks' subdifferentials."""
        distance: dict[str, float] = {}
        for i, layer in enumerate(self.layers):
            V, sigma = self._input(i), layer.activation
            linear = self.rho[i] * (layer.U - layer.linear(V))
            coupling = self.gamma[i] * (layer.V - self._target(i))

            gradient = -self._total_array(linear.T @ V)
            bias_gradient = self._total_array(linear.sum(axis=0))
            distance[f"W{i + 1}"] = self._weight_distance(i, gradient, bias_gradient)

            left, right = (
                linear - coupling * sigma.derivative(layer.U, s) for s in ("left", "right")
            )
            distance[f"U{i + 1}"] = self._norm(kink_distance(left, right))

            if i == len(self.layers) - 1:
                data = (self.loss, self.loss_weight, layer.activation_regularizer)
                local = output_distance(*data, layer.V, self.Y, coupling)
            else:
                above = self.layers[i + 1]
                gradient = coupling - self.rho[i + 1] * (above.U - above.linear(layer.V)) @ above.W
                if above.skip:
                    gradient = gradient - self.gamma[i + 1] * (above.V - self._target(i + 1))
                local = layer.activation_regularizer.subgradient_distance(layer.V, gradient)
            distance[f"V{i + 1}"] = math.sqrt(self._total(local * local))
        return distance

    def _target(self, i: int) -> Array:
        """[V_{i−1} +] σ(U_i): what V_i couples to."""
        layer = self.layers[i]
        value = layer.activation.value(layer.U)
        return self._input(i) + value if layer.skip else value

    def _blocks(self) -> list[str]:
        return [f"{block}{i + 1}" for i in range(len(self.layers)) for block in "WUV"]
