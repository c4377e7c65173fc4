"""Processes, played by threads, with samples of one problem each: together they are one run."""

import itertools
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import amcore
from amcore.collective import Collective
from amcore.errors import NumericalError, ProcessError
from communicator import Communicator, outcomes, together
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
        if name[0] not in "UVL":  # the same bits on every process
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


SCHEMES = {
    "three_split_bcd": (amcore.ThreeSplitBCD(gamma=0.5, alpha=0.4), "relu", True),
    "two_split_bcd": (amcore.TwoSplitBCD(gamma=0.5, alpha=0.4), "tanh", False),
    "two_split_bcd, 2 steps": (amcore.TwoSplitBCD(alpha=0.1, inner_iters=2), "softplus", False),
    "admm": (amcore.ADMM(beta=(2.0, 1.0, 0.5), dual_init="backprop"), "sigmoid", False),
    "mdlam": (amcore.MDLAM(epsilon=0.3, epsilon_schedule=(0.8, 0.1)), "relu", False),
    "online_am": (amcore.OnlineAM(batch_size=5, gram_every=3), "relu", True),
    "online_am, exact blocks": (
        amcore.OnlineAM(
            batch_size=12, eta=1.0, epsilon=5.0, rho_out=1.0, safeguard_every=2, average=0.5
        ),
        "tanh",
        False,
    ),
}
REGULARIZERS = {"admm": "none", "online_am": "ridge", "online_am, exact blocks": "none"}
SHARES = [(0, 40, 70), (0, 1, 70), (0, 0, 70), (0, 20, 20, 70)]


def test_all_schemes_are_here():
    stems = {scheme.stem for scheme, *_ in SCHEMES.values()}
    assert stems == set(amcore._core.schemes())


def problem(name, samples=slice(None), weight=None):
    _, activation, skip = SCHEMES[name]
    rng = np.random.default_rng(3)
    X, labels = rng.normal(size=(70, 5)), rng.integers(0, 3, 70)
    net = amcore.Network([5, 8, 8, 3], activation, skip=[False, skip, False])
    return amcore.Problem(
        net,
        X[samples],
        labels[samples],
        loss="cross_entropy",
        loss_scale="mean",
        weight_regularizer=REGULARIZERS.get(name, ["l1", "ridge", "none"]),
        sample_weight=None if weight is None else weight[samples],
    )


def communicator_of(name, size):
    """For OnlineAM, which orders the samples of all, one that knows ranks."""
    return Communicator(size, ranked="online_am" in name)


@pytest.mark.parametrize("cuts", SHARES)
@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_with_a_communicator(name, backend, cuts):
    """The run in one process, to rounding; the same bits of what is common on all."""
    scheme, *_ = SCHEMES[name]
    parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    communicator = communicator_of(name, len(parts))
    options = {"max_iter": 5, "seed": 2, "num_threads": 1, "backend": backend}
    runs = together(
        communicator,
        lambda rank: amcore.solve(
            problem(name, parts[rank]), scheme, comm=communicator.member(rank), **options
        ),
    )
    whole = amcore.solve(problem(name), scheme, **options)
    for run in runs:
        np.testing.assert_allclose(run.trace.objective, whole.trace.objective, rtol=1e-12)
        for values, expected in (
            (run.trace.subgradient_distance, whole.trace.subgradient_distance),
            (run.trace.decrease, whole.trace.decrease),
        ):
            np.testing.assert_allclose(values, expected, rtol=1e-8, atol=1e-10)
        for field in ("objective", "subgradient_distance", "decrease"):
            assert np.array_equal(getattr(run.trace, field), getattr(runs[0].trace, field))
    for name, array in whole.state.items():
        pieces = [run.state[name] for run in runs]
        if name[0] not in "UVL":
            assert all(np.array_equal(pieces[0], piece) for piece in pieces)
            joined = pieces[0]
        else:
            joined = np.concatenate(pieces)
        np.testing.assert_allclose(joined, array, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("cuts", [(0, 40, 70), (0, 0, 50, 70)])
def test_online_am_goes_on_among_other_processes(backend, cuts):
    """With weights of samples; its state is the same on all, whoever goes on with it."""
    name, weight = "online_am", np.linspace(0.0, 2.0, 70)
    scheme, *_ = SCHEMES[name]
    parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    options = {"seed": 2, "num_threads": 1, "backend": backend}

    def in_parts(**more):
        communicator = communicator_of(name, len(parts))
        return together(
            communicator,
            lambda rank: amcore.solve(
                problem(name, parts[rank], weight),
                scheme,
                comm=communicator.member(rank),
                **options,
                **more,
            ),
        )

    whole = amcore.solve(problem(name, weight=weight), scheme, max_iter=6, **options)
    steps = amcore.iterate(problem(name, weight=weight), scheme, max_iter=6, **options)
    first = next(step.state.copy() for step in steps if step.sweep == 3)
    for run in in_parts(max_iter=3, init=first):
        np.testing.assert_allclose(run.trace.objective, whole.trace.objective[3:], rtol=1e-12)
        for key, array in whole.state.items():
            np.testing.assert_allclose(run.state[key], array, rtol=1e-9, atol=1e-10)
    parted = in_parts(max_iter=6)[0]
    np.testing.assert_allclose(parted.trace.objective, whole.trace.objective, rtol=1e-12)


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("hidden", [[8], [8, 8, 8]])
def test_online_am_meets_once_a_batch(backend, hidden):
    """All layers at once, Gram matrices too; a meeting begins with an agreement."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 5)), rng.normal(size=(60, 2))

    def calls(batches):
        communicator = Communicator(2, ranked=True)
        scheme = amcore.OnlineAM(batch_size=60 // batches, gram_every=2, safeguard=0.0)

        def work(rank):
            part = slice(40 * rank, 40 + 20 * rank)
            whole = amcore.Problem(amcore.Network([5, *hidden, 2]), X[part], Y[part])
            comm = communicator.member(rank)
            return amcore.solve(whole, scheme, max_iter=3, backend=backend, comm=comm)

        together(communicator, work)
        return communicator.calls

    assert calls(12) - calls(4) == 3 * 8 * 2


def test_samples_have_weights_on_all_processes_or_on_none():
    weighted = problem("online_am", slice(35, 70), np.ones(70))
    found = halves("online_am", {"problem": weighted})
    assert [type(error) for error in found] == [ValueError, ValueError]


def test_samples_are_ordered_by_ranks_only():
    with pytest.raises(TypeError, match=r"^comm: expected a communicator with Get_rank and Get"):
        amcore.solve(problem("online_am"), amcore.OnlineAM(), comm=Communicator(1).member(0))


def test_no_samples_at_all_are_refused():
    communicator = Communicator(2)
    found = outcomes(
        communicator,
        lambda rank: amcore.solve(
            problem("mdlam", slice(0)), amcore.MDLAM(), comm=communicator.member(rank)
        ),
    )
    assert [type(error) for error in found] == [ValueError, ValueError]
    with pytest.raises(ValueError, match="X: expected at least one sample"):
        amcore.solve(problem("mdlam", slice(0)), amcore.MDLAM())


# Processes that fail, stop or differ.


def halves(name, change, **options):
    """What two processes end with, of which the second runs with changed arguments."""
    communicator = communicator_of(name, 2)

    def work(rank):
        arguments = {
            "problem": problem(name, slice(35 * rank, 35 * rank + 35)),
            "scheme": SCHEMES[name][0],
            "max_iter": 3,
            "num_threads": 1,
            "comm": communicator.member(rank),
        } | options
        return amcore.solve(**(arguments | (change if rank == 1 else {})))

    return outcomes(communicator, work)


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("name", SCHEMES)
def test_a_process_that_fails_ends_all(name, backend, monkeypatch):
    """Before any of its meetings, hence in any block of any sweep."""
    count = threading.local()
    fails_at = 0

    def failing(meet):
        def wrapper(self, array):
            count.number = getattr(count, "number", -1) + 1
            if count.number == fails_at and self._comm.rank == 1:
                raise MemoryError("no room")
            return meet(self, array)

        return wrapper

    for meeting in ("sum", "max", "broadcast", "before"):
        monkeypatch.setattr(Collective, meeting, failing(getattr(Collective, meeting)))
    while True:
        first, second = halves(name, {}, backend=backend, max_iter=1)
        if not isinstance(second, MemoryError):
            break
        assert isinstance(first, ProcessError), (fails_at, first)
        fails_at += 1 if fails_at < 12 else 5
    assert fails_at > 30 and first.stop_reason == second.stop_reason == "max_iter"


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("name", SCHEMES)
def test_a_number_that_is_not_finite_ends_all(name, backend):
    """In the samples of one process, in each of the variables."""
    scheme, *_ = SCHEMES[name]
    for variable in scheme.variables(problem(name)):

        def spoil(step, variable=variable):
            step.state[variable][...] = np.nan

        first, second = halves(name, {"callbacks": [spoil]}, backend=backend, tol=0.0)
        ends = (NumericalError, ProcessError, amcore.Solution)  # some variables are never read
        assert isinstance(first, ends) and isinstance(second, ends), (variable, first, second)
        assert isinstance(first, amcore.Solution) == isinstance(second, amcore.Solution)


def leave(step):
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"callbacks": [leave]}, SystemExit),
        ({"max_iter": -1}, ValueError),
        ({"problem": None}, TypeError),
        ({"callbacks": 3}, TypeError),
        ({"init": [(np.zeros((2, 2)), None)]}, ValueError),
        ({"max_iter": 4}, ValueError),
        ({"tol": 1e-3}, ValueError),
        ({"seed": 5}, ValueError),
        ({"dtype": np.float32}, ValueError),
        ({"measure_every": 2}, ValueError),
        ({"scheme": amcore.MDLAM(epsilon=0.2)}, ValueError),
        ({"scheme": amcore.ThreeSplitBCD()}, ValueError),
    ],
)
def test_a_process_with_other_arguments_ends_all(change, error):
    first, second = halves("mdlam", change)
    assert isinstance(second, error)
    assert isinstance(first, ProcessError | ValueError)


def test_a_process_that_leaves_the_loop_ends_all():
    communicator = Communicator(2)

    def work(rank):
        part = problem("mdlam", slice(35 * rank, 35 * rank + 35))
        steps = amcore.iterate(part, amcore.MDLAM(), comm=communicator.member(rank), max_iter=4)
        for step in steps:
            if rank == 1 and step.sweep == 2:
                break
        steps.close()
        return step.sweep

    first, second = outcomes(communicator, work)
    assert isinstance(first, ProcessError) and second == 2


MPI = """
import os
import numpy as np
from mpi4py import MPI
import amcore
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(50, 4)), rng.normal(size=(50, 2))
comm = MPI.COMM_WORLD
part = slice(50 * comm.rank // comm.size, 50 * (comm.rank + 1) // comm.size)
net = amcore.Network([4, 6, 2], "tanh")
for scheme in (amcore.OnlineAM(batch_size=10), amcore.ThreeSplitBCD(), amcore.TwoSplitBCD(),
               amcore.ADMM(), amcore.MDLAM()):
    run = amcore.solve(amcore.Problem(net, X[part], Y[part]), scheme, max_iter=4, comm=comm)
    whole = amcore.solve(amcore.Problem(net, X, Y), scheme, max_iter=4)
    np.testing.assert_allclose(run.trace.objective, whole.trace.objective, rtol=1e-12)
    weights = comm.allgather([array.tobytes() for layer in run.weights for array in layer])
    assert all(other == weights[0] for other in weights)
def stop(step):
    raise RuntimeError("the second process ends")
try:
    amcore.solve(amcore.Problem(net, X[part], Y[part]), scheme, max_iter=4, comm=comm,
                 callbacks=[stop] if comm.rank == 1 else [])
except (RuntimeError, amcore.errors.ProcessError) as error:
    os.write(1, f"{comm.rank} {type(error).__name__}\\n".encode())  # in one piece
"""


@pytest.mark.parametrize("size", [2, 3])
def test_processes_of_mpi(size):
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    mpiexec = shutil.which("mpiexec", path=beside)
    imports = [sys.executable, "-c", "from mpi4py import MPI"]
    if mpiexec is None or subprocess.run(imports, capture_output=True).returncode != 0:
        pytest.skip("no mpiexec, or mpi4py does not find its library")
    command = [mpiexec, "-n", str(size), sys.executable, "-c", MPI]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    others = {f"{rank} ProcessError" for rank in range(size) if rank != 1}
    assert set(done.stdout.splitlines()) == {"1 RuntimeError", *others}


def test_an_error_of_the_communicator_comes_through():
    def refuse(array):
        raise RuntimeError("the network is down")

    class Down:
        def Allreduce(self, send, receive):
            refuse(send)

    with pytest.raises(RuntimeError, match="the network is down"):
        amcore.solve(EXAMPLE.problem(), EXAMPLE.scheme(), max_iter=2, comm=Down())
