"""Regularisers on the activations of every layer: their blocks, and the schemes that take them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import amcore
from agreement import (
    assert_backends_agree,
    assert_same_record,
    assert_same_state,
    entries_at_kinks,
)
from amcore.reference.block.hidden import regularized_hidden_update
from amcore.reference.block.output import regularized_output_update
from strategies import ACTIVATIONS, DTYPES, LOSSES, names, operator, targets

FEW = settings.default.max_examples // 5
EXACT = {"inner_tol": 1e-13, "inner_steps": 5000}
SCHEMES = {
    "three_split": amcore.ThreeSplitBCD(**EXACT),
    "two_split": amcore.TwoSplitBCD(inner_tol=1e-13, inner_steps=5000),
}
BY_SAMPLE = [stem for stem in names("regularizer") if stem != "l2_ball"]
CONVEX = [stem for stem in BY_SAMPLE if stem != "l0"]
REGULARIZERS = {
    "none": (),
    "ridge": (0.4,),
    "l1": (0.3,),
    "elastic_net": (0.2, 0.5),
    "nonnegative": (),
    "box": (-0.4, 0.7),
    "group_lasso": (0.3, 1),
    "l0": (0.2,),
}


def regularizer(stem, scale=1.0):
    given = REGULARIZERS.get(stem)
    strengths = (
        given if given is None or stem in ("box", "group_lasso") else [scale * x for x in given]
    )
    return operator("regularizer", stem, *(strengths or ()))


def fits(loss, stem):
    return not (loss == "hinge" and stem == "group_lasso")


@st.composite
def problems(draw, stems=tuple(CONVEX)):
    """Networks with a regulariser on each layer's activations, and a scheme that takes them."""
    three = draw(st.booleans())
    depth = draw(st.integers(1, 4))
    width = st.integers(2, 9)
    widths = [draw(width)]
    for _ in range(depth):
        widths.append(draw(st.one_of(st.just(widths[-1]), width)))
    loss = draw(LOSSES)
    chosen = [draw(st.sampled_from(stems)) for _ in range(depth)]
    if not fits(loss, chosen[-1]):
        chosen[-1] = "l1"
    skip = [three and a == b and draw(st.booleans()) for a, b in itertools.pairwise(widths)]
    hidden = [draw(ACTIVATIONS) for _ in range(depth - 1)]
    output = draw(st.one_of(st.just("identity"), ACTIVATIONS))
    net = amcore.Network(widths, hidden, output, skip, draw(st.booleans()))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    n = draw(st.integers(1, 25))
    X = rng.normal(size=(n, widths[0]))
    Y = targets(operator("loss", loss), rng, n, widths[-1])
    problem = amcore.Problem(
        net,
        X,
        Y,
        loss,
        loss_scale=draw(st.sampled_from(["sum", "mean"])),
        activation_regularizer=[
            regularizer(stem, draw(st.sampled_from([0.1, 1, 5]))) for stem in chosen
        ],
    )
    weight = st.sampled_from([0.3, 1.0, 3.0])
    if three:
        scheme = replace(SCHEMES["three_split"], rho=draw(weight))
    else:
        scheme = replace(SCHEMES["two_split"], inner_iters=draw(st.integers(1, 3)))
    return problem, replace(scheme, gamma=draw(weight), alpha=draw(weight))


@given(case=problems())
def test_native_is_the_reference(case):
    """Each sweep from the same state: the state and all that is measured agree."""
    problem, scheme = case
    rng = np.random.default_rng(1)
    shapes, bias = itertools.pairwise(problem.network.widths), problem.network.bias
    init = [
        (rng.normal(size=(b, a)) / np.sqrt(a), rng.normal(size=b) / 4 if bias else None)
        for a, b in shapes
    ]
    start = amcore.solve(problem, scheme, max_iter=0, init=init, backend="reference").state

    def solve(backend, init):
        return amcore.solve(problem, scheme, max_iter=1, init=init, backend=backend)

    def check(native, reference):
        what = f"{problem}, {problem.activation_regularizers}, {scheme}"
        at_kinks = 2 * entries_at_kinks(problem, start, reference.state)
        for k in (0, 1):
            assert_same_record(native.trace.records[k], reference.trace.records[k], what, at_kinks)
        assert_same_state(native.state, reference.state, 1e-9, what)

    for _ in range(3):
        start = assert_backends_agree(solve, start, check).state


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inner_steps", [1, 3, 100])
@settings(max_examples=FEW)
@given(case=problems(tuple(BY_SAMPLE)))
def test_never_rises(inner_steps, dtype, case):
    """Whatever the inner loop does, also for l0."""
    problem, scheme = case
    assume(problem.loss.name != "exponential" or dtype == np.float64)  # overflows
    scheme = replace(scheme, inner_tol=1e-6, inner_steps=inner_steps)
    trace = amcore.solve(problem, scheme, max_iter=6, dtype=dtype).trace
    few = 200 * np.finfo(dtype).eps * trace.objective[0]
    assert (trace.decrease >= -few).all()
    np.testing.assert_allclose(-np.diff(trace.objective), trace.decrease, atol=few)


@given(case=problems(tuple(BY_SAMPLE)))
def test_measured_in_the_sweep_as_at_rest(case):
    problem, scheme = case
    run = amcore.solve(problem, scheme, max_iter=2)
    again = amcore.solve(problem, scheme, max_iter=0, init=run.state).trace
    assert again.objective[0] == pytest.approx(run.trace.objective[-1], rel=1e-12)
    for block, values in again.distance.items():
        size = run.trace.subgradient_distance[-1] + np.sqrt(run.trace.objective[-1])
        assert values[0] == pytest.approx(run.trace.distance[block][-1], abs=1e-9 * size)


def beaten(objective, V, rng, feasible):
    """How much some perturbation of V lowers a function of its entries, at most."""
    least = 0.0
    for size in (1e-4, 1e-2, 0.3, 1.0):
        for _ in range(40):
            trial = feasible(V + size * rng.normal(size=V.shape) * (rng.random(V.shape) < 0.4))
            least = min(least, objective(trial) - objective(V))
    for zeroed in range(V.shape[1]):
        trial = V.copy()
        trial[:, zeroed] = 0
        least = min(least, objective(feasible(trial)) - objective(V))
    return least


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 1), (1, 5)])
@pytest.mark.parametrize("stem", CONVEX)
def test_hidden_block_is_the_minimiser(stem, shape):
    rng = np.random.default_rng(3)
    out, inputs = shape
    S, U = rng.normal(size=(7, inputs)), rng.normal(size=(7, out))
    W, b, s = rng.normal(size=shape), rng.normal(size=out), regularizer(stem).reference
    start = s.prox(rng.normal(size=S.shape), 1.0)
    V = regularized_hidden_update(S, U, W, b, start, 0.7, 1.3, s, 1e-12, 5000)

    def objective(v):
        fit, linear = np.sum((v - S) ** 2), np.sum((U - b - v @ W.T) ** 2)
        return s.value(v) + 0.7 / 2 * fit + 1.3 / 2 * linear

    gradient = 0.7 * (V - S) - 1.3 * (U - b - V @ W.T) @ W
    assert s.subgradient_distance(V, gradient) <= 1e-9
    np.testing.assert_allclose(V, s.prox(V - 0.1 * gradient, 0.1), atol=1e-10)
    assert beaten(objective, V, rng, lambda v: s.prox(v, 1e-12)) >= -1e-11


@pytest.mark.parametrize("loss", names("loss"))
@pytest.mark.parametrize("stem", BY_SAMPLE)
def test_output_block_is_the_minimiser(stem, loss):
    """For l0 globally where ℓ is separable; else a point that no entry's own move improves."""
    if not fits(loss, stem):
        pytest.skip("refused")
    rng = np.random.default_rng(4)
    found, s = operator("loss", loss).reference, regularizer(stem).reference
    Y = targets(found, rng, 9, 4)
    S, old = rng.normal(size=(9, 4)), s.prox(rng.normal(size=(9, 4)), 1e-9)
    V = regularized_output_update(found, 0.9, Y, S, old, 0.7, 0.4, s, 1e-12, 5000)

    def objective(v):
        pulls = 0.7 / 2 * np.sum((v - S) ** 2) + 0.4 / 2 * np.sum((v - old) ** 2)
        return 0.9 * found.value(v, Y) + s.value(v) + pulls

    assert objective(V) <= objective(old)
    if stem != "l0" or "separable" in found.traits:
        assert beaten(objective, V, rng, lambda v: s.prox(v, 1e-12)) >= -1e-11


@pytest.mark.parametrize("loss", names("loss"))
@pytest.mark.parametrize("stem", BY_SAMPLE)
def test_output_block_is_stationary_in_a_run(stem, loss):
    """At depth 1 with γ → the distance of V_N is what U_N and the proximal term have moved."""
    if not fits(loss, stem):
        pytest.skip("refused")
    rng = np.random.default_rng(5)
    net = amcore.Network([3, 4])
    Y = targets(operator("loss", loss), rng, 30, 4)
    problem = amcore.Problem(
        net, rng.normal(size=(30, 3)), Y, loss, activation_regularizer=regularizer(stem)
    )
    scheme = amcore.ThreeSplitBCD(gamma=0.8, alpha=0.5, **EXACT)
    trace = amcore.solve(problem, scheme, max_iter=5).trace
    moved = scheme.alpha * trace.step_norm["V1"] + scheme.gamma * trace.step_norm["U1"]
    assert (trace.distance["V1"][1:] <= moved * (1 + 1e-6) + 1e-9).all()


SAME = {
    "l1(0) is none": (("l1", 0.0), ("none",)),
    "ridge is elastic_net(0, λ)": (("ridge", 0.3), ("elastic_net", 0.0, 0.3)),
    "l1 is elastic_net(λ, 0)": (("l1", 0.3), ("elastic_net", 0.3, 0.0)),
    "a wide box is none": (("box", -1e6, 1e6), ("none",)),
    "a box without bounds is none": (("box", -np.inf, np.inf), ("none",)),
    "nonnegative is a box": (("nonnegative",), ("box", 0.0, np.inf)),
    "group_lasso of one entry is l1": (("group_lasso", 0.3, 1), ("l1", 0.3)),
}


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", SAME)
def test_special_cases(case, scheme, backend):
    rng = np.random.default_rng(6)
    widths = [4, 1, 1] if "one entry" in case else [4, 6, 6, 3]
    skip = [a == b and scheme == "three_split" for a, b in itertools.pairwise(widths)]
    net = amcore.Network(widths, "tanh", skip=skip)
    X, Y = rng.normal(size=(40, 4)), rng.normal(size=(40, widths[-1]))
    one, other = (
        amcore.solve(
            amcore.Problem(net, X, Y, activation_regularizer=operator("regularizer", *given)),
            SCHEMES[scheme],
            max_iter=5,
            backend=backend,
        ).trace
        for given in SAME[case]
    )
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-9)
    np.testing.assert_allclose(one.subgradient_distance, other.subgradient_distance, rtol=1e-6)


def problem_with(*given, loss="squared", n=300, skip=True, **options):
    rng = np.random.default_rng(7)
    net = amcore.Network([5, 8, 8, 3], "relu", skip=[False, skip, False])
    X = rng.normal(size=(n, 5))
    Y = targets(operator("loss", loss), rng, n, 3)
    return amcore.Problem(net, X, Y, loss, activation_regularizer=list(given), **options)


def test_a_sample_does_not_depend_on_the_others():
    """The hidden and the output update of samples alone and among others, bit by bit."""
    whole = problem_with("l1", "box", "l0", loss="cross_entropy")
    start = amcore.solve(whole, amcore.ThreeSplitBCD(), max_iter=1).state
    some = slice(17, 60)
    part = amcore.Problem(
        whole.network, whole.X[some], whole.Y[some], "cross_entropy",
        activation_regularizer=list(whole.activation_regularizers),
    )  # fmt: skip
    few = amcore.State({k: v if k[0] in "Wb" else v[some].copy() for k, v in start.items()})
    scheme = amcore.ThreeSplitBCD()
    all_of_it, alone = (
        amcore.solve(p, scheme, max_iter=1, init=s).state for p, s in ((whole, start), (part, few))
    )
    assert all_of_it["V3"][some].tobytes() == alone["V3"].tobytes()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_sparse_activations_are_exactly_zero(scheme):
    problem = problem_with(*[amcore.regularizers.l1(1.0)] * 3, n=80, skip=scheme == "three_split")
    run = amcore.solve(problem, SCHEMES[scheme], max_iter=30)
    assert min(np.mean(run.state[f"V{i}"] == 0) for i in (1, 2, 3)) > 0.2
    assert run.trace.parts["activation_regularizer"][-1] == pytest.approx(
        sum(np.abs(run.state[f"V{i}"]).sum() for i in (1, 2, 3))
    )


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_start_outside_the_set(backend):
    """The forward pass is projected layer by layer; a given state is refused."""
    problem = problem_with("box", amcore.regularizers.box(-0.1, 0.1), "nonnegative", n=20)
    run = amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=0, backend=backend)
    V1, V2 = run.state["V1"], run.state["V2"]
    assert np.isfinite(run.trace.objective[0])
    assert V1.max() == 1
    W, b = run.weights[1]
    np.testing.assert_allclose(run.state["U2"], V1 @ W.T + b, rtol=1e-12)
    np.testing.assert_allclose(
        V2, np.clip(V1 + np.maximum(run.state["U2"], 0), -0.1, 0.1), rtol=1e-12
    )
    state = run.state.copy()
    state["V2"][3, 1] = 0.2
    with pytest.raises(ValueError, match=r"init V2: expected values in the set of box\(lo=-0.1"):
        amcore.solve(problem, amcore.ThreeSplitBCD(), init=state, backend=backend)


@pytest.mark.parametrize(
    ("given", "loss", "message"),
    [
        (("none", "l2_ball", "none"), "squared", r"l2_ball\(radius=1\) of layer 2 couples"),
        ((regularizer("group_lasso"), operator("regularizer", "group_lasso", 1.0, 0), "none"),
         "squared", r"group_lasso\(lam=1, axis=0\) of layer 2 couples the samples"),
        (("none", "none", "group_lasso"), "hinge", "of the output goes with smooth losses only"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", SCHEMES)
def test_refused(scheme, given, loss, message):
    problem = problem_with(*given, loss=loss, n=20, skip=scheme == "three_split")
    with pytest.raises(ValueError, match=f"activation_regularizer: .*{message}"):
        amcore.solve(problem, SCHEMES[scheme])


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_overflow_names_the_block(layer, backend):
    """Proximal gradient steps from a value that is not finite would stay at the old one."""
    square = amcore.activations.polynomial([0, 0, 1])
    net = amcore.Network([3, 4, 4, 2], [square, square], square)
    X, Y = np.ones((5, 3)), np.eye(2)[[0, 1, 0, 1, 0]]
    problem = amcore.Problem(net, X, Y, "cross_entropy", activation_regularizer="l1")
    run = amcore.iterate(problem, amcore.ThreeSplitBCD(), max_iter=3, backend=backend)
    state = next(run).state
    before = state[f"V{layer}"].copy()
    state[f"U{layer}"][2, 1] = 1e200
    with pytest.raises(amcore.NumericalError) as caught:
        next(run)
    assert caught.value.block in "VU"
    assert caught.value.layer >= layer
    assert layer < 3 or (state["V3"] == before).all()


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_overflow_names_the_block_of_two_split(layer, backend):
    net = amcore.Network([3, 4, 4, 2], "softplus", "softplus")
    X, Y = np.ones((5, 3)), np.eye(2)[[0, 1, 0, 1, 0]]
    problem = amcore.Problem(net, X, Y, "cross_entropy", activation_regularizer="l1")
    run = amcore.iterate(problem, amcore.TwoSplitBCD(), max_iter=3, backend=backend)
    state = next(run).state
    state[f"W{layer}"][0, 1] = np.inf
    before = state[f"V{layer}"].copy()
    with pytest.raises(amcore.NumericalError) as caught:
        next(run)
    assert caught.value.layer >= layer
    assert (state[f"V{layer}"] == before).all()
