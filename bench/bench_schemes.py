"""A sweep of every scheme beside its floor: the flops of its own count over the FMA peak.

    python bench/bench_schemes.py            # everything
    python bench/bench_schemes.py --quick    # two minutes; says so in its result

First the compiled core must give the objectives of the NumPy reference on few samples. Then the
schemes take turns: a sweep that is not measured, objective included, one with dist(0, ∂f) and step
norms, and the machine's peak and NumPy's product of a layer beside them.

Flops of a sweep over n samples, in units of n d e for a layer with d inputs and e outputs (square:
d = e), symmetric products at half. "Needed" is what the formulas need with fused passes, where the
products P = W V that a sweep ends with may be kept for the next. Layer 1 has no hidden block below
it and a constant Gram matrix; N is the output layer, with the identity:

                  layer 1   2 … N − 1   N
    three-split      4          9       9    W S 2, correction of V 2, P 2, R Vᵀ 2, V Vᵀ 1
    two-split        4         11       9    step of V 4, P 2, E Vᵀ 2, V Vᵀ 1, and ΔW V 2, which
                                             tells whether the step of W counts (not at N)
    admm             4         11       9    E Vᵀ 2, V Vᵀ 1; with the new W: W V 2, step of V 4,
                                             P 2 (at N the step of V needs no W V)
    mdlam            4         11      11    W D 2, Wᵀ(E − W D) 2, W ΔV 2, R Vᵀ 2, V Vᵀ 1; with the
                                             new W: P 2

A skip connection costs no product. "Performed" is what the compiled passes do, with d² for V Vᵀ:

    three-split      4          9       9    P is kept
    two-split        4         11       9    P is kept; where float32 steps are shorter than 1e-4
                                             of V: 6, 13, 9, as W ΔV is no difference of products
    admm             4         11      11    P is kept; at N also W V
    mdlam            4         11      11    P is kept

Neither counts more than one try of a step: in two-split every sample of V and row of W whose step
is rejected takes another one, as relu's kinks have it, in mdlam a rejected sample 4 more. Neither
counts what does not grow with n, the small systems in float64 (`phases` shows the time they take,
as factor and weight), nor any work entry by entry.
"""

from __future__ import annotations

import dataclasses
import sys
from itertools import pairwise
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy_product
from common import Array, heading, load_images, options_parser, quotient, write
from machine import Peak

import amcore
from amcore.compare import SETTINGS, Setting

CASES: dict[str, Setting] = {
    "three-split": SETTINGS["three-split"],
    "resnet": SETTINGS["resnet"],
    "two-split": SETTINGS["two-split"],
    "two-split sigmoid": dataclasses.replace(SETTINGS["two-split"], activation="sigmoid"),
    "admm": SETTINGS["admm"],
    "mdlam": SETTINGS["mdlam"],
}
NEEDED = {  # layer 1, the layers between, layer N; of n d e
    "ThreeSplitBCD": (4, 9, 9),
    "TwoSplitBCD": (4, 11, 9),
    "ADMM": (4, 11, 9),
    "MDLAM": (4, 11, 11),
}
PERFORMED = {
    "ThreeSplitBCD": (4, 9, 9),
    "TwoSplitBCD": (4, 11, 9),
    "ADMM": (4, 11, 11),
    "MDLAM": (4, 11, 11),
}
CHECKED_SWEEPS = 3
AGREE = {  # float64, relative
    "objective": 1e-9,
    "subgradient_distance": 1e-6,
}
TARGET = 1.5


def needed_flops(scheme: str, widths: list[int], n: int) -> float:
    """As listed above; `scheme`: name of its class."""
    return sum(float(n) * k * d * e for k, d, e in by_layer(NEEDED[scheme], widths))


def performed_flops(scheme: str, widths: list[int], n: int) -> float:
    first, *others = by_layer(PERFORMED[scheme], widths)
    k, d, e = first
    return float(n) * (k * d * e + sum((k - 1) * d * e + d * d for k, d, e in others))


def by_layer(counts: tuple[int, int, int], widths: list[int]) -> list[tuple[int, int, int]]:
    first, between, last = counts
    layers = list(pairwise(widths))
    every = [first, *[between] * (len(layers) - 2), last]
    return [(k, d, e) for k, (d, e) in zip(every, layers, strict=True)]


def problem(setting: Setting, widths: list[int], X: Array, labels: Array) -> amcore.Problem:
    network = amcore.Network(widths, activation=setting.activation, skip=setting.skip)
    ridge = amcore.regularizers.ridge(setting.ridge)
    return amcore.Problem(network, X, labels, loss="squared", weight_regularizer=ridge)


def check(widths: list[int], X: Array, labels: Array) -> dict[str, Any]:
    """Largest relative differences from the reference over the sweeps, measured ones."""
    found = {}
    for name, setting in CASES.items():
        posed = problem(setting, widths, X.astype("float64"), labels)
        native, reference = (
            amcore.solve(posed, setting.scheme, max_iter=CHECKED_SWEEPS, backend=backend).trace
            for backend in ("native", "reference")
        )
        gaps = {
            key: float(max(abs(getattr(native, key) / getattr(reference, key) - 1)))
            for key in AGREE
        }
        found[name] = gaps | {"passed": all(gaps[key] <= AGREE[key] for key in AGREE)}
        print(
            f"{name:18} objective {gaps['objective']:.1e}, dist {gaps['subgradient_distance']:.1e}"
            f" from the reference{'' if found[name]['passed'] else '  THEY DIFFER'}"
        )
    return found


def run(
    widths: list[int], X: Array, labels: Array, threads: int, repeats: int, peak: Peak
) -> dict[str, Any]:
    """Rounds of turns; the first, with the start and mDLAM's sweeps without momentum, is a
    warm-up."""
    dtype = str(X.dtype)
    engines = {
        name: amcore.iterate(
            problem(setting, widths, X, labels),
            setting.scheme,
            max_iter=10**9,
            measure_every=2,  # sweeps 1, 3, … are not measured
            num_threads=threads,
        )
        for name, setting in CASES.items()
    }
    kinds = ("plain", "measured")
    wall: dict[str, dict[str, list[float]]] = {name: {k: [] for k in kinds} for name in CASES}
    cpu: dict[str, list[float]] = {name: [] for name in CASES}
    phases: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    peaks: list[float] = []
    numpy_products: list[float] = []
    for turn in range(repeats + 1):
        for name, steps in engines.items():
            for kind in kinds:
                start, used = perf_counter(), process_time()
                step = next(steps)
                seconds, used = perf_counter() - start, process_time() - used
                if turn == 0:
                    continue
                wall[name][kind].append(seconds)
                if kind == "plain":
                    cpu[name].append(used)
                    phases[name].append(dict(step.record.seconds))
        if turn > 0 and (gflops := peak.flops(dtype, threads)) is not None:
            peaks.append(gflops)
            numpy_products.append(numpy_product.gflops(dtype, threads, widths[1]))
    for steps in engines.values():
        steps.close()  # type: ignore[attr-defined]

    speed = median(peaks) if peaks else None
    result: dict[str, Any] = {
        "dtype": dtype,
        "threads": threads,
        "repeats": repeats,
        "fma_peak_gflops": speed,
        "numpy_product_over_floor": quotient(speed, median(numpy_products)) if peaks else None,
        "schemes": {},
    }
    for name, setting in CASES.items():
        scheme = type(setting.scheme).__name__
        flops = {
            "needed": needed_flops(scheme, widths, len(X)),
            "performed": performed_flops(scheme, widths, len(X)),
        }
        plain = median(wall[name]["plain"])
        result["schemes"][name] = {
            "seconds": wall[name],
            "median_seconds": plain,
            "flops": flops,
            "floor_seconds": {k: quotient(f / 1e9, speed) for k, f in flops.items()},
            "over_floor": {k: quotient(plain, quotient(f / 1e9, speed)) for k, f in flops.items()},
            # What a core does while it has it: robust where the machine is shared.
            "over_floor_by_cpu_time": {
                k: quotient(median(cpu[name]), f / 1e9 / max(peaks) * threads) if peaks else None
                for k, f in flops.items()
            },
            "measured/plain": median(wall[name]["measured"]) / plain,
            "phases": {
                phase: median(one[phase] for one in phases[name]) for phase in phases[name][0]
            },
        }
    return result


def report(found: dict[str, Any]) -> None:
    print(
        f"\n{found['dtype']}, {found['threads']} thread{'s' if found['threads'] > 1 else ''}, "
        f"median of {found['repeats']}, FMA peak {found['fma_peak_gflops'] or float('nan'):.0f} "
        "GFLOP/s"
    )
    print(f"  {'':18}  seconds   × floor: needed  performed  by CPU time  measured")
    if (alone := found["numpy_product_over_floor"]) is not None:
        print(f"  {'NumPy W X alone':28} {alone:15.2f}")
    for name, one in found["schemes"].items():
        needed, performed, by_cpu = (
            float("nan") if x is None else x
            for x in (
                one["over_floor"]["needed"],
                one["over_floor"]["performed"],
                one["over_floor_by_cpu_time"]["needed"],
            )
        )
        shares = ", ".join(f"{k} {v / one['median_seconds']:.0%}" for k, v in one["phases"].items())
        print(
            f"  {name:18} {one['median_seconds']:8.3f}  {needed:15.2f}  {performed:9.2f}"
            f"  {by_cpu:11.2f}  {one['measured/plain']:8.2f}  {shares}"
            f"{'  ABOVE THE TARGET' if needed > TARGET else ''}"
        )


def main() -> int:
    parser = options_parser(__doc__)
    parser.add_argument("--widths", nargs="+", type=int, default=[784, 600, 600, 600, 10])
    parser.add_argument("--samples", type=int, help="default 12000, quick 3000")
    parser.add_argument("--check-samples", type=int, default=300)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, help="timed rounds; default 7, quick 2")
    given = parser.parse_args()
    given.samples = given.samples or (3000 if given.quick else 12000)
    given.repeats = given.repeats or (2 if given.quick else 7)

    source, X, labels = load_images()
    X, labels = X[:, : given.widths[0]], labels
    result = heading("schemes", given) | {"data": source, "target": TARGET}
    result["checks"] = check(given.widths, X[: given.check_samples], labels[: given.check_samples])
    passed = all(one["passed"] for one in result["checks"].values())
    peak = Peak()
    result["runs"] = []
    for dtype in given.dtypes:
        samples = X[: given.samples].astype(dtype)
        for threads in given.threads:
            found = run(
                given.widths, samples, labels[: given.samples], threads, given.repeats, peak
            )
            result["runs"].append(found)
            report(found)
    result["peak_error"] = peak.error
    write(result, given.output / "schemes.json")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
