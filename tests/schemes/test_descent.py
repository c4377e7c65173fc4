"""Every sweep lowers the objective by what the scheme promises, and says truly by how much."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemes.cases import ROWS, cases, on_backends, on_dtypes, on_schemes

PROMISING = [kind for kind, row in ROWS.items() if row.promised is not None]


def scale(trace):
    """Size of the terms that f is the sum of, sweep by sweep."""
    return sum(abs(part) for part in trace.parts.values())


@on_backends
@pytest.mark.parametrize("kind", PROMISING)
@given(data=st.data())
@settings(max_examples=settings.default.max_examples // 2)
def test_sufficient_decrease(kind, backend, data):
    case = data.draw(cases(kind))
    trace = case.solve(max_iter=8, backend=backend).trace
    f, promised = trace.objective, case.row.promised(case, trace)
    assert np.isfinite(f).all()
    assert (trace.decrease >= promised * (1 - 1e-7) - 1e-13 * f[:-1]).all()
    assert (np.diff(f) <= 1e-13 * f[:-1]).all()
    moving = trace.decrease > 1e-12 * f[:-1]
    assert (np.diff(f)[moving] < 0).all()


@on_backends
@on_schemes
@given(data=st.data())
@settings(max_examples=settings.default.max_examples // 2)
def test_decrease_is_the_difference_of_objectives(kind, backend, data):
    """Also where the objective rises."""
    trace = data.draw(cases(kind)).solve(max_iter=6, backend=backend).trace
    size = np.maximum(scale(trace)[:-1], scale(trace)[1:])
    assert (abs(-np.diff(trace.objective) - trace.decrease) <= 1e-13 * size).all()


@on_dtypes
@pytest.mark.parametrize("kind", PROMISING)
@given(data=st.data())
@settings(max_examples=settings.default.max_examples // 2)
def test_never_rises_beyond_rounding(kind, dtype, data):
    case = data.draw(cases(kind, dtype=dtype, grid=False))
    trace = case.solve(max_iter=6).trace
    few = 200 * np.finfo(dtype).eps * trace.objective[0]
    assert (trace.decrease >= -few).all()
    np.testing.assert_allclose(-np.diff(trace.objective), trace.decrease, atol=few)
