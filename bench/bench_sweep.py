"""One three-splitting sweep: amcore against PyTorch and against the NumPy reference.

    python bench/bench_sweep.py            # everything
    python bench/bench_sweep.py --quick    # a few minutes; says so in its result

First it checks that all sides compute the same iterates. Then whole sweeps, objective included,
are timed in turns: amcore, torch, torch with its allocator tuned, amcore with dist(0, ∂f), step
norms and decreases measured, and again; each side in a process of its own that is idle while it is
not its turn. Then, with the memory of torch given back, amcore and amcore without kept products
("lean") take turns. The ratios are what to quote: seconds depend on the machine and on what else it
does.

Flops of a sweep over n samples, per layer with d inputs and e outputs (square: d = e), where a
product of n × d by d × e is 2 n d e and a symmetric one half of that. Layer 1 has no hidden block
below it and a constant Gram matrix:

                                         layers 2 … N          layer 1      square hidden layer
      W s                                2 n d e                                  2 n d²
      K (U − b − W s)                    2 n d e                                  2
      P = W V, kept for the next sweep   2 n d e               2 n d e            2
      R Vᵀ                               2 n d e               2 n d e            2
      V Vᵀ                               n d²                                     1
                                                                                  9 n d²

"performed" is this; "needed" counts d e for d² in the last line too, the common count of the sweep.
Both leave out what does not grow with n (factorisations of the small systems, done in float64).
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy_product
from common import heading, load_images, options_parser, write
from machine import Peak, memory
from numpy.typing import NDArray
from sweep_worker import Task, Worker

Array = NDArray[Any]

# What runs beside amcore, and how many arrays of n samples of the widest layer it allocates for its
# sweeps: more where nothing is given back.
BESIDE = {"torch": 10, "torch_tuned": 30}
CHECKED_SWEEPS = 3
ITERATES_AGREE = 1e-8  # float64, relative


@dataclass(frozen=True)
class Net:
    widths: tuple[int, ...]
    alpha: float
    gamma: float = 1.0
    rho: float = 1.0

    @property
    def state_entries(self) -> int:
        """Per sample: X, U and V."""
        return self.widths[0] + 2 * sum(self.widths[1:])


NETS = {
    "3x1500": Net((784, *[1500] * 3, 10), alpha=5.0),
    "10x600": Net((784, *[600] * 10, 10), alpha=1.0),
}


def performed_flops(net: Net, n: int) -> float:
    """What amcore does in a sweep that is not measured, as listed above."""
    total = 0.0
    for i, (d, e) in enumerate(pairwise(net.widths)):
        total += 4.0 * n * d * e if i == 0 else 8.0 * n * d * e + n * d * d
    return total


def needed_flops(net: Net, n: int) -> float:
    """The common count, as listed above."""
    return sum(
        (4.0 if i == 0 else 9.0) * n * d * e for i, (d, e) in enumerate(pairwise(net.widths))
    )


# Problems.


def write_problem(folder: Path, net: Net, X: Array, labels: Array, dtype: str) -> None:
    """The problem's files for `Task`; float64 starts from the same numbers as float32."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "X.npy", X.astype(dtype))
    np.save(folder / "Y.npy", np.eye(net.widths[-1], dtype=dtype)[labels])
    generator = np.random.default_rng(1)
    for i, (d, e) in enumerate(pairwise(net.widths), start=1):
        W = 0.01 * generator.standard_normal((e, d), dtype=np.float32)
        np.save(folder / f"W{i}.npy", W.astype(dtype))
        np.save(folder / f"b{i}.npy", np.full(e, np.float32(0.1)).astype(dtype))


def task(folder: Path, net: Net, threads: int) -> Task:
    return Task(str(folder), net.widths, net.gamma, net.rho, net.alpha, threads)


# Checks.


@dataclass
class Iterates:
    """Where a side is after some sweeps."""

    objective: list[float]
    subgradient_distance: float | None
    arrays: dict[str, Array] | None
    error: str | None


def iterates(side: str, problem: Task, folder: Path) -> Iterates:
    with Worker(side, problem) as worker:
        for _ in range(CHECKED_SWEEPS):
            worker.sweep()
        arrays = worker.save(folder / f"{side}.npz")
        history = worker.history
        distances = [step.get("subgradient_distance") for step in history]
        measured = [x for x in distances if x is not None and math.isfinite(x)]
        return Iterates(
            [step["objective"] for step in history],
            measured[-1] if measured else None,
            arrays,
            worker.error,
        )


def difference(a: Iterates, b: Iterates) -> dict[str, float] | None:
    """Relative differences, the largest over sweeps or arrays of a kind; None after a failure."""
    if a.arrays is None or b.arrays is None:
        return None
    result = {
        "objective": max(abs(x - y) / abs(y) for x, y in zip(a.objective, b.objective, strict=True))
    }
    for name, expected in b.arrays.items():
        expected = expected.astype(np.float64)
        gap = float(np.linalg.norm(a.arrays[name] - expected) / np.linalg.norm(expected))
        result[name[0]] = max(result.get(name[0], 0.0), gap)
    return result


def check(net: Net, X: Array, labels: Array, few: int, threads: int) -> dict[str, Any]:
    """Compare the sides in float64, a few samples with the reference; and float32 with float64."""
    with tempfile.TemporaryDirectory(prefix="amcore-bench-") as name:
        folder = Path(name)
        write_problem(folder / "few", net, X[:few], labels[:few], "float64")
        tiny = task(folder / "few", net, threads)
        reference = iterates("reference", tiny, folder)
        write_problem(folder / "float64", net, X, labels, "float64")
        write_problem(folder / "float32", net, X, labels, "float32")
        double, single = (
            {
                side: iterates(side, task(folder / dtype, net, threads), folder)
                for side in ("amcore", "torch")
            }
            for dtype in ("float64", "float32")
        )
        agreement = {
            "amcore and reference": difference(iterates("amcore", tiny, folder), reference),
            "torch and reference": difference(iterates("torch", tiny, folder), reference),
            "amcore and torch": difference(double["amcore"], double["torch"]),
        }
    exact = double["amcore"]
    distance = single["amcore"].subgradient_distance
    return {
        "sweeps": CHECKED_SWEEPS,
        "samples": len(X),
        "samples_with_reference": few,
        "float64": agreement,
        "float32_from_float64": {side: difference(single[side], exact) for side in single},
        "float32_subgradient_distance": (
            abs(distance / exact.subgradient_distance - 1)
            if distance is not None and exact.subgradient_distance
            else None
        ),
        "errors": {
            f"{side} {dtype}": one.error
            for dtype, both in (("float64", double), ("float32", single))
            for side, one in both.items()
            if one.error is not None
        },
        "passed": all(
            gaps is not None and max(gaps.values()) <= ITERATES_AGREE for gaps in agreement.values()
        ),
    }


# Timing.


def time_sweeps(
    net: Net,
    X: Array,
    labels: Array,
    dtype: str,
    threads: int,
    beside: list[str],
    repeats: int,
    peak: Peak,
) -> dict[str, Any]:
    """Rounds of turns; see the top of this file."""
    flops_peak: list[float | None] = []
    numpy_products: list[float] = []
    with tempfile.TemporaryDirectory(prefix="amcore-bench-") as name:
        folder = Path(name)
        write_problem(folder, net, X, labels, dtype)
        problem = task(folder, net, threads)
        workers = {side: Worker(side, problem) for side in ("amcore", *beside)}
        try:
            for round_ in range(repeats + 1):  # the first is the warm-up
                workers["amcore"].sweep()
                for side in beside:
                    workers[side].sweep()
                workers["amcore"].sweep()  # every second one is measured
                if round_ > 0:
                    flops_peak.append(peak.flops(dtype, threads))
                    numpy_products.append(numpy_product.gflops(dtype, threads, net.widths[1]))
            memory_use = {side: peak_memory(worker) for side, worker in workers.items()}
            for side in beside:
                workers[side].close()
            lean = workers["amcore_lean"] = Worker("amcore_lean", problem)
            begin = len(workers["amcore"].history)
            for _ in range(min(repeats, 3) + 1):
                for side in ("amcore", "amcore_lean"):
                    workers[side].sweep()
                    workers[side].sweep()
            memory_use["amcore_lean"] = peak_memory(lean)
        finally:
            for worker in workers.values():
                worker.close()

    history = {
        "amcore": workers["amcore"].history[2:begin:2],
        "amcore_measured": workers["amcore"].history[3:begin:2],
        **{side: workers[side].history[1:] for side in beside},
    }
    beside_lean = [step["time"] for step in workers["amcore"].history[begin + 2 :: 2]]
    lean_seconds = [step["time"] for step in lean.history[2::2]]
    seconds = {side: [step["time"] for step in steps] for side, steps in history.items()}
    cpu = {side: [step["cpu"] for step in steps] for side, steps in history.items()}
    own = median(seconds["amcore"]) if seconds["amcore"] else None
    peaks = [x for x in flops_peak if x is not None]
    result: dict[str, Any] = {
        "dtype": dtype,
        "threads": threads,
        "samples": len(X),
        "repeats": repeats,
        "seconds": seconds,
        "median_seconds": {
            side: median(times) if times else None for side, times in seconds.items()
        },
        "cpu_seconds": cpu,
        "page_faults": {
            side: median(step["page_faults"] for step in steps)
            for side, steps in history.items()
            if steps and "page_faults" in steps[0]
        },
        "phases": {side: phase_medians(steps) for side, steps in history.items() if steps},
        "ratios": {
            f"{side}/amcore": ratio(seconds[side], seconds["amcore"])
            for side in (*beside, "amcore_measured")
        }
        | {"amcore_lean/amcore": ratio(lean_seconds, beside_lean)},
        "cpu_ratios": {
            f"{side}/amcore": ratio(cpu[side], cpu["amcore"])
            for side in (*beside, "amcore_measured")
        },
        "objective": compare_objectives(workers, beside),
        "memory": memory_use,
        "memory_ratios": memory_ratios(memory_use),
        "errors": {s: worker.error for s, worker in workers.items() if worker.error is not None},
        "flops": {"performed": performed_flops(net, len(X)), "needed": needed_flops(net, len(X))},
        "fma_peak_gflops": {"median": median(peaks), "best": max(peaks)} if peaks else None,
        "numpy_product_gflops": median(numpy_products),
    }
    if own is not None and peaks:
        # The second is what a core does while it has it: robust where the machine is shared.
        for share, time, gflops in (
            ("share_of_fma_peak", own, median(peaks)),
            ("share_of_fma_peak_by_cpu_time", median(cpu["amcore"]), max(peaks) / threads),
        ):
            result[share] = {
                count: flops / time / 1e9 / gflops for count, flops in result["flops"].items()
            }
        result["share_of_fma_peak_by_numpy_product"] = median(numpy_products) / median(peaks)
    return result


def ratio(times: list[float], own: list[float]) -> dict[str, float] | None:
    """Ratio of the medians, and the extremes of the ratios round by round."""
    if not times or not own:
        return None
    rounds = [a / b for a, b in zip(times, own, strict=False)]
    return {"value": median(times) / median(own), "least": min(rounds), "most": max(rounds)}


def phase_medians(steps: list[dict[str, Any]]) -> dict[str, float]:
    return {phase: median(step["phases"][phase] for step in steps) for phase in steps[0]["phases"]}


def compare_objectives(workers: dict[str, Worker], beside: list[str]) -> dict[str, Any]:
    """Do the timed runs agree? The largest relative difference over the sweeps both did."""
    own = [step["objective"] for step in workers["amcore"].history]
    result: dict[str, Any] = {"amcore": own}
    for side in beside:
        other = [step["objective"] for step in workers[side].history]
        pairs = list(zip(own, other, strict=False))
        result[side] = max(abs(a - b) / abs(a) for a, b in pairs) if pairs else None
    return result


def peak_memory(worker: Worker) -> dict[str, int | None]:
    """Most resident memory of the process, and what it had after the imports alone."""
    answer, ready = worker.ask("memory"), worker.ready
    return {
        "peak_bytes": answer["peak_bytes"] if answer else None,
        "imported_bytes": ready["imported_bytes"] if ready else None,
    }


def memory_ratios(use: dict[str, dict[str, int | None]]) -> dict[str, float | None]:
    """amcore over torch, without what the imports take."""

    def net(side: str) -> int | None:
        peak, imported = use[side]["peak_bytes"], use[side]["imported_bytes"]
        return None if peak is None or imported is None else peak - imported

    pairs = [(own, other) for own in ("amcore", "amcore_lean") for other in BESIDE if other in use]
    sizes = {side: net(side) for side in use}
    return {
        f"{own}/{other}": a / b if (a := sizes[own]) and (b := sizes[other]) else None
        for own, other in pairs
    }


def affordable(net: Net, dtype: str, samples: int, beside: list[str]) -> int:
    """As many samples as leave room for all sides at once, in thousands."""
    available = memory("MemAvailable")
    if available is None:
        return samples
    # The state 1.5 times in amcore, with its products, and once on either other side.
    entries = 1.5 * net.state_entries
    entries += sum(net.state_entries + BESIDE[side] * max(net.widths) for side in beside)
    per_sample = entries * np.dtype(dtype).itemsize
    most = int(0.85 * available / per_sample)
    return samples if samples <= most else max(1000, most // 1000 * 1000)


# Report.


def report_check(name: str, found: dict[str, Any]) -> None:
    print(f"\n{name}: relative differences after {found['sweeps']} sweeps (largest of a kind)")
    columns = ("objective", "W", "b", "U", "V")
    print(f"  {'':34}" + "".join(f"{column:>11}" for column in columns))
    rows = {f"float64, {who}": gaps for who, gaps in found["float64"].items()}
    rows |= {
        f"{who}: float32 from float64": gaps for who, gaps in found["float32_from_float64"].items()
    }
    for row, gaps in rows.items():
        cells = "    failed" if gaps is None else "".join(f"{gaps[c]:11.1e}" for c in columns)
        print(f"  {row:34}{cells}")
    for who, error in found["errors"].items():
        print(f"  {who}: {error}")
    print("  the sides compute the same" if found["passed"] else "  THE SIDES DIFFER")


def report_run(name: str, run: dict[str, Any]) -> None:
    print(
        f"\n{name}, {run['dtype']}, {run['threads']} thread{'s' if run['threads'] > 1 else ''}, "
        f"{run['samples']} samples, median of {run['repeats']}"
    )
    for side, seconds in run["median_seconds"].items():
        if seconds is None:
            print(f"  {side:16} failed: {run['errors'].get(side)}")
            continue
        found = run["ratios"].get(f"{side}/amcore")
        times = (
            f"{found['value']:6.2f} ×  ({found['least']:.2f}–{found['most']:.2f})" if found else ""
        )
        phases = ", ".join(f"{k} {v / seconds:.0%}" for k, v in run["phases"][side].items())
        print(f"  {side:16} {seconds:9.3f} s {times:24} {phases}")
    for side, error in run["errors"].items():
        print(f"  {side}: {error}")
    for key, text in (
        ("share_of_fma_peak", "share of FMA peak"),
        ("share_of_fma_peak_by_cpu_time", "share of FMA peak, CPU time"),
    ):
        if key in run:
            shares = ", ".join(f"{count} {share:.1%}" for count, share in run[key].items())
            print(f"  {text + ':':30} {shares}")
    if "share_of_fma_peak_by_numpy_product" in run:
        share = run["share_of_fma_peak_by_numpy_product"]
        print(f"  {'… by NumPy W X alone:':30} {share:.1%}")
    if lean := run["ratios"]["amcore_lean/amcore"]:
        print(f"  {'without kept products:':30} {lean['value']:.2f} × the time")
    print(f"  {'peak memory:':30} {listed(run['memory_ratios'], '{:.2f} ×')}")
    cpu = {pair: found["value"] for pair, found in run["cpu_ratios"].items() if found}
    print(f"  {'CPU time:':30} {listed(cpu, '{:.2f} ×')}")
    gaps = {side: gap for side, gap in run["objective"].items() if side in BESIDE}
    print(f"  {'objective differs:':30} {listed(gaps, '{:.1e}')}")


def listed(figures: dict[str, float | None], form: str) -> str:
    return ", ".join(f"{k} {form.format(v)}" for k, v in figures.items() if v is not None)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = options_parser(__doc__)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument(
        "--dtypes", nargs="+", choices=("float32", "float64"), default=["float32", "float64"]
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument(
        "--beside", nargs="*", choices=BESIDE, default=list(BESIDE), help="fewer leave more memory"
    )
    parser.add_argument("--samples", type=int, help="of the timed runs; default 60000, quick 3000")
    parser.add_argument("--check-samples", type=int, help="of the checks; default 6000, quick 1000")
    parser.add_argument("--repeats", type=int, help="timed rounds; default 5, quick 2")
    options = parser.parse_args(arguments)
    options.samples = options.samples or (3000 if options.quick else 60000)
    options.check_samples = options.check_samples or (1000 if options.quick else 6000)
    options.repeats = options.repeats or (2 if options.quick else 5)
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    source, X, labels = load_images()
    X, labels = X[: options.samples], labels[: options.samples]
    peak = Peak()
    result = heading("sweep", options, "torch") | {
        "data": source,
        "stream_gbytes_per_second": {str(t): peak.bandwidth(t) for t in options.threads},
        "peak_error": peak.error,
        "checks": {},
        "runs": [],
    }
    result["quotable"] = not options.quick and options.repeats >= 5
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores, data: {source}")
    if not result["quotable"]:
        print("quick or with fewer than 5 repeats: not to be quoted")

    passed = True
    for name in options.nets:
        few, many = min(500, options.check_samples), options.check_samples
        found = check(NETS[name], X[:many], labels[:many], few, max(options.threads))
        result["checks"][name] = found
        report_check(name, found)
        passed = passed and found["passed"]
        for dtype in options.dtypes:
            n = affordable(NETS[name], dtype, len(X), options.beside)
            if n < len(X):
                print(f"\n{name}, {dtype}: {n} samples, for more the memory is too small")
            for threads in options.threads:
                run = time_sweeps(
                    NETS[name],
                    X[:n],
                    labels[:n],
                    dtype,
                    threads,
                    options.beside,
                    options.repeats,
                    peak,
                )
                result["runs"].append({"net": name, **run})
                report_run(name, run)

    write(result, options.output / f"sweep-{result['date'].replace(':', '')}.json")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
