"""How the time of a sweep and the memory of a run grow with samples, width and depth.

    python bench/bench_scaling.py                     # at most 4 GiB
    python bench/bench_scaling.py --largest-gib 18    # more samples
    python bench/bench_scaling.py --quick             # two minutes; says so in its result

Every point is a process of its own, so that its peak memory (without what the imports take) is
that point's; it does two sweeps as a warm-up and then some that are not measured. The exponents
are slopes of log time or memory on log size by least squares, over all points and between the last
two. Beside them stands what theory says, and the slope of the flops that are performed
(`bench_schemes`) over the same points, which has the share of the layers that do not grow in it:

    time    n: 1    width: 2, to 3 where the systems of the width weigh    depth: 1
    memory  n: 1    width: 1, to 2 where the systems of the width weigh    depth: 1

At last the sweep's efficiency on 1, 2, 4, … threads: time on one over time on k times k, beside the
same of the FMA peak, since cores slow down together.
"""

from __future__ import annotations

import sys
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from bench_schemes import CASES, performed_flops
from bench_schemes import problem as posed
from common import (
    answer,
    child,
    exponent,
    heading,
    options_parser,
    quotient,
    write,
)
from machine import Peak, memory, resident_memory

GIB = 1 << 30
WARM_UP = 2  # mDLAM's first two have no momentum
THEORY = {"seconds": {"n": 1, "width": 2, "depth": 1}, "bytes": {"n": 1, "width": 1, "depth": 1}}
ARRAYS = {  # of a layer in the state, per unit of width and sample
    "ThreeSplitBCD": 2,  # U, V
    "TwoSplitBCD": 1,  # V
    "ADMM": 3,  # V, Λ, V̂
    "MDLAM": 3,  # U, V, V_old
}


def point(
    case: str, widths: list[int], n: int, dtype: str, threads: int, sweeps: int
) -> dict[str, Any]:
    """Seconds of sweeps, and the memory they took, of a random problem."""
    import amcore

    imported = resident_memory("VmRSS")
    generator = np.random.default_rng(0)
    X = generator.random((n, widths[0]), dtype=np.dtype(dtype))
    problem = posed(CASES[case], widths, X, generator.integers(0, widths[-1], n))
    steps = amcore.iterate(
        problem,
        CASES[case].scheme,
        max_iter=10**9,
        init=amcore.initialization.gaussian(0.01, bias=0.1),  # neither grows nor fades with depth
        measure_every=10**9,
        num_threads=threads,
    )
    seconds, phases = [], []
    for _ in range(WARM_UP + sweeps):
        start = perf_counter()
        step = next(steps)
        seconds.append(perf_counter() - start)
        phases.append(step.record.seconds)
    peak = resident_memory("VmHWM")
    state = sum(array.nbytes for array in step.state.values())
    return {
        "seconds": seconds[WARM_UP:],
        "phases": {name: median(one[name] for one in phases[WARM_UP:]) for name in phases[0]},
        "state_bytes": state + X.nbytes + problem.Y.nbytes,
        "peak_bytes": peak - imported if peak and imported else None,
    }


def measure(case: str, widths: list[int], n: int, options: Any, threads: int) -> dict[str, Any]:
    task = {"case": case, "widths": widths, "n": n, "dtype": options.dtype, "threads": threads}
    found = child(__file__, task | {"sweeps": options.sweeps}, threads)
    return {
        "widths": widths,
        "samples": n,
        "median_seconds": median(found["seconds"]),
        "flops": performed_flops(type(CASES[case].scheme).__name__, widths, n),
        **found,
    }


def affordable(case: str, widths: list[int], options: Any) -> int:
    """Samples of which the run takes as much memory as it may."""
    available = memory("MemAvailable") or GIB
    most = min(options.largest_gib * GIB, 0.8 * available)
    arrays = ARRAYS[type(CASES[case].scheme).__name__] + 1  # and what the engine keeps
    per_sample = widths[0] + arrays * sum(widths[1:])
    return int(most / per_sample / np.dtype(options.dtype).itemsize)


def sizes(case: str, options: Any) -> dict[str, list[tuple[int, list[int], int]]]:
    """By what grows: its values, with widths and samples."""
    fine = case == "three-split" and not options.quick
    d, n = options.width, options.samples
    base = [d, *[d] * 3, 10]
    most = affordable(case, base, options)
    if fine:
        samples = [k for k in (1000, 4000, 16000, 64000, 256000, 1024000) if k < 0.7 * most]
        samples.append(most)
        width, depth = [64, 128, 256, 512, 1024, 2048], [1, 2, 4, 8, 16, 32]
    else:
        samples = [1000, 4000, 16000] if options.quick else [1000, 8000, 64000]
        width, depth = ([64, 128, 256] if options.quick else [128, 512, 2048]), [1, 4, 16]
    return {
        "n": [(k, base, k) for k in samples],
        "width": [(k, [k, *[k] * 3, 10], n) for k in width],
        "depth": [(k, [d, *[d] * k, 10], n) for k in depth],
    }


def growth(series: list[dict[str, Any]], what: str) -> dict[str, Any]:
    """Exponents of a series of points."""
    xs = [one["size"] for one in series]
    result: dict[str, Any] = {}
    for name, key in (("seconds", "median_seconds"), ("bytes", "peak_bytes"), ("flops", "flops")):
        ys = [one[key] for one in series]
        if len(ys) > 1 and all(ys):
            result[name] = {"all": exponent(xs, ys), "last": exponent(xs[-2:], ys[-2:])}
            if name in THEORY:
                result[name]["theory"] = THEORY[name][what]
    return result


def scale(case: str, options: Any, threads: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for what, points in sizes(case, options).items():
        series: list[dict[str, Any]] = []
        print(f"\n{case}: {what}")
        for size, widths, n in points:
            try:
                found = measure(case, widths, n, options, threads)
            except RuntimeError as error:
                print(f"  {size:9} {error}")
                result.setdefault("errors", []).append(str(error))
                continue
            entries = n * sum(widths)  # a number for every unit of every layer, the input among it
            found |= {
                "size": size,
                "bytes_per_entry": quotient(found["peak_bytes"], entries),
                "state_bytes_per_entry": found["state_bytes"] / entries,
                "memory/state": quotient(found["peak_bytes"], found["state_bytes"]),
                "gflops_per_second": found["flops"] / found["median_seconds"] / 1e9,
            }
            series.append(found)
            print(
                f"  {size:9} {found['median_seconds']:10.4f} s"
                f"  {found['gflops_per_second']:7.1f} GFLOP/s"
                f"  {(found['peak_bytes'] or 0) / GIB:7.3f} GiB"
                f"  {found['memory/state'] or float('nan'):5.2f} × the state"
                f"  {found['bytes_per_entry'] or float('nan'):6.2f} bytes a sample and unit",
                flush=True,
            )
        result[what] = {"points": series, "exponents": growth(series, what)}
        for name, one in result[what]["exponents"].items():
            theory = f"  theory {one['theory']}" if "theory" in one else ""
            print(
                f"  exponent of {name:8} {one['all']:5.2f}, at the end {one['last']:5.2f}{theory}"
            )
    return result


def threads_in_turn(case: str, width: int, n: int, options: Any, cores: int) -> dict[str, Any]:
    widths = [784, width, width, width, 10]
    teams = sorted({1 << k for k in range(cores.bit_length())} | {cores})
    runs: dict[int, list[dict[str, Any]]] = {threads: [] for threads in teams}
    peaks: dict[int, list[float]] = {threads: [] for threads in teams}
    peak = Peak()
    flops = performed_flops(type(CASES[case].scheme).__name__, widths, n)
    for _ in range(options.rounds):
        for threads in teams:
            runs[threads].append(measure(case, widths, n, options, threads))
            if (gflops := peak.flops(options.dtype, threads)) is not None:
                peaks[threads].append(gflops)
    seconds = {k: [one["median_seconds"] for one in found] for k, found in runs.items()}
    typical = {threads: median(times) for threads, times in seconds.items()}
    fastest = {threads: median(rates) if rates else None for threads, rates in peaks.items()}
    result = {}
    for threads, time in typical.items():
        of_peak = quotient(fastest[threads], fastest[1])
        result[str(threads)] = {
            "seconds": seconds[threads],
            "median_seconds": time,
            "phases": {
                name: median(one["phases"][name] for one in runs[threads])
                for name in runs[threads][0]["phases"]
            },
            "efficiency": typical[1] / (threads * time),
            "fma_peak_gflops": fastest[threads],
            "efficiency_of_fma_peak": of_peak and of_peak / threads,
            "share_of_fma_peak": quotient(flops / time / 1e9, fastest[threads]),
        }
    print(f"\n{case}: 3 × {width}, {n} samples")
    for k, one in result.items():
        shares = (
            f"{name} {part / one['median_seconds']:.0%}" for name, part in one["phases"].items()
        )
        print(
            f"  {k:>2} threads {one['median_seconds']:9.4f} s  efficiency {one['efficiency']:4.0%}"
            f"  of the FMA peak {one['efficiency_of_fma_peak'] or float('nan'):4.0%}"
            f"  share of it {one['share_of_fma_peak'] or float('nan'):4.0%}  {', '.join(shares)}",
            flush=True,
        )
    return {"case": case, "widths": widths, "samples": n, "threads": result}


def main() -> int:
    parser = options_parser(__doc__)
    parser.add_argument("--schemes", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--largest-gib", type=float, default=4.0, help="memory of a point at most")
    parser.add_argument("--width", type=int, default=256, help="where the width does not grow")
    parser.add_argument("--samples", type=int, help="where they do not; default 12000, quick 3000")
    parser.add_argument("--thread-widths", type=int, nargs="+", default=[600, 1500])
    parser.add_argument(
        "--thread-samples", type=int, nargs="+", help="one for each of them, or for all"
    )
    parser.add_argument("--parts", nargs="+", choices=["growth", "scaling"], help="default: both")
    parser.add_argument("--sweeps", type=int, help="timed ones; default 3, quick 2")
    parser.add_argument("--rounds", type=int, help="of threads; default 5, quick 1")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=0, help="default: all cores")
    given = parser.parse_args()
    given.samples = given.samples or (3000 if given.quick else 12000)
    given.thread_samples = given.thread_samples or [given.samples]
    if len(given.thread_samples) == 1:
        given.thread_samples *= len(given.thread_widths)
    if len(given.thread_samples) != len(given.thread_widths):
        parser.error("--thread-samples: one, or as many as --thread-widths")
    given.parts = given.parts or ["growth", "scaling"]
    given.sweeps = given.sweeps or (2 if given.quick else 3)
    given.rounds = given.rounds or (1 if given.quick else 5)

    result = heading("scaling", given)
    cores = result["machine"]["cores"]
    threads = given.threads or cores
    result |= {"threads": threads, "theory": THEORY}
    if "growth" in given.parts:
        result["growth"] = {case: scale(case, given, threads) for case in given.schemes}
        print()
    if "scaling" in given.parts:
        result["scaling"] = [
            threads_in_turn(case, width, samples, given, threads)
            for case in given.schemes
            for width, samples in zip(given.thread_widths, given.thread_samples, strict=True)
        ]
    write(result, given.output / "scaling.json")
    return 0


if __name__ == "__main__":
    sys.exit(0 if answer(point) else main())
