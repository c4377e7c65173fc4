"""What the estimators for scikit-learn have in common: parameters, training, outputs."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any, Self

import joblib
import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from amcore import _checks
from amcore._checks import Array
from amcore.analysis import Certificate, certify
from amcore.compare import SETTINGS
from amcore.network import Network, Weights
from amcore.problem import Problem
from amcore.regularizers import ridge
from amcore.schemes import OnlineAM, Scheme
from amcore.solution import Solution, Step
from amcore.solve import solve
from amcore.state import State

__all__ = ["Estimator", "is_online"]


def is_online(estimator: Estimator) -> bool:
    """Whether the scheme goes through the samples batch by batch."""
    return isinstance(estimator._scheme(), OnlineAM)


class Progress:
    """Stop where nothing has become better for long; keep the best weights on validation."""

    def __init__(
        self, problem: Problem, patience: float, tol: float, validation: tuple[Array, Array] | None
    ) -> None:
        weight = problem.sample_weight
        self.total = float(problem.n_samples if weight is None else weight.sum())
        self.patience, self.tol, self.validation = patience, tol, validation
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best, self.idle = -math.inf, 0
        self.weights: Weights | None = None

    def step(self, step: Step) -> bool:
        """Return True to stop."""
        self.losses.append(step.record.objective / self.total)
        gain = -self.losses[-1]
        if self.validation is not None:
            gain = step.score(*self.validation)
            self.scores.append(gain)
        self.idle = self.idle + 1 if gain < self.best + self.tol else 0
        if gain > self.best:
            self.best = gain
            self.weights = None if self.validation is None else step.state.copy().weights
        return self.idle > self.patience


class Estimator(BaseEstimator):
    """What the two have in common; `_encode` and `_outputs` make the difference."""

    # What the outputs of the network are multiplied by, and what is added to them.
    _spread: Any = 1.0
    _offset: Any = 0.0
    _weights: Weights
    solution_: Solution
    loss_curve_: list[float]

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        scheme: Any = "online",
        scheme_params: Any = None,
        alpha: float = 1.0,
        batch_size: Any = "auto",
        max_iter: int = 50,
        tol: float = 1e-4,
        random_state: Any = None,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: float = 10,
        n_jobs: int | None = None,
        verbose: int = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.scheme = scheme
        self.scheme_params = scheme_params
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array_like or sparse matrix
            Shape (n_samples, n_features); a sparse one is made dense.
        y : array_like
            Labels (n_samples,), or targets, of the regressor (n_samples, n_outputs) too.
        sample_weight : array_like, optional
            Shape (n_samples,); only the online scheme takes weights.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong; before any work.
        NumericalError
            As of `amcore.solve`. The estimator is then not fitted.
        """
        goes_on = bool(self.warm_start) and hasattr(self, "solution_")
        if not goes_on:
            self.__dict__.pop("solution_", None)
        self._train(X, y, sample_weight, goes_on=goes_on, known=goes_on)
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, *, known: bool) -> Self:
        if self.early_stopping:
            raise ValueError("early_stopping: expected False in partial_fit, got True")
        goes_on = hasattr(self, "solution_")
        self._train(X, y, sample_weight, goes_on=goes_on, known=known, partial=True)
        return self

    def _train(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        goes_on: bool,
        known: bool,
        partial: bool = False,
    ) -> None:
        """Train, from where the last fit ended if `goes_on`; `known`: what `_encode` found is."""
        self._check_parameters()
        inputs, targets, weight = self._samples(X, y, sample_weight, goes_on=goes_on, known=known)
        random = check_random_state(self.random_state)
        validation = None
        if self.early_stopping:
            inputs, targets, weight, validation = self._set_aside(inputs, targets, weight, random)
        start: Any = "he"
        if goes_on:
            start = self.solution_.state if partial else self._weights
        problem = self._problem(inputs, targets, weight)
        scheme: Any = self._scheme(len(inputs))
        progress = Progress(problem, self.n_iter_no_change, self.tol, validation)
        solution = solve(
            problem,
            replace(scheme, schedule="constant") if partial else scheme,  # as long as data come
            max_iter=1 if partial else self.max_iter,
            init=start,
            seed=random.randint(2**31 - 1),
            callbacks=[progress],
            num_threads=None if self.n_jobs is None else joblib.effective_n_jobs(self.n_jobs),
            verbose=int(self.verbose),
        )
        blank = self._problem(inputs[:0].copy(), targets[:0].copy(), None)
        state = State(dict(solution.state), blank)
        self.solution_ = replace(solution, problem=blank, state=state)
        self._weights = progress.weights or solution.weights
        curve = self.loss_curve_ if goes_on and partial else []
        self.loss_curve_ = curve + progress.losses
        self.loss_ = self.loss_curve_[-1]
        self.best_loss_ = None if validation else min(self.loss_curve_)
        self.validation_scores_ = progress.scores if validation else None
        self.best_validation_score_ = progress.best if validation else None
        self.n_iter_ = len(progress.losses)
        self.n_layers_ = problem.network.depth + 1
        self.n_outputs_ = problem.network.widths[-1]

    def _check_parameters(self) -> None:
        _checks.number("alpha", self.alpha, least=0)
        _checks.number("tol", self.tol, least=0)
        _checks.integer("max_iter", self.max_iter, 1)
        if self.n_iter_no_change != math.inf:
            _checks.integer("n_iter_no_change", self.n_iter_no_change, 1)
        share = _checks.number("validation_fraction", self.validation_fraction, above=0)
        if share >= 1:
            raise ValueError(f"validation_fraction: expected a number below 1, got {share:g}")

    def _scheme(self, samples: int = 0) -> Scheme:
        """Return the scheme with its parameters and the size of its batches of so many samples."""
        scheme = self.scheme
        if isinstance(scheme, str):
            scheme = SETTINGS[_checks.choice("scheme", scheme, list(SETTINGS))].scheme
        elif not isinstance(scheme, Scheme):
            expected = f"a scheme or one of {', '.join(SETTINGS)}"
            raise TypeError(f"scheme: expected {expected}, got {_checks.describe(scheme)}")
        params = dict(self.scheme_params or {})
        if isinstance(scheme, OnlineAM) and self.batch_size != "auto":
            params["batch_size"] = self.batch_size
        elif self.scheme == "online" and samples:
            params.setdefault("batch_size", min(max(samples // 100, 50), 250))
        unknown = sorted(set(params) - {field.name for field in fields(scheme)})
        if unknown:
            raise ValueError(
                f"scheme_params: {type(scheme).__name__} has no {', '.join(map(repr, unknown))}"
            )
        chosen: Scheme = replace(scheme, **params)
        return chosen

    def _samples(
        self, X: Any, y: Any, sample_weight: Any, *, goes_on: bool, known: bool
    ) -> tuple[Array, Array, Array | None]:
        """Check the samples and encode their targets; those of weight 0 are left out."""
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
            multi_output=True,
            reset=not goes_on,
        )
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, X, dtype=X.dtype)
        X = X.toarray() if issparse(X) else X
        y, weight = self._encode(y, weight, X.dtype, known=known)
        if weight is None or weight.all() or not weight.any():
            return X, y, weight
        some = weight != 0
        return X[some], y[some], weight[some]

    def _set_aside(self, X: Array, y: Array, weight: Array | None, random: Any) -> Any:
        """Split off the validation set: X, y, weights, (X, y) of it."""
        kept, aside = train_test_split(
            np.arange(len(X)),
            test_size=self.validation_fraction,
            random_state=random,
            stratify=y if is_classifier(self) else None,
        )
        weight = None if weight is None else weight[kept]
        return X[kept], y[kept], weight, (X[aside], y[aside])

    def _problem(self, X: Array, y: Array, weight: Array | None) -> Problem:
        hidden = self.hidden_layer_sizes
        hidden = [hidden] if np.ndim(hidden) == 0 else list(hidden)
        names = self.activation if isinstance(self.activation, list | tuple) else [self.activation]
        activation = ["sigmoid" if name == "logistic" else name for name in names]
        width, loss = self._outputs(y)
        network = Network(
            [X.shape[1], *hidden, width],
            activation if len(activation) > 1 else activation[0],
            skip=self.scheme == "resnet",
        )
        penalty = ridge(self.alpha) if self.alpha else None
        return Problem(network, X, y, loss, weight_regularizer=penalty, sample_weight=weight)

    def _forward(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        X = X.toarray() if issparse(X) else X
        threads = self.solution_.num_threads
        outputs: Any = self.solution_.problem.network.forward(X, self._weights, num_threads=threads)
        scaled: Array = outputs * self._spread + self._offset
        return scaled

    @property
    def coefs_(self) -> list[Array]:
        """W_iᵀ, shape (d_{i−1}, d_i)."""
        check_is_fitted(self)
        *hidden, last = (W.T for W, _ in self._weights)
        return [*hidden, last * self._spread]

    @property
    def intercepts_(self) -> list[Array]:
        """b_i, shape (d_i,)."""
        check_is_fitted(self)
        *hidden, last = (b for _, b in self._weights)
        return [*hidden, last * self._spread + self._offset]

    @property
    def certificate_(self) -> Certificate:
        """What `amcore.certify` tells of the run."""
        check_is_fitted(self)
        return certify(self.solution_.trace)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "solution_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
