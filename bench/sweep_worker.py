"""One side of a comparison in a process of its own: does a sweep whenever it is told to.

The parent starts it with a task and writes commands to its standard input; every command is
answered by one line of JSON. `Worker` is the parent's end. Between commands a side is idle, so
that several of them can take turns on one machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Protocol

import numpy as np
from common import thread_limits
from machine import resident_memory
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Task:
    """A problem, as files in a folder, and how to work on it."""

    folder: str  # X.npy, Y.npy, W1.npy, b1.npy, …
    widths: tuple[int, ...]
    gamma: float
    rho: float
    alpha: float
    threads: int

    def arrays(self) -> tuple[Array, Array, list[tuple[Array, Array]]]:
        folder = Path(self.folder)
        weights = [
            (np.load(folder / f"W{i}.npy"), np.load(folder / f"b{i}.npy"))
            for i in range(1, len(self.widths))
        ]
        return np.load(folder / "X.npy"), np.load(folder / "Y.npy"), weights


class Side(Protocol):
    def sweep(self) -> dict[str, Any]:
        """One sweep: its objective, "time" in seconds, "phases", what else is known."""

    def arrays(self) -> dict[str, Array]:
        """The state."""


class Amcore:
    """amcore by its public interface; every second sweep is measured."""

    def __init__(self, task: Task, backend: str, keep_products: bool = True) -> None:
        import amcore

        X, Y, weights = task.arrays()
        problem = amcore.Problem(amcore.Network(task.widths), X, Y, loss="squared")
        self.steps = amcore.iterate(
            problem,
            amcore.ThreeSplitBCD(gamma=task.gamma, rho=task.rho, alpha=task.alpha),
            max_iter=10**9,
            init=weights,
            measure_every=2,
            num_threads=task.threads,
            backend=backend,
            keep_products=keep_products,
        )
        self.step: Any = None

    def sweep(self) -> dict[str, Any]:
        start = perf_counter()
        self.step = next(self.steps)
        record = self.step.record
        # The first step contains the start: forward pass and its measurement.
        first = self.step.sweep == 1
        return {
            "time": record.time if first else perf_counter() - start,
            "objective": record.objective,
            "subgradient_distance": record.subgradient_distance,
            "phases": record.seconds,
        }

    def arrays(self) -> dict[str, Array]:
        return dict(self.step.state)


class Torch:
    """The sweep of `torch_three_split`, objective included."""

    def __init__(self, task: Task) -> None:
        import torch
        from torch_three_split import ThreeSplit

        torch.set_num_threads(task.threads)
        torch.set_grad_enabled(False)
        X, Y, weights = task.arrays()
        from_numpy = torch.from_numpy
        self.solver = ThreeSplit(
            from_numpy(X),
            from_numpy(Y),
            [(from_numpy(W), from_numpy(b)) for W, b in weights],
            task.gamma,
            task.rho,
            task.alpha,
        )

    def sweep(self) -> dict[str, Any]:
        start = perf_counter()
        self.solver.sweep()
        middle = perf_counter()
        objective = self.solver.objective()
        end = perf_counter()
        return {
            "time": end - start,
            "objective": objective,
            "phases": {"update": middle - start, "objective": end - middle},
        }

    def arrays(self) -> dict[str, Array]:
        return {name: array.numpy() for name, array in self.solver.arrays().items()}


TUNED_ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


@dataclass
class Worker:
    """The parent's end of a side.

    It is "amcore", "amcore_lean" (no products kept), "reference", "torch" or "torch_tuned".
    """

    side: str
    task: Task
    environment: dict[str, str] = field(default_factory=dict)  # beside this process's
    history: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None

    def __post_init__(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
        environment.pop("GLIBC_TUNABLES", None)
        environment |= thread_limits(self.task.threads) | self.environment
        if self.side == "torch_tuned":
            environment |= TUNED_ALLOCATOR
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.side, json.dumps(asdict(self.task))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.ready = self._answer()

    def sweep(self) -> None:
        """One more sweep, appended to the history; after a failure nothing happens."""
        answer = self.ask("sweep")
        if answer is not None:
            self.history.append(answer)

    def save(self, path: Path) -> dict[str, Array] | None:
        """The state, by way of a file."""
        if self.ask("save", str(path)) is None:
            return None
        with np.load(path) as file:
            arrays = dict(file)
        path.unlink()
        return arrays

    def ask(self, *command: str) -> dict[str, Any] | None:
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

    def __enter__(self) -> Worker:
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
            self.error = f"sweep {len(self.history) + 1}: {answer['error']}"
            return None
        return answer


def build(side: str, task: Task) -> Side:
    if side.startswith("torch"):
        return Torch(task)
    backend = "reference" if side == "reference" else "native"
    return Amcore(task, backend, keep_products=side != "amcore_lean")


def preload(side: str) -> None:
    """Import what the side needs, so that its memory can be told from the problem's."""
    if side.startswith("torch"):
        import torch_three_split  # noqa: F401
    else:
        import amcore  # noqa: F401


def page_faults() -> int | None:
    try:
        import resource
    except ModuleNotFoundError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def main() -> None:
    side, task = sys.argv[1], Task(**json.loads(sys.argv[2]))
    # What a library prints must not end up among the answers.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(**answer: Any) -> None:
        channel.write(json.dumps(answer) + "\n")
        channel.flush()

    try:
        preload(side)
        imported = resident_memory("VmRSS")
        work = build(side, task)
        reply(imported_bytes=imported)
        for line in sys.stdin:
            command, *arguments = json.loads(line)
            if command == "sweep":
                before, start = page_faults(), process_time()
                answer = work.sweep()
                answer["cpu"] = process_time() - start
                after = page_faults()
                if before is not None and after is not None:
                    answer["page_faults"] = after - before
                reply(**answer)
            elif command == "save":
                state: dict[str, Any] = work.arrays()
                np.savez(arguments[0], **state)
                reply()
            elif command == "memory":
                reply(peak_bytes=resident_memory("VmHWM"))
    except Exception as error:
        reply(error=f"{type(error).__name__}: {error}".splitlines()[0])


if __name__ == "__main__":
    main()
