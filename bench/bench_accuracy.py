"""Accuracy in equal time: OnlineAM beside tuned first-order methods, on images and tables.

    python bench/bench_accuracy.py            # hours; run again, it goes on where it was stopped
    python bench/bench_accuracy.py --data mnist --nets 784-1000-10 --budget 2 --seeds 3
    python bench/bench_accuracy.py --only ablation    # what the parts of OnlineAM are worth
    python bench/bench_accuracy.py --only scalings    # its settings on inputs of any scale
    python bench/bench_accuracy.py --quick    # the digits, in seconds; says so in its result

All have one thread, float32 and the same budget: the CPU time in which torch's Adam makes a number
of epochs of batches of 128 on the inputs as they are. CPU time, as others may share the machine.
A method makes as many epochs as fit, by its pace on this machine; preparing the inputs counts, the
evaluation does not. Of all methods that have settings to choose these are chosen alike: by the
score on a sixth of the training samples, drawn at random and left out, with seed 0: first the best
of six rates, then with it each of `options`, one at a time. All that a run has found is in the
result at once.

Tables are standardised, targets too; the score of a regression is the root mean square error in
units of the targets' deviation, and for the tables of UCI a seed is one of the published splits.
"""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, stdev
from time import process_time
from typing import Any

import numpy as np
from common import (
    Array,
    Companion,
    attend,
    data_folder,
    heading,
    options_parser,
    save,
    thread_limits,
)

import amcore
from amcore.compare import SETTINGS
from amcore.datasets import load_digits_split, load_mnist_folder
from amcore.errors import NumericalError
from amcore.reference.scheme import online_am as reference

# In epochs of Adam.
BUDGETS = {
    "mnist": (2, 6),
    "fashion-mnist": (2, 6),
    "adult": (3, 10),
    "kin8nm": (20,),
    "power-plant": (20,),
    "concrete": (100,),
    "energy": (100,),
    "yacht": (200,),
    "digits": (5,),
}
IMAGES = ("mnist", "fashion-mnist")
REGRESSIONS = ("kin8nm", "power-plant", "concrete", "energy", "yacht")  # of UCI
NETS = {
    "784-256-128-10": [256, 128],
    "784-1000-10": [1000],
    "784-3x1500-10": [1500, 1500, 1500],
    "64-64": [64, 64],
}
RANK = 150  # components of the inputs that OnlineAM keeps
ROWS = 10_000  # samples that whiten the inputs
RIDGE = 1e-4  # of OnlineAM and, as an option, of the others
SCALINGS = ("as given", "in [0, 1]", "standardised")


# Data.


@dataclass(frozen=True)
class Data:
    """Samples to train and to score with; y are labels, or of a regression floats."""

    X: Array
    y: Array
    X_test: Array
    y_test: Array

    @property
    def regression(self) -> bool:
        return self.y.dtype.kind == "f"

    @property
    def outputs(self) -> int:
        return 1 if self.regression else int(self.y.max()) + 1

    def score(self, found: Array) -> float:
        """Accuracy of labels, root mean square error of a regression."""
        if self.regression:
            with np.errstate(all="ignore"):
                return float(np.sqrt(np.mean(np.square(found.ravel() - self.y_test))))
        return float(np.mean(found == self.y_test))


def better(data: str) -> Callable[..., Any]:
    return min if data in REGRESSIONS else max


def load(name: str, seed: int, held_out: bool, scaling: str) -> Data:
    """The data set as the methods get it; with `held_out` a part of the training set to score."""
    X, y, X_test, y_test = samples(name, seed if name in REGRESSIONS else 0)
    if held_out:
        order = np.random.default_rng(seed).permutation(len(X))
        some, rest = order[: len(X) // 6], order[len(X) // 6 :]
        X, y, X_test, y_test = X[rest], y[rest], X[some], y[some]
    low: Any = 0.0
    scale: Any = 1.0
    if scaling == "in [0, 1]":
        low, scale = X.min(axis=0), np.ptp(X, axis=0)
    elif scaling == "standardised":
        low, scale = X.mean(axis=0), X.std(axis=0)
    scale = np.where(scale == 0, 1, scale)
    X, X_test = (((part - low) / scale).astype(np.float32) for part in (X, X_test))
    if name not in REGRESSIONS:
        return Data(X, y.astype(np.int64), X_test, y_test)
    y, y_test = (((part - y.mean()) / y.std()).astype(np.float32) for part in (y, y_test))
    return Data(X, y, X_test, y_test)


@functools.lru_cache(1)
def samples(name: str, split: int) -> tuple[Array, Array, Array, Array]:
    """Training and test samples as they are on file."""
    if name == "digits":
        return load_digits_split(seed=0)
    if name in IMAGES:
        return load_mnist_folder(existing(name))
    if name == "adult":
        file = np.load(existing("tables") / "a9a_adult.npz")
        X, X_test = (dense(file, part) for part in ("train", "test"))
        return X, (file["train_y"] + 1) // 2, X_test, (file["test_y"] + 1) // 2
    file = np.load(existing("tables") / f"uci_{name}.npz")
    X, y, test = file["X"], file["y"], file["test_mask"][split]
    return X[~test], y[~test], X[test], y[test]


def existing(name: str) -> Path:
    folder = data_folder(name)
    if folder is None:
        raise FileNotFoundError(f"{name} is not there; set AMCORE_DATA")
    return folder


def dense(file: Mapping[str, Array], part: str) -> Array:
    """The matrix of zeros and ones of which the file has the places of the ones by rows."""
    starts = file[f"{part}_indptr"]
    X = np.zeros((len(starts) - 1, int(file["n_features"])), np.float32)
    X[np.repeat(np.arange(len(X)), np.diff(starts)), file[f"{part}_indices"]] = 1
    return X


def whitened(data: Data, lam: float) -> Data:
    """What OnlineAM makes of its inputs; with lam = ∞ they are projected only."""
    sample = data.X[:: max(1, len(data.X) // ROWS)].astype(np.float64)
    center = sample.mean(axis=0)
    sample -= center
    covariance = sample.T @ sample / len(sample)
    values, vectors = np.linalg.eigh(covariance)
    basis = vectors[:, -RANK:]
    if math.isfinite(lam):
        basis /= np.sqrt(np.maximum(values[-RANK:], 0) + lam * np.trace(covariance) / len(values))
    X, X_test = (
        (v - center.astype(np.float32)) @ basis.astype(np.float32) for v in (data.X, data.X_test)
    )
    return replace(data, X=X, X_test=X_test)


# Methods: what predicts the test samples, after every epoch.

Predict = Callable[[], Array]
Steps = Iterator[Predict]


def online(
    data: Data,
    hidden: list[int],
    epochs: int,
    seed: int,
    ridge: float = RIDGE,
    backend: str = "native",
    **options: Any,
) -> Steps:
    if options.get("batch_size") == "auto":  # as of AMClassifier and AMRegressor
        options["batch_size"] = min(250, max(50, len(data.X) // 100))
    problem = amcore.Problem(
        amcore.Network([data.X.shape[1], *hidden, data.outputs], activation(data)),
        data.X,
        data.y,
        "squared" if data.regression else "cross_entropy",
        loss_scale="mean",
        weight_regularizer=amcore.regularizers.ridge(ridge),
    )
    scheme = amcore.OnlineAM(**options)
    for step in amcore.iterate(
        problem, scheme, max_iter=epochs, seed=seed, num_threads=1, backend=backend
    ):
        yield functools.partial(step.predict, data.X_test)


def full_batch(
    data: Data, hidden: list[int], epochs: int, seed: int, scheme: str, ridge: float
) -> Steps:
    known = SETTINGS[scheme]
    problem = amcore.Problem(
        amcore.Network([data.X.shape[1], *hidden, data.outputs], known.activation, skip=known.skip),
        data.X,
        data.y,
        weight_regularizer=amcore.regularizers.ridge(ridge),
    )
    for step in amcore.iterate(
        problem, known.scheme, max_iter=epochs, seed=seed, num_threads=1, measure_every=10**9
    ):
        yield functools.partial(step.predict, data.X_test)


def torch_steps(
    data: Data,
    hidden: list[int],
    epochs: int,
    seed: int,
    optimizer: str,
    rate: float,
    whitening: float | None = None,
    label_smoothing: float = 0.1,
    ridge: float = 0.0,
) -> Steps:
    import torch
    from torch import nn

    torch.manual_seed(seed)
    if whitening is not None:
        data = whitened(data, whitening)
    layers: list[nn.Module] = []
    for below, above in pairwise([data.X.shape[1], *hidden, data.outputs]):
        layers += [nn.Linear(below, above), nn.Tanh() if data.regression else nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    inputs, X_test = torch.from_numpy(data.X), torch.from_numpy(data.X_test)
    loss: nn.Module = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    targets = torch.from_numpy(data.y)
    if data.regression:
        loss, targets = nn.MSELoss(), targets[:, None]
    given: dict[str, Any] = {"lr": rate, "weight_decay": ridge, "fused": True}
    if optimizer == "SGD":
        given["momentum"] = 0.9
    method = getattr(torch.optim, optimizer)(net.parameters(), **given)

    def predict() -> Array:
        with torch.no_grad():
            outputs = net(X_test)
        found: Array = (outputs if data.regression else outputs.argmax(dim=1)).numpy()
        return found

    size = batch_size(data)
    total, done = epochs * -(-len(inputs) // size), 0
    for _ in range(epochs):
        order: Any = torch.randperm(len(inputs))
        for rows in order.split(size):
            method.param_groups[0]["lr"] = rate * (1 - done / total)
            method.zero_grad()
            loss(net(inputs[rows]), targets[rows]).backward()
            method.step()
            done += 1
        yield predict


def sklearn_steps(data: Data, hidden: list[int], epochs: int, seed: int, rate: float) -> Steps:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    given = {
        "hidden_layer_sizes": hidden,
        "activation": activation(data),
        "batch_size": batch_size(data),
        "learning_rate_init": rate,
        "random_state": seed,
    }
    net = MLPRegressor(**given) if data.regression else MLPClassifier(**given)
    classes = {} if data.regression else {"classes": np.arange(data.outputs)}
    for _ in range(epochs):
        net.partial_fit(data.X, data.y, **classes)
        yield functools.partial(net.predict, data.X_test)


def activation(data: Data) -> str:
    return "tanh" if data.regression else "relu"


def batch_size(data: Data) -> int:
    """Of the first-order methods: 128, and of small data sets fewer samples."""
    return min(128, max(50, len(data.X) // 100))


@dataclass(frozen=True)
class Method:
    """How to train; `candidates` are compared first, then `options` with the best of them."""

    steps: Callable[..., Steps]
    given: dict[str, Any]
    candidates: tuple[dict[str, Any], ...] = ()
    options: tuple[dict[str, Any], ...] = ()
    package: str = "amcore"


def rates(*values: float) -> tuple[dict[str, Any], ...]:
    return tuple({"rate": value} for value in values)


def torch_method(optimizer: str, values: tuple[dict[str, Any], ...], *, whiten: bool) -> Method:
    options: list[dict[str, Any]] = [{"label_smoothing": 0.0}, {"ridge": RIDGE}]
    given: dict[str, Any] = {"optimizer": optimizer}
    if whiten:
        given["whitening"] = 1.0
        options.append({"whitening": math.inf})
    return Method(torch_steps, given, values, tuple(options), "torch")


ADAM = rates(5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
SGD = rates(5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 2e-1)
METHODS = {
    "OnlineAM": Method(online, {}),
    # one setting for all data, chosen on held-out samples of the tables of UCI, seeds 0 and 1
    "OnlineAM, loose": Method(online, {"safeguard_every": 10, "batch_size": "auto"}),
    "Adam, raw": torch_method("Adam", ADAM, whiten=False),
    "Adam, whitened": torch_method("Adam", ADAM, whiten=True),
    "SGD, raw": torch_method("SGD", SGD, whiten=False),
    "SGD, whitened": torch_method("SGD", SGD, whiten=True),
    "scikit-learn": Method(sklearn_steps, {}, ADAM, package="sklearn"),
    "OnlineAM, searched": Method(
        online,
        {},
        tuple({"eta": eta} for eta in (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4)),
        ({"label_smoothing": 0.0}, {"schedule": "cosine"}, {"ridge": 0.0}, {"lam": 0.1}),
    ),
} | {
    # the ridge was the best of {1, 10, 100}, for admm of {1, 10}, on held-out samples of MNIST
    name: Method(full_batch, {"scheme": name, "ridge": 1.0 if name == "admm" else 100.0})
    for name in ("two-split", "three-split", "resnet", "admm", "mdlam")
}
BASELINES = ("Adam, raw", "Adam, whitened")
USUAL = [name for name in METHODS if METHODS[name].steps is not full_batch]


# What the parts are worth: formulas of the reference, exchanged.


class NotWhitened(reference.OnlineAM):
    """x̃ = s Eᵀ(x − m), with the s that leaves the sum of variances as it is."""

    def __init__(self, **given: Any) -> None:
        T, center = given["layers"][0]["components"], given["layers"][0]["center"]
        squares = np.sum(np.square(T), axis=1)
        variances = np.var((given["X"][:ROWS] - center) @ T.T, axis=0)
        s = math.sqrt(variances.sum() / np.sum(variances / squares))
        T *= s / np.sqrt(squares)[:, None]
        super().__init__(**given)


class WithoutGram(reference.OnlineAM):
    """D_i = C_i."""

    def _inverse(self, G: Array) -> Array:
        return np.eye(len(G), dtype=G.dtype)


class Neither(NotWhitened, WithoutGram):
    """Steps along the gradient by the principal components, each layer's to its length."""


class FixedGain(reference.OnlineAM):
    """W_i += θ D_i."""

    def _step(self, k: int, i: int, q: float) -> float:
        return super()._step(k, i, 1.0)  # of which v is 1 throughout


VARIANTS = {kind.__name__: kind for kind in (NotWhitened, WithoutGram, Neither, FixedGain)}


@contextmanager
def variant(name: str) -> Iterator[dict[str, Any]]:
    """While it lasts, the reference is that variant, if a name is given; how to ask for it."""
    usual = reference.OnlineAM
    vars(reference)["OnlineAM"] = VARIANTS.get(name, usual)
    try:
        yield {"backend": "reference"} if name else {}
    finally:
        vars(reference)["OnlineAM"] = usual


ABLATION: dict[str, list[dict[str, Any]]] = {
    "OnlineAM": [{}],
    "all principal components": [{"input_rank": 1000}],
    "not whitened": [{"variant": "NotWhitened"}],
    "neither projected nor whitened": [{"variant": "NotWhitened", "input_rank": 1000}],
    "no Gram matrices above layer 1": [{"variant": "WithoutGram"}],
    "no Gram matrices, not whitened": [{"variant": "Neither"}],
    "steps of a fixed gain": [{"variant": "FixedGain", "eta": eta} for eta in (0.1, 0.3, 1, 3, 10)],
    "no bound of a step": [{"clip": math.inf}],
    "targets not smoothed": [{"label_smoothing": 0.0}],
    "no ridge": [{"ridge": 0.0}],
    "blocks solved exactly": [{"epsilon": 10.0, "rho_out": 1.0}],
    "constant steps": [{"schedule": "constant"}],
    "constant steps, averaged over half an epoch": [{"schedule": "constant", "average": 0.5}],
    "cosine": [{"schedule": "cosine"}],
    "no safeguard": [{"safeguard": 0.0}],
    "safeguard every tenth epoch": [{"safeguard_every": 10}],
    "batches of n/100, 50 to 250": [{"batch_size": "auto"}],
    "both": [{"safeguard_every": 10, "batch_size": "auto"}],
    "lam 0.1": [{"lam": 0.1}],
    "lam 0.3": [{"lam": 0.3}],
    "lam 3": [{"lam": 3.0}],
}


# A process of its own, which does the work.


def begin() -> tuple[dict[str, Any], dict[str, Callable[..., dict[str, Any]]]]:
    with suppress(ModuleNotFoundError):
        import torch

        torch.set_num_threads(1)
    return {}, {"train": train}


WARM: set[str] = set()


def train(task: dict[str, Any]) -> dict[str, Any]:
    """Score at the end; CPU seconds of training, and those up to the end of the first epoch."""
    method, seed, hidden = METHODS[task["method"]], task["seed"], NETS[task["net"]]
    data = load(task["data"], seed, task["held_out"], task["scaling"])
    settings = method.given | task["settings"]
    with variant(settings.pop("variant", "")) as given:
        if task["method"] not in WARM:  # what a library does at its first call is not to be timed
            WARM.add(task["method"])
            some = np.arange(0, len(data.X), max(1, len(data.X) // 500))
            few = replace(data, X=data.X[some], y=data.y[some])
            for _ in method.steps(few, hidden, 1, seed, **settings, **given):
                pass
        steps = method.steps(data, hidden, task["epochs"], seed, **settings, **given)
        seconds: list[float] = []
        score = math.nan
        with suppress(NumericalError):  # it has diverged
            for _ in range(task["epochs"]):
                start = process_time()
                predict = next(steps)
                seconds.append(process_time() - start)
            score = data.score(predict())
    first = seconds[0] if seconds else math.nan
    return {"score": score, "seconds": sum(seconds), "first": first}


# What is done.


class Bench:
    """A file of results that grows run by run, and the process that makes the runs."""

    def __init__(self, path: Path, options: Any) -> None:
        self.path = path
        self.result = heading("accuracy", options, "torch", "scikit-learn")
        self.rows: dict[str, dict[str, Any]] = {}
        self.paces: dict[str, dict[str, float]] = {}
        if path.exists():
            known = json.loads(path.read_text("utf-8"))
            if known["machine"]["cpu"] != self.result["machine"]["cpu"]:
                sys.exit(f"{path} is of another machine; choose another --output")
            self.rows, self.paces = known["rows"], known["paces"]
        self.worker = Companion(__file__, "--work", environment=os.environ | thread_limits(1))

    def write(self) -> None:
        save(self.result | {"paces": self.paces, "rows": self.rows}, self.path)

    def train(self, data: str, net: str, method: str, epochs: int, **more: Any) -> dict[str, Any]:
        scaling = "as given" if data in IMAGES else "standardised"
        usual = {"settings": {}, "seed": 0, "held_out": False, "scaling": scaling}
        task = {"data": data, "net": net, "method": method, "epochs": epochs}
        answer = self.worker.ask("train", task | usual | more)
        if answer is None:
            sys.exit(f"{method} on {data}: {self.worker.error}")
        return answer

    def pace(self, data: str, net: str, method: str) -> dict[str, float]:
        """CPU seconds of an epoch and of what comes before the first; the least of two runs."""
        key = f"{data} {net} {method}"
        if key not in self.paces:
            epochs = max(2, min(20, BUDGETS[data][0] // 4))
            settings = (METHODS[method].candidates or ({},))[0]
            tries = []
            for _ in range(2):
                run = self.train(data, net, method, epochs, settings=settings, held_out=True)
                epoch = (run["seconds"] - run["first"]) / (epochs - 1)
                tries.append({"epoch": epoch, "setup": max(0.0, run["first"] - epoch)})
            self.paces[key] = {what: min(t[what] for t in tries) for what in ("epoch", "setup")}
            self.write()
        return self.paces[key]

    def epochs(self, data: str, net: str, method: str, budget: float) -> int:
        """How many fit into the time of so many epochs of Adam on the inputs as they are."""
        adam, own = self.pace(data, net, BASELINES[0]), self.pace(data, net, method)
        seconds = adam["setup"] + budget * adam["epoch"]
        return max(1, math.floor((seconds - own["setup"]) / own["epoch"] + 1e-6))

    def row(self, *parts: Any, **what: Any) -> dict[str, Any]:
        return self.rows.setdefault(" · ".join(map(str, parts)), what | {"search": [], "runs": []})

    def once(self, runs: list[dict[str, Any]], key: dict[str, Any], **task: Any) -> dict[str, Any]:
        """The run of that key; made, if it is not there yet."""
        for run in runs:
            if key.items() <= run.items():
                return run
        run = key | self.train(**key, **task)
        runs.append(run)
        self.write()
        return run

    def compare(self, data: str, net: str, budget: float, name: str, seeds: int) -> None:
        """Choose settings on held-out samples and train with them on all, seed by seed."""
        row = self.row(data, net, budget, name, data=data, net=net, budget=budget, method=name)
        epochs = self.epochs(data, net, name, budget)
        task = {"data": data, "net": net, "method": name, "epochs": epochs}
        settings = self.choose(row["search"], METHODS[name], task)
        for seed in range(seeds):
            self.once(row["runs"], {"seed": seed}, settings=settings, **task)
        row |= {"epochs": epochs, "settings": settings} | summary(row["runs"])
        self.write()
        print(line(f"{data} {net} {budget:g} {name}", row), settings, flush=True)

    def choose(
        self, runs: list[dict[str, Any]], method: Method, task: dict[str, Any]
    ) -> dict[str, Any]:
        """The best of the candidates; then that, or the best of what one option makes of it."""

        def tried(settings: dict[str, Any]) -> dict[str, Any]:
            return self.once(runs, {"settings": settings}, held_out=True, **task)

        if self.result["arguments"]["quick"]:
            method = replace(method, candidates=method.candidates[-3:-1], options=())
        if not method.candidates:
            return {}
        first = best(task["data"], [tried(settings) for settings in method.candidates])
        others = [tried(first["settings"] | option) for option in method.options]
        return dict(best(task["data"], [first, *others])["settings"])

    def ablation(self, data: str, net: str, budget: float, seeds: int, names: list[str]) -> None:
        """Variants of OnlineAM in as many epochs, on held-out samples."""
        epochs = self.epochs(data, net, "OnlineAM", budget)
        for name in names:
            choices = ABLATION[name]
            row = self.row(data, net, name, data=data, net=net, variant=name, epochs=epochs)
            task = {"data": data, "net": net, "method": "OnlineAM", "epochs": epochs}
            chosen = best(
                data,
                [
                    self.once(row["search"], {"settings": settings}, held_out=True, **task)
                    for settings in choices
                ],
            )
            for seed in range(seeds):
                key = {"settings": chosen["settings"], "seed": seed}
                self.once(row["runs"], key, held_out=True, **task)
            row |= summary(row["runs"])
            print(line(f"{data} {net} {name}", row), chosen["settings"], flush=True)
        self.write()

    def scalings(self, data: str, net: str, budget: float, seeds: int) -> None:
        """OnlineAM as it comes on the same inputs in several units, on held-out samples."""
        epochs = self.epochs(data, net, "OnlineAM", budget)
        task = {"data": data, "net": net, "method": "OnlineAM", "epochs": epochs}
        for scaling in SCALINGS:
            row = self.row(data, net, scaling, data=data, net=net, scaling=scaling, epochs=epochs)
            for seed in range(seeds):
                self.once(row["runs"], {"seed": seed}, held_out=True, scaling=scaling, **task)
            row |= summary(row["runs"])
            print(line(f"{data} {net} {scaling}", row), flush=True)
        self.write()

    def lead(self, data: str, net: str, budget: float) -> None:
        """OnlineAM beside the better Adam: by how much its score is better."""

        def row(method: str) -> dict[str, Any]:
            return self.rows.get(f"{data} · {net} · {budget} · {method}", {})

        own, others = row("OnlineAM"), [row(name) for name in BASELINES]
        if own and all(others):
            other = best(data, others, "mean")
            sign = 1 if better(data) is max else -1
            own["baseline"], own["lead"] = other["method"], sign * (own["mean"] - other["mean"])
            print(f"{data} {net} {budget:g}: {own['lead']:+.4f} beside {other['method']}")
            self.write()


def best(data: str, runs: list[dict[str, Any]], what: str = "score") -> dict[str, Any]:
    """The run of the best score; one that has diverged only if all have."""
    finite = [run for run in runs if run[what] is not None and math.isfinite(run[what])]
    chosen: dict[str, Any] = better(data)(finite or runs[:1], key=lambda run: run[what])
    return chosen


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of the scores, CPU seconds of a run."""
    scores = [math.nan if run["score"] is None else run["score"] for run in runs]
    return {
        "mean": mean(scores),
        "spread": stdev(scores) if len(scores) > 1 else None,
        "seconds": median(run["seconds"] for run in runs),
    }


def line(name: str, row: dict[str, Any]) -> str:
    spread = "" if row["spread"] is None else f" ± {row['spread']:.4f}"
    epochs = f"{row['epochs']} epochs, {row['seconds']:.2f} s"
    return f"{name:48} {row['mean']:.4f}{spread:9}  {epochs}"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Error against seconds of training, with its spread; a panel for a data set and a net."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = sorted({(row["data"], row["net"]) for row in rows})
    panels = [
        p for p in panels if len({r["budget"] for r in rows if (r["data"], r["net"]) == p}) > 1
    ]
    if not panels:
        return
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels), 4.2), squeeze=False)
    for axis, panel in zip(axes[0], panels, strict=True):
        for method in METHODS:
            own = [r for r in rows if (r["data"], r["net"], r["method"]) == (*panel, method)]
            own.sort(key=lambda row: row["seconds"])
            if own:
                sign = -1 if better(panel[0]) is max else 1
                axis.errorbar(
                    [row["seconds"] for row in own],
                    [(sign < 0) + sign * row["mean"] for row in own],
                    [row["spread"] or 0 for row in own],
                    label=method,
                    marker=".",
                    linewidth=1.3,
                    capsize=2,
                )
        axis.set(title=" ".join(panel), xlabel="CPU seconds of training", xscale="log")
    axes[0][0].set_ylabel("test error")
    axes[0][0].legend(fontsize="small", frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def usable(names: list[str]) -> list[str]:
    """The methods whose package is installed."""
    found = [name for name in names if find_spec(METHODS[name].package)]
    for name in sorted(set(names) - set(found)):
        print(f"{METHODS[name].package} is not installed, {name} is left out")
    return found


def nets_of(data: str, chosen: list[str]) -> list[str]:
    return [net for net in chosen if (net.startswith("784")) == (data in IMAGES)]


def main() -> int:
    parser = options_parser(__doc__)
    tables = [name for name in BUDGETS if name != "digits"]
    parser.add_argument("--data", nargs="+", choices=tables, default=tables)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=["784-256-128-10", "64-64"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=USUAL)
    parser.add_argument("--budget", nargs="+", type=int, help="epochs of Adam; see BUDGETS")
    parser.add_argument("--seeds", type=int, help="default 5, quick 1")
    variants = list(ABLATION)
    parser.add_argument("--variants", nargs="+", choices=variants, default=variants)
    parser.add_argument("--only", choices=["ablation", "scalings"])
    given = parser.parse_args()
    given.seeds = given.seeds or (1 if given.quick else 5)
    if given.quick:
        given.data, given.nets = ["digits"], ["64-64"]
    stem = "-".join(filter(None, ["accuracy", given.only, "quick" if given.quick else ""]))
    bench = Bench(given.output / f"{stem}.json", given)
    try:
        for data in given.data:
            for net in nets_of(data, given.nets):
                work(bench, data, net, given)
    finally:
        bench.worker.close()
    if not given.only:
        draw(list(bench.rows.values()), given.output / f"{stem}.png")
    return 0


def work(bench: Bench, data: str, net: str, given: Any) -> None:
    budgets = given.budget or BUDGETS[data]
    if given.only == "ablation":
        bench.ablation(data, net, budgets[0], given.seeds, given.variants)
    elif given.only == "scalings":
        bench.scalings(data, net, budgets[0], given.seeds)
    else:
        for budget in budgets:
            for method in usable(given.methods):
                bench.compare(data, net, budget, method, given.seeds)
            bench.lead(data, net, budget)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        attend(begin)
    else:
        sys.exit(main())
