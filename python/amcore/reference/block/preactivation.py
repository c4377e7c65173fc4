"""The U-block: the coupled proximal map of the activation, entry by entry."""

from __future__ import annotations

from amcore.reference.operator import Activation, Array


def preactivation_update(
    activation: Activation, V: Array, P: Array, U: Array, gamma: float, rho: float, alpha: float
) -> Array:
    """argmin_u γ/2‖V − σ(u)‖² + ρ/2‖u − P‖² + α/2‖u − U‖² = prox_σ(V, (ρP + αU)/(ρ+α); (ρ+α)/γ).

    Source: Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2.
    """
    z = (rho * P + alpha * U) / (rho + alpha)
    return activation.prox(V, z, (rho + alpha) / gamma)
