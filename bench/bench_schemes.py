"""A sweep of every scheme beside its floor: the flops of its own count over the FMA peak.

    python bench/bench_schemes.py            # everything
    python bench/bench_schemes.py --quick    # two minutes; says so in its result

First the compiled core must give the objectives of the NumPy reference on few samples. Then the
schemes take turns: a sweep that is not measured, objective included, one with dist(0, ∂f) and step
norms, and the machine's peak beside them.

Flops of a sweep over n samples, in units of n d e for a layer with d inputs and e outputs (square:
d = e), symmetric products at half. "Needed" is what the formulas need with fused passes and nothing
kept from one sweep to the next but the state, all with d e for d² or e²; layer 1 has no hidden
block below it and a constant Gram matrix. P = W V is with the old weights:

                  layer 1   2 … N − 1   layer N
    three-split      4          9          9      W s 2, correction of V 2, P 2, U Vᵀ 2, V Vᵀ 1
    two-split        6         13          9      P 2, step of V and W V after it 6, E Vᵀ 2, V Vᵀ 1,
                                                  ΔW V, which tells whether W's step counts, 2
    admm             6         13          9      P 2, E Vᵀ 2, V Vᵀ 1; W V with the new W 2,
                                                  step of V and W V after it 6
    mdlam            6         13         13      E 2, W D 2, Wᵀ(E − W D) 2, W ΔV 2, E Vᵀ 2, V Vᵀ 1,
                                                  W V with the new W 2

A skip connection costs no product. "Performed" is what the compiled passes do, where the hidden
block h is, in the smaller of two forms, 4 n d e + 2 n e min(d, e):

                  layer 1   2 … N − 1 (square)      layer N
    three-split      6      h + P 2 + sums 3 = 11     11     layer 1: P 2, R Xᵀ 2, last residual 2
    two-split        6      h + P 2 + W ΔV 2 +        15     layer N, whose σ is the identity:
                            sums 3 + ΔW V 2 = 15             P again 2 in place of ΔW V
    admm             6      h + W V twice on the      15
                            way to V 4 + P 2 + sums 3 = 15
    mdlam            6      13 as needed              13

These are the least: in two-split every sample of V and row of W whose step is rejected takes
another, and in mdlam 4 more a sample (relu's kinks do that; both show in the ratio). Neither counts
what does not grow with n, the small systems in float64: `phases` shows their time as factor and
weight. Elementwise work counts nowhere.
"""

from __future__ import annotations

import dataclasses
import sys
from itertools import pairwise
from statistics import median
from time import perf_counter, process_time
from typing import Any

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
    "TwoSplitBCD": (6, 13, 9),
    "ADMM": (6, 13, 9),
    "MDLAM": (6, 13, 13),
}
CHECKED_SWEEPS = 3
AGREE = {  # float64, relative
    "objective": 1e-9,
    "subgradient_distance": 1e-6,
}
TARGET = 1.5


def needed_flops(scheme: str, widths: list[int], n: int) -> float:
    """As listed above; `scheme`: name of its class."""
    first, between, last = NEEDED[scheme]
    layers = list(pairwise(widths))
    counts = [first, *[between] * (len(layers) - 2), last][: len(layers)]
    return sum(float(k) * n * d * e for k, (d, e) in zip(counts, layers, strict=True))


def performed_flops(scheme: str, widths: list[int], n: int) -> float:
    """As listed above."""
    total = 0.0
    for i, (d, e) in enumerate(pairwise(widths)):
        sums = 2.0 * d * e + d * d  # of R Vᵀ and V Vᵀ
        hidden = 4.0 * d * e + 2.0 * e * min(d, e)
        if i == 0:
            total += 6.0 * d * e
        elif scheme == "ThreeSplitBCD":
            total += hidden + 2.0 * d * e + sums
        elif scheme == "MDLAM":
            total += 10.0 * d * e + sums
        else:
            total += hidden + 6.0 * d * e + sums
    return n * total


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
    for steps in engines.values():
        steps.close()  # type: ignore[attr-defined]

    speed = median(peaks) if peaks else None
    result: dict[str, Any] = {
        "dtype": dtype,
        "threads": threads,
        "repeats": repeats,
        "fma_peak_gflops": speed,
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
