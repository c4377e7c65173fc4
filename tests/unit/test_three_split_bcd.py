"""Three-splitting BCD: descent, decrease, gradients, stationarity; native equals reference."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import amcore

rng = np.random.default_rng(21)
ACTIVATIONS = dir(amcore.activations)
LOSSES = dir(amcore.losses)
PATTERNS = [
    ([5, 7, 4, 3], False),
    ([6, 6, 6, 6], True),
    ([6, 6, 6, 4], [False, True, False]),
    ([4, 3], False),
    ([3, 3], True),
]
BACKENDS = ["native", "reference"]


def make(widths, skip, activation="tanh", loss="squared", bias=True, n=20, **options):
    net = amcore.Network(widths, activation, skip=skip, bias=bias)
    X = rng.normal(size=(n, widths[0]))
    return amcore.Problem(net, X, rng.integers(0, widths[-1], n), loss=loss, **options)


def scheme_for(problem, alpha=0.6):
    depth = problem.network.depth
    gamma, rho = (10 ** rng.uniform(-0.7, 0.7, depth) for _ in range(2))
    return amcore.ThreeSplitBCD(gamma=gamma, rho=rho, alpha=alpha)


def objective(problem, scheme, state):
    """f, written out once more."""
    net, total, V = (
        problem.network,
        problem.loss.reference.value(state[f"V{problem.network.depth}"], problem.Y),
        problem.X,
    )
    for i in range(1, net.depth + 1):
        W, b = state.weights[i - 1]
        U, out = state[f"U{i}"], state[f"V{i}"]
        target = net.activations[i - 1].reference.value(U) + (V if net.skip[i - 1] else 0)
        linear = V @ W.T + (0 if b is None else b)
        total += scheme.gamma[i - 1] / 2 * ((out - target) ** 2).sum()
        total += scheme.rho[i - 1] / 2 * ((U - linear) ** 2).sum()
        total += problem.weight_regularizers[i - 1].reference.value(W)
        V = out
    return total


@pytest.mark.parametrize(("widths", "skip"), PATTERNS)
@pytest.mark.parametrize(("activation", "loss"), list(itertools.product(ACTIVATIONS, LOSSES)))
def test_native_is_reference_and_both_descend(activation, loss, widths, skip):
    for bias in (False, True):
        problem = make(widths, skip, activation, loss, bias, weight_regularizer="ridge")
        scheme = scheme_for(problem)
        native, reference = (
            amcore.solve(problem, scheme, max_iter=20, init="xavier", backend=backend).trace
            for backend in BACKENDS
        )
        assert (np.diff(reference.objective) < 0).all() and (reference.decrease > 0).all()
        np.testing.assert_allclose(native.objective, reference.objective, rtol=1e-9)
        np.testing.assert_allclose(native.decrease, reference.decrease, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("widths", "skip"), PATTERNS)
def test_objective(widths, skip, backend):
    problem = make(widths, skip, weight_regularizer="ridge")
    scheme = scheme_for(problem)
    for step in amcore.iterate(problem, scheme, max_iter=3, backend=backend):
        assert step.record.objective == pytest.approx(
            objective(problem, scheme, step.state), rel=1e-13
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize(("widths", "skip"), PATTERNS)
def test_distance_is_the_gradient_norm_at_smooth_points(widths, skip, loss, backend):
    problem = make(widths, skip, loss=loss, n=4, weight_regularizer="ridge")
    scheme = scheme_for(problem)
    run = amcore.solve(problem, scheme, max_iter=2, backend=backend)
    state = run.state.copy()
    for i, block in itertools.product(range(1, problem.network.depth + 1), "WUV"):
        square = 0.0
        names = [f"{block}{i}"] + ([f"b{i}"] if block == "W" else [])
        for name in names:
            for index in np.ndindex(state[name].shape):
                value = state[name][index]
                f = []
                for shift in (-1e-5, 1e-5):
                    state[name][index] = value + shift
                    f.append(objective(problem, scheme, state))
                state[name][index] = value
                square += ((f[1] - f[0]) / 2e-5) ** 2
        assert run.trace.distance[f"{block}{i}"][-1] == pytest.approx(square**0.5, abs=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["convex", "concave"])
def test_distance_at_a_kink(kind, backend):
    # One relu unit, U = 0 exactly: left derivative ρ(U − P), right that − γ V.
    problem = amcore.Problem(
        amcore.Network([1, 1], output_activation="relu", bias=False), [[1.0]], [[0.0]]
    )
    v = -2.0 if kind == "convex" else 2.0
    state = amcore.State(
        {"W1": np.array([[-0.5]]), "U1": np.zeros((1, 1)), "V1": np.full((1, 1), v)}
    )
    run = amcore.solve(
        problem, amcore.ThreeSplitBCD(gamma=3.0, rho=1.0), max_iter=0, init=state, backend=backend
    )
    left, right = 0.5, 0.5 - 3 * v
    expected = max(0, left, -right) if left <= right else min(abs(left), abs(right))
    assert run.trace.distance["U1"][0] == pytest.approx(expected)
    # With P on the other side the convex kink is a minimum.
    state["W1"][...] = 0.5
    run = amcore.solve(
        problem, amcore.ThreeSplitBCD(gamma=3.0, rho=1.0), max_iter=0, init=state, backend=backend
    )
    assert run.trace.distance["U1"][0] == (0 if kind == "convex" else 0.5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("widths", "skip"), PATTERNS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_decrease_inequality(activation, widths, skip, backend):
    problem = make(widths, skip, activation, "hinge")
    gamma, alpha = 0.7, 0.4
    scheme = amcore.ThreeSplitBCD(gamma=gamma, alpha=alpha)
    trace = amcore.solve(problem, scheme, max_iter=15, backend=backend).trace
    depth = problem.network.depth
    bound = (alpha + gamma / 2) * trace.step_norm[f"V{depth}"] ** 2
    bound = bound + gamma * trace.step_norm[f"U{depth}"] ** 2
    for i in range(1, depth + 1):
        bound = bound + alpha * trace.step_norm[f"W{i}"] ** 2
        if i < depth:
            bound = bound + gamma / 2 * trace.step_norm[f"V{i}"] ** 2
            bound = bound + alpha / 2 * trace.step_norm[f"U{i}"] ** 2
    assert (trace.decrease >= bound * (1 - 1e-9)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_decrease_far_below_the_rounding_of_the_objective(backend):
    problem = make([4, 5, 2], False, activation="identity", weight_regularizer="ridge")
    trace = amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=4000, backend=backend).trace
    tail = trace.decrease[trace.decrease < 1e-17 * trace.objective[-1]]
    assert tail.size > 20 and (tail > 0).all()
    ratio = tail[1:] / tail[:-1]
    assert np.abs(ratio[:20] / np.median(ratio[:20]) - 1).max() < 0.2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("exponent", [-10, -5, 5, 10])
def test_descends_for_extreme_weights(exponent, backend):
    problem = make([4, 6, 3], False, "relu")
    for scheme in (
        amcore.ThreeSplitBCD(gamma=10.0**exponent),
        amcore.ThreeSplitBCD(alpha=10.0**exponent),
    ):
        trace = amcore.solve(problem, scheme, max_iter=8, backend=backend).trace
        slack = 1e-12 * trace.objective[:-1]
        assert (np.diff(trace.objective) <= slack).all()


def test_the_former_name_of_inner_steps_is_taken_with_a_warning():
    with pytest.warns(FutureWarning, match="inner_steps") as caught:
        former = amcore.ThreeSplitBCD(inner_iters=7)
    assert former == amcore.ThreeSplitBCD(inner_steps=7) and caught[0].filename == __file__
    assert replace(former, alpha=2.0).inner_steps == 7
