"""Every regulariser on the weights of every layer: the proximal weight block."""

import numpy as np
import pytest

import amcore
from strategies import DTYPES, names, operator

STEMS = names("regularizer")
EXACT = {"inner_tol": 1e-11, "inner_steps": 3000}


def problem(stem, seed, bias=True, dtype=np.float64):
    rng = np.random.default_rng(seed)
    net = amcore.Network([5, 7, 6, 3], activation=["relu", "tanh"], bias=bias)
    X = (rng.normal(size=(60, 5)) + 1).astype(dtype)  # off the origin: the bias matters
    Y = rng.normal(size=(60, 3)).astype(dtype)
    return amcore.Problem(net, X, Y, weight_regularizer=operator("regularizer", stem))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stem", STEMS)
def test_native_is_the_reference(stem, bias):
    scheme = amcore.ThreeSplitBCD(gamma=1.3, alpha=0.4, **EXACT)
    native, reference = (
        amcore.solve(problem(stem, 1, bias), scheme, max_iter=4, seed=2, backend=backend).trace
        for backend in ("native", "reference")
    )
    np.testing.assert_allclose(native.objective, reference.objective, rtol=1e-7)
    np.testing.assert_allclose(
        native.subgradient_distance, reference.subgradient_distance, rtol=1e-4
    )
    np.testing.assert_allclose(native.decrease, reference.decrease, rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stem", STEMS)
def test_descent_and_accurate_decrease(stem, dtype):
    """Whatever the inner loop's tolerance, a sweep falls by its proximal terms at least."""
    eps = np.finfo(dtype).eps
    for inner_steps in (1, 3, 200):
        scheme = amcore.ThreeSplitBCD(alpha=0.5, inner_steps=inner_steps)
        run = amcore.solve(problem(stem, 3, dtype=dtype), scheme, max_iter=12)
        trace = run.trace
        f = trace.objective
        assert np.isfinite(f).all()
        predicted = sum(scheme.alpha / 2 * trace.step_norm[f"W{i}"] ** 2 for i in (1, 2, 3))
        assert (trace.decrease >= predicted - 50 * eps * f[:-1]).all()
        np.testing.assert_allclose(f[:-1] - f[1:], trace.decrease, atol=100 * eps * f[0])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stem", STEMS)
def test_last_weight_block_is_stationary(stem, bias):
    """W_1 is updated last: what is left of its subdifferential is the proximal term's gradient."""
    scheme = amcore.ThreeSplitBCD(alpha=0.7, **EXACT)
    trace = amcore.solve(problem(stem, 4, bias), scheme, max_iter=3).trace
    prox_gradient = scheme.alpha * trace.step_norm["W1"]
    # For l0 it is less: ∂r is the whole line wherever an entry is 0.
    assert (trace.distance["W1"][1:] <= prox_gradient * (1 + 1e-5)).all()


@pytest.mark.parametrize("stem", STEMS)
def test_measured_in_the_sweep_as_at_rest(stem):
    run = amcore.solve(problem(stem, 5), amcore.ThreeSplitBCD(), max_iter=4)
    again = amcore.solve(problem(stem, 5), amcore.ThreeSplitBCD(), max_iter=0, init=run.state).trace
    assert again.objective[0] == pytest.approx(run.trace.objective[-1], rel=1e-13)
    for block, values in again.distance.items():
        size = run.trace.subgradient_distance[-1]
        assert values[0] == pytest.approx(run.trace.distance[block][-1], abs=1e-11 * size)


def test_sparse_weights_are_exactly_zero():
    run = amcore.solve(
        problem("l1", 6), amcore.ThreeSplitBCD(alpha=0.1), max_iter=100, init="xavier"
    )
    shares = [np.mean(run.state[f"W{i}"] == 0) for i in (1, 2, 3)]
    assert max(shares) > 0.2


@pytest.mark.parametrize("stem", ["nonnegative", "box", "l2_ball"])
def test_start_outside_the_set(stem):
    """A rule's weights are projected; given ones are refused by name."""
    given = problem(stem, 7)
    outside = [(np.full((b, a), -9.0), np.zeros(b)) for a, b in ((5, 7), (7, 6), (6, 3))]
    with pytest.raises(ValueError, match="init W1: expected weights in the set of"):
        amcore.solve(given, amcore.ThreeSplitBCD(), init=outside)
    assert np.isfinite(amcore.solve(given, amcore.ThreeSplitBCD(), max_iter=2).trace.objective[0])
