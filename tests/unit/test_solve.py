"""amcore.solve and iterate: stopping, continuing, interrupts, failures, several processes."""

import os
import signal
import threading

import numpy as np
import pytest

import amcore
from communicator import Communicator, together

rng = np.random.default_rng(3)
X = rng.standard_normal((30, 5))
LABELS = rng.integers(0, 3, 30)
NET = amcore.Network([5, 8, 6, 3], activation=["relu", "tanh"])
PROBLEM = amcore.Problem(NET, X, LABELS, loss="cross_entropy", weight_regularizer="ridge")
SCHEME = amcore.ThreeSplitBCD(gamma=[1.0, 2.0, 0.5], alpha=0.3)
BACKENDS = ["native", "reference"]


def same_state(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a) and set(a) == set(b)


@pytest.mark.parametrize("backend", BACKENDS)
def test_trace_and_parts(backend):
    run = amcore.solve(PROBLEM, SCHEME, max_iter=6, backend=backend)
    trace = run.trace
    assert run.stop_reason == "max_iter" and len(trace) == 6
    assert trace.objective.shape == trace.subgradient_distance.shape == (7,)
    assert (np.diff(trace.objective) < 0).all()
    names = ["loss", "weight_regularizer"]
    names += [f"{term}{i}" for term in ("activation", "linear") for i in (1, 2, 3)]
    assert list(trace.parts) == names
    np.testing.assert_allclose(sum(trace.parts.values()), trace.objective, rtol=1e-14)
    blocks = [f"{block}{i}" for i in (1, 2, 3) for block in "WUV"]
    assert list(trace.distance) == blocks and sorted(trace.step_norm) == sorted(blocks)
    total = np.sqrt(sum(d**2 for d in trace.distance.values()))
    np.testing.assert_allclose(total, trace.subgradient_distance, rtol=1e-14)
    np.testing.assert_allclose(trace.decrease, -np.diff(trace.objective), rtol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_start_is_the_forward_pass(backend):
    run = amcore.solve(PROBLEM, SCHEME, max_iter=0, backend=backend)
    np.testing.assert_allclose(run.state["V3"], run.forward(X), rtol=1e-13)
    assert run.trace.parts["linear2"][0] == run.trace.parts["activation2"][0] == 0


def test_explicit_weights_are_copied():
    weights = amcore.initialization.he.weights(NET, 5)
    kept = [W.copy() for W, _ in weights]
    run = amcore.solve(PROBLEM, SCHEME, max_iter=2, init=weights, backend="reference")
    assert all(np.array_equal(W, old) for (W, _), old in zip(weights, kept, strict=True))
    seeded = amcore.solve(PROBLEM, SCHEME, max_iter=2, init="he", seed=5, backend="reference")
    assert same_state(run.state, seeded.state)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dtype(backend):
    run = amcore.solve(PROBLEM, SCHEME, max_iter=3, dtype="float32", backend=backend)
    assert {a.dtype for a in run.state.values()} == {np.dtype(np.float32)}
    exact = amcore.solve(PROBLEM, SCHEME, max_iter=3, backend=backend)
    np.testing.assert_allclose(run.trace.objective, exact.trace.objective, rtol=1e-4)
    assert run.forward(X).dtype == np.float32


def test_tol_stops():
    distance = amcore.solve(PROBLEM, SCHEME, max_iter=9).trace.subgradient_distance
    tol = float(distance[6])
    first = int(np.argmax(distance <= tol))
    run = amcore.solve(PROBLEM, SCHEME, max_iter=9, tol=tol)
    assert run.stop_reason == "tol" and len(run.trace) == first


def test_mean_scale():
    mean = amcore.Problem(NET, X, LABELS, loss="squared", loss_scale="mean")
    total = amcore.Problem(NET, X, LABELS, loss="squared")
    runs = [amcore.solve(p, SCHEME, max_iter=0, backend="reference") for p in (mean, total)]
    first, second = (run.trace.parts["loss"][0] for run in runs)
    assert first * 30 == pytest.approx(second, rel=1e-14)


def test_score_and_predict():
    run = amcore.solve(PROBLEM, SCHEME, max_iter=3, backend="reference")
    predicted = run.predict(X)
    assert predicted.shape == (30,) and set(predicted) <= {0, 1, 2}
    assert run.score(X, LABELS) == np.mean(predicted == LABELS)
    for labels in (LABELS.astype(float), LABELS.astype(object), LABELS.tolist()):
        assert run.score(X, labels) == run.score(X, LABELS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_predictions_have_the_shape_of_the_targets(backend):
    y = X[:, 0]
    for given in (y, y[:, None]):
        line = amcore.Problem(amcore.Network([5, 1]), X, given)
        fit = amcore.solve(line, amcore.ThreeSplitBCD(), max_iter=200, backend=backend)
        assert fit.predict(X).shape == given.shape
        assert fit.forward(X).shape == (30, 1)
        error = np.mean((fit.predict(X) - given) ** 2)
        assert fit.score(X, y) == pytest.approx(1 - error / np.var(y), rel=1e-12)
        assert fit.score(X, y) == fit.score(X, y[:, None]) > 0.999
        for part in (slice(0), slice(7)):
            assert fit.predict(X[part]).shape == given[part].shape


@pytest.mark.parametrize("backend", BACKENDS)
def test_columns_by_name(backend):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    problem = amcore.Problem(NET, frame, pandas.Series(LABELS))
    run = amcore.solve(problem, SCHEME, max_iter=2, backend=backend)
    np.testing.assert_array_equal(run.predict(frame), run.predict(X))
    shuffled, renamed = frame[["a", "c", "b", "d", "e"]], frame.rename(columns={"e": "z"})
    for act in (run.forward, run.predict, lambda given: run.score(given, LABELS)):
        with pytest.raises(ValueError, match=r"^X: expected column 1 to be 'b', got 'c'$"):
            act(shuffled)
        with pytest.raises(ValueError, match=r"^X: expected column 4 to be 'e', got 'z'$"):
            act(renamed)


def test_outputs_that_overflow_are_no_labels():
    net = amcore.Network([5, 3], output_activation=amcore.activations.polynomial([0, 0, 1]))
    run = amcore.solve(amcore.Problem(net, X, LABELS), amcore.ThreeSplitBCD(), max_iter=1)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=r"^outputs: .* = inf"):
        run.predict(1e200 * X)


@pytest.mark.parametrize("name", ["gamma", "rho"])
def test_one_weight_for_all_layers_may_be_an_array(name):
    runs = [
        amcore.solve(PROBLEM, amcore.ThreeSplitBCD(**{name: weight}), max_iter=2)
        for weight in (2.0, np.array(2.0), np.full(3, 2), (2, 2.0, np.float32(2)))
    ]
    assert all(same_state(run.state, runs[0].state) for run in runs)


def interrupt_at(sweep):
    def callback(step):
        if step.sweep == sweep:
            os.kill(os.getpid(), signal.SIGINT)

    return callback


def test_interrupt_ends_solve_after_the_sweep():
    before = signal.getsignal(signal.SIGINT)
    run = amcore.solve(
        PROBLEM, SCHEME, max_iter=50, callbacks=[interrupt_at(3)], backend="reference"
    )
    assert run.stop_reason == "interrupted" and len(run.trace) == 3
    assert same_state(
        run.state, amcore.solve(PROBLEM, SCHEME, max_iter=3, backend="reference").state
    )
    assert signal.getsignal(signal.SIGINT) is before


def test_interrupt_during_a_sweep_of_iterate(monkeypatch):
    from amcore.reference.scheme.three_split_bcd import ThreeSplitBCD

    original = ThreeSplitBCD._update_u

    def interrupted(self, i):
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, i)

    whole = amcore.solve(PROBLEM, SCHEME, max_iter=2, backend="reference").state
    steps = amcore.iterate(PROBLEM, SCHEME, backend="reference")
    step = next(steps)
    monkeypatch.setattr(ThreeSplitBCD, "_update_u", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    assert len(step.trace) == 2, "the sweep is finished and recorded"
    assert same_state(step.state, whole)


def test_runs_in_a_thread():
    results = []
    thread = threading.Thread(
        target=lambda: results.append(
            amcore.solve(PROBLEM, SCHEME, max_iter=2, backend="reference")
        )
    )
    thread.start()
    thread.join()
    assert len(results[0].trace) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_failed_factorisation_keeps_a_finite_state(backend):
    # One sample, next to no proximal term, no ridge: the Gram matrix has rank one.
    problem = amcore.Problem(amcore.Network([40, 3]), 1e8 * rng.standard_normal((1, 40)), [1])
    seen = []
    with pytest.raises(amcore.NumericalError, match="layer 1, block W, sweep 1") as caught:
        amcore.solve(
            problem, amcore.ThreeSplitBCD(alpha=1e-300), backend=backend, callbacks=[seen.append]
        )
    error = caught.value
    assert (error.layer, error.block, error.sweep) == (1, "W", 1)
    assert error.solution.stop_reason == "failed"
    assert len(error.solution.trace) == 0 and seen == []
    assert all(np.isfinite(array).all() for array in error.solution.state.values())


@pytest.mark.parametrize("backend", BACKENDS)
def test_overflow_is_reported(backend):
    problem = amcore.Problem(amcore.Network([2, 1]), [[1e300, 1.0]], [[1e300]])
    with pytest.raises(amcore.NumericalError):
        amcore.solve(problem, amcore.ThreeSplitBCD(), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_processes_solve_one_problem(backend):
    options = {"loss": "squared", "loss_scale": "mean", "weight_regularizer": "ridge"}
    whole = amcore.solve(
        amcore.Problem(NET, X, LABELS, **options), SCHEME, max_iter=5, backend=backend
    )
    comm = Communicator(2)

    def part(rank):
        rows = [slice(0, 18), slice(18, 30)][rank]
        problem = amcore.Problem(NET, X[rows], LABELS[rows], **options)
        stop = [lambda step: rank == 0 and step.sweep == 5]
        member = comm.member(rank)
        return amcore.solve(
            problem, SCHEME, callbacks=stop, comm=member, backend=backend, num_threads=1
        )

    runs = together(comm, part)
    assert (runs[0].stop_reason, runs[1].stop_reason) == ("<lambda>", "another process")
    for run in runs:
        np.testing.assert_allclose(run.trace.objective, whole.trace.objective, rtol=1e-9)
        np.testing.assert_allclose(
            run.trace.subgradient_distance, whole.trace.subgradient_distance, rtol=1e-9
        )
        np.testing.assert_allclose(run.trace.decrease, whole.trace.decrease, rtol=1e-9)
        np.testing.assert_allclose(run.state["W2"], whole.state["W2"], rtol=1e-8, atol=1e-11)
    joined = np.vstack([runs[rank].state["V2"] for rank in (0, 1)])
    np.testing.assert_allclose(joined, whole.state["V2"], rtol=1e-8, atol=1e-11)
