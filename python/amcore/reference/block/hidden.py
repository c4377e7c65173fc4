"""The V-block of a hidden layer: a strongly convex least-squares problem for every sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amcore.reference.block.sample_proximal_gradient import Rows, sample_proximal_gradient
from amcore.reference.block.spd_solve import cholesky
from amcore.reference.block.weight import largest_eigenvalue
from amcore.reference.operator import Array, Regularizer


def hidden_update(S: Array, U: Array, W: Array, b: Array | None, gamma: float, rho: float) -> Array:
    """argmin_V γ/2‖V − S‖² + ρ/2‖U − V Wᵀ − b‖², W and U those of the next layer.

    V = S + (U − b − S Wᵀ) K with K = ((γ/ρ)I + W Wᵀ)⁻¹ W = W ((γ/ρ)I + WᵀW)⁻¹; the smaller matrix
    is factorised, in float64.

    Source: Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2, in Woodbury's form.
    """
    residual = U - S @ W.T if b is None else U - S @ W.T - b
    gram, wide = _smaller_gram(W), W.astype(np.float64)
    matrix = gram + gamma / rho * np.eye(len(gram))
    cholesky(matrix, "hidden variables", "V")
    dual = len(gram) == len(W)
    K = np.linalg.solve(matrix, wide) if dual else np.linalg.solve(matrix, wide.T).T
    return S + residual @ K.astype(W.dtype)


def regularized_hidden_update(
    S: Array,
    U: Array,
    W: Array,
    b: Array | None,
    V: Array,
    gamma: float,
    rho: float,
    regularizer: Regularizer,
    tolerance: float,
    iterations: int,
) -> Array:
    """argmin_V s(V) + γ/2‖V − S‖² + ρ/2‖U − V Wᵀ − b‖², s a sum over samples, starting from V.

    A ridge is absorbed into ‖V − S‖²; any other s takes proximal gradient steps with the largest
    eigenvalue of γI + ρWᵀW.
    """
    ridge = regularizer.curvature
    if ridge is not None:
        weight = gamma + ridge
        return hidden_update(S * (gamma / weight), U, W, b, weight, rho)
    gram = _smaller_gram(W)
    L = 1.02 * largest_eigenvalue(gamma * np.eye(len(gram)) + rho * gram)
    smooth = _LeastSquares(S, U if b is None else U - b, W, gamma, rho)
    return sample_proximal_gradient(V, smooth, L, regularizer, tolerance, iterations)


@dataclass(frozen=True)
class _LeastSquares:
    """γ/2‖v − S‖² + ρ/2‖R − v Wᵀ‖² of every sample."""

    S: Array
    R: Array
    W: Array
    gamma: float
    rho: float

    def gradient(self, x: Array, rows: Rows) -> Array:
        residual = self.R[rows] - x @ self.W.T
        gradient: Array = self.gamma * (x - self.S[rows]) - self.rho * (residual @ self.W)
        return gradient

    def rise(self, z: Array, x: Array, rows: Rows) -> tuple[Array, Array]:
        step = z - x
        change = step @ self.W.T
        residual = self.R[rows] - x @ self.W.T
        pull = self.gamma * _dot(step, (x - self.S[rows]) + step / 2)
        fit = self.rho * _dot(change, residual - change / 2)
        return pull - fit, np.abs(pull) + np.abs(fit)


def _dot(a: Array, b: Array) -> Array:
    """Return ⟨a, b⟩ by rows, summed in float64."""
    dot: Array = np.sum(a.astype(np.float64) * b, axis=1)
    return dot


def _smaller_gram(W: Array) -> Array:
    """W Wᵀ or WᵀW, in float64."""
    wide = W.astype(np.float64)
    return wide @ wide.T if len(W) <= W.shape[1] else wide.T @ wide
