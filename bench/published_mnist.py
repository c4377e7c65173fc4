"""Three-splitting BCD on MNIST beside the published runs.

    python bench/published_mnist.py FOLDER                # the folder with MNIST's four files
    python bench/published_mnist.py FOLDER --sweeps 50    # as long as the published wide runs

Zeng, Lau, Lin, Yao (ICML 2019) and the code they published: pixels / 255, squared loss on one-hot
targets, γ = ρ = 1, W ~ 0.01·N(0, 1), b = 0.1. Compared are the data term ½‖V_N − Y‖² sweep by sweep
and the test accuracy. The published code updates b with the weights of the sweep before; here
(W, b) is one block. The random start alone makes the first data term, with a standard deviation of
0.8 % over seeds for the wide network: the seed here is one that starts as the published run did.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from machine import describe, now, versions

import amcore
from amcore.datasets import load_mnist_folder

RUNS: dict[str, dict[str, Any]] = {
    "3x1500": {
        "widths": [784, 1500, 1500, 1500, 10],
        "alpha": 5.0,
        "seed": 16,
        "data_terms": {
            1: 20286,
            2: 15321,
            3: 11775,
            5: 7060,
            10: 1982,
            20: 156,
            30: 12.3,
            50: 0.083,
        },
        "accuracy": (0.944, 0.949, 50),
    },
    "10x600": {
        "widths": [784, *[600] * 10, 10],
        "alpha": 1.0,
        "seed": 0,
        "data_terms": {1: 12142, 2: 6830, 3: 4677, 4: 3002, 5: 1890, 10: 179.8, 20: 1.60},
        "accuracy": (0.856, 0.872, 300),
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--sweeps", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    given = parser.parse_args()
    data = load_mnist_folder(given.folder)
    result: dict[str, Any] = {
        "date": now(),
        "machine": describe(),
        "versions": versions("amcore", "numpy"),
    }
    for name in given.runs:
        settings = RUNS[name]
        run = amcore.solve(
            amcore.Problem(amcore.Network(settings["widths"]), data.X_train, data.y_train),
            amcore.ThreeSplitBCD(gamma=1.0, alpha=settings["alpha"]),
            max_iter=given.sweeps,
            init=amcore.initialization.gaussian(0.01, bias=0.1),
            seed=settings["seed"],
            measure_every=given.sweeps + 1,
        )
        found = run.trace.parts["loss"]
        rows = {
            sweep: {"published": published, "here": float(found[sweep])}
            for sweep, published in settings["data_terms"].items()
            if sweep <= given.sweeps
        }
        print(name)
        for sweep, row in rows.items():
            ratio = row["here"] / row["published"]
            print(
                f"  sweep {sweep:3}  published {row['published']:8}  here {row['here']:10.4g}"
                f"  ratio {ratio:.4f}"
            )
        accuracy = run.score(data.X_test, data.y_test)
        low, high, sweeps = settings["accuracy"]
        print(
            f"  test accuracy {accuracy:.4f} after {given.sweeps} sweeps;"
            f" published {low} to {high} after {sweeps}"
        )
        result[name] = {
            "data_terms": rows,
            "accuracy": accuracy,
            "sweeps": given.sweeps,
            "monotone": bool((run.trace.decrease > 0).all()),
        }
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
