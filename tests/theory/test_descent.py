"""Scheme B and C: descent, a-priori constants, dist(0, ∂f), accurate decreases.

Every claim is a function that returns (measured, predicted) for each sweep.
"""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import amcore
from strategies import Case, cases, names, operator

BACKENDS = ["native", "reference"]
EPS = np.finfo(np.float64).eps
SMOOTH_LOSSES = st.sampled_from(
    [stem for stem in names("loss") if "smooth" in operator("loss", stem).traits]
)


def terms(case, state):
    """The terms of f, written out once more: its parts by name."""
    problem, V, found = case.problem(), case.problem().X, {}
    c = 1 if case.loss_scale == "sum" else 1 / case.n
    found["loss"] = c * problem.loss.reference.value(state[f"V{case.depth}"], problem.Y)
    found["weight_regularizer"] = sum(
        lam / 2 * np.sum(state[f"W{i}"] ** 2) for i, lam in enumerate(case.lam, start=1)
    )
    linear = {}
    for i, sigma in enumerate(problem.network.activations, start=1):
        U, W, b = state[f"U{i}"], state[f"W{i}"], state[f"b{i}"] if case.bias else 0
        fit = state[f"V{i}"] - sigma.reference.value(U) - (V if case.skip[i - 1] else 0)
        found[f"activation{i}"] = case.gamma[i - 1] / 2 * np.sum(fit**2)
        linear[f"linear{i}"] = case.rho[i - 1] / 2 * np.sum((U - V @ W.T - b) ** 2)
        V = state[f"V{i}"]
    return found | linear


def objective(case, state):
    return sum(terms(case, state).values())


def sufficient_decrease(case, trace):
    """(f_k − f_{k+1}, (α+γ/2)‖ΔV_N‖² + … ) of every sweep.

    Strong convexity of each block's problem, with its proximal term counted twice: once in the
    block's optimum, once because f leaves it out. The term (γ_N + ρ_N)/2 ‖ΔU_N‖² is that of an
    output layer with the identity; any other output activation has α/2, like the hidden layers.
    """
    N, alpha, step = case.depth, case.alpha, trace.step_norm
    gain = (alpha + case.gamma[-1] / 2) * step[f"V{N}"] ** 2
    identity = case.activations[-1] == "identity"
    of_output = (case.gamma[-1] + case.rho[-1]) / 2 if identity else alpha / 2
    gain = gain + of_output * step[f"U{N}"] ** 2
    for i in range(1, N + 1):
        gain = gain + alpha * step[f"W{i}"] ** 2
    for i in range(1, N):
        gain = gain + case.gamma[i - 1] / 2 * step[f"V{i}"] ** 2 + alpha / 2 * step[f"U{i}"] ** 2
    return trace.decrease, gain


def rounding(case, trace):
    """Rounding error of an accurate decrease: that of ⟨Δ, gradient⟩, whose terms are about √f."""
    heaviest = max(1, *case.gamma, *case.rho)
    length = sum(trace.step_norm.values())
    return 1e2 * EPS * length * np.sqrt(2 * heaviest * trace.objective[:-1])


@pytest.mark.parametrize("backend", BACKENDS)
@given(case=cases())
def test_sufficient_decrease(backend, case):
    trace = case.solve(max_iter=12, backend=backend).trace
    measured, predicted = sufficient_decrease(case, trace)
    assert (measured >= predicted * (1 - 1e-9) - rounding(case, trace)).all()
    assert (measured >= -rounding(case, trace)).all()
    assert (np.diff(trace.objective) <= 1e-13 * trace.objective[:-1]).all()


@given(case=cases(max_depth=3, max_width=12))
def test_sufficient_decrease_with_the_paper_constant(case):
    """a = min(α/2, γ/2) over the sum of all squared steps, identity at the output."""
    case = case.with_(activations=(*case.activations[:-1], "identity"))
    trace = case.solve(max_iter=12).trace
    a = min(case.alpha, *case.gamma) / 2
    steps = sum(norm**2 for norm in trace.step_norm.values())
    assert (trace.decrease >= a * steps * (1 - 1e-9) - rounding(case, trace)).all()


def test_the_constants_are_not_idle():
    """On a small smooth network the bound is nearly attained."""
    ratios = []
    for seed in range(20):
        case = PLAIN.with_(seed=seed)
        measured, predicted = sufficient_decrease(case, case.solve(max_iter=30).trace)
        ratios.append((measured / predicted).min())
    assert 1 <= min(ratios) < 5


def relative_error(case, run_states, trace):
    """(dist(0, ∂f(X_{k+1})), b Σ‖ΔX‖) of every sweep, for ρ = γ.

    b = max(γ, α+γB, α+γL, 2γ(B+B²)), with γ(1+L) more in the last term where there is a skip
    connection. B bounds the norms of all iterates; the bias is a column of W and its input a row
    of ones.
    """
    (gamma,) = {*case.gamma, *case.rho}
    L = max(sigma.L1 for sigma in case.network.activations)
    B = 0.0
    for state in run_states:
        arrays = [
            case.problem().X,
            *(state[f"{s}{i}"] for s in "UV" for i in range(1, case.depth + 1)),
        ]
        for V in arrays:
            B = max(B, np.hypot(np.linalg.norm(V), np.sqrt(case.n) if case.bias else 0))
        for W, b in state.weights:
            B = max(B, np.hypot(np.linalg.norm(W), 0 if b is None else np.linalg.norm(b)))
    extra = gamma * (1 + L) if any(case.skip) else 0
    b = max(gamma, case.alpha + gamma * B, case.alpha + gamma * L, extra + 2 * gamma * (B + B * B))
    return trace.subgradient_distance[1:], b * sum(trace.step_norm.values())


@given(case=cases(max_depth=4, max_width=8, max_samples=20), smooth=cases(smooth=True, max_depth=3))
def test_relative_error(case, smooth):
    """Off the kinks for skip connections, where V_{i−1} moves after U_i; everywhere without."""
    for chosen in (case.with_(skip=(False,) * case.depth), smooth):
        equal = (chosen.gamma[0],) * chosen.depth
        chosen = chosen.with_(gamma=equal, rho=equal)
        start = chosen.solve(max_iter=0).state
        states = []
        for step in chosen.iterate(max_iter=8):
            states.append(step.state.copy())
        if not states:
            continue  # it starts at a critical point
        measured, predicted = relative_error(chosen, [start, *states], step.trace)
        floor = 1e2 * EPS * np.sqrt(step.trace.objective[1:] * max(1, *equal) * 2)
        assert (measured <= predicted + floor * 1e2).all()


@pytest.mark.parametrize("backend", BACKENDS)
@given(case=cases(max_depth=4, max_width=10, max_samples=20))
def test_objective_and_parts_are_those_of_the_state(backend, case):
    for step in case.iterate(max_iter=3, backend=backend):
        expected = terms(case, step.state)
        f = sum(expected.values())
        assert list(step.record.parts) == list(expected)
        for name, value in expected.items():
            assert abs(step.record.parts[name] - value) <= 1e-12 * value + 1e-13 * f
        assert abs(step.record.objective - f) <= 1e-13 * f


def gradient(case, state):
    """Central differences of f in every variable, extrapolated to a step of 0, by blocks."""
    blocks = {}
    for i in range(1, case.depth + 1):
        for block in "WUV":
            variables = [f"{block}{i}", *([f"b{i}"] if block == "W" and case.bias else [])]
            squares = 0.0
            for name in variables:
                flat = state[name].reshape(-1)
                assert np.shares_memory(flat, state[name])
                for k, kept in enumerate(flat.copy()):
                    slopes = []
                    for h in (1e-5 * max(1, abs(kept)), 5e-6 * max(1, abs(kept))):
                        flat[k] = kept + h
                        above = objective(case, state)
                        flat[k] = kept - h
                        slopes.append((above - objective(case, state)) / (2 * h))
                    flat[k] = kept
                    squares += ((4 * slopes[1] - slopes[0]) / 3) ** 2
            blocks[f"{block}{i}"] = np.sqrt(squares)
    return blocks


def assert_distance_is_gradient(case, record, state):
    expected = gradient(case, state)
    scale = 1e-8 * (1 + np.hypot.reduce(list(expected.values())) + record.objective)
    for block, value in expected.items():
        assert abs(record.distance[block] - value) <= 1e-6 * value + scale, (block, case)
    total = np.hypot.reduce(list(expected.values()))
    assert abs(record.subgradient_distance - total) <= 1e-6 * total + scale


SMALL = {"max_depth": 3, "max_width": 4, "max_samples": 5}


@pytest.mark.parametrize("backend", BACKENDS)
@given(case=cases(smooth=True, losses=SMOOTH_LOSSES, **SMALL))
def test_distance_is_the_norm_of_the_gradient(backend, case):
    for step in case.iterate(max_iter=2, backend=backend):
        assert_distance_is_gradient(case, step.record, step.state.copy())


@pytest.mark.parametrize("backend", BACKENDS)
@given(case=cases(losses=SMOOTH_LOSSES, **SMALL))
def test_distance_at_any_state_off_the_kinks(backend, case):
    """Any activation, at a state that no sweep has made."""
    case = case.with_(grid=False)
    rng = np.random.default_rng(case.seed)
    start = case.solve(max_iter=0).state
    state = amcore.State({name: rng.standard_normal(array.shape) for name, array in start.items()})
    run = amcore.solve(case.problem(), case.scheme(), max_iter=0, init=state, backend=backend)
    assert_distance_is_gradient(case, run.trace.records[0], state.copy())


def kink_distance(case, state, i):
    """dist(0, ∂_{U_i} f) from one-sided difference quotients, entry by entry."""
    V = case.problem().X if i == 1 else state[f"V{i - 1}"]
    U, b = state[f"U{i}"], state[f"b{i}"] if case.bias else 0
    target = state[f"V{i}"] - (V if case.skip[i - 1] else 0)
    sigma = case.network.activations[i - 1].reference.value
    product = V @ state[f"W{i}"].T + b

    def local(U):
        gamma, rho = case.gamma[i - 1], case.rho[i - 1]
        return gamma / 2 * (target - sigma(U)) ** 2 + rho / 2 * (U - product) ** 2

    h = 1e-6
    left, right = (local(U) - local(U - h)) / h, (local(U + h) - local(U)) / h
    convex = np.maximum(0, np.maximum(left, -right))
    concave = np.minimum(abs(left), abs(right))
    return np.linalg.norm(np.where(right >= left - 1e-4, convex, concave))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "hard_tanh"])
@pytest.mark.parametrize("skip", [False, True])
def test_distance_at_kinks(backend, activation, skip):
    """Many pre-activations stop exactly at a kink; the distance there is to an interval."""
    case = PLAIN.with_(
        widths=(6, 6, 6, 3), activations=(activation, activation, "identity"),
        skip=(skip, skip, False), n=60, lam=(0.0,) * 3, gamma=(1.0,) * 3, rho=(1.0,) * 3,
    )  # fmt: skip
    at_kink = 0
    kinks = (-1, 1) if activation == "hard_tanh" else (0,)
    for step in case.iterate(max_iter=6, backend=backend):
        for i in (1, 2):
            at_kink += np.isin(step.state[f"U{i}"], kinks).sum()
            expected = kink_distance(case, step.state, i)
            assert step.record.distance[f"U{i}"] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert at_kink > 20


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "hard_tanh"])
def test_distance_at_convex_and_concave_kinks(backend, activation):
    """No sweep stops at a concave kink of f; a state that is given may be there."""
    case = PLAIN.with_(widths=(4, 5, 3), activations=(activation, "identity"), n=40)
    start = case.solve(max_iter=0).state
    draw = np.random.default_rng(2)
    state = amcore.State({name: draw.standard_normal(array.shape) for name, array in start.items()})
    state["U1"][...] = draw.choice([-1.0, 0.0, 1.0], state["U1"].shape)
    run = amcore.solve(case.problem(), case.scheme(), max_iter=0, init=state, backend=backend)
    expected = kink_distance(case, state, 1)
    assert run.trace.distance["U1"][0] == pytest.approx(expected, rel=1e-4)


PLAIN = Case(
    widths=(2, 3, 1),
    activations=("tanh", "identity"),
    skip=(False, False),
    bias=True,
    loss="squared",
    loss_scale="sum",
    lam=(0.1, 0.1),
    n=6,
    gamma=(1.0, 1.0),
    rho=(1.0, 1.0),
    alpha=0.05,
    num_threads=1,
    seed=3,
    grid=False,
)
# Smooth, with enough ridge for linear convergence to a network that is not zero.
LINEAR = PLAIN.with_(
    widths=(3, 2, 4), bias=False, n=12, lam=(0.5,) * 2, gamma=(0.5,) * 2, rho=(0.5,) * 2,
    alpha=0.01, seed=8,
)  # fmt: skip


def exact_objective(case, state):
    """f of a tanh network with squared loss, in 60 decimal digits."""

    def tanh(u):
        e = (2 * u).exp()
        return (e - 1) / (e + 1)

    number = np.vectorize(lambda x: Decimal(float(x)), otypes=[object])
    arrays = {name: number(array) for name, array in state.items()}
    V, f = number(case.problem().X), Decimal(0)
    for i, name in enumerate(case.activations, start=1):
        U, W = arrays[f"U{i}"], arrays[f"W{i}"]
        sigma = np.vectorize(tanh, otypes=[object])(U) if name == "tanh" else U
        gamma, rho, lam = (number(x[i - 1]).item() for x in (case.gamma, case.rho, case.lam))
        f += gamma / 2 * ((arrays[f"V{i}"] - sigma) ** 2).sum()
        f += rho / 2 * ((U - V.dot(W.T) - (arrays[f"b{i}"] if case.bias else 0)) ** 2).sum()
        f += lam / 2 * (W**2).sum()
        V = arrays[f"V{i}"]
    return f + ((V - number(case.problem().Y)) ** 2).sum() / 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_decreases_stay_accurate_far_below_the_rounding_of_the_objective(backend):
    states = [LINEAR.solve(max_iter=0, backend=backend).state.copy()]
    for step in LINEAR.iterate(max_iter=700, backend=backend):
        states.append(step.state.copy())
    trace = step.trace
    f, decrease = trace.objective[-1], trace.decrease

    # They fall geometrically, to a billionth of the spacing of numbers like f.
    window = np.flatnonzero((decrease < 1e-10 * f) & (decrease > 1e-25 * f))
    assert len(window) > 200, f"reached {decrease.min() / f:.1e} of f"
    assert np.array_equal(window, np.arange(window[0], window[-1] + 1))
    ratios = decrease[window[1:]] / decrease[window[:-1]]
    assert (ratios < 1).all()
    # A step, of the size √decrease, ends in a state that is rounded.
    rounding = 2 * np.finfo(float).eps * np.sqrt(f / decrease[window[1:]])
    assert (np.abs(ratios - np.median(ratios)) < 1e-4 + rounding).all()

    # And they are right: against 60 digits. The state itself is rounded, by ε‖x‖ against ∇f.
    size = np.sqrt(sum(np.sum(array**2) for array in states[-1].values()))
    with localcontext(prec=60):
        for k in window[:: max(1, len(window) // 12)]:
            exact = exact_objective(LINEAR, states[k]) - exact_objective(LINEAR, states[k + 1])
            slack = 4 * EPS * size * trace.subgradient_distance[k]
            assert abs(float(exact) - decrease[k]) <= 1e-6 * decrease[k] + slack
            assert slack < 0.1 * decrease[k]


def test_fixed_point():
    """At a stationary point nothing moves and dist(0, ∂f) is at the rounding of f."""
    trace = LINEAR.solve(max_iter=1200).trace
    floor = 1e-14 * np.sqrt(trace.objective[-1])
    assert trace.subgradient_distance[-1] <= floor
    assert all(norms[-1] <= floor for norms in trace.step_norm.values())
    assert (np.abs(trace.decrease[-10:]) <= floor**2).all()
