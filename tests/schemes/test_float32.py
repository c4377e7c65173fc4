"""A run in float32 is near the definition in float64, in every scheme."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agreement import assert_same_state
from schemes.cases import cases, on_backends, on_examples, on_schemes

FLOAT32 = np.dtype(np.float32)


def dtypes(case, run):
    """Of the arrays of the state; a scheme's own numbers are float64 in either type."""
    numbers = case.scheme().numbers
    return {array.dtype for name, array in run.state.items() if name not in numbers}


@on_backends
@on_examples
def test_ten_sweeps(case, backend):
    case = case.with_(n=200)
    exact = case.solve(max_iter=10, backend="reference")
    single = case.solve(max_iter=10, dtype=FLOAT32, backend=backend)
    assert dtypes(case, single) == {FLOAT32}
    assert single.forward(case.problem().X).dtype == FLOAT32
    size = sum(abs(part) for part in exact.trace.parts.values()).max()
    np.testing.assert_allclose(
        single.trace.objective, exact.trace.objective, rtol=1e-4, atol=1e-5 * size
    )
    assert_same_state(single.state, exact.state, 1e-2, str(case))


@on_backends
@on_schemes
@given(data=st.data())
@settings(max_examples=settings.default.max_examples // 2)
def test_drawn_runs(kind, backend, data):
    case = data.draw(cases(kind, dtype="float32", grid=False))
    exact = case.solve(max_iter=3, dtype="float64", backend="reference").trace
    single = case.solve(max_iter=3, backend=backend)
    assert dtypes(case, single) == {FLOAT32}
    size = sum(abs(part) for part in exact.parts.values()).max()
    np.testing.assert_allclose(single.trace.objective, exact.objective, rtol=2e-3, atol=1e-5 * size)
