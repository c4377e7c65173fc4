import json
import math
import sys

import numpy as np
import pytest

from amcore.analysis import certify
from amcore.trace import Trace


def descent(sweeps=40):
    x = 0.5 ** np.arange(sweeps + 1)
    return Trace.from_arrays(x**2, 2 * x)


def oscillation(sweeps=40):
    k = np.arange(sweeps + 1)
    f = 0.5 ** (k // 2) * np.where(k % 2 == 0, 1.0, 1.2)
    return Trace.from_arrays(f, np.sqrt(f))


def rise(sweeps=40):
    return Trace.from_arrays(np.arange(1.0, sweeps + 2), np.ones(sweeps + 1))


def test_a_descent_is_certified():
    cert = certify(descent())
    assert cert.verdicts["A1"].verdict == "holds"
    assert cert.decrease[0].constant == pytest.approx(0.75)
    assert [a1.j for a1 in cert.decrease] == [1, 2]


def test_the_smallest_j_that_holds_is_the_verdict():
    verdict = certify(oscillation(), js=(3, 2, 1)).verdicts["A1"]
    assert verdict.verdict == "holds" and verdict.reason.startswith("j = 2")
    assert certify(oscillation(), js=[1]).verdicts["A1"].verdict == "fails"


def test_a_rise_fails_and_a_short_or_unmeasured_trace_is_undecided():
    assert certify(rise()).verdicts["A1"].verdict == "fails"
    assert certify(descent(5)).verdicts["A1"].verdict == "undecided"
    assert certify(objective=[3.0, 2.0, 1.0]).verdicts["A1"].verdict == "undecided"
    assert certify(objective=[3.0]).verdicts["A1"].verdict == "undecided"


def test_arrays_serve_as_well_as_a_trace():
    trace = descent()
    one, two = (
        certify(trace),
        certify(objective=trace.objective, subgradient_distance=trace.subgradient_distance),
    )
    assert one.to_dict() == two.to_dict() and str(one) == str(two)


def test_to_dict_is_plain_data_with_the_stable_keys():
    content = certify(oscillation()).to_dict()
    assert content == json.loads(json.dumps(content, allow_nan=False))
    assert {"decrease", "verdicts"} <= content.keys()
    for entry, j in zip(content["decrease"]["A1"], (1, 2), strict=True):
        assert {"j", "constant", "k0", "violations"} <= entry.keys() and entry["j"] == j
    assert content["verdicts"]["A1"].keys() == {"verdict", "reason"}
    assert content["objective"]["first"] == 1.0
    assert content["subgradient_distance"]["is_bound"] is False


def test_to_json_is_strict(tmp_path):
    x = 0.5 ** np.arange(41)
    g = np.where(x < 0.9, 0.0, 2 * x)  # at a critical point from the first sweep on
    for trace in (oscillation(), rise(), Trace.from_arrays([1.0]), Trace.from_arrays(x, g)):
        cert = certify(trace)
        cert.to_json(tmp_path / "a.json")
        content = json.loads((tmp_path / "a.json").read_text("utf-8"), parse_constant=pytest.fail)
        assert content["verdicts"]["A1"]["reason"] == cert.verdicts["A1"].reason


def test_the_report_tells_what_a_reader_needs():
    text = str(certify(oscillation()))
    assert "40 sweeps" in text and "1 → " in text and "fails" in text
    assert "A1 holds: j = 2 and c₁ = 1 from the start." in text
    assert "50.0%" in text
    assert "an upper bound" in str(certify(Trace.from_arrays([1.0], [1.0], distance_is_bound=True)))
    assert "not measured" in str(certify(objective=[1.0]))
    for cert in (certify(oscillation()), certify(rise()), certify(objective=[1.0])):
        assert all(len(line) <= 79 for line in str(cert).splitlines())


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((), {}, TypeError, "give either a trace or an objective"),
        ((descent(),), {"objective": [1.0]}, TypeError, "give either"),
        ((descent(),), {"subgradient_distance": [1.0]}, TypeError, "the trace has its own"),
        (([1.0, 2.0],), {}, TypeError, "must be an amcore.Trace, got list"),
        ((Trace(),), {}, ValueError, "trace is empty"),
        ((descent(),), {"js": ()}, ValueError, "js: expected at least one"),
        ((descent(),), {"js": (0,)}, ValueError, "j must be at least 1"),
        ((descent(),), {"js": (1.0,)}, TypeError, "j must be an integer"),
        ((descent(),), {"js": 1}, TypeError, "js: expected a sequence of integers, got 1"),
        ((descent(),), {"f_star": "x"}, TypeError, "f_star: expected a number, got 'x'"),
        ((descent(),), {"f_star": math.inf}, ValueError, "f_star: expected a finite number"),
        ((descent(),), {"lower_bound": "x"}, TypeError, "lower_bound: expected a number"),
        ((descent(),), {"lower_bound": math.inf}, ValueError, "lower_bound: expected a number"),
        ((descent(),), {"lower_bound": 0.5}, ValueError, "objective must be >= 0.5, got objective"),
        ((descent(),), {"constants": {"c1": None}}, TypeError, r"constants\['c1'\]: expected a"),
        ((descent(),), {"constants": [1.0]}, TypeError, "constants: expected a mapping of names"),
        ((), {"objective": [1.0], "dtype": "x"}, TypeError, "dtype: expected a floating-point"),
        ((), {"objective": [1.0], "dtype": int}, TypeError, "dtype: expected a floating-point"),
        ((), {"objective": [1.0, math.nan]}, ValueError, "objective must be finite"),
        ((), {"objective": [1.0], "subgradient_distance": [1, 2]}, ValueError, "has 2 entries"),
    ],
)
def test_wrong_input_is_refused(arguments, keywords, error, message):
    with pytest.raises(error, match=message) as caught:
        certify(*arguments, **keywords)
    assert "\n" not in str(caught.value)


class TestPlot:
    @pytest.mark.parametrize(
        ("suffix", "signature"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
    )
    def test_the_suffix_is_the_format(self, tmp_path, suffix, signature):
        pytest.importorskip("matplotlib")
        path = tmp_path / f"a{suffix}"
        certify(oscillation()).plot(path)
        assert path.read_bytes().startswith(signature)
        assert [each.name for each in tmp_path.iterdir()] == [path.name]

    @pytest.mark.parametrize(
        "trace",
        [
            rise(),
            Trace.from_arrays([1.0]),
            Trace.from_arrays([-1.0, -2.0, -3.0], [1.0, math.nan, 0.0]),
            Trace.from_arrays([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]),
        ],
    )
    def test_every_trace_can_be_drawn(self, tmp_path, trace):
        pytest.importorskip("matplotlib")
        certify(trace).plot(tmp_path / "a.png")

    def test_no_global_state_is_touched(self, tmp_path):
        matplotlib = pytest.importorskip("matplotlib")
        settings = dict(matplotlib.rcParams)
        pyplot = sys.modules.get("matplotlib.pyplot")
        certify(descent()).plot(tmp_path / "a.png")
        assert dict(matplotlib.rcParams) == settings
        assert sys.modules.get("matplotlib.pyplot") is pyplot

    @pytest.mark.parametrize("name", ["a", "a.txt", "a.npz"])
    def test_other_suffixes_are_refused(self, tmp_path, name):
        with pytest.raises(ValueError, match=r"path must end in \.png, \.pdf, \.svg"):
            certify(descent()).plot(tmp_path / name)

    def test_without_matplotlib_the_extra_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(ModuleNotFoundError, match=r"amcore\[plot\]"):
            certify(descent()).plot(tmp_path / "a.png")
        assert list(tmp_path.iterdir()) == []
