"""Majorised least squares: the block updates where an activation stands around the variable."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from amcore.reference.operator import Activation, Array


@dataclass(frozen=True)
class Majorizer:
    """h = base + slope · max |T − center|, at least sup |d²/dz² ½(σ(z) − t)²| for all entries t.

    Source: Zeng, Lin, Yao, Zhou (JMLR 22, 2021), local linear approximation; `tight` is our own
    algebra.
    """

    base: float
    slope: float
    center: float

    def __call__(self, distance: float) -> float:
        """Return h for targets of that `distance`."""
        return self.base + self.slope * distance

    def distance(self, T: Array) -> float:
        """Return max |T − center|."""
        return float(np.max(np.abs(T - self.center), initial=0.0))

    @classmethod
    def published(cls, sigma: Activation) -> Majorizer:
        """Return h = L1² + (L0 + max|T|) L2; infinite where σ is unbounded or has kinks."""
        return cls(sigma.L1**2 + (sigma.L0 * sigma.L2 if sigma.L2 else 0.0), sigma.L2, 0.0)

    @classmethod
    def tight(cls, sigma: Activation) -> Majorizer:
        """Return h = L1² + max|T − m| L2 where σ − m has the sign opposite to that of σ''.

        These are sigmoid (m = ½) and tanh (m = 0), for which (σ − m)σ'' ≤ 0; others as published.
        """
        centers = {"sigmoid": 0.5, "tanh": 0.0}
        if sigma.name not in centers:
            return cls.published(sigma)
        return cls(sigma.L1**2, sigma.L2, centers[sigma.name])

    @classmethod
    def trial(cls, sigma: Activation) -> Majorizer:
        """Return the tight h, or where there is none one to begin with and to double at need.

        Away from kinks h = L1² majorises a piecewise linear σ. For softplus σ'² + σσ'' < 1.1.
        """
        tight = cls.tight(sigma)
        if tight.finite:
            return tight
        if sigma.name == "softplus":
            return cls(1.1, sigma.L2, 0.0)
        return cls(sigma.L1**2 if math.isfinite(sigma.L1) else 1.0, 0.0, 0.0)

    @property
    def finite(self) -> bool:
        """Whether there is such an h."""
        return math.isfinite(self.base) and math.isfinite(self.slope)


def majorized_target(activation: Activation, Z: Array, T: Array, h: float | Array) -> Array:
    """Z − (σ(Z) − T)⊙σ'(Z)/h, with Z = V Wᵀ + b at the current point.

    The block that moves Z to this target by least squares with penalty γh, in W or in V, decreases
    γ/2‖σ(V Wᵀ + b) − T‖² and what else it minimises. At a kink σ' is the right derivative.

    Source: Zeng, Lin, Yao, Zhou (JMLR 22, 2021), local linear approximation.
    """
    error = (activation.value(Z) - T) * activation.derivative(Z, "right")
    target: Array = Z - error / np.asarray(h, Z.dtype)
    return target


def majorized_gap(
    activation: Activation,
    Z: Array,
    step: Array,
    T: Array,
    h: float | Array,
    axis: int | None = None,
) -> Array:
    """½‖σ(Z) − T‖² + ⟨E, step⟩ + h/2‖step‖² − ½‖σ(Z + step) − T‖², E = (σ(Z) − T)⊙σ'(Z).

    What the model of `majorized_target` is above the truth after a step, in all or along an axis;
    not negative where h majorises. From Δ = σ(Z + step) − σ(Z), as h/2‖step‖² − ½‖Δ‖² −
    ⟨σ(Z) − T, Δ − σ'(Z)⊙step⟩, where both terms of the last difference take the step as rounded
    into Z + step: their error is then one relative to the step.
    """
    moved = Z + step
    change = activation.difference(moved, Z)
    bend = change - activation.derivative(Z, "right") * (moved - Z)
    terms = h / 2 * step**2 - change**2 / 2 - (activation.value(Z) - T) * bend
    return np.asarray(np.sum(terms, axis=axis, dtype=np.float64))
