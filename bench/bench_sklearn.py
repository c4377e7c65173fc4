"""`AMClassifier` and `AMRegressor` beside scikit-learn's MLPs: test scores and seconds of training.

    python bench/bench_sklearn.py                       # those data sets that are there, five seeds
    python bench/bench_sklearn.py --sets digits wine    # some of them

Both with one hidden layer of 100 relu units, in float32, with the settings that they have by
default. amcore's defaults alpha=1.0 and max_iter=50 were chosen among seven by scores of other
splits of digits, breast cancer and wine, so these rows are tuned for amcore and not for
scikit-learn; no other data set was looked at. The seconds are the process's own (CPU) on one
thread. A seed draws the weights and, where the data have no test set of their own, the split.
Inputs are standardised by the training samples, pixels divided by 255; the regressors are both
given standardised targets. digits, breast cancer and wine come with scikit-learn, the others from
the folder $AMCORE_DATA (see its README): california housing with its text column one-hot and
missing cells by the median, adult as LIBSVM's a9a, MNIST.
"""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from statistics import mean, median, stdev
from time import process_time
from typing import Any

import numpy as np
from common import Array, answer, child, data_folder, heading, options_parser, write

SETS = ("digits", "breast cancer", "wine", "california housing", "adult", "mnist")
BUNDLED = {"digits": "load_digits", "breast cancer": "load_breast_cancer", "wine": "load_wine"}
FOLDERS = {"california housing": "tables", "adult": "tables", "mnist": "mnist"}
REGRESSION = ("california housing",)


def housing(folder: Path) -> tuple[Array, Array]:
    with gzip.open(folder / "california_housing.csv.gz", "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split(",") for line in file][1:]
    numbers = np.array([[float(cell or "nan") for cell in row[:9]] for row in rows])
    words = np.array([row[9] for row in rows])
    X = np.where(np.isnan(numbers), np.nanmedian(numbers, axis=0), numbers)[:, :8]
    return np.hstack([X, words[:, None] == np.unique(words)]), numbers[:, 8]


def adult(folder: Path) -> list[Array]:
    from scipy.sparse import csr_array

    pieces = np.load(folder / "a9a_adult.npz")
    split: list[Array] = []
    for part in ("train", "test"):
        indices, starts = pieces[f"{part}_indices"], pieces[f"{part}_indptr"]
        shape = (len(starts) - 1, int(pieces["n_features"]))
        X = csr_array((np.ones(len(indices)), indices, starts), shape)
        split += [X.toarray(), pieces[f"{part}_y"]]
    return split


def load(name: str, seed: int) -> list[Array]:
    """X and y for training, X and y for the test."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    folder = data_folder(FOLDERS[name]) if name in FOLDERS else None
    if name in FOLDERS and folder is None:
        raise FileNotFoundError(f"{name}: not in AMCORE_DATA")
    if name == "mnist":
        from amcore.datasets import load_mnist_folder

        return [*load_mnist_folder(folder)]
    if name == "adult":
        X_train, y_train, X_test, y_test = adult(folder)
    else:
        X, y = housing(folder) if folder else getattr(datasets, BUNDLED[name])(return_X_y=True)
        X_train, X_test, y_train, y_test = train_test_split(
            X,
            y,
            test_size=0.2,
            random_state=seed,
            stratify=None if name in REGRESSION else y,
        )
    inputs = StandardScaler().fit(X_train)
    if name in REGRESSION:
        center, spread = y_train.mean(), y_train.std()
        y_train, y_test = (y_train - center) / spread, (y_test - center) / spread
    X_train, X_test = (inputs.transform(X).astype(np.float32) for X in (X_train, X_test))
    return [X_train, y_train, X_test, y_test]


def fit(name: str, method: str, seed: int) -> dict[str, Any]:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    from amcore.sklearn import AMClassifier, AMRegressor

    kinds = {"amcore": (AMClassifier, AMRegressor), "scikit-learn": (MLPClassifier, MLPRegressor)}
    warnings.simplefilter("ignore")  # that an MLP might train for longer
    X_train, y_train, X_test, y_test = load(name, seed)
    model = kinds[method][name in REGRESSION](random_state=seed)
    begin = process_time()
    model.fit(X_train, y_train)
    seconds = process_time() - begin
    return {
        "score": float(model.score(X_test, y_test)),
        "seconds": seconds,
        "n_iter": int(model.n_iter_),
        "n_train": len(X_train),
    }


def main() -> None:
    parser = options_parser(__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    seeds = 1 if options.quick else options.seeds
    result = heading("sklearn", options, "scikit-learn")
    rows: list[dict[str, Any]] = []
    print(f"{'':20} {'method':14} {'score':>7} {'±':>6} {'seconds':>8} {'sweeps':>6}")
    for name in options.sets:
        if name in FOLDERS and data_folder(FOLDERS[name]) is None:
            print(f"{name}: not in AMCORE_DATA")
            continue
        for method in ("amcore", "scikit-learn"):
            fits = [
                child(__file__, {"name": name, "method": method, "seed": seed}, 1)
                for seed in range(seeds)
            ]
            scores = [one["score"] for one in fits]
            row = {
                "data": name,
                "method": method,
                "measure": "R²" if name in REGRESSION else "accuracy",
                "score": mean(scores),
                "sd": stdev(scores) if seeds > 1 else None,
                "seconds": median(one["seconds"] for one in fits),
                "fits": fits,
            }
            rows.append(row)
            print(
                f"{name:20} {method:14} {row['score']:7.4f} {row['sd'] or 0:6.4f} "
                f"{row['seconds']:8.2f} {median(one['n_iter'] for one in fits):6g}",
                flush=True,
            )
    write(result | {"rows": rows}, options.output / "sklearn.json")


if __name__ == "__main__" and not answer(fit):
    main()
