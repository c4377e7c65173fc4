"""Scheme E: monotone, A1 with j = 2 for loose constraints, a stall for tight ones.

Every claim is a function that returns (measured, predicted) for each sweep.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import amcore
from amcore.analysis.decrease import sufficient_decrease
from strategies import names, operator

EPS = np.finfo(np.float64).eps
MONOTONE = [
    stem for stem in names("activation") if "monotone" in operator("activation", stem).traits
]


@st.composite
def runs(draw, epsilons=(1e-3, 0.05, 1.0, 30.0)):
    """A problem, a scheme and where to start."""
    widths = draw(st.lists(st.integers(2, 12), min_size=2, max_size=5))
    hidden = [draw(st.sampled_from(MONOTONE)) for _ in widths[2:]]
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    n = draw(st.integers(1, 50))
    problem = amcore.Problem(
        amcore.Network(widths, hidden, bias=draw(st.booleans())),
        rng.standard_normal((n, widths[0])),
        rng.integers(0, widths[-1], n),
        loss=draw(st.sampled_from(names("loss"))),
        loss_scale=draw(st.sampled_from(["sum", "mean"])),
        weight_regularizer=draw(st.sampled_from([None, "ridge", "l1", "group_lasso"])),
    )
    scheme = amcore.MDLAM(
        rho=[10 ** draw(st.floats(-1, 1)) for _ in widths[1:]],
        epsilon=draw(st.sampled_from(epsilons)),
        extrapolate=draw(st.booleans()),
    )
    return problem, scheme, draw(st.integers(0, 99))


def monotone_decrease(trace):
    """(f_k − f_{k+1}, 0): with a fixed ε no block raises F."""
    return -np.diff(trace.objective), 0.0


def constraint(problem, state):
    """(max |V_i − σ_i(U_i)| as it is computed, ε)."""
    apart = [
        np.abs(state[f"V{i}"] - sigma.value(state[f"U{i}"])).max()
        for i, sigma in enumerate(problem.network.activations[:-1], start=1)
    ]
    return max(apart, default=0.0), state["epsilon"].astype(problem.dtype)


def block_decrease(problem, scheme, trace):
    """(f_k − f_{k+1}, δ/2 Σ‖ΔW‖²): a step counts from δ/2‖step‖² on.

    A plain step, of a convex regulariser, falls by at least θ/2‖step‖², far more than that.
    """
    depth = problem.network.depth
    steps = sum(trace.step_norm[f"W{i}"] ** 2 for i in range(1, depth + 1))
    return trace.decrease, scheme.delta / 2 * steps


@given(run=runs())
def test_monotone_and_feasible(run):
    problem, scheme, seed = run
    for step in amcore.iterate(problem, scheme, max_iter=15, seed=seed):
        measured, predicted = constraint(problem, step.state)
        assert measured <= predicted == scheme.epsilon
    f = step.trace.objective
    measured, predicted = monotone_decrease(step.trace)
    assert (measured >= predicted - 1e-13 * f[0]).all()
    measured, predicted = block_decrease(problem, scheme, step.trace)
    assert (measured >= predicted * (1 - 1e-9) - 1e-26 * f[0]).all()
    np.testing.assert_allclose(step.trace.decrease, -np.diff(f), rtol=1e-8, atol=1e-13 * f[0])


def example(epsilon, seed, sweeps, scale=1.0, extrapolate=True):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((60, 6)), scale * rng.standard_normal((60, 3))
    problem = amcore.Problem(amcore.Network([6, 9, 8, 3]), X, Y)
    scheme = amcore.MDLAM(rho=1.0, epsilon=epsilon, extrapolate=extrapolate)
    return amcore.solve(problem, scheme, max_iter=sweeps).trace


@pytest.mark.parametrize("seed", range(3))
def test_loose_constraints_decrease_sufficiently_over_two_sweeps(seed):
    """[X]: A1 with j = 2, here for ε = 1 from the first sweep on."""
    trace = example(1.0, seed, 60)
    condition = sufficient_decrease(trace, j=2)
    assert condition.verdict.verdict == "holds"
    assert condition.k0 == 0 and condition.constant > 1e-3
    assert trace.subgradient_distance[-1] < 1e-2 * trace.subgradient_distance[1]


@pytest.mark.parametrize("seed", range(3))
def test_tight_constraints_stall_away_from_any_stationary_point(seed):
    """ε = 0.01: F is flat to 1e-9, dist(0, ∂F) stays far from 0, and it is reported."""
    trace = example(0.01, seed, 3000, scale=2.0)
    f, g = trace.objective, trace.subgradient_distance
    assert f[-200] - f[-1] < 1e-9 * f[-1]
    assert g[-200:].min() > 10
    # No constant of A1 as large as that of the first sweeps is left.
    ratio = (f[:-2] - f[2:]) / g[2:] ** 2
    assert ratio[-100:].max() < 1e-8 * ratio[:10].min()


def test_the_stall_is_no_artefact_of_the_extrapolation():
    trace = example(0.01, 0, 3000, scale=2.0, extrapolate=False)
    assert trace.subgradient_distance[-1] > 5
