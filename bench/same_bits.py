"""Whether two builds of amcore compute the same bits, and whether the new one is as fast.

    python bench/same_bits.py OLD NEW            # everything, minutes
    python bench/same_bits.py OLD NEW --quick    # after every step of a change

OLD and NEW are directories in which `import amcore` finds a build: `python` of a checkout with its
extension modules beside the sources, or what `pip install --target` filled. Each side runs in
processes of its own and is used by its public interface only.

Bits: every scheme, plain, regularised and with two inner iterations, in float32 and float64, on 1
and 2 threads and the CPU levels that both builds have. After the forward pass and after every
sweep, measured or not, all arrays of the state and all numbers of the record must be equal (NaN
equals NaN); the first that is not is named, but for numbers that only NEW has. Arrays that NEW
calls otherwise are compared by value: `--renamed a=b,c` says that OLD's `a` holds what NEW has in
`b` and `c`.

Speed: both sides hold the same runs at the same time and sweep in turns, plain and measured. New
sweeps are slower if they take more than 1 % more CPU time by the median of the rounds' ratios and
by the best rounds of either, as medians wander where others share the cores; wall times are noted
beside. What is slower is timed again in fresh processes, as where memory lies makes a difference
too, before it counts.

The exit status is 0 if the bits are the same and nothing is slower, else 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
from common import (
    Array,
    Commands,
    Companion,
    attend,
    circumstances,
    options_parser,
    thread_limits,
    write,
)

SWEEPS = 4  # every second one is measured
SITTINGS = 3  # at most so many pairs of processes time what seems slower
TURN_SECONDS = 0.05  # a turn is so many sweeps that it takes at least this


@dataclass(frozen=True)
class Case:
    """A scheme by name with its keywords, and the problem it solves."""

    scheme: str
    settings: dict[str, Any] = field(default_factory=dict)
    activation: str = "relu"
    skip: bool = False
    loss: str = "squared"
    weights: tuple[Any, ...] = ("none",)  # a regulariser's name and parameters
    activations: tuple[Any, ...] = ("none",)
    keep_products: bool = True
    timed: bool = False


L1, RIDGE = ("l1", 0.01), ("ridge", 1.0)
CASES = {
    "three-split": Case("ThreeSplitBCD", timed=True),
    "three-split, regularised": Case(
        "ThreeSplitBCD",
        {"inner_iters": 10},
        activation="tanh",
        loss="cross_entropy",
        weights=L1,
        activations=("ridge", 0.1),
    ),
    "three-split, 2 inner iterations": Case(
        "ThreeSplitBCD", {"inner_iters": 2}, "softplus", weights=L1, activations=("l1", 0.1)
    ),
    "three-split, no products kept": Case(
        "ThreeSplitBCD", activation="sigmoid", loss="hinge", keep_products=False
    ),
    "resnet": Case("ThreeSplitBCD", skip=True, weights=RIDGE, timed=True),
    "resnet, regularised": Case(
        "ThreeSplitBCD",
        {"inner_iters": 10},
        activation="tanh",
        skip=True,
        loss="logistic",
        weights=("elastic_net", 0.01, 0.1),
        activations=("nonnegative",),
    ),
    "resnet, 2 inner iterations": Case(
        "ThreeSplitBCD", {"inner_iters": 2}, "leaky_relu", skip=True, weights=L1, activations=L1
    ),
    "two-split": Case("TwoSplitBCD", weights=RIDGE, timed=True),
    "two-split, sigmoid": Case("TwoSplitBCD", activation="sigmoid", timed=True),
    "two-split, regularised": Case(
        "TwoSplitBCD",
        {"inner_steps": 10},
        activation="tanh",
        loss="cross_entropy",
        weights=L1,
        activations=("ridge", 0.1),
    ),
    "two-split, 2 inner iterations": Case(
        "TwoSplitBCD",
        {"inner_iters": 2, "inner_steps": 2},
        "leaky_relu",
        weights=("group_lasso", 0.1),
        activations=("l1", 0.1),
    ),
    "two-split, no products kept": Case("TwoSplitBCD", loss="huber", keep_products=False),
    "admm": Case("ADMM", {"majorizer": "tight"}, "sigmoid", weights=("ridge", 1e-3), timed=True),
    "admm, published majoriser, multipliers by backpropagation": Case(
        "ADMM", {"majorizer": "published", "dual_init": "backprop"}, "tanh", weights=RIDGE
    ),
    "admm, no products kept": Case(
        "ADMM", {"xi": 0.1}, "sigmoid", loss="logistic", keep_products=False
    ),
    "mdlam": Case("MDLAM", {"rho": 0.1}, weights=RIDGE, timed=True),
    "mdlam, regularised": Case("MDLAM", activation="tanh", loss="cross_entropy", weights=L1),
    "mdlam, falling epsilon": Case(
        "MDLAM", {"epsilon": 0.1, "epsilon_schedule": (0.5, 0.01)}, "leaky_relu", loss="hinge"
    ),
    "mdlam, not extrapolated": Case(
        "MDLAM", {"extrapolate": False}, "sigmoid", keep_products=False
    ),
}
# What a newer build calls a scheme's keyword, taken where the scheme has it.
KEYWORDS = {("ThreeSplitBCD", "inner_iters"): "inner_steps"}
# And arrays of the state, compared by value.
RENAMED = {"momentum": ["s", "epsilon"]}

CHECKED = {  # widths and samples, on which bits are compared
    "several chunks of samples": ([50, 67, 67, 30, 10], 900),
    "wide layers": ([60, 250, 250, 10], 300),
}
NETS = {  # hidden layers of MNIST's shape, samples: what is timed
    "4x600": ([784, 600, 600, 600, 600, 10], 600),
    "2x1500": ([784, 1500, 1500, 10], 600),
    "64-32-10": ([64, 32, 10], 1437),
}
# With --quick: what is checked and on how many threads, and what is timed, with its samples.
QUICK_CHECKED, QUICK_THREADS = ["several chunks of samples"], [2]
QUICK_NETS = {"4x600": 240, "64-32-10": 1437}


# ---- a side, in a process of its own -----------------------------------------------------------


def side(directory: str) -> None:
    """Answer for the build in a directory, which is first on the path."""

    def begin() -> tuple[dict[str, Any], Commands]:
        import amcore
        from amcore._isa import built_levels, config, supported_levels

        if not Path(amcore.__file__).is_relative_to(directory):
            raise ImportError(f"{directory}: no amcore there")
        levels = [level for level in built_levels() if level in supported_levels()]
        held = Timed()
        return {"config": config(), "levels": levels}, {
            "fingerprints": fingerprints,
            "hold": held.hold,
            "turn": held.turn,
        }

    attend(begin)


def steps(case: Case, widths: list[int], n: int, dtype: str, threads: int, **options: Any) -> Any:
    """The run of a case, as `amcore.iterate` gives it."""
    import amcore

    generator = np.random.default_rng(0)
    X = generator.random((n, widths[0]))
    X[X < 0.6] = 0  # as images, mostly zeros
    labels = np.arange(n) % widths[-1]

    def regularizer(name: str, *parameters: float) -> Any:
        return getattr(amcore.regularizers, name)(*parameters) if parameters else name

    problem = amcore.Problem(
        amcore.Network(widths, activation=case.activation, skip=case.skip),
        X.astype(dtype),
        labels,
        loss=case.loss,
        weight_regularizer=regularizer(*case.weights),
        activation_regularizer=regularizer(*case.activations),
    )
    scheme = getattr(amcore, case.scheme)
    known = {entry.name for entry in dataclasses.fields(scheme)}
    settings = {}
    for name, value in case.settings.items():
        newer = KEYWORDS.get((case.scheme, name))
        settings[newer if newer in known else name] = value
    return amcore.iterate(
        problem,
        scheme(**settings),
        measure_every=2,
        num_threads=threads,
        keep_products=case.keep_products,
        **options,
    )


def fingerprints(name: str, net: str, dtype: str, threads: int) -> dict[str, Any]:
    """What a short run of a case leaves, sweep by sweep, 0 being the start."""
    found: list[dict[str, Any]] = []

    class Recorder:
        def begin(self, step: Any) -> None:
            found.append(
                {f"array {name}": fingerprint(array) for name, array in step.state.items()}
                | {f"record {name}": text for name, text in numbers(step.record)}
                | {"marks": str(step.trace.marks)}
            )

        step = begin

    for _ in steps(
        CASES[name], *CHECKED[net], dtype, threads, max_iter=SWEEPS, callbacks=[Recorder()]
    ):
        pass
    return {"sweeps": found}


def fingerprint(array: Array) -> dict[str, Any]:
    """Equal for equal bits; with the values of a short array, which may have another name."""
    digest = hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()
    found = {"dtype": str(array.dtype), "shape": array.shape, "digest": digest}
    if array.size <= 16:
        found["values"] = [float(x).hex() for x in array.ravel()]
    return found


def numbers(record: Any) -> list[tuple[str, str]]:
    """The numbers of a record that are no times, exactly; marks are those of the trace."""
    found = []
    for entry in dataclasses.fields(record):
        value = getattr(record, entry.name)
        if entry.name in ("time", "seconds", "marks"):
            continue
        if isinstance(value, Mapping):
            found += [(f"{entry.name} {key}", float(x).hex()) for key, x in value.items()]
        else:
            found.append((entry.name, float(value).hex()))
    return found


class Timed:
    """Runs that are held, each swept when it is its turn."""

    def __init__(self) -> None:
        self.runs: dict[str, Any] = {}

    def hold(
        self, name: str, widths: list[int], n: int, dtype: str, threads: int
    ) -> dict[str, Any]:
        """Begin a run; the first sweeps contain its start."""
        self.runs[name] = steps(CASES[name], widths, n, dtype, threads, max_iter=10**9)
        self.turn(name, 1)
        return self.turn(name, 1)

    def turn(self, name: str, pairs: int) -> dict[str, Any]:
        """Wall and CPU seconds of so many sweeps, plain ones and measured ones."""
        total = {"plain": [0.0, 0.0], "measured": [0.0, 0.0]}
        for _ in range(pairs):
            for seconds in total.values():
                wall, cpu = perf_counter(), process_time()
                next(self.runs[name])
                seconds[0] += perf_counter() - wall
                seconds[1] += process_time() - cpu
        return total


# ---- the comparison ----------------------------------------------------------------------------


class Pair:
    """OLD and NEW at one CPU level, side by side."""

    def __init__(
        self, directories: list[str], level: str | None, threads: int, spin: bool = True
    ) -> None:
        self.sides = []
        for directory in directories:
            environment = os.environ | thread_limits(threads) | {"PYTHONPATH": directory}
            environment.pop("AMCORE_ISA", None)
            if not spin:  # a thread that waits for others leaves the core to whoever needs it
                environment["OMP_WAIT_POLICY"] = "passive"
            if level is not None:
                environment["AMCORE_ISA"] = level
            self.sides.append(Companion(__file__, "--side", directory, environment=environment))

    def ask(self, *command: Any, backwards: bool = False) -> list[dict[str, Any]]:
        """The answers of OLD and NEW, one after the other."""
        order = self.sides[::-1] if backwards else self.sides
        answers = [one.ask(*command) for one in order]
        self.check()
        found = [answer for answer in answers if answer is not None]
        return found[::-1] if backwards else found

    def check(self) -> None:
        for who, one in zip(("OLD", "NEW"), self.sides, strict=True):
            if one.error is not None:
                raise RuntimeError(f"{who}: {one.error}")

    def __enter__(self) -> Pair:
        self.check()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.sides:
            one.close()


def first_difference(
    old: list[dict[str, Any]], new: list[dict[str, Any]], renamed: dict[str, list[str]]
) -> str | None:
    """Where two runs part, None if they do not."""
    taken = {f"array {name}" for names in renamed.values() for name in names}
    for sweep, (before, after) in enumerate(zip(old, new, strict=True)):
        where = "the start" if sweep == 0 else f"sweep {sweep}"
        for key, value in before.items():
            parts = renamed.get(key.removeprefix("array "), []) if "array " in key else []
            if parts and key not in after:
                if not same_values(value, [after.get(f"array {name}") for name in parts]):
                    return f"{where}: {key} is not {', '.join(parts)}"
            elif key not in after:
                return f"{where}: NEW has no {key}"
            elif value != after[key]:
                told = f": {value} and {after[key]}" if isinstance(value, str) else ""
                return f"{where}: {key}{told}"
        for key in after:
            if key.startswith("array") and key not in before and key not in taken:
                return f"{where}: OLD has no {key}"
    return None


def same_values(old: dict[str, Any], new: list[dict[str, Any] | None]) -> bool:
    """Whether short arrays in a row hold an array's values, as far as its type can tell."""
    try:
        values = [float.fromhex(x) for one in new for x in one["values"]]  # type: ignore[index]
    except (KeyError, TypeError):
        return False
    expected = [float.fromhex(x) for x in old["values"]]
    rounded = np.array(values, old["dtype"])
    return np.array_equal(rounded, np.array(expected, old["dtype"]), equal_nan=True)


def compare_bits(
    directories: list[str], levels: list[str], given: argparse.Namespace
) -> dict[str, Any]:
    found: dict[str, Any] = {"compared": 0, "differences": []}
    for level in levels:
        with Pair(directories, level, max(given.bits_threads), spin=False) as pair:
            for name in given.cases:
                for net in QUICK_CHECKED if given.quick else CHECKED:
                    for dtype in given.dtypes:
                        for threads in given.bits_threads:
                            old, new = pair.ask("fingerprints", name, net, dtype, threads)
                            found["compared"] += 1
                            gap = first_difference(old["sweeps"], new["sweeps"], given.renamed)
                            if gap is not None:
                                who = f"{level}, {name}, {net}, {dtype}, threads {threads}"
                                found["differences"].append({"run": who, "first": gap})
                                print(f"DIFFERS  {who}: {gap}", flush=True)
        print(f"{level}: bits compared", flush=True)
    return found


def compare_speed(
    directories: list[str], levels: list[str], given: argparse.Namespace
) -> list[dict[str, Any]]:
    found = []
    names = [name for name in given.cases if CASES[name].timed]
    for level in levels:
        for net in given.nets:
            widths, n = NETS[net]
            n = QUICK_NETS.get(net, n) if given.quick else n
            for dtype in given.dtypes:
                for threads in given.threads:
                    task = (widths, n, dtype, threads)
                    timed = {
                        "level": level,
                        "net": net,
                        "samples": n,
                        "dtype": dtype,
                        "threads": threads,
                        "sweeps": time_sweeps(directories, level, names, task, given),
                    }
                    report(timed, given.limit)
                    found.append(timed)
    return found


def time_sweeps(
    directories: list[str],
    level: str,
    names: list[str],
    task: tuple[list[int], int, str, int],
    given: argparse.Namespace,
) -> dict[str, Any]:
    """Seconds and ratios by case and kind of sweep."""
    rounds: dict[str, list[list[dict[str, list[float]]]]] = {name: [] for name in names}
    found: dict[str, Any] = {}
    waiting = names
    for _ in range(SITTINGS):
        with Pair(directories, level, task[-1]) as pair:
            pairs = {}
            for name in waiting:
                old, _ = pair.ask("hold", name, *task)
                seconds = sum(wall for wall, _ in old.values())
                pairs[name] = max(1, math.ceil(TURN_SECONDS / seconds))
            for turn in range(given.rounds):
                for name in waiting:
                    answers = pair.ask("turn", name, pairs[name], backwards=turn % 2 == 1)
                    rounds[name].append(answers)
        for name in waiting:
            found[name] = {kind: ratios(rounds[name], kind) for kind in ("plain", "measured")}
        waiting = [
            name
            for name in waiting
            if any(slower(one, given.limit) for one in found[name].values())
        ]
        if not waiting:
            break
    return found


def ratios(rounds: list[list[dict[str, list[float]]]], kind: str) -> dict[str, Any]:
    """Medians of a kind of sweep over all rounds, by wall and CPU time; ratios are new/old."""
    found: dict[str, Any] = {"rounds": len(rounds)}
    for index, clock in enumerate(("wall", "cpu")):
        old = [one[kind][index] for one, _ in rounds]
        new = [one[kind][index] for _, one in rounds]
        by_round = [b / a for a, b in zip(old, new, strict=True)]
        found[clock] = {
            "old_seconds_a_turn": median(old),
            "new_seconds_a_turn": median(new),
            "ratio": median(by_round),
            "least": min(by_round),
            "most": max(by_round),
            "best_ratio": min(new) / min(old),
        }
    return found


def slower(one: dict[str, Any], limit: float) -> bool:
    return min(one["cpu"]["ratio"], one["cpu"]["best_ratio"]) > limit


def report(timed: dict[str, Any], limit: float) -> None:
    print(
        f"\n{timed['level']}, {timed['net']}, {timed['samples']} samples, {timed['dtype']}, "
        f"threads {timed['threads']}: new/old by CPU time "
        "(least to most of a round), of the best rounds, by wall time"
    )
    for name, kinds in timed["sweeps"].items():
        for kind, one in kinds.items():
            cpu, wall = one["cpu"], one["wall"]
            print(
                f"  {name:20} {kind:9} {cpu['ratio']:.3f} ({cpu['least']:.2f} to {cpu['most']:.2f})"
                f"  {cpu['best_ratio']:.3f}  {wall['ratio']:.3f}  {one['rounds']} rounds"
                f"{'  SLOWER' if slower(one, limit) else ''}",
                flush=True,
            )


def renaming(text: str) -> tuple[str, list[str]]:
    old, _, new = text.partition("=")
    if not old or not new:
        raise argparse.ArgumentTypeError(f"expected old=new or old=new,new, got {text}")
    return old, new.split(",")


def arguments() -> argparse.Namespace:
    parser = options_parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = __doc__
    parser.add_argument("builds", nargs=2, metavar="BUILD", help="directories, OLD and NEW")
    parser.add_argument("--only", choices=("bits", "speed"))
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--levels", nargs="+", help="default: all for bits, the best for speed")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    parser.add_argument("--nets", nargs="+", choices=list(NETS), help="that are timed")
    parser.add_argument("--threads", nargs="+", type=int, default=[1], help="of timed sweeps")
    parser.add_argument("--bits-threads", nargs="+", type=int, help="default 1 2, quick 2")
    parser.add_argument("--rounds", type=int, default=9, help="of a pair of processes, default 9")
    parser.add_argument("--limit", type=float, default=1.01, help="of ratios, default 1.01")
    parser.add_argument("--renamed", nargs="+", type=renaming, default=[], metavar="OLD=NEW,…")
    given = parser.parse_args()
    given.renamed = RENAMED | dict(given.renamed)
    given.bits_threads = given.bits_threads or (QUICK_THREADS if given.quick else [1, 2])
    given.nets = given.nets or list(QUICK_NETS if given.quick else NETS)
    return given


def main() -> int:
    if sys.argv[1:2] == ["--side"]:
        side(sys.argv[2])
        return 0
    given = arguments()
    directories = [str(Path(name).resolve()) for name in given.builds]
    with Pair(directories, None, 1) as pair:
        ready = [one.ready or {} for one in pair.sides]
    common = [level for level in ready[0]["levels"] if level in ready[1]["levels"]]
    levels = given.levels or common
    if missing := [level for level in levels if level not in common]:
        sys.exit(f"--levels: not in both builds, or not for this machine: {', '.join(missing)}")
    if not levels:
        sys.exit("the builds have no CPU level in common")

    result = circumstances("same_bits", given)
    result |= {who: one["config"] for who, one in zip(("old", "new"), ready, strict=True)}
    passed = True
    if given.only != "speed":
        result["bits"] = compare_bits(directories, levels, given)
        passed &= not result["bits"]["differences"]
    if given.only != "bits":
        timed_levels = levels if given.levels else levels[-1:]
        result["speed"] = compare_speed(directories, timed_levels, given)
        passed &= not any(
            slower(one, given.limit)
            for timed in result["speed"]
            for kinds in timed["sweeps"].values()
            for one in kinds.values()
        )
    result["passed"] = passed
    write(result, given.output / "same_bits.json")
    if "bits" in result:
        runs, gaps = result["bits"]["compared"], len(result["bits"]["differences"])
        print(f"bits: {runs - gaps} of {runs} runs are the same")
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
