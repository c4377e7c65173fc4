"""f with a multiple of the squared step, where f itself rises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amcore.analysis import certify
from amcore.analysis.lyapunov import lyapunov
from amcore.trace import Trace

ALPHA, BETA = 1e-3, 0.99


def heavy_ball(sweeps=2500):
    """On (x² + y²/10)/2, f going up and down over more sweeps than any j that is looked for."""
    curvature, last, x = np.array([1.0, 0.1]), np.ones(2), np.ones(2)
    points = [x]
    for _ in range(sweeps):
        last, x = x, x - ALPHA * curvature * x + BETA * (x - last)
        points.append(x)
    points = np.array(points)
    return {
        "objective": points**2 @ curvature / 2,
        "subgradient_distance": np.linalg.norm(curvature * points, axis=1),
        "step_norm": np.linalg.norm(np.diff(points, axis=0), axis=1),
    }


def test_momentum_has_the_function_that_its_theory_knows():
    cert = certify(**heavy_ball())
    assert cert.verdicts["A1"].verdict == "fails"
    found = cert.lyapunov
    low, high = found.interval
    # f_{k+1} + β/(2α) s² falls by ((1 − β)/α − L/2)s² at least, by the descent lemma
    assert 0 < low < BETA / (2 * ALPHA) < high
    assert low < found.xi < high and found.xi <= 2 * low
    assert (np.diff(found.values) < 0).all()
    assert found.from_first_half and found.first_broken is None
    assert found.decrease.constant > 0 and found.decrease.violations == 0


def test_it_is_told_as_what_the_trace_shows():
    cert = certify(**heavy_ball())
    text = " ".join(str(cert).split())
    assert f"ξ = {cert.lyapunov.xi:.3g} A1 " in text
    assert "Over this trace F(k) = f(k) + ξ‖X(k) − X(k−1)‖² falls at every sweep" in text
    assert "has fallen at every sweep so far" in cert.summary
    assert cert.verdicts["A1"].verdict == "fails"  # for all that
    assert cert.to_dict()["lyapunov"]["xi"] == cert.lyapunov.xi
    assert all(len(line) <= 79 for line in str(cert).splitlines())


def test_rises_that_no_step_pays_for_have_none():
    run = heavy_ball()
    run["step_norm"] = np.full(run["step_norm"].size, 0.1)
    cert = certify(**run)
    assert cert.lyapunov is None and cert.to_dict()["lyapunov"] is None
    assert "f rises again and again: nothing can be said" in cert.summary


def test_half_a_run_that_pays_and_half_that_does_not_has_none():
    run = heavy_ball()
    run["step_norm"][1300:] = run["step_norm"][:1299:-1]
    assert certify(**run).lyapunov is None


def test_the_first_half_is_the_back_test():
    """A rise late in the run that asks for more than any before."""
    decrease, steps = np.ones(40), np.ones(40)
    for at, rise in ((10, 0.3), (30, 3.0)):  # while the step shrinks from 2 to 1
        decrease[at - 1 : at + 1], steps[at - 1] = (20.0, -rise), 2.0
    f = 200 - np.concatenate([[0.0], np.cumsum(decrease)])
    found = lyapunov(Trace.from_arrays(f, np.ones(41), step_norm=steps))
    assert found.interval == pytest.approx((1.0, 20 / 3))
    assert found.from_first_half and found.first_broken == 31
    assert "is not enough at sweep 31" in " ".join(" ".join(found.told()).split())


@pytest.mark.parametrize("steps", [None, np.where(np.arange(40) % 2, math.nan, 1.0)])
def test_steps_that_were_not_measured_tell_nothing(steps):
    f = np.tile([1.0, 2.0], 21)[:41]
    assert lyapunov(Trace.from_arrays(f, np.ones(41), step_norm=steps)) is None
    assert lyapunov(Trace.from_arrays([1.0], [1.0])) is None


def test_f_that_falls_needs_none():
    k = np.arange(41.0)
    assert lyapunov(Trace.from_arrays(0.5**k, 0.7**k, step_norm=0.7 ** k[1:])) is None


numbers = st.floats(-1, 1).map(lambda x: round(x, 3))


@given(
    start=st.lists(st.tuples(numbers, numbers), min_size=13, max_size=20),
    xi=st.sampled_from([0.1, 1.0, 7.0]),
    drop=st.sampled_from([0.0, 0.01, 0.1]),
)
def test_the_interval_is_all_there_is(start, xi, drop):
    """f is made so that F falls with a given ξ: it is found, and no ξ outside the interval does."""
    fall, steps = np.abs(np.array(start)).T
    values = 10 - np.cumsum(fall + drop)  # F
    f = np.concatenate([[11.0], values - xi * steps**2])
    found = lyapunov(Trace.from_arrays(f, np.ones(f.size), step_norm=steps))
    gain = steps[:-1] ** 2 - steps[1:] ** 2
    falls = f[1:-1] - f[2:]

    def rise(by):
        return float((falls + by * gain).min())

    if found is None:  # f falls by itself, or F is flat somewhere: nothing between low and high
        assert falls.min() >= -1e-12 or drop + fall[1:].min() < 1e-12
        return
    low, high = found.interval
    assert low <= xi * (1 + 1e-9) and xi * (1 - 1e-9) <= high
    assert rise(found.xi) >= -1e-12
    assert rise(low * 0.9) < 0
    assert high == math.inf or rise(high * 1.1 + 1e-6) < 0
