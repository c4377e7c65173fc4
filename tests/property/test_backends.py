"""The compiled core against its definition in NumPy, over networks of every pattern."""

import numpy as np
import pytest
from hypothesis import given, settings

import amcore
from agreement import assert_same_record, assert_same_state
from strategies import Case, cases

FEW = settings.default.max_examples // 5


@given(case=cases())
def test_twenty_sweeps(case):
    """Objectives agree to 1e-9 over 20 sweeps, and decrease at every sweep."""
    traces = [case.solve(max_iter=20, backend=b).trace for b in ("native", "reference")]
    np.testing.assert_allclose(traces[0].objective, traces[1].objective, rtol=1e-9)
    for trace in traces:
        f = trace.objective
        assert (np.diff(f) <= 1e-14 * f[:-1]).all()  # equality to rounding once it has converged
        assert (trace.decrease >= -1e-14 * f[:-1]).all()
        moving = trace.decrease > 1e-12 * f[:-1]
        assert (np.diff(f)[moving] < 0).all()


def conditioning(case, state, X):
    """Worst condition number of the least-squares systems of a sweep."""
    V, worst = X, 1.0
    for i in range(1, case.depth + 1):
        W = np.float64(state[f"W{i}"])
        inputs = np.column_stack([V, np.ones(len(V))]) if case.bias else V
        largest = np.linalg.norm(inputs, 2) ** 2
        worst = max(worst, 1 + case.rho[i - 1] * largest / case.alpha)
        if i > 1:
            worst = max(worst, 1 + case.rho[i - 1] / case.gamma[i - 2] * np.linalg.norm(W, 2) ** 2)
        V = np.float64(state[f"V{i}"])
    return worst


@given(case=cases(max_depth=4))
def test_float32_is_near_float64(case):
    """One sweep in float32 against the definition in float64, from the same numbers.

    Every block solves least-squares systems of condition number κ with data rounded to
    ε = 1e-7: relative errors of the state are of the order ε κ at worst, carried on through three
    blocks per layer. The objective is at a minimum of each block, so the error of a block enters it
    squared, beside the rounding ε of the data.
    """
    case = case.with_(dtype="float32", grid=False)
    start = case.solve(max_iter=0).state
    wide = amcore.State({name: np.float64(array) for name, array in start.items()})
    runs = {}
    for dtype, init in (("float32", start), ("float64", wide)):
        backend = "native" if dtype == "float32" else "reference"
        runs[dtype] = amcore.solve(
            case.problem(), case.scheme(), max_iter=1, init=init, dtype=dtype, backend=backend
        )
    single, exact = runs["float32"], runs["float64"]
    assert {array.dtype for array in single.state.values()} == {np.dtype(np.float32)}
    eps = np.finfo(np.float32).eps
    kappa = conditioning(case, wide, np.float64(case.problem().X))
    np.testing.assert_allclose(
        single.trace.objective, exact.trace.objective, rtol=1e2 * eps, atol=1e2 * eps
    )
    assert_same_state(single.state, exact.state, min(0.05, 10 * eps * kappa + 1e3 * eps), str(case))


@given(case=cases(max_depth=4))
def test_float32_objective_falls_with_the_definition(case):
    """Ten free sweeps in float32 stay near those in float64."""
    case = case.with_(dtype="float32", grid=False)
    single = case.solve(max_iter=10).trace
    exact = case.solve(max_iter=10, dtype="float64", backend="reference").trace
    np.testing.assert_allclose(single.objective, exact.objective, rtol=2e-3)
    eps = np.finfo(np.float32).eps
    assert (np.diff(single.objective) <= 20 * eps * single.objective[:-1]).all()


@given(case=cases(max_depth=3, max_samples=700))
@settings(max_examples=FEW)
def test_reference_in_float32_too(case):
    case = case.with_(dtype="float32", grid=False)
    single = case.solve(max_iter=3, backend="reference")
    exact = case.solve(max_iter=3, backend="reference", dtype="float64")
    assert {array.dtype for array in single.state.values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(single.trace.objective, exact.trace.objective, rtol=2e-3)


WIDE = Case(
    widths=(300, 270, 290, 7),
    activations=("relu", "hard_tanh", "identity"),
    skip=(False, False, False),
    bias=True,
    loss="cross_entropy",
    loss_scale="sum",
    lam=(0.0, 0.1, 0.0),
    n=400,
    gamma=(1.0, 0.5, 2.0),
    rho=(2.0, 1.0, 0.5),
    alpha=0.7,
    num_threads=2,
    seed=5,
    grid=False,
)


def test_wide_layers():
    """Wider than a register block, a panel and the kernel's depth."""
    runs = [WIDE.solve(max_iter=2, backend=b) for b in ("native", "reference")]
    assert_same_state(runs[0].state, runs[1].state, 1e-9, "wide")
    for k in range(3):
        assert_same_record(runs[0].trace.records[k], runs[1].trace.records[k], "wide")


def sparse_images(rng, n, features):
    """Blocks of zeros, as images have them; features, samples and groups of them that are dense."""
    X = rng.random((n, features)) + 0.1
    for j in range(0, n, 12):
        X[j : j + 12, rng.random(features) < 0.6] = 0
    X[rng.random(n) < 0.6, :30] = 0
    X[:, 31] = 0
    X[12:24] += 1
    X[40:60] = 0
    return X


@pytest.mark.parametrize(
    "scheme",
    [
        amcore.ThreeSplitBCD(alpha=0.3),
        amcore.TwoSplitBCD(alpha=0.3),
        amcore.ADMM(beta=(100.0, 60.0, 4.0)),
        amcore.MDLAM(epsilon=0.5),
    ],
    ids=lambda scheme: type(scheme).__name__,
)
@pytest.mark.parametrize("n", [131, 700])
def test_zeros_of_the_input_are_left_out_of_products(scheme, n):
    rng = np.random.default_rng(n)
    X, Y = sparse_images(rng, n, 70), rng.standard_normal((n, 3))
    net = amcore.Network([70, 37, 20, 3], activation="tanh")
    problem = amcore.Problem(net, X, Y)
    runs = [
        amcore.solve(problem, scheme, max_iter=3, seed=1, backend=b)
        for b in ("native", "reference")
    ]
    for name, expected in runs[1].state.items():
        np.testing.assert_allclose(runs[0].state[name], expected, 1e-9, 1e-11, err_msg=name)
    for k in range(4):
        assert_same_record(runs[0].trace.records[k], runs[1].trace.records[k], str(scheme))
    np.testing.assert_allclose(runs[0].predict(X), runs[1].predict(X), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("scheme", "regularizer"),
    [
        (amcore.ThreeSplitBCD(alpha=0.3), "none"),
        (amcore.ThreeSplitBCD(alpha=0.3), "l1"),
        (amcore.TwoSplitBCD(alpha=0.3), "none"),
        (amcore.ADMM(beta=(100.0, 60.0, 4.0)), "none"),
        (amcore.MDLAM(epsilon=0.5), "l1"),
        *(
            (scheme, regularizer)
            for scheme in (amcore.ThreeSplitBCD(alpha=0.3), amcore.MDLAM(epsilon=0.5))
            for regularizer in (
                amcore.regularizers.group_lasso(0.5, axis=0),
                amcore.regularizers.group_lasso(0.5, axis=1),
                amcore.regularizers.l2_ball(3.0),
            )
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else type(x).__name__,
)
def test_layers_wider_than_a_group_of_panels(scheme, regularizer):
    rng = np.random.default_rng(5)
    X, Y = rng.standard_normal((400, 37)), rng.standard_normal((400, 3))
    net = amcore.Network([37, 290, 235, 3], activation="tanh")  # systems that two threads share
    problem = amcore.Problem(net, X, Y, weight_regularizer=regularizer)
    start = amcore.solve(problem, scheme, max_iter=0, seed=1, backend="reference").state
    for name, array in start.items():
        if name[0] in "UV":  # so that every block moves
            array += rng.uniform(-0.1, 0.1, array.shape)
    runs = [
        amcore.solve(problem, scheme, max_iter=2, init=start, backend=b, num_threads=threads)
        for b, threads in (("native", 1), ("native", 2), ("reference", None))
    ]
    assert_same_state(runs[0].state, runs[1].state, 0, "threads")
    assert_same_state(runs[0].state, runs[2].state, 1e-9, str(scheme))
    for k in range(3):
        assert_same_record(runs[0].trace.records[k], runs[2].trace.records[k], str(scheme))


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "every other row and column": lambda A: np.repeat(np.repeat(A, 2, 0), 2, 1)[::2, ::2],
    "reversed": lambda A: A[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": lambda A: _read_only(A),
    "other byte order": lambda A: A.astype(A.dtype.newbyteorder()),
    "unaligned": lambda A: _unaligned(A),
    "a list": lambda A: A.tolist(),
    "broadcast": lambda A: np.broadcast_to(A, (1, *A.shape))[0],
}


def _read_only(A):
    A = A.copy()
    A.flags.writeable = False
    return A


def _unaligned(A):
    raw = np.empty(A.nbytes + 1, np.uint8)
    view = raw[1:].view(A.dtype).reshape(A.shape)
    view[...] = A
    return view


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_any_layout_gives_the_same_bits(backend, layout):
    rng = np.random.default_rng(4)
    X, Y = rng.standard_normal((30, 4)), rng.standard_normal((30, 3))
    net = amcore.Network([4, 5, 3], activation="tanh")
    weights = [(rng.standard_normal((5, 4)), np.ones(5)), (rng.standard_normal((3, 5)), np.ones(3))]
    scheme = amcore.ThreeSplitBCD(gamma=0.5, alpha=0.2)
    expected = amcore.solve(
        amcore.Problem(net, X, Y), scheme, max_iter=4, init=weights, backend=backend
    )
    change = LAYOUTS[layout]
    problem = amcore.Problem(net, change(X), change(Y))
    start = [(change(W), b) for W, b in weights]
    run = amcore.solve(problem, scheme, max_iter=4, init=start, backend=backend)
    np.testing.assert_array_equal(run.trace.objective, expected.trace.objective)
    for name, array in expected.state.items():
        np.testing.assert_array_equal(run.state[name], array)
    np.testing.assert_array_equal(run.predict(change(X)), expected.predict(X))


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, bool])
def test_integers_are_taken_as_float64(dtype):
    rng = np.random.default_rng(6)
    X, Y = rng.integers(0, 2, (20, 4)), rng.integers(0, 3, 20)
    net, scheme = amcore.Network([4, 5, 3]), amcore.ThreeSplitBCD()
    given, expected = (
        amcore.solve(amcore.Problem(net, x, Y), scheme, max_iter=3)
        for x in (X.astype(dtype), X.astype(np.float64))
    )
    np.testing.assert_array_equal(given.trace.objective, expected.trace.objective)
