"""The compiled core computes what its definition in NumPy says, in every scheme."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agreement import (
    assert_backends_agree,
    assert_same_record,
    assert_same_state,
    entries_at_kinks,
)
from schemes.cases import BACKENDS, cases, on_examples, on_schemes

FEW = settings.default.max_examples // 5


def assert_sweeps_agree(case, sweeps):
    """Each sweep from the same state: that decides at a kink is a difference in the last bit."""
    start = case.solve(max_iter=0, backend="reference").state

    def solve(backend, init):
        return case.solve(max_iter=1, init=init, backend=backend)

    def check(native, reference):
        at_kinks = entries_at_kinks(case.problem(), start, reference.state)
        # A run that starts at a critical point ends there.
        for ours, theirs in zip(native.trace.records, reference.trace.records, strict=True):
            assert_same_record(ours, theirs, str(case), 2 * at_kinks)
        assert native.trace.marks == reference.trace.marks
        assert_same_state(native.state, reference.state, 1e-9, str(case))

    for _ in range(sweeps):
        start = assert_backends_agree(solve, start, check).state


@on_schemes
@given(data=st.data())
def test_sweep_after_sweep(kind, data):
    assert_sweeps_agree(data.draw(cases(kind, max_depth=5, max_width=30)), 3)


@on_schemes
@given(data=st.data())
def test_start(kind, data):
    case = data.draw(cases(kind))
    native, reference = (case.solve(max_iter=0, backend=backend) for backend in BACKENDS)
    assert_same_state(native.state, reference.state, 1e-12, str(case))

    # Measured at the same point: what is exactly at a kink is decided by rounding too.
    def solve(backend, init):
        return case.solve(max_iter=0, init=init, backend=backend)

    def check(native, reference):
        assert_same_record(native.trace.records[0], reference.trace.records[0], str(case))

    assert_backends_agree(solve, reference.state, check)


@on_schemes
@given(data=st.data())
@settings(max_examples=FEW)
def test_many_tiles_and_chunks(kind, data):
    """Enough samples for several tiles, chunks and threads, in numbers that do not divide."""
    case = data.draw(cases(kind, max_depth=3, max_samples=3000))
    assert_sweeps_agree(case.with_(n=case.n + 2500), 2)


@on_schemes
@given(data=st.data())
@settings(max_examples=FEW)
def test_activations_that_vanish(kind, data):
    """From weights of 0 where σ(0) = 0 all of V is 0, and so is its Gram matrix."""
    case = data.draw(cases(kind, bias=False))
    zeros = [(np.zeros_like(W), b) for W, b in case.weights()]

    def solve(backend, init):
        return case.solve(max_iter=1, init=init, backend=backend)

    def check(native, reference):
        assert_same_state(native.state, reference.state, 1e-9, str(case))

    assert_backends_agree(solve, case.solve(max_iter=0, init=zeros).state, check)


@on_examples
@pytest.mark.parametrize("n", [41, pytest.param(1100, marks=pytest.mark.thorough)])
def test_twenty_sweeps(n, case):
    """Of a free run: what a sweep rounds grows with the sweeps."""
    runs = [case.with_(n=n).solve(max_iter=20, backend=backend) for backend in BACKENDS]
    native, reference = (run.trace for run in runs)
    size = sum(abs(part) for part in reference.parts.values())
    assert (abs(native.objective - reference.objective) <= 1e-9 * size).all()
    np.testing.assert_allclose(
        native.subgradient_distance, reference.subgradient_distance, rtol=1e-6
    )
    assert (abs(native.decrease - reference.decrease) <= 1e-9 * size[:-1]).all()
    assert native.marks == reference.marks
    assert_same_state(runs[0].state, runs[1].state, 1e-8, str(case))
