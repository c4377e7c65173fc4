"""Scheme D: the invariants of a sweep, sufficient decrease where it holds and where it does not.

Every claim is a function that returns (measured, predicted) for each sweep.
"""

import numpy as np
import pytest

import amcore
from amcore.analysis import sufficient_decrease

BACKENDS = ["native", "reference"]
GRADED = (100.0, 60.0, 4.0)


def problem(lam, loss="squared", loss_scale="sum", seed=0, activation="sigmoid", bias=True):
    rng = np.random.default_rng(seed)
    net = amcore.Network([6, 9, 8, 3], activation, bias=bias)
    X, Y = rng.standard_normal((60, 6)), 0.3 * rng.standard_normal((60, 3))
    ridge = amcore.regularizers.ridge(lam)
    return amcore.Problem(net, X, Y, loss, loss_scale=loss_scale, weight_regularizer=ridge)


def last_multiplier(given, state):
    """(Λ_N, c(V_N − Y)): what the optimality of V_N leaves of the multiplier's step."""
    c = 1 if given.loss_scale == "sum" else 1 / given.n_samples
    N = given.network.depth
    return state[f"Lambda{N}"], c * (state[f"V{N}"] - given.Y)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss_scale", ["sum", "mean"])
@pytest.mark.parametrize(("beta", "lam"), [(GRADED, 1.0), (0.3, 1e-3), (1.0, 1e-6), (1e3, 0.1)])
def test_last_multiplier(beta, lam, loss_scale, backend):
    """After every sweep, for any penalties, also where the iterates grow."""
    given = problem(lam, loss_scale=loss_scale)
    for step in amcore.iterate(given, amcore.ADMM(beta=beta), max_iter=30, backend=backend):
        measured, predicted = last_multiplier(given, step.state)
        beta_N = np.atleast_1d(beta)[-1]  # Λ_N comes from terms β_N V_N
        scale = np.abs(predicted).max() + beta_N * np.abs(step.state["V3"]).max()
        assert np.abs(measured - predicted).max() <= 1e-13 * scale


def one_step(given, scheme, old, new):
    """Zeng, Lin, Yao, Zhou (2021), Lemma 15: (L_k − L_{k+1}, its lower bound), and the scale of L.

    L_k − L_{k+1} ≥ Σ (λ/2 ‖ΔW_i‖² + β_i h_i/2 ‖ΔW_i V_{i−1}‖²) + Σ_{i<N} β_i/2 ‖ΔV_i‖²
    − Σ β_i⁻¹ ‖ΔΛ_i‖², with V_{i−1} before the sweep and h_i at the T_i before it.
    """
    bound, V, N = 0.0, given.X, given.network.depth
    beta = np.broadcast_to(scheme.beta, N)
    for i, (sigma, ridge) in enumerate(
        zip(given.network.activations, given.weight_regularizers, strict=True), start=1
    ):
        of = sigma.reference
        majorizer = of.majorizer if scheme.majorizer == "tight" else of.published_majorizer
        T = old.state[f"V{i}"] - old.state[f"Lambda{i}"] / beta[i - 1]
        h = majorizer(majorizer.distance(T))
        (W, b), (W_new, b_new) = old.weights[i - 1], new.weights[i - 1]
        change = V @ (W_new - W).T + (0 if b is None else b_new - b)
        lam = ridge.reference.curvature
        bound += lam / 2 * np.sum((W_new - W) ** 2) + beta[i - 1] * h / 2 * np.sum(change**2)
        V = old.state[f"V{i}"]
        if i < N:
            bound += beta[i - 1] / 2 * np.sum((new.state[f"V{i}"] - V) ** 2)
        bound -= np.sum((new.state[f"Lambda{i}"] - old.state[f"Lambda{i}"]) ** 2) / beta[i - 1]
    lagrangians = [run.trace.monitors["lagrangian"][-1] for run in (old, new)]
    scale = max(sum(abs(part[-1]) for part in run.trace.parts.values()) for run in (old, new))
    return lagrangians[0] - lagrangians[1], bound, scale


@pytest.mark.parametrize("majorizer", ["published", "tight"])
@pytest.mark.parametrize(
    ("beta", "lam", "loss", "activation", "bias"),
    [
        (GRADED, 1.0, "squared", "sigmoid", True),
        (10.0, 1e-3, "squared", "tanh", True),
        (0.1, 1e-2, "huber", "sigmoid", False),
        ((1.0, 5.0, 30.0), 0.1, "squared", ["tanh", "identity"], True),
    ],
)
def test_one_step_inequality(beta, lam, loss, activation, bias, majorizer):
    """For any β and λ, descent or not."""
    given = problem(lam, loss, activation=activation, bias=bias)
    scheme = amcore.ADMM(beta=beta, majorizer=majorizer)
    old, slack = amcore.solve(given, scheme, max_iter=0), []
    for _ in range(40):
        new = amcore.solve(given, scheme, max_iter=1, init=old.state)
        measured, predicted, scale = one_step(given, scheme, old, new)
        assert measured >= predicted - 1e-12 * scale
        slack.append((measured - predicted) / scale)
        old = new
    assert min(slack) < 0.1  # the bound is not idle


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("backend", BACKENDS)
def test_graded_penalties_satisfy_a1_from_the_first_sweep(backend, seed):
    scheme = amcore.ADMM(beta=GRADED, dual_init="backprop")
    trace = amcore.solve(problem(1.0, seed=seed), scheme, max_iter=300, backend=backend).trace
    found = sufficient_decrease(trace, 1)
    assert found.k0 == 0 and found.violations == 0
    assert found.constant > 2e-4
    assert (trace.decrease > 0).all()


def test_graded_penalties_close_the_constraints():
    scheme = amcore.ADMM(beta=GRADED, dual_init="backprop")
    trace = amcore.solve(problem(1.0), scheme, max_iter=3000, measure_every=3000).trace
    residuals = [trace.monitors[f"primal{i}"] for i in (1, 2, 3)]
    assert max(r[1:].max() for r in residuals) > 1e-2 and max(r[-1] for r in residuals) < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_penalties_with_little_ridge_fail_a1(backend):
    for dual_init in ("zero", "backprop"):
        scheme = amcore.ADMM(beta=(10.0, 10.0, 10.0), dual_init=dual_init)
        trace = amcore.solve(problem(1e-3), scheme, max_iter=300, backend=backend).trace
        found = sufficient_decrease(trace, 1)
        assert found.violations > 0 and found.verdict.verdict == "fails"
        assert (trace.decrease < 0).any()
