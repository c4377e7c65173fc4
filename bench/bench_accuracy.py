"""Test accuracy against time on MNIST and Fashion-MNIST: the schemes beside first-order methods.

    python bench/bench_accuracy.py            # a minute a method and data set, some 15 in all
    python bench/bench_accuracy.py --quick    # two minutes; says so in its result
    python bench/bench_accuracy.py --trial    # the trial that the settings come from

All train the same network, 784-300-300-10 unless told otherwise, in float32 on all 60000 samples,
each in a process of its own for the same wall-clock time; evaluating does not count. The schemes
and torch's Adam minimise the squared loss, the MLPClassifier of scikit-learn, which has no other,
cross-entropy. The schemes sweep over the full batch, the first-order methods take minibatches.
ADMM needs a smooth activation and has sigmoids, all others relu.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from common import (
    Array,
    answer,
    child,
    data_folder,
    heading,
    options_parser,
    write,
)

# Chosen by --trial: each of the candidates below trained on the first 50000 training samples of
# MNIST for as many sweeps or epochs as TRIAL says, and the most accurate on the last 10000 was
# taken, for Fashion-MNIST as well. The test samples were not looked at. Of what was tried beyond
# them (γ from 0.01 to 10, β to 10, ρ from 0.001, ε to 1, ridges from 0.001 to 1000, not in every
# combination) nothing was better.
SETTINGS: dict[str, dict[str, float]] = {
    "three-split": {"gamma": 1.0, "ridge": 100.0},
    "resnet": {"gamma": 1.0, "ridge": 100.0},
    "two-split": {"gamma": 1.0, "ridge": 100.0},
    "admm": {"beta": 1.0, "ridge": 1.0},
    "mdlam": {"rho": 0.1, "epsilon": 0.01, "ridge": 100.0},
    "scikit-learn": {"rate": 3e-3, "batch": 200},
    "torch": {"rate": 1e-3, "batch": 128},
}
CANDIDATES: dict[str, dict[str, tuple[float, ...]]] = {
    "three-split": {"gamma": (0.1, 1.0), "ridge": (1.0, 10.0, 100.0)},
    "resnet": {"gamma": (0.1, 1.0), "ridge": (1.0, 10.0, 100.0)},
    "two-split": {"gamma": (0.1, 1.0), "ridge": (1.0, 10.0, 100.0)},
    "admm": {"beta": (0.1, 1.0), "ridge": (1.0, 10.0)},
    "mdlam": {"rho": (0.1,), "epsilon": (0.01,), "ridge": (1.0, 10.0, 100.0)},
    "scikit-learn": {"rate": (1e-3, 3e-3), "batch": (200, 1000)},
    "torch": {"rate": (1e-3, 3e-3), "batch": (128, 512)},
}
TRIAL = {"sweeps": 20, "epochs": 2}
DATA = ("mnist", "fashion-mnist")
HELD_OUT = 10000

MODULES = {"scikit-learn": "sklearn.neural_network", "torch": "torch"}

Predict = Callable[[Array], Array]
Steps = Iterator[tuple[float, Predict]]  # after every sweep or epoch: train objective, classifier


def scheme_steps(
    X: Array, y: Array, hidden: list[int], threads: int, method: str, **given: float
) -> Steps:
    import amcore
    from amcore.compare import SETTINGS as KNOWN

    known, ridge = KNOWN[method], given.pop("ridge")
    network = amcore.Network([X.shape[1], *hidden, 10], known.activation, skip=known.skip)
    problem = amcore.Problem(network, X, y, weight_regularizer=amcore.regularizers.ridge(ridge))
    scheme = dataclasses.replace(known.scheme, **given)
    for step in amcore.iterate(
        problem, scheme, max_iter=10**9, measure_every=10**9, num_threads=threads
    ):
        yield step.record.objective, step.predict


def sklearn_steps(
    X: Array, y: Array, hidden: list[int], threads: int, method: str, rate: float, batch: int
) -> Steps:
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier(hidden, batch_size=batch, learning_rate_init=rate, random_state=0)
    while True:
        net.partial_fit(X, y, classes=np.arange(10))
        yield float(net.loss_), net.predict


def torch_steps(
    X: Array, y: Array, hidden: list[int], threads: int, method: str, rate: float, batch: int
) -> Steps:
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    layers: list[nn.Module] = []
    for inputs, outputs in zip([X.shape[1], *hidden], [*hidden, 10], strict=True):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    adam = torch.optim.Adam(net.parameters(), lr=rate)
    inputs_, targets = torch.from_numpy(X), torch.from_numpy(np.eye(10, dtype=X.dtype)[y])

    def predict(samples: Array) -> Array:
        with torch.no_grad():
            found: Array = net(torch.from_numpy(samples)).argmax(dim=1).numpy()
        return found

    while True:
        total = 0.0
        for chosen in torch.randperm(len(X)).split(batch):
            adam.zero_grad()
            loss = (net(inputs_[chosen]) - targets[chosen]).square().sum() / 2
            (loss / len(chosen)).backward()
            adam.step()
            total += loss.item()
        yield total, predict


def train(
    folder: str,
    method: str,
    settings: dict[str, float],
    hidden: list[int],
    threads: int,
    seconds: float,
    most: int,
    samples: int,
    validate: bool,
) -> list[tuple[float, float, float]]:
    """[(seconds of training, accuracy, train objective)] after every sweep or epoch, `most` of
    them; with `validate`, the accuracy on held-out training samples."""
    from amcore.datasets import load_mnist_folder

    import_module(MODULES.get(method, "amcore.compare"))  # not to be timed
    X, y, X_test, y_test = load_mnist_folder(folder)
    if validate:
        X, y, X_test, y_test = X[:-HELD_OUT], y[:-HELD_OUT], X[-HELD_OUT:], y[-HELD_OUT:]
    first_order = {"scikit-learn": sklearn_steps, "torch": torch_steps}
    steps = first_order.get(method, scheme_steps)(
        X[:samples], y[:samples], hidden, threads, method, **settings
    )
    history: list[tuple[float, float, float]] = []
    spent = 0.0
    while spent < seconds and len(history) < most:
        start = perf_counter()
        objective, predict = next(steps)
        spent += perf_counter() - start
        history.append((spent, float(np.mean(predict(X_test) == y_test)), objective))
    return history


def usable(names: list[str]) -> list[str]:
    """The methods whose package is installed."""
    found = [name for name in names if find_spec(MODULES.get(name, "amcore").partition(".")[0])]
    for name in set(names) - set(found):
        print(f"{name} is not installed and left out")
    return found


def trial(task: dict[str, Any], methods: list[str], threads: int) -> dict[str, Any]:
    """Accuracy on the held-out samples for every candidate."""
    reached: dict[str, Any] = {}
    for method in methods:
        grid = CANDIDATES[method]
        for values in product(*grid.values()):
            settings = dict(zip(grid, values, strict=True))
            if method in MODULES:
                settings["batch"] = int(settings["batch"])
            most = TRIAL["epochs" if method in MODULES else "sweeps"]
            chosen = {"method": method, "settings": settings, "most": most}
            try:
                history = child(__file__, task | chosen, threads)
            except RuntimeError as error:
                print(f"{method:14} {error}")
                continue
            shown = ", ".join(f"{name} {value:g}" for name, value in settings.items())
            print(f"{method:14} {shown:40} {history[-1][1]:.4f} after {len(history)}", flush=True)
            reached.setdefault(method, []).append({"settings": settings, "history": history})
    return reached


def draw(runs: dict[str, dict[str, Any]], path: Path) -> None:
    """Test error against seconds, a panel a data set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(runs), figsize=(5.5 * len(runs), 4.2), squeeze=False)
    for axis, (name, methods) in zip(axes[0], runs.items(), strict=True):
        for method, run in methods.items():
            seconds, accuracy, _ = zip(*run["history"], strict=True)
            line = ".--" if method in MODULES else ".-"
            errors = [1 - share for share in accuracy]
            axis.plot(seconds, errors, line, label=method, linewidth=1.3, markersize=3)
        axis.set(title=name, xlabel="seconds of training", xscale="log", yscale="log")
    axes[0][0].set_ylabel("test error")
    axes[0][0].legend(fontsize="small", frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> int:
    parser = options_parser(__doc__)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--methods", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--hidden", nargs="+", type=int, default=[300, 300])
    parser.add_argument("--seconds", type=float, help="of training; default 60, quick 5")
    parser.add_argument("--threads", type=int, default=0, help="default: all cores")
    parser.add_argument("--trial", action="store_true", help="try settings on held-out samples")
    given = parser.parse_args()
    given.seconds = given.seconds or (5 if given.quick else 60)
    given.methods = usable(given.methods)

    result = heading("accuracy", given, "torch", "scikit-learn")
    threads = given.threads or result["machine"]["cores"]
    result |= {"threads": threads, "settings": SETTINGS, "runs": {}}
    for name in given.data:
        folder = data_folder(name)
        if folder is None:
            print(f"{name}: no such folder in $AMCORE_DATA, left out")
            continue
        task = {
            "folder": str(folder),
            "hidden": given.hidden,
            "threads": threads,
            "seconds": 1e9 if given.trial else given.seconds,
            "most": 10**9,
            "samples": 6000 if given.quick else 60000,
            "validate": given.trial,
        }
        if given.trial:
            result["runs"][name] = trial(task, given.methods, threads)
            continue
        runs = result["runs"][name] = {}
        for method in given.methods:
            chosen = {"method": method, "settings": SETTINGS[method]}
            try:
                history = child(__file__, task | chosen, threads)
            except RuntimeError as error:
                print(f"{name:14} {method:14} {error}")
                result.setdefault("errors", []).append(str(error))
                continue
            best = max(accuracy for _, accuracy, _ in history)
            runs[method] = {"history": history, "best": best, "last": history[-1][1]}
            print(
                f"{name:14} {method:14} {len(history):5} sweeps or epochs, "
                f"{history[-1][0]:6.1f} s, test accuracy {history[-1][1]:.4f}, at best {best:.4f}",
                flush=True,
            )
    if not result["runs"]:
        return 0
    stem = "accuracy-trial" if given.trial else "accuracy"
    write(result, given.output / f"{stem}.json")
    if not given.trial:
        draw(result["runs"], given.output / f"{stem}.png")
    return 0


if __name__ == "__main__":
    sys.exit(0 if answer(train) else main())
