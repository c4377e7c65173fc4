"""amcore.regularizers: values, proximal maps, subgradient distances, in both backends."""

import numpy as np
import pytest

import amcore
from amcore import regularizers

rng = np.random.default_rng(2)
CASES = [("none", regularizers.none), ("ridge", regularizers.ridge(0.7))]
BACKENDS = ["native", "reference"]


def test_the_catalogue():
    assert {"none", "ridge"} <= set(dir(regularizers))
    assert set(dir(regularizers)) == set(amcore._core.registry()["regularizer"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "regularizer"), CASES)
def test_prox_and_distance(name, regularizer, backend):
    op = regularizer if backend == "native" else regularizer.reference
    x = rng.normal(size=40)
    tau = 0.3
    p = op.prox(x, tau)

    def objective(p):
        return op.value(p) + ((p - x) ** 2).sum() / (2 * tau)

    for _ in range(50):
        assert objective(p) <= objective(p + 1e-3 * rng.normal(size=40))
    # Optimality: (x − p)/τ is a subgradient at p.
    assert op.subgradient_distance(p, (p - x) / tau) == pytest.approx(0, abs=1e-14)
    g = rng.normal(size=40)
    slope = np.array([op.value(x + 1e-6 * e) - op.value(x - 1e-6 * e) for e in np.eye(40)]) / 2e-6
    assert op.subgradient_distance(x, g) == pytest.approx(np.linalg.norm(g + slope), rel=1e-7)


def test_ridge_zero_is_none():
    x = rng.normal(size=(3, 4))
    zero = regularizers.ridge(0.0)
    np.testing.assert_array_equal(zero.prox(x, 2.0), regularizers.none.prox(x, 2.0))
    assert zero.value(x) == 0


@pytest.mark.parametrize("name", dir(regularizers))
def test_arrays_of_any_layout(name):
    found = getattr(regularizers, name)
    op = found() if amcore._core.registry()["regularizer"][name] else found
    x = np.abs(rng.normal(size=(4, 3))) / 10  # inside every set of the catalogue
    raw = np.empty(x.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    for view in (unaligned, np.asfortranarray(x), x[::-1].copy()[::-1]):
        assert op.value(view) == op.value(x)
        assert op.difference(view, x) == 0
        assert op.subgradient_distance(view, view) == op.subgradient_distance(x, x)
        np.testing.assert_array_equal(op.prox(view, 0.3), op.prox(x, 0.3))


def test_overflow_free():
    x = np.full(3, 1e30, np.float32)
    assert regularizers.ridge(1.0).value(x) == pytest.approx(1.5e60, rel=1e-6)
