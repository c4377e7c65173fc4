"""ADMM: what is measured is that of the state, native equals reference, wrong problems."""

import numpy as np
import pytest

import amcore
from amcore.reference.block.majorized import majorized_gap
from strategies import operator

BACKENDS = ["native", "reference"]
NETWORKS = [
    ([5, 7, 4, 3], ["sigmoid", "tanh"]),
    ([3, 6, 6, 5, 2], ["tanh", "identity", "sigmoid"]),
    ([4, 3], []),
    ([1, 1, 1], ["sigmoid"]),
]


def make(widths=(5, 7, 4, 3), hidden=("sigmoid", "tanh"), loss="squared", n=30, seed=3, **options):
    rng = np.random.default_rng(seed)
    net = amcore.Network(list(widths), list(hidden) or "relu", bias=options.pop("bias", True))
    X, targets = rng.standard_normal((n, widths[0])), operator("loss", loss).targets
    Y = rng.standard_normal((n, widths[-1]))
    if targets == "sign":
        Y = np.where(Y > 0, 1.0, -1.0)
    elif targets == "distribution":
        Y = rng.integers(0, widths[-1], n)
    lam = amcore.regularizers.ridge(options.pop("lam", 0.3))
    return amcore.Problem(net, X, Y, loss=loss, weight_regularizer=lam, **options)


def graded(problem, **options):
    """Penalties that fall from the first layer to the last, at which ADMM is well behaved."""
    depth = problem.network.depth
    xi = [0.1 * (i + 1) for i in range(depth)]
    return amcore.ADMM(beta=[4.0 * 3**i for i in reversed(range(depth))], xi=xi, **options)


def terms(problem, scheme, state):
    """The parts of f, written out once more."""
    c = 1 if problem.loss_scale == "sum" else 1 / problem.n_samples
    depth, V = problem.network.depth, problem.X
    found = {"loss": c * problem.loss.reference.value(state[f"V{depth}"], problem.Y)}
    found["weight_regularizer"] = sum(
        r.reference.value(W)
        for r, (W, _) in zip(problem.weight_regularizers, state.weights, strict=True)
    )
    for i, sigma in enumerate(problem.network.activations, start=1):
        (W, b), beta = state.weights[i - 1], scheme.beta[i - 1]
        residual = sigma.reference.value(V @ W.T + (0 if b is None else b)) - state[f"V{i}"]
        found[f"penalty{i}"] = beta / 2 * np.sum(residual**2)
        found[f"multiplier{i}"] = np.sum(state[f"Lambda{i}"] * residual)
        found[f"memory{i}"] = scheme.xi[i - 1] * np.sum((state[f"V{i}"] - state[f"V_old{i}"]) ** 2)
        V = state[f"V{i}"]
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("widths", "hidden"), NETWORKS)
def test_objective_parts_and_monitors_are_those_of_the_state(widths, hidden, backend):
    problem = make(widths, hidden, loss_scale="mean", bias=len(widths) != 3)
    scheme = graded(problem)
    for step in amcore.iterate(problem, scheme, max_iter=3, backend=backend):
        expected, record = terms(problem, scheme, step.state), step.record
        scale = sum(abs(value) for value in expected.values())
        assert record.parts == pytest.approx(expected, rel=1e-12, abs=1e-14 * scale)
        assert record.objective == pytest.approx(sum(expected.values()), abs=1e-13 * scale)
        for i in range(1, len(widths)):
            beta, xi = scheme.beta[i - 1], scheme.xi[i - 1]
            primal, dual = record.monitors[f"primal{i}"], record.monitors[f"dual{i}"]
            assert beta / 2 * primal**2 == pytest.approx(record.parts[f"penalty{i}"])
            assert xi * (dual / beta) ** 2 == pytest.approx(record.parts[f"memory{i}"])
        memory = sum(value for name, value in expected.items() if name.startswith("memory"))
        assert record.monitors["lagrangian"] == pytest.approx(record.objective - memory)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize(("widths", "hidden"), NETWORKS[:3])
def test_distance_is_the_norm_of_the_gradient(widths, hidden, loss, backend):
    """Central differences in every entry of every block, after two sweeps."""
    problem = make(widths, hidden, loss, n=4)
    scheme = graded(problem)
    run = amcore.solve(problem, scheme, max_iter=2, backend=backend)
    state, step = run.state.copy(), 1e-5
    total = 0.0
    for block in run.trace.distance:
        stem, number = block.rstrip("0123456789"), block[-1]
        square = 0.0
        for name in (block, f"b{number}") if stem == "W" else (block,):
            for index in np.ndindex(state[name].shape):
                value, f = state[name][index], []
                for shift in (-step, step):
                    state[name][index] = value + shift
                    f.append(sum(terms(problem, scheme, state).values()))
                state[name][index] = value
                square += ((f[1] - f[0]) / (2 * step)) ** 2
        assert run.trace.distance[block][-1] == pytest.approx(square**0.5, rel=1e-6, abs=1e-7)
        total += square
    assert run.trace.subgradient_distance[-1] == pytest.approx(total**0.5, rel=1e-6)
    assert {name.rstrip("0123456789") for name in run.trace.distance} == {
        "W", "V", "Lambda", "V_old",
    }  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("majorizer", ["published", "tight"])
@pytest.mark.parametrize(("widths", "hidden"), NETWORKS)
def test_decrease_and_steps_are_those_of_the_state(widths, hidden, majorizer, backend):
    """Rises too: penalties that are not graded make some."""
    problem = make(widths, hidden)
    depth = len(widths) - 1
    scheme = amcore.ADMM(beta=[2.0] * depth, xi=[0.2] * depth, majorizer=majorizer)
    old = amcore.solve(problem, scheme, max_iter=0, backend=backend).state
    for step in amcore.iterate(problem, scheme, max_iter=25, backend=backend):
        f = [terms(problem, scheme, state) for state in (old, step.state)]
        scale = max(sum(abs(value) for value in found.values()) for found in f)
        difference = sum(f[0].values()) - sum(f[1].values())
        assert step.record.decrease == pytest.approx(difference, abs=1e-12 * scale)
        for name, norm in step.record.step_norm.items():
            changes = [step.state[name] - old[name]]
            if name[0] == "W":
                changes.append(step.state[f"b{name[1:]}"] - old[f"b{name[1:]}"])
            assert norm == pytest.approx(
                np.sqrt(sum(np.sum(change**2) for change in changes)), rel=1e-8, abs=1e-12
            )
        for i in range(1, depth + 1):
            np.testing.assert_array_equal(step.state[f"V_old{i}"], old[f"V{i}"])
        old = step.state.copy()


def test_decrease_in_float32_is_that_of_the_state():
    """Also where steps are so short that W ΔV and ΔW V are products of their own."""
    rng = np.random.default_rng(3)
    X, Y = (rng.standard_normal((60, width)).astype("float32") for width in (6, 3))
    network = amcore.Network([6, 9, 8, 3], ["sigmoid", "tanh"])
    single, double = (
        amcore.Problem(
            network, X.astype(t), Y.astype(t), weight_regularizer=amcore.regularizers.ridge(1.0)
        )
        for t in ("float32", "float64")
    )
    scheme = amcore.ADMM(beta=[100.0, 60.0, 4.0], xi=[0.1] * 3, dual_init="backprop")
    old, shortest = None, 1.0
    for step in amcore.iterate(single, scheme, max_iter=1500):
        state = amcore.State({k: v.astype("float64") for k, v in step.state.items()}, double)
        if old is not None:
            found = terms(double, scheme, old)
            fall = sum(found.values()) - sum(terms(double, scheme, state).values())
            scale = sum(abs(value) for value in found.values())
            assert step.record.decrease == pytest.approx(fall, rel=1e-3, abs=5e-8 * scale)
            change = np.linalg.norm(state["V1"] - old["V1"]) / np.linalg.norm(old["V1"])
            shortest = min(shortest, change)
        old = state
    assert shortest < 1e3 * np.finfo("float32").eps


def test_rises_are_reported_as_rises():
    problem = make(lam=1e-3)
    trace = amcore.solve(problem, amcore.ADMM(beta=0.5), max_iter=40).trace
    assert trace.decrease.min() < -1e-3 * abs(trace.objective).max()


def same(native, reference, rtol):
    for name, expected in reference.state.items():
        error = np.linalg.norm(native.state[name] - expected)
        assert error <= rtol * np.linalg.norm(expected) + 1e-13, name
    scale = abs(reference.trace.objective).max()
    for family in ("parts", "distance", "step_norm", "monitors"):
        ours, theirs = getattr(native.trace, family), getattr(reference.trace, family)
        assert list(ours) == list(theirs)
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], rtol, rtol * scale, err_msg=name)
    for name in ("objective", "subgradient_distance", "decrease"):
        ours, theirs = getattr(native.trace, name), getattr(reference.trace, name)
        np.testing.assert_allclose(ours, theirs, rtol, rtol * 1e-3 * scale, err_msg=name)


@pytest.mark.parametrize(("majorizer", "dual_init"), [("published", "zero"), ("tight", "backprop")])
@pytest.mark.parametrize("loss", dir(amcore.losses))
@pytest.mark.parametrize(("widths", "hidden"), NETWORKS[:3])
def test_native_is_reference(widths, hidden, loss, majorizer, dual_init):
    """Twenty sweeps with graded penalties; n in several chunks and tiles."""
    for bias, n in ((True, 41), (False, 1100)):
        problem = make(widths, hidden, loss, n, bias=bias, loss_scale="mean")
        scheme = graded(problem, majorizer=majorizer, dual_init=dual_init)
        runs = [amcore.solve(problem, scheme, max_iter=20, backend=b) for b in BACKENDS]
        same(*runs, rtol=1e-9)


def test_float32_is_near_float64():
    problem = make(n=200)
    scheme = graded(problem)
    wide, narrow = (
        amcore.solve(problem, scheme, max_iter=10, dtype=d).trace for d in ("float64", "float32")
    )
    np.testing.assert_allclose(narrow.objective, wide.objective, rtol=1e-5)
    np.testing.assert_allclose(narrow.subgradient_distance, wide.subgradient_distance, rtol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_xi_changes_what_is_measured_and_not_the_iterates(backend):
    problem = make()
    runs = [
        amcore.solve(problem, amcore.ADMM(beta=[9, 3, 1], xi=xi), max_iter=5, backend=backend)
        for xi in (None, 0.0, [9 / 4, 3 / 4, 1 / 4])
    ]
    for name, array in runs[0].state.items():
        np.testing.assert_array_equal(runs[1].state[name], array)
    lagrangian = runs[1].trace.monitors["lagrangian"]
    np.testing.assert_array_equal(runs[1].trace.objective, lagrangian)
    np.testing.assert_array_equal(runs[0].trace.objective, runs[2].trace.objective)
    assert (runs[0].trace.objective[1:] > lagrangian[1:]).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss_scale", ["sum", "mean"])
def test_start_of_the_multipliers(loss_scale, backend):
    """Backpropagation: at the start ∂L/∂V_i = 0 for every i; zero: L is the loss and the ridge."""
    problem = make(loss="cross_entropy", loss_scale=loss_scale)
    start = amcore.solve(problem, amcore.ADMM(dual_init="backprop"), max_iter=0, backend=backend)
    scale = np.linalg.norm(start.state["Lambda3"])
    for i in (1, 2, 3):
        assert start.trace.distance[f"V{i}"][0] <= 1e-14 * scale
        assert np.linalg.norm(start.state[f"Lambda{i}"]) > 1e-3 * scale
        assert start.trace.distance[f"Lambda{i}"][0] <= 1e-14
    zero = amcore.solve(problem, amcore.ADMM(), max_iter=0, backend=backend)
    for i in (1, 2, 3):
        assert not zero.state[f"Lambda{i}"].any()
        np.testing.assert_array_equal(zero.state[f"V_old{i}"], zero.state[f"V{i}"])
    parts = zero.trace.parts
    assert zero.trace.objective[0] == parts["loss"][0] + parts["weight_regularizer"][0]


@pytest.mark.parametrize("stem", ["sigmoid", "tanh", "identity"])
@pytest.mark.parametrize("rule", ["published", "tight"])
def test_majorizer(stem, rule):
    """H bounds the second derivative of ½(σ(z) − t)²; the model is above the truth."""
    sigma = operator("activation", stem).reference
    published = sigma.published_majorizer
    majorizer = published if rule == "published" else sigma.majorizer
    rng = np.random.default_rng(0)
    z, step = np.linspace(-12, 12, 4801), 3 * rng.standard_normal(4801)
    for t in (-30.0, -1.0, 0.0, 0.2, 0.5, 0.9, 2.0, 40.0):
        T = np.full_like(z, t)
        h = majorizer(majorizer.distance(T))
        slope = (sigma.value(z) - t) * sigma.derivative(z)
        assert (np.diff(slope) / np.diff(z) <= h * (1 + 1e-9)).all()
        new, old = (0.5 * np.sum((sigma.value(at) - t) ** 2) for at in (z + step, z))
        gap = majorized_gap(sigma, z, step, T, h)
        model = old + np.vdot(slope, step) + h / 2 * np.vdot(step, step)
        assert gap == pytest.approx(model - new, rel=1e-10, abs=1e-9)
        assert gap >= -1e-9
    three = np.array([3.0])
    assert majorizer(majorizer.distance(three)) <= published(published.distance(three))


NET = amcore.Network([4, 5, 3], "sigmoid")


def problem_with(net=NET, **options):
    rng = np.random.default_rng(1)
    return amcore.Problem(net, rng.standard_normal((9, 4)), rng.standard_normal((9, 3)), **options)


WRONG = {
    "beta zero": (lambda: amcore.ADMM(beta=0), ValueError, "beta", "> 0"),
    "beta a word": (lambda: amcore.ADMM(beta="1"), TypeError, "beta", "number"),
    "beta of one layer": (lambda: amcore.ADMM(beta=[1, -2]), ValueError, r"beta\[1\]", "> 0"),
    "beta NaN": (lambda: amcore.ADMM(beta=np.nan), ValueError, "beta", "finite"),
    "xi negative": (lambda: amcore.ADMM(xi=-1.0), ValueError, "xi", ">= 0"),
    "dual_init": (lambda: amcore.ADMM(dual_init="one"), ValueError, "dual_init", "backprop"),
    "majorizer": (lambda: amcore.ADMM(majorizer="loose"), ValueError, "majorizer", "tight"),
    "too many beta": (
        lambda: amcore.solve(problem_with(), amcore.ADMM(beta=[1, 1, 1])),
        ValueError, "beta", "expected 2 entries",
    ),
    "too many xi": (
        lambda: amcore.solve(problem_with(), amcore.ADMM(xi=[1, 1, 1])),
        ValueError, "xi", "expected 2 entries",
    ),
    **{
        f"activation {stem}": (
            lambda stem=stem: amcore.solve(
                problem_with(amcore.Network([4, 5, 3], stem)), amcore.ADMM()
            ),
            ValueError, "activation", stem,
        )
        for stem in ("relu", "leaky_relu", "hard_tanh", "hard_sigmoid", "softplus", "polynomial")
    },
    "output activation": (
        lambda: amcore.solve(
            problem_with(amcore.Network([4, 5, 3], "tanh", "tanh")), amcore.ADMM()
        ),
        ValueError, "output_activation", "identity",
    ),
    "skip": (
        lambda: amcore.solve(
            problem_with(amcore.Network([4, 4, 3], "tanh", skip=[True, False])), amcore.ADMM()
        ),
        ValueError, "skip", "ADMM",
    ),
    "regularizer": (
        lambda: amcore.solve(problem_with(weight_regularizer="l1"), amcore.ADMM()),
        ValueError, "weight_regularizer", "l1",
    ),
    "activation regularizer": (
        lambda: amcore.solve(problem_with(activation_regularizer="l1"), amcore.ADMM()),
        ValueError, "activation_regularizer", "ADMM",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_refused(what):
    call, kind, name, expected = WRONG[what]
    with pytest.raises(kind, match=f"^{name}.*{expected}") as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_singular_weight_update_says_so_and_keeps_the_state(backend):
    """More weights than samples, and no ridge."""
    problem = make([6, 9, 3], ["tanh"], n=4, lam=0.0)
    with pytest.raises(amcore.NumericalError, match="positive definite") as caught:
        amcore.solve(problem, amcore.ADMM(), max_iter=3, backend=backend)
    assert caught.value.block == "W" and caught.value.sweep == 1
    assert all(np.isfinite(array).all() for array in caught.value.solution.state.values())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("beta", [1e-8, 1e8])
@pytest.mark.parametrize("scale", [1e-100, 1e-6, 1e6, 1e100])
def test_hostile_numbers(beta, scale, backend):
    """Either every number is finite, or an error says where it is not."""
    rng = np.random.default_rng(5)
    problem = amcore.Problem(
        amcore.Network([3, 4, 2], "sigmoid"),
        scale * rng.standard_normal((20, 3)),
        scale * rng.standard_normal((20, 2)),
        weight_regularizer="ridge",
    )
    try:
        run = amcore.solve(problem, amcore.ADMM(beta=beta), max_iter=6, backend=backend)
    except amcore.NumericalError as error:
        run = error.solution
    assert all(np.isfinite(array).all() for array in run.state.values())
    assert np.isfinite(run.trace.objective).all() and np.isfinite(run.trace.decrease).all()
