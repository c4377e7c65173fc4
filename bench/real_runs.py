"""Long runs on real data, for what judges certificates, with what they were after fewer sweeps.

    python bench/real_runs.py FOLDER     # about eight minutes on one core; what is there is kept

Small networks on scikit-learn's data sets, every scheme, smooth and piecewise linear activations,
several losses and regularisers, in float64 and float32; and, if torch is installed, its optimisers
on full batches, in torch's default of float32. The analysis is developed on the runs on two of the
data sets; those on the others are held back.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from common import Array, folder

import amcore
from amcore import checkpoint
from amcore.regularizers import elastic_net, l1, ridge
from amcore.schemes import Scheme

THREE = amcore.ThreeSplitBCD
TWO = amcore.TwoSplitBCD
ONLINE = amcore.OnlineAM

# Sweeps at which a run is looked at that goes on for at least as long again.
PREFIXES = (50, 100, 200, 400, 800, 1600, 3200)
DEVELOPED_ON = ("digits", "diabetes")


@dataclass(frozen=True)
class Run:
    """A scheme on a data set; `hidden` are the widths of its network between input and output."""

    data: str
    scheme: Scheme
    hidden: tuple[int, ...]
    sweeps: int
    activation: str = "relu"
    skip: bool = False
    loss: str = "squared"
    regularizer: Any = None
    seed: int = 0
    dtype: str = "float64"

    def problem(self) -> amcore.Problem:
        X, Y, outputs = data(self.data)
        network = amcore.Network(
            [X.shape[1], *self.hidden, outputs], activation=self.activation, skip=self.skip
        )
        X = X.astype(self.dtype)
        Y = Y if Y.dtype.kind == "i" else Y.astype(self.dtype)
        return amcore.Problem(network, X, Y, self.loss, weight_regularizer=self.regularizer)

    def make(self, stem: Path) -> amcore.Trace:
        """Solve, with a checkpoint at every prefix."""

        def keep(step: Any) -> None:
            if step.sweep in prefixes(self.sweeps):
                checkpoint.save(f"{stem}-{step.sweep}.npz", step.state, step.trace)

        return amcore.solve(
            self.problem(),
            self.scheme,
            max_iter=self.sweeps,
            seed=self.seed,
            num_threads=1,
            callbacks=[keep],
        ).trace

    def after(self, sweeps: int, stem: Path, trace: amcore.Trace) -> amcore.Solution:
        """The run as it was after so many sweeps."""
        state, short = checkpoint.load(f"{stem}-{sweeps}.npz")
        problem = self.problem()
        return amcore.Solution(
            problem, self.scheme, amcore.State(state, problem), short, "native", 1, "max_iter"
        )


@dataclass(frozen=True)
class TorchRun:
    """An optimiser of torch on least squares with a ridge, on the full batch, in float32."""

    data: str
    optimizer: str
    hidden: tuple[int, ...]
    sweeps: int
    settings: dict[str, Any] = field(default_factory=dict)
    activation: str = "Tanh"
    lam: float = 1e-3

    def make(self, stem: Path) -> amcore.Trace:
        import torch

        torch.manual_seed(0)
        torch.set_num_threads(1)
        features, targets, outputs = data(self.data)
        X = torch.tensor(features, dtype=torch.float32)
        if targets.dtype.kind == "i":
            targets = np.eye(outputs)[targets]
        Y = torch.tensor(targets, dtype=torch.float32).reshape(len(X), outputs)
        widths = [X.shape[1], *self.hidden, outputs]
        layers: list[Any] = []
        for i, out in enumerate(widths[1:]):
            layers += [torch.nn.Linear(widths[i], out), getattr(torch.nn, self.activation)()]
        model = torch.nn.Sequential(*layers[:-1])
        optimizer = getattr(torch.optim, self.optimizer)(model.parameters(), **self.settings)
        f, g = [], []

        def loss() -> Any:
            optimizer.zero_grad()
            error = (model(X) - Y).square().sum() / (2 * len(X))
            value = error + self.lam / 2 * sum(p.square().sum() for p in model.parameters())
            value.backward()
            return value

        for _ in range(self.sweeps + 1):
            f.append(float(loss()))
            g.append(float(sum(p.grad.square().sum() for p in model.parameters()) ** 0.5))
            optimizer.step(loss)
        return amcore.Trace.from_arrays(f, g)

    def after(self, sweeps: int, stem: Path, trace: amcore.Trace) -> amcore.Trace:
        """The trace as it was after so many sweeps."""
        end = sweeps + 1
        return amcore.Trace.from_arrays(trace.objective[:end], trace.subgradient_distance[:end])


def prefixes(sweeps: int) -> list[int]:
    """Where a run of so many sweeps is looked at."""
    return [cut for cut in PREFIXES if 2 * cut <= sweeps]


@cache
def data(name: str) -> tuple[Array, Array, int]:
    """Inputs, standardised, with labels or one standardised target; the number of outputs."""
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    deviation = X.std(axis=0)
    X = (X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    if name == "diabetes":
        return X, ((y - y.mean()) / y.std())[:, None], 1
    return X, y.astype(np.int64), int(y.max()) + 1


def admm(*beta: float, **settings: Any) -> Scheme:
    return amcore.ADMM(beta=list(beta) if len(beta) > 1 else beta[0], **settings)


RUNS: dict[str, Run] = {
    # two-splitting
    "two_digits_relu": Run("digits", TWO(), (16,), 3000),
    "two_digits_tanh": Run("digits", TWO(), (12,), 2500, "tanh", regularizer=ridge(0.1)),
    "two_cancer_relu": Run("breast_cancer", TWO(), (10, 10), 4000, regularizer=ridge(1.0)),
    "two_cancer_sigmoid": Run("breast_cancer", TWO(alpha=0.1), (8,), 5000, "sigmoid"),
    "two_diabetes_relu": Run("diabetes", TWO(), (10,), 10000, regularizer=ridge(0.1), seed=1),
    "two_diabetes_softplus": Run("diabetes", TWO(gamma=0.5), (8, 8), 6000, "softplus"),
    "two_wine_tanh": Run("wine", TWO(), (6,), 10000, "tanh", regularizer=ridge(0.01)),
    "two_wine_hard_tanh": Run("wine", TWO(), (8,), 10000, "hard_tanh", loss="cross_entropy"),
    # three-splitting
    "three_digits_relu": Run("digits", THREE(), (20,), 4000),
    "three_digits_tanh": Run("digits", THREE(gamma=0.3), (12,), 2000, "tanh"),
    "three_digits_hinge": Run("digits", THREE(), (16,), 3000, loss="hinge", regularizer=l1(0.1)),
    "three_cancer_relu": Run("breast_cancer", THREE(), (12, 12), 5000, regularizer=ridge(0.1)),
    "three_cancer_entropy": Run(
        "breast_cancer", THREE(alpha=0.3), (10,), 6000, loss="cross_entropy", regularizer=ridge(1.0)
    ),
    "three_diabetes_relu": Run("diabetes", THREE(), (12,), 10000, seed=2),
    "three_diabetes_softplus": Run("diabetes", THREE(), (8,), 8000, "softplus"),
    "three_diabetes_huber": Run(
        "diabetes", THREE(), (8, 8), 6000, "leaky_relu", loss="huber", regularizer=ridge(0.01)
    ),
    "three_diabetes_float32": Run("diabetes", THREE(), (10,), 8000, dtype="float32"),
    "three_wine_relu": Run("wine", THREE(), (8,), 10000, regularizer=ridge(1.0)),
    "three_wine_deep": Run("wine", THREE(), (6, 6, 6), 8000, regularizer=ridge(0.1), seed=3),
    "three_wine_sigmoid": Run("wine", THREE(alpha=0.1), (6,), 8000, "sigmoid"),
    "three_wine_elastic": Run("wine", THREE(), (8,), 5000, regularizer=elastic_net(0.1, 0.1)),
    # residual networks
    "resnet_digits_relu": Run("digits", THREE(), (16, 16), 3000, skip=True),
    "resnet_cancer_tanh": Run("breast_cancer", THREE(), (8, 8), 3000, "tanh", skip=True),
    "resnet_diabetes_relu": Run(
        "diabetes", THREE(), (10, 10), 8000, skip=True, regularizer=ridge(0.1)
    ),
    "resnet_wine_relu": Run("wine", THREE(), (13, 13), 8000, skip=True, regularizer=ridge(1.0)),
    # ADMM
    "admm_digits": Run(
        "digits", admm(1.0, majorizer="tight"), (12,), 2500, "sigmoid", regularizer=ridge(1e-3)
    ),
    "admm_cancer": Run("breast_cancer", admm(1.0), (8,), 4000, "tanh", regularizer=ridge(1e-6)),
    "admm_diabetes": Run(
        "diabetes",
        admm(60.0, 4.0, dual_init="backprop"),
        (8,),
        8000,
        "sigmoid",
        regularizer=ridge(1.0),
    ),
    "admm_wine": Run(
        "wine",
        admm(100.0, 60.0, 4.0, dual_init="backprop"),
        (6, 6),
        8000,
        "tanh",
        regularizer=ridge(1.0),
    ),
    "admm_wine_flat": Run("wine", admm(10.0), (6, 6), 5000, "sigmoid", regularizer=ridge(1e-3)),
    # mDLAM
    "mdlam_digits": Run("digits", amcore.MDLAM(rho=0.1), (16,), 2500),
    "mdlam_cancer": Run("breast_cancer", amcore.MDLAM(epsilon=1.0), (10, 10), 4000),
    "mdlam_diabetes": Run(
        "diabetes", amcore.MDLAM(epsilon=0.1), (10,), 8000, regularizer=ridge(0.1)
    ),
    "mdlam_diabetes_plain": Run(
        "diabetes", amcore.MDLAM(epsilon=0.3, extrapolate=False), (8,), 8000, "sigmoid"
    ),
    "mdlam_wine": Run("wine", amcore.MDLAM(epsilon=1.0), (8,), 8000, regularizer=ridge(1.0)),
    "mdlam_wine_small": Run("wine", amcore.MDLAM(epsilon=0.01), (8, 8), 6000, "hard_sigmoid"),
    # batches, safeguarded
    "online_digits": Run(
        "digits",
        ONLINE(schedule="constant"),
        (16,),
        1500,
        loss="cross_entropy",
        regularizer=ridge(0.1),
    ),
    "online_diabetes": Run(
        "diabetes",
        ONLINE(batch_size=64, schedule="constant", eta=0.02),
        (10,),
        4000,
        "tanh",
        regularizer=ridge(0.1),
    ),
    "online_cancer": Run(
        "breast_cancer",
        ONLINE(batch_size=100, schedule="constant"),
        (8,),
        4000,
        "softplus",
        loss="cross_entropy",
        regularizer=ridge(0.01),
    ),
    "online_wine": Run(
        "wine",
        ONLINE(batch_size=178, schedule="constant", eta=0.05),
        (6,),
        6500,
        "tanh",
        loss="cross_entropy",
        regularizer=ridge(0.1),
    ),
}
TORCH_RUNS: dict[str, TorchRun] = {
    "torch_diabetes_sgd": TorchRun("diabetes", "SGD", (10,), 10000, {"lr": 0.1}),
    "torch_diabetes_adam": TorchRun("diabetes", "Adam", (10,), 5000, {"lr": 0.01}),
    "torch_diabetes_lbfgs": TorchRun("diabetes", "LBFGS", (10,), 400, {"lr": 0.5}, lam=1e-2),
    "torch_digits_adam": TorchRun("digits", "Adam", (12,), 1600, {"lr": 0.003}, "ReLU"),
    "torch_wine_momentum": TorchRun("wine", "SGD", (8,), 8000, {"lr": 0.05, "momentum": 0.9}),
    "torch_wine_relu": TorchRun("wine", "SGD", (8, 8), 8000, {"lr": 0.1}, activation="ReLU"),
    "torch_cancer_lbfgs": TorchRun("breast_cancer", "LBFGS", (8,), 300, {"lr": 0.5}),
}


@dataclass(frozen=True)
class Recorded:
    """A run that was made: its trace, and what it was after fewer sweeps."""

    run: Run | TorchRun
    stem: Path

    @property
    def held_back(self) -> bool:
        return self.run.data not in DEVELOPED_ON

    @property
    def trace(self) -> amcore.Trace:
        return amcore.Trace.load(f"{self.stem}.npz")

    def cuts(self) -> Iterator[tuple[int, amcore.Solution | amcore.Trace]]:
        """The run after every prefix, with its state where it has one."""
        trace = self.trace
        for sweeps in prefixes(len(trace)):
            yield sweeps, self.run.after(sweeps, self.stem, trace)


def recorded(place: Path) -> Iterator[Recorded]:
    """Every run, from the folder where it is there, else made and kept there."""
    runs: dict[str, Run | TorchRun] = {**RUNS}
    try:
        import torch  # noqa: F401

        runs |= TORCH_RUNS
    except ModuleNotFoundError:
        print("torch is not installed: its optimisers are left out")
    for name, run in runs.items():
        stem = place / name
        path = place / f"{name}.npz"
        if not path.exists():
            start = perf_counter()
            run.make(stem).save(path)
            print(f"{name}: {perf_counter() - start:.1f} s", flush=True)
        yield Recorded(run, stem)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=folder)
    for made in recorded(parser.parse_args().folder):
        print(f"{made.stem.name}: {made.trace!r}")
