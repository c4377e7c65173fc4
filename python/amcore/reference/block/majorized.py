"""Majorised least squares: the block updates where an activation stands around the variable."""

from __future__ import annotations

import numpy as np

from amcore.reference.operator import Activation, Array


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
