"""Activations: the coupled prox beats every competitor; values, derivatives and differences.

Values are judged in extended precision where the platform has it. Two candidates of the prox are
compared by the difference of their objectives as a product of differences, whose rounding error is
relative to the distance between them: nearly equal totals would hide a wrong choice.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amcore.reference.operator import PiecewiseLinear
from strategies import DTYPES, names, operator, sides

STEMS = names("activation")
BACKENDS = ["native", "reference"]
EXTREME = [
    -1e8,
    -3e3,
    -20.0,
    -1.0,
    -0.3,
    -1e-7,
    0.0,
    1e-9,
    0.2,
    0.5,
    0.75,
    1.0,
    1.5,
    40.0,
    1e5,
    1e8,
]
WEIGHTS = [1e-12, 1e-6, 0.03, 0.3, 1.0, 1e4, 1e12]

long = np.longdouble
EXACT = {
    "sigmoid": lambda u: np.where(u < 0, np.exp(np.minimum(u, 0)), 1) / (1 + np.exp(-np.abs(u))),
    "tanh": np.tanh,
    "softplus": lambda u: np.logaddexp(long(0), u),
    "polynomial": np.square,
}


def exact_value(stem, u):
    """σ in extended precision: a piecewise-linear σ has no rounding of its own to speak of."""
    u = np.asarray(u, long)
    if stem in EXACT:
        return EXACT[stem](u)
    values = operator("activation", stem).reference.value(u)
    return np.asarray(values, long)


def exact_difference(stem, a, b):
    """σ(a) − σ(b) in extended precision, relative to a − b."""
    a, b = np.asarray(a, long), np.asarray(b, long)
    if stem == "sigmoid":
        return exact_difference("tanh", a / 2, b / 2) / 2
    if stem == "tanh":
        e, f = np.exp(-2 * np.abs(a)), np.exp(-2 * np.abs(b))
        same = 2 * (e + f) / ((1 + e) * (1 + f))  # 1 − tanh a tanh b where the signs agree
        other = 2 * (1 + e * f) / ((1 + e) * (1 + f))
        return np.tanh(a - b) * np.where(np.sign(a) * np.sign(b) > 0, same, other)
    if isinstance(found := operator("activation", stem).reference, PiecewiseLinear):
        return sum(
            long(slope)
            * (np.clip(a, long(left), long(right)) - np.clip(b, long(left), long(right)))
            for left, right, slope, _ in found.pieces
        )
    return np.asarray(operator("activation", stem).reference.difference(a, b), long)


def largest_slope(stem, *u):
    """1, which bounds |σ'| where that is bounded, else |σ'| at the largest of |u|."""
    found = operator("activation", stem)
    if np.isfinite(found.L1):
        return long(1)
    return np.abs(exact_derivative(stem, np.max([np.abs(np.asarray(x, long)) for x in u], axis=0)))


def exact_derivative(stem, u):
    return operator("activation", stem).reference.derivative(np.asarray(u, long))


def gain(stem, u, candidate, v, z, weight):
    """h(u) − h(candidate), h(u) = ½(v − σ(u))² + w/2 (u − z)², and its own rounding error."""
    u, c, v, z = (np.asarray(x, long) for x in (u, candidate, v, z))
    a, b = exact_value(stem, u), exact_value(stem, c)
    moved = exact_difference(stem, c, u)
    fit = moved * ((v - a) + (v - b)) / 2
    pull = weight * (u - c) * ((u - z) + (c - z)) / 2
    size = np.abs(moved) * (np.abs(v) + np.abs(a) + np.abs(b)) + weight * np.abs(u - c) * (
        np.abs(u) + np.abs(c) + np.abs(z)
    )
    return fit + pull, size


def competitors(stem, u, v, z, weight):
    """A dense grid around v, z and the minimiser, and points just beside the latter."""
    spread = np.concatenate([[0.0], np.geomspace(1e-6, 1e3, 24)])
    around = np.concatenate([-spread, spread, np.linspace(-8, 8, 65)])
    centers = np.stack([np.float64(u), np.float64(z), np.float64(v), np.zeros(np.shape(u))])
    grid = (centers[:, None, :] + around[None, :, None]).reshape(-1, np.size(u))
    between = u + (z - u) * np.linspace(0, 1, 17)[:, None]
    return np.concatenate([grid, between])


def check_is_global_minimiser(stem, u, v, z, weight, dtype):
    """No competitor is better by more than the rounding of the output and of a comparison."""
    eps = np.finfo(dtype).eps
    best = competitors(stem, u, v, z, weight)
    difference, size = gain(stem, u, best, v, z, weight)
    found, wide_u = operator("activation", stem), np.asarray(u, long)
    if np.isfinite(found.L1):
        # Rounding u to the dtype costs at most |h'| ulp; h' differs from 0 by the same rounding.
        slope = np.abs(np.asarray(v, long)) + found.L1 + weight * np.abs(z - u)
        output = 4 * eps * np.abs(u) * eps * slope * (1 + np.abs(u))
    else:
        # h' = 0 at the minimiser: rounding u costs ½h'' times the square of an ulp.
        residual = np.abs(np.asarray(v, long) - exact_value(stem, u))
        curvature = exact_derivative(stem, u) ** 2 + residual * found.L2 + weight
        output = 4 * (eps * wide_u) ** 2 * curvature
    excess = difference - 8 * eps * size - output
    worst = np.unravel_index(np.argmax(excess), excess.shape)
    assert excess[worst] <= 0, (
        f"v={v[worst[1]]!r} z={z[worst[1]]!r} w={weight!r}: prox {u[worst[1]]!r} is worse than "
        f"{best[worst]!r} by {float(difference[worst]):.3e}"
    )


def check_first_order(stem, u, v, z, weight, dtype):
    """h'(u−) ≤ 0 ≤ h'(u+), up to the rounding of u, σ and the terms."""
    eps = np.finfo(dtype).eps
    found = operator("activation", stem)
    wide = u.astype(np.float64)
    sigma = np.float64(exact_value(stem, wide))
    fit = np.float64(v) - sigma
    left, right = (
        -fit * found.derivative(wide, side) + weight * (wide - np.float64(z))
        for side in ("left", "right")
    )
    # By rounding alone: v, z, u to the dtype; σ(u) to eps; h'' times an ulp of u, where h'' holds
    # σ'² and (v − σ)σ'', |σ''| ≤ 2|σ'|; but |σ'' u| = |σ'| for the square.
    steep = np.maximum(*(np.abs(found.derivative(wide, side)) for side in ("left", "right")))
    tolerance = eps * (
        (np.abs(np.float64(v)) + np.abs(sigma) + 1) * steep
        + weight * (np.abs(np.float64(z)) + np.abs(wide))
        + (weight + steep * (np.maximum(1, steep) + 2 * np.abs(fit))) * np.abs(wide)
    )
    assert (left <= 16 * tolerance).all(), _worst(left / tolerance, u, v, z, weight)
    assert (right >= -16 * tolerance).all(), _worst(-right / tolerance, u, v, z, weight)


def _worst(ratio, u, v, z, weight):
    i = int(np.argmax(ratio))
    return f"v={v[i]!r} z={z[i]!r} w={weight!r}: prox {u[i]!r} is off by {ratio[i]:.1f} tolerances"


def prox(stem, backend, v, z, weight):
    return sides("activation", stem)[backend].prox(v, z, weight)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", STEMS)
def test_prox_is_the_global_minimiser_at_extremes(stem, backend, dtype):
    v, z = (a.ravel().astype(dtype) for a in np.meshgrid(EXTREME, EXTREME))
    for weight in WEIGHTS:
        u = prox(stem, backend, v, z, weight)
        assert u.dtype == dtype and np.isfinite(u).all()
        check_is_global_minimiser(stem, u, v, z, weight, dtype)
        check_first_order(stem, u, v, z, weight, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", STEMS)
@given(
    seed=st.integers(0, 2**31),
    log_weight=st.floats(-5, 3),
    scale=st.sampled_from([0.3, 1.0, 3.0, 10.0]),
)
def test_prox_is_the_global_minimiser(stem, backend, dtype, seed, log_weight, scale):
    rng = np.random.default_rng(seed)
    v, z = (scale * rng.standard_normal((2, 40))).astype(dtype)
    weight = 10**log_weight
    u = prox(stem, backend, v, z, weight)
    check_is_global_minimiser(stem, u, v, z, weight, dtype)
    check_first_order(stem, u, v, z, weight, dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "stem", [s for s in STEMS if "bounded" in operator("activation", s).traits]
)
def test_prox_chooses_between_several_minima(stem, backend):
    """Where v is above the range and z far below, staying and crossing are both local minima."""
    z = np.linspace(-80, -1, 1000)
    v = np.full_like(z, 0.9)
    for weight in (1e-3, 3e-3, 1e-2):
        u = prox(stem, backend, v, z, weight)
        check_is_global_minimiser(stem, u, v, z, weight, np.float64)
        assert np.diff(u).max() > 5  # the minimiser jumps where z crosses the set-valued curve


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", ["sigmoid", "tanh"])
def test_prox_where_two_minima_begin(stem, backend, dtype):
    """Moderate weights, at which h stops being convex, and z where either minimum may be lower."""
    v, z = (a.ravel() for a in np.meshgrid(np.linspace(0.2, 2.4, 23), np.linspace(-4, -1, 31)))
    for weight in (0.38, 0.39, 0.5, 0.7, 0.9, 1.0, 1.1, 1.3):
        for sign in (1, -1):
            args = (sign * v, sign * z, weight)
            if stem == "sigmoid":  # a tanh of other arguments
                args = ((sign * v + 1) / 2, sign * 2 * z, weight / 16)
            *arrays, w = (np.asarray(a).astype(dtype) for a in args)
            u = prox(stem, backend, *arrays, float(w))
            check_is_global_minimiser(stem, u, *arrays, float(w), dtype)
            check_first_order(stem, u, *arrays, float(w), dtype)


def where_tanh_has_two_minima(v, weight):
    """The least and largest z at which h has two minima, for v > −1 (φ, g: cpp tanh_prox.hpp)."""
    delta = 1 + v
    # h'' = 0: φ' = g(x) = w, with x = 1 + tanh t
    roots = np.roots([-3, 10 + 2 * delta, -8 - 6 * delta, 4 * delta, -weight])
    x = np.sort(roots[np.abs(roots.imag) < 1e-7 * np.abs(roots)].real)
    x = x[(x > 0) & (x < 1)][:2]
    if x.size < 2:
        return None
    turning = np.log(x / (2 - x)) / 2 - (delta - x) * x * (2 - x) / weight
    return turning[1], turning[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_native_tanh_prox_finds_every_second_minimum(dtype):
    """All over the region of two minima, and just beside its edges, where one of them vanishes."""
    inside = np.array([-0.05, -1e-3, 1e-3, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 0.999, 1.001])
    before = np.array([0.01, 0.05, 0.2, 0.5])  # z of the edge that few pass, for small weights
    sign = np.resize([1, -1], inside.size + before.size)
    small, large = (1e-9, 1e-6, 1e-3, 0.02, 0.1, 0.2, 0.334), (0.36, 0.4, 0.5, 0.65, 0.85, 1.1)
    for weight in (*small, 0.3351, *large, 1.5, 5.0, 40.0):
        found = []
        for v in np.concatenate([np.linspace(-0.9, 3, 25), [5, 12, 100, 2e3]]):
            edges = where_tanh_has_two_minima(v, weight)
            if edges is not None:
                length = edges[1] - edges[0]
                z = np.append(edges[0] + inside * length, edges[1] - np.minimum(before, length / 2))
                found.append((sign * v, sign * z))
        v, z = np.concatenate(found, axis=1).astype(dtype)
        u = prox("tanh", "native", v, z, weight)
        check_is_global_minimiser("tanh", u, v, z, weight, dtype)
        check_first_order("tanh", u, v, z, weight, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_softplus_prox_where_two_minima_begin(backend, dtype):
    """v about where h stops being convex, z where φ' is largest, about v − 1, and the rightmost."""
    for weight in (0.01, 0.1, 0.35, 0.5, 1.0, 3.0, 20.0, 300.0):
        edge = 1.7 * weight + np.sqrt((1.7 * weight) ** 2 + 8 * weight)
        v = edge * np.linspace(0.9, 1.7, 9)[:, None]
        steepest = -1.2 - 0.23 * (v - 0.26) / weight
        rightmost = np.broadcast_to(np.linspace(-2.8, -1.7, 23), (len(v), 23))
        below_v = v - 1 + np.array([-0.5, -1e-3, 1e-3])
        z = np.hstack([steepest + np.linspace(-3, 3, 41), below_v, rightmost])
        v, z = (a.ravel().astype(dtype) for a in np.broadcast_arrays(v, z))
        u = prox("softplus", backend, v, z, weight)
        check_is_global_minimiser("softplus", u, v, z, weight, dtype)
        check_first_order("softplus", u, v, z, weight, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stem", STEMS)
def test_native_prox_of_an_entry_ignores_its_neighbours(stem, dtype):
    rng = np.random.default_rng(5)
    v, z = (1.5 * rng.standard_normal((2, 700))).astype(dtype)
    v[::50], z[::70] = 1e6, -1e6
    order = rng.permutation(v.size)
    for weight in (1e-3, 0.03, 0.4, 1.0, 2.0, 1e3):
        u = prox(stem, "native", v, z, weight)
        np.testing.assert_array_equal(prox(stem, "native", v[order], z[order], weight), u[order])
        for first, last in ((0, 1), (1, 130), (37, 700)):
            part = prox(stem, "native", v[first:last], z[first:last], weight)
            np.testing.assert_array_equal(part, u[first:last])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_ties_go_to_the_leftmost(backend, dtype):
    """w = 9/16, v = 75, z = −50: u = −50 and u = 30 both cost exactly 75²/2."""
    v, z, weight = np.array([75.0], dtype), np.array([-50.0], dtype), 9 / 16
    for stem, parameters in (("relu", ()), ("leaky_relu", (0.0,))):
        op = sides("activation", stem, *parameters)[backend]
        assert op.prox(v, z, weight)[0] == -50
        assert op.prox(np.nextafter(v, dtype_up(dtype)), z, weight)[0] > 0
    # The same tie on the left kink of hard_tanh, and its mirror image on the right one.
    op = sides("activation", "hard_tanh")[backend]
    assert op.prox(v / 128 - 1, z / 128 - 1, weight)[0] == -178 / 128
    assert op.prox(1 - v / 128, 1 - z / 128, weight)[0] == 98 / 128


def dtype_up(dtype):
    return np.array(np.inf, dtype)


@pytest.mark.parametrize("stem", STEMS)
@given(seed=st.integers(0, 2**31), log_weight=st.floats(-4, 3))
def test_native_prox_is_the_reference(stem, seed, log_weight):
    rng = np.random.default_rng(seed)
    v, z = 3 * rng.standard_normal((2, 200))
    weight = 10**log_weight
    native, reference = (prox(stem, backend, v, z, weight) for backend in BACKENDS)
    # Beside a tie the two may choose differently; then their objectives agree.
    close = np.abs(native - reference) <= 1e-9 * (1 + np.abs(reference))
    difference, size = gain(stem, native, reference, v, z, weight)
    assert (close | (np.abs(difference) <= 1e-14 * size)).all()


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_prox_is_the_rounded_one(stem, backend):
    """Objectives agree to the rounding of the arguments."""
    rng = np.random.default_rng(1)
    v, z = (2 * rng.standard_normal((2, 500))).astype(np.float32)
    for weight in (0.01, 0.3, 5.0):
        u = prox(stem, backend, v, z, np.float32(weight))
        exact = prox(stem, backend, np.float64(v), np.float64(z), np.float64(np.float32(weight)))
        difference, size = gain(stem, u, exact, v, z, weight)
        assert (difference <= 1e-6 * size + 1e-12).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", STEMS)
def test_value(stem, backend, dtype):
    eps = np.finfo(dtype).eps
    u = np.concatenate([np.linspace(-12, 12, 1001), np.array(EXTREME)]).astype(dtype)
    value = sides("activation", stem)[backend].value(u)
    assert value.dtype == dtype
    exact = exact_value(stem, u)
    tiny = np.finfo(dtype).tiny
    assert (np.abs(value - exact) <= 4 * eps * np.abs(exact) + tiny).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", STEMS)
def test_derivative_is_the_one_sided_slope(stem, backend):
    """Difference quotients of either side, of σ in extended precision; kinks of all σ are here."""
    op = sides("activation", stem)[backend]
    u = np.array([-3.0, -2.5, -1.0, -0.25, 0.0, 0.25, 1.0, 2.5, 3.0])
    for side, step in (("left", -1e-7), ("right", 1e-7)):
        quotient = (exact_value(stem, u + long(step)) - exact_value(stem, u)) / long(step)
        np.testing.assert_allclose(op.derivative(u, side), np.float64(quotient), atol=1e-7)
    grid = np.linspace(-6, 6, 400) + 1e-3  # off the kinks
    centered = exact_value(stem, grid + long(1e-5)) - exact_value(stem, grid - long(1e-5))
    for side in ("left", "right"):
        np.testing.assert_allclose(
            op.derivative(grid, side), np.float64(centered / long(2e-5)), atol=1e-9
        )
    assert np.array_equal(op.derivative(grid, "left"), op.derivative(grid, "right"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", STEMS)
def test_difference_is_accurate_relative_to_the_step(stem, backend, dtype):
    rng = np.random.default_rng(2)
    eps = np.finfo(dtype).eps
    b = (3 * rng.standard_normal(3000)).astype(dtype)
    step = np.resize([0.0, 1e-14, 1e-9, 1e-5, 1e-2, 1.0, 5.0], b.shape)
    a = (b + step * rng.standard_normal(b.shape)).astype(dtype)
    op = sides("activation", stem)[backend]
    error = np.abs(op.difference(a, b) - exact_difference(stem, a, b))
    step = np.abs(np.asarray(a, long) - b)
    assert (error <= 4 * eps * step * largest_slope(stem, a, b)).all()
