"""A certificate says nothing that the rest of the run contradicts, and nothing without evidence."""

import sys
from pathlib import Path

import numpy as np
import pytest

import amcore
from amcore.analysis import certify, certify_many
from amcore.trace import Record, Trace

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

k = np.arange(400.0)


def test_families_of_known_truth():
    bench = pytest.importorskip("bench_certificate")
    result = bench.known_truth(bench.FAMILIES, range(1, 2))
    assert result["errors"] == [] and result["bounds_broken"] == 0
    for name, row in result["properties"].items():
        assert row["right_of_decided"] >= 0.97, (name, row)
        assert row["decided"] >= 0.8, (name, row)
    for name, interval in result["coverage"].items():
        assert interval["share"] >= 0.93, (name, interval)


@pytest.mark.parametrize("scale", [1.0, 100.0, 1000.0])
def test_a_real_run_is_not_contradicted_by_its_later_sweeps(scale):
    rng = np.random.default_rng(0)
    problem = amcore.Problem(
        amcore.Network([4, 8, 3]), scale * rng.standard_normal((60, 4)), np.arange(60) % 3
    )
    trace = amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=1000).trace
    for sweeps in (60, 100, 200, 400):
        f, g = trace.objective[: sweeps + 1], trace.subgradient_distance[: sweeps + 1]
        kl = certify(objective=f, subgradient_distance=g, lower_bound=0.0).kl
        assert kl.f_star_interval[0] <= trace.objective[-1]
        assert kl.f_star_interval[0] >= 0


@pytest.mark.parametrize(
    ("f", "g"),
    [
        (0.9**k, 1.02**k),  # θ < 0
        ((1 + k) ** -2.0, (1 + k) ** -3.0),  # θ > 1
        (-np.log(1 + k), (1 + k) ** -0.5),  # no limit
        (3 + 0.9**k, np.full(400, 0.5)),  # a stall
    ],
)
def test_an_exponent_outside_its_range_is_none(f, g):
    cert = certify(objective=f, subgradient_distance=g)
    assert cert.verdicts["KL"].verdict == "undecided" and cert.kl.theta is None
    assert cert.verdicts["rate"].verdict == "undecided"


def test_a_stall_after_a_huge_start_is_not_critical():
    f, g = 1e7 * 0.5**k + 30 + 1e-3 / (1 + k), 5 + 1e7 * 0.5**k
    assert certify(objective=f, subgradient_distance=g).verdicts["critical"].verdict == "fails"


def test_a_converged_run_that_goes_on_is_no_stall():
    g = 1e-15 * np.exp(0.3 * np.random.default_rng(0).standard_normal(200))
    cert = certify(objective=np.full(200, 3.7), subgradient_distance=g)
    assert cert.verdicts["critical"].verdict != "fails"


def test_a2_fails_where_its_ratio_tends_to_zero():
    gap = (1 + np.arange(4000.0) / 5) ** -2
    cert = certify(objective=gap, subgradient_distance=gap**0.75)
    assert cert.verdicts["KL"].verdict == "holds" and cert.verdicts["A2"].verdict == "fails"
    assert cert.rate.theorem == "4.1 (iii)"


@pytest.mark.parametrize(
    ("f", "g", "d", "message"),
    [
        (np.where(k < 2, np.inf, 0.9**k), 0.9**k, None, "objective: expected finite numbers"),
        (0.9**k, np.where(k > 300, -1, 0.9**k), None, "subgradient_distance: expected finite"),
        (1 + k, np.ones(400), np.ones(399), "decrease: expected"),
    ],
)
def test_a_trace_that_no_run_leaves_is_refused(f, g, d, message):
    trace = Trace()
    with pytest.raises(ValueError, match=message) as caught:
        for i in range(400):
            fall = np.nan if i == 0 else d[i - 1] if d is not None else 0.0
            trace.append(Record(i, float(f[i]), float(g[i]), decrease=float(fall)))
        certify(trace)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("f", [np.inf, -np.inf, np.nan])
def test_a_run_that_leaves_the_finite_numbers_diverged(f, tmp_path):
    trace = Trace()
    for i in range(60):
        trace.append(Record(i, 0.81**i if i < 50 else f, 0.9**i, decrease=0.19 * 0.81 ** (i - 1)))
        if i in (3, 55):
            trace.mark("an event")
    cert = certify(trace)
    assert {told.verdict for told in cert.verdicts.values()} == {"fails"}
    assert cert.summary.startswith(f"The run diverged: f is {f} at sweep 50")
    assert cert.trace.marks == [(3, "an event")] and cert.kl.theta is None
    cert.to_json(tmp_path / "cert.json")
    assert "diverged" in str(certify_many([cert.trace, trace])[1])


def test_decreases_of_an_objective_near_0_may_differ_by_rounding():
    """A squared loss at 1e-26 is of residuals known to 1e-16: its differences are not."""
    f = 10.0 ** -np.arange(0, 27)
    decrease = f[:-1] - f[1:]
    decrease[-3:] *= 1.05
    told = certify(amcore.Trace.from_arrays(f, np.sqrt(f), decrease=decrease))
    assert told.verdicts["A1"].verdict == "holds"


def test_the_sentence_says_what_to_do():
    assert "converges" in certify(objective=0.8**k, subgradient_distance=0.8 ** (k / 2)).summary
    early = certify(objective=3 + (1 + k) ** -0.5, subgradient_distance=(1 + k) ** -0.75)
    assert "sweeps more" in early.summary
    stall = certify(objective=3 + 0.9**k, subgradient_distance=np.full(400, 0.5))
    assert "stalled" in stall.summary


def test_many_runs_in_one_table(tmp_path):
    many = certify_many([Trace.from_arrays(eta**k, eta ** (k / 2)) for eta in (0.7, 0.8, 0.9)])
    assert many.counts["KL"] == {"holds": 3, "fails": 0, "undecided": 0}
    np.testing.assert_allclose(many.values["eta"], [0.7, 0.8, 0.9], rtol=1e-5)
    assert len(many) == 3 and "Certificates of 3 runs" in str(many)
    with pytest.raises(ValueError, match="runs: expected at least one"):
        certify_many([])
