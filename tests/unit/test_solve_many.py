import os
import signal
import threading

import numpy as np
import pytest

import amcore

rng = np.random.default_rng(5)
X = rng.standard_normal((60, 4))
PROBLEM = amcore.Problem(amcore.Network([4, 6, 2], activation="tanh"), X, np.sin(X[:, :2]))
SCHEME = amcore.ThreeSplitBCD(alpha=0.5)


def assert_same(run, other):
    assert all(np.array_equal(array, other.state[name]) for name, array in run.state.items())
    assert run.stop_reason == other.stop_reason and len(run.trace) == len(other.trace)
    for name in ("objective", "subgradient_distance", "decrease"):
        np.testing.assert_array_equal(getattr(run.trace, name), getattr(other.trace, name))
    for family in ("parts", "distance", "step_norm", "monitors"):
        ours, theirs = getattr(run.trace, family), getattr(other.trace, family)
        assert list(ours) == list(theirs)
        for name, column in ours.items():
            np.testing.assert_array_equal(column, theirs[name])


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("measure_every", [1, 3])
def test_every_run_is_that_of_solve(num_threads, measure_every):
    options = {"max_iter": 7, "measure_every": measure_every}
    runs = amcore.solve_many(PROBLEM, SCHEME, seed=range(9), num_threads=num_threads, **options)
    assert len(runs) == 9
    for seed, run in enumerate(runs):
        assert_same(run, amcore.solve(PROBLEM, SCHEME, seed=seed, **options))
        assert np.isfinite(run.trace.time).all()


def test_problems_and_schemes_go_together():
    problems = [PROBLEM, amcore.Problem(amcore.Network([4, 3]), X, X[:, :3])]
    schemes = [SCHEME, amcore.ThreeSplitBCD(gamma=2.0)]
    runs = amcore.solve_many(problems, schemes, max_iter=4, dtype=np.float32)
    for run, problem, scheme in zip(runs, problems, schemes, strict=True):
        assert run.problem is problem and run.scheme is scheme
        assert_same(run, amcore.solve(problem, scheme, max_iter=4, dtype=np.float32))


def test_weights_to_start_from():
    starts = [amcore.solve(PROBLEM, SCHEME, max_iter=2, seed=s).weights for s in (1, 2)]
    runs = amcore.solve_many(PROBLEM, SCHEME, init=starts, max_iter=3)
    for run, start in zip(runs, starts, strict=True):
        assert_same(run, amcore.solve(PROBLEM, SCHEME, init=start, max_iter=3))


def test_another_scheme():
    scheme = amcore.ADMM(majorizer="tight")
    for seed, run in enumerate(amcore.solve_many(PROBLEM, scheme, seed=range(3), max_iter=4)):
        assert_same(run, amcore.solve(PROBLEM, scheme, seed=seed, max_iter=4))


def test_one_of_each_is_one_run():
    (run,) = amcore.solve_many(PROBLEM, SCHEME, max_iter=3)
    assert_same(run, amcore.solve(PROBLEM, SCHEME, max_iter=3))
    assert amcore.solve_many([], SCHEME) == []


def test_tolerance():
    tol = amcore.solve(PROBLEM, SCHEME, max_iter=6).trace.subgradient_distance[4]
    (run,) = amcore.solve_many(PROBLEM, SCHEME, max_iter=50, tol=tol)
    assert run.stop_reason == "tol" and len(run.trace) <= 4
    assert_same(run, amcore.solve(PROBLEM, SCHEME, max_iter=50, tol=tol))


def test_a_failure_leaves_the_others():
    huge = amcore.Problem(PROBLEM.network, X, 1e200 * PROBLEM.Y)
    runs = amcore.solve_many([PROBLEM, huge, PROBLEM], SCHEME, max_iter=3)
    assert [run.stop_reason for run in runs] == ["max_iter", "failed", "max_iter"]
    with pytest.raises(amcore.NumericalError) as raised:
        amcore.solve(huge, SCHEME, max_iter=3)
    error = runs[1].error
    assert str(error) == str(raised.value) and error.solution.stop_reason == "failed"
    assert runs[0].error is None
    assert all(np.isfinite(array).all() for array in runs[1].state.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": [1, 2], "problems": [PROBLEM] * 3}, "got 3 problems, 2 seed"),
        ({"schemes": ["admm"]}, "scheme: expected a scheme"),
        ({"num_threads": 0}, "num_threads: expected an integer >= 1, got 0"),
        ({"max_iter": -1}, "max_iter: expected an integer >= 0"),
        ({"measure_every": 0}, "measure_every"),
        ({"max_iter": 2**70}, "max_iter: expected an integer"),
        ({"measure_every": 2**70}, "measure_every: expected an integer"),
        ({"num_threads": 2**40}, "num_threads: expected an integer"),
        ({"tol": -1.0}, "tol"),
        ({"init": amcore.solve(PROBLEM, SCHEME, max_iter=1).state}, "got a State"),
    ],
)
def test_wrong_arguments(arguments, message):
    given = {"problems": PROBLEM, "schemes": SCHEME} | arguments
    with pytest.raises((TypeError, ValueError), match=message):
        amcore.solve_many(given.pop("problems"), given.pop("schemes"), **given)


def test_interrupt_ends_all_runs():
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    runs = amcore.solve_many(PROBLEM, SCHEME, seed=range(4), max_iter=200_000)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert {run.stop_reason for run in runs} == {"interrupted"}
    for seed, run in enumerate(runs):
        k = min(len(run.trace), 3)
        shorter = amcore.solve(PROBLEM, SCHEME, seed=seed, max_iter=k)
        assert shorter.trace.objective[k] == run.trace.objective[k]


def test_what_a_handler_raises_ends_all_runs():
    class TimedOut(Exception):
        pass

    def ring(*_):
        raise TimedOut

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(TimedOut):
            amcore.solve_many(PROBLEM, SCHEME, seed=range(4), max_iter=10**8)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_interrupt_leaves_the_last_sweep_measured():
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    options = {"max_iter": 200_000, "measure_every": 199_999}
    runs = amcore.solve_many(PROBLEM, SCHEME, seed=range(3), **options)
    for run in runs:
        g = run.trace.subgradient_distance
        assert run.stop_reason == "interrupted" and np.isfinite(g[[0, -1]]).all()
