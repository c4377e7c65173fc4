"""The network: widths, activations and skip connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from amcore import _checks, _core
from amcore._checks import Array
from amcore._operator import resolve
from amcore.activations import Activation

__all__ = ["Network", "Weights"]

Weights: TypeAlias = list[tuple[Array, Array | None]]


@dataclass(frozen=True, init=False, repr=False)
class Network:
    """A feed-forward network V_i = [V_{i−1} +] σ_i(W_i V_{i−1} + b_i), i = 1, …, N, V_0 = X.

    Parameters
    ----------
    widths : sequence of int
        Numbers of inputs, hidden units and outputs, d_0, …, d_N; at least two.
    activation : str or operator, or a sequence of N − 1 of them
        Activation of the hidden layers.
    output_activation : str or operator
        Activation of the last layer.
    skip : bool or sequence of N bool
        Which layers add their input; True means every layer whose input and output agree in width.
    bias : bool
        Whether layers have a bias.

    Attributes
    ----------
    widths : tuple of int
    activations : tuple of N operators
    skip : tuple of N bool
    bias : bool

    Raises
    ------
    TypeError, ValueError
        If an argument does not describe a network.

    Examples
    --------
    >>> import amcore
    >>> amcore.Network([64, 100, 10])
    Network([64, 100, 10], activation='relu', output_activation='identity', skip=False, bias=True)
    """

    widths: tuple[int, ...]
    activations: tuple[Activation, ...]
    skip: tuple[bool, ...]
    bias: bool

    def __init__(
        self,
        widths: Sequence[int],
        activation: Any = "relu",
        output_activation: Any = "identity",
        skip: bool | Sequence[bool] = False,
        bias: bool = True,
    ) -> None:
        given = _checks.sequence("widths", widths, "a sequence of integers")
        if len(given) < 2:
            raise ValueError(f"widths: expected at least 2 (input, output), got {len(given)}")
        sizes = tuple(
            _checks.integer(f"widths[{i}]", d, 1, _checks.INT_MAX) for i, d in enumerate(given)
        )
        hidden = _checks.per_layer(
            "activation", activation, len(sizes) - 2, _activation, "hidden layer"
        )
        output = _activation("output_activation", output_activation)
        object.__setattr__(self, "widths", sizes)
        object.__setattr__(self, "activations", (*hidden, output))
        object.__setattr__(self, "skip", _skips(skip, sizes))
        object.__setattr__(self, "bias", _checks.flag("bias", bias))

    @property
    def depth(self) -> int:
        """Number N of layers."""
        return len(self.widths) - 1

    def __repr__(self) -> str:
        *hidden, output = map(str, self.activations)
        activation = hidden[0] if len(set(hidden)) == 1 else hidden
        agree = [a == b for a, b in zip(self.widths[1:], self.widths[:-1], strict=True)]
        skip = any(self.skip) if list(self.skip) in ([False] * self.depth, agree) else [*self.skip]
        parts = [
            f"{[*self.widths]}",
            f"activation={activation!r}",
            f"output_activation={output!r}",
            f"skip={skip}",
            f"bias={self.bias}",
        ]
        if not hidden:
            del parts[1]
        return f"Network({', '.join(parts)})"

    def check_weights(self, weights: Any, name: str = "weights") -> Weights:
        """Check ``[(W_1, b_1), …]`` against the network.

        Parameters
        ----------
        weights : sequence of N pairs
            W_i of shape (d_i, d_{i−1}) and b_i of shape (d_i,), None without bias.
        name : str
            What error messages call them.

        Returns
        -------
        list of (W, b)

        Raises
        ------
        TypeError, ValueError
            If a number, shape or value is wrong.
        """
        expected = f"expected {self.depth} pairs (W, b), one per layer"
        if not isinstance(weights, list | tuple):
            raise TypeError(f"{name}: {expected}, got {_checks.describe(weights)}")
        if len(weights) != self.depth:
            raise ValueError(f"{name}: {expected}, got {len(weights)}")
        checked: Weights = []
        for i, pair in enumerate(weights):
            place = f"{name}[{i}]"
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise TypeError(f"{place}: expected a pair (W, b), got {_checks.describe(pair)}")
            W = _checks.array(f"{place} W", pair[0])
            _checks.shape(f"{place} W", W, (self.widths[i + 1], self.widths[i]), "outputs, inputs")
            _checks.finite(f"{place} W", W)
            if (pair[1] is None) is self.bias:
                wrong = "None" if self.bias else "a bias"
                raise ValueError(f"{place} b: got {wrong}, but the network has bias={self.bias}")
            b = None
            if pair[1] is not None:
                b = _checks.array(f"{place} b", pair[1])
                _checks.shape(f"{place} b", b, (self.widths[i + 1],), "outputs")
                _checks.finite(f"{place} b", b)
            checked.append((W, b))
        return checked

    def check_inputs(self, X: Any) -> Array:
        """Check inputs against the network: an array of shape (n_samples, d_0), finite.

        Raises
        ------
        TypeError, ValueError
            If it is none, naming X.
        """
        inputs = _checks.array("X", X, ndim=2)
        _checks.shape("X", inputs, (len(inputs), self.widths[0]), "n_samples, inputs")
        _checks.finite("X", inputs)
        return inputs

    def forward(
        self, X: Any, weights: Any, *, num_threads: int | None = None, backend: str = "native"
    ) -> Array:
        """Compute the outputs of the network, in the dtype of the weights.

        Parameters
        ----------
        X : array_like
            Shape (n_samples, d_0).
        weights : sequence of N pairs
            ``[(W_1, b_1), …]``.
        num_threads : int, optional
            Number of threads; by default OpenMP's.
        backend : {"native", "reference"}
            Who computes.

        Returns
        -------
        ndarray
            Shape (n_samples, d_N).

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit the network, or holds NaN or infinity.
        """
        checked = self.check_weights(weights)
        dtype = np.result_type(*[W.dtype for W, _ in checked])
        typed = [
            (_checks.contiguous(W, dtype), None if b is None else _checks.contiguous(b, dtype))
            for W, b in checked
        ]
        threads = _checks.threads(num_threads)
        V = _checks.cast("X", self.check_inputs(X), dtype)
        if _checks.choice("backend", backend, ("native", "reference")) == "native":
            out = np.empty((len(V), self.widths[-1]), dtype)
            natives = [activation.native for activation in self.activations]
            _core.forward(V, typed, natives, list(self.skip), out, threads)
            return out
        for (W, b), activation, skip in zip(typed, self.activations, self.skip, strict=True):
            U = V @ W.T if b is None else V @ W.T + b
            S = activation.reference.value(U)
            V = V + S if skip else S
        return V


def _activation(name: str, given: Any) -> Activation:
    return resolve(Activation, given, name)


def _skips(skip: Any, widths: tuple[int, ...]) -> tuple[bool, ...]:
    agree = [a == b for a, b in zip(widths[1:], widths[:-1], strict=True)]
    chosen = _checks.per_layer("skip", skip, len(agree), _checks.flag)
    if _checks.entries("skip", skip) is None:
        return tuple(on and fits for on, fits in zip(chosen, agree, strict=True))
    for i, (on, fits) in enumerate(zip(chosen, agree, strict=True)):
        if on and not fits:
            raise ValueError(
                f"skip[{i}]: layer {i + 1} cannot add its input, its widths {widths[i]} and "
                f"{widths[i + 1]} differ"
            )
    return tuple(chosen)
