"""The accuracy benchmark gives all the same inputs, and goes on where it was stopped."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import amcore

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

bench = pytest.importorskip("bench_accuracy")


def test_the_whitened_inputs_of_the_others_are_those_of_online_am():
    data = bench.load("digits", 0, held_out=True, scaling="standardised")
    problem = amcore.Problem(amcore.Network([64, 10]), data.X, data.y, loss="cross_entropy")
    state = amcore.solve(problem, amcore.OnlineAM(), max_iter=0).state
    for X, found in ((data.X, "X"), (data.X_test, "X_test")):
        own = (X - state["center1"]) @ state["components1"].T
        other = getattr(bench.whitened(data, lam=1.0), found)
        # the signs and the order of eigenvectors are free
        np.testing.assert_allclose(own @ own.T, other @ other.T, rtol=0, atol=2e-3)


@pytest.mark.thorough
def test_the_quick_mode_runs_and_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    methods = ["OnlineAM", "Adam, raw"]
    call = ["bench", "--quick", "--output", str(tmp_path), "--methods", *methods, "--seeds"]
    monkeypatch.setattr(sys, "argv", [*call, "1"])
    bench.main()
    first = json.loads((tmp_path / "accuracy-quick.json").read_text("utf-8"))
    assert not first["quotable"] and len(first["rows"]) == 2
    monkeypatch.setattr(sys, "argv", [*call, "2"])
    bench.main()
    second = json.loads((tmp_path / "accuracy-quick.json").read_text("utf-8"))
    for name, row in first["rows"].items():
        more = second["rows"][name]
        assert more["runs"][:1] == row["runs"] and len(more["runs"]) == 2
        assert more["search"] == row["search"]
        assert min(run["score"] for run in more["runs"]) > 0.3, "of ten classes"
