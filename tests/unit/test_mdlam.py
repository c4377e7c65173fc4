"""mDLAM: blocks, feasibility to the last bit, descent, normal cones; native equals reference."""

import itertools

import numpy as np
import pytest

import amcore
from amcore import _core
from amcore.reference.activation.hard_tanh import HardTanhActivation
from amcore.reference.block.constraint import bounds, constrained_update, constraint_distance
from amcore.reference.block.extrapolated import eigenvalue_bound, extrapolated_hidden_update
from amcore.reference.operator import PiecewiseLinear
from strategies import operator

BACKENDS = ["native", "reference"]
MONOTONE = [
    name for name in dir(amcore.activations) if "monotone" in operator("activation", name).traits
]
LOSSES = dir(amcore.losses)
REGULARIZERS = dir(amcore.regularizers)
EPS = np.finfo(np.float64).eps


def make(widths=(5, 9, 7, 3), activation="relu", loss="squared", seed=0, n=40, dtype=float, **more):
    rng = np.random.default_rng([seed, n])
    bias = more.pop("bias", True)
    net = amcore.Network(widths, activation, bias=bias)
    X = rng.standard_normal((n, widths[0])).astype(dtype)
    return amcore.Problem(net, X, rng.integers(0, widths[-1], n), loss=loss, **more)


def violation(problem, state, backend="native"):
    """Largest |V − σ(U)| as the backend's own activation computes it."""
    worst = 0.0
    for i, sigma in enumerate(problem.network.activations[:-1], start=1):
        h = (sigma if backend == "native" else sigma.reference).value(state[f"U{i}"])
        worst = max(worst, np.abs(state[f"V{i}"] - h).max())
    return worst


def objective(problem, scheme, state):
    """F, written out once more."""
    depth, V = problem.network.depth, problem.X
    rho = np.broadcast_to(scheme.rho, depth)
    total = problem.loss.reference.value(state[f"U{depth}"], problem.Y)
    for i, (W, b) in enumerate(state.weights, start=1):
        linear = V @ W.T + (0 if b is None else b)
        total += rho[i - 1] / 2 * ((state[f"U{i}"] - linear) ** 2).sum()
        total += problem.weight_regularizers[i - 1].reference.value(W)
        V = state.get(f"V{i}")
    return total


# The scheme.


@pytest.mark.parametrize("activation", MONOTONE)
@pytest.mark.parametrize("epsilon", [10.0, 0.3, 1e-2, 1e-5])
def test_native_is_reference_and_both_descend_within_the_constraints(activation, epsilon):
    for bias, extrapolate in itertools.product((False, True), repeat=2):
        problem = make(activation=activation, bias=bias, weight_regularizer="ridge")
        scheme = amcore.MDLAM([0.5, 1.0, 2.0], epsilon=epsilon, extrapolate=extrapolate)
        traces = {}
        for backend in BACKENDS:
            for step in amcore.iterate(problem, scheme, max_iter=20, backend=backend):
                assert violation(problem, step.state, backend) <= epsilon
            traces[backend] = step.trace
            f = step.trace.objective
            assert (np.diff(f) <= 4 * EPS * f[:-1]).all() and f[-1] < 0.9 * f[0]
            np.testing.assert_allclose(
                step.trace.decrease, -np.diff(f), rtol=1e-9, atol=1e-13 * f[0]
            )
            assert step.trace.marks == []
        native, reference = (traces[backend] for backend in BACKENDS)
        np.testing.assert_allclose(native.objective, reference.objective, rtol=1e-9)
        np.testing.assert_allclose(
            native.subgradient_distance, reference.subgradient_distance, rtol=1e-8
        )
        scale = 1e-9 * reference.objective[0]
        np.testing.assert_allclose(native.decrease, reference.decrease, rtol=1e-7, atol=scale)
        for family in ("parts", "distance", "step_norm"):
            expected = getattr(reference, family)
            assert set(getattr(native, family)) == set(expected)
            for name, values in getattr(native, family).items():
                np.testing.assert_allclose(values, expected[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("regularizer", REGULARIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_and_weight_regularizer(loss, regularizer):
    problem = make(loss=loss, weight_regularizer=regularizer, loss_scale="mean")
    scheme = amcore.MDLAM(rho=0.3, epsilon=0.1)
    native, reference = (
        amcore.solve(problem, scheme, max_iter=12, backend=backend).trace for backend in BACKENDS
    )
    f = reference.objective
    assert (np.diff(f) <= 4 * EPS * f[:-1]).all() and f[-1] < f[0]
    np.testing.assert_allclose(native.objective, f, rtol=1e-9)
    np.testing.assert_allclose(reference.decrease, -np.diff(f), rtol=1e-9, atol=1e-13 * f[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_float32(backend):
    for activation in MONOTONE:
        problem = make(activation=activation, dtype=np.float32)
        scheme = amcore.MDLAM(epsilon=0.05)
        run = amcore.solve(problem, scheme, max_iter=15, backend=backend)
        wide = amcore.solve(problem, scheme, max_iter=15, backend="reference", dtype=np.float64)
        assert {run.state[name].dtype for name in ("s", "epsilon")} == {np.dtype(np.float64)}
        arrays = [array for array in run.state.values() if array.ndim > 0]
        assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
        assert violation(problem, run.state, backend) <= np.float32(0.05)
        np.testing.assert_allclose(run.trace.objective, wide.trace.objective, rtol=2e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_objective(backend):
    problem, scheme = make(weight_regularizer="l1"), amcore.MDLAM([0.5, 1.0, 2.0], epsilon=0.1)
    for step in amcore.iterate(problem, scheme, max_iter=3, backend=backend):
        assert step.record.objective == pytest.approx(objective(problem, scheme, step.state))
        assert sum(step.record.parts.values()) == pytest.approx(step.record.objective)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_distance_is_the_gradient_norm_off_the_constraints(activation, backend):
    problem = make((3, 4, 2), activation, "cross_entropy", n=5, weight_regularizer="ridge")
    scheme = amcore.MDLAM([0.5, 2.0], epsilon=100.0)
    run = amcore.solve(problem, scheme, max_iter=3, backend=backend)
    state, gradient = run.state.copy(), {}
    for name in ("W1", "b1", "U1", "V1", "W2", "b2", "U2"):
        gradient[name] = np.zeros(state[name].shape)
        for index in np.ndindex(state[name].shape):
            value, f = state[name][index], []
            for shift in (-1e-5, 1e-5):
                state[name][index] = value + shift
                f.append(objective(problem, scheme, state))
            state[name][index] = value
            gradient[name][index] = (f[1] - f[0]) / 2e-5
    blocks = {"W1": ("W1", "b1"), "UV1": ("U1", "V1"), "W2": ("W2", "b2"), "U2": ("U2",)}
    for block, names in blocks.items():
        norm = np.sqrt(sum(np.sum(gradient[name] ** 2) for name in names))
        assert run.trace.distance[block][-1] == pytest.approx(norm, abs=1e-6)


def test_a_run_with_loose_constraints_reaches_a_stationary_point():
    for activation in ("relu", "tanh"):
        trace = amcore.solve(make(activation=activation), amcore.MDLAM(epsilon=2.0), max_iter=400)
        assert trace.trace.subgradient_distance[-1] < 1e-6 * trace.trace.subgradient_distance[1]


def test_the_first_two_sweeps_extrapolate_nothing_and_later_ones_help():
    problem = make()
    runs = [
        amcore.solve(problem, amcore.MDLAM(epsilon=0.1, extrapolate=extrapolate), max_iter=60)
        for extrapolate in (True, False)
    ]
    with_, without = (run.trace.objective for run in runs)
    np.testing.assert_array_equal(with_[:3], without[:3])
    assert with_[3] != without[3] and with_[-1] < without[-1]
    assert "W_old1" in runs[0].state and "W_old1" not in runs[1].state


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_schedule(activation, backend):
    problem = make(activation=activation)
    scheme = amcore.MDLAM(epsilon=1.0, epsilon_schedule=(0.5, 0.03))
    steps = amcore.iterate(problem, scheme, max_iter=12, backend=backend)
    for sweep, step in enumerate(steps, start=1):
        epsilon = max(0.5**sweep, 0.03)
        assert step.state["epsilon"] == epsilon
        assert violation(problem, step.state, backend) <= epsilon
    trace = step.trace
    assert trace.marks == [(sweep, "epsilon changed") for sweep in range(1, 7)]
    unmarked = np.diff(trace.objective)[6:]
    assert (unmarked < 0).all()
    # The decrease counts what clipping to a smaller ε costs.
    f = trace.objective
    np.testing.assert_allclose(trace.decrease, -np.diff(f), rtol=1e-9, atol=1e-12 * f[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_clipping_to_a_smaller_epsilon_may_raise_the_objective(backend):
    problem = make(activation="tanh")
    loose = amcore.solve(problem, amcore.MDLAM(epsilon=2.0), max_iter=50, backend=backend)
    tight = amcore.MDLAM(epsilon=0.01)
    run = amcore.solve(problem, tight, max_iter=3, init=loose.state, backend=backend)
    f = run.trace.objective
    assert f[1] > f[0] and f[3] < f[2] < f[1] and run.trace.marks == [(1, "epsilon changed")]
    np.testing.assert_allclose(run.trace.decrease, -np.diff(f), rtol=1e-9)
    assert violation(problem, run.state, backend) <= 0.01


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_edited_state_becomes_feasible(backend):
    problem, scheme = make(), amcore.MDLAM(epsilon=0.1)
    start = amcore.solve(problem, scheme, max_iter=2, backend=backend).state.copy()
    start["V1"][...] += 3 * np.random.default_rng(0).standard_normal(start["V1"].shape)
    for step in amcore.iterate(problem, scheme, max_iter=4, init=start, backend=backend):
        assert violation(problem, step.state, backend) <= 0.1
    f = step.trace.objective
    np.testing.assert_allclose(step.trace.decrease, -np.diff(f), rtol=1e-9)
    assert (np.diff(f)[1:] < 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_tiny_constraints_and_saturation(backend):
    """ε below the rounding of h, h flat to rounding: still feasible, still descending."""
    for activation, epsilon in itertools.product(MONOTONE, (1e-300, 1e-17, 1e-15)):
        problem = make(activation=activation)
        weights = [
            (30 * np.ones((9, 5)), np.ones(9)),
            (np.ones((7, 9)), None),
            (np.eye(3, 7), None),
        ]
        weights = [(W, np.zeros(len(W)) if b is None else b) for W, b in weights]
        scheme = amcore.MDLAM(epsilon=epsilon)
        for step in amcore.iterate(problem, scheme, max_iter=5, init=weights, backend=backend):
            assert violation(problem, step.state, backend) <= epsilon
        f = step.trace.objective
        assert (np.diff(f) <= 8 * EPS * f[:-1]).all()


def test_many_runs_at_once_keep_their_marks():
    problem = make()
    scheme = amcore.MDLAM(epsilon=1.0, epsilon_schedule=(0.5, 0.3))
    for run in amcore.solve_many(problem, scheme, seed=range(2), max_iter=4):
        assert run.trace.marks == [(1, "epsilon changed"), (2, "epsilon changed")]


# What is refused.


def engine(**changes):
    """A native engine on arrays of its own, with changes."""
    problem = make((4, 6, 3), n=8)
    arrays = {name: np.zeros(shape) for name, shape in amcore.MDLAM().variables(problem).items()}
    layers = [
        {name[:-1]: array for name, array in arrays.items() if name.endswith(str(i))}
        for i in (1, 2)
    ]
    assembly = {
        "X": problem.X,
        "Y": problem.Y,
        "layers": layers,
        "numbers": {"s": arrays["s"], "epsilon": arrays["epsilon"]},
        "activations": [sigma.native for sigma in problem.network.activations],
        "skip": [False, False],
        "loss": problem.loss.native,
        "loss_weight": 1.0,
        "weight_regularizers": [r.native for r in problem.weight_regularizers],
        "activation_regularizers": [_core.Regularizer("none")] * 2,
        "num_threads": 1,
        "collective": None,
    }
    options = {"rho": [1.0, 1.0], "epsilon": 0.1, "shrink": 1.0, "floor": 0.1, "delta": 0.0}
    for name, value in changes.items():
        if name in assembly:
            assembly[name] = value
        elif name in options:
            options[name] = value
        elif value is None:
            del layers[int(name[-1]) - 1][name[:-1]]
        else:
            layers[int(name[-1]) - 1][name[:-1]] = value
    return _core.Engine("mdlam", _core.Assembly(**assembly), options)


def test_the_core_checks_everything_itself():
    engine().forward()
    shared = np.zeros((6, 4))
    s, epsilon = np.zeros(()), np.zeros(())
    wrong = [
        {"numbers": {"s": np.zeros(1), "epsilon": epsilon}},
        {"numbers": {"s": s}},
        {"numbers": {"s": s, "epsilon": epsilon, "t": np.zeros(())}},
        {"numbers": {"s": s, "epsilon": s}},
        {"activation_regularizers": [_core.Regularizer("l1", [1.0])] * 2},
        {"b1": None},
        {"b_old2": None},
        {"b_old1": None, "b_old2": None},
        {"b1": None, "b2": None},
        {"W_old1": None, "W_old2": None},
        {"V_old1": None},
        {"rho": [1.0]},
        {"rho": [1.0, 0.0]},
        {"epsilon": 0.0},
        {"shrink": np.nan},
        {"floor": -1.0},
        {"delta": -1.0},
        {"skip": [True, False]},
        {"activations": [_core.Activation("relu")] * 2},
        {"activations": [_core.Activation("polynomial", [0.0, 1.0]), _core.Activation("identity")]},
        {"V_old1": np.zeros((8, 5))},
        {"W_old1": np.zeros((4, 6))},
        {"V2": np.zeros((8, 3))},
        {"Lambda1": np.zeros((8, 6))},
        {"W1": shared, "W_old1": shared},
    ]
    for changes in wrong:
        with pytest.raises(ValueError) as caught:
            engine(**changes)
        assert "\n" not in str(caught.value)
    with pytest.raises(TypeError):
        engine(numbers={"s": s, "epsilon": np.zeros((), np.float32)})
    buffer = np.zeros(40)
    with pytest.raises(ValueError, match="overlap"):
        engine(
            numbers={"s": buffer[10:11].reshape(()), "epsilon": epsilon},
            W1=buffer[:24].reshape(6, 4),
        )
    s.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        engine(numbers={"s": s, "epsilon": epsilon})


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1e-40, 1e-10, 1e10, 1e40, 1e200])
def test_numbers_far_from_one(size, dtype, backend):
    """A run descends with finite results, or says where it failed."""
    if size > 1e38 and dtype == np.float32:
        return
    problem = make(activation="relu", dtype=dtype)
    problem = amcore.Problem(problem.network, problem.X * dtype(size), problem.Y * dtype(size))
    try:
        run = amcore.solve(problem, amcore.MDLAM(epsilon=0.1), max_iter=5, backend=backend)
    except amcore.NumericalError as error:
        assert error.block in ("W", "U", "V", "objective", "distance")
        assert all(np.isfinite(array).all() for array in error.solution.state.values())
        return
    f = run.trace.objective
    assert np.isfinite(f).all() and (np.diff(f) <= 64 * np.finfo(dtype).eps * f[:-1]).all()


def test_refusals():
    problem = make()
    for network, message in (
        (amcore.Network([5, 5, 3], output_activation="relu"), "identity at the output layer"),
        (amcore.Network([5, 5, 3], skip=[True, False]), "skip"),
        (amcore.Network([5, 5, 3], amcore.activations.polynomial()), "polynomial.*layer 1"),
    ):
        with pytest.raises(ValueError, match=message):
            amcore.solve(amcore.Problem(network, problem.X, problem.Y), amcore.MDLAM())
    regularized = make(activation_regularizer=[None, "l1", None])
    with pytest.raises(ValueError, match=r"activation_regularizer.*l1"):
        amcore.solve(regularized, amcore.MDLAM())
    with pytest.raises(ValueError, match="rho"):
        amcore.solve(problem, amcore.MDLAM(rho=[1.0, 2.0]))
    for wrong in (
        {"rho": 0},
        {"epsilon": 0.0},
        {"epsilon": np.nan},
        {"delta": -1},
        {"epsilon": 1.0, "epsilon_schedule": (1.0, 0.1)},
        {"epsilon": 1.0, "epsilon_schedule": (0.5, 2.0)},
        {"epsilon_schedule": (0.5, 0.0)},
    ):
        with pytest.raises(ValueError, match=next(reversed(wrong))):
            amcore.MDLAM(**wrong)
    for wrong in ({"epsilon": "0.1"}, {"extrapolate": 2}, {"epsilon_schedule": 0.5}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            amcore.MDLAM(**wrong)


# The blocks.


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bounds_are_the_last_feasible_numbers(dtype):
    rng = np.random.default_rng(0)
    h = (rng.standard_normal(5000) * 10.0 ** rng.integers(-8, 8, 5000)).astype(dtype)
    for epsilon in np.array([1e-3, 0.1, 1.0, 1e-12], dtype):
        low, high = bounds(h, epsilon)
        for bound in (low, high):
            assert (np.abs(bound - h) <= epsilon).all()
            few = 4 * np.finfo(dtype).eps * (np.abs(h) + epsilon)
            assert (np.abs(np.float64(bound) - h) >= epsilon - few).all()


@pytest.mark.parametrize("activation", MONOTONE)
def test_constrained_update_is_the_nearest_feasible_point(activation):
    sigma, rng = operator("activation", activation).reference, np.random.default_rng(1)
    for epsilon in (1.0, 0.1, 1e-3):
        z = 2 * rng.standard_normal(300)
        a = sigma.value(z) + epsilon * rng.uniform(-1, 1, 300)
        a = np.clip(a, *bounds(sigma.value(z), epsilon))
        P = z + 3 * rng.standard_normal(300)
        new = constrained_update(sigma, a, P, z, epsilon)
        assert (np.abs(a - sigma.value(new)) <= epsilon).all()
        grid = np.linspace(np.minimum(z, P), np.maximum(z, P), 4001)
        feasible = np.abs(a - sigma.value(grid)) <= epsilon * (1 - 1e-12)
        nearest = np.where(feasible, np.abs(grid - P), np.inf).min(axis=0)
        assert (np.abs(new - P) <= nearest + 1e-9).all()


@pytest.mark.parametrize("activation", MONOTONE)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_native_steps_of_u_reach_the_nearest_feasible_point(activation, dtype):
    """As the reference finds it in float64; the weights are moved, so that many entries stop."""
    problem, rng = make((5, 90, 70, 3), activation, dtype=dtype), np.random.default_rng(2)
    sigma, epsilon = problem.network.activations[0].reference, 0.01
    before, stopped = None, []
    for step in amcore.iterate(problem, amcore.MDLAM(epsilon=epsilon), max_iter=4):
        after = {name: array.astype(float) for name, array in step.state.items()}
        for i in (1, 2) if before else ():
            below = problem.X.astype(float) if i == 1 else after[f"V{i - 1}"]
            P = below @ after[f"W{i}"].T + after[f"b{i}"]
            expected = constrained_update(sigma, before[f"V{i}"], P, before[f"U{i}"], epsilon)
            tolerance = 1e-9 if dtype == np.float64 else 1e-3
            np.testing.assert_allclose(after[f"U{i}"], expected, rtol=0, atol=tolerance)
            stopped.extend(np.sign(P - expected).flat)
        before = after
        for W in step.state["W1"], step.state["W2"]:
            W += 0.03 * rng.standard_normal(W.shape)
    for side in (-1, 0, 1):
        assert stopped.count(side) > 0.01 * len(stopped)


def tangent_distance(sigma, a, z, g, epsilon):
    """Distance of −g to the normal cones, from feasible points around and limits along the face."""

    def regular(a, z, radius):
        # Distance to the regular normal cone: the length of −g's projection on the feasible cone.
        angle = np.linspace(-np.pi, np.pi, 200001)
        da, dz = np.cos(angle), np.sin(angle)
        values = sigma.value(z + radius * dz) - sigma.value(np.array(z))
        gap = a - sigma.value(np.array(z))
        slack = 1e-6 * radius
        feasible = np.abs(gap + radius * da - values) <= epsilon + slack
        return max(0.0, np.max(np.where(feasible, -(g[0] * da + g[1] * dz), 0)))

    side = np.sign(a - sigma.value(np.array(z)))
    nearby = [regular(a, z, 1e-4)]
    for shift in (-1e-3, 1e-3):
        there = z + shift
        nearby.append(regular(float(sigma.value(np.array(there)) + side * epsilon), there, 1e-5))
    return min(nearby)


@pytest.mark.parametrize("activation", MONOTONE)
def test_distance_to_the_normal_cones(activation):
    sigma, rng = operator("activation", activation).reference, np.random.default_rng(2)
    kinks = [piece[1] for piece in sigma.pieces[:-1]] if isinstance(sigma, PiecewiseLinear) else []
    epsilon = 0.25
    for z in (*kinks, 0.4, -0.7):
        h = sigma.value(np.array(z))
        for face in (epsilon, -epsilon):
            for g in rng.standard_normal((6, 2)):
                a = float(h + face)
                found = constraint_distance(
                    sigma, np.array([a]), np.array([z]), g[:1], g[1:], epsilon
                )[0]
                assert found == pytest.approx(tangent_distance(sigma, a, z, g, epsilon), abs=5e-3)
        inside = constraint_distance(
            sigma, np.array([h]), np.array([z]), np.array([3.0]), np.array([4.0]), epsilon
        )
        assert inside[0] == 5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("face", ["upper", "lower"])
def test_distance_at_a_corner_of_relu(face, backend):
    """One hidden unit at z = 0 on a face; gradients by hand."""
    problem = amcore.Problem(amcore.Network([1, 1, 1], bias=False), [[1.0]], [[0.0]])
    scheme, epsilon = amcore.MDLAM(epsilon=0.5, extrapolate=False), 0.5
    a = epsilon if face == "upper" else -epsilon
    for w1, w2, u2 in itertools.product((-2.0, 2.0), (-1.0, 1.5), (-1.0, 3.0)):
        arrays = {"W1": [[w1]], "U1": [[0.0]], "V1": [[a]], "W2": [[w2]], "U2": [[u2]]}
        state = amcore.State(
            {name: np.array(value) for name, value in arrays.items()}
            | {"s": np.array(0.0), "epsilon": np.array(epsilon)}
        )
        run = amcore.solve(problem, scheme, max_iter=0, init=state, backend=backend)
        x, y = w2 * (u2 - w2 * a), w1  # −∂F/∂a, −∂F/∂z
        rays = [(1.0, 0.0), (1.0, -1.0)] if face == "upper" else [(-1.0, 0.0), (-1.0, 1.0)]
        to_rays = []
        for p, q in rays:
            t = max(0.0, (x * p + y * q) / (p * p + q * q))
            to_rays.append(np.hypot(x - t * p, y - t * q))
        inside = face == "lower" and x <= 0 and 0 <= y <= -x
        expected = 0.0 if inside else min(to_rays)
        assert run.trace.distance["UV1"][0] == pytest.approx(expected, abs=1e-12)


def test_flat_pieces_of_hard_tanh_leave_the_whole_line():
    sigma = HardTanhActivation()
    a, z, P = np.array([0.95, -1.05]), np.array([1.5, -4.0]), np.array([50.0, -60.0])
    assert (constrained_update(sigma, a, P, z, 0.1) == P).all()


@pytest.mark.parametrize("size", [1, 2, 30])
def test_eigenvalue_bound(size):
    rng = np.random.default_rng(size)
    for _ in range(20):
        A = rng.standard_normal((size, rng.integers(1, 40))) * 10.0 ** rng.integers(-60, 60)
        M = A @ A.T
        largest = np.linalg.norm(M, 2)
        assert largest * (1 - 1e-12) <= eigenvalue_bound(M) <= largest * size ** (1 / 128) * 1.001
    assert eigenvalue_bound(np.zeros((3, 3))) == 0


def test_a_sample_that_extrapolates_too_far_is_redone():
    rng = np.random.default_rng(3)
    A, W, E = rng.standard_normal((50, 4)), rng.standard_normal((6, 4)), np.zeros((50, 6))
    E[25:] = 1000 * rng.standard_normal((25, 6))
    wide = np.full_like(A, -np.inf), np.full_like(A, np.inf)
    step = rng.standard_normal(A.shape)
    new, fall = extrapolated_hidden_update(A, step, wide, E, W, 1.0, 1e-8)
    plain, plain_fall = extrapolated_hidden_update(A, None, wide, E, W, 1.0, 1e-8)
    # At the minimum nothing but the old value is as low.
    np.testing.assert_array_equal(new[:25], A[:25])
    assert (new[25:] != plain[25:]).any(axis=1).all()
    assert (fall >= 0).all() and (plain_fall >= 0).all()
    residual = E - (new - A) @ W.T
    np.testing.assert_allclose(
        fall, (np.sum(E**2, axis=1) - np.sum(residual**2, axis=1)) / 2, rtol=1e-9, atol=1e-9
    )
