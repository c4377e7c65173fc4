"""Numbers that misbehave: a run descends with finite results, or says where it failed."""

import numpy as np
import pytest

import amcore

BACKENDS = ["native", "reference"]
DTYPES = [np.float64, np.float32]
rng = np.random.default_rng(0)
X = rng.standard_normal((20, 4))
Y = rng.standard_normal((20, 3))
NET = amcore.Network([4, 6, 5, 3], ["relu", "tanh"])


def rounding(scheme, problem, state, dtype):
    """What rounding the state to the dtype does to f: each residual by ε times its terms."""
    eps = float(np.finfo(dtype).eps)
    gamma, rho = scheme._couplings(problem.network)
    total, V = 0.0, np.float64(problem.X)
    with np.errstate(over="ignore"):
        for i, (W, b) in enumerate(state.weights, start=1):
            terms = np.linalg.norm(V) * np.linalg.norm(np.float64(W))
            terms += 0 if b is None else np.linalg.norm(np.float64(b)) * np.sqrt(len(V))
            U, V = (np.float64(state[f"{name}{i}"]) for name in "UV")
            total += rho[i - 1] * (terms + np.linalg.norm(U)) ** 2
            total += gamma[i - 1] * (np.linalg.norm(U) + np.linalg.norm(V)) ** 2
    least = float(np.finfo(dtype).smallest_subnormal)
    return 16 * (
        eps**2 * total + least**2 * len(V) * sum(problem.network.widths) * max(gamma + rho)
    )


def descends_or_says_why(problem, scheme, **options):
    """Return the trace if the run came to its end, None if it reported a failure."""
    dtype = problem.dtype
    try:
        run = amcore.solve(problem, scheme, **options)
    except amcore.NumericalError as error:
        assert error.block in ("W", "U", "V", "objective", "distance")
        assert error.sweep is None or error.sweep >= 0
        assert "\n" not in str(error) and len(str(error)) < 250
        if error.block not in ("objective", "distance"):
            assert 1 <= error.layer <= problem.network.depth
            assert f"layer {error.layer}, block {error.block}" in str(error)
        assert error.solution.stop_reason == "failed"
        assert all(np.isfinite(array).all() for array in error.solution.state.values())
        assert np.isfinite(error.solution.trace.objective).all()
        return None
    f = run.trace.objective
    assert np.isfinite(f).all() and np.isfinite(run.trace.subgradient_distance).all()
    assert all(np.isfinite(array).all() for array in run.state.values())
    rose = np.flatnonzero(np.diff(f) > 64 * float(np.finfo(dtype).eps) * f[:-1]) + 1
    assert run.trace.marks == [(sweep, "objective rose") for sweep in rose]
    slack = 8 * float(np.finfo(dtype).eps) * f[:-1] + rounding(scheme, problem, run.state, dtype)
    worst = np.max(np.diff(f) - slack, initial=-np.inf)
    assert worst <= 0, f"the objective rises by {worst:.2e} beyond rounding, f = {f}"
    return run.trace


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "chosen", ["gamma", "rho", "alpha", "gamma and 1/alpha", "gamma and alpha"]
)
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_weights_over_twenty_orders_of_magnitude(activation, chosen, dtype, backend):
    net = amcore.Network(NET.widths, activation)
    problem = amcore.Problem(net, X.astype(dtype), Y.astype(dtype))
    finished = 0
    for exponent in range(-10, 11, 2):
        w = 10.0**exponent
        scheme = amcore.ThreeSplitBCD(
            **{
                "gamma": {"gamma": w, "rho": 1.0},
                "rho": {"rho": w},
                "alpha": {"alpha": w},
                "gamma and 1/alpha": {"gamma": w, "alpha": 1 / w},
                "gamma and alpha": {"gamma": w, "alpha": w},
            }[chosen]
        )
        trace = descends_or_says_why(problem, scheme, max_iter=12, backend=backend)
        finished += trace is not None
        if trace is not None and abs(exponent) <= 4:
            assert trace.objective[-1] < trace.objective[0]
    assert finished >= 9, "hardly any of these is beyond float32, none beyond float64"
    if dtype is np.float64:
        assert finished == 11


DATA = {
    "duplicate samples": (np.repeat(X[:2], 10, axis=0), np.repeat(Y[:2], 10, axis=0)),
    "one sample": (X[:1], Y[:1]),
    "two samples": (X[:2], Y[:2]),
    "fewer samples than inputs": (rng.standard_normal((3, 4)), rng.standard_normal((3, 3))),
    "zero inputs": (np.zeros((20, 4)), Y),
    "zero targets": (X, np.zeros((20, 3))),
    "all zero": (np.zeros((20, 4)), np.zeros((20, 3))),
    "zero column": (X * [1, 0, 1, 1], Y),
    "constant column": (np.where([0, 1, 0, 0], 7.0, X), Y),
    "equal columns": (X[:, [0, 0, 0, 0]], Y),
    "constant targets": (X, np.full((20, 3), 2.5)),
    "large offset": (X + 1e6, Y),
    "columns of unlike scale": (X * [1e-6, 1, 1e6, 1e3], Y),
    "one outlier": (np.where(np.arange(20)[:, None] == 3, 1e5 * X, X), Y),
    "negative zeros": (-np.zeros((20, 4)), -np.zeros((20, 3))),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("bias", [True, False])
def test_degenerate_data(bias, data, dtype, backend):
    inputs, outputs = (array.astype(dtype) for array in DATA[data])
    net = amcore.Network([4, 6, 6, 3], ["relu", "tanh"], skip=True, bias=bias)
    problem = amcore.Problem(net, inputs, outputs)
    for alpha in (1.0, 1e-6):
        trace = descends_or_says_why(
            problem, amcore.ThreeSplitBCD(alpha=alpha), max_iter=12, backend=backend
        )
        if dtype is np.float64 and alpha == 1.0:
            assert trace is not None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [1e-310, 1e-150, 1e-75, 1e75, 1e150, 1e160])
def test_numbers_at_the_ends_of_float64(scale, backend):
    for x, y in ((X * scale, Y), (X, Y * scale), (X * scale, Y * scale)):
        problem = amcore.Problem(NET, x, y)
        trace = descends_or_says_why(problem, amcore.ThreeSplitBCD(), max_iter=5, backend=backend)
        if scale <= 1e75:
            assert trace is not None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [1e-18, 1e-12, 1e10, 1e18, 1e25])
def test_numbers_at_the_ends_of_float32(scale, backend):
    for x, y in ((X * scale, Y), (X, Y * scale), (X * scale, Y * scale)):
        problem = amcore.Problem(NET, x.astype(np.float32), y.astype(np.float32))
        trace = descends_or_says_why(problem, amcore.ThreeSplitBCD(), max_iter=5, backend=backend)
        if scale < 1e12:
            assert trace is not None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-25])
def test_float32_numbers_whose_squares_vanish(scale, backend):
    """Where squares underflow nothing tells the pieces of an activation apart: finite only."""
    problem = amcore.Problem(NET, np.float32(X * scale), np.float32(Y * scale))
    run = amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=5, backend=backend)
    assert np.isfinite(run.trace.objective).all()
    assert all(np.isfinite(array).all() for array in run.state.values())
    assert run.trace.objective.max() <= 2 * run.trace.objective[0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e15])
@pytest.mark.parametrize("loss", ["squared", "cross_entropy", "hinge"])
def test_extreme_initial_weights(loss, scale, dtype, backend):
    labels = np.arange(20) % 3
    problem = amcore.Problem(NET, X.astype(dtype), labels, loss=loss)
    start = amcore.initialization.gaussian(scale)
    trace = descends_or_says_why(
        problem, amcore.ThreeSplitBCD(), max_iter=6, init=start, backend=backend
    )
    if scale <= 1:
        assert trace is not None


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_failure_names_its_place_and_keeps_the_last_state(backend):
    """X with one huge sample and next to no proximal weight: the Gram matrix has rank one."""
    inputs = X.copy()
    inputs[0] = 1e12
    problem = amcore.Problem(amcore.Network([4, 3], bias=False), inputs * 0 + inputs[0], Y)
    with pytest.raises(amcore.NumericalError) as caught:
        amcore.solve(problem, amcore.ThreeSplitBCD(alpha=1e-20), max_iter=5, backend=backend)
    error = caught.value
    assert (error.layer, error.block, error.sweep) == (1, "W", 1)
    assert all(np.isfinite(array).all() for array in error.solution.state.values())
    assert error.solution.trace.objective.shape == (1,)
    assert error.condition > 1e15


@pytest.mark.parametrize("dtype", DTYPES)
def test_settings_that_diverge_elsewhere(dtype):
    """γ = 10, α = 1e-3 on a deep narrow relu network: descent, in either type or with a reason."""
    inputs = np.abs(rng.standard_normal((300, 30))).astype(dtype)
    net = amcore.Network([30, *[20] * 9, 5])
    problem = amcore.Problem(net, inputs, rng.integers(0, 5, 300))
    for alpha in (1e-3, 1.0):
        scheme = amcore.ThreeSplitBCD(gamma=10.0, alpha=alpha)
        start = amcore.initialization.gaussian(0.01, bias=0.1)
        trace = descends_or_says_why(problem, scheme, max_iter=25, init=start)
        if dtype is np.float64:
            assert trace is not None and trace.objective[-1] < trace.objective[0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("scheme", "dtype"),
    [
        (amcore.ThreeSplitBCD(rho=1e12), np.float32),
        (amcore.ThreeSplitBCD(gamma=1e-12, rho=1e12, alpha=1e-12), np.float64),
    ],
)
def test_sweeps_that_raise_the_objective_are_marked(scheme, dtype, backend):
    """Penalties beyond 1/ε make f what rounding leaves of the residuals: no sweep can lower it."""
    problem = amcore.Problem(NET, X.astype(dtype), Y.astype(dtype))
    trace = descends_or_says_why(problem, scheme, max_iter=60, seed=0, backend=backend)
    assert trace.marks
    if backend == "native":
        (run,) = amcore.solve_many(problem, scheme, seed=[0], max_iter=60)
        assert run.trace.marks == trace.marks
    assert not amcore.solve(
        problem, amcore.ThreeSplitBCD(), max_iter=60, backend=backend
    ).trace.marks


ADVICE = {
    amcore.ThreeSplitBCD(
        rho=1e12, alpha=1e-12
    ): "increase alpha or the ridge of weight_regularizer",
    amcore.TwoSplitBCD(
        gamma=1e12, alpha=1e-12
    ): "increase alpha or the ridge of weight_regularizer",
    amcore.ADMM(): "increase the ridge of weight_regularizer",
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", ADVICE)
def test_advice_fits_scheme_and_dtype(scheme, dtype):
    """Equal columns make the system of the weights singular; both backends say the same."""
    problem = amcore.Problem(amcore.Network([8, 3, 3], "tanh"), np.repeat(X, 2, axis=1), Y)
    said = set()
    for backend in BACKENDS:
        with pytest.raises(amcore.NumericalError) as caught:
            amcore.solve(problem, scheme, max_iter=3, seed=0, dtype=dtype, backend=backend)
        assert caught.value.condition > 1e10
        message, _, place = str(caught.value).partition(" (")
        said.add((message, place.partition(", condition")[0]))
    ((message, place),) = said
    assert place == "layer 1, block W, sweep 1"
    told, _, advice = message.partition("; ")
    assert told == "the least-squares system of the weights is not positive definite to rounding"
    assert advice == ADVICE[scheme] + (" or use float64" if dtype == np.float32 else "")
