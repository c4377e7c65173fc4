"""The problem: a network, samples with targets, a loss and regularisers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from amcore import _checks
from amcore._checks import Array
from amcore._operator import Loss, Regularizer, check_targets, resolve
from amcore.network import Network

__all__ = ["Problem"]


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Problem:
    """Fit a network to targets: c Σ_j ℓ(V_N, Y) + Σ_i r_i(W_i) + Σ_i s_i(V_i).

    Parameters
    ----------
    network : Network
        The network.
    X : array_like
        Inputs, shape (n_samples, d_0). float32 and float64 are kept, integers become float64. A
        C-contiguous array is used as it is, not copied.
    Y : array_like
        Targets of shape (n_samples, d_N) in the dtype of X; or integer class labels of shape
        (n_samples,), 0, …, d_N − 1, which are encoded as the loss needs (0/1 or ±1 indicators; for
        one output and a loss with ±1 targets the two labels are 0 and 1, or −1 and 1); or, for one
        output, real targets of shape (n_samples,).
    loss : str or operator
        The loss ℓ.
    loss_scale : {"sum", "mean"}
        c = 1 or c = 1/n_samples.
    weight_regularizer : str or operator, or a sequence of N of them, optional
        r_i; acts on W_i, not on b_i.
    activation_regularizer : str or operator, or a sequence of N of them, optional
        s_i; acts on the activations V_i of layer i, a sample a row, the output V_N among them.

    Attributes
    ----------
    X, Y : ndarray
        Inputs and encoded targets, C-contiguous, of one dtype.
    loss : operator
    loss_scale : str
    weight_regularizers, activation_regularizers : tuple of N operators
    classes : tuple of int or None
        The class labels, if Y was given as labels.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or shape, or holds NaN or infinity.
    """

    network: Network
    X: Array
    Y: Array
    loss: Loss
    loss_scale: str
    weight_regularizers: tuple[Regularizer, ...]
    activation_regularizers: tuple[Regularizer, ...]
    classes: tuple[int, ...] | None

    def __init__(
        self,
        network: Network,
        X: Any,
        Y: Any,
        loss: Any = "squared",
        *,
        loss_scale: str = "sum",
        weight_regularizer: Any = None,
        activation_regularizer: Any = None,
    ) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"network: expected a Network, got {_checks.describe(network)}")
        loss = resolve(Loss, loss, "loss")
        if loss.targets == "distribution" and network.widths[-1] == 1:
            raise ValueError(f"loss: {loss.name} needs a network with at least 2 outputs, got 1")
        regularizers = {
            name: tuple(
                resolve(Regularizer, "none" if one is None else one, name)
                for one in _checks.per_layer(name, given, network.depth)
            )
            for name, given in (
                ("weight_regularizer", weight_regularizer),
                ("activation_regularizer", activation_regularizer),
            )
        }

        inputs = _checks.array("X", X, ndim=2)
        _checks.shape("X", inputs, (len(inputs), network.widths[0]), "n_samples, inputs")
        if len(inputs) == 0:
            raise ValueError(f"X: expected at least one sample, got shape {inputs.shape}")
        _checks.finite("X", inputs)
        targets, classes = _targets(Y, inputs, loss, network.widths[-1])

        object.__setattr__(self, "network", network)
        object.__setattr__(self, "X", _checks.contiguous(inputs))
        object.__setattr__(self, "Y", _checks.contiguous(targets))
        object.__setattr__(self, "loss", loss)
        object.__setattr__(
            self, "loss_scale", _checks.choice("loss_scale", loss_scale, ("sum", "mean"))
        )
        for name, operators in regularizers.items():
            object.__setattr__(self, f"{name}s", operators)
        object.__setattr__(self, "classes", classes)

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.X)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Floating-point type of X and Y."""
        return self.X.dtype

    def __repr__(self) -> str:
        labels = "" if self.classes is None else f", {len(self.classes)} classes"
        return (
            f"<Problem: {self.network}, {self.n_samples} samples{labels}, {self.dtype}, "
            f"loss {self.loss} ({self.loss_scale})>"
        )

    def decode(self, outputs: Array) -> Array:
        """Class labels (n_samples,) that outputs (n_samples, d_N) stand for.

        Raises
        ------
        ValueError
            If Y was not given as class labels.
        """
        if self.classes is None:
            raise ValueError("decode: the problem's targets are not class labels")
        column = outputs[:, 0] > 0 if outputs.shape[1] == 1 else outputs.argmax(axis=1)
        return np.asarray(self.classes)[column.astype(np.intp)]


def _targets(Y: Any, X: Array, loss: Loss, width: int) -> tuple[Array, tuple[int, ...] | None]:
    """Check and encode the targets; return them with the class labels, if they are labels."""
    given, n = _checks.raw("Y", Y), len(X)
    integers = given.dtype.kind in "biu"
    if given.ndim == 1 and integers and (width > 1 or loss.targets != "real"):
        _checks.shape("Y", given, (n,), "one label per row of X")
        return _encode(given.astype(np.int64), loss, width, X.dtype)
    targets = _checks.array("Y", given)
    if targets.ndim == 1 and width == 1:
        targets = targets[:, None]
    if targets.shape != (n, width):
        raise ValueError(
            f"Y: expected shape ({n}, {width}) or integer labels of shape ({n},), "
            f"got {targets.dtype} of shape {targets.shape}"
        )
    if integers:
        targets = targets.astype(X.dtype)
    _checks.same_dtype("Y", targets, "X", X)
    _checks.finite("Y", targets)
    check_targets(loss, "Y", targets)
    return targets, None


def _encode(
    labels: Array, loss: Loss, width: int, dtype: np.dtype[Any]
) -> tuple[Array, tuple[int, ...]]:
    """Encode labels as indicators of the classes, or for one output as a sign."""
    low, high = int(labels.min()), int(labels.max())
    if width == 1:
        classes = (-1, 1) if low < 0 else (0, 1)
        if not np.isin(labels, classes).all():
            raise ValueError(f"Y: expected labels 0, 1 or -1, 1 for one output, got {low} … {high}")
        return np.where(labels == 1, 1, -1).astype(dtype)[:, None], classes
    if low < 0 or high >= width:
        raise ValueError(
            f"Y: expected labels 0 … {width - 1} for {width} outputs, got {low} … {high}"
        )
    indicators = np.zeros((len(labels), width), dtype)
    indicators[np.arange(len(labels)), labels] = 1
    return 2 * indicators - 1 if loss.targets == "sign" else indicators, tuple(range(width))
