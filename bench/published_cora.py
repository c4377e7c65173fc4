"""mDLAM on the citation graph Cora beside its published test accuracy, .742.

    python bench/published_cora.py /path/to/cora.npz

The setting of Wang, Li, Zhao (Neurocomputing 2022) as far as it is stated: a ReLU network with two
hidden layers of 100 units, cross-entropy, 200 sweeps, the 140 training and 1000 test nodes of the
public split, features [X, XA, …, XA⁴]. Ours are: A the symmetrically normalised adjacency with self
loops, D^{−1/2}(A + I)D^{−1/2}; rows of X scaled to sum 1, every power's rows to unit length; the
hyperparameters below and a ridge on the weights, chosen on the 500 validation nodes out of some
thirty; without the ridge the accuracy is about .70 for any of them. The published code's
extrapolation is identically zero and several of its acceptance tests compare the wrong blocks; here
both are those of the paper.

The 140 training nodes span 140 of the 7165 directions of the features, and the steps for W_1 stay
in that span. So the problem is solved in coordinates of it, which changes nothing but the start:
the part of W_1 outside the span, which training never sees, is 0 instead of noise.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import amcore

PUBLISHED = 0.742
HIDDEN = [100, 100]
SETTINGS = {"rho": 1e-2, "epsilon": 1e-2}
RIDGE = 1e-2

Array = NDArray[np.float64]


def dense(data: Any, indices: Any, indptr: Any, shape: Any) -> Array:
    """Return a matrix from its CSR arrays."""
    matrix = np.zeros(shape)
    rows = np.repeat(np.arange(shape[0]), np.diff(indptr))
    matrix[rows, indices] = data
    return matrix


def unit_rows(X: Array) -> Array:
    length = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(length > 0, length, 1)


def features(graph: Any, powers: int = 4) -> Array:
    """[X, XA, …] with a sample per row, A normalised symmetrically with self loops."""
    stems = ("data", "indices", "indptr", "shape")
    X = dense(*(graph[f"features_{stem}"] for stem in stems))
    X /= np.maximum(X.sum(axis=1, keepdims=True), 1)
    A = dense(1.0, *(graph[f"adj_{stem}"] for stem in stems[1:]))
    A = np.maximum(A, A.T) + np.eye(len(A))
    scale = 1 / np.sqrt(A.sum(axis=1))
    A *= scale[:, None] * scale
    columns = [X]
    for _ in range(powers):
        columns.append(A @ columns[-1])
    return np.hstack([unit_rows(block) for block in columns])


def run(graph: Any, sweeps: int, seeds: range, ridge: float = RIDGE, **changes: Any) -> list[Any]:
    """Return what every seed reaches."""
    labels, full = graph["labels"], features(graph)
    train, validation, test = (graph[f"{name}_idx"] for name in ("train", "val", "test"))
    basis = np.linalg.svd(full[train], full_matrices=False)[2]
    X = full @ basis.T
    classes = int(labels.max()) + 1
    scheme = amcore.MDLAM(**(SETTINGS | changes))
    network = amcore.Network([X.shape[1], *HIDDEN, classes])
    problem = amcore.Problem(
        network,
        X[train],
        labels[train],
        loss="cross_entropy",
        weight_regularizer=amcore.regularizers.ridge(ridge),
    )
    reached: list[Any] = []
    for seed in seeds:
        start = perf_counter()
        found = amcore.solve(problem, scheme, max_iter=sweeps, seed=seed)
        reached.append(
            {
                "seed": seed,
                "train": found.score(X[train], labels[train]),
                "validation": found.score(X[validation], labels[validation]),
                "test": found.score(X[test], labels[test]),
                "objective": float(found.trace.objective[-1]),
                "seconds": perf_counter() - start,
            }
        )
    return reached


def main() -> None:
    """Print a line for every seed, and medians with and without the ridge; --json writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="cora.npz")
    parser.add_argument("--sweeps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    with np.load(options.data) as file:
        graph = dict(file)
    result: dict[str, Any] = {"settings": SETTINGS, "published": PUBLISHED, "runs": {}}
    for ridge in (RIDGE, 0.0):
        reached = run(graph, options.sweeps, range(options.seeds), ridge)
        result["runs"][f"ridge {ridge:g}"] = reached
        for row in reached:
            print(", ".join(f"{name} {value:.4g}" for name, value in row.items()))
        median = np.median([row["test"] for row in reached])
        print(f"ridge {ridge:g}: median test accuracy {median:.3f} (published: {PUBLISHED})")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
