"""How a run ends: errors carry it, the last sweep is measured, a trace can be gone on with."""

import signal

import numpy as np
import pytest

import amcore
from amcore.errors import ProcessError
from amcore.reference.scheme.three_split_bcd import ThreeSplitBCD
from communicator import Communicator, together

rng = np.random.default_rng(5)
X = rng.standard_normal((40, 3))
PROBLEM = amcore.Problem(amcore.Network([3, 5, 2]), X, X[:, :2] ** 2)
SCHEMES = {
    "ThreeSplitBCD": amcore.ThreeSplitBCD(),
    "TwoSplitBCD": amcore.TwoSplitBCD(),
    "ADMM": amcore.ADMM(beta=[4.0, 1.0]),
    "MDLAM": amcore.MDLAM(),
}
SCHEME = SCHEMES["ThreeSplitBCD"]
BACKENDS = ["native", "reference"]


def problem_for(scheme):
    activation = "tanh" if isinstance(scheme, amcore.ADMM) else "relu"
    return amcore.Problem(amcore.Network([3, 5, 2], activation=activation), X, PROBLEM.Y)


def same_state(state, other):
    return all(np.array_equal(state[name], other[name]) for name in other)


class Raising:
    def __init__(self, error, event, sweep):
        self.error, self.event, self.sweep = error, event, sweep

    def _raise(self, event, sweep):
        if (event, sweep) == (self.event, self.sweep):
            raise self.error

    def begin(self, step):
        self._raise("begin", step.sweep)

    def step(self, step):
        self._raise("step", step.sweep)

    def end(self, solution):
        self._raise("end", len(solution.trace))


class Ended:
    def end(self, solution):
        self.solution = solution


def until(sweep):
    return lambda step: step.sweep == sweep


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("error", [ValueError("mine"), OSError(28, "No space"), SystemExit(3)])
@pytest.mark.parametrize(("event", "sweep"), [("begin", 0), ("step", 2)])
def test_an_error_of_a_callback_carries_the_run(backend, error, event, sweep):
    ended = Ended()
    callbacks = [Raising(error, event, sweep), ended]
    with pytest.raises(type(error)) as raised:
        amcore.solve(PROBLEM, SCHEME, max_iter=4, callbacks=callbacks, backend=backend)
    assert raised.value is error and "`solution`" in error.__notes__[-1]
    run = error.solution
    assert len(run.trace) == sweep
    whole = amcore.solve(PROBLEM, SCHEME, max_iter=sweep, backend=backend)
    assert same_state(run.state, whole.state)
    assert len(ended.solution.trace) == sweep, "all callbacks hear of the end"
    assert run.stop_reason == "Raising" and run.error is error
    del error.solution, error.__notes__


def test_a_full_disk_leaves_the_run(tmp_path, monkeypatch):
    def full(path, *_):
        raise OSError(28, "No space left on device", str(path))

    keep = amcore.callbacks.Checkpoint(tmp_path / "run.npz")
    monkeypatch.setattr(amcore.checkpoint, "save", full)
    with pytest.raises(OSError, match=r"run\.npz") as raised:
        amcore.solve(PROBLEM, SCHEME, max_iter=4, callbacks=[keep])
    assert len(raised.value.solution.trace) == 1


def test_an_error_of_the_end_carries_the_run():
    ended = Ended()
    with pytest.raises(ValueError, match="late") as raised:
        amcore.solve(
            PROBLEM, SCHEME, max_iter=2, callbacks=[Raising(ValueError("late"), "end", 2), ended]
        )
    assert raised.value.solution is ended.solution and ended.solution.stop_reason == "max_iter"


def test_an_error_of_the_end_is_noted_on_that_of_the_run():
    late = Raising(OSError("late"), "end", 2)
    with pytest.raises(ValueError, match="first") as raised:
        amcore.solve(PROBLEM, SCHEME, callbacks=[late, Raising(ValueError("first"), "step", 2)])
    assert "OSError('late')" in raised.value.__notes__[-1]


def test_memory_that_runs_out_leaves_the_state(monkeypatch):
    def full(self, i):
        raise MemoryError

    whole = amcore.solve(PROBLEM, SCHEME, max_iter=1, backend="reference")
    steps = amcore.iterate(PROBLEM, SCHEME, max_iter=5, backend="reference")
    next(steps)
    monkeypatch.setattr(ThreeSplitBCD, "_update_v", full)
    with pytest.raises(MemoryError) as raised:
        next(steps)
    run = raised.value.solution
    assert run.stop_reason == "failed" and same_state(run.state, whole.state)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SCHEMES)
def test_the_last_sweep_is_measured_whatever_ends_the_run(backend, name):
    scheme = SCHEMES[name]
    problem, options = problem_for(scheme), {"measure_every": 3, "backend": backend}
    planned = amcore.solve(problem, scheme, max_iter=5, **options)
    ended = Ended()
    run = amcore.solve(problem, scheme, max_iter=9, callbacks=[until(5), ended], **options)
    assert ended.solution.trace is run.trace and len(run.trace) == 5
    assert same_state(run.state, planned.state)
    assert np.array_equal(run.trace.objective, planned.trace.objective)
    g = run.trace.subgradient_distance
    assert np.isnan(g).tolist() == [False, True, True, False, True, False]
    assert g[-1] == pytest.approx(planned.trace.subgradient_distance[-1], rel=1e-10)
    for block, values in planned.trace.distance.items():
        assert run.trace.distance[block][-1] == pytest.approx(values[-1], rel=1e-9, abs=1e-12)
    assert list(amcore.iterate(problem, scheme, max_iter=9, callbacks=[until(5)], **options))[
        -1
    ].record.subgradient_distance == pytest.approx(g[-1], rel=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SCHEMES)
def test_a_trace_is_gone_on_with(backend, name, tmp_path):
    scheme, path = SCHEMES[name], tmp_path / "run.npz"
    problem, options = problem_for(scheme), {"measure_every": 2, "backend": backend}
    whole = amcore.solve(problem, scheme, max_iter=9, **options)
    keep = [amcore.callbacks.Checkpoint(path)]
    amcore.solve(problem, scheme, max_iter=4, callbacks=keep, **options)
    state, trace = amcore.checkpoint.load(path)
    seen = []
    run = amcore.solve(
        problem,
        scheme,
        max_iter=5,
        init=state,
        trace=trace,
        callbacks=[*keep, lambda step: seen.append(step.sweep)],
        **options,
    )
    assert seen == [5, 6, 7, 8, 9] and len(trace) == 4 and run.stop_reason == "max_iter"
    assert same_state(run.state, whole.state)
    for trace in (run.trace, amcore.checkpoint.load(path)[1]):
        assert np.array_equal(trace.objective, whole.trace.objective)
        for family in ("subgradient_distance", "decrease"):
            np.testing.assert_allclose(getattr(trace, family), getattr(whole.trace, family), 1e-9)
        assert trace.step_norm.keys() == whole.trace.step_norm.keys()


def test_a_trace_that_does_not_belong_to_the_state_is_refused():
    run = amcore.solve(PROBLEM, SCHEME, max_iter=3)
    other = amcore.solve(PROBLEM, SCHEME, max_iter=2).trace
    relu = amcore.solve(PROBLEM, SCHEMES["TwoSplitBCD"], max_iter=2).trace
    for init, trace, message in [
        (run.state, [1.0], "trace: expected a Trace, got"),
        ("he", run.trace, "trace: expected a State as init"),
        (run.state, amcore.Trace(), "got an empty one"),
        (run.state, amcore.Trace.from_arrays(np.float32([1, 2])), "trace: expected one in float64"),
        (run.state, relu, "distance_is_bound=False"),
        (run.state, other, "trace: expected that of init, whose objective is"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            amcore.solve(PROBLEM, SCHEME, init=init, trace=trace)


@pytest.mark.parametrize("event", ["begin", "step"])
def test_an_error_in_one_process_ends_the_others(event):
    sweep, comm = {"begin": 0, "step": 2}[event], Communicator(2)

    def process(rank):
        half = amcore.Problem(PROBLEM.network, X[rank::2], PROBLEM.Y[rank::2])
        raising = [Raising(ValueError("mine"), event, sweep)] if rank else []
        options = {"callbacks": raising, "comm": comm.member(rank), "num_threads": 1}
        try:
            return amcore.solve(half, SCHEME, max_iter=6, measure_every=5, **options)
        except (ValueError, ProcessError) as error:
            return error.solution

    runs = together(comm, process)
    assert [type(run.error) for run in runs] == [ProcessError, ValueError]
    for run in runs:
        assert len(run.trace) == sweep and np.isfinite(run.trace.objective[-1])


def test_ctrl_c_ends_the_run_and_a_second_one_goes_through():
    handler = signal.getsignal(signal.SIGINT)
    for times in (1, 2):

        def press(step, times=times):
            if step.sweep == 4:
                for _ in range(times):
                    signal.raise_signal(signal.SIGINT)

        options = {"max_iter": 9, "measure_every": 3, "callbacks": [press]}
        if times == 1:
            run = amcore.solve(PROBLEM, SCHEME, **options)
        else:
            with pytest.raises(KeyboardInterrupt) as raised:
                amcore.solve(PROBLEM, SCHEME, **options)
            run = raised.value.solution
        assert run.stop_reason == ("interrupted" if times == 1 else "press")
        assert len(run.trace) == 4 and np.isfinite(run.trace.subgradient_distance[-1])
        assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_between_the_sweeps_of_an_iteration(tmp_path):
    keep, press = amcore.callbacks.Checkpoint(tmp_path / "run.npz", every=5), signal.raise_signal
    steps = amcore.iterate(
        PROBLEM, SCHEME, callbacks=[keep, lambda step: press(signal.SIGINT) and None]
    )
    with pytest.raises(KeyboardInterrupt) as raised:
        next(steps)
    assert len(raised.value.solution.trace) == 1
    assert len(amcore.checkpoint.load(tmp_path / "run.npz")[1]) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_handler_raises_comes_between_sweeps(backend):
    class TimedOut(Exception):
        pass

    def ring(*_):
        raise TimedOut

    class Alarm:
        def begin(self, step):
            signal.setitimer(signal.ITIMER_REAL, 0.05)

    before, options = signal.signal(signal.SIGALRM, ring), {"backend": backend}
    try:
        with pytest.raises(TimedOut) as raised:
            amcore.solve(PROBLEM, SCHEME, max_iter=10**7, callbacks=[Alarm()], **options)
        assert signal.getsignal(signal.SIGALRM) is ring
    finally:
        signal.signal(signal.SIGALRM, before)
    run = raised.value.solution
    whole = amcore.solve(PROBLEM, SCHEME, max_iter=len(run.trace), backend=backend)
    assert same_state(run.state, whole.state)
