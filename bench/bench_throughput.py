"""Small problems: runs per second on the handwritten digits, 64-32-10, n = 1797.

    python bench/bench_throughput.py            # needs scikit-learn; torch where it is installed
    python bench/bench_throughput.py --quick    # a minute; says so in its result

A run is a random start and `--sweeps` three-splitting sweeps with the objective of each. Sides, in
turns: `solve_many`, one run per thread with no Python between its sweeps; `solve`, one run after
another on one thread, and on all of them ("team"); the NumPy reference; the same sweep in torch
(`torch_three_split.py`) on one thread, where a small problem is fastest. First all sides must give
the same objectives.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from common import heading, options_parser, write
from sklearn.datasets import load_digits

import amcore

WIDTHS = (64, 32, 10)
AGREE = {"float64": 1e-9, "float32": 1e-3}  # relative difference of the objectives
Runs = Callable[[range], list[np.ndarray]]  # seeds → objectives after every sweep


def sides(dtype: str, sweeps: int, threads: int) -> dict[str, Runs]:
    X, y = load_digits(return_X_y=True)
    network = amcore.Network(list(WIDTHS))
    problem = amcore.Problem(network, (X / 16).astype(dtype), y)
    scheme = amcore.ThreeSplitBCD(gamma=1.0, alpha=1.0)
    options: dict[str, Any] = {"max_iter": sweeps, "measure_every": sweeps + 1}

    def many(seeds: range) -> list[np.ndarray]:
        runs = amcore.solve_many(problem, scheme, seed=seeds, num_threads=threads, **options)
        return [run.trace.objective[1:] for run in runs]

    def one_by_one(seeds: range, backend: str, team: int = 1) -> list[np.ndarray]:
        return [
            amcore.solve(
                problem, scheme, seed=seed, num_threads=team, backend=backend, **options
            ).trace.objective[1:]
            for seed in seeds
        ]

    found: dict[str, Runs] = {
        "solve_many": many,
        "solve": lambda seeds: one_by_one(seeds, "native"),
        "solve team": lambda seeds: one_by_one(seeds, "native", threads),
        "reference": lambda seeds: one_by_one(seeds, "reference"),
    }
    try:
        import torch
        from torch_three_split import ThreeSplit
    except ImportError:
        return found
    torch.set_num_threads(1)
    data = torch.from_numpy(problem.X), torch.from_numpy(problem.Y)

    def with_torch(seeds: range) -> list[np.ndarray]:
        objectives = []
        for seed in seeds:
            start = amcore.initialization.he.weights(network, seed, np.dtype(dtype))
            weights = [tuple(torch.from_numpy(array) for array in pair) for pair in start]
            engine = ThreeSplit(*data, weights, 1.0, 1.0, 1.0)
            run = []
            for _ in range(sweeps):
                engine.sweep()
                run.append(engine.objective())
            objectives.append(np.array(run))
        return objectives

    return found | {"torch": with_torch}


def differences(found: dict[str, Runs]) -> dict[str, float]:
    """Largest relative difference of each side's objectives from those of `solve_many`."""
    seeds = range(2)
    expected = found["solve_many"](seeds)
    return {
        side: max(
            float(np.max(np.abs(got / want - 1)))
            for got, want in zip(run(seeds), expected, strict=True)
        )
        for side, run in found.items()
    }


def measure(found: dict[str, Runs], rounds: int, counts: dict[str, int]) -> dict[str, list[float]]:
    """Runs per second of each side in every round, after a warm-up."""
    rates: dict[str, list[float]] = {side: [] for side in found}
    for turn in range(rounds + 1):
        for side, run in found.items():
            seeds = range(counts[side] if turn else 1)
            start = perf_counter()
            run(seeds)
            if turn:
                rates[side].append(len(seeds) / (perf_counter() - start))
    return rates


def main() -> int:
    parser = options_parser(__doc__)
    parser.add_argument("--sweeps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=60, help="runs a round of solve_many")
    parser.add_argument("--threads", type=int, default=0, help="of solve_many (0: OpenMP's)")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.runs = 2, 10
    threads = given.threads or amcore._core.max_threads()

    result = heading("throughput", given, "torch") | {
        "widths": WIDTHS,
        "sweeps": given.sweeps,
        "threads": threads,
    }
    status = 0
    for dtype in given.dtypes:
        found = sides(dtype, given.sweeps, threads)
        apart = differences(found)
        slow = max(2, given.runs // 10)
        counts = {side: given.runs if side.startswith("solve") else slow for side in found}
        rates = measure(found, given.rounds, counts)
        typical = {side: median(values) for side, values in rates.items()}
        result[dtype] = {
            "differences": apart,
            "runs_per_second": typical,
            "microseconds_per_sweep": {s: 1e6 / r / given.sweeps for s, r in typical.items()},
            "ratios": {
                side: {
                    "median": median(
                        a / b for a, b in zip(rates["solve_many"], rates[side], strict=True)
                    ),
                    "solve": median(
                        a / b for a, b in zip(rates["solve"], rates[side], strict=True)
                    ),
                    "solve team": median(
                        a / b for a, b in zip(rates["solve team"], rates[side], strict=True)
                    ),
                }
                for side in found
            },
        }
        for side in found:
            print(
                f"{dtype}  {side:10}  {typical[side]:9.2f} runs/s"
                f"  solve_many/this {result[dtype]['ratios'][side]['median']:6.2f}"
                f"  solve/this {result[dtype]['ratios'][side]['solve']:6.2f}"
                f"  team/this {result[dtype]['ratios'][side]['solve team']:6.2f}"
                f"  objectives differ by {apart[side]:.1e}"
            )
        if max(apart.values()) > AGREE[dtype]:
            print(f"{dtype}: the sides differ", file=sys.stderr)
            status = 1
    write(result, given.output / "throughput.json")
    return status


if __name__ == "__main__":
    sys.exit(main())
