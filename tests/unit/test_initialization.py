"""amcore.initialization: distribution, reproducibility, dtypes."""

import numpy as np
import pytest

import amcore
from amcore import initialization

NET = amcore.Network([300, 200, 100])


@pytest.mark.parametrize(
    ("rule", "deviations"),
    [
        (initialization.he, [(2 / 300) ** 0.5, (2 / 200) ** 0.5]),
        (initialization.xavier, [(2 / 500) ** 0.5, (2 / 300) ** 0.5]),
        (initialization.gaussian(0.3), [0.3, 0.3]),
    ],
)
def test_moments(rule, deviations):
    for (W, b), deviation in zip(rule.weights(NET, 0), deviations, strict=True):
        assert abs(W.std() / deviation - 1) < 0.02
        assert abs(W.mean()) < 4 * deviation / W.size**0.5
        assert not b.any()


def test_seed_decides():
    first, same = (initialization.he.weights(NET, 7) for _ in range(2))
    other = initialization.he.weights(NET, 8)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0][0], other[0][0])


def test_float32_is_the_rounded_draw():
    exact, rounded = (initialization.he.weights(NET, 0, dtype) for dtype in (None, np.float32))
    assert rounded[0][0].dtype == np.float32
    np.testing.assert_array_equal(exact[0][0].astype(np.float32), rounded[0][0])


def test_bias():
    (_, b), _ = initialization.gaussian(0.01, bias=0.1).weights(NET, 0)
    assert (b == 0.1).all()
    assert initialization.he.weights(amcore.Network([3, 2], bias=False), 0)[0][1] is None
