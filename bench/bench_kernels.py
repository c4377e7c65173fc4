"""Operators, blocks and CPU levels of the compiled core by themselves.

    python bench/bench_kernels.py            # everything but the wheel; needs SciPy for the blocks
    python bench/bench_kernels.py --quick    # two minutes; says so in its result
    python bench/bench_kernels.py --wheel    # build a wheel as well: seconds and bytes

Everything is checked first, then timed in turns, in processes of its own:

    kernels   value, derivative and prox of every activation, prox of every loss and regulariser, on
              one thread, on arrays far beyond the cache and in it, beside plain NumPy
              (`amcore.reference`) on a size between. Bytes are those of the arrays read and
              written: value and derivative 2, prox 3, of a regulariser 2.
    blocks    `amcore.blocks` beside NumPy with SciPy's Cholesky. Flops at n samples and width d:
              ridge_update: U Vᵀ 2, V Vᵀ 1, amcore also W V 2 for a correction: 5 n d², NumPy 3;
              hidden_update: amcore W S 2, K r 2: 4 n d², NumPy W S, (I + κWWᵀ)⁻¹ r and Wᵀ q: 6
    levels    a three-splitting sweep and the prox kernels at every CPU level that is built and
              runs here, and the sweep's efficiency on several threads
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any, TypeVar

import numpy as np
from bench_schemes import performed_flops
from bench_sweep import Net, task, write_problem
from common import (
    HERE,
    Array,
    answer,
    child,
    heading,
    load_images,
    options_parser,
    quotient,
    write,
)
from machine import Peak
from sweep_worker import Worker

import amcore
from amcore._isa import built_levels, supported_levels
from amcore._operator import Activation, Loss, Operator, Regularizer, resolve
from amcore.reference.operator import stems

FEW = 1 << 14  # entries, where NumPy is beside
WEIGHTS = (0.5, 1.0, 2.0, 6.0, 16.0)  # of an activation's prox
TARGET = 10  # prox of sigmoid and tanh over relu's
AGREE = {"float32": 1e-4, "float64": 1e-9}
LEVELS_AGREE = {"float32": 1e-3, "float64": 1e-9}  # the objectives after a few sweeps


Kind = TypeVar("Kind", bound=Operator)


# Kernels.


@dataclass
class Kernel:
    name: str
    run: Callable[[], Any]  # into `out`
    reference: Callable[[], Array]
    gap: Callable[[Array, Array], float]  # how far the results of both are apart
    arrays: int  # read and written
    out: Array


def relative_gap(a: Array, b: Array) -> float:
    return float(np.max(np.abs(a - b) / (1 + np.abs(b)), initial=0))


def prox_gap(
    sigma: Activation, v: Array, z: Array, weight: float
) -> Callable[[Array, Array], float]:
    """Of the objectives, since there may be several minimisers."""

    def objective(u: Array) -> Array:
        u = u.astype(np.float64)
        value: Array = (v - sigma.reference.value(u)) ** 2 / 2 + weight / 2 * (u - z) ** 2
        return value

    return lambda a, b: relative_gap(objective(a), objective(b))


def operators(kind: type[Kind]) -> Iterator[Kind]:
    """All of a family, with their default parameters."""
    return (resolve(kind, stem, kind.family) for stem in stems(kind.family))


def kernels(
    dtype: str, size: int, weights: Sequence[float] = WEIGHTS, only_prox: bool = False
) -> Iterator[Kernel]:
    generator = np.random.default_rng(0)
    v, z = (generator.standard_normal(size).astype(dtype) for _ in range(2))
    z *= 2
    out = np.empty_like(v)
    for sigma in operators(Activation):
        own, plain = sigma.native, sigma.reference
        if not only_prox:
            run, reference = partial(own.value, z, out), partial(plain.value, z)
            yield Kernel(f"{sigma.name}.value", run, reference, relative_gap, 2, out)
            run, reference = partial(own.derivative, z, "left", out), partial(plain.derivative, z)
            yield Kernel(f"{sigma.name}.derivative", run, reference, relative_gap, 2, out)
        for weight in weights:
            run, reference = partial(own.prox, v, z, weight, out), partial(plain.prox, v, z, weight)
            gap = prox_gap(sigma, v, z, weight)
            yield Kernel(f"{sigma.name}.prox({weight:g})", run, reference, gap, 3, out)
    rows = size // 10
    q, q_out = v[: 10 * rows].reshape(rows, 10), out[: 10 * rows].reshape(rows, 10)
    one_hot = np.eye(10, dtype=dtype)[generator.integers(0, 10, rows)]
    signs = 2 * one_hot - 1
    for loss in operators(Loss):
        y = signs if loss.targets == "sign" else one_hot
        run = partial(loss.native.prox, q, y, 1.0, q_out)
        reference = partial(loss.reference.prox, q, y, 1.0)
        yield Kernel(f"{loss.name}.prox", run, reference, relative_gap, 3, q_out)
    x, x_out = v.reshape(-1, 64), out.reshape(-1, 64)
    for r in operators(Regularizer):
        run, reference = partial(r.native.prox, x, 0.5, x_out), partial(r.reference.prox, x, 0.5)
        yield Kernel(f"{r.name}.prox", run, reference, relative_gap, 2, x_out)


class Timer:
    """Times so many calls at once as take some `least` seconds together."""

    def __init__(self, run: Callable[[], Any], least: float) -> None:
        self.run, self.calls = run, 1
        self.once = self.seconds()
        if self.once < 10 * least:
            self.once = min(self.seconds() for _ in range(3))
        self.calls = max(1, math.ceil(least / max(self.once, 1e-7)))

    def seconds(self) -> float:
        """Of one call."""
        start = perf_counter()
        for _ in range(self.calls):
            self.run()
        return (perf_counter() - start) / self.calls


def medians(
    runs: dict[str, Callable[[], Any]], rounds: int, least: float, rest: float = 0
) -> dict[str, float]:
    """Seconds of each, in turns after a rest; what takes a second sits out after two."""
    timers = {name: Timer(run, least) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name, timer in timers.items():
            if turn < 2 or timer.once < 1:
                sleep(rest)
                times[name].append(timer.seconds())
    return {name: median(values) for name, values in times.items()}


def over_relu(every: Sequence[Kernel], rounds: int, least: float) -> dict[str, float]:
    """Time of every activation's prox over that of relu's at its weight, before and after it."""
    timers = {one.name: Timer(one.run, least) for one in every if ".prox(" in one.name}
    ratios: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            relu = timers["relu" + name[name.index(".prox(") :]]
            before, own, after = relu.seconds(), timer.seconds(), relu.seconds()
            ratios[name].append(2 * own / (before + after))
    return {name: median(values) for name, values in ratios.items()}


def time_kernels(
    dtype: str,
    size: int,
    rounds: int,
    against_numpy: bool = False,
    against_relu: bool = False,
    **which: Any,
) -> dict[str, dict[str, float]]:
    """By kernel: ns an entry and GB/s, and NumPy's ns and how far apart the results are."""
    every = list(kernels(dtype, size, **which))
    found: dict[str, dict[str, float]] = {one.name: {} for one in every}
    runs: dict[str, Callable[[], Any]] = {one.name: one.run for one in every}
    if against_numpy:
        for one in every:
            one.run()
            found[one.name]["gap"] = one.gap(one.out, one.reference())
        runs |= {f"{one.name} in NumPy": one.reference for one in every}
    seconds = medians(runs, rounds, 0.005)
    for one in every:
        own = seconds[one.name]
        found[one.name] |= {
            "ns_per_entry": 1e9 * own / one.out.size,
            "gbytes_per_second": one.arrays * one.out.nbytes / own / 1e9,
        }
        if against_numpy:
            plain = seconds[f"{one.name} in NumPy"]
            found[one.name] |= {
                "numpy_ns_per_entry": 1e9 * plain / one.out.size,
                "numpy/amcore": plain / own,
            }
    if against_relu:
        for name, ratio in over_relu(every, rounds, 0.005).items():
            found[name]["over_relu"] = ratio
    return found


def measure_kernels(given: Any, peak: Peak) -> dict[str, Any]:
    result: dict[str, Any] = {"passed": True}
    for dtype in given.dtypes:
        bandwidth = peak.bandwidth(1)
        sizes = {"large": given.large, "cached": given.cached, "with_numpy": given.with_numpy}
        asked: dict[str, dict[str, Any]] = {
            "large": {"weights": [1], "against_relu": True},
            "cached": {"against_relu": True},
            "with_numpy": {"against_numpy": True},
        }
        common = {"part": "kernels", "dtype": dtype, "rounds": given.rounds}
        found = {
            where: child(__file__, common | {"size": sizes[where]} | more, 1)
            for where, more in asked.items()
        }
        bandwidth = max(filter(None, (bandwidth, peak.bandwidth(1))), default=None)
        print(
            f"\n{dtype}, one thread, stream {bandwidth or float('nan'):.1f} GB/s\n"
            f"{'':26}{'cached: ns':>11}{'large: ns':>11}{'GB/s':>8}{'of stream':>11}"
            f"{'numpy/amcore':>14}{'gap':>10}"
        )
        for name, cached in found["cached"].items():
            beside, large = found["with_numpy"][name], found["large"].get(name)
            agrees = beside["gap"] is not None and beside["gap"] <= AGREE[dtype]
            result["passed"] = result["passed"] and agrees
            text = " " * 30
            if large is not None:
                share = large["share_of_stream"] = quotient(large["gbytes_per_second"], bandwidth)
                text = (
                    f"{large['ns_per_entry']:11.2f}{large['gbytes_per_second']:8.1f}"
                    f"{share or float('nan'):11.0%}"
                )
            print(
                f"{name:26}{cached['ns_per_entry']:11.3f}{text}{beside['numpy/amcore']:14.1f}"
                f"{beside['gap'] or 0:10.1e}{'' if agrees else '  THEY DIFFER'}"
            )
        ratios = prox_ratios(found["cached"])
        print(f"\n{dtype}, cached: prox over relu's at weights {WEIGHTS}")
        for name, row in ratios.items():
            print(f"  {name:14}" + "".join(f"{ratio:8.1f}" for ratio in row.values()))
        result[dtype] = {
            "stream_gbytes_per_second": bandwidth,
            "entries": sizes,
            **found,
            "prox/relu": ratios,
        }
    result["target_of_sigmoid_and_tanh"] = TARGET
    return result


def prox_ratios(found: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: {f"{w:g}": found[f"{name}.prox({w:g})"]["over_relu"] for w in WEIGHTS}
        for name in stems("activation")
    }


# Blocks.


def numpy_ridge_update(
    U: Array, V: Array, W: Array, b: Array, rho: float, alpha: float, lam: float
) -> tuple[Array, Array]:
    from scipy.linalg import cho_factor, cho_solve

    inputs = V.shape[1]
    ones = np.ones((len(V), 1), V.dtype)
    V = np.hstack([V, ones])
    system = rho * (V.T @ V)
    system[np.diag_indices(inputs)] += lam
    system[np.diag_indices(inputs + 1)] += alpha
    right = rho * (U.T @ V) + alpha * np.column_stack([W, b])
    both = cho_solve(cho_factor(system), right.T).T
    return both[:, :-1], both[:, -1]


def numpy_hidden_update(
    S: Array, U: Array, W: Array, b: Array, gamma: float, rho: float
) -> tuple[Array]:
    from scipy.linalg import cho_factor, cho_solve

    system = W @ W.T
    system[np.diag_indices(len(W))] += gamma / rho
    right = U - b - S @ W.T
    return (S + cho_solve(cho_factor(system), right.T).T @ W,)


def time_blocks(dtype: str, threads: int, n: int, d: int, rounds: int) -> dict[str, Any]:
    """By block: seconds of amcore and of NumPy, how far apart their results are, entries, flops."""
    blocks = amcore.blocks
    generator = np.random.default_rng(0)
    S, U, V, P = (generator.standard_normal((n, d)).astype(dtype) for _ in range(4))
    W = (generator.standard_normal((d, d)) / np.sqrt(d)).astype(dtype)
    b = generator.standard_normal(d).astype(dtype)
    Y = np.eye(10, dtype=dtype)[generator.integers(0, 10, n)]
    few = max(1, FEW // d)  # rows for NumPy, whose activations are slow
    S_top, V_top = (generator.standard_normal((n, 10)).astype(dtype) for _ in range(2))
    gamma, rho, alpha, lam = 1.0, 2.0, 1.0, 0.5

    def as_tuple(found: Any) -> tuple[Array, ...]:
        return found if isinstance(found, tuple) else (found,)

    sides: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "ridge_update": (
            partial(
                blocks.ridge_update, U, V, W, b, rho=rho, alpha=alpha, lam=lam, num_threads=threads
            ),
            partial(numpy_ridge_update, U, V, W, b, rho, alpha, lam),
        ),
        "hidden_update": (
            partial(blocks.hidden_update, S, U, W, b, gamma=gamma, rho=rho, num_threads=threads),
            partial(numpy_hidden_update, S, U, W, b, gamma, rho),
        ),
    }

    def numpy_preactivation(name: str) -> Array:
        sigma = resolve(Activation, name, "activation").reference
        z = (rho * P[:few] + alpha * U[:few]) / (rho + alpha)
        return sigma.prox(V[:few], z, (rho + alpha) / gamma)

    def numpy_output(name: str) -> Array:
        loss = resolve(Loss, name, "loss").reference
        q = (gamma * S_top + alpha * V_top) / (gamma + alpha)
        return loss.prox(q, Y, 1 / (gamma + alpha))

    weights: dict[str, Any] = {"gamma": gamma, "alpha": alpha, "num_threads": threads}
    for name in ("relu", "sigmoid"):
        sides[f"preactivation_update {name}"] = (
            partial(blocks.preactivation_update, name, V, P, U, rho=rho, **weights),
            partial(numpy_preactivation, name),
        )
    for name in ("squared", "cross_entropy"):
        sides[f"output_update {name}"] = (
            partial(blocks.output_update, name, Y, S_top, V_top, **weights),
            partial(numpy_output, name),
        )
    flops = {"ridge_update": (5.0, 3.0), "hidden_update": (4.0, 6.0)}
    result: dict[str, Any] = {}
    for name, (own, plain) in sides.items():
        pairs = list(zip(as_tuple(own()), as_tuple(plain()), strict=True))
        gap = max(float(np.linalg.norm(x[: len(y)] - y) / np.linalg.norm(y)) for x, y in pairs)
        sizes = [sum(side[k].size for side in pairs) for k in range(2)]
        result[name] = {"gap": gap, "entries": sizes}
        if name in flops:
            result[name]["gflops"] = [1e-9 * count * n * d * d for count in flops[name]]
    runs = {f"{name} {k}": side[k] for name, side in sides.items() for k in range(2)}
    # OpenBLAS's threads spin for a tenth of a second after a product, on cores of the next turn's.
    seconds = medians(runs, rounds, 0.005, rest=0.2)
    for name, one in result.items():
        one["seconds"] = [seconds[f"{name} {k}"] for k in range(2)]
    return result


def measure_blocks(given: Any, peak: Peak) -> dict[str, Any]:
    result: dict[str, Any] = {"passed": True, "runs": []}
    for dtype in given.dtypes:
        for threads in given.threads:
            shape = {"n": given.samples, "d": given.width, "rounds": given.rounds}
            before = peak.flops(dtype, threads)
            found = child(
                __file__, {"part": "blocks", "dtype": dtype, "threads": threads, **shape}, threads
            )
            speed = max(filter(None, (before, peak.flops(dtype, threads))), default=None)
            print(
                f"\nblocks, {dtype}, {threads} threads, {given.samples} × {given.width}, "
                f"FMA peak {speed or float('nan'):.0f} GFLOP/s"
            )
            for name, one in found.items():
                own, plain = one["seconds"]
                own_size, plain_size = one["entries"]
                one["numpy/amcore"] = (plain / plain_size) / (own / own_size)
                agrees = one["gap"] is not None and one["gap"] <= AGREE[dtype]
                result["passed"] = result["passed"] and agrees
                if "gflops" in one:
                    rates = [k / s for k, s in zip(one["gflops"], (own, plain), strict=True)]
                    one["gflops_per_second"] = dict(zip(("amcore", "numpy"), rates, strict=True))
                    one["share_of_fma_peak"] = quotient(rates[0], speed)
                    text = (
                        f"{rates[0]:7.1f} GFLOP/s, {one['share_of_fma_peak'] or float('nan'):.0%} "
                        f"of the peak (numpy {rates[1]:.1f})"
                    )
                else:
                    one["ns_per_entry"] = 1e9 * own / own_size
                    text = f"{one['ns_per_entry']:7.2f} ns an entry"
                print(
                    f"  {name:30} {own * 1e3:9.2f} ms  numpy/amcore "
                    f"{one['numpy/amcore']:7.2f}  {text}"
                    f"{'' if agrees else '  THEY DIFFER'}"
                )
            result["runs"].append(
                {"dtype": dtype, "threads": threads, **shape, "fma_peak_gflops": speed}
                | {"blocks": found}
            )
    return result


# CPU levels.


def measure_levels(given: Any, peak: Peak) -> dict[str, Any]:
    levels = [level for level in built_levels() if level in supported_levels()]
    print(f"\nCPU levels that are built and run here: {', '.join(levels)}")
    net = Net((784, given.width, given.width, given.width, 10), alpha=1.0)
    n = given.level_samples
    source, X, labels = load_images()
    result: dict[str, Any] = {
        "levels": levels,
        "widths": net.widths,
        "samples": n,
        "data": source,
        "passed": True,
        "sweeps": [],
        "prox": {},
    }
    flops = performed_flops("ThreeSplitBCD", list(net.widths), n)
    for dtype in given.dtypes:
        seconds: dict[int, dict[str, float]] = {}
        for threads in given.threads:
            times, objective, speed = level_sweeps(
                levels, net, X[:n], labels[:n], dtype, threads, given.rounds, peak
            )
            typical = seconds[threads] = {level: median(times[level]) for level in levels}
            best = min(typical, key=lambda level: typical[level])
            gap = max(abs(f / objective[best] - 1) for f in objective.values())
            result["passed"] = result["passed"] and gap <= LEVELS_AGREE[dtype]
            rows = {
                level: {
                    "seconds": times[level],
                    "over_best": typical[level] / typical[best],
                    "share_of_fma_peak": quotient(flops / 1e9 / typical[level], speed),
                    "efficiency": efficiency(seconds, level, threads),
                }
                for level in levels
            }
            result["sweeps"].append(
                {"dtype": dtype, "threads": threads, "fma_peak_gflops": speed, "gap": gap}
                | {"levels": rows}
            )
            print(f"a sweep, {dtype}, {threads} threads; objectives differ by {gap:.1e}")
            for level, row in rows.items():
                print(
                    f"  {level:9} {typical[level]:8.3f} s  {row['over_best']:6.2f} × the best  "
                    f"{row['share_of_fma_peak'] or float('nan'):.0%} of the FMA peak"
                    + (f"  efficiency {row['efficiency']:.0%}" if row["efficiency"] else "")
                )
        result["prox"][dtype] = level_prox(levels, dtype, given)
    return result


def efficiency(seconds: dict[int, dict[str, float]], level: str, threads: int) -> float | None:
    alone = seconds.get(1)
    return alone[level] / (threads * seconds[threads][level]) if alone else None


def level_sweeps(
    levels: list[str],
    net: Net,
    X: Array,
    labels: Array,
    dtype: str,
    threads: int,
    rounds: int,
    peak: Peak,
) -> tuple[dict[str, list[float]], dict[str, float], float | None]:
    """Seconds of sweeps that are not measured, last objectives, and the FMA peak."""
    peaks = []
    with tempfile.TemporaryDirectory(prefix="amcore-bench-") as name:
        write_problem(Path(name), net, X, labels, dtype)
        problem = task(Path(name), net, threads)
        workers = {
            level: Worker("amcore", problem, environment={"AMCORE_ISA": level}) for level in levels
        }
        try:
            for turn in range(rounds + 1):  # the first is the warm-up
                for worker in workers.values():
                    worker.sweep()
                    worker.sweep()  # every second one is measured
                if turn > 0:
                    peaks.append(peak.flops(dtype, threads))
        finally:
            for worker in workers.values():
                worker.close()
    for level, worker in workers.items():
        if worker.error is not None:
            raise RuntimeError(f"{level}: {worker.error}")
    times = {
        level: [step["time"] for step in worker.history[2::2]] for level, worker in workers.items()
    }
    objective = {level: worker.history[-1]["objective"] for level, worker in workers.items()}
    known = [x for x in peaks if x is not None]
    return times, objective, median(known) if known else None


def level_prox(levels: list[str], dtype: str, given: Any) -> dict[str, dict[str, Any]]:
    """ns an entry in the cache at every level, and over the best one's."""
    times: dict[str, dict[str, list[float]]] = {}
    work = {"part": "kernels", "dtype": dtype, "size": given.cached, "rounds": 1}
    for _ in range(given.rounds):
        for level in levels:
            found = child(__file__, work | {"only_prox": True}, 1, AMCORE_ISA=level)
            for name, one in found.items():
                by_level = times.setdefault(name, {each: [] for each in levels})
                by_level[level].append(one["ns_per_entry"])
    print(f"prox in the cache, {dtype}: ns an entry ({', '.join(levels)})")
    table: dict[str, dict[str, Any]] = {}
    for name, by_level in times.items():
        typical = {level: median(values) for level, values in by_level.items()}
        best = min(typical.values())
        table[name] = {level: {"ns": t, "over_best": t / best} for level, t in typical.items()}
        print(f"  {name:26}" + "".join(f"{t:10.3f}" for t in typical.values()))
    return table


# The wheel.


def build_wheel(project: Path) -> dict[str, Any]:
    """Seconds that `pip wheel` takes, and bytes of what it makes."""
    with tempfile.TemporaryDirectory(prefix="amcore-wheel-") as name:
        command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "-w", name]
        start = perf_counter()
        done = subprocess.run(command, cwd=project, capture_output=True, text=True)
        seconds = perf_counter() - start
        if done.returncode != 0:
            print(f"\npip wheel failed: {done.stderr.strip()[-500:]}")
            return {"error": done.stderr.strip()[-500:]}
        (wheel,) = Path(name).glob("*.whl")
        found: dict[str, Any] = {
            "name": wheel.name,
            "seconds": seconds,
            "bytes": wheel.stat().st_size,
            "levels": os.environ.get("AMCORE_ISA_LEVELS"),
        }
    print(f"\n{found['name']}: {seconds:.0f} s, {found['bytes'] / 1e6:.2f} MB")
    return found


MEASURES: dict[str, Callable[[Any, Peak], dict[str, Any]]] = {
    "kernels": measure_kernels,
    "blocks": measure_blocks,
    "levels": measure_levels,
}


def work(part: str, **task: Any) -> Any:
    return time_kernels(**task) if part == "kernels" else time_blocks(**task)


def main() -> int:
    parser = options_parser(__doc__)
    parser.add_argument("--parts", nargs="*", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="blocks and sweeps")
    parser.add_argument("--rounds", type=int, help="default 7, quick 3")
    parser.add_argument("--large", type=int, help="entries; default 2^24, quick 2^20")
    parser.add_argument("--cached", type=int, default=1 << 13, help="entries")
    parser.add_argument("--with-numpy", type=int, help="entries; default 2^14, quick 2^10")
    parser.add_argument("--samples", type=int, help="of the blocks; default 12000, quick 3000")
    parser.add_argument("--level-samples", type=int, help="of the levels' sweep; default 6000")
    parser.add_argument("--width", type=int, default=600)
    parser.add_argument("--wheel", action="store_true", help="build a wheel as well")
    given = parser.parse_args()
    given.rounds = given.rounds or (3 if given.quick else 7)
    given.large = given.large or (1 << (20 if given.quick else 24))
    given.with_numpy = given.with_numpy or (1 << 10 if given.quick else FEW)
    given.samples = given.samples or (3000 if given.quick else 12000)
    given.level_samples = given.level_samples or (1500 if given.quick else 6000)

    peak = Peak()
    result = heading("kernels", given, "scipy") | {"agree": AGREE}
    for part in given.parts:
        result[part] = MEASURES[part](given, peak)
    if given.wheel:
        result["wheel"] = build_wheel(HERE.parent)
    result["peak_error"] = peak.error
    write(result, given.output / "kernels.json")
    return 0 if all(result[part]["passed"] for part in given.parts) else 1


if __name__ == "__main__":
    sys.exit(0 if answer(work) else main())
