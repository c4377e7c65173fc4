"""The block updates by themselves, for alternating minimisation that is written elsewhere.

Each minimises its part of the objective exactly and returns a new array. Samples are rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from amcore import _checks, _core
from amcore._checks import Array
from amcore._operator import resolve
from amcore.activations import Activation
from amcore.errors import NumericalError
from amcore.losses import Loss, check_targets

__all__ = ["hidden_update", "output_update", "preactivation_update", "ridge_update"]


def ridge_update(
    U: Any,
    V: Any,
    W: Any,
    b: Any = None,
    *,
    rho: float = 1.0,
    alpha: float = 0.0,
    lam: float = 0.0,
    num_threads: int | None = None,
) -> tuple[Array, Array | None]:
    """Minimise ρ/2‖U − V Wᵀ − b‖² + λ/2‖W‖² + α/2‖(W, b) − (W, b)⁰‖² over (W, b).

    Parameters
    ----------
    U : array_like
        Pre-activations, shape (n, d_out).
    V : array_like
        Inputs of the layer, shape (n, d_in).
    W : array_like
        Old weights W⁰, shape (d_out, d_in).
    b : array_like, optional
        Old bias b⁰, shape (d_out,); None for a layer without.
    rho : float
        ρ > 0.
    alpha, lam : float
        α, λ ≥ 0.
    num_threads : int, optional
        Number of threads, by default OpenMP's.

    Returns
    -------
    W, b : ndarray
        The new weights and bias; b is None if it was.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or dtype, is empty or not finite.
    NumericalError
        If the matrix ρVᵀV + (α + λ)I is not positive definite.

    References
    ----------
    Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2.
    """
    bias = {} if b is None else {"b": b}
    arrays = _arrays(U=U, V=V, W=W, **bias)
    n, inputs = arrays["V"].shape
    outputs = arrays["U"].shape[1]
    _checks.shape("U", arrays["U"], (n, outputs), "as many rows as V")
    _checks.shape("W", arrays["W"], (outputs, inputs), "outputs, inputs")
    new_W = arrays["W"].copy()
    new_b = None
    if b is not None:
        _checks.shape("b", arrays["b"], (outputs,), "outputs")
        new_b = arrays["b"].copy()
    rho = _checks.number("rho", rho, above=0)
    alpha = _checks.number("alpha", alpha, least=0)
    lam = _checks.number("lam", lam, least=0)
    threads = _checks.threads(num_threads)
    with _advising("increase alpha or lam", new_W.dtype):
        _core.ridge_update(arrays["U"], arrays["V"], new_W, new_b, rho, alpha, lam, threads)
    return new_W, new_b


def hidden_update(
    S: Any,
    U: Any,
    W: Any,
    b: Any = None,
    *,
    gamma: float = 1.0,
    rho: float = 1.0,
    num_threads: int | None = None,
) -> Array:
    """Minimise γ/2‖V − S‖² + ρ/2‖U − V Wᵀ − b‖² over V.

    Parameters
    ----------
    S : array_like
        What the layer couples to, such as σ(its pre-activations), shape (n, d_in).
    U : array_like
        Pre-activations of the next layer, shape (n, d_out).
    W : array_like
        Weights of the next layer, shape (d_out, d_in).
    b : array_like, optional
        Bias of the next layer, shape (d_out,).
    gamma, rho : float
        γ, ρ > 0.
    num_threads : int, optional
        Number of threads, by default OpenMP's.

    Returns
    -------
    ndarray
        V, shape (n, d_in).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or dtype, is empty or not finite.

    References
    ----------
    Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2.
    """
    bias = {} if b is None else {"b": b}
    arrays = _arrays(S=S, U=U, W=W, **bias)
    n, inputs = arrays["S"].shape
    outputs = arrays["U"].shape[1]
    _checks.shape("U", arrays["U"], (n, outputs), "as many rows as S")
    _checks.shape("W", arrays["W"], (outputs, inputs), "outputs, inputs")
    if b is not None:
        _checks.shape("b", arrays["b"], (outputs,), "outputs")
    gamma = _checks.number("gamma", gamma, above=0)
    rho = _checks.number("rho", rho, above=0)
    out = np.empty_like(arrays["S"])
    with _advising("increase gamma or decrease rho", out.dtype):
        _core.hidden_update(
            arrays["S"],
            arrays["U"],
            arrays["W"],
            arrays.get("b"),
            gamma,
            rho,
            out,
            _checks.threads(num_threads),
        )
    return out


def preactivation_update(
    activation: Any,
    V: Any,
    P: Any,
    U: Any,
    *,
    gamma: float = 1.0,
    rho: float = 1.0,
    alpha: float = 0.0,
    num_threads: int | None = None,
) -> Array:
    """Minimise γ/2‖V − σ(u)‖² + ρ/2‖u − P‖² + α/2‖u − U‖² over u, globally.

    Parameters
    ----------
    activation : str or operator
        σ.
    V, P, U : array_like
        Activations, products W V + b and old pre-activations, all of shape (n, d).
    gamma, rho : float
        γ, ρ > 0.
    alpha : float
        α ≥ 0.
    num_threads : int, optional
        Number of threads, by default OpenMP's.

    Returns
    -------
    ndarray
        The new U, shape (n, d); of several minimisers the leftmost.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or dtype, is empty or not finite.

    References
    ----------
    Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2.
    """
    sigma = resolve(Activation, activation, "activation")
    arrays = _arrays(V=V, P=P, U=U)
    for name in ("P", "U"):
        _checks.shape(name, arrays[name], arrays["V"].shape, "that of V")
    gamma = _checks.number("gamma", gamma, above=0)
    rho = _checks.number("rho", rho, above=0)
    alpha = _checks.number("alpha", alpha, least=0)
    new = arrays["U"].copy()
    _core.preactivation_update(
        sigma.native,
        arrays["V"],
        arrays["P"],
        new,
        gamma,
        rho,
        alpha,
        _checks.threads(num_threads),
    )
    return new


def output_update(
    loss: Any,
    Y: Any,
    S: Any,
    V: Any,
    *,
    loss_weight: float = 1.0,
    gamma: float = 1.0,
    alpha: float = 0.0,
    num_threads: int | None = None,
) -> Array:
    """Minimise c ℓ(v, Y) + γ/2‖v − S‖² + α/2‖v − V‖² over v.

    Parameters
    ----------
    loss : str or operator
        ℓ.
    Y, S, V : array_like
        Targets, what the outputs couple to, and old outputs, all of shape (n, K).
    loss_weight, gamma : float
        c, γ > 0.
    alpha : float
        α ≥ 0.
    num_threads : int, optional
        Number of threads, by default OpenMP's.

    Returns
    -------
    ndarray
        The new V, shape (n, K).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or dtype, is empty or not finite.

    References
    ----------
    Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2.
    """
    operator = resolve(Loss, loss, "loss")
    arrays = _arrays(Y=Y, S=S, V=V)
    for name in ("S", "V"):
        _checks.shape(name, arrays[name], arrays["Y"].shape, "that of Y")
    if arrays["Y"].shape[1] == 0:
        raise ValueError(f"Y: expected shape (n, K) with K > 0, got {arrays['Y'].shape}")
    arrays["Y"] = check_targets(operator, "Y", arrays["Y"])
    loss_weight = _checks.number("loss_weight", loss_weight, above=0)
    gamma = _checks.number("gamma", gamma, above=0)
    alpha = _checks.number("alpha", alpha, least=0)
    new = arrays["V"].copy()
    _core.output_update(
        operator.native,
        loss_weight,
        arrays["Y"],
        arrays["S"],
        new,
        gamma,
        alpha,
        _checks.threads(num_threads),
    )
    return new


@contextmanager
def _advising(remedy: str, dtype: np.dtype[Any]) -> Iterator[None]:
    try:
        yield
    except NumericalError as error:
        error.advise(remedy, dtype)
        raise


def _arrays(**given: Any) -> dict[str, Array]:
    """Check the arrays, matrices but for b: finite, C-contiguous, of one dtype."""
    checked: dict[str, Array] = {}
    first = next(iter(given))
    for name, value in given.items():
        array = _checks.array(name, value, ndim=1 if name == "b" else 2)
        _checks.finite(name, array)
        checked[name] = _checks.contiguous(array)
        _checks.same_dtype(name, array, first, checked[first])
    return checked
