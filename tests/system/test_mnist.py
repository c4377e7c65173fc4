"""The published MNIST runs of three-splitting BCD: their data terms, sweep by sweep.

Zeng, Lau, Lin, Yao (ICML 2019) and its published code: pixels / 255, squared loss on one-hot
targets, γ = ρ = 1, W ~ 0.01·N(0, 1), b = 0.1.
"""

import os
from pathlib import Path

import amcore
import numpy as np
import pytest
from amcore.datasets import load_mnist_folder

FOLDER = Path(
    os.environ.get("AMCORE_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data")
)


@pytest.fixture(scope="module")
def mnist():
    if not (FOLDER / "mnist").is_dir():
        pytest.skip(f"no MNIST in {FOLDER} (set AMCORE_DATA to a folder that holds mnist/)")
    return load_mnist_folder(FOLDER / "mnist")


def data_terms(mnist, widths, alpha, sweeps):
    problem = amcore.Problem(amcore.Network(widths), mnist.X_train, mnist.y_train)
    assert problem.dtype == np.float32 and problem.X.max() == 1
    start = amcore.initialization.gaussian(0.01, bias=0.1)
    scheme = amcore.ThreeSplitBCD(gamma=1.0, alpha=alpha)
    run = amcore.solve(problem, scheme, max_iter=sweeps, init=start, measure_every=sweeps + 1)
    assert (np.diff(run.trace.objective) < 0).all()
    return run.trace.parts["loss"][1:]


WIDE, WIDE_TERMS = [784, 1500, 1500, 1500, 10], [20286, 15321, 11775]
DEEP, DEEP_TERMS = [784, *[600] * 10, 10], [12142, 6830, 4677]


def test_deep_network_first_sweeps(mnist):
    found = data_terms(mnist, DEEP, 1.0, 2)
    np.testing.assert_allclose(found, DEEP_TERMS[:2], rtol=0.01)


def test_wide_network_first_sweep(mnist):
    found = data_terms(mnist, WIDE, 5.0, 1)
    np.testing.assert_allclose(found, WIDE_TERMS[:1], rtol=0.01)


@pytest.mark.thorough
def test_deep_network(mnist):
    np.testing.assert_allclose(data_terms(mnist, DEEP, 1.0, 3), DEEP_TERMS, rtol=0.01)


@pytest.mark.thorough
def test_wide_network(mnist):
    np.testing.assert_allclose(data_terms(mnist, WIDE, 5.0, 3), WIDE_TERMS, rtol=0.01)
