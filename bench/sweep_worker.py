"""One side of a comparison in a process of its own: does a sweep whenever it is told to.

The parent starts it with a task; `Worker` is its end.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Protocol

import numpy as np
from common import Commands, Companion, attend, thread_limits
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


class Worker(Companion):
    """The parent's end of a side.

    It is "amcore", "amcore_lean" (no products kept), "reference", "torch" or "torch_tuned".
    """

    def __init__(self, side: str, task: Task, environment: Mapping[str, str] | None = None) -> None:
        """`environment`: what is set beside this process's own."""
        self.history: list[dict[str, Any]] = []
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
        inherited.pop("GLIBC_TUNABLES", None)
        inherited |= thread_limits(task.threads) | dict(environment or {})
        if side == "torch_tuned":
            inherited |= TUNED_ALLOCATOR
        super().__init__(__file__, side, json.dumps(asdict(task)), environment=inherited)

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

    def _answer(self) -> dict[str, Any] | None:
        answer = super()._answer()
        if answer is None:
            self.error = f"sweep {len(self.history) + 1}: {self.error}"
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

    def begin() -> tuple[dict[str, Any], Commands]:
        preload(side)
        imported = resident_memory("VmRSS")
        work = build(side, task)

        def sweep() -> dict[str, Any]:
            before, start = page_faults(), process_time()
            answer = work.sweep()
            answer["cpu"] = process_time() - start
            after = page_faults()
            if before is not None and after is not None:
                answer["page_faults"] = after - before
            return answer

        def save(path: str) -> dict[str, Any]:
            state: dict[str, Any] = work.arrays()
            np.savez(path, **state)
            return {}

        def memory() -> dict[str, Any]:
            return {"peak_bytes": resident_memory("VmHWM")}

        return {"imported_bytes": imported}, {"sweep": sweep, "save": save, "memory": memory}

    attend(begin)


if __name__ == "__main__":
    main()
