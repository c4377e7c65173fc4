"""Operators of numbers whose squares overflow or underflow: as of numbers of usual size, scaled.

Scaling x, and what of an operator has its unit, by a power of two scales every result exactly.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import sides

BACKENDS = ["native", "reference"]
# The parameters of an operator that scales with x, for a factor of x.
REGULARIZERS = {
    "none": lambda s: (),
    "nonnegative": lambda s: (),
    "l1": lambda s: (0.7 * s,),
    "box": lambda s: (-0.5 * s, 0.75 * s),
    "l2_ball": lambda s: (1.5 * s,),
    "group_lasso": lambda s: (0.7 * s, 1),
}
SCALES = {np.float64: (2.0**-700, 2.0**-550, 2.0**550, 2.0**700), np.float32: (2.0**-80, 2.0**80)}
numbers = st.lists(st.floats(0.1, 2).flatmap(lambda a: st.sampled_from([a, -a])), min_size=6)


def matrix(values, dtype):
    return np.array(values[: len(values) // 3 * 3], dtype).reshape(-1, 3)


def close(found, expected, dtype):
    np.testing.assert_allclose(found, expected, rtol=64 * np.finfo(dtype).eps)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", SCALES)
@pytest.mark.parametrize("stem", REGULARIZERS)
@given(values=numbers)
def test_proximal_maps_and_distances_of_regularisers(stem, dtype, backend, values):
    parameters = REGULARIZERS[stem]
    x = matrix(values, dtype)
    g = x[::-1].copy()
    usual = sides("regularizer", stem, *parameters(1.0))[backend]
    for s in SCALES[dtype]:
        scaled = sides("regularizer", stem, *parameters(s))[backend]
        p = usual.prox(x, 1.0)
        close(scaled.prox(x * dtype(s), 1.0), p * dtype(s), dtype)
        distance = usual.subgradient_distance(p, g)
        close(scaled.subgradient_distance(p * dtype(s), g * dtype(s)), distance * s, dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", SCALES)
@given(values=numbers)
def test_sums_of_norms(dtype, axis, backend, values):
    op = sides("regularizer", "group_lasso", 0.7, axis)[backend]
    x = matrix(values, dtype)
    for s in SCALES[dtype]:
        close(op.value(x * dtype(s)), op.value(x) * s, dtype)
        close(
            op.difference(x * dtype(s), -0.5 * x * dtype(s)), op.difference(x, -0.5 * x) * s, dtype
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("stem", "rest"), [("ridge", ()), ("elastic_net", (0.0,))])
@given(values=numbers)
def test_squares_beside_small_and_large_weights(stem, rest, backend, values):
    x = matrix(values, np.float64)
    expected = sides("regularizer", stem, *rest, 0.7)[backend].value(x)
    for s in SCALES[np.float64]:
        op = sides("regularizer", stem, *rest, 0.7 / s)[backend]
        close(op.value(x * s), expected * s, np.float64)
        assert sides("regularizer", stem, *rest, 0.0)[backend].value(x * s) == 0


@pytest.mark.parametrize("backend", BACKENDS)
@given(values=numbers)
def test_hard_thresholds(backend, values):
    x = matrix(values, np.float64)
    kept = sides("regularizer", "l0", 0.5)[backend].prox(x, 1.0) != 0
    for s in SCALES[np.float64]:
        p = sides("regularizer", "l0", 0.5 * s)[backend].prox(x * s, s)
        assert np.array_equal(p, np.where(kept, x * s, 0))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("stem", "parameters"), [("squared", lambda s: ()), ("huber", lambda s: (s,))]
)
@given(values=numbers)
def test_distances_of_losses(stem, parameters, backend, values):
    v = matrix(values, np.float64)
    y, g = v[::-1].copy(), np.ones_like(v)
    expected = sides("loss", stem, *parameters(1.0))[backend].subgradient_distance(v, y, g, 2.0)
    for s in SCALES[np.float64]:
        op = sides("loss", stem, *parameters(s))[backend]
        close(op.subgradient_distance(v * s, y * s, g * s, 2.0), expected * s, np.float64)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [0.0, np.nan, np.inf])
def test_what_no_scaling_mends(size, backend):
    """The norm of zeros is 0, of what is not finite it is not finite."""
    none = sides("regularizer", "none")[backend]
    x = np.full((2, 3), size)
    assert np.array_equal(none.subgradient_distance(x, x), size, equal_nan=True)
