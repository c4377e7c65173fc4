"""Losses: prox, gradient, difference, distance to the subdifferential, on both sides."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import DTYPES, names, operator, sides, targets

STEMS = names("loss")
BACKENDS = ["native", "reference"]
TAUS = [1e-12, 1e-6, 1e-3, 0.3, 1.0, 7.0, 1e3, 1e6, 1e12]
long = np.longdouble


def _log_sum_exp(v):
    top = v.max(axis=1, keepdims=True)
    return top[:, 0] + np.log(np.exp(v - top).sum(axis=1))


def _exp(t):
    with np.errstate(over="ignore"):
        return np.exp(t)


def _huber(r):
    return np.where(r <= 1, r * r / 2, r - long(0.5))


# ℓ of every sample, in extended precision.
EXACT = {
    "squared": lambda v, y: ((v - y) ** 2).sum(axis=1) / 2,
    "hinge": lambda v, y: np.maximum(0, 1 - y * v).sum(axis=1),
    "cross_entropy": lambda v, y: y.sum(axis=1) * _log_sum_exp(v) - (y * v).sum(axis=1),
    "logistic": lambda v, y: np.logaddexp(long(0), -y * v).sum(axis=1),
    "exponential": lambda v, y: _exp(-y * v).sum(axis=1),
    "squared_hinge": lambda v, y: (np.maximum(0, 1 - y * v) ** 2).sum(axis=1),
    "huber": lambda v, y: _huber(np.abs(v - y)).sum(axis=1),
}


def exact_value(stem, v, y):
    v, y = np.asarray(v, long), np.asarray(y, long)
    if stem in EXACT:
        return EXACT[stem](v, y)
    reference = operator("loss", stem).reference
    return np.array(
        [reference.value(*(np.float64(a[None]) for a in rows)) for rows in zip(v, y, strict=True)]
    )


def draw(stem, seed, n, width, scale, dtype):
    """Outputs and targets; for distributions also ones that are not indicators."""
    loss, rng = operator("loss", stem), np.random.default_rng(seed)
    y = targets(loss, rng, n, width)
    if loss.targets == "distribution":
        soft = rng.dirichlet(np.ones(width), n)
        y = np.where(rng.random((n, 1)) < 0.5, y, soft)
    v = scale * rng.standard_normal((n, width))
    return v.astype(dtype), y.astype(dtype)


def loss_difference(loss, backend, a, b, y):
    """ℓ(a) − ℓ(b); the public operator has it on its core."""
    return (loss.native if backend == "native" else loss).difference(a, b, y)


def steepening(stem, p, q, y):
    """Change of ∇ℓ, in ulp, where p has the rounding of p and q, by rows: Σ ℓ''(p)(|p| + |q|).

    Where ℓ'' is bounded it is so by 2, and ‖p‖ + ‖q‖ bounds this already: then 0.
    """
    if stem != "exponential":
        assert stem == "hinge" or operator("loss", stem).L2 <= 2
        return np.zeros(len(p))
    return (np.exp(-y * p) * (np.abs(p) + np.abs(q))).sum(axis=1)


def check_prox(stem, p, q, y, tau, dtype):
    """−(p − q)/τ is a subgradient, to the rounding of p, and no perturbation of p is better."""
    eps = np.finfo(dtype).eps
    loss = operator("loss", stem).reference
    p_, q_, y_ = (np.float64(a) for a in (p, q, y))
    bend = steepening(stem, p_, q_, y_)
    for row in range(len(p_)):
        at = slice(row, row + 1)
        residual = loss.subgradient_distance(p_[at], y_[at], (p_[at] - q_[at]) / tau)
        size = np.linalg.norm(p_[at]) + np.linalg.norm(q_[at])
        terms = size * (1 + 1 / tau) + bend[row] + np.linalg.norm(y_[at]) + 1
        tolerance = 16 * eps * terms
        assert residual <= tolerance, (
            f"q={q[row]} y={y[row]} tau={tau}: residual {residual:.2e} of the prox {p[row]}, "
            f"expected at most {tolerance:.2e}"
        )
    rng = np.random.default_rng(0)
    for scale in (1e-6, 1e-3, 0.1, 1.0, 10.0):
        other = p_ + scale * rng.standard_normal(p_.shape)
        for c in (other, q_ + scale * (p_ - q_), y_.copy()):
            values = exact_value(stem, c, y_), exact_value(stem, p_, y_)
            worse = values[0] - values[1]
            pull = ((c - p_) * ((c - q_) + (p_ - q_))).sum(axis=1) / (2 * tau)
            size = np.abs(c).sum(axis=1) + np.abs(p_).sum(axis=1) + np.abs(q_).sum(axis=1) + 1
            far = np.abs(c - p_).sum(axis=1)
            slack = 32 * eps * far * (size * (1 + 1 / tau) + bend) + 1e-18 * size**2
            if stem == "exponential":  # the rounding of the values themselves
                slack = slack + 1e-18 * values[1]
            assert (worse + pull >= -slack).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", STEMS)
@given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 12),
    scale=st.sampled_from([0.1, 1.0, 5.0, 100.0, 1e4, 1e8]),
    tau=st.sampled_from(TAUS),
)
def test_prox_is_the_minimiser(stem, backend, dtype, seed, width, scale, tau):
    width = max(2, width) if operator("loss", stem).targets == "distribution" else width
    q, y = draw(stem, seed, 6, width, scale, dtype)
    p = sides("loss", stem)[backend].prox(q, y, tau)
    assert p.dtype == dtype and p.shape == q.shape and np.isfinite(p).all()
    check_prox(stem, p, q, y, tau, dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", [s for s in STEMS if "separable" in operator("loss", s).traits])
def test_separable_prox_beats_a_dense_grid(stem, backend):
    loss = operator("loss", stem)
    q = np.linspace(-4, 4, 33)[:, None]
    for target in (-1.0, 1.0):
        y = np.full_like(q, target)
        for tau in (0.1, 1.0, 4.0):
            p = sides("loss", stem)[backend].prox(q, y, tau)
            grid = np.linspace(-9, 9, 7201)
            for k in range(len(q)):
                at = np.full((len(grid), 1), target)
                values = exact_value(stem, grid[:, None], at) + (grid - q[k]) ** 2 / (2 * tau)
                own = exact_value(stem, p[k : k + 1], y[:1]) + (p[k] - q[k]) ** 2 / (2 * tau)
                assert own[0] <= values.min() + 1e-14
    assert loss.targets in ("sign", "real")


@pytest.mark.parametrize("backend", BACKENDS)
def test_hinge_prox_formula(backend):
    """The published closed form, corners included."""
    op = sides("loss", "hinge")[backend]
    q = np.array([[-3.0, 0.5, 0.75, 1.0, 2.0]])
    ones = np.ones_like(q)
    np.testing.assert_array_equal(op.prox(q, ones, 0.25), [[-2.75, 0.75, 1.0, 1.0, 2.0]])
    np.testing.assert_array_equal(op.prox(-q, -ones, 0.25), [[2.75, -0.75, -1.0, -1.0, -2.0]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_value(stem, backend, dtype, scale):
    v, y = draw(stem, 3, 50, 5, scale, dtype)
    value = sides("loss", stem)[backend].value(v, y)
    exact = exact_value(stem, v, y).sum()
    if exact > np.finfo(np.float64).max:  # the exponential loss
        assert value == np.inf
        return
    exact = float(exact)
    # Entries that nearly cancel leave an error relative to the terms.
    terms = float(np.abs(v).sum()) if scale > 1 else 0
    assert abs(value - exact) <= 8 * float(np.finfo(dtype).eps) * (exact + terms)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", STEMS)
@given(seed=st.integers(0, 2**31), log_step=st.floats(-13, 1))
def test_difference_is_accurate_relative_to_the_step(stem, backend, dtype, seed, log_step):
    loss = operator("loss", stem)
    eps = np.finfo(dtype).eps
    b, y = draw(stem, seed, 1, 4, 2.0, dtype)
    a = (b + 10**log_step * np.random.default_rng(seed).standard_normal(b.shape)).astype(dtype)
    wide = [np.asarray(x, long) for x in (a, b, y)]
    # Integrating the gradient along the segment keeps the relative accuracy in d = a − b.
    exact = _integral_of_gradient(stem, *wide)
    side = loss if backend == "native" else loss.reference
    error = abs(loss_difference(side, backend, a, b, y) - exact)
    step = float(np.abs(wide[0] - wide[1]).sum())
    slope = 1 + float(np.abs(a).max() + np.abs(b).max() + np.abs(y).max())
    if stem == "exponential":
        slope = float(max(_exp(-y * x).max() for x in wide[:2]))
    assert error <= 8 * eps * step * slope


def _integral_of_gradient(stem, a, b, y):
    if stem == "squared":
        return float(((a - b) * ((a - y) + (b - y))).sum() / 2)
    if stem == "hinge":
        # Slack where positive, moved by y d unless it crosses the kink, which is exact as it is.
        below = (y * a <= 1) & (y * b <= 1)
        return float(
            np.where(below, -y * (a - b), np.maximum(0, 1 - y * a) - np.maximum(0, 1 - y * b)).sum()
        )
    if stem == "cross_entropy":
        p = np.exp(b - _log_sum_exp(b)[:, None])
        growth = np.log1p((p * np.expm1(a - b)).sum(axis=1))
        return float((y.sum(axis=1) * growth - (y * (a - b)).sum(axis=1)).sum())
    if stem == "logistic":
        # log(1 + e^−m) − log(1 + e^−k) = log(1 + (e^{k−m} − 1)/(1 + e^k)), k ≥ m
        m, k = np.minimum(y * a, y * b), np.maximum(y * a, y * b)
        rise = np.log1p(np.expm1(k - m) / (1 + np.exp(k)))
        return float((np.sign(y * b - y * a) * rise).sum())
    if stem == "exponential":
        return float((np.exp(-y * b) * np.expm1(y * b - y * a)).sum())
    rational = RATIONAL[stem]
    a, b, y = ([Fraction(float(t)) for t in x.ravel()] for x in (a, b, y))
    return float(
        sum(rational(s, u) for s, u in zip(a, y, strict=True))
        - sum(rational(t, u) for t, u in zip(b, y, strict=True))
    )


# Piecewise polynomials, for fractions.
RATIONAL = {
    "squared_hinge": lambda v, y: max(0, 1 - y * v) ** 2,
    "huber": lambda v, y: (v - y) ** 2 / 2 if abs(v - y) <= 1 else abs(v - y) - Fraction(1, 2),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", STEMS)
def test_gradient_is_the_slope_of_the_value(stem, backend):
    v, y = draw(stem, 4, 20, 4, 1.0, np.float64)
    gradient = sides("loss", stem)[backend].gradient(v, y)
    step = long(1e-6)
    for k in range(v.shape[1]):
        e = np.zeros(v.shape[1], long)
        e[k] = step
        rise = exact_value(stem, v + e, y) - exact_value(stem, v - e, y)
        np.testing.assert_allclose(gradient[:, k], np.float64(rise / (2 * step)), atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("scale", [0.0, 0.7, 3.0])
def test_distance_is_that_of_the_gradient_off_kinks(stem, backend, scale):
    v, y = draw(stem, 5, 30, 4, 1.0, np.float64)
    g = np.random.default_rng(6).standard_normal(v.shape)
    side = sides("loss", stem)[backend]
    expected = np.linalg.norm(g + scale * side.gradient(v, y))
    assert side.subgradient_distance(v, y, g, scale) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_distance_at_the_kink_of_hinge(backend, dtype):
    """At y v = 1 the subdifferential is the segment from −y to 0."""
    side = sides("loss", "hinge")[backend]
    for y in (-1.0, 1.0):
        for g in (-2.0, -0.75, -0.25, 0.0, 0.25, 0.75, 2.0):
            for scale in (0.5, 1.0):
                members = -y * np.linspace(0, 1, 1001)
                expected = np.abs(g + scale * members).min()
                at = [np.array([[x]], dtype) for x in (y, y, g)]
                assert side.subgradient_distance(*at, scale) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("stem", STEMS)
@given(
    seed=st.integers(0, 2**31), scale=st.sampled_from([0.3, 3.0, 50.0]), tau=st.floats(1e-3, 1e3)
)
def test_native_is_the_reference(stem, seed, scale, tau):
    v, y = draw(stem, seed, 9, 4, scale, np.float64)
    other, _ = draw(stem, seed + 1, 9, 4, scale, np.float64)
    loss = operator("loss", stem)
    reference = loss.reference
    size = scale * v.size
    np.testing.assert_allclose(
        loss.prox(v, y, tau), reference.prox(v, y, tau), rtol=1e-12, atol=1e-13
    )
    np.testing.assert_allclose(
        loss.gradient(v, y), reference.gradient(v, y), rtol=1e-12, atol=1e-14
    )
    assert loss.value(v, y) == pytest.approx(reference.value(v, y), rel=1e-13, abs=1e-14 * size)
    assert loss.native.difference(v, other, y) == pytest.approx(
        reference.difference(v, other, y), rel=1e-12, abs=1e-14 * size
    )
    assert loss.subgradient_distance(v, y, other, 0.3) == pytest.approx(
        reference.subgradient_distance(v, y, other, 0.3), rel=1e-13
    )
