"""amcore.activations: values, derivatives, differences, proximal maps, in both backends."""

import math
import pickle

import numpy as np
import pytest

import amcore
from amcore import activations
from amcore.reference.operator import PiecewiseLinear

NAMES = dir(activations)
rng = np.random.default_rng(11)


def make(name):
    found = getattr(activations, name)
    return found if isinstance(found, activations.Activation) else found()


class Reference:
    """The NumPy definition behind the public interface."""

    def __init__(self, operator):
        self.value = operator.reference.value
        self.derivative = operator.reference.derivative
        self.difference = operator.reference.difference
        self.prox = operator.reference.prox


@pytest.fixture(params=NAMES)
def operator(request):
    return make(request.param)


@pytest.fixture(params=["native", "reference"])
def both(request, operator):
    """The operator twice: as a backend computes it, and itself."""
    return (operator if request.param == "native" else Reference(operator)), operator


def test_the_catalogue():
    today = {"identity", "relu", "leaky_relu", "hard_tanh", "sigmoid", "tanh"}
    assert today <= set(NAMES)
    assert set(NAMES) == set(amcore._core.registry()["activation"])


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("identity", lambda u: u),
        ("relu", lambda u: max(u, 0.0)),
        ("leaky_relu", lambda u: u if u > 0 else 0.01 * u),
        ("hard_tanh", lambda u: min(max(u, -1.0), 1.0)),
        ("sigmoid", lambda u: 1 / (1 + math.exp(-u)) if u > -700 else 0.0),
        ("tanh", math.tanh),
    ],
)
def test_values(name, formula):
    u = np.concatenate([rng.normal(size=50) * 3, [0.0, 1.0, -1.0, 800.0, -800.0, 1e-300]])
    for values in (make(name).value(u), make(name).reference.value(u)):
        np.testing.assert_allclose(values, [formula(x) for x in u], rtol=4e-16, atol=1e-300)


def test_derivative_is_the_limit(both):
    backend, operator = both
    u = rng.normal(size=200) * 2
    step = 1e-6
    for sign, side in ((-1, "left"), (1, "right")):
        quotient = operator.reference.difference(u + sign * step, u) / (sign * step)
        np.testing.assert_allclose(backend.derivative(u, side), quotient, atol=2e-6)
    kinks = []
    if isinstance(operator.reference, PiecewiseLinear):
        kinks = [r for _, r, _, _ in operator.reference.pieces[:-1]]
    for kink in kinks:
        at = np.array([kink])
        left, right = backend.derivative(at, "left"), backend.derivative(at, "right")
        assert left[0] == pytest.approx(backend.derivative(at - 1e-9, "left")[0])
        assert right[0] == pytest.approx(backend.derivative(at + 1e-9, "right")[0])
        assert left[0] != right[0]


def test_difference_is_accurate_relative_to_the_step(both):
    backend, operator = both
    u = np.concatenate([rng.normal(size=300) * 4, [0.0, 1.0, -1.0]])
    for size in (1e-12, 1e-6, 1e-2, 3.0):
        step = size * rng.normal(size=u.size)
        moved = u + step
        exact = np.longdouble(1) * (moved - u)
        difference = backend.difference(moved, u)
        plain = operator.reference.value(moved) - operator.reference.value(u)
        largest = np.maximum(np.abs(u), np.abs(moved))
        rounding = np.ones_like(u)  # of the values; piecewise linear ones have none
        if not isinstance(operator.reference, PiecewiseLinear):
            rounding = np.maximum(1, np.abs(operator.reference.value(largest)))
        assert (np.abs(difference - plain) <= 1e-7 * np.abs(plain) + 1e-15 * rounding).all()
        slope = operator.L1
        if math.isinf(slope):  # the square is steepest at the larger argument
            slope = operator.reference.derivative(largest)
        assert (np.abs(difference) <= slope * np.abs(exact) * (1 + 1e-14)).all()
    tiny = 1e-13
    slope = operator.reference.derivative(u[:300])
    np.testing.assert_allclose(
        backend.difference(u[:300] + tiny, u[:300]) / ((u[:300] + tiny) - u[:300]),
        slope,
        rtol=1e-6,
        atol=1e-12,
    )


def excess(operator, a, b, v, z, weight):
    """The prox objective at a less that at b, as products of differences."""
    sigma = operator.reference
    coupling = sigma.difference(b, a) * ((v - sigma.value(a)) + (v - sigma.value(b)))
    return (coupling + weight * (a - b) * ((a - z) + (b - z))) / 2


def hostile(size):
    """Numbers of every magnitude, near the ends of the range of σ, and ordinary ones."""
    kind = rng.integers(4)
    if kind == 0:
        return 3 * rng.normal(size=size)
    if kind == 1:
        return rng.choice([-1, 1], size) * 10 ** rng.uniform(-6, 8, size)
    if kind == 2:
        near = rng.choice([-1, 1], size) * 10 ** rng.uniform(-16, -1, size)
        return rng.choice([-1.0, 0.0, 0.5, 1.0], size) + near
    return rng.uniform(-30, 30, size)


def test_prox_beats_every_competitor(both):
    backend, operator = both
    for trial in range(16):
        exponent = rng.uniform(-12, 12) if trial % 2 else rng.uniform(-3, 0.5)
        weight, size = 10.0**exponent, 150
        v, z = hostile(size), hostile(size)
        u = backend.prox(v, z, weight)
        assert np.isfinite(u).all()
        competitors = [z, v, 0 * z, *(np.full(size, c) for c in np.linspace(-45, 45, 451))]
        competitors += [z + s * (v - z) for s in np.linspace(0, 1, 50)]
        competitors += [u + s * 10.0**k for s in (-1, 1) for k in range(-6, 3)]
        competitors += [z + s * 10.0**k for s in (-1, 1) for k in np.linspace(-6, 3, 40)]
        # u is a rounded number: an objective of this curvature may exceed its minimum by that much.
        rounding = (1 + weight + np.abs(v)) * (1e-15 * (np.abs(u) + 1e-2)) ** 2
        for c in competitors:
            terms = np.abs(operator.reference.difference(c, u) * (np.abs(v) + np.abs(c)))
            terms = np.minimum(terms, (1 + np.abs(v)) ** 2) + np.abs(
                weight * (u - c) * ((u - z) + (c - z))
            )
            gap = excess(operator, u, c, v, z, weight)
            assert (gap <= 1e-14 * terms + rounding).all()


def test_prox_jumps_where_two_minima_are_equal():
    # For relu u = z on the left costs ½v², the best on the right ½ w/(1 + w) (v − z)²: equal for
    # v = 3, z = −2, w = 9/16.
    v, z = np.array([3.0]), np.array([-2.0])
    for prox in (activations.relu.prox, activations.relu.reference.prox):
        assert prox(v, z, 0.5625 * (1 + 1e-14))[0] == -2
        assert prox(v, z, 0.5625 * (1 - 1e-14))[0] == pytest.approx(1.2)
    # tanh has two minima for v = 1 and a remote z; the lower one changes sides once as z falls.
    z = -np.geomspace(1, 100, 4000)
    for prox in (activations.tanh.prox, activations.tanh.reference.prox):
        u = prox(np.ones_like(z), z, 1e-3)
        jumps = np.flatnonzero(np.abs(np.diff(u)) > 1)
        assert jumps.size == 1 and u[jumps[0]] > 0 > u[jumps[0] + 1]


def test_special_cases():
    v, z = rng.normal(size=(2, 100))
    one = activations.leaky_relu(slope=1.0)
    np.testing.assert_allclose(
        one.prox(v, z, 0.7), activations.identity.prox(v, z, 0.7), rtol=1e-14
    )
    zero = activations.leaky_relu(slope=0.0)
    np.testing.assert_array_equal(zero.prox(v, z, 0.7), activations.relu.prox(v, z, 0.7))
    # σ(−u) = 1 − σ(u) and tanh is odd.
    flipped = activations.sigmoid.prox(1 - v, -z, 0.01)
    np.testing.assert_allclose(activations.sigmoid.prox(v, z, 0.01), -flipped, rtol=1e-9)
    np.testing.assert_allclose(
        activations.tanh.prox(v, z, 0.1), -activations.tanh.prox(-v, -z, 0.1), rtol=1e-14
    )
    # A huge weight keeps z, a tiny one inverts σ.
    np.testing.assert_allclose(activations.tanh.prox(v, z, 1e12), z, atol=1e-11)
    inside = np.tanh(z)
    np.testing.assert_allclose(activations.tanh.prox(inside, z + 1, 1e-14), z, atol=1e-9)


def test_constants(operator):
    u = np.linspace(-12, 12, 200001)
    sigma = operator.reference
    if math.isfinite(operator.L0):
        assert np.abs(sigma.value(u)).max() == pytest.approx(operator.L0, rel=1e-4)
    steepest = np.abs(sigma.derivative(u)).max()
    if operator.name == "softplus":  # a supremum only: 1/(1 + e^−u)
        assert 1 - math.exp(-12) <= steepest < operator.L1
    elif operator.name == "polynomial":  # the square
        assert steepest == 24 and math.isinf(operator.L1)
    else:
        assert steepest == pytest.approx(operator.L1, rel=1e-6)
    if math.isfinite(operator.L2):
        curvature = np.abs(np.diff(sigma.derivative(u)) / np.diff(u)).max()
        assert curvature == pytest.approx(operator.L2, rel=1e-4, abs=1e-9)
    assert ("smooth" in operator.traits) == math.isfinite(operator.L2)
    assert ("bounded" in operator.traits) == math.isfinite(operator.L0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_of_any_layout(operator, dtype):
    base = rng.normal(size=(6, 8)).astype(dtype)
    expected = operator.value(np.ascontiguousarray(base))
    assert expected.dtype == dtype and expected.shape == base.shape
    for view in (base.T, base[::2, ::-1], np.asfortranarray(base), base[:, :0], base[2]):
        kept = view.copy()
        np.testing.assert_array_equal(
            operator.value(view), operator.value(np.ascontiguousarray(view))
        )
        np.testing.assert_array_equal(view, kept)
    read_only = base.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(operator.value(read_only), expected)
    assert operator.value(base[0, 0]).shape == ()
    # The result may go over the argument, with strides too.
    out = np.empty((6, 16), dtype)[:, ::2]
    assert operator.value(base, out=out) is out
    np.testing.assert_array_equal(out, expected)
    overlap = np.concatenate([base.ravel(), [dtype(0)]])
    shifted = overlap[1:]
    fresh = operator.value(overlap[:-1])
    np.testing.assert_array_equal(operator.value(overlap[:-1], out=shifted), fresh)


def test_numbers_and_lists():
    assert activations.relu.value(-2.0) == 0
    assert activations.relu.value([1, -2]).tolist() == [1.0, 0.0]
    mixed = activations.relu.prox(np.ones(3, np.float32), 0, 1.0)
    assert mixed.dtype == np.float32


def test_objects():
    assert activations.relu is activations.relu
    slope = activations.leaky_relu(0.2)
    assert slope == activations.leaky_relu(slope=0.2) != activations.leaky_relu()
    assert len({slope, activations.leaky_relu(0.2), activations.relu}) == 2
    assert (slope.name, slope.parameters) == ("leaky_relu", {"slope": 0.2})
    assert repr(slope) == "leaky_relu(slope=0.2)" and repr(activations.relu) == "relu"
    assert pickle.loads(pickle.dumps(slope)) == slope
    for name in NAMES:
        found = make(name)
        assert found.formula and found.prox_formula and found.source and found.traits
