"""Two-splitting block coordinate descent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amcore.reference.block.hidden import regularized_hidden_update
from amcore.reference.block.majorized import majorized_gap, majorized_target
from amcore.reference.block.output import output_distance, regularized_output_update
from amcore.reference.block.weight import proximal_update, ridge_update
from amcore.reference.operator import Array
from amcore.reference.scheme.layered_scheme import (
    Layer,
    LayeredScheme,
    square,
    square_difference,
)

DOUBLINGS = 30


class TwoSplitBCD(LayeredScheme):
    """Two-splitting block coordinate descent.

    Minimises, with V_0 = X,

        f = c Σ ℓ(V_N) + Σ r_i(W_i) + Σ s_i(V_i) + Σ γ_i/2 ‖V_i − σ_i(V_{i−1} W_iᵀ + b_i)‖²

    one block after the other, always with the newest values: V_i, W_i for i = N, …, 1, each

        argmin f + α/2 ‖block − old block‖².

    Where an activation other than the identity stands around the block, its square is majorised at
    the current point, `inner_iters` times, with a curvature h that is doubled for the samples (of
    V_i) or rows (of W_i) whose objective would rise: h fails to majorise at kinks only, or where
    σ' has no bound.

    Source: Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 1; Xu, Bao, Xing (2022), equation (2). The
    majorised steps and the measures are our own algebra.
    """

    def __init__(
        self,
        *,
        gamma: Sequence[float],
        alpha: float,
        inner_iters: int,
        inner_tol: float = 1e-6,
        inner_steps: int = 200,
        **assembly: Any,
    ) -> None:
        super().__init__(**assembly)
        self.gamma, self.alpha, self.inner_iters = gamma, alpha, inner_iters
        self.inner = inner_tol, inner_steps

    # The updates. A block is written only when its new value is finite.

    def _update(self) -> tuple[float, dict[str, float]]:
        decrease = 0.0
        step: dict[str, float] = {}
        for i in reversed(range(len(self.layers))):
            layer, old = self.layers[i], self.layers[i].V.copy()
            decrease += self._total(self._update_v(i))
            step[f"V{i + 1}"] = self._norm(layer.V - old)
            weights = _weights(layer)
            decrease += self._update_w(i)
            step[f"W{i + 1}"] = math.sqrt(square(_weights(layer) - weights))
        return decrease, {block: step[block] for block in self._blocks()}

    def _update_v(self, i: int) -> float:
        layer, old = self.layers[i], self.layers[i].V.copy()
        gamma, alpha = self.gamma[i], self.alpha
        S = layer.activation.value(layer.linear(self._input(i)))
        if i == len(self.layers) - 1:
            c, s = self.loss_weight, layer.activation_regularizer
            self._expect_finite(S, i, "V")
            data = (self.loss, c, self.Y, S, old, gamma, alpha)
            new = regularized_output_update(*data, s, *self.inner)
            self._write(layer.V, new, i, "V")
            fall = gamma / 2 * square_difference(old, new, S) + s.difference(old, new)
            return c * self.loss.difference(old, new, self.Y) + fall
        anchor = (gamma * S + alpha * old) / (gamma + alpha)
        fall = 0.0
        for _ in range(1 if self._exact(i + 1) else self.inner_iters):
            fall += self._step_v(i, anchor)
        # Each step counts the fall of f + α/2‖V − Vᵏ‖².
        return fall + alpha / 2 * square(layer.V - old)

    def _step_v(self, i: int, anchor: Array) -> float:
        """One majorised step of V_i; the fall of its objective."""
        layer, above = self.layers[i], self.layers[i + 1]
        sigma, gamma, pull = above.activation, self.gamma[i + 1], self.gamma[i] + self.alpha
        s = layer.activation_regularizer
        h = self._curvature(i + 1)
        Z, T = above.linear(layer.V), above.V
        fall, left = 0.0, np.arange(len(Z))  # the samples to move
        new = layer.V.copy()
        for _ in range(DOUBLINGS + 1):
            target = majorized_target(sigma, Z[left], T[left], h)
            V, S, rho = layer.V[left], anchor[left], gamma * h
            self._expect_finite(S, i, "V")
            self._expect_finite(target, i, "V")
            data = (S, target, above.W, above.b, V, pull, rho)
            with self._of_layer(i):
                moved = regularized_hidden_update(*data, s, *self.inner)
            step = moved - V
            change = step @ above.W.T
            half = rho / 2 * _squares(change)
            if s.curvature is not None:  # minimised exactly: half the curvature along the step
                model = size = (pull + s.curvature) / 2 * _squares(step) + half
            else:
                linear = rho * np.sum((Z[left] - target) * change, axis=1, dtype=np.float64)
                pulled = pull / 2 * np.sum(step * ((V - S) + (moved - S)), axis=1, dtype=np.float64)
                pairs = zip(moved, V, strict=True)
                rise = [s.difference(new[None], old[None]) for new, old in pairs]
                terms = np.array([linear, half, pulled, rise])
                model, size = -np.sum(terms, axis=0), np.sum(np.abs(terms), axis=0)
            gain = model + gamma * majorized_gap(sigma, Z[left], change, T[left], h, axis=1)
            kept = _accepted(gain, size)
            self._expect_finite(moved, i, "V")
            new[left[kept]] = moved[kept]
            fall += float(np.sum(gain[kept]))
            left, h = left[~kept], 2 * h
            if left.size == 0:
                break
        layer.V[...] = new
        self._count_pattern(i + 1, Z, above.linear(new))
        return fall

    def _update_w(self, i: int) -> float:
        layer = self.layers[i]
        anchor = _weights(layer)
        if self._exact(i):
            return self._least_squares(i, layer.V, self.gamma[i], anchor)
        fall = sum(self._step_w(i, anchor) for _ in range(self.inner_iters))
        return fall + self.alpha / 2 * square(_weights(layer) - anchor)

    def _step_w(self, i: int, anchor: Array) -> float:
        """One majorised step of (W_i, b_i); the fall of its objective, that of f and the α-term."""
        layer, V, gamma = self.layers[i], self._input(i), self.gamma[i]
        sigma, h = layer.activation, self._curvature(i)
        Z, T, old = layer.linear(V), layer.V, _weights(layer)
        new = old.copy()
        # A regulariser that couples the rows couples their acceptance.
        left = np.ones(len(old) if layer.regularizer.by_row else 1, bool)
        fall = 0.0
        for _ in range(DOUBLINGS + 1):
            _set(layer, old)
            target = majorized_target(sigma, Z, T, h)
            self._least_squares(i, target, gamma * h, anchor)
            moved = _weights(layer)
            inputs = V if layer.b is None else np.column_stack([V, np.ones_like(V[:, :1])])
            change = inputs @ (moved - old).T
            by_row = [
                gamma * h / 2 * _squares(change.T),
                gamma * h * np.sum((Z - target) * change, axis=0, dtype=np.float64),
                gamma * majorized_gap(sigma, Z, change, T, h, axis=0),
            ]
            half, linear, gap = self._total_array(np.array(by_row))
            gain, size = self._model_fall(i, old, moved, anchor, half, linear)
            gain = gain + gap
            if left.size == 1:
                gain, size = gain.sum(keepdims=True), size.sum(keepdims=True)
            kept = left & _accepted(gain, size)
            new[np.broadcast_to(kept, len(new))] = moved[np.broadcast_to(kept, len(new))]
            fall += float(np.sum(gain[kept]))
            left, h = left & ~kept, 2 * h
            if not left.any():
                break
        _set(layer, new)
        self._count_pattern(i, Z, layer.linear(V))
        return fall

    def _model_fall(
        self, i: int, old: Array, moved: Array, anchor: Array, half: Array, linear: Array
    ) -> tuple[Array, Array]:
        """Return the fall of the model by rows of W_i, and how large its terms are.

        `half` is γh/2 ‖Δ Ṽ‖² and `linear` γ⟨E, Δ Ṽ⟩ by rows.
        """
        r, alpha, columns = self.layers[i].regularizer, self.alpha, self.layers[i].W.shape[1]
        step = moved - old
        if r.curvature is not None:  # minimised exactly: half the curvature along the step
            fall = half + (r.curvature * _squares(step[:, :columns]) + alpha * _squares(step)) / 2
            return fall, fall
        rise = np.zeros(len(old))
        for row in range(len(old) if r.by_row else 1):
            rows = slice(row, row + 1) if r.by_row else slice(None)
            rise[row] = r.difference(moved[rows, :columns], old[rows, :columns])
        pull = np.sum(step * ((moved - anchor) + (old - anchor)), axis=1, dtype=np.float64)
        terms = np.array([linear, half, rise, alpha / 2 * pull])
        return -np.sum(terms, axis=0), np.sum(np.abs(terms), axis=0)

    def _least_squares(self, i: int, target: Array, rho: float, anchor: Array) -> float:
        """(W_i, b_i) ← argmin r_i + ρ/2‖target − V_{i−1} W_iᵀ − b_i‖² + α/2‖· − anchor‖²."""
        layer = self.layers[i]
        data = (target, self._input(i), layer.W, layer.b, rho, self.alpha)
        lam, total = layer.regularizer.curvature, self._total_array
        with self._of_layer(i):
            W, b, decrease = (
                proximal_update(*data, layer.regularizer, *self.inner, total, anchor=anchor)
                if lam is None
                else ridge_update(*data, lam, total, anchor=anchor)
            )
        if b is not None and np.isfinite(W).all():
            self._write(layer.b, b, i, "W")
        self._write(layer.W, W, i, "W")
        return decrease

    # The measures.

    def _parts(self) -> dict[str, float]:
        of_V = sum(layer.activation_regularizer.value(layer.V) for layer in self.layers)
        fits = [
            gamma / 2 * square(layer.V - layer.activation.value(layer.linear(self._input(i))))
            for i, (layer, gamma) in enumerate(zip(self.layers, self.gamma, strict=True))
        ]
        loss = self.loss_weight * self.loss.value(self.layers[-1].V, self.Y)
        totals = self._total_array(np.array([loss, of_V, *fits])).tolist()
        parts = {
            "loss": totals[0],
            "weight_regularizer": sum(layer.regularizer.value(layer.W) for layer in self.layers),
        }
        if any(layer.activation_regularizer.curvature != 0 for layer in self.layers):
            parts["activation_regularizer"] = totals[1]
        return parts | {f"activation{i}": fit for i, fit in enumerate(totals[2:], start=1)}

    def _distance(self) -> dict[str, float]:
        """dist(0, ∂f) by blocks; an upper bound where a V_{i−1} W_iᵀ + b_i is at a kink of σ_i."""
        distance: dict[str, float] = {}
        for i, layer in enumerate(self.layers):
            error = self._error(i)
            gradient = self._total_array(error.T @ self._input(i))
            distance[f"W{i + 1}"] = self._weight_distance(
                i, gradient, self._total_array(error.sum(axis=0))
            )
            Z = layer.linear(self._input(i))
            fit = self.gamma[i] * (layer.V - layer.activation.value(Z))
            if i == len(self.layers) - 1:
                data = (self.loss, self.loss_weight, layer.activation_regularizer)
                local = output_distance(*data, layer.V, self.Y, fit)
            else:
                gradient = fit + self._error(i + 1) @ self.layers[i + 1].W
                local = layer.activation_regularizer.subgradient_distance(layer.V, gradient)
            distance[f"V{i + 1}"] = math.sqrt(self._total(local * local))
        return distance

    def _error(self, i: int) -> Array:
        """γ_i (σ_i(Z) − V_i)⊙σ_i'(Z), Z = V_{i−1} W_iᵀ + b_i.

        Derivatives at kinks are those of the sides on which Z lies at one and the same point
        nearby, so that what becomes of them is a member of ∂f. With a bias all entries can lie on
        the right. Without one W_i moves by ε1dᵀ and V_{i−1} by ε²1dᵀ, which changes an entry
        v·w of Z by ε d·v + ε² d·w + …, where d > 0 is not orthogonal to any vector of rationals but
        0 (Lindemann and Weierstrass).
        """
        layer, V = self.layers[i], self._input(i)
        sigma, Z = layer.activation, layer.linear(V)
        slope = sigma.derivative(Z, "right")
        if layer.b is None and sigma.kinks:
            d = 2 + np.sin(1 + np.arange(V.shape[1]))
            along = (V @ d)[:, None]
            along = np.where(along != 0, along, layer.W @ d)
            slope = np.where(along < 0, sigma.derivative(Z, "left"), slope)
        error: Array = self.gamma[i] * (sigma.value(Z) - layer.V) * slope
        return error

    def _exact(self, i: int) -> bool:
        return self.layers[i].activation.name == "identity"

    def _curvature(self, i: int) -> float:
        """Return the h of layer i to begin with."""
        majorizer = self.layers[i].activation.majorizer
        return majorizer(self._greatest(majorizer.distance(self.layers[i].V)))

    def _blocks(self) -> list[str]:
        return [f"{block}{i}" for i in range(1, len(self.layers) + 1) for block in "WV"]


def _accepted(gain: Array, size: Array) -> NDArray[np.bool_]:
    """Which objectives did not rise, but for the rounding of terms of that size."""
    accepted: NDArray[np.bool_] = gain >= -8 * np.finfo(gain.dtype).eps * size
    return accepted


def _weights(layer: Layer) -> Array:
    """[W, b], a copy."""
    together: Array = np.column_stack([layer.W] if layer.b is None else [layer.W, layer.b])
    return together.copy()


def _set(layer: Layer, weights: Array) -> None:
    layer.W[...] = weights[:, : layer.W.shape[1]]
    if layer.b is not None:
        layer.b[...] = weights[:, -1]


def _squares(array: Array) -> Array:
    """Squared norms of the rows."""
    squares: Array = np.sum(array**2, axis=1, dtype=np.float64)
    return squares
