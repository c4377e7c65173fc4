"""OnlineAM: its objective and gradient, its safeguard, and that its backends agree."""

import math

import numpy as np
import pytest

import amcore
from amcore.reference.scheme.online_am import random_keys
from strategies import operator, targets

BACKENDS = ["native", "reference"]
LOSSES = ["squared", "cross_entropy", "logistic", "huber", "squared_hinge"]


def make(
    activation="tanh",
    loss="squared",
    *,
    widths=(5, 12, 12, 3),
    n=120,
    skip=False,
    bias=True,
    seed=0,
    noise=0.3,
    **options,
):
    """A small problem with a ridge and noisy targets."""
    rng = np.random.default_rng(seed)
    X = 2 * rng.standard_normal((n, widths[0])) + 1
    if loss == "squared":
        Y = np.sin(X @ rng.standard_normal((widths[0], widths[-1])))
        Y += noise * rng.standard_normal(Y.shape)
    else:
        Y = targets(operator("loss", loss), rng, n, widths[-1])
    network = amcore.Network(widths, activation, skip=skip, bias=bias)
    given = {"loss_scale": "mean", "weight_regularizer": amcore.regularizers.ridge(1e-2), **options}
    return amcore.Problem(network, X, Y, loss, **given)


def gradient_by_differences(problem, scheme, run, layer, step=1e-6):
    """∂f/∂W̄_i of the whitened inputs, entry by entry."""
    weights = [(W.copy(), b.copy()) for W, b in run.weights]
    components, center = run.state["components1"], run.state["center1"]

    def objective(dW, db):
        moved = list(weights)
        W, b = weights[layer]
        if layer == 0:  # W_1 = W̃_1 T, b_1 = b̃_1 − W_1 m
            dW = dW @ components
            db = db - dW @ center
        moved[layer] = W + dW, b + db
        start = amcore.solve(problem, scheme, init=moved, max_iter=0)
        return float(start.trace.objective[0])

    W, _ = weights[layer]
    columns = len(components) if layer == 0 else W.shape[1]
    gradient = []
    for index in np.ndindex(len(W), columns + 1):
        change = np.zeros((len(W), columns + 1))
        change[index] = step
        dW, db = change[:, :-1], change[:, -1]
        gradient.append((objective(dW, db) - objective(-dW, -db)) / (2 * step))
    return np.array(gradient)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scale", ["mean", "sum"])
def test_objective_is_the_regularised_loss_of_the_network(backend, loss, scale):
    problem = make(loss=loss, loss_scale=scale, sample_weight=np.linspace(0.5, 2, 120))
    run = amcore.solve(problem, amcore.OnlineAM(batch_size=20), max_iter=3, backend=backend)
    Y = problem.Y
    if loss == "cross_entropy":
        Y = 0.9 * Y + 0.1 / Y.shape[1]
    outputs = run.forward(problem.X)
    weight = problem.sample_weight / (problem.sample_weight.sum() if scale == "mean" else 1)
    values = [problem.loss.value(outputs[[j]], Y[[j]]) for j in range(len(Y))]
    ridge = 1e-2 / 2 * sum(np.sum(W**2) for W, _ in run.weights)
    assert run.trace.objective[-1] == pytest.approx(weight @ values + ridge, rel=1e-12)
    assert run.trace.parts["weight_regularizer"][-1] == pytest.approx(ridge, rel=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "leaky_relu"])
@pytest.mark.parametrize("skip", [False, True])
def test_the_measured_gradient_is_that_of_the_objective(activation, skip):
    problem = make(activation, "cross_entropy", widths=(5, 5, 5, 3), skip=skip, n=40)
    scheme = amcore.OnlineAM(input_rank=4)
    run = amcore.solve(problem, scheme, max_iter=0)
    for layer in range(3):
        expected = np.linalg.norm(gradient_by_differences(problem, scheme, run, layer))
        assert run.trace.distance[f"W{layer + 1}"][0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", [*LOSSES, "exponential"])
@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize(
    ("skip", "bias", "options"),
    [
        (False, True, {}),
        (True, False, {"epsilon": 5.0, "rho_out": 1.0}),
        (False, True, {"epsilon": 5.0, "clip": math.inf, "safeguard": 0.0}),
        (True, True, {"rho_out": 2.0, "safeguard_every": 2, "average": 0.5, "schedule": "cosine"}),
    ],
)
def test_backends_agree(loss, activation, skip, bias, options):
    problem = make(activation, loss, widths=(5, 5, 5, 3), skip=skip, bias=bias, n=83)
    scheme = amcore.OnlineAM(batch_size=10, input_rank=4, gram_every=3, **options)
    native, reference = (
        amcore.solve(problem, scheme, max_iter=3, backend=backend) for backend in BACKENDS
    )
    assert native.trace.marks == reference.trace.marks
    for name, array in reference.state.items():
        scale = np.linalg.norm(array) + 1e-30
        assert np.linalg.norm(native.state[name] - array) <= 1e-9 * scale, name
    np.testing.assert_allclose(native.trace.objective, reference.trace.objective, rtol=1e-9)
    np.testing.assert_allclose(
        native.trace.subgradient_distance, reference.trace.subgradient_distance, rtol=1e-7
    )
    for name in ("batch_loss", "c1", "rejections", "interpolations", "fallbacks"):
        np.testing.assert_allclose(
            native.trace.monitors[name], reference.trace.monitors[name], rtol=1e-9
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("eta", [0.1, 10.0])
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("loss_scale", ["mean", "sum"])
def test_safeguard_makes_condition_a1_hold(backend, activation, eta, every, loss_scale):
    """However long the steps and however noisy the batches."""
    problem = make(activation, loss_scale=loss_scale, noise=1.0)
    scheme = amcore.OnlineAM(batch_size=10, eta=eta, safeguard_every=every, schedule="constant")
    run = amcore.solve(problem, scheme, max_iter=36, backend=backend)
    f, g = run.trace.objective[::every], run.trace.subgradient_distance[::every]
    c1 = run.trace.monitors["c1"][every::every]
    assert (np.diff(f) < 0).all()
    assert (f[:-1] - f[1:] >= c1 * g[1:] ** 2 * (1 - 1e-12)).all()
    found = amcore.sufficient_decrease(amcore.Trace.from_arrays(f, g), 1)
    assert found.violations == 0 and found.constant >= c1.min() * (1 - 1e-9)
    if every == 1:
        told = amcore.certify(run).verdicts["A1"]
        assert told.verdict == "holds" and "imposes" in told.reason


@pytest.mark.parametrize("backend", BACKENDS)
def test_certificate_of_a_safeguarded_run(backend):
    run = amcore.solve(
        make(noise=1.0), amcore.OnlineAM(batch_size=10), max_iter=40, backend=backend
    )
    first = amcore.certify(run.trace).to_dict()["decrease"]["A1"][0]
    assert first["j"] == 1 and first["verdict"] == "holds" and first["violations"] == 0
    rejected = run.trace.monitors["rejections"]
    assert rejected.sum() == len(run.trace.marks) > 0
    assert (
        run.trace.monitors["interpolations"] + run.trace.monitors["fallbacks"] == rejected
    ).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_that_overflow_are_taken_back(backend):
    """With the safeguard; without it they are an error, and the state is as before the epoch."""
    problem = make("relu", n=60)
    scheme = amcore.OnlineAM(batch_size=5, eta=1e30, clip=math.inf)
    run = amcore.solve(problem, scheme, max_iter=5, backend=backend)
    assert (np.diff(run.trace.objective) < 0).all()
    assert run.trace.monitors["fallbacks"].sum() == 5
    loose = amcore.OnlineAM(batch_size=5, eta=1e30, clip=math.inf, safeguard=0.0)
    with pytest.raises(amcore.NumericalError, match="non-finite") as caught:
        amcore.solve(problem, loose, max_iter=9, dtype=np.float32, backend=backend)
    assert all(np.isfinite(array).all() for array in caught.value.solution.state.values())


def test_the_direction_of_the_gradient_step_is_one_of_descent():
    """⟨−∇f, D⟩ = Σ ⟨C_i, C_i (G_i + Λ_i)⁻¹⟩ > 0 is the slope of f along it."""
    problem = make(loss="cross_entropy", widths=(5, 8, 8, 3))
    run = amcore.solve(problem, amcore.OnlineAM(batch_size=20), max_iter=2, backend="reference")
    scheme, state = run.scheme, run.state.copy()
    engine = scheme.engine(
        problem,
        state,
        X=problem.X,
        Y=problem.Y,
        loss_weight=1 / problem.n_samples,
        num_threads=1,
        collective=None,
        backend="reference",
    )
    start = engine._weights()
    now = engine._measures(start, gradient=True)
    inverses = [engine._inverse(G) for G in engine.grams]
    for inverse in inverses:
        np.testing.assert_allclose(inverse, inverse.T, rtol=1e-9, atol=1e-12)
        assert np.linalg.eigvalsh(inverse).min() > 0
    D = [now.C[0], *(C @ inverse for C, inverse in zip(now.C[1:], inverses, strict=True))]
    slope = sum(np.vdot(C, d) for C, d in zip(now.C, D, strict=True))
    assert slope > 0
    direction = engine._from_whitened(D)
    values = [
        engine._measures([x + t * d for x, d in zip(start, direction, strict=True)], False).value
        for t in (-1e-5, 1e-5)
    ]
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(slope, rel=1e-6)
    _, after = engine._gradient_step(start, now)
    assert after.value < now.value
    assert now.value - after.value >= engine._c1 * after.squared_gradient


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("every", [1, 2])
def test_a_run_that_goes_on_gives_the_same_bits(backend, every):
    problem = make("relu", n=100, noise=1.0)
    scheme = amcore.OnlineAM(batch_size=10, safeguard_every=every, average=0.3)
    whole = amcore.solve(problem, scheme, max_iter=7, seed=3, backend=backend)
    steps = amcore.iterate(problem, scheme, max_iter=7, seed=3, backend=backend)
    for step in steps:
        if step.sweep == 3:
            break
    rest = amcore.solve(problem, scheme, max_iter=4, init=step.state.copy(), backend=backend)
    for name, array in whole.state.items():
        np.testing.assert_array_equal(rest.state[name], array, name)
    np.testing.assert_array_equal(rest.trace.objective, whole.trace.objective[3:])
    again = amcore.solve(problem, scheme, max_iter=4, init=whole.state, backend=backend)
    assert again.state["planned"] == 11  # a new schedule, as the first has come to its end


@pytest.mark.parametrize("backend", BACKENDS)
def test_neither_scale_nor_offset_of_the_inputs_matters(backend):
    problem = make("relu", n=100, weight_regularizer=None)
    moved = amcore.Problem(problem.network, 200 * problem.X + 1000, problem.Y, loss_scale="mean")
    scheme = amcore.OnlineAM(batch_size=10)
    runs = [amcore.solve(p, scheme, max_iter=3, backend=backend) for p in (problem, moved)]
    np.testing.assert_allclose(runs[0].trace.objective, runs[1].trace.objective, rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_samples_of_weight_0_and_2(backend):
    """Weights count samples, in f and in its gradient; equal ones are the same as none."""
    once = make("tanh", n=60)
    counts = np.arange(60) % 3
    weighted = amcore.Problem(
        once.network, once.X, once.Y, loss_scale="mean", sample_weight=counts.astype(float)
    )
    repeated = amcore.Problem(
        once.network, np.repeat(once.X, counts, 0), np.repeat(once.Y, counts, 0), loss_scale="mean"
    )
    init = amcore.solve(once, amcore.OnlineAM(), max_iter=0, backend=backend).weights
    starts = [
        amcore.solve(problem, amcore.OnlineAM(), init=init, max_iter=0, backend=backend).trace
        for problem in (weighted, repeated)
    ]
    assert starts[0].objective[0] == pytest.approx(starts[1].objective[0], rel=1e-12)
    for name in ("W1", "W2", "W3"):
        assert starts[0].distance[name][0] == pytest.approx(starts[1].distance[name][0], rel=1e-9)
    for epsilon in (np.inf, 10.0):  # and in every block, where all samples are one batch
        scheme = amcore.OnlineAM(epsilon=epsilon)
        traces = [
            amcore.solve(problem, scheme, max_iter=5, backend=backend).trace
            for problem in (weighted, repeated)
        ]
        np.testing.assert_allclose(traces[0].objective, traces[1].objective, rtol=1e-9)
    twos = make("tanh", n=60, sample_weight=np.full(60, 2.0))
    runs = [amcore.solve(p, amcore.OnlineAM(), max_iter=3, backend=backend) for p in (once, twos)]
    np.testing.assert_allclose(runs[0].trace.objective, runs[1].trace.objective, rtol=1e-12)


def test_the_order_of_samples_is_drawn_anew_for_every_epoch():
    keys = [random_keys(seed, epoch, 1000) for seed in (0, 1) for epoch in (0, 1)]
    orders = np.array([np.argsort(key) for key in keys])
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    correlation = np.corrcoef(orders) - np.eye(4)
    assert np.abs(correlation).max() < 0.15


def test_it_learns():
    """Two spirals, which no linear classifier tells apart."""
    rng = np.random.default_rng(0)
    t = np.sqrt(rng.random(600)) * 9
    y = np.arange(600) % 2
    X = np.column_stack([t * np.cos(t + np.pi * y), t * np.sin(t + np.pi * y)])
    X += 0.2 * rng.standard_normal(X.shape)
    problem = amcore.Problem(
        amcore.Network([2, 64, 64, 2], "relu"), X[:400], y[:400], "cross_entropy", loss_scale="mean"
    )
    run = amcore.solve(problem, amcore.OnlineAM(batch_size=20, lam=0.1), max_iter=60)
    assert run.score(X[400:], y[400:]) > 0.9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("eta", 0.0),
        ("eta", math.inf),
        ("lam", -1.0),
        ("input_rank", 0),
        ("rho_out", 0.0),
        ("rho_out", math.nan),
        ("epsilon", -1.0),
        ("clip", "2"),
        ("gram_every", 0),
        ("label_smoothing", 1.0),
        ("schedule", "step"),
        ("average", 1.5),
        ("safeguard", -1e-3),
        ("safeguard_every", 0),
    ],
)
def test_wrong_hyperparameters_are_named(name, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name}: expected"):
        amcore.OnlineAM(**{name: value})


def test_what_it_does_not_take_is_named():
    scheme = amcore.OnlineAM()
    with pytest.raises(ValueError, match=r"^loss: OnlineAM needs a smooth one, got hinge"):
        amcore.solve(make(loss="hinge"), scheme)
    with pytest.raises(ValueError, match=r"^weight_regularizer: OnlineAM takes none or ridge"):
        amcore.solve(make(weight_regularizer="l1"), scheme)
    with pytest.raises(ValueError, match=r"^activation_regularizer: OnlineAM takes none"):
        amcore.solve(make(activation_regularizer="l1"), scheme)


@pytest.mark.parametrize(
    "scheme", [amcore.ThreeSplitBCD, amcore.TwoSplitBCD, amcore.ADMM, amcore.MDLAM]
)
def test_the_other_schemes_take_no_sample_weights(scheme):
    problem = make(sample_weight=np.ones(120))
    with pytest.raises(ValueError, match=f"^sample_weight: {scheme.__name__} takes none"):
        amcore.solve(problem, scheme())


@pytest.mark.parametrize(
    ("weight", "told"),
    [
        (np.ones(5), "shape"),
        (-np.ones(120), "numbers >= 0"),
        (np.zeros(120), "numbers >= 0"),
        (np.full(120, np.nan), "finite"),
        ("heavy", "float"),
    ],
)
def test_wrong_sample_weights_are_named(weight, told):
    with pytest.raises((TypeError, ValueError), match=f"^sample_weight: .*{told}"):
        make(sample_weight=weight)
