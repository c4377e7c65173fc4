"""Measuring changes nothing, and what is measured is that of the state, in every scheme."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import amcore
from agreement import assert_same_columns, assert_same_state
from schemes.cases import cases, on_backends, on_dtypes, on_examples, on_schemes

EPS = np.finfo(np.float64).eps


@on_dtypes
@on_backends
@on_examples
def test_measuring_less_changes_nothing_else(case, backend, dtype):
    case = case.with_(dtype=dtype)
    often, seldom = (
        case.solve(max_iter=7, measure_every=every, backend=backend) for every in (1, 3)
    )
    assert_same_state(seldom.state, often.state, 0, str(case))
    assert seldom.trace.marks == often.trace.marks
    np.testing.assert_array_equal(seldom.trace.objective, often.trace.objective)
    assert_same_columns(seldom.trace.monitors, often.trace.monitors)
    measured = np.array([True, False, False, True, False, False, True, True])
    distance, f = seldom.trace.subgradient_distance, seldom.trace.objective
    assert np.isfinite(distance).tolist() == measured.tolist()
    np.testing.assert_array_equal(distance[measured], often.trace.subgradient_distance[measured])
    for name, norms in seldom.trace.step_norm.items():
        assert np.isnan(norms).tolist() == (~measured[1:]).tolist()
        np.testing.assert_array_equal(
            norms[measured[1:]], often.trace.step_norm[name][measured[1:]]
        )
    np.testing.assert_array_equal(
        seldom.trace.decrease, np.where(measured[1:], often.trace.decrease, f[:-1] - f[1:])
    )


@on_backends
@on_schemes
@given(data=st.data())
def test_measured_in_the_sweep_as_at_rest(kind, backend, data):
    """The sweep's own formulas, which use what is optimal, against those for any state."""
    case = data.draw(cases(kind, max_samples=30))
    run = case.solve(max_iter=3, backend=backend)
    again = case.solve(max_iter=0, init=run.state, backend=backend).trace.records[0]
    last = run.trace.records[-1]
    scale = sum(abs(part) for part in last.parts.values())
    assert again.objective == pytest.approx(last.objective, abs=1e-13 * scale)
    for name, value in last.parts.items():
        assert again.parts[name] == pytest.approx(value, rel=1e-9, abs=1e-13 * scale)
    heaviest = max(1, case.heaviest)
    inputs = max(np.linalg.norm(array) for array in (case.problem().X, *run.state.values()))
    floor = 1e3 * EPS * np.sqrt(heaviest * scale) * (1 + heaviest**0.5 * inputs)
    for block, value in last.distance.items():
        assert again.distance[block] == pytest.approx(value, rel=1e-7, abs=floor), block


@on_backends
@on_examples
def test_the_record_adds_up(case, backend):
    """Parts to the objective, distances to dist(0, ∂f), steps and decreases to the changes."""
    old = case.solve(max_iter=0, backend=backend).state.copy()
    for step in case.iterate(max_iter=4, backend=backend):
        record, scale = step.record, sum(abs(part) for part in step.record.parts.values())
        assert sum(record.parts.values()) == pytest.approx(record.objective, abs=1e-13 * scale)
        total = np.hypot.reduce(list(record.distance.values()))
        assert record.subgradient_distance == pytest.approx(total, rel=1e-13)
        for block, norm in record.step_norm.items():
            names = [block, f"b{block[1:]}"] if block.startswith("W") else [block]
            changes = [np.linalg.norm(step.state[name] - old[name]) for name in names]
            assert norm == pytest.approx(np.hypot.reduce(changes), rel=1e-8, abs=1e-12), block
        f = step.trace.objective
        assert record.decrease == pytest.approx(f[-2] - f[-1], rel=1e-9, abs=1e-12 * scale)
        old = step.state.copy()
    assert isinstance(old, amcore.State)
