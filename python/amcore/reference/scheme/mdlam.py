"""mDLAM: the activations as inequality constraints instead of couplings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from amcore.errors import NumericalError
from amcore.reference.block.constraint import bounds, constrained_update, constraint_distance
from amcore.reference.block.extrapolated import (
    extrapolated_hidden_update,
    extrapolated_weight_update,
)
from amcore.reference.block.output import output_update
from amcore.reference.operator import Array
from amcore.reference.scheme.layered_scheme import (
    Layer,
    LayeredScheme,
    square,
    square_difference,
    weight_step,
)


class MDLAM(LayeredScheme):
    """Deep-learning alternating minimisation with monotone extrapolation.

    Minimises, with V_0 = X (the literature's z_i is U_i, its a_i is V_i),

        F = c Σ ℓ(U_N) + Σ r_i(W_i) + Σ ρ_i/2 ‖U_i − V_{i−1} W_iᵀ − b_i‖²
            subject to |V_i − σ_i(U_i)| ≤ ε entry by entry, i < N,

    one block after the other, always with the newest values, for i = 1, …, N:

        (W_i, b_i)   an extrapolated proximal gradient step
        U_i          argmin F: V_{i−1} W_iᵀ + b_i clipped to the constraint; the loss's prox for U_N
        V_i          an extrapolated gradient step, clipped to the constraint

    With s_0 = 0, s_{k+1} = (1 + √(1 + 4 s_k²))/2 the extrapolation of sweep k + 1 is by
    max(0, (s_k − 1)/s_{k+1}) times the last step. `numbers` hold s_k and ε.

    Before a sweep ε becomes max(shrink·ε, floor), not above `epsilon`, and V_i is clipped to
    σ_i(U_i) ± ε; where ε has fallen, that may raise F.

    Source: Wang, Li, Zhao (Neurocomputing 2022), Algorithm 1; Xu, Bao, Xing (2022), equation (5).
    The measures are our own algebra.
    """

    def __init__(
        self,
        *,
        rho: Sequence[float],
        epsilon: float,
        shrink: float,
        floor: float,
        delta: float,
        **assembly: Any,
    ) -> None:
        super().__init__(**assembly)
        self.rho, self.delta = rho, delta
        self.epsilon, self.shrink, self.floor = epsilon, shrink, floor

    def forward(self) -> None:
        """U_i = V_{i−1} W_iᵀ + b_i, V_i = σ_i(U_i); there is no last step to extrapolate."""
        super().forward()
        for layer in self.layers:
            for name in ("W", "b", "V"):
                if name + "_old" in layer.arrays:
                    layer.arrays[name + "_old"][...] = layer.arrays[name]
        self.numbers["s"][...], self.numbers["epsilon"][...] = 0, self.epsilon

    # The updates. A block is written only when its new value is finite.

    def _update(self) -> tuple[float, dict[str, float]]:
        s, before = float(self.numbers["s"]), float(self.numbers["epsilon"])
        following = (1 + math.sqrt(1 + 4 * s * s)) / 2
        omega = max(0.0, (s - 1) / following)
        epsilon = max(self.shrink * min(before, self.epsilon), self.floor)
        self.numbers["s"][...], self.numbers["epsilon"][...] = following, epsilon
        self.marks = () if epsilon == before else ("epsilon changed",)

        decrease = 0.0
        step: dict[str, float] = {}
        for i, layer in enumerate(self.layers):
            W, b = layer.W.copy(), None if layer.b is None else layer.b.copy()
            decrease += self._update_w(i, omega)
            step[f"W{i + 1}"] = weight_step(layer, W, b)
            if layer.V is None:
                U = layer.U.copy()
                decrease += self._update_output(i)
                step[f"U{i + 1}"] = self._norm(layer.U - U)
                continue
            U, V = layer.U.copy(), layer.V.copy()
            decrease += self._repair(i, epsilon)
            decrease += self._update_u(i, epsilon)
            decrease += self._update_v(i, omega, epsilon)
            step[f"U{i + 1}"], step[f"V{i + 1}"] = self._norm(layer.U - U), self._norm(layer.V - V)
        return decrease, step

    def _update_w(self, i: int, omega: float) -> float:
        layer = self.layers[i]
        D = None if layer.W_old is None else omega * (np.float64(layer.W) - layer.W_old)
        d = None if layer.b_old is None else omega * (np.float64(layer.b) - layer.b_old)
        W, b, decrease = extrapolated_weight_update(
            layer.U,
            self._input(i),
            layer.W,
            layer.b,
            None if D is None else (D, d),
            self.rho[i],
            self.delta,
            layer.regularizer,
            self._total_array,
        )
        if not math.isfinite(decrease) or not np.isfinite(W).all():
            raise NumericalError("the weight update is not finite", layer=i + 1, block="W")
        for name, new in (("W", W), ("b", b)):
            if new is not None:
                if name + "_old" in layer.arrays:
                    layer.arrays[name + "_old"][...] = layer.arrays[name]
                self._write(layer.arrays[name], new, i, "W")
        return decrease

    def _repair(self, i: int, epsilon: float) -> float:
        """Clip V_i to the constraint: ε may have fallen, or the state been changed."""
        layer = self.layers[i]
        residual = self._residual(i + 1)
        new = np.clip(layer.V, *bounds(layer.activation.value(layer.U), epsilon))
        moved = (new - layer.V) @ self.layers[i + 1].W.T
        layer.V[...] = new
        fall = self.rho[i + 1] / 2 * np.sum(moved * (2 * residual - moved), dtype=np.float64)
        return self._total(float(fall))

    def _update_u(self, i: int, epsilon: float) -> float:
        layer, old = self.layers[i], self.layers[i].U.copy()
        P = layer.linear(self._input(i))
        new = constrained_update(layer.activation, layer.V, P, old, epsilon)
        self._write(layer.U, new, i, "U")
        self._count_pattern(i, old, new)
        return self._total(self.rho[i] / 2 * square_difference(old, new, P))

    def _update_output(self, i: int) -> float:
        layer, old, c = self.layers[i], self.layers[i].U.copy(), self.loss_weight
        P = layer.linear(self._input(i))
        new = output_update(self.loss, c, self.Y, P, old, self.rho[i], 0.0)
        self._write(layer.U, new, i, "U")
        fall = c * self.loss.difference(old, new, self.Y)
        return self._total(fall + self.rho[i] / 2 * square_difference(old, new, P))

    def _update_v(self, i: int, omega: float, epsilon: float) -> float:
        layer, above = self.layers[i], self.layers[i + 1]
        new, fall = extrapolated_hidden_update(
            layer.V,
            None if layer.V_old is None else omega * (layer.V - layer.V_old),
            bounds(layer.activation.value(layer.U), epsilon),
            self._residual(i + 1),
            above.W,
            self.rho[i + 1],
            self.delta,
        )
        self._expect_finite(fall, i, "V")
        if layer.V_old is not None:
            layer.V_old[...] = layer.V
        self._write(layer.V, new, i, "V")
        return self._total(float(np.sum(fall)))

    # The measures.

    def _parts(self) -> dict[str, float]:
        loss = self.loss_weight * self.loss.value(self.layers[-1].U, self.Y)
        linear = [rho / 2 * square(self._residual(i)) for i, rho in enumerate(self.rho)]
        totals = self._total_array(np.array([loss, *linear])).tolist()
        return {
            "loss": totals[0],
            "weight_regularizer": sum(layer.regularizer.value(layer.W) for layer in self.layers),
            **{f"linear{i + 1}": total for i, total in enumerate(totals[1:])},
        }

    def _distance(self) -> dict[str, float]:
        """dist(0, ∂F) by blocks: W_i, U_N, and (U_i, V_i) as one, which the constraint couples."""
        distance: dict[str, float] = {}
        for i, layer in enumerate(self.layers):
            linear = self.rho[i] * self._residual(i)
            gradient = -self._total_array(linear.T @ self._input(i))
            bias_gradient = self._total_array(linear.sum(axis=0))
            distance[f"W{i + 1}"] = self._weight_distance(i, gradient, bias_gradient)
            if layer.V is None:
                c = self.loss_weight
                local = self.loss.subgradient_distance(layer.U, self.Y, linear, c)
                distance[f"U{i + 1}"] = math.sqrt(self._total(local * local))
            else:
                pull = -self.rho[i + 1] * (self._residual(i + 1) @ self.layers[i + 1].W)
                epsilon = float(self.numbers["epsilon"])
                entries = constraint_distance(
                    layer.activation, layer.V, layer.U, pull, linear, epsilon
                )
                distance[f"UV{i + 1}"] = self._norm(entries)
        return distance

    def _residual(self, i: int) -> Array:
        """U_i − V_{i−1} W_iᵀ − b_i."""
        layer: Layer = self.layers[i]
        residual: Array = layer.U - layer.linear(self._input(i))
        return residual
