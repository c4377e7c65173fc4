"""Regularisers: value, prox and distance to the subdifferential, on both sides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import DTYPES, names, operator, sides

STEMS = names("regularizer")
BACKENDS = ["native", "reference"]
PARAMETERS = {"ridge": [(0.0,), (1e-6,), (0.5,), (1e6,)]}
OPERATORS = [(stem, p) for stem in STEMS for p in ((), *PARAMETERS.get(stem, []))]
TAUS = [1e-12, 1e-3, 1.0, 1e3, 1e12]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("stem", "parameters"), OPERATORS)
@given(
    seed=st.integers(0, 2**31), tau=st.sampled_from(TAUS), scale=st.sampled_from([1e-3, 1.0, 1e8])
)
def test_prox_is_the_minimiser(stem, parameters, backend, dtype, seed, tau, scale):
    rng = np.random.default_rng(seed)
    eps = np.finfo(dtype).eps
    side = sides("regularizer", stem, *parameters)[backend]
    exact = operator("regularizer", stem, *parameters).reference
    x = (scale * rng.standard_normal(8)).astype(dtype)
    p = side.prox(x, tau)
    assert p.dtype == dtype and p.shape == x.shape
    p_, x_ = np.float64(p), np.float64(x)
    # (x − p)/τ is a subgradient at p, up to the rounding of p, x and τ.
    tolerance = 8 * eps * (np.linalg.norm(p_) + np.linalg.norm(x_)) / tau
    lam = getattr(exact, "lam2", exact.curvature or 0.0)
    tolerance += 8 * eps * lam * np.linalg.norm(p_)
    # Whether a rounded p is in a set, and on its boundary, is a question for numbers of its dtype.
    indicator = "indicator" in exact.traits
    judged = p if indicator else p_
    assert np.isfinite(exact.value(judged))
    assert exact.subgradient_distance(judged, (p_ - x_) / tau) <= tolerance
    # Rounding p along a normal of the set is felt at first order by the distance to x.
    boundary = 4 * eps * np.linalg.norm(p_) * np.linalg.norm(p_ - x_) / tau if indicator else 0.0
    for size in (1e-9, 1e-3, 1.0, 10.0):
        c = p_ + scale * size * rng.standard_normal(8)
        if indicator:  # any point of the set competes
            c = exact.prox(c, 1.0)
            assert exact.value(c) == 0
        pull = np.sum((c - p_) * ((c - x_) + (p_ - x_))) / (2 * tau)
        worse = exact.value(c) - exact.value(judged) + pull
        slack = 8 * eps * np.linalg.norm(c - p_) * np.linalg.norm(x_) * (lam + 1 / tau)
        assert worse >= -slack - 1e-13 * exact.value(c) - boundary


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("stem", "parameters"), OPERATORS)
def test_prox_beats_a_dense_grid(stem, parameters, backend):
    """One entry at a time: separable or not, r of a vector of one entry is a function of it."""
    side = sides("regularizer", stem, *parameters)[backend]
    grid = np.linspace(-4, 4, 1601)
    for x in (-3.0, -0.4, 0.0, 0.2, 2.5):
        for tau in (0.1, 1.0, 5.0):
            (p,) = side.prox(np.array([x]), tau)
            values = [side.value(np.array([u])) + (u - x) ** 2 / (2 * tau) for u in grid]
            own = side.value(np.array([p])) + (p - x) ** 2 / (2 * tau)
            assert own <= min(values) * (1 + 1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("stem", "parameters"), OPERATORS)
def test_distance_is_that_of_the_slope(stem, parameters, backend):
    """At smooth points, where difference quotients see the gradient."""
    side = sides("regularizer", stem, *parameters)[backend]
    rng = np.random.default_rng(1)
    x, g = rng.standard_normal((2, 6))
    if "indicator" in operator("regularizer", stem, *parameters).traits:
        x = np.abs(x) / 10  # inside every set of the catalogue
        assert side.value(x) == 0
    gradient = np.empty(6)
    for k in range(6):
        e = np.zeros(6)
        e[k] = 1e-6
        gradient[k] = (side.value(x + e) - side.value(x - e)) / 2e-6
    expected = np.linalg.norm(g + gradient)
    assert side.subgradient_distance(x, g) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("stem", "parameters"), OPERATORS)
def test_native_is_the_reference(stem, parameters, dtype):
    rng = np.random.default_rng(2)
    x, g = rng.standard_normal((2, 7, 3)).astype(dtype)
    native, reference = sides("regularizer", stem, *parameters).values()
    eps = np.finfo(dtype).eps
    assert native.value(x) == pytest.approx(reference.value(x), rel=1e-13)
    np.testing.assert_allclose(native.prox(x, 0.7), reference.prox(x, 0.7), rtol=4 * eps)
    assert native.subgradient_distance(x, g) == pytest.approx(
        reference.subgradient_distance(x, g), rel=float(8 * eps)
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_ridge(backend):
    side = sides("regularizer", "ridge", 3.0)[backend]
    x = np.array([1.0, -2.0])
    assert side.value(x) == 7.5
    np.testing.assert_array_equal(side.prox(x, 1.0), [0.25, -0.5])
    assert side.subgradient_distance(x, -3 * x) == 0
