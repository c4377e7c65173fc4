"""The V-block of the output layer: the proximal map of the loss, sample by sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.block.sample_proximal_gradient import Rows, sample_proximal_gradient
from amcore.reference.operator import Array, Loss, Regularizer, ScalarTerms


def output_update(
    loss: Loss, loss_weight: float, Y: Array, S: Array, V: Array, gamma: float, alpha: float
) -> Array:
    """argmin_v c ℓ(v, Y) + γ/2‖v − S‖² + α/2‖v − V‖² = prox of ℓ at (γS + αV)/(γ+α), τ = c/(γ+α).

    Source: Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2.
    """
    q = (gamma * S + alpha * V) / (gamma + alpha)
    return loss.prox(q, Y, loss_weight / (gamma + alpha))


def regularized_output_update(
    loss: Loss,
    loss_weight: float,
    Y: Array,
    S: Array,
    V: Array,
    gamma: float,
    alpha: float,
    regularizer: Regularizer,
    tolerance: float,
    iterations: int,
) -> Array:
    """argmin_v c ℓ(v, Y) + s(v) + γ/2‖v − S‖² + α/2‖v − V‖², s a sum over samples.

    Through proximal maps of ℓ where ℓ and s are separable or s is a ridge; else, for a smooth ℓ, by
    proximal gradient steps from V. With L = γ + α + c the first one is exact for the squared loss.
    """
    weight = gamma + alpha
    q = (gamma * S + alpha * V) / weight
    terms = regularizer.terms
    if terms is not None and ("separable" in loss.traits or regularizer.curvature is not None):
        return _through_prox(loss, loss_weight, Y, q, weight, terms)
    smooth = _ProximalLoss(loss, loss_weight, Y, q, weight)
    L = weight + loss_weight
    return sample_proximal_gradient(V, smooth, L, regularizer, tolerance, iterations)


def output_distance(
    loss: Loss, c: float, regularizer: Regularizer, V: Array, Y: Array, G: Array
) -> float:
    """dist(−G, c ∂ℓ(V) + ∂s(V)).

    At a kink of a separable ℓ its derivatives are an interval. The distance of an entry to ∂s, as
    a function of the gradient of the rest, falls with slope −1, is 0 and rises with slope 1; from
    its values p and q at the ends of an interval of length w, its minimum is max(0, (p+q−w)/2).
    """
    left, right = (G + c * derivative for derivative in loss.derivatives(V, Y))
    kink = left < right
    if not kink.any():
        return regularizer.subgradient_distance(V, left)
    parts = [regularizer.subgradient_distance(V[~kink], left[~kink])]
    for v, low, high in zip(V[kink], left[kink], right[kink], strict=True):
        ends = (regularizer.subgradient_distance(v[None], g[None]) for g in (low, high))
        parts.append(max(0.0, (sum(ends) - float(high - low)) / 2))
    return math.hypot(*parts)


def _through_prox(
    loss: Loss, c: float, Y: Array, q: Array, weight: float, terms: ScalarTerms
) -> Array:
    """argmin_v c ℓ(v, Y) + s(v) + weight/2‖v − q‖².

    The ridge goes into the square. λ|v| shifts q by ∓λ/weight where the minimiser is positive or
    negative, else it is 0; an interval clips it, ℓ being convex; with l0 it is the better of that
    point and 0.
    """
    near = q * (weight / (weight + terms.ridge))
    weight += terms.ridge
    shift = terms.l1 / weight
    v = loss.prox(near - shift, Y, c / weight)
    if terms.l1 > 0:
        v = np.minimum(np.maximum(v, 0), loss.prox(near + shift, Y, c / weight))
    v = np.clip(v, *np.array([terms.lo, terms.hi], v.dtype))
    if terms.l0 > 0:
        zero, wide = np.zeros_like(v), v.astype(np.float64)
        quadratic = weight / 2 * wide * (wide - 2 * near) + terms.l1 * np.abs(wide)
        for at in zip(*np.nonzero(v), strict=True):
            entry = tuple(slice(k, k + 1) for k in at)
            gain = c * loss.difference(v[entry], zero[entry], Y[entry]) + quadratic[at] + terms.l0
            if not gain < 0:
                v[at] = 0
    return v


@dataclass(frozen=True)
class _ProximalLoss:
    """c ℓ(v, Y) + weight/2‖v − q‖² of every sample."""

    loss: Loss
    c: float
    Y: Array
    q: Array
    weight: float

    def gradient(self, x: Array, rows: Rows) -> Array:
        pull: Array = self.weight * (x - self.q[rows])
        return self.c * self.loss.gradient(x, self.Y[rows]) + pull

    def rise(self, z: Array, x: Array, rows: Rows) -> tuple[Array, Array]:
        samples = [(a[None], b[None], y[None]) for a, b, y in zip(z, x, self.Y[rows], strict=True)]
        data = self.c * np.array([self.loss.difference(*sample) for sample in samples])
        step, middle = np.float64(z) - x, (np.float64(z) - self.q[rows]) + (x - self.q[rows])
        pull = self.weight / 2 * np.sum(step * middle, axis=1)
        return data + pull, np.abs(data) + np.abs(pull)
