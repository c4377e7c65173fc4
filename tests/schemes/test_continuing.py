"""The state is all there is: a run that continues gives the bits of one that does not stop."""

import numpy as np
import pytest

from agreement import assert_same_columns, assert_same_state
from amcore import checkpoint
from amcore.callbacks import Checkpoint
from schemes.cases import on_backends, on_dtypes, on_examples


def assert_continues(whole, first, rest):
    done = len(first.trace)
    assert_same_state(rest.state, whole.state, 0, "continued")
    ours, theirs = rest.trace, whole.trace
    np.testing.assert_array_equal(ours.objective[1:], theirs.objective[done + 1 :])
    np.testing.assert_array_equal(ours.decrease, theirs.decrease[done:])
    np.testing.assert_array_equal(
        ours.subgradient_distance[1:], theirs.subgradient_distance[done + 1 :]
    )
    floor = 8 * np.finfo(theirs.dtype).eps * max(abs(part[done]) for part in theirs.parts.values())
    assert ours.objective[0] == pytest.approx(theirs.objective[done], abs=floor)
    assert ours.marks == [(k - done, text) for k, text in theirs.marks if k > done]
    assert_same_columns(
        ours.step_norm,
        {name: norms[done:] for name, norms in theirs.step_norm.items()},
    )


@on_backends
@on_examples
def test_continued_run(case, backend):
    options = {"backend": backend}
    whole, first = (case.solve(max_iter=sweeps, **options) for sweeps in (7, 3))
    before = first.state.copy()
    rest = case.solve(max_iter=4, init=first.state, **options)
    assert_same_state(first.state, before, 0, "the state given was changed")
    assert_continues(whole, first, rest)


@on_dtypes
@on_examples
def test_continued_run_of_several_chunks(case, dtype):
    """What a sample or a row needed leaves no trace in sums kept from sweep to sweep."""
    case = case.with_(n=3000, dtype=dtype)
    whole, first = (case.solve(max_iter=sweeps) for sweeps in (4, 2))
    assert_continues(whole, first, case.solve(max_iter=2, init=first.state))


@on_backends
@on_examples
def test_resumed_from_a_checkpoint(case, backend, tmp_path):
    path = tmp_path / "run.npz"
    whole = case.solve(max_iter=5, backend=backend)
    first = case.solve(max_iter=3, callbacks=[Checkpoint(path)], backend=backend)
    state, trace = checkpoint.load(path)
    np.testing.assert_array_equal(trace.objective, first.trace.objective)
    assert_continues(whole, first, case.solve(max_iter=2, init=state, backend=backend))
