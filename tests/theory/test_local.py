"""The local certificate: at the limit of a run what the run says when it goes on to it."""

import json

import numpy as np
import pytest

import amcore
from amcore.analysis.local import lanczos, local_certificate, sweep_rate


def problem(activation="sigmoid", n=8, lam=1.0):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, 2))
    network = amcore.Network([2, 3, 1], activation=activation)
    ridge = amcore.regularizers.ridge(lam)
    return amcore.Problem(network, X, np.sin(X[:, :1]), weight_regularizer=ridge)


THREE = amcore.ThreeSplitBCD(alpha=0.02)
CASES = {
    "relu": (problem("relu"), THREE, 400),
    "sigmoid": (problem("sigmoid", 20, 0.2), amcore.TwoSplitBCD(alpha=0.05), 1500),
}


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_run_continued_to_convergence(case):
    *given, sweeps = CASES[case]
    run = amcore.solve(*given, max_iter=sweeps, seed=1, num_threads=1)
    state = run.state.copy()
    local = local_certificate(run)
    assert local.verdict.verdict == "holds", local.verdict.reason
    for name, array in state.items():
        np.testing.assert_array_equal(run.state[name], array)

    more = amcore.solve(*given, init=run.state, trace=run.trace, max_iter=3 * sweeps)
    f, g, K = more.trace.objective, more.trace.subgradient_distance, len(run.trace)
    gap = f - f[-1]
    assert local.f_star == pytest.approx(f[-1], rel=1e-9)
    assert gap[K] <= local.remainder
    # θ, by the slope of log g over log(f − f*), and the factors of steps and of f.
    asymptotic = np.flatnonzero((gap < 1e-1 * gap[K]) & (gap > 1e-12 * f[-1]))
    assert asymptotic.size > 20
    slope = np.polyfit(np.log(gap[asymptotic]), np.log(g[asymptotic]), 1)[0]
    assert slope == pytest.approx(local.theta, rel=0.02)
    first, last = asymptotic[[0, -1]]
    eta = (gap[last] / gap[first]) ** (1 / (last - first))
    assert 1 - eta == pytest.approx(1 - local.eta, rel=0.02)
    assert 1 - local.rate.factor == pytest.approx(1 - np.sqrt(eta), rel=0.02)
    # μ, at the end point that has converged.
    there = local_certificate(more)
    assert there.mu == pytest.approx(local.mu, rel=0.02)
    assert local.c == pytest.approx(1 / np.sqrt(2 * there.mu), rel=0.02)
    # The KL inequality with c holds on the way, to the order it is of.
    assert (np.sqrt(gap[asymptotic]) <= 1.02 * local.c * g[asymptotic]).all()


def test_of_many_variables_krylov_spaces_tell_the_same(monkeypatch):
    *given, sweeps = CASES["sigmoid"]
    run = amcore.solve(*given, max_iter=sweeps, seed=1)
    formed = local_certificate(run)
    monkeypatch.setattr("amcore.analysis.local.DENSE", 10)
    local = local_certificate(run)
    assert local.verdict.verdict == "holds" and local.kernel is None
    assert local.mu == pytest.approx(formed.mu, rel=1e-3)
    assert local.f_star == pytest.approx(formed.f_star, rel=1e-12)
    assert local.rate.factor == pytest.approx(formed.rate.factor, rel=1e-5)


def test_what_is_no_smooth_function_in_its_pattern_is_undecided():
    p = problem()
    cases = {
        "constraints or multipliers": (p, amcore.MDLAM()),
        "has kinks": (
            amcore.Problem(p.network, p.X, p.Y, weight_regularizer="l1"), amcore.ThreeSplitBCD()
        ),
    }  # fmt: skip
    for reason, given in cases.items():
        local = local_certificate(amcore.solve(*given, max_iter=3))
        assert local.verdict.verdict == "undecided" and reason in local.verdict.reason


def test_far_from_a_critical_point_nothing_is_said():
    local = local_certificate(amcore.solve(problem("relu", 10, 0.01), THREE, max_iter=2))
    assert local.verdict.verdict == "undecided" and local.mu is None


def test_minimisers_that_form_a_manifold():
    """What a unit that is off takes from its bias it gives to its U."""
    run = amcore.solve(problem("relu"), THREE, max_iter=1200, seed=1)
    local = local_certificate(run)
    assert local.kernel > 0 and local.rank + local.kernel == local.variables
    assert local.orders and all(np.isinf(local.orders))
    assert local.theta == 0.5


def test_a_sweep_that_extrapolates_has_no_factor():
    run = amcore.solve(problem("relu"), amcore.MDLAM(), max_iter=5)
    assert sweep_rate(run).verdict.verdict == "undecided"


def test_finite_length():
    run = amcore.solve(problem("relu"), THREE, max_iter=600, seed=1)
    more = amcore.solve(problem("relu"), THREE, init=run.state, trace=run.trace, max_iter=1500)
    rate = local_certificate(run).rate
    steps = more.trace.step_length
    assert rate.length == pytest.approx(steps[:600].sum())
    assert rate.tail == pytest.approx(steps[600:].sum(), rel=0.05)


def test_certify_looks_at_the_end_point_where_asked_to(tmp_path):
    run = amcore.solve(problem("relu"), THREE, max_iter=400, seed=1)
    assert amcore.certify(run).local is None
    cert = amcore.certify(run, local=True)
    assert cert.local.verdict.verdict == "holds" and "At the end point holds" in str(cert)
    assert all(len(line) <= 79 for line in str(cert).splitlines())
    cert.to_json(tmp_path / "cert.json")
    told = json.loads((tmp_path / "cert.json").read_text())["local"]
    assert told["mu"] == cert.local.mu and told["rate"]["factor"] == cert.local.rate.factor
    for given in (run.trace, None):
        with pytest.raises(TypeError, match="local: expected a run"):
            amcore.certify(given, objective=None if given else [1.0], local=True)


def test_lanczos_finds_the_ends_of_a_spectrum():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((200, 200)))[0]
    spectrum = np.concatenate([[0.01], np.linspace(1, 3, 198), [7]])
    H = (Q * spectrum) @ Q.T
    values, vectors, residuals = lanczos(lambda v: H @ v, rng.standard_normal(200), 60)
    for k in (0, -1):
        assert values[k] == pytest.approx(spectrum[k], abs=1e-8)
        assert np.linalg.norm(H @ vectors[:, k] - values[k] * vectors[:, k]) <= 1e-4
        assert residuals[k] <= 1e-4
