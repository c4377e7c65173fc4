"""What a run gives: a step after every sweep, and the solution at its end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from amcore import _checks
from amcore._checks import Array
from amcore.network import Weights
from amcore.problem import Problem
from amcore.schemes import Scheme
from amcore.state import State
from amcore.trace import Record, Trace

__all__ = ["Solution", "Step"]


@dataclass(frozen=True, repr=False, eq=False)
class _Fit:
    """What a run has reached: its state, as a predictor, and its trace."""

    problem: Problem
    scheme: Scheme
    state: State
    trace: Trace
    backend: str
    num_threads: int | None

    @property
    def weights(self) -> Weights:
        """The weights ``[(W_1, b_1), …]``; b_i is None without bias."""
        return self.state.weights

    def forward(self, X: Any) -> Array:
        """Compute the outputs of the network for inputs X.

        Parameters
        ----------
        X : array_like
            Shape (n_samples, d_0).

        Returns
        -------
        ndarray
            Shape (n_samples, d_N), in the dtype of the weights.

        Raises
        ------
        TypeError, ValueError
            If X is no such array, holds NaN or infinity, or has columns of other names than the
            problem's.
        """
        self.problem.check_columns(X)
        network = self.problem.network
        return network.forward(X, self.weights, num_threads=self.num_threads, backend=self.backend)

    def predict(self, X: Any) -> Array:
        """Predictions in the form of the problem's targets: labels, or outputs in their shape.

        Parameters
        ----------
        X : array_like
            Shape (n_samples, d_0).

        Returns
        -------
        ndarray
            Class labels (n_samples,) if the problem was given labels; outputs (n_samples,) if it
            was given such targets, else (n_samples, d_N).

        Raises
        ------
        TypeError, ValueError
            As for `forward`, or if outputs overflow that were to be labels.
        """
        return self.problem.decode(self.forward(X))

    def score(self, X: Any, y: Any) -> float:
        """Share of right labels if the problem was given labels, else R² over all outputs.

        Parameters
        ----------
        X : array_like
            Shape (n_samples, d_0).
        y : array_like
            Labels (n_samples,), or targets (n_samples, d_N), for one output (n_samples,) too.

        Returns
        -------
        float
            R² is 1 − ‖y − forward(X)‖²/‖y − mean y‖², means by output.

        Raises
        ------
        TypeError, ValueError
            As for `predict`, or if y has the wrong shape, holds NaN or infinity, or labels that
            are none of the problem's.
        """
        if self.problem.classes is not None:
            labels, predicted = self.problem.check_labels(y), self.predict(X)
            _checks.shape("y", labels, predicted.shape, "as the predictions for X")
            _checks.filled("y", labels)
            return float(np.mean(predicted == labels))
        truth = _checks.array("y", y)
        _checks.finite("y", truth)
        predicted = self.forward(X)
        if truth.ndim == 1:
            truth = truth[:, None]
        _checks.shape("y", truth, predicted.shape, "as the outputs for X")
        _checks.filled("y", truth)
        spread = np.sum(np.square(truth - truth.mean(axis=0), dtype=np.float64))
        error = np.sum(np.square(truth - predicted, dtype=np.float64))
        return float(1 - error / spread) if spread > 0 else math.nan


@dataclass(frozen=True, repr=False, eq=False)
class Step(_Fit):
    """One sweep of a run, as `iterate` yields it and callbacks get it.

    Attributes
    ----------
    sweep : int
        Number of the sweep, counted from 1; 0 is the start.
    record : Record
        Measurements of the sweep.
    state : State
        The state after the sweep; live, the next sweep changes it.
    weights, trace, problem, scheme
        The weights in the state, the trace so far, and what is being solved.
    """

    sweep: int
    record: Record

    def __repr__(self) -> str:
        return f"<Step: sweep {self.sweep}, objective {self.record.objective:.6g}>"


@dataclass(frozen=True, repr=False, eq=False)
class Solution(_Fit):
    """The result of a run.

    Attributes
    ----------
    weights : list of (W, b)
        The weights of the network.
    state : State
        All variables by name.
    trace : Trace
        The measurements, sweep by sweep.
    problem, scheme
        What was solved, and how.
    stop_reason : str
        ``"max_iter"``, ``"tol"``, ``"interrupted"``, ``"failed"`` (in a sweep, the state is that of
        its last whole block), ``"closed"`` (an iteration left early) or the name of the callback
        that stopped the run or raised.
    error : exception or None
        What was raised, a `NumericalError` or anything else, if the run ended in an error.
    """

    stop_reason: str
    error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<Solution: {self.scheme}, {self.trace!r}, stopped by {self.stop_reason}>"
