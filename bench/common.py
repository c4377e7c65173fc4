"""What the benchmarks share: data, processes of their own, fits, the file of the result."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
from machine import describe, now, versions
from numpy.typing import NDArray

Array = NDArray[Any]

HERE = Path(__file__).resolve().parent


def data_folder(name: str) -> Path | None:
    """The data set's folder in $AMCORE_DATA, else in ../shared/data beside the repository."""
    places = [HERE.parents[1] / "shared" / "data"]
    if "AMCORE_DATA" in os.environ:
        places.insert(0, Path(os.environ["AMCORE_DATA"]))
    return next((place / name for place in places if (place / name).is_dir()), None)


def load_images() -> tuple[str, Array, Array]:
    """X (60000, 784) float32 and labels: MNIST's training set, or random of that shape."""
    folder = data_folder("mnist")
    if folder is not None:
        from amcore.datasets import load_mnist_folder

        split = load_mnist_folder(folder)
        return "mnist", split.X_train, split.y_train
    generator = np.random.default_rng(0)
    X = generator.random((60000, 784), dtype=np.float32)
    X[X < 0.8] = 0  # as MNIST, mostly zeros
    return "random", X, generator.integers(0, 10, len(X))


def options_parser(text: str | None) -> argparse.ArgumentParser:
    """With what every `bench_….py` takes; the first line of their text says what they do."""
    parser = argparse.ArgumentParser(description=(text or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small, and too short to be quoted")
    parser.add_argument("--output", type=folder, default=str(HERE / "results"), help="a folder")
    return parser


def folder(name: str) -> Path:
    """Made before any work starts, lest what is measured cannot be written."""
    path = Path(name)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{name}: {error.strerror}") from None
    return path


def heading(benchmark: str, options: argparse.Namespace, *packages: str) -> dict[str, Any]:
    """What every result of one build begins with; amcore gives its own account of it."""
    from amcore._isa import config

    return circumstances(benchmark, options, "amcore", *packages) | {"amcore": config()}


def circumstances(benchmark: str, options: argparse.Namespace, *packages: str) -> dict[str, Any]:
    """What every result begins with, whatever is measured."""
    return {
        "benchmark": benchmark,
        "date": now(),
        "quotable": not options.quick,
        # without where files lie on this machine
        "arguments": {
            k: v.name if isinstance(v, Path) else v
            for k, v in vars(options).items()
            if k not in ("output", "builds")
        },
        "machine": describe(),
        "versions": versions("numpy", *packages),
    }


def write(result: dict[str, Any], path: Path) -> None:
    save(result, path)
    print(f"\nwritten to {path}")


def save(result: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(plain(result), indent=1, ensure_ascii=False) + "\n", "utf-8")


def plain(value: Any) -> Any:
    """For JSON, which has no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def quotient(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """Slope of log value on log size by least squares."""
    if len(set(sizes)) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def thread_limits(threads: int) -> dict[str, str]:
    """Environment in which no team beyond that size is started, NumPy's BLAS included."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def child(script: str, task: dict[str, Any], threads: int, **environment: str) -> Any:
    """What `answer` of the script makes of the task, in a process of its own."""
    done = subprocess.run(
        [sys.executable, script, "--task", json.dumps(task)],
        capture_output=True,
        text=True,
        env=os.environ | thread_limits(threads) | environment,
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise RuntimeError(f"{Path(script).name} failed, {task}: {last}")
    return json.loads(done.stdout)


def answer(work: Callable[..., Any]) -> bool:
    """In a process that `child` started: do the work, print the answer and say True."""
    if sys.argv[1:2] != ["--task"]:
        return False
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not end up in the answer
    json.dump(plain(work(**json.loads(sys.argv[2]))), channel)
    channel.close()
    return True


class Companion:
    """A process of its own that stays, and answers a command by a line of JSON.

    Between commands it is idle, so that several can take turns on one machine. `ready` is what it
    says once it has begun. After a failure, which `error` tells, it does nothing more.
    """

    def __init__(self, script: str, *arguments: str, environment: Mapping[str, str]) -> None:
        self.error: str | None = None
        self.process = subprocess.Popen(
            [sys.executable, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.ready = self._answer()

    def ask(self, *command: Any) -> dict[str, Any] | None:
        if self.error is not None:
            return None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.error = "the process ended"
            return None
        return self._answer()

    def close(self) -> None:
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):  # a process that was ended has left an unread command
                self.process.stdin.close()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.error = f"the process ended with status {self.process.wait()}"
            return None
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.error = answer["error"]
            return None
        return answer


Commands = Mapping[str, Callable[..., dict[str, Any]]]


def attend(begin: Callable[[], tuple[dict[str, Any], Commands]]) -> None:
    """In a `Companion`: begin, and do what is asked for by name until there is nothing more."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not end up among the answers

    def reply(answer: dict[str, Any]) -> None:
        channel.write(json.dumps(answer) + "\n")
        channel.flush()

    try:
        ready, commands = begin()
        reply(ready)
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            reply(commands[name](*arguments))
    except Exception as error:
        reply({"error": f"{type(error).__name__}: {error}".splitlines()[0]})
