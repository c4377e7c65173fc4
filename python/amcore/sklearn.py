"""Estimators for scikit-learn: `AMClassifier` and `AMRegressor`, beside its MLPs."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.special import log_expit, log_softmax
from sklearn.base import ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import column_or_1d

from amcore._checks import Array
from amcore._estimator import Estimator, is_online

__all__ = ["AMClassifier", "AMRegressor"]


class AMClassifier(ClassifierMixin, Estimator):
    """Classification by a network that alternating minimisation trains, with the cross-entropy.

    Names that `sklearn.neural_network.MLPClassifier` has mean what they mean there.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Widths of the hidden layers.
    activation : str or operator, or a sequence of one per hidden layer
        Of the hidden layers: ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"`` or any other
        of `amcore.activations`.
    scheme : str or Scheme
        ``"online"`` (`OnlineAM`), another key of `amcore.compare.SETTINGS`, or a scheme.
    scheme_params : dict, optional
        Hyperparameters of the scheme that are to be others, such as ``{"eta": 0.05}``.
    alpha : float
        Strength of the ridge: the loss is its mean over the samples + alpha/(2n) Σ ‖W_i‖².
    batch_size : int or "auto"
        Samples in a batch of the online scheme, at most; ``"auto"`` is n/100, but at least 50 and
        at most 250, or what a scheme given says. The others take all samples at once.
    max_iter : int
        Sweeps at most; of the online scheme epochs, over which its steps shrink to 0.
    tol : float
        Training ends once the loss, or with `early_stopping` the validation score, has not become
        better by `tol` for more than `n_iter_no_change` sweeps in a row.
    random_state : int, RandomState instance or None
        Draws the weights, the order of the samples and the validation set.
    warm_start : bool
        Whether `fit` starts from the weights it has.
    early_stopping : bool
        Whether to set samples aside, score them after every sweep and keep the best weights.
    validation_fraction : float
        The share of samples set aside by `early_stopping`.
    n_iter_no_change : int or inf
        See `tol`.
    class_weight : dict, "balanced" or None
        Weights of the classes, multiplied by those of the samples; only the online scheme takes
        weights.
    n_jobs : int, optional
        Number of threads, by default OpenMP's; results do not depend on it.
    verbose : bool or int
        Whether to print a table of the run.

    Attributes
    ----------
    classes_ : ndarray
        The labels. Two have one output of the network between them, as in MLPClassifier.
    coefs_, intercepts_ : list of ndarray
        W_iᵀ of shape (d_{i−1}, d_i), and b_i.
    loss_, best_loss_ : float
        The loss after the last sweep, and the least; `best_loss_` is None with `early_stopping`.
    loss_curve_ : list of float
        The loss after every sweep.
    validation_scores_, best_validation_score_ : list of float, float
        With `early_stopping`, otherwise None.
    n_iter_ : int
        Sweeps made by the last fit.
    n_layers_, n_outputs_, n_features_in_, feature_names_in_
        As in MLPClassifier.
    solution_ : Solution
        The run as it ended; its problem holds no samples.
    certificate_ : Certificate
        What `amcore.certify` tells of the run, found when it is asked for.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from amcore.sklearn import AMClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> bool(AMClassifier(20, random_state=0).fit(X, y).score(X, y) > 0.9)
    True
    """

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
        class_weight: Any = None,
        n_jobs: int | None = None,
        verbose: int = False,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            scheme=scheme,
            scheme_params=scheme_params,
            alpha=alpha,
            batch_size=batch_size,
            max_iter=max_iter,
            tol=tol,
            random_state=random_state,
            warm_start=warm_start,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        self.class_weight = class_weight

    @available_if(is_online)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch of these samples; the length of the steps stays as it is.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array_like, optional
            All labels that are to come; the first call needs them.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError, NumericalError
            As for `fit`; also with `early_stopping` or balanced classes.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight: expected a dict or None in partial_fit, got {self.class_weight!r}"
            )
        first = not hasattr(self, "solution_")
        if first and classes is None:
            raise ValueError("classes: expected all labels in the first call, got None")
        given: Any = None if classes is None else unique_labels(classes)
        if first:
            self.classes_ = given
        elif given is not None and not np.array_equal(given, self.classes_):
            raise ValueError(f"classes: expected {self.classes_} as before, got {given}")
        return self._partial_fit(X, y, sample_weight, known=True)

    def predict(self, X: Any) -> Array:
        """Labels (n_samples,) of the samples X (n_samples, n_features)."""
        outputs = self._forward(X)
        binary = self.n_outputs_ == 1
        index = (outputs[:, 0] > 0).astype(int) if binary else outputs.argmax(axis=1)
        labels: Array = self.classes_[index]
        return labels

    def decision_function(self, X: Any) -> Array:
        """Return the network's outputs (n_samples, n_classes), for two classes (n_samples,)."""
        outputs = self._forward(X)
        return outputs[:, 0] if self.n_outputs_ == 1 else outputs

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the classes (n_samples, n_classes)."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of the probabilities of the classes (n_samples, n_classes)."""
        outputs = self._forward(X)
        binary = self.n_outputs_ == 1
        logs: Array = (
            log_expit(np.hstack([-outputs, outputs])) if binary else log_softmax(outputs, axis=1)
        )
        return logs

    def _encode(
        self, y: Array, weight: Array | None, dtype: Any, *, known: bool
    ) -> tuple[Array, Array | None]:
        """Return labels as 0, 1, …, and the weights of the samples times those of the classes."""
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        if not known:
            self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"y: expected at least 2 classes, got 1 class, {self.classes_[0]!r}")
        strangers = np.setdiff1d(y, self.classes_)
        if strangers.size:
            raise ValueError(f"y: expected labels in {self.classes_}, got {strangers[0]!r}")
        if self.class_weight is not None:
            factor = compute_sample_weight(self.class_weight, y).astype(dtype)
            weight = factor if weight is None else weight * factor
        return np.searchsorted(self.classes_, y), weight

    def _outputs(self, y: Array) -> tuple[int, str]:
        count = len(self.classes_)
        return (1, "logistic") if count == 2 else (count, "cross_entropy")


class AMRegressor(RegressorMixin, MultiOutputMixin, Estimator):
    """Regression by a network that alternating minimisation trains, with the squared loss.

    Targets are standardised for the training; `coefs_`, `intercepts_` and predictions are for
    the targets as given, losses and `solution_` for the standardised ones.

    Parameters
    ----------
    hidden_layer_sizes, activation, scheme, scheme_params, alpha, batch_size, max_iter, tol
        As for `AMClassifier`.
    random_state, warm_start, early_stopping, validation_fraction, n_iter_no_change, n_jobs, verbose
        As for `AMClassifier`.

    Attributes
    ----------
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_
        As of `AMClassifier`.
    n_iter_, n_layers_, n_outputs_, n_features_in_, feature_names_in_, solution_, certificate_
        As of `AMClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from amcore.sklearn import AMRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> bool(AMRegressor(20, random_state=0).fit(X, y).score(X, y) > 0.4)
    True
    """

    @available_if(is_online)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch of these samples; the length of the steps stays as it is.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError, NumericalError
            As for `fit`; also with `early_stopping`.
        """
        return self._partial_fit(X, y, sample_weight, known=hasattr(self, "solution_"))

    def predict(self, X: Any) -> Array:
        """Targets of the samples X (n_samples, n_features), in the shape that y had."""
        outputs = self._forward(X)
        return outputs[:, 0] if self.solution_.problem.vector else outputs

    def _encode(
        self, y: Array, weight: Array | None, dtype: Any, *, known: bool
    ) -> tuple[Array, Array | None]:
        """Return the targets standardised as those of the first fit."""
        y = y.astype(np.float64)
        if not known:
            center = np.average(y, axis=0, weights=weight)
            spread = np.sqrt(np.average(np.square(y - center), axis=0, weights=weight))
            self._offset = np.asarray(center, dtype)
            self._spread = np.asarray(np.where(spread > 0, spread, 1), dtype)
        return ((y - self._offset) / self._spread).astype(dtype), weight

    def _outputs(self, y: Array) -> tuple[int, str]:
        return (1 if y.ndim == 1 else y.shape[1]), "squared"
