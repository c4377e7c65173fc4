import math

import numpy as np
import pytest

from amcore.analysis.decrease import remaining_decrease, rounding_floor, sufficient_decrease
from amcore.trace import Record, Trace


def gradient_descent(eigenvalues, step, sweeps, offset=0.0):
    """Gradient descent on ½ Σ h x² + offset from x = 1: f, ‖∇f‖ and the exact decreases."""
    h = np.asarray(eigenvalues, dtype=float)
    x = (1 - step * h) ** np.arange(sweeps + 1)[:, None]
    f = 0.5 * (h * x**2).sum(axis=1)
    g = np.linalg.norm(h * x, axis=1)
    decrease = 0.5 * (h * (x[:-1] - x[1:]) * (x[:-1] + x[1:])).sum(axis=1)
    return f + offset, g, decrease


def two_step(sweeps, ratio=0.5):
    """A sequence that rises at every other step and falls by the ratio over two."""
    k = np.arange(sweeps + 1)
    f = ratio ** (k // 2) * np.where(k % 2 == 0, 1.0, 1.2)
    return f, np.sqrt(f)


@pytest.mark.parametrize("h", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("j", [1, 2, 5])
def test_gradient_descent_on_a_parabola_has_the_known_constant(h, j):
    # x_k = q^k, f = h x²/2, g = h x: the ratio is (q^{-2j} − 1) / 2h at every k
    step = 0.5
    f, g, _ = gradient_descent([h], step / h, 30)
    result = sufficient_decrease(Trace.from_arrays(f, g), j)
    assert result.constant == pytest.approx((4.0**j - 1) / (2 * h))
    assert result.k0 == 0 and result.violations == 0 and result.last_violation is None
    assert result.checked == 31 - j and result.verdict.verdict == "holds"


def test_gradient_descent_on_a_quadratic_attains_the_least_ratio():
    f, g, _ = gradient_descent([1.0, 0.3, 0.02], 0.9, 60)
    result = sufficient_decrease(Trace.from_arrays(f, g), 1)
    ratios = (f[:-1] - f[1:]) / g[1:] ** 2
    assert result.constant == pytest.approx(ratios.min())
    assert result.attained_at == np.argmin(ratios)
    # the descent lemma: f_k − f_{k+1} ≥ s (1 − s L/2) g_k², and g_{k+1} ≤ g_k
    assert result.constant >= 0.9 * (1 - 0.45)
    np.testing.assert_allclose(result.ratio, ratios)


def test_a_two_step_oscillation_fails_for_one_and_holds_for_two():
    one, two = sufficient_decrease(Trace.from_arrays(*two_step(40)), (1, 2))
    assert one.verdict.verdict == "fails" and one.violations == pytest.approx(0.5)
    assert one.constant is None or one.k0 == 39
    assert two.verdict.verdict == "holds" and two.violations == 0 and two.k0 == 0
    assert two.constant == pytest.approx(1.0)  # (1 − ½)/½


@pytest.mark.parametrize("seed", range(5))
def test_rounding_noise_is_never_a_violation(seed):
    rng = np.random.default_rng(seed)
    f, g, _ = gradient_descent([1.0, 0.1], 1.0, 400, offset=1.0)
    f = f * (1 + 1e-16 * rng.standard_normal(f.size))
    result = sufficient_decrease(Trace.from_arrays(f, g), 1)
    assert result.violations == 0 and result.k0 == 0
    assert result.below_floor > 100 and result.checked + result.below_floor == 400
    assert result.stalled == 0 and result.verdict.verdict == "holds"


def test_rounding_in_float32_is_judged_by_float32():
    rng = np.random.default_rng(0)
    f, g, _ = gradient_descent([1.0, 0.1], 1.0, 150, offset=1.0)
    noisy = (f * (1 + 6e-8 * rng.standard_normal(f.size))).astype(np.float32)
    assert sufficient_decrease(Trace.from_arrays(noisy, g), 1).violations == 0
    # told from the values themselves where they come as float64, as PyTorch's `loss.item()` does
    assert sufficient_decrease(Trace.from_arrays(noisy.astype(float), g), 1).violations == 0


def test_accurate_decreases_are_followed_below_the_rounding_of_f():
    f, g, decrease = gradient_descent([1.0, 0.1], 1.0, 200, offset=1.0)
    plain = sufficient_decrease(Trace.from_arrays(f, g), 1)
    accurate = sufficient_decrease(Trace.from_arrays(f, g, decrease), 1)
    assert plain.below_floor > 0 and accurate.below_floor == 0
    assert accurate.checked == 200
    assert accurate.constant == pytest.approx((decrease / g[1:] ** 2).min())


def test_the_violations_at_the_start_move_k0():
    f, g, _ = gradient_descent([1.0], 0.5, 30)
    f[3] = f[2] + 0.1
    result = sufficient_decrease(Trace.from_arrays(f, g), 1)
    assert result.k0 == 3 and result.last_violation == 2
    assert result.violations == pytest.approx(1 / 30)
    assert result.verdict.verdict == "holds" and "from sweep 3 on" in result.verdict.reason


def test_a_ratio_that_still_falls_is_said_so():
    k = np.arange(41)
    f = np.concatenate([[3.0], 3.0 - np.cumsum(1.0 / (1 + k[1:]) ** 2)])
    falling = sufficient_decrease(Trace.from_arrays(f, np.ones(41)), 1)
    assert falling.attained_at == 39 and "keeps falling" in falling.verdict.reason
    f, g, _ = gradient_descent([1.0], 0.5, 20)
    assert "falling" not in sufficient_decrease(Trace.from_arrays(f, g), 1).verdict.reason


def test_violations_to_the_end_fail():
    f = np.linspace(0.0, 1.0, 31)
    result = sufficient_decrease(Trace.from_arrays(f, np.ones(31)), 1)
    assert result.constant is None and result.k0 is None and result.attained_at is None
    assert result.violations == 1.0 and result.verdict.verdict == "fails"


def test_a_violation_late_in_the_run_fails():
    f, g, _ = gradient_descent([0.2], 1.0, 60)
    f[45:] += 1.0
    result = sufficient_decrease(Trace.from_arrays(f, g), 1)
    assert result.verdict.verdict == "fails" and "as late as sweep 44" in result.verdict.reason


def test_f_flat_away_from_critical_points_is_not_certified():
    f = np.concatenate([10.0 - np.arange(30.0) / 10, np.full(30, 7.0)])
    result = sufficient_decrease(Trace.from_arrays(f, np.full(60, 30.0)), 1)
    assert result.stalled == 29 and result.verdict.verdict == "undecided"


def test_unmeasured_sweeps_are_left_out_and_counted():
    f, g, _ = gradient_descent([1.0], 0.5, 40)
    g[1::3] = math.nan
    result = sufficient_decrease(Trace.from_arrays(f, g), 1)
    assert result.unmeasured == 14 and result.checked == 26
    assert result.constant == pytest.approx(1.5)
    never = sufficient_decrease(Trace.from_arrays(f), 1)
    assert never.checked == 0 and never.verdict.verdict == "undecided"
    assert "not measured" in never.verdict.reason


def test_a_critical_point_satisfies_every_constant_unless_f_rises_to_it():
    f, g, _ = gradient_descent([1.0], 0.5, 20)
    f[-1], g[-1] = 0.0, 0.0
    result = sufficient_decrease(Trace.from_arrays(f, g), 1)
    assert result.violations == 0 and result.constant == pytest.approx(1.5)
    f[-1] = 1.0
    result = sufficient_decrease(Trace.from_arrays(f, g), 1)
    assert result.last_violation == 19 and result.verdict.verdict == "fails"


def test_the_rounding_of_the_distance_does_not_lower_the_constant():
    f, g, decrease = gradient_descent([1.0, 0.5], 0.5, 200, offset=1.0)
    noisy = Trace.from_arrays(f, np.maximum(g, 2e-16), np.maximum(decrease, 1e-33))
    result = sufficient_decrease(noisy, 1)
    assert result.constant == pytest.approx((decrease / g[1:] ** 2)[:100].min())
    assert result.below_floor > 0 and result.stalled == 0


@pytest.mark.parametrize("sweeps", [0, 1, 5])
def test_a_short_trace_is_undecided(sweeps):
    f, g, _ = gradient_descent([1.0], 0.5, sweeps)
    for result in sufficient_decrease(Trace.from_arrays(f, g), (1, 2, 9)):
        assert result.verdict.verdict == "undecided"
        assert result.ratio.size == max(0, sweeps + 1 - result.j)


def test_the_floor_is_finer_where_the_decrease_is_accurate():
    trace = Trace()
    for k in range(3):
        g = math.nan if k == 1 else 1.0
        trace.append(Record(k, 1.0, subgradient_distance=g, decrease=0.1))
    coarse, fine = rounding_floor(trace)
    assert 1e-16 < coarse < 1e-14 and 1e-32 < fine < 1e-28


def test_remaining_decrease_sums_backwards():
    trace = Trace.from_arrays([1.0, 1.0, 1.0], decrease=[1e-20, 1e-25])
    np.testing.assert_allclose(remaining_decrease(trace), [1.00001e-20, 1e-25, 0.0], rtol=1e-14)


def test_a_single_j_gives_one_result_and_a_sequence_a_list():
    trace = Trace.from_arrays(*two_step(20))
    assert sufficient_decrease(trace, np.int64(2)).j == 2
    assert [each.j for each in sufficient_decrease(trace, [2, 1])] == [2, 1]


@pytest.mark.parametrize(
    ("trace", "j", "error", "message"),
    [
        ([1.0, 2.0], 1, TypeError, "must be an amcore.Trace, got list"),
        (Trace(), 1, ValueError, "trace is empty"),
        (Trace.from_arrays([1.0]), 0, ValueError, "j must be at least 1, got 0"),
        (Trace.from_arrays([1.0]), 1.5, TypeError, "j must be an integer, got 1.5"),
        (Trace.from_arrays([1.0]), True, TypeError, "j must be an integer"),
        (Trace.from_arrays([1.0]), "12", TypeError, "j must be an integer"),
        (Trace.from_arrays([1.0]), [1, -2], ValueError, "j must be at least 1, got -2"),
    ],
)
def test_wrong_input_is_refused(trace, j, error, message):
    with pytest.raises(error, match=message):
        sufficient_decrease(trace, j)
