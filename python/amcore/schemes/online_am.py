"""Alternating minimisation batch by batch, with a safeguard on the objective of all samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from amcore import _checks
from amcore._checks import Array
from amcore.collective import Collective
from amcore.problem import Problem
from amcore.schemes.scheme import Scheme

__all__ = ["OnlineAM"]

# Rows of X that tell its mean and its covariance.
_ROWS = 10_000
# Components that are kept of wider inputs, and from which width of a layer on its Gram matrix is
# renewed less often, by default.
_RANK, _WIDE = 150, 512


@dataclass(frozen=True, repr=False)
class OnlineAM(Scheme):
    """Alternating minimisation of one batch after the other, each from its forward pass.

    Minimises over W, b the regularised loss of the network itself,

        f = c Σ ℓ(V_N) + Σ λ_i/2 ‖W_i‖²,    V_i = [V_{i−1} +] σ_i(V_{i−1} W_iᵀ + b_i);

    a sweep is an epoch, ``max_iter`` counts epochs. For every batch, from the output down, the
    blocks V_i are moved to where the layer above is fitted best, and every layer then makes a part
    of the least-squares step that fits its weights to them, with a running mean of its inputs' Gram
    matrix. The length of that part is a root mean square of the layer's outputs, the same for all
    layers, whatever their scale. Inputs are whitened, and those wider than `input_rank` projected
    on their principal components: W_1 stays among these.

    With `epsilon` and `rho_out` infinite, the fastest choice, this is backpropagation
    preconditioned by the Gram matrix of every layer's input; with finite ones every block V_i is an
    exact minimisation.

    Safeguard: the end of an epoch is accepted if f has fallen by c₁ ‖∇f‖² there, else a point on
    the way to it that does, else a step along the preconditioned gradient of all samples. So f
    never rises from one safeguarded epoch to the next, and condition A1 holds with j = the epochs
    from one to the next; ``trace.monitors`` tells the constant c₁, the batches' loss on the way,
    and how often the safeguard stepped in, which is marked in the trace. ∇f is by the weights of
    the whitened inputs; where an activation has kinks it is their left derivative's, an element of
    the limiting subdifferential at almost all weights.

    The objective of `problem` is minimised as it is: a ridge on its weights, such as
    ``weight_regularizer=ridge(1e-4)`` with ``loss_scale="mean"``, makes for better predictions.

    Parameters
    ----------
    batch_size : int
        At most so many samples in a batch; the samples of an epoch are dealt out evenly.
    eta : float
        Length of a step: the root mean square by which a unit's input moves, > 0.
    lam : float
        Weight > 0 of the old weights in a layer's least-squares problem, relative to the mean
        square of its inputs.
    input_rank : int, optional
        Principal components of the inputs that W_1 acts on; by default 150, or all of fewer inputs.
    rho_out : float
        Weight ρ > 0 of the old outputs in the outputs' block argmin ℓ(v) + ρ/2 ‖v − V_N‖²; ∞ for
        its limit, the gradient of ℓ.
    epsilon : float
        Weight ε > 0 of the old value in the block of V_i, relative to ‖W_{i+1}‖²/d_{i+1}; ∞ for its
        limit, the transposed map.
    clip : float
        A step is at most so many times as long as `eta` says, > 0; ∞ for no limit.
    gram_every : int, optional
        Batches from one update of the Gram matrices to the next; by default 20, for layers wider
        than 512 50. The first ten batches all count.
    label_smoothing : float
        With the cross-entropy, the share in [0, 1) of every target that goes to all classes alike;
        it belongs to f.
    schedule : {"linear", "cosine", "constant"}
        How `eta` falls, to 0 after `max_iter` epochs unless it is constant. A state from such a
        run goes on with its schedule, or with a new one where that had come to its end.
    average : float
        The share in [0, 1] of an epoch's batches, its last ones, whose weights are averaged for its
        end; at 0 the last weights are taken. It takes the place of a falling `eta`.
    safeguard : float
        The constant c₁ >= 0 of the safeguard, for f divided by its weight c n; 0 for none.
    safeguard_every : int
        Epochs from one safeguarded epoch to the next. The last of a schedule is always one.

    Raises
    ------
    TypeError, ValueError
        If a hyperparameter is not such a value.
    """

    stem: ClassVar[str] = "online_am"
    numbers: ClassVar[tuple[str, ...]] = ("epochs", "planned", "shuffle", "halvings")
    accurate_decrease: ClassVar[bool] = False
    weighs_samples: ClassVar[bool] = True

    batch_size: int = 250
    eta: float = 0.1
    lam: float = 1.0
    input_rank: int | None = None
    rho_out: float = math.inf
    epsilon: float = math.inf
    clip: float = 2.0
    gram_every: int | None = None
    label_smoothing: float = 0.1
    schedule: str = "linear"
    average: float = 0.0
    safeguard: float = 1e-3
    safeguard_every: int = 1

    def __post_init__(self) -> None:
        """Check and freeze the hyperparameters."""
        checked: dict[str, Any] = {
            name: _checks.integer(name, getattr(self, name), 1)
            for name in ("batch_size", "input_rank", "gram_every", "safeguard_every")
            if getattr(self, name) is not None
        }
        for name in ("eta", "lam"):
            checked[name] = _checks.number(name, getattr(self, name), above=0)
        for name in ("rho_out", "epsilon", "clip"):
            checked[name] = _positive(name, getattr(self, name))
        for name in ("label_smoothing", "average", "safeguard"):
            checked[name] = _checks.number(name, getattr(self, name), least=0)
        if checked["label_smoothing"] >= 1:
            given = checked["label_smoothing"]
            raise ValueError(f"label_smoothing: expected a number below 1, got {given:g}")
        if checked["average"] > 1:
            raise ValueError(f"average: expected a number <= 1, got {checked['average']:g}")
        _checks.choice("schedule", self.schedule, ("linear", "cosine", "constant"))
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def descends(self) -> bool:
        """Whether every epoch is safeguarded."""
        return self.safeguard > 0 and self.safeguard_every == 1

    def check(self, problem: Problem) -> None:
        """Refuse losses with kinks and regularisers of the weights that are no ridge.

        Raises
        ------
        ValueError
            Naming what is wrong.
        """
        if "smooth" not in problem.loss.traits:
            raise ValueError(f"loss: OnlineAM needs a smooth one, got {problem.loss}")
        for regularizer in problem.weight_regularizers:
            if regularizer.reference.curvature is None:
                raise ValueError(
                    f"weight_regularizer: OnlineAM takes none or ridge, got {regularizer}"
                )

    def distance_is_bound(self, problem: Problem) -> bool:
        """Whether an activation has kinks."""
        return any("smooth" not in sigma.traits for sigma in problem.network.activations)

    def stems(self, problem: Problem, layer: int) -> tuple[str, ...]:
        """W, its value after the last safeguarded epoch, v, and G or the whitening."""
        every = self.safeguard > 0 and self.safeguard_every > 1
        weights = ("W", "W_old") if every else ("W",)
        return (*weights, "v", *(("components", "center") if layer == 1 else ("G",)))

    def shape(self, problem: Problem, layer: int, stem: str) -> tuple[int, ...]:
        """Shape of an array of a layer."""
        inputs = problem.network.widths[layer - 1]
        bordered = inputs + problem.network.bias
        own = {
            "v": (1,),
            "components": (self._rank(problem), inputs),
            "center": (inputs,),
            "G": (bordered, bordered),
        }
        return own[stem] if stem in own else super().shape(problem, layer, stem)

    def begin(
        self,
        problem: Problem,
        arrays: Mapping[str, Array],
        *,
        drawn: bool,
        max_iter: int,
        seed: Any,
        collective: Collective,
    ) -> None:
        """Plan the epochs; whiten the inputs and draw a number for the order of the samples.

        A W_1 that a rule has drawn is divided by the inputs' spread, if that is above 1, and starts
        from their mean.
        """
        ended = arrays["epochs"] >= arrays["planned"]
        if self.schedule == "constant":
            arrays["planned"][...] = 0
        elif ended:
            arrays["planned"][...] = arrays["epochs"] + max(1, max_iter)
        if arrays["components1"].any():
            return
        arrays["shuffle"][...] = np.random.default_rng(seed).integers(2**53)
        moments = _Moments.of(problem, collective)
        arrays["components1"][...] = moments.whitening(self._rank(problem), self.lam)
        arrays["center1"][...] = moments.mean
        for name in ("shuffle", "components1"):  # that no bit differs
            collective.broadcast(arrays[name].reshape(-1))
        if drawn:
            W = arrays["W1"]
            W /= max(1.0, math.sqrt(moments.spread))
            if problem.network.bias:
                arrays["b1"][...] = -W @ moments.mean

    def _rank(self, problem: Problem) -> int:
        return min(_RANK if self.input_rank is None else self.input_rank, problem.network.widths[0])

    def _options(self, problem: Problem) -> dict[str, Any]:
        wide = max(problem.network.widths[1:-1], default=0) > _WIDE
        smoothed = problem.loss.targets == "distribution"
        return {
            "batch_size": self.batch_size,
            "eta": self.eta,
            "lam": self.lam,
            "inverse_rho_out": 1 / self.rho_out,
            "inverse_epsilon": 1 / self.epsilon,
            "inverse_clip": 1 / self.clip,
            "gram_every": self.gram_every or (50 if wide else 20),
            "label_smoothing": self.label_smoothing if smoothed else 0.0,
            "schedule": self.schedule,
            "average": self.average,
            "safeguard": self.safeguard,
            "safeguard_every": self.safeguard_every,
        }


def _positive(name: str, value: Any) -> float:
    """Return a positive number, or infinity."""
    if isinstance(value, float) and value == math.inf:
        return math.inf
    return _checks.number(name, value, above=0)


@dataclass(frozen=True)
class _Moments:
    """Weighted mean m of inputs, 0 without biases, their covariance about m and its mean diagonal.

    Of at most `_ROWS` samples of all processes, evenly chosen.
    """

    mean: Array
    covariance: Array
    spread: float

    @classmethod
    def of(cls, problem: Problem, collective: Collective) -> _Moments:
        own = problem.n_samples
        n, first = int(collective.total(own)), int(collective.before(own))
        count = min(n, _ROWS)
        rows = np.arange(count) * n // count - first
        rows = rows[(rows >= 0) & (rows < own)]
        sample = problem.X[rows].astype(np.float64)
        weight: Any = 1.0
        if problem.sample_weight is not None:
            weight = problem.sample_weight[rows, None].astype(np.float64)
            weight /= collective.total(weight.sum()) / count or 1.0
        mean = np.sum(weight * sample, axis=0)
        collective.sum(mean)
        mean /= count
        mean *= problem.network.bias
        sample -= mean
        covariance = sample.T @ (weight * sample)
        collective.sum(covariance.reshape(-1))
        squares = collective.total(np.sum(weight * np.square(sample)))
        return cls(mean, covariance / count, squares / (count * len(mean)))

    def whitening(self, rank: int, lam: float) -> Array:
        """Return T = (e + lam μ)^{-1/2} Eᵀ: x̃ = T(x − m).

        e and E are the largest eigenvalues of the covariance and their vectors, μ is the mean of
        its diagonal.
        """
        scale = np.trace(self.covariance) / len(self.covariance) or 1.0
        values, vectors = np.linalg.eigh(self.covariance)
        kept = np.maximum(values[-rank:], 0) + lam * scale
        components: Array = (vectors[:, -rank:] / np.sqrt(kept)).T
        return components
