"""The problem: a network, samples with targets, a loss and regularisers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from amcore import _checks
from amcore._checks import Array
from amcore._operator import resolve
from amcore.losses import Loss, check_targets
from amcore.network import Network
from amcore.regularizers import Regularizer

__all__ = ["Problem"]


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Problem:
    """Fit a network to targets: c Σ_j ω_j ℓ(V_N, Y) + Σ_i r_i(W_i) + Σ_i s_i(V_i).

    Parameters
    ----------
    network : Network
        The network.
    X : array_like
        Inputs, shape (n_samples, d_0). float32 and float64 are kept, integers become float64. A
        C-contiguous array is used as it is, not copied. Names of the columns of a data frame are
        kept: other data frames must have the same, in the same order.
    Y : array_like
        Targets of shape (n_samples, d_N) in the dtype of X; or integer class labels of shape
        (n_samples,), 0, …, d_N − 1, which are encoded as the loss needs (0/1 or ±1 indicators; for
        one output and a loss with ±1 targets the two labels are 0 and 1, or −1 and 1); or, for one
        output, real targets of shape (n_samples,). For several outputs labels may be floats such
        as 2.0. Probabilities that add up to 1 only to the rounding of float32 are divided by their
        sum.
    loss : str or operator
        The loss ℓ.
    loss_scale : {"sum", "mean"}
        c = 1 or c = 1/Σ ω_j, which is 1/n_samples without weights.
    weight_regularizer : str or operator, or a sequence of N of them, optional
        r_i; acts on W_i, not on b_i.
    activation_regularizer : str or operator, or a sequence of N of them, optional
        s_i; acts on the activations V_i of layer i, a sample a row, the output V_N among them.
    sample_weight : array_like, optional
        ω_j >= 0, shape (n_samples,), not all 0; by default 1. Only `OnlineAM` takes weights.

    Attributes
    ----------
    X, Y : ndarray
        Inputs and encoded targets, C-contiguous, of one dtype.
    loss : operator
    loss_scale : str
    weight_regularizers, activation_regularizers : tuple of N operators
    classes : tuple of int or None
        The class labels, if Y was given as labels.
    sample_weight : ndarray or None
        As given, in the dtype of X.
    vector : bool
        Whether Y was given with shape (n_samples,), which predictions then have.
    columns : tuple of str or None
        The names of the columns of X, if it was a data frame with names.

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
    sample_weight: Array | None
    vector: bool
    columns: tuple[str, ...] | None

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
        sample_weight: Any = None,
    ) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"network: expected a Network, got {_checks.describe(network)}")
        loss = resolve(Loss, loss, "loss")
        if loss.targets == "distribution" and network.widths[-1] == 1:
            raise ValueError(f"loss: {loss.name} needs a network with at least 2 outputs, got 1")
        regularizers = {
            name: tuple(_checks.per_layer(name, given, network.depth, _regularizer))
            for name, given in (
                ("weight_regularizer", weight_regularizer),
                ("activation_regularizer", activation_regularizer),
            )
        }

        inputs = network.check_inputs(X)
        targets, classes, vector = _targets(Y, inputs, loss, network.widths[-1])

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
        object.__setattr__(self, "sample_weight", _sample_weight(sample_weight, inputs))
        object.__setattr__(self, "vector", vector)
        object.__setattr__(self, "columns", _column_names(X))

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.X)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Floating-point type of X and Y."""
        return self.X.dtype

    @property
    def lower_bound(self) -> float:
        """A lower bound of the loss with the regularisers: 0, or −inf if one of them is a user's.

        A user's loss or regulariser of which that is certain says so by ``nonnegative = True``.
        """
        terms = (self.loss, *self.weight_regularizers, *self.activation_regularizers)
        return 0.0 if all(term.reference.nonnegative for term in terms) else -math.inf

    def __repr__(self) -> str:
        labels = "" if self.classes is None else f", {len(self.classes)} classes"
        return (
            f"<Problem: {self.network}, {self.n_samples} samples{labels}, {self.dtype}, "
            f"loss {self.loss} ({self.loss_scale})>"
        )

    def check_columns(self, X: Any) -> None:
        """Check the names of the columns of inputs, if they have some and X had.

        Parameters
        ----------
        X : array_like
            The inputs.

        Raises
        ------
        ValueError
            If a column has another name, or they have another order.
        """
        names = zip(self.columns or (), _column_names(X) or (), strict=False)
        for i, (known, given) in enumerate(names):
            if known != given:
                raise ValueError(f"X: expected column {i} to be {known!r:.40}, got {given!r:.40}")

    def check_labels(self, y: Any) -> Array:
        """Check labels against those that Y was given as.

        Parameters
        ----------
        y : array_like
            Labels, shape (n_samples,): integers, or floats such as 2.0.

        Returns
        -------
        ndarray
            The labels as integers.

        Raises
        ------
        TypeError, ValueError
            If an entry is none of `classes`, y is no vector, or Y was not given as labels.
        """
        if self.classes is None:
            raise ValueError("y: the problem's targets are not class labels")
        labels = _checks.numeric("y", y, _told(self.classes))
        _checks.shape("y", labels, (labels.size,), "one label per sample")
        return _labels("y", labels, self.classes)

    def decode(self, outputs: Any) -> Array:
        """Return the predictions that outputs stand for, in the form of the targets given.

        Parameters
        ----------
        outputs : array_like
            Outputs of the network, shape (n_samples, d_N).

        Returns
        -------
        ndarray
            Class labels (n_samples,) if Y was given as labels; else the outputs, with the shape
            (n_samples,) if Y had it.

        Raises
        ------
        TypeError, ValueError
            If `outputs` is no such array, or holds NaN or infinity, which stand for no label.
        """
        values = _checks.array("outputs", outputs, ndim=2)
        width = self.network.widths[-1]
        _checks.shape("outputs", values, (len(values), width), "n_samples, outputs")
        if self.classes is None:
            return values.reshape(-1) if self.vector else values
        _checks.finite("outputs", values)
        column = values[:, 0] > 0 if width == 1 else values.argmax(axis=1)
        return np.asarray(self.classes)[column.astype(np.intp)]


def _regularizer(name: str, given: Any) -> Regularizer:
    return resolve(Regularizer, "none" if given is None else given, name)


def _column_names(X: Any) -> tuple[str, ...] | None:
    """Names of the columns of a data frame, if all of them are words."""
    columns = getattr(X, "columns", None)
    names = tuple(columns) if isinstance(columns, Iterable) else ()
    return names if names and all(isinstance(name, str) for name in names) else None


def _sample_weight(given: Any, X: Array) -> Array | None:
    """Check the weights of the samples."""
    if given is None:
        return None
    weight = _checks.array("sample_weight", given, ndim=1).astype(X.dtype)
    _checks.shape("sample_weight", weight, (len(X),), "one per row of X")
    _checks.finite("sample_weight", weight)
    if weight.size and (weight.min() < 0 or weight.max() == 0):
        raise ValueError(
            "sample_weight: expected numbers >= 0 that are not all 0, "
            f"got {weight.min():g} … {weight.max():g}"
        )
    return weight


def _targets(
    Y: Any, X: Array, loss: Loss, width: int
) -> tuple[Array, tuple[int, ...] | None, bool]:
    """Check and encode Y; return the targets, the class labels if it holds some, is it a vector."""
    n = len(X)
    expected = f"numbers of shape ({n}, {width})"
    if width > 1:
        expected = f"{_told(range(width))} or {expected}"
    given = _checks.numeric("Y", Y, expected)
    vector, integers = given.ndim == 1, given.dtype.kind in "biu"
    if vector:
        _checks.shape("Y", given, (n,), "one entry per row of X")
    if vector and (width > 1 or (integers and loss.targets != "real")):
        classes = tuple(range(width)) if width > 1 else (-1, 1) if (given < 0).any() else (0, 1)
        return _encode(_labels("Y", given, classes), loss, width, X.dtype), classes, True
    targets = _checks.array("Y", given[:, None] if vector else given)
    if targets.shape != (n, width):
        raise ValueError(f"Y: expected {expected}, got {given.dtype} of shape {given.shape}")
    if integers:
        targets = targets.astype(X.dtype)
    _checks.same_dtype("Y", targets, "X", X)
    _checks.finite("Y", targets)
    return check_targets(loss, "Y", targets), None, vector


def _labels(name: str, given: Array, classes: Sequence[int]) -> Array:
    """Return labels as integers; refuse those that are none of the classes."""
    _checks.refuse(name, given, ~np.isin(given, classes), _told(classes))
    return given.astype(np.int64)


def _told(classes: Sequence[int]) -> str:
    return f"integer labels {classes[0]} {'…' if len(classes) > 2 else 'or'} {classes[-1]}"


def _encode(labels: Array, loss: Loss, width: int, dtype: np.dtype[Any]) -> Array:
    """Encode labels as indicators of the classes, or for one output as a sign."""
    if width == 1:
        return np.where(labels == 1, 1, -1).astype(dtype)[:, None]
    indicators = np.zeros((len(labels), width), dtype)
    indicators[np.arange(len(labels)), labels] = 1
    return 2 * indicators - 1 if loss.targets == "sign" else indicators
