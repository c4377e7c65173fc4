"""TwoSplitBCD: no block's objective rises, native equals reference, measures, wrong problems."""

from dataclasses import replace

import numpy as np
import pytest

import amcore
from agreement import assert_same_record, assert_same_state
from amcore.reference.scheme.two_split_bcd import TwoSplitBCD as Reference
from strategies import names, operator, targets

ACTIVATIONS = names("activation")
SMOOTH = [name for name in ACTIVATIONS if "smooth" in operator("activation", name).traits]
BACKENDS = ["native", "reference"]


def make(widths=(4, 6, 5, 2), sigma="relu", loss="squared", n=40, seed=0, **options):
    rng = np.random.default_rng(seed)
    hidden = [sigma] * (len(widths) - 2) if isinstance(sigma, str) else list(sigma)
    network = amcore.Network(
        list(widths),
        [operator("activation", name) for name in hidden] or "relu",
        bias=options.pop("bias", True),
        output_activation=options.pop("output_activation", "identity"),
    )
    X, dtype = rng.standard_normal((n, widths[0])), options.pop("dtype", np.float64)
    Y = targets(operator("loss", loss), rng, n, widths[-1], dtype)
    options.setdefault("weight_regularizer", "ridge")
    return amcore.Problem(network, X.astype(dtype), Y, loss=loss, **options)


@pytest.mark.parametrize("sigma", sorted({*SMOOTH} - {"polynomial"}))  # whose h is found by trial
@pytest.mark.parametrize("inner_iters", [1, 2])
def test_native_equals_reference_over_20_sweeps(sigma, inner_iters):
    problem, scheme = make(sigma=sigma), amcore.TwoSplitBCD(0.7, 0.9, inner_iters)
    ours, theirs = (
        amcore.solve(problem, scheme, max_iter=20, backend=backend) for backend in BACKENDS
    )
    assert_same_state(ours.state, theirs.state, 1e-9, sigma)
    for record, expected in zip(ours.trace.records, theirs.trace.records, strict=True):
        assert_same_record(record, expected, f"{sigma} {record.sweep}")


@pytest.mark.parametrize("sigma", ACTIVATIONS)
@pytest.mark.parametrize("inner_iters", [1, 3])
@pytest.mark.parametrize("of_V", ["none", "l1"])
def test_no_block_rises(of_V, sigma, inner_iters):
    """f + α/2‖block − old block‖², computed anew around every block of the reference."""
    problem = make(sigma=sigma, activation_regularizer=of_V)
    alpha, rises, moved = 0.5, [], set()

    class Watched(Reference):
        def _update_v(self, i):
            return self._watch(lambda: super(Watched, self)._update_v(i), self.layers[i].V, i)

        def _update_w(self, i):
            return self._watch(lambda: super(Watched, self)._update_w(i), self.layers[i].W, i)

        def _watch(self, update, block, i):
            before, f = block.copy(), sum(self._parts().values())
            bias = self.layers[i].b.copy()
            fall = update()
            steps = np.sum((block - before) ** 2) + np.sum((self.layers[i].b - bias) ** 2)
            after = sum(self._parts().values())
            assert f - after == pytest.approx(fall, rel=1e-9, abs=1e-12 * f)
            rises.append((after + alpha / 2 * steps - f) / f)
            if steps > 0:
                moved.add(block.shape)
            return fall

    scheme = amcore.TwoSplitBCD(1.0, alpha, inner_iters)
    state = amcore.solve(problem, scheme, max_iter=0).state
    engine = Watched(
        X=problem.X,
        Y=problem.Y,
        layers=[{s: state[f"{s}{i}"] for s in ("W", "b", "V")} for i in (1, 2, 3)],
        numbers={},
        activations=[each.reference for each in problem.network.activations],
        skip=[False] * 3,
        loss=problem.loss.reference,
        loss_weight=1.0,
        weight_regularizers=[r.reference for r in problem.weight_regularizers],
        activation_regularizers=[s.reference for s in problem.activation_regularizers],
        **scheme._options(problem),
    )
    for _ in range(5):
        engine.sweep(True)
    assert max(rises) <= 1e-13
    assert len(moved) == 6


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sigma", SMOOTH)
def test_distance_is_the_norm_of_the_gradient(sigma, backend):
    problem = make((3, 4, 3, 2), sigma, n=7, weight_regularizer=amcore.regularizers.ridge(0.3))
    scheme = amcore.TwoSplitBCD([0.5, 1.5, 2.0])
    run = amcore.solve(problem, scheme, max_iter=2, backend=backend)

    def objective(state):
        f, V = 0.0, problem.X
        for i, activation in enumerate(problem.network.activations, start=1):
            Z = V @ state[f"W{i}"].T + state[f"b{i}"]
            V = state[f"V{i}"]
            f += scheme.gamma[i - 1] / 2 * np.sum((V - activation.reference.value(Z)) ** 2)
            f += 0.15 * np.sum(state[f"W{i}"] ** 2)
        return f + problem.loss.reference.value(V, problem.Y)

    state = {name: array.copy() for name, array in run.state.items()}
    assert objective(state) == pytest.approx(run.trace.objective[-1], rel=1e-12)
    blocks = dict.fromkeys(run.trace.distance, 0.0)
    for name, array in state.items():
        for at in np.ndindex(array.shape):
            kept, h = array[at], 1e-5
            array[at] = kept + h
            above = objective(state)
            array[at] = kept - h
            slope = (above - objective(state)) / (2 * h)
            array[at] = kept
            blocks[name.replace("b", "W")] += slope**2
    for name, squared in blocks.items():
        found = run.trace.distance[name][-1]
        assert found == pytest.approx(np.sqrt(squared), rel=1e-5, abs=1e-7)


def test_one_linear_layer_is_ridge_regression():
    problem = make((4, 2), [], bias=False, weight_regularizer=amcore.regularizers.ridge(0.5))
    run = amcore.solve(problem, amcore.TwoSplitBCD(gamma=1.0, alpha=1e-3), max_iter=400)
    # min over V of ½‖V − Y‖² + ½‖V − XWᵀ‖² is ¼‖XWᵀ − Y‖²
    X, Y = problem.X, problem.Y
    expected = np.linalg.solve(X.T @ X / 2 + 0.5 * np.eye(4), X.T @ Y / 2).T
    np.testing.assert_allclose(run.state["W1"], expected, atol=1e-6)
    assert run.trace.subgradient_distance[-1] < 1e-5


@pytest.mark.parametrize("sigma", ["sigmoid", "tanh", "softplus", "identity"])
def test_the_majorizer_majorizes(sigma):
    activation = operator("activation", sigma).reference
    rng = np.random.default_rng(4)
    Z, step = 4 * rng.standard_normal((2, 100_000))
    T = 3 * rng.standard_normal(100_000)
    h = activation.majorizer
    error = (activation.value(Z) - T) * activation.derivative(Z)
    bounds = np.array([h(h.distance(t)) for t in T])
    model = (activation.value(Z) - T) ** 2 / 2 + error * step + bounds / 2 * step**2
    truth = (activation.value(Z + step) - T) ** 2 / 2
    assert (truth <= model * (1 + 1e-12) + 1e-12).all()


# To either side of where W ΔV is the difference of two products.
@pytest.mark.parametrize(("alpha", "least", "most"), [(1, 2e-4, 1), (3000, 0, 5e-5)])
@pytest.mark.parametrize("sigma", ["relu", "softplus"])
@pytest.mark.parametrize("inner_iters", [1, 2])
def test_decreases_are_accurate_in_float32(inner_iters, sigma, alpha, least, most):
    problem = make(sigma=sigma, n=300)
    scheme = amcore.TwoSplitBCD(alpha=alpha, inner_iters=inner_iters)
    before = None
    for step in amcore.iterate(problem, scheme, max_iter=30, dtype=np.float32):
        state = amcore.State({name: a.astype(np.float64) for name, a in step.state.items()})
        f = amcore.solve(problem, scheme, max_iter=0, init=state).trace.objective[0]
        if step.sweep > 5:
            assert step.record.decrease == pytest.approx(before - f, rel=1e-2)
            assert least < step.record.step_norm["V1"] / np.linalg.norm(state["V1"]) < most
        before = f


def test_kinks_make_the_distance_a_bound():
    scheme = amcore.TwoSplitBCD()
    assert amcore.solve(make(sigma="relu"), scheme, max_iter=1).trace.distance_is_bound
    assert not amcore.solve(make(sigma="tanh"), scheme, max_iter=1).trace.distance_is_bound


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [1e-12, 1e8])
@pytest.mark.parametrize("sigma", ["relu", "softplus"])
def test_data_of_any_size_descend(sigma, scale, backend):
    problem = make(sigma=sigma)
    problem = amcore.Problem(problem.network, scale * problem.X, scale * problem.Y)
    trace = amcore.solve(problem, amcore.TwoSplitBCD(), max_iter=5, backend=backend).trace
    assert (np.diff(trace.objective) <= 1e-12 * trace.objective[0]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 0.0}, "gamma"),
        ({"gamma": [1.0, 1.0]}, "gamma"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": np.nan}, "alpha"),
        ({"inner_iters": 0}, "inner_iters"),
        ({"inner_iters": 1.5}, "inner_iters"),
        ({"inner_tol": -1.0}, "inner_tol"),
        ({"inner_steps": 0}, "inner_steps"),
    ],
)
def test_wrong_hyperparameters(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        amcore.solve(make(), amcore.TwoSplitBCD(**options))


def test_wrong_problems():
    problem = make((4, 4, 2))
    skip = amcore.Network([4, 4, 2], skip=[True, False])
    with pytest.raises(ValueError, match="skip: TwoSplitBCD takes no skip connections"):
        amcore.solve(amcore.Problem(skip, problem.X, problem.Y), amcore.TwoSplitBCD())
    assert replace(amcore.TwoSplitBCD(), alpha=2.0).alpha == 2.0


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("signs", [(1, -1), (-1, 1), (1, 1), (-1, -1), (2, -3)])
def test_at_joint_kinks_distance_is_that_of_a_pattern_nearby(signs, backend):
    """V₁ = 0 feeds two relus, f = ½‖V₂ − 1‖² + ½V₁² + ½Σ(V₂ₖ − relu(wₖ V₁))².

    Near V₁ = 0 the units with w_k V₁ > 0 pull by w_k V₂ₖ; both directions are members of ∂f.
    """
    problem = amcore.Problem(
        amcore.Network([1, 1, 2], activation="relu", output_activation="relu", bias=False),
        np.array([[1.0]]),
        np.array([[1.0, 1.0]]),
    )
    w = np.array(signs, dtype=float)
    start = [(np.array([[-1.0]]), None), (w[:, None], None)]
    scheme = amcore.TwoSplitBCD()
    state = amcore.solve(problem, scheme, max_iter=0, init=start, backend=backend).state
    assert state["V1"] == 0
    state["V2"][...] = [[0.5, 0.75]]
    run = amcore.solve(problem, scheme, max_iter=0, init=state, backend=backend)
    pulls = w * state["V2"][0]
    limits = [abs(pulls[w > 0].sum()), abs(pulls[w < 0].sum())]
    assert run.trace.distance["V1"][0] == pytest.approx(limits[0], abs=1e-12)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_without_bias_and_with_dead_samples_the_distance_is_a_gradient_nearby(backend):
    rng = np.random.default_rng(4)
    X = rng.standard_normal((30, 4))
    X[::3] = 0
    problem = amcore.Problem(
        amcore.Network([4, 5, 5, 2], "relu", output_activation="relu", bias=False), X, X[:, :2]
    )
    scheme = amcore.TwoSplitBCD()
    run = amcore.solve(problem, scheme, max_iter=0, seed=1, backend=backend)
    assert (run.state["V1"] == 0).all(axis=1).any()
    near = run.state.copy()
    for name, array in near.items():  # to where σ is differentiable, along d and less along W
        d = 2 + np.sin(1 + np.arange(array.shape[1]))
        array += (1e-7 if name[0] == "W" else 1e-9) * d
    there = amcore.solve(problem, scheme, max_iter=0, init=near, backend=backend).trace
    assert run.trace.subgradient_distance[0] == pytest.approx(
        there.subgradient_distance[0], rel=1e-4
    )
