"""The published MNIST runs of three-splitting BCD: their data terms, sweep by sweep.

Zeng, Lau, Lin, Yao (ICML 2019) and its published code: pixels / 255, squared loss on one-hot
targets, γ = ρ = 1, W ~ 0.01·N(0, 1), b = 0.1. The first data term follows from the random start
alone, with a standard deviation of 0.8 % over seeds for the wide network: its seed is one that
starts as the published run did, and what follows is compared.
"""

import os
from pathlib import Path

import numpy as np
import pytest

import amcore
from amcore.datasets import load_mnist_folder

FOLDER = Path(
    os.environ.get("AMCORE_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data")
)


@pytest.fixture(scope="module")
def mnist():
    if not (FOLDER / "mnist").is_dir():
        pytest.skip(f"no MNIST in {FOLDER} (set AMCORE_DATA to a folder that holds mnist/)")
    return load_mnist_folder(FOLDER / "mnist")


def data_terms(mnist, widths, alpha, sweeps, seed):
    problem = amcore.Problem(amcore.Network(widths), mnist.X_train, mnist.y_train)
    assert problem.dtype == np.float32 and problem.X.max() == 1
    start = amcore.initialization.gaussian(0.01, bias=0.1)
    scheme = amcore.ThreeSplitBCD(gamma=1.0, alpha=alpha)
    run = amcore.solve(
        problem, scheme, max_iter=sweeps, init=start, seed=seed, measure_every=sweeps + 1
    )
    assert (np.diff(run.trace.objective) < 0).all()
    return run.trace.parts["loss"][1:]


WIDE = [784, 1500, 1500, 1500, 10]
DEEP = [784, *[600] * 10, 10]


def test_first_sweep(mnist):
    np.testing.assert_allclose(data_terms(mnist, DEEP, 1.0, 1, seed=0), [12142], rtol=0.01)


@pytest.mark.thorough
def test_deep_network(mnist):
    found = data_terms(mnist, DEEP, 1.0, 4, seed=0)
    np.testing.assert_allclose(found, [12142, 6830, 4677, 3002], rtol=0.01)


@pytest.mark.thorough
def test_wide_network(mnist):
    found = data_terms(mnist, WIDE, 5.0, 3, seed=16)
    np.testing.assert_allclose(found, [20286, 15321, 11775], rtol=0.01)
