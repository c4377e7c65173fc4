"""What the pictures of certificates show: curves, bands, grounds, and what they are called."""

import math
from dataclasses import replace

import numpy as np
import pytest

from amcore.analysis import certify, certify_many
from amcore.analysis.regimes import Regime
from amcore.trace import Trace

figure = pytest.importorskip("matplotlib.figure")

K = np.arange(400.0)


def geometric(eta=0.9):
    return Trace.from_arrays(3 + eta**K, eta ** (K / 2))


def power():
    x = [1.0]
    for _ in range(3000):
        x.append(x[-1] - 0.1 * 4 * x[-1] ** 3)
    x = np.array(x)
    return Trace.from_arrays(x**4, 4 * abs(x) ** 3)


def rising():
    return Trace.from_arrays(np.arange(1.0, 42), np.ones(41))


HOSTILE = {
    "rising": rising(),
    "one record": Trace.from_arrays([1.0]),
    "two records": Trace.from_arrays([1.0, 0.5], [1.0, 0.5]),
    "nothing measured": Trace.from_arrays(1 / (1 + K)),
    "negative": Trace.from_arrays(-2 + 0.5 ** np.arange(60), 0.5 ** np.arange(30).repeat(2)),
    "constant": Trace.from_arrays(np.ones(50), np.zeros(50)),
    "ends at 0": Trace.from_arrays(np.maximum(1 - K / 50, 0), np.where(K < 50, 1.0, 0.0)),
    "gaps": Trace.from_arrays(0.5 ** K[:60], np.where(K[:60] % 3 == 0, 0.7 ** K[:60], math.nan)),
    "tiny": Trace.from_arrays(1e-300 * 0.9**K, 1e-150 * 0.9 ** (K / 2)),
    "huge": Trace.from_arrays(1e300 * 0.9**K, 1e150 * 0.9 ** (K / 2)),
}


@pytest.fixture
def panels(tmp_path, monkeypatch):
    """Draws into a file and returns the axes by the first word of their titles."""
    figures = []

    def keep(drawn, *_, **__):  # laying out and writing takes seconds, and is tested elsewhere
        figures.append(drawn)

    monkeypatch.setattr(figure.Figure, "savefig", keep)

    def draw(certificate):
        certificate.plot(tmp_path / "a.svg")
        return {axis.get_title().split()[0].rstrip(":"): axis for axis in figures[-1].axes}

    return draw


def labels(axis):
    return axis.get_legend_handles_labels()[1]


def curve(axis, label):
    (found,) = (line for line in axis.get_lines() if line.get_label() == label)
    return found.get_data()


def band(axis, label):
    """The lower and upper ends of a filled band over its abscissae."""
    (found,) = (fill for fill in axis.collections if fill.get_label() == label)
    (path,) = found.get_paths()
    x, y = path.vertices.T
    at = np.unique(x)
    return at, *(np.array([end(y[x == each]) for each in at]) for end in (np.min, np.max))


def grounds(axis):
    return [
        (patch.get_label(), patch.get_x(), patch.get_x() + patch.get_width())
        for patch in axis.patches
    ]


def test_the_intervals_are_bands_about_the_truth(panels):
    cert = certify(geometric())
    axis = panels(cert)["objective"]
    gap = 0.9**K
    k, low, high = band(axis, "$f_k - f^*$, 95 %")
    np.testing.assert_array_equal(k, K)
    rounding = 4 * np.spacing(3.0)  # of the differences of f
    assert (low <= gap + rounding).all() and (high >= gap - rounding).all()
    later, low, high = band(axis, "predicted, 95 %")
    assert later[0] == K[-1] and K[-1] + 50 < later[-1] <= 1.25 * K[-1]
    truth = cert.kl.remainder * 0.9 ** (later - K[-1])
    floor = low.min()  # the band goes no further down than the curves
    assert (low <= np.maximum(truth, floor)).all() and (truth <= high).all()
    _, low, high = band(axis, "$f^*$, 95 %")
    assert low[0] == pytest.approx(3) == high[0]


def test_a_power_law_goes_on_as_a_power(panels):
    cert = certify(power())
    assert cert.kl.decay.kind == "power"
    later, low, high = band(panels(cert)["objective"], "predicted, 95 %")
    x = 0.0
    whole = [1.0]
    for _ in range(3750):
        x = whole[-1]
        whole.append(x - 0.4 * x**3)
    truth = np.interp(later, np.arange(3751), np.array(whole) ** 4)
    assert (low <= truth).all() and (truth <= high).all()


def test_a_given_limit_has_no_band(panels):
    axis = panels(certify(geometric(), f_star=3.0))["objective"]
    assert "$f_k - f^*$" in labels(axis) and "$f_k - f^*$, 95 %" not in labels(axis)


def test_regimes_are_named_grounds(panels):
    parts = (
        ("transient", 0, 30),
        ("plateau", 30, 80),
        ("plateau", 80, 90),
        ("asymptotic", 90, 399),
    )
    cert = replace(certify(geometric()), regimes=tuple(Regime(*part) for part in parts))
    kinds = ["transient", "plateau", "asymptotic"]
    shaded = [part for part in cert.regimes if part.kind != "asymptotic"]
    drawn = panels(cert)
    for name in ("objective", "steps", "sufficient"):
        assert [ends for _, *ends in grounds(drawn[name])] == [[p.first, p.last] for p in shaded]
    named = [label for label in labels(drawn["objective"]) if label in kinds]
    assert sorted(named) == sorted({part.kind for part in shaded})


def test_the_back_test_shows_what_was_predicted_beside_what_came(panels):
    cert = certify(geometric())
    axis = panels(cert)["back-test"]
    k, ratio = curve(axis, "predicted by the sweeps before")
    assert [(a, b) for a, b in zip(k, ratio, strict=True)] == [*cert.kl.backtest]
    at, ends = curve(axis, "interval stated at the end")
    assert list(at) == [399, 399]
    assert ends == pytest.approx(np.array(cert.kl.remainder_interval) / cert.kl.remainder)


def test_what_is_unknown_is_not_drawn(panels):
    drawn = panels(certify(rising()))
    assert "predicted, 95 %" not in labels(drawn["objective"])
    for name in ("back-test", "steps"):
        assert drawn[name].texts[0].get_text() == "nothing to show"
    assert drawn["KL"].texts[0].get_text() == "undecided"
    undecided = panels(certify(Trace.from_arrays(1 / (1 + K[:20]), lower_bound=0.0)))["objective"]
    _, _, high = band(undecided, "$f^*$, 95 %")
    assert high[0] == pytest.approx(1 / 20)  # at most the last f, and no further down than drawn


def test_steps_are_those_of_all_blocks(panels):
    import amcore

    net = amcore.Network([1, 4, 1])
    X = np.linspace(-1, 1, 20)[:, None]
    run = amcore.solve(amcore.Problem(net, X, abs(X)), amcore.ThreeSplitBCD(), max_iter=20)
    k, length = curve(panels(certify(run))["steps"], r"$\|X_k - X_{k-1}\|$")
    np.testing.assert_array_equal(k, np.arange(1, 21))
    squares = [record.step_length**2 for record in run.trace.records[1:]]
    np.testing.assert_allclose(length**2, squares, rtol=1e-12)


@pytest.mark.parametrize("name", HOSTILE)
def test_all_that_is_drawn_is_finite(panels, name):
    trace = HOSTILE[name]
    for cert in (certify(trace), certify_many([trace, trace])):
        for axis in panels(cert).values():
            logarithmic = axis.get_yscale() == "log"
            for line in axis.get_lines():
                x, y = (np.asarray(values, float) for values in line.get_data())
                assert np.isfinite(x).all() and np.isfinite(y).all()
                if logarithmic and line.get_transform() == axis.transData:
                    assert (y > 0).all()
            for fill in axis.collections:
                for path in fill.get_paths():
                    assert np.isfinite(path.vertices).all()
            assert np.isfinite([*axis.get_xlim(), *axis.get_ylim()]).all()


class TestMany:
    def test_counts_are_bars_and_values_points(self, panels):
        many = certify_many([geometric(eta) for eta in (0.7, 0.8, 0.9)] + [rising()])
        drawn = panels(many)
        bars = {c.get_label(): [b.get_width() for b in c] for c in drawn["verdicts"].containers}
        for verdict, widths in bars.items():
            assert widths == [told[verdict] for told in many.counts.values()]
        assert drawn[r"$\eta$"].get_title() == r"$\eta$: 3 of 4 runs"
        points, intervals, median = [], [], []
        for line in drawn[r"$\eta$"].get_lines():
            x, y = line.get_data()
            (points if len(x) == 1 else intervals if x[0] == x[1] else median).append(list(y))
        assert [y for (y,) in points] == many.values["eta"]
        assert intervals == [[*each.kl.decay.eta_interval] for each in list(many)[:3]]
        assert median[0][0] == pytest.approx(0.8, abs=1e-3)

    def test_what_no_run_has_is_said(self, panels):
        drawn = panels(certify_many([rising()]))
        for name in ("$c_1$", r"$\theta$", r"$\eta$"):
            assert drawn[name].get_title() == f"{name}: 0 of 1 runs"
            assert drawn[name].texts[0].get_text() == "nothing to show"
