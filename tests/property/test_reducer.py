"""Two processes, played by two threads, with half of the samples each: one problem."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings

import amcore
from communicator import Communicator, together
from strategies import Case, cases

FEW = settings.default.max_examples // 5
EXAMPLE = Case(
    widths=(5, 8, 8, 3),
    activations=("relu", "tanh", "identity"),
    skip=(False, True, False),
    bias=True,
    loss="cross_entropy",
    loss_scale="mean",
    lam=(0.01, 0.0, 0.1),
    n=70,
    gamma=(1.0, 0.5, 2.0),
    rho=(1.5, 1.0, 0.7),
    alpha=0.4,
    num_threads=1,
    seed=1,
    grid=False,
)


def split(n, size):
    """Unequal parts, every one with a sample."""
    cuts = [0, *(n * (2 * k + 1) // (2 * size) + 1 for k in range(size - 1)), n]
    return [slice(a, b) for a, b in itertools.pairwise(cuts)]


def assert_parts_make_the_whole(case, runs, parts, whole):
    for run in runs:
        np.testing.assert_allclose(run.trace.objective, whole.trace.objective, rtol=1e-10)
        root = 1e-11 * np.sqrt(whole.trace.objective[0])
        np.testing.assert_allclose(
            run.trace.subgradient_distance, whole.trace.subgradient_distance, rtol=1e-8, atol=root
        )
        np.testing.assert_allclose(
            run.trace.decrease,
            whole.trace.decrease,
            rtol=1e-8,
            atol=1e-12 * whole.trace.objective[0],
        )
        for name in whole.trace.step_norm:
            np.testing.assert_allclose(
                run.trace.step_norm[name], whole.trace.step_norm[name], rtol=1e-7, atol=root
            )
    for name, array in whole.state.items():
        pieces = [run.state[name] for run in runs]
        if name[0] in "Wb":  # the same bits on every process
            assert all(np.array_equal(pieces[0], piece) for piece in pieces)
            joined = pieces[0]
        else:
            assert [len(piece) for piece in pieces] == [len(array[part]) for part in parts]
            joined = np.concatenate(pieces)
        scale = np.abs(array).max() + np.finfo(float).tiny
        np.testing.assert_allclose(joined, array, rtol=1e-8, atol=1e-9 * scale)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("backend", ["native", "reference"])
@given(case=cases(max_depth=3, max_width=12))
@settings(max_examples=FEW)
def test_solve_with_a_communicator(backend, size, case):
    case = case.with_(n=max(case.n, 3 * size))
    parts = split(case.n, size)
    communicator = Communicator(size)

    def work(rank):
        return amcore.solve(
            case.problem(parts[rank]),
            case.scheme(),
            max_iter=4,
            init=case.weights(),
            num_threads=1,
            backend=backend,
            comm=communicator.member(rank),
        )

    runs = together(communicator, work)
    assert communicator.calls > 4 * case.depth
    whole = case.solve(max_iter=4, backend=backend)
    assert_parts_make_the_whole(case, runs, parts, whole)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_mdlam_with_a_communicator(backend):
    """Every decision of a sample is its own, those of the weights are the same everywhere."""
    case, communicator = EXAMPLE.with_(skip=(False, False, False)), Communicator(2)
    parts = split(case.n, 2)
    scheme = amcore.MDLAM(rho=case.rho, epsilon=0.3, epsilon_schedule=(0.8, 0.1))
    options = {"max_iter": 6, "init": case.weights(), "num_threads": 1, "backend": backend}

    def work(rank):
        member = communicator.member(rank)
        return amcore.solve(case.problem(parts[rank]), scheme, comm=member, **options)

    runs = together(communicator, work)
    whole = amcore.solve(case.problem(), scheme, **options)
    for run in runs:
        np.testing.assert_allclose(run.trace.objective, whole.trace.objective, rtol=1e-9)
        np.testing.assert_allclose(
            run.trace.subgradient_distance, whole.trace.subgradient_distance, rtol=1e-7
        )
        assert run.state["s"] == whole.state["s"]
        assert run.state["epsilon"] == whole.state["epsilon"]


def test_a_member_that_stops_stops_all():
    communicator = Communicator(2)
    case = EXAMPLE
    parts = split(case.n, 2)

    def work(rank):
        stop = [lambda step: step.sweep == 3] if rank == 1 else []
        return amcore.solve(
            case.problem(parts[rank]),
            case.scheme(),
            max_iter=50,
            init=case.weights(),
            callbacks=stop,
            comm=communicator.member(rank),
        )

    first, second = together(communicator, work)
    assert len(first.trace) == len(second.trace) == 3
    assert first.stop_reason == "another process" and second.stop_reason != first.stop_reason


def test_one_rule_and_seed_give_one_start():
    """Without explicit weights every process draws the same ones."""
    communicator = Communicator(2)
    parts = split(EXAMPLE.n, 2)

    def work(rank):
        return amcore.solve(
            EXAMPLE.problem(parts[rank]),
            EXAMPLE.scheme(),
            max_iter=3,
            seed=11,
            comm=communicator.member(rank),
        )

    runs = together(communicator, work)
    whole = amcore.solve(EXAMPLE.problem(), EXAMPLE.scheme(), max_iter=3, seed=11)
    assert_parts_make_the_whole(EXAMPLE, runs, parts, whole)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_engine_with_a_reducer(backend, dtype):
    """The seam itself: the engines hand every sum over samples to `reducer`."""
    case = EXAMPLE.with_(dtype=np.dtype(dtype).name)

    def build(samples, reducer):
        problem, scheme = case.problem(samples), case.scheme()
        shapes = scheme.variables(problem)
        state = amcore.State({name: np.zeros(shape, dtype) for name, shape in shapes.items()})
        for i, (W, b) in enumerate(case.weights(), start=1):
            state[f"W{i}"][...], state[f"b{i}"][...] = W, b
        return state, scheme.engine(
            problem,
            state,
            X=problem.X,
            Y=problem.Y,
            loss_weight=1.0,
            num_threads=1,
            reducer=reducer,
            backend=backend,
        )

    def run(samples, reducer=None):
        state, engine = build(samples, reducer)
        engine.forward()
        reports = [engine.measure()]
        reports += [engine.sweep(measure) for measure in (True, False, True)]
        return state, [report.objective for report in reports]

    parts = split(case.n, 2)
    communicator = Communicator(2)
    halves = together(communicator, lambda rank: run(parts[rank], communicator.member(rank).add))
    whole, objectives = run(slice(None))
    tolerance = 1e-11 if dtype is np.float64 else 1e-4
    for _, found in halves:
        np.testing.assert_allclose(found, objectives, rtol=tolerance)
    first, second = (state for state, _ in halves)
    for name, expected in whole.items():
        found = first[name]
        if name[0] in "Wb":
            assert np.array_equal(found, second[name])
        else:
            found = np.concatenate([found, second[name]])
        np.testing.assert_allclose(found, expected, rtol=1e2 * tolerance, atol=1e2 * tolerance)


def test_an_error_of_the_reducer_comes_through():
    def refuse(array):
        raise RuntimeError("the network is down")

    class Down:
        def Allreduce(self, send, receive):
            refuse(send)

    with pytest.raises(RuntimeError, match="the network is down"):
        amcore.solve(EXAMPLE.problem(), EXAMPLE.scheme(), max_iter=2, comm=Down())
