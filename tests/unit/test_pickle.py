"""What amcore makes can be copied, saved by pickle and sent to another process."""

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import amcore

rng = np.random.default_rng(3)
X = rng.standard_normal((30, 3))
NET = amcore.Network([3, 4, 2], activation=amcore.activations.leaky_relu(0.1))
PROBLEM = amcore.Problem(NET, X, rng.integers(0, 2, 30), weight_regularizer="ridge")
RUN = amcore.solve(PROBLEM, amcore.ThreeSplitBCD(), max_iter=12)
STEP = next(amcore.iterate(PROBLEM, amcore.ThreeSplitBCD(), max_iter=1))


def solved(scale):
    problem = amcore.Problem(NET, X * scale, PROBLEM.Y)
    return amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=3)


def failure():
    try:
        solved(1e200)
    except amcore.NumericalError as error:
        error.add_note("noted")
        return error


THINGS = {
    "Network": NET,
    "Problem": PROBLEM,
    **{name: getattr(amcore, name)() for name in ("ADMM", "MDLAM", "ThreeSplitBCD", "TwoSplitBCD")},
    "State": RUN.state,
    "Trace": RUN.trace,
    "Record": RUN.trace.records[1],
    "Solution": RUN,
    "Step": STEP,
    "Certificate": amcore.certify(RUN.trace),
    "NumericalError": failure(),
    "alone": amcore.NumericalError("W", layer=2, block="V", sweep=3, condition=4e5),
}


def facts(thing):
    """Return what two equal things have in common, as text."""
    attributes = getattr(thing, "__dict__", {})
    return repr(thing), str(thing), sorted(attributes), str(getattr(thing, "__notes__", ""))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, copy.copy, lambda x: pickle.loads(pickle.dumps(x))]
)
@pytest.mark.parametrize("name", THINGS)
def test_copies_are_equal(name, copied):
    thing = THINGS[name]
    again = copied(thing)
    assert type(again) is type(thing) and facts(again) == facts(thing)
    if isinstance(thing, amcore.NumericalError):
        kept = ("args", "layer", "block", "sweep", "condition")
        assert all(getattr(again, name) == getattr(thing, name) for name in kept)
        thing, again = thing.solution, again.solution
    state = {"Solution": thing, "Step": thing, "NumericalError": thing}.get(name)
    if state is not None:
        assert all(np.array_equal(again.state[name], state.state[name]) for name in state.state)
        assert np.array_equal(again.trace.objective, state.trace.objective)


def test_a_copied_solution_goes_on():
    again = pickle.loads(pickle.dumps(RUN))
    assert np.array_equal(again.predict(X), RUN.predict(X))
    rest = [
        amcore.solve(PROBLEM, run.scheme, max_iter=2, init=run.state, trace=run.trace)
        for run in (RUN, again)
    ]
    assert np.array_equal(rest[0].trace.objective, rest[1].trace.objective)


@pytest.mark.parametrize("scale", [1e200, 1.0])
def test_runs_and_errors_arrive_from_another_process(scale):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        future = pool.submit(solved, scale)
        if scale == 1.0:
            assert future.result(60).trace.objective.shape == (4,)
        else:
            with pytest.raises(amcore.NumericalError) as raised:
                future.result(60)
            error = raised.value
            assert (error.layer, error.sweep) == (failure().layer, failure().sweep)
            assert error.solution.stop_reason == "failed"
