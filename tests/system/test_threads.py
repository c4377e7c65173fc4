"""Threads change the time and nothing else."""

import concurrent.futures
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import amcore

RUN = """
import hashlib, sys
import numpy as np, amcore

def digest(dtype):
    rng = np.random.default_rng(0)
    n = 3001  # several chunks and tiles, none of them full
    X = rng.standard_normal((n, 37)).astype(dtype)
    net = amcore.Network([37, 50, 50, 50, 10], ["relu", "tanh", "sigmoid"], skip=True)
    problem = amcore.Problem(net, X, rng.integers(0, 10, n), loss="cross_entropy",
                             weight_regularizer=amcore.regularizers.ridge(0.1))
    run = amcore.solve(problem, amcore.ThreeSplitBCD(gamma=0.5, alpha=0.2), max_iter=4)
    trace = run.trace
    measures = [trace.objective, trace.subgradient_distance, trace.decrease,
                *trace.parts.values(), *trace.distance.values(), *trace.step_norm.values()]
    bits = hashlib.sha256()
    for array in [*run.state.values(), *measures, run.predict(X)]:
        bits.update(np.ascontiguousarray(array).tobytes())
    return bits.hexdigest()

print(digest("float64"), digest("float32"), amcore._core.max_threads())
"""


def run_python(code, **environment):
    """Run `code` in a fresh interpreter; return what it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_environment_does_not_change_the_bits():
    results = {count: run_python(RUN, OMP_NUM_THREADS=count) for count in "123"}
    assert {count: found[2] for count, found in results.items()} == {c: c for c in "123"}
    assert results["1"][:2] == results["2"][:2] == results["3"][:2]
    assert results["1"][0] != results["1"][1]
    twice = run_python(RUN, OMP_NUM_THREADS="2", OMP_SCHEDULE="static", OMP_DYNAMIC="true")
    assert twice[:2] == results["1"][:2]


def test_more_threads_than_there_is_work_for():
    """They are neither started nor given scratch."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((1500, 100)), rng.integers(0, 3, 1500)
    problem = amcore.Problem(amcore.Network([100, 100, 100, 3]), X, y)
    one, many = (
        amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=3, num_threads=threads).state
        for threads in (1, 1_000_000)
    )
    for name in one:
        np.testing.assert_array_equal(one[name], many[name])


def test_a_tree_of_many_chunks():
    """As many samples as make 64 chunks; the last is not full."""
    generator = np.random.default_rng(4)
    n = 64 * 4096 + 77
    X = generator.standard_normal((n, 2))
    net = amcore.Network([2, 3, 1], ["tanh"])
    many = amcore.Problem(net, X, np.sin(X).sum(axis=1, keepdims=True))
    runs = [
        amcore.solve(many, amcore.ThreeSplitBCD(), max_iter=2, num_threads=threads, seed=0)
        for threads in (1, 2, 5)
    ]
    expected = amcore.solve(many, amcore.ThreeSplitBCD(), max_iter=2, seed=0, backend="reference")
    for run in runs:
        np.testing.assert_allclose(run.trace.objective, expected.trace.objective, rtol=1e-11)
        assert np.array_equal(run.trace.objective, runs[0].trace.objective)
        for name, array in run.state.items():
            assert np.array_equal(array, runs[0].state[name])
            np.testing.assert_allclose(array, expected.state[name], rtol=1e-7, atol=1e-9)


def problem(seed, n=1500):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 20))
    net = amcore.Network([20, 40, 30, 5], ["relu", "tanh"])
    return amcore.Problem(net, X, rng.integers(0, 5, n), loss="hinge")


def digest(run):
    bits = hashlib.sha256()
    for array in [*run.state.values(), run.trace.objective, run.trace.decrease]:
        bits.update(np.ascontiguousarray(array).tobytes())
    return bits.hexdigest()


def work(seed, num_threads=None):
    scheme = amcore.ThreeSplitBCD(alpha=0.3)
    return digest(
        amcore.solve(problem(seed), scheme, max_iter=4, seed=seed, num_threads=num_threads)
    )


@pytest.mark.parametrize("num_threads", [1, 2])
def test_several_solves_at_once(num_threads):
    expected = [work(seed, num_threads) for seed in range(6)]
    assert len(set(expected)) == 6
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            found = list(pool.map(lambda seed: work(seed, num_threads), range(6)))
            assert found == expected


def test_several_solves_of_one_problem_share_nothing_that_changes():
    shared, scheme = problem(3), amcore.ThreeSplitBCD()
    X, Y = shared.X.copy(), shared.Y.copy()

    def solve(seed):
        return digest(amcore.solve(shared, scheme, max_iter=3, seed=seed))

    expected = [solve(seed) for seed in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(solve, range(4))) == expected
    assert np.array_equal(shared.X, X) and np.array_equal(shared.Y, Y)


def test_the_interpreter_is_free_during_a_sweep():
    """Another thread counts on while one long sweep runs."""
    rng = np.random.default_rng(0)
    big = amcore.Problem(
        amcore.Network([300, 400, 10]), rng.standard_normal((6000, 300)), rng.integers(0, 10, 6000)
    )
    steps = amcore.iterate(big, amcore.ThreeSplitBCD(), max_iter=2, num_threads=1)
    next(steps)
    counts = 0
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        sweep = pool.submit(next, steps)
        while not sweep.done():
            counts += 1
        assert sweep.result().record.time > 0.01
    assert counts > 1000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_in_the_middle_of_an_iteration():
    """Parent and child both go on, with threads, from the same state to the same bits."""
    code = """
import os, signal
import numpy as np, amcore

rng = np.random.default_rng(0)
net = amcore.Network([30, 60, 40, 5])
problem = amcore.Problem(net, rng.standard_normal((4000, 30)), rng.integers(0, 5, 4000))
steps = amcore.iterate(problem, amcore.ThreeSplitBCD(), max_iter=4, num_threads=2)
next(steps)
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    signal.alarm(60)
    for step in steps:
        pass
    os.write(writer, step.trace.objective.tobytes())
    os._exit(0)
for step in steps:
    pass
assert os.waitpid(child, 0)[1] == 0
assert os.read(reader, 1000) == step.trace.objective.tobytes()
print("same")
"""
    assert run_python(code) == ["same"]


@pytest.mark.parametrize("first", ["amcore", "sklearn"])
def test_import_order_with_another_openmp_user(first):
    """scikit-learn brings its own OpenMP runtime."""
    pytest.importorskip("sklearn")
    second = "sklearn" if first == "amcore" else "amcore"
    code = f"""
import {first}, {second}
import numpy as np, amcore
from sklearn.ensemble import HistGradientBoostingClassifier

rng = np.random.default_rng(0)
X, y = rng.standard_normal((600, 20)), rng.integers(0, 3, 600)
HistGradientBoostingClassifier(max_iter=1).fit(X, y)
problem = amcore.Problem(amcore.Network([20, 40, 3]), X, y)
objective = amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=3, num_threads=2).trace.objective
HistGradientBoostingClassifier(max_iter=1).fit(X, y)
again = amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=3, num_threads=1).trace.objective
assert (objective == again).all()
print("same")
"""
    assert run_python(code) == ["same"]
