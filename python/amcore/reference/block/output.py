"""The V-block of the output layer: the proximal map of the loss, sample by sample."""

from __future__ import annotations

from amcore.reference.operator import Array, Loss


def output_update(
    loss: Loss, loss_weight: float, Y: Array, S: Array, V: Array, gamma: float, alpha: float
) -> Array:
    """argmin_v c ℓ(v, Y) + γ/2‖v − S‖² + α/2‖v − V‖² = prox of ℓ at (γS + αV)/(γ+α), τ = c/(γ+α).

    Source: Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2.
    """
    q = (gamma * S + alpha * V) / (gamma + alpha)
    return loss.prox(q, Y, loss_weight / (gamma + alpha))
