"""The whole catalogue, found by name: special cases, Moreau's identity, SciPy, a new operator."""

import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amcore import activations, losses, regularizers
from amcore.reference.operator import stems
from strategies import KINDS, names, operator, targets

BACKENDS = ["native", "reference"]
DTYPES = [np.float64, np.float32]
ROOT = Path(__file__).parents[2]
SEEDS = st.integers(0, 2**31)


def side(public, backend):
    return public if backend == "native" else public.reference


OPERATORS = [operator(family, stem) for family in KINDS for stem in names(family)]


def with_defaults(family, trait):
    """Operators of a family that have a trait, with their default parameters."""
    return [found for found in OPERATORS if found.family == family and trait in found.traits]


SAME_ACTIVATIONS = [
    (activations.leaky_relu(1.0), activations.identity),
    (activations.leaky_relu(0.0), activations.relu),
    (activations.polynomial([0, 1]), activations.identity),
    (activations.polynomial([0, 1, 0, 0]), activations.identity),
]
SAME_LOSSES = [(losses.huber(1e6), losses.squared)]
SAME_REGULARIZERS = [
    (regularizers.elastic_net(0.7, 0), regularizers.l1(0.7)),
    (regularizers.elastic_net(0, 0.7), regularizers.ridge(0.7)),
    (regularizers.elastic_net(0, 0), regularizers.none),
    (regularizers.l1(0), regularizers.none),
    (regularizers.ridge(0), regularizers.none),
    (regularizers.l0(0), regularizers.none),
    (regularizers.group_lasso(0), regularizers.none),
    (regularizers.l2_ball(1e9), regularizers.none),
    (regularizers.box(-np.inf, np.inf), regularizers.none),
    (regularizers.box(0, np.inf), regularizers.nonnegative),
    (regularizers.box(-np.inf, 0.5), regularizers.box(-1e9, 0.5)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("special", "plain"), SAME_ACTIVATIONS)
@given(seed=SEEDS, log_weight=st.floats(-6, 6))
def test_special_cases_of_activations(special, plain, backend, dtype, seed, log_weight):
    rng = np.random.default_rng(seed)
    v, z = (3 * rng.standard_normal((2, 50))).astype(dtype)
    p, q = side(special, backend), side(plain, backend)
    close = {"rtol": 8 * np.finfo(dtype).eps, "atol": 1e-300}
    np.testing.assert_allclose(p.value(v), q.value(v), **close)
    np.testing.assert_allclose(p.derivative(v), q.derivative(v), **close)
    np.testing.assert_allclose(p.difference(v, z), q.difference(v, z), **close)
    close["atol"] = 8 * np.finfo(dtype).eps * np.maximum(np.abs(v), np.abs(z)).max()
    weight = 10.0**log_weight
    np.testing.assert_allclose(p.prox(v, z, weight), q.prox(v, z, weight), **close)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("special", "plain"), SAME_LOSSES)
@given(seed=SEEDS, log_tau=st.floats(-6, 6))
def test_special_cases_of_losses(special, plain, backend, dtype, seed, log_tau):
    rng = np.random.default_rng(seed)
    v, other, y = (3 * rng.standard_normal((3, 20, 2))).astype(dtype)
    p, q = side(special, backend), side(plain, backend)
    close = {"rtol": 64 * np.finfo(dtype).eps, "atol": 64 * np.finfo(dtype).eps}
    np.testing.assert_allclose(p.value(v, y), q.value(v, y), **close)
    np.testing.assert_allclose(p.gradient(v, y), q.gradient(v, y), **close)
    assert p.difference(v, other, y) == pytest.approx(q.difference(v, other, y), **_pytest(close))
    tau = 10.0**log_tau
    np.testing.assert_allclose(p.prox(v, y, tau), q.prox(v, y, tau), **close)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("special", "plain"), SAME_REGULARIZERS)
@given(seed=SEEDS, log_tau=st.floats(-6, 3))
def test_special_cases_of_regularizers(special, plain, backend, dtype, seed, log_tau):
    rng = np.random.default_rng(seed)
    x, other, g = rng.standard_normal((3, 5, 4)).astype(dtype)
    x[rng.random(x.shape) < 0.2] = 0
    p, q = side(special, backend), side(plain, backend)
    x, other = (q.prox(a, 0.1) for a in (x, other))  # within the set, if r is an indicator
    close = {"rtol": 16 * np.finfo(dtype).eps, "atol": 1e-300}
    np.testing.assert_allclose(p.value(x), q.value(x), **close)
    np.testing.assert_allclose(p.difference(x, other), q.difference(x, other), rtol=1e-6, atol=1e-6)
    if special.name != "l0":  # its subdifferential at 0 is the whole line for every λ
        distances = (r.subgradient_distance(x, g) for r in (p, q))
        np.testing.assert_allclose(*distances, **close)
    tau = 10.0**log_tau
    np.testing.assert_allclose(p.prox(g, tau), q.prox(g, tau), **close)


@pytest.mark.parametrize("weight", [0.02, 0.4, 8.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operator", OPERATORS, ids=repr)
def test_prox_of_nan_is_nan(operator, backend, dtype, weight):
    """A NaN is not lost, and a separable operator keeps it to its entry."""
    rng, shape = np.random.default_rng(0), (30, 9)
    x = (2 * rng.standard_normal(shape)).astype(dtype)
    others = []  # arguments of the prox beside x
    if operator.family == "activation":
        others = [(2 * rng.standard_normal(shape)).astype(dtype)]
    if operator.family == "loss":
        others = [targets(operator.reference, rng, *shape, dtype)]
    prox = side(operator, backend).prox
    expected = prox(x, *others, weight)
    places = [(0, 0), (17, 4), (29, 8)]
    for array in [x, *others] if operator.family == "activation" else [x]:
        before = [array[place] for place in places]
        for place in places:
            array[place] = np.nan
        found = prox(x, *others, weight)
        for place, value in zip(places, before, strict=True):
            assert np.isnan(found[place])
            array[place], found[place] = value, expected[place]
        if "separable" in operator.traits:
            np.testing.assert_array_equal(found, expected)


def _pytest(close):
    return {"rel": float(close["rtol"]), "abs": 100 * float(close["atol"])}


@pytest.mark.parametrize("backend", BACKENDS)
@given(seed=SEEDS, log_weight=st.floats(-3, 3))
def test_hard_sigmoid_is_a_hard_tanh(backend, seed, log_weight):
    """σ(u) = ½ + ½ hard_tanh(u/3): the prox is that at (2v − 1, z/3) with the weight 36w."""
    v, z = 4 * np.random.default_rng(seed).standard_normal((2, 50))
    weight = 10.0**log_weight
    p = side(activations.hard_sigmoid, backend).prox(v, z, weight)
    q = 3 * side(activations.hard_tanh, backend).prox(2 * v - 1, z / 3, 36 * weight)
    np.testing.assert_allclose(p, q, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@given(seed=SEEDS)
def test_groups(backend, seed):
    """Groups of one entry make an l1 norm; axes are exchanged by transposing; a vector is a row."""
    rng = np.random.default_rng(seed)
    x, other, g = rng.standard_normal((3, 6, 4))
    x[rng.random(6) < 0.3] = 0
    rows, columns = (side(regularizers.group_lasso(0.8, axis), backend) for axis in (1, 0))
    l1, ball = side(regularizers.l1(0.8), backend), side(regularizers.l2_ball(0.8), backend)
    column = x.reshape(-1, 1)
    assert rows.value(column) == pytest.approx(l1.value(x))
    np.testing.assert_allclose(rows.prox(column, 0.5).ravel(), l1.prox(x.ravel(), 0.5))
    transposed = np.ascontiguousarray(x.T)
    assert columns.value(transposed) == pytest.approx(rows.value(x))
    np.testing.assert_allclose(columns.prox(transposed, 0.5).T, rows.prox(x, 0.5))
    assert columns.subgradient_distance(transposed, np.ascontiguousarray(g.T)) == pytest.approx(
        rows.subgradient_distance(x, g)
    )
    assert rows.difference(x, other) == pytest.approx(rows.value(x) - rows.value(other), abs=1e-12)
    assert rows.value(x[0]) == pytest.approx(0.8 * np.linalg.norm(x[0]))
    # Moreau: what the prox takes away is the projection onto the dual ball.
    taken = np.stack([ball.prox(row, 1.0) for row in x])
    np.testing.assert_allclose(x - rows.prox(x, 1.0), taken, atol=1e-15)


@pytest.mark.parametrize("backend", BACKENDS)
@given(seed=SEEDS, log_tau=st.floats(-3, 3), lam=st.floats(0.1, 10))
def test_moreau_identity_with_known_conjugates(backend, seed, log_tau, lam):
    """x = prox_{τr}(x) + τ prox_{r*/τ}(x/τ)."""
    x, tau = 3 * np.random.default_rng(seed).standard_normal((4, 3)), 10.0**log_tau

    def prox(operator, *arguments):
        return side(operator, backend).prox(*arguments)

    l1 = prox(regularizers.l1(lam), x, tau)
    dual = prox(regularizers.box(-lam, lam), x / tau, 1 / tau)
    np.testing.assert_allclose(l1 + tau * dual, x, rtol=1e-13, atol=1e-13)
    ridge = prox(regularizers.ridge(lam), x, tau)
    dual = prox(regularizers.ridge(1 / lam), x / tau, 1 / tau)
    np.testing.assert_allclose(ridge + tau * dual, x, rtol=1e-13, atol=1e-13)
    positive, negative = (prox(regularizers.nonnegative, s * x, tau) for s in (1, -1))
    np.testing.assert_array_equal(positive - negative, x)


def _pairs(operator, seed):
    rng = np.random.default_rng(seed)
    return [3 * rng.standard_normal((5, 4)) for _ in range(2)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operator", with_defaults("regularizer", "convex"), ids=str)
@given(seed=SEEDS, log_tau=st.floats(-3, 2))
def test_convex_prox_is_firmly_nonexpansive(operator, backend, seed, log_tau):
    """‖p − q‖² ≤ ⟨p − q, x − y⟩, and r(q) ≥ r(p) + ⟨(x − p)/τ, q − p⟩."""
    x, y = _pairs(operator, seed)
    r, tau = side(operator, backend), 10.0**log_tau
    p, q = r.prox(x, tau), r.prox(y, tau)
    assert ((p - q) ** 2).sum() <= ((p - q) * (x - y)).sum() + 1e-13
    slope = ((x - p) * (q - p)).sum() / tau
    assert r.difference(q, p) >= slope - 1e-12 * (1 + abs(slope))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operator", with_defaults("loss", "convex"), ids=str)
@given(seed=SEEDS, log_tau=st.floats(-3, 2))
def test_convex_loss_prox_is_firmly_nonexpansive(operator, backend, seed, log_tau):
    x, y = _pairs(operator, seed)
    rng = np.random.default_rng(seed)
    targets = {
        "sign": rng.choice([-1.0, 1.0], x.shape),
        "distribution": np.eye(4)[rng.integers(4, size=5)],
        "real": rng.standard_normal(x.shape),
    }[operator.targets]
    loss, tau = side(operator, backend), 10.0**log_tau
    p, q = loss.prox(x, targets, tau), loss.prox(y, targets, tau)
    assert ((p - q) ** 2).sum() <= ((p - q) * (x - y)).sum() + 1e-12
    slope = ((x - p) * (q - p)).sum() / tau
    assert loss.difference(q, p, targets) >= slope - 1e-11 * (1 + abs(slope))


def scipy_minimum(function, center, reach):
    """Least value found by SciPy's bounded scalar minimiser, from many brackets."""
    optimize = pytest.importorskip("scipy.optimize")
    ends = np.concatenate([center + np.linspace(-reach, reach, 25), [0.0]])
    ends = np.unique(ends)
    runs = [
        optimize.minimize_scalar(
            function, bounds=(a, b), method="bounded", options={"xatol": 1e-10}
        )
        for a, b in pairwise(ends)
    ]
    return min(min(run.fun for run in runs), function(center), function(0.0))


@pytest.mark.parametrize(
    "operator",
    [
        *with_defaults("activation", "separable"),
        activations.polynomial([0.0, -1.0, 0.0, 0.5]),
        activations.polynomial([1.0, -2.0, 0.3, 0.0, -0.1]),
        activations.polynomial([0.0, 1.0, 0.0, -1 / 3, 0.0, 2 / 15]),
    ],
    ids=str,
)
def test_activation_prox_against_scipy(operator):
    rng = np.random.default_rng(0)
    for v, z in 3 * rng.standard_normal((6, 2)):
        for weight in (0.01, 0.3, 5.0):

            def objective(u, v=v, z=z, weight=weight):
                return float((v - operator.value(u)) ** 2 + weight * (u - z) ** 2) / 2

            least = scipy_minimum(objective, z, 12.0)
            for backend in BACKENDS:
                u = side(operator, backend).prox(np.array([v]), np.array([z]), weight)[0]
                assert objective(u) <= least + 1e-12 * (1 + least)


@pytest.mark.parametrize("operator", with_defaults("loss", "separable"), ids=str)
def test_loss_prox_against_scipy(operator):
    rng = np.random.default_rng(0)
    for q in 3 * rng.standard_normal(8):
        y = rng.choice([-1.0, 1.0])
        for tau in (0.1, 1.0, 5.0):

            def objective(v, q=q, y=y, tau=tau):
                return operator.value(np.array([v]), np.array([y])) + (v - q) ** 2 / (2 * tau)

            least = scipy_minimum(objective, q, 30.0)
            for backend in BACKENDS:
                v = side(operator, backend).prox(np.array([[q]]), np.array([[y]]), tau)[0, 0]
                assert objective(v) <= least + 1e-12 * (1 + least)


@pytest.mark.parametrize("operator", [operator("regularizer", s) for s in stems("regularizer")])
def test_regularizer_prox_against_scipy(operator):
    for x in 3 * np.random.default_rng(0).standard_normal(8):
        for tau in (0.1, 1.0, 5.0):

            def objective(p, x=x, tau=tau):
                return min(operator.value(np.array([p])) + (p - x) ** 2 / (2 * tau), 1e30)

            least = scipy_minimum(objective, x, 4.0)
            for backend in BACKENDS:
                p = side(operator, backend).prox(np.array([x]), tau)[0]
                assert objective(p) <= least + 1e-12 * (1 + least)


@pytest.mark.parametrize("degree", [1, 2, 3, 5, 8, 15])
@given(seed=SEEDS, log_weight=st.floats(-12, 12), log_size=st.floats(-3, 4))
def test_polynomial_prox_beats_all_roots(degree, seed, log_weight, log_size):
    """Against the eigenvalues of the companion matrix of the derivative."""
    rng = np.random.default_rng(seed)
    c = rng.standard_normal(degree + 1)
    v, z = 10.0**log_size * rng.standard_normal((2, 5))
    weight = 10.0**log_weight
    operator = activations.polynomial(c)
    P = np.polynomial.Polynomial
    sigma = P(c)
    for backend in BACKENDS:
        found = side(operator, backend).prox(v, z, weight)
        for k in range(5):
            slope = (sigma - v[k]) * sigma.deriv() + weight * P([-z[k], 1.0])
            roots = slope.roots()
            roots = roots.real[np.abs(roots.imag) <= 1e-9 * np.abs(roots)]

            def cost(u, k=k):
                """2h at a root: v − σ = w(u − z)/σ', also where that is lost in rounding."""
                slope, direct = sigma.deriv()(u), np.abs(v[k] - sigma(u))
                lost = direct <= 1e-14 * P(np.abs(c))(np.abs(u))
                steep = (slope**2 > weight) & lost
                quotient = weight * np.abs((u - z[k]) / np.where(steep, slope, 1))
                residual = np.where(steep, quotient, direct)
                pull = weight * np.abs(u - z[k])
                rounding = residual * (np.abs(v[k]) + residual) + pull * (np.abs(u) + np.abs(z[k]))
                return residual**2 + pull * np.abs(u - z[k]), 1e-9 * rounding

            own, least = cost(found[k]), cost(roots)
            assert (own[0] <= least[0] + own[1] + least[1]).all()


def test_sequences_as_parameters():
    for given_ in ([0, 1, 2], (0.0, 1.0, 2.0), np.array([0, 1, 2])):
        operator = activations.polynomial(given_)
        assert operator == activations.polynomial([0, 1, 2])
        assert operator.parameters == {"coefficients": (0.0, 1.0, 2.0)}
        assert repr(operator) == "polynomial(coefficients=[0, 1, 2])"
    with pytest.raises(TypeError, match=r"coefficients: expected a sequence of numbers, got 1\.0"):
        activations.polynomial(1.0)
    with pytest.raises(TypeError, match=r"coefficients\[0\]: expected a number, got 'a' \(str\)"):
        activations.polynomial(["a"])
    with pytest.raises(TypeError, match="coefficients: expected a sequence of numbers, got"):
        activations.polynomial({1: 2.0})
    with pytest.raises(ValueError, match=r"coefficients\[1\]: expected a finite number"):
        activations.polynomial([0, np.inf])
    for wrong in ([], np.ones(17)):
        with pytest.raises(ValueError, match="coefficients: expected 1 to 16"):
            activations.polynomial(wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.huber(0), "delta: expected a number > 0"),
        (lambda: regularizers.l1(-1), "lam: expected a number >= 0"),
        (lambda: regularizers.elastic_net(1, -1), "lam2: expected a number >= 0"),
        (lambda: regularizers.box(1, 0), "hi: expected a number >= lo"),
        (lambda: regularizers.box(np.inf, np.inf), "lo: expected a number < inf"),
        (lambda: regularizers.box(-np.inf, -np.inf), "hi: expected a number > -inf"),
        (lambda: regularizers.box(np.nan, 1), "lo: expected a number < inf, got nan"),
        (lambda: regularizers.box(0, np.nan), "hi: expected a number > -inf, got nan"),
        (lambda: regularizers.group_lasso(1, 2), "axis: expected 0 or 1"),
        (lambda: regularizers.l0(-1), "lam: expected a number >= 0"),
        (lambda: regularizers.l2_ball(0), "radius: expected a number > 0"),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("public", OPERATORS, ids=lambda public: public.name)
def test_of_nothing(public, backend, dtype):
    """Without samples values and distances are 0, and proximal maps empty."""
    found, x = side(public, backend), np.empty((0, 3), dtype)
    results = {
        "activation": lambda: [found.value(x), found.derivative(x), found.prox(x, x, 1.0)],
        "loss": lambda: [found.gradient(x, x), found.prox(x, x, 1.0)],
        "regularizer": lambda: [found.prox(x, 1.0)],
    }[public.family]()
    assert all(result.shape == x.shape and result.dtype == dtype for result in results)
    if public.family == "loss":
        assert found.value(x, x) == found.subgradient_distance(x, x, x) == 0
    if public.family == "regularizer":
        assert found.value(x) == found.subgradient_distance(x, x) == found.difference(x, x) == 0


@pytest.mark.parametrize("wrong", [True, np.True_, "0.5", b"1", None, 1j])
def test_parameters_that_are_no_numbers(wrong):
    for make in (regularizers.ridge, regularizers.box, activations.leaky_relu, losses.huber):
        with pytest.raises(TypeError, match=r"^(lam|lo|slope|delta): expected a number, got "):
            make(wrong)


@pytest.mark.parametrize("wrong", [[1, 2, 3], np.ones(3), (0.5,)])
def test_parameters_by_entry(wrong):
    said = "expected one number for all entries, got .*of your own"
    for make in (regularizers.l1, regularizers.box, losses.huber):
        with pytest.raises(TypeError, match=f"^(lam|lo|delta): {said}"):
            make(wrong)


@pytest.mark.parametrize(
    ("lo", "hi"), [(-np.inf, 1.0), (0.0, np.inf), (-np.inf, np.inf), (-1.5, np.inf)]
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_boxes_without_a_bound(backend, dtype, lo, hi):
    public = regularizers.box(lo, hi)
    assert eval(repr(public), {"box": regularizers.box, "inf": np.inf}) == public
    assert pickle.loads(pickle.dumps(public)).parameters == {"lo": lo, "hi": hi}
    box = side(public, backend)
    big = np.finfo(dtype).max
    x = np.array([-big, -2, -1.5, 0, 1, 2, big], dtype)
    p = box.prox(x, 0.3)
    np.testing.assert_array_equal(p, np.clip(x, lo, hi))
    assert p.dtype == dtype
    for entry in x:
        assert box.value(np.array([entry])) == (0 if lo <= entry <= hi else np.inf)
    for g in np.array([-2, 0, 2], dtype):  # −g is in the normal cone: at a bound, outward
        for entry in p:
            held = (entry == lo and g > 0) or (entry == hi and g < 0)
            distance = box.subgradient_distance(np.array([entry]), np.array([g]))
            assert distance == (0 if held else abs(g))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", ["logistic", "exponential", "squared_hinge", "huber"])
def test_loss_prox_is_free_of_overflow(stem, backend, dtype):
    """|q| up to 1e4 and any τ: the residual is a few ulp of its terms."""
    loss = getattr(losses, stem)
    loss = side(loss() if stem == "huber" else loss, backend)
    eps = np.finfo(dtype).eps
    q = np.concatenate([-np.geomspace(1e4, 1e-8, 60), [0.0], np.geomspace(1e-8, 1e4, 60)])
    q = q.astype(dtype)[:, None]
    for target in (1.0, -1.0):
        y = np.full_like(q, target)
        for tau in (1e-30, 1e-6, 1.0, 1e6, 1e30):
            tau = float(dtype(tau))
            p = loss.prox(q, y, tau)
            assert np.isfinite(p).all()
            wide, goal = p.astype(np.float64), y.astype(np.float64)
            # The exact root lies within 2 ulp of p, or of q where that is all one can see.
            ulp = 2 * eps * np.maximum(np.abs(wide), tiny := 1e-300) + 2 * eps * np.abs(q) * (
                np.abs(wide - q) < 0.1 * np.abs(q)
            )
            low, high = (
                (x - q.astype(np.float64)) + tau * loss.gradient(x, goal)
                for x in (wide - ulp, wide + ulp)
            )
            slack = 4 * 2e-16 * (np.abs(wide) + np.abs(q) + tau * np.abs(loss.gradient(wide, goal)))
            assert (low <= slack).all() and (high >= -slack - tiny).all()


def test_the_table_is_up_to_date():
    script = ROOT / "docs" / "make_operators.py"
    if not script.exists():
        pytest.skip("no source tree")
    spec = importlib.util.spec_from_file_location("make_operators", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.text()


HEADER = """
#pragma once

#include "amcore/activation/activation.hpp"

namespace amcore::activation {

struct ScaledIdentityActivation {
  static constexpr std::array parameters{Parameter{"factor", 3.0}};
  explicit ScaledIdentityActivation(const ParameterValues& values) : factor(values[0]) {}

  template <class T> T value(T u) const { return f<T>() * u; }
  template <class T> T left_derivative(T) const { return f<T>(); }
  template <class T> T right_derivative(T) const { return f<T>(); }
  template <class T> T difference(T a, T b) const { return f<T>() * (a - b); }
  template <class T> T prox(T v, T z, T w) const {
    return (f<T>() * v + w * z) / (f<T>() * f<T>() + w);
  }
  template <class T> T f() const { return static_cast<T>(factor); }

  double factor;
};

}  // namespace amcore::activation
"""

DEFINITION = '''
import math
from dataclasses import dataclass

from amcore.reference.operator import Activation


@dataclass(frozen=True)
class ScaledIdentityActivation(Activation):
    """σ(u) = f u."""

    factor: float = 3.0

    formula, prox_formula, source = "f u", "(f v + w z)/(f² + w)", "a test"
    traits = frozenset({"smooth", "monotone", "separable"})
    L0, L2 = math.inf, 0.0

    @property
    def L1(self):
        return abs(self.factor)

    def value(self, u):
        return self.factor * u

    def derivative(self, u, side="left"):
        return 0 * u + self.factor

    def difference(self, a, b):
        return self.factor * (a - b)

    def prox(self, v, z, weight):
        return (self.factor * v + weight * z) / (self.factor**2 + weight)
'''

USE = """
import sys
# An editable installation of this tree would come first.
sys.meta_path[:] = [f for f in sys.meta_path if "ScikitBuild" not in type(f).__name__]
sys.path.insert(0, sys.argv[1])
import amcore, numpy as np
assert amcore.__file__.startswith(sys.argv[1]), amcore.__file__
assert "scaled_identity" in dir(amcore.activations)
amcore.check_operator(amcore.activations.scaled_identity(2.0))
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
problem = amcore.Problem(amcore.Network([4, 5, 2], "scaled_identity"), X, Y)
runs = [
    amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=3, backend=backend)
    for backend in ("native", "reference")
]
np.testing.assert_allclose(runs[0].trace.objective, runs[1].trace.objective, rtol=1e-10)
"""


@pytest.mark.thorough
def test_one_header_and_one_file_make_an_operator(tmp_path):
    """In a copy of the tree: nothing else is touched."""
    if not (ROOT / "CMakeLists.txt").exists():
        pytest.skip("no source tree")
    for module in ("pip", "scikit_build_core", "pybind11"):
        pytest.importorskip(module, reason="needed to build the tree")
    tree, site = tmp_path / "tree", tmp_path / "site"
    skipped = shutil.ignore_patterns(".git", "build", ".venv", "tests", "bench", "*.so", "dist")
    shutil.copytree(ROOT, tree, ignore=skipped)
    (tree / "cpp/include/amcore/activation/scaled_identity.hpp").write_text(HEADER)
    (tree / "python/amcore/reference/activation/scaled_identity.py").write_text(DEFINITION)
    level = "-Ccmake.define.AMCORE_ISA_LEVELS=baseline"
    install = ["install", "--no-build-isolation", "--no-deps", "--target", str(site), level]
    subprocess.run([sys.executable, "-m", "pip", "-q", *install, str(tree)], check=True)
    environment = {**os.environ, "AMCORE_ISA": "baseline"}
    subprocess.run(
        [sys.executable, "-c", USE, str(site)], check=True, env=environment, cwd=tmp_path
    )
