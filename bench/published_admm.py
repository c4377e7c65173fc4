"""Published result: sigmoid networks, trained by ADMM, compute x² and u·v to a test MSE of 1e-8.

Zeng, Lin, Yao, Zhou (JMLR 22, 2021) train such networks on noiseless samples with β = 1, ridge
1e-6 and Λ = 0 at the start. This script does the same with networks of 100 units a hidden layer, on
uniform samples from [−1, 1] and [−1, 1]², loss Σ ½(v − y)², He weights, and in addition with a
smaller ridge. It reports the mean squared error of the network's forward pass on fresh samples
after fixed numbers of sweeps. The exit status is 1 if the goal is not reached on both functions.

    python bench/published_admm.py [--sweeps 1000] [--seed 0] [--output results/published_admm.json]
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from machine import describe

import amcore

GOAL = 1e-8
FUNCTIONS = {
    "x²": (1, 300, lambda X: X**2),
    "u·v": (2, 500, lambda X: X[:, :1] * X[:, 1:]),
}
RIDGES = (1e-6, 1e-9)
DEPTH, WIDTH = 3, 100


def train(name, ridge, sweeps, seed):
    """Return the errors on the training and on the test samples after some numbers of sweeps."""
    inputs, n, function = FUNCTIONS[name]
    rng = np.random.default_rng(seed)
    X, fresh = rng.uniform(-1, 1, (n, inputs)), rng.uniform(-1, 1, (2000, inputs))
    problem = amcore.Problem(
        amcore.Network([inputs, *[WIDTH] * DEPTH, 1], activation="sigmoid"),
        X,
        function(X),
        weight_regularizer=amcore.regularizers.ridge(ridge),
    )
    scheme = amcore.ADMM(beta=1.0, dual_init="zero", majorizer="published")
    rows = []
    for step in amcore.iterate(
        problem, scheme, max_iter=sweeps, init="he", seed=seed, measure_every=sweeps
    ):
        if step.sweep in (100, 300, 1000, 3000) or step.sweep == sweeps:
            errors = [float(np.mean((step.forward(at) - function(at)) ** 2)) for at in (X, fresh)]
            primal = max(
                value for key, value in step.record.monitors.items() if key.startswith("primal")
            )
            rows.append([step.sweep, *errors, primal])
            print(
                f"{name:4} ridge {ridge:.0e} sweep {step.sweep:5} "
                f"MSE train {errors[0]:.2e} test {errors[1]:.2e} ‖R‖ {primal:.1e}",
                flush=True,
            )
    return rows


def main():
    """Train, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    tables = {
        name: {f"{ridge:.0e}": train(name, ridge, options.sweeps, options.seed) for ridge in RIDGES}
        for name in FUNCTIONS
    }
    reached = {
        name: min(rows[-1][2] for rows in runs.values()) <= GOAL for name, runs in tables.items()
    }
    for name, yes in reached.items():
        print(f"{name}: a test MSE of {GOAL:.0e} is {'' if yes else 'not '}reached")
    if options.output:
        columns = ["sweep", "train_mse", "test_mse", "largest_primal_residual"]
        content = {
            "machine": describe(), "columns": columns, "runs": tables, "reached": reached,
            "sweeps": options.sweeps, "seed": options.seed, "hidden": [WIDTH] * DEPTH,
        }  # fmt: skip
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return 0 if all(reached.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
