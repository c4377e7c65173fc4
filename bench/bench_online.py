"""OnlineAM beside torch's Adam: seconds of an epoch, and accuracy after a few of them.

    python bench/bench_online.py            # half an hour
    python bench/bench_online.py --quick    # two minutes; says so in its result

Speed: an epoch of 60000 samples of MNIST in float32, with and without the safeguard, beside Adam of
torch at batches of 128 and 250, each in a process of its own, in turns; wall time, and CPU time for
machines that others work on too. For OnlineAM also the flops of its products per second.

Accuracy: both minimise cross-entropy with labels smoothed by 0.1 and a rate that falls linearly to
0. OnlineAM has the settings it comes with and a ridge of 1e-4. Adam, at batches of 128, has the raw
pixels or the same projected and whitened inputs, and of RATES the one with the best accuracy on the
last 10000 training samples, for every number of epochs and either input. Whitening counts as time.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from statistics import mean, median, stdev
from time import perf_counter, process_time
from typing import Any

import numpy as np
from common import Array, answer, child, data_folder, heading, options_parser, write

NETS = {"784-256-128-10": [256, 128], "784-1000-10": [1000]}
RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 2e-2)
HELD_OUT = 10000
RANK, LAM = 150, 1.0  # of OnlineAM


def data(name: str, held_out: bool) -> tuple[Array, Array, Array, Array]:
    """Samples to train, and to test: the test set, or the last of the training set."""
    from amcore.datasets import load_mnist_folder

    folder = data_folder(name)
    if folder is None:
        raise FileNotFoundError(f"{name} is not there; set AMCORE_DATA")
    split = load_mnist_folder(folder)
    X, y = split.X_train, split.y_train
    if held_out:
        return X[:-HELD_OUT], y[:-HELD_OUT], X[-HELD_OUT:], y[-HELD_OUT:]
    return X, y, split.X_test, split.y_test


def whitened(X: Array, X_test: Array) -> tuple[Array, Array]:
    """What OnlineAM makes of its inputs."""
    center = X[:: max(1, len(X) // 10000)].mean(axis=0)
    sample = X[:: max(1, len(X) // 10000)] - center
    covariance = sample.T @ sample / len(sample)
    values, vectors = np.linalg.eigh(covariance.astype(np.float64))
    scale = values[-RANK:] + LAM * np.trace(covariance) / len(covariance)
    basis = (vectors[:, -RANK:] / np.sqrt(scale)).astype(X.dtype)
    return (X - center) @ basis, (X_test - center) @ basis


def online(
    name: str, hidden: list[int], epochs: int, seed: int, threads: int, held_out: bool, **given: Any
) -> dict[str, Any]:
    import amcore

    X, y, X_test, y_test = data(name, held_out)
    problem = amcore.Problem(
        amcore.Network([X.shape[1], *hidden, 10], "relu"),
        X,
        y,
        "cross_entropy",
        loss_scale="mean",
        weight_regularizer=amcore.regularizers.ridge(1e-4),
    )
    scheme = amcore.OnlineAM(**given)
    start, seconds, cpu = perf_counter(), [], [process_time()]
    for step in amcore.iterate(problem, scheme, max_iter=epochs, seed=seed, num_threads=threads):
        seconds.append(step.record.time)
        cpu.append(process_time())
    whole = perf_counter() - start
    return {
        "accuracy": step.score(X_test, y_test),
        "seconds": whole,
        "epoch": median(seconds),
        "cpu": median(np.diff(cpu)[1:].tolist() or np.diff(cpu).tolist()),  # the first measures f_0
        "rejections": float(np.sum(step.trace.monitors["rejections"])),
        "A1": amcore.certify(step.trace).verdicts["A1"].verdict,
    }


def adam(
    name: str,
    hidden: list[int],
    epochs: int,
    seed: int,
    threads: int,
    held_out: bool,
    rate: float,
    batch: int,
    projected: bool,
) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    X, y, X_test, y_test = data(name, held_out)
    start = perf_counter()
    if projected:
        X, X_test = whitened(X, X_test)
    widths = [X.shape[1], *hidden, 10]
    layers: list[torch.nn.Module] = []
    for below, above in itertools.pairwise(widths):
        layers += [torch.nn.Linear(below, above), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y.astype(np.int64))
    optimizer = torch.optim.Adam(model.parameters(), rate)
    count = -(-len(X) // batch) * epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: max(0.0, 1 - k / count))
    seconds, cpu = [], [process_time()]
    for _ in range(epochs):
        begin = perf_counter()
        for rows in torch.randperm(len(X)).split(batch):
            optimizer.zero_grad()
            loss(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
        seconds.append(perf_counter() - begin)
        cpu.append(process_time())
    whole = perf_counter() - start
    with torch.no_grad():
        found = model(torch.from_numpy(X_test)).argmax(dim=1).numpy()
    return {
        "accuracy": float(np.mean(found == y_test)),
        "seconds": whole,
        "epoch": median(seconds),
        "cpu": median(np.diff(cpu).tolist()),
    }


WORK = {"online": online, "adam": adam}


def work(method: str, **task: Any) -> dict[str, Any]:
    return WORK[method](**task)


def flops(hidden: list[int], batch: int, gram_every: int, n: int) -> float:
    """Of OnlineAM's products in an epoch."""
    widths = [RANK, *hidden, 10]
    total = 0.0
    for i, (below, above) in enumerate(itertools.pairwise(widths)):
        total += 4.0 * n * below * above
        if i > 0:
            total += 2.0 * n * below * above + 2.0 * n / batch * below**2 * above
            total += (2.0 * batch * below**2 + 8 / 3 * below**3) * n / batch / gram_every
    return total


def measure_speed(options: Any) -> list[dict[str, Any]]:
    rows = []
    for net in options.nets:
        common = {
            "name": "mnist",
            "hidden": NETS[net],
            "epochs": 2 if options.quick else 4,
            "seed": 0,
            "threads": options.threads,
            "held_out": False,
        }
        adams = {"rate": 1e-3, "projected": False}
        tasks = {
            "OnlineAM, no safeguard": {"method": "online", "safeguard": 0.0},
            "OnlineAM, safeguard every fifth": {"method": "online", "safeguard_every": 5},
            "OnlineAM": {"method": "online"},
            "Adam, 128": {"method": "adam", "batch": 128, **adams},
            "Adam, 250": {"method": "adam", "batch": 250, **adams},
        }
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in tasks}
        for _ in range(1 if options.quick else options.rounds):
            for name, task in tasks.items():
                found[name].append(child(__file__, common | task, options.threads))
        row: dict[str, Any] = {"net": net}
        for what in ("epoch", "cpu"):
            row[what] = {name: min(run[what] for run in runs) for name, runs in found.items()}
            fastest = row[what]["OnlineAM, no safeguard"]
            for batch in (128, 250):
                row[f"{what} of Adam's, {batch}"] = fastest / row[what][f"Adam, {batch}"]
        work = flops(NETS[net], 250, 50 if max(NETS[net]) > 512 else 20, 60000)
        row["gigaflops a CPU second"] = work / row["cpu"]["OnlineAM, no safeguard"] / 1e9
        rows.append(row)
        for key, value in row.items():
            print(key, value, flush=True)
    return rows


def measure_accuracy(options: Any) -> list[dict[str, Any]]:
    rows = []
    for name in options.data:
        for net in options.nets:
            for epochs in options.epochs:
                rows += compare(options, name, net, epochs)
    return rows


def compare(options: Any, name: str, net: str, epochs: int) -> list[dict[str, Any]]:
    common = {"name": name, "hidden": NETS[net], "epochs": epochs, "threads": options.threads}
    tasks: dict[str, dict[str, Any]] = {"OnlineAM": {"method": "online"}}
    for projected in (False, True):
        task = {"method": "adam", "batch": 128, "projected": projected}
        found = {
            rate: child(
                __file__,
                common | task | {"rate": rate, "seed": 0, "held_out": True},
                options.threads,
            )["accuracy"]
            for rate in options.rates
        }
        best = max(found, key=lambda rate: found[rate])
        tasks["Adam, projected" if projected else "Adam, raw"] = task | {"rate": best}
    rows = []
    for method, task in tasks.items():
        runs = [
            child(__file__, common | task | {"seed": seed, "held_out": False}, options.threads)
            for seed in range(options.seeds)
        ]
        accuracy = [run["accuracy"] for run in runs]
        row = {
            "data": name,
            "net": net,
            "epochs": epochs,
            "method": method,
            "rate": task.get("rate"),
            "accuracy": mean(accuracy),
            "spread": stdev(accuracy) if len(accuracy) > 1 else None,
            "seconds": median(run["seconds"] for run in runs),
            "runs": runs,
        }
        rows.append(row)
        print(
            f"{name} {net} {epochs:3} epochs  {method:16} {row['accuracy']:.4f}"
            f"  {row['seconds']:.2f} s",
            flush=True,
        )
    return rows


def main() -> None:
    parser = options_parser(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--epochs", type=int, nargs="+", default=[4, 12])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--only", choices=["speed", "accuracy"])
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.rates, options.epochs = 1, [1e-3], [1]
        options.nets, options.data = ["784-256-128-10"], ["mnist"]
    result = heading("online", options, "torch")
    if options.only != "accuracy":
        result["speed"] = measure_speed(options)
    if options.only != "speed":
        result["accuracy"] = measure_accuracy(options)
    name = f"online-{options.only}.json" if options.only else "online.json"
    write(result, Path(options.output) / name)


if __name__ == "__main__":
    if answer(work):
        sys.exit()
    main()
