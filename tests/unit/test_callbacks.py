"""amcore.callbacks: protocol, table, early stop, time limit, checkpoint."""

import errno
import io
import itertools
import os

import numpy as np
import pytest

import amcore
from amcore import callbacks

rng = np.random.default_rng(0)
X = rng.standard_normal((20, 3))
LABELS = rng.integers(0, 2, 20)
PROBLEM = amcore.Problem(amcore.Network([3, 4, 2]), X, LABELS)


def run(*given, max_iter=5, **options):
    return amcore.solve(
        PROBLEM,
        amcore.ThreeSplitBCD(),
        max_iter=max_iter,
        callbacks=list(given),
        backend="reference",
        **options,
    )


def test_protocol():
    class Recorder:
        def __init__(self):
            self.events = []

        def begin(self, step):
            self.events.append(("begin", step.sweep))

        def step(self, step):
            self.events.append(("step", step.sweep))

        def end(self, solution):
            self.events.append(("end", solution.stop_reason))

    recorder = Recorder()
    run(recorder, max_iter=2)
    assert recorder.events == [("begin", 0), ("step", 1), ("step", 2), ("end", "max_iter")]


@pytest.mark.parametrize("event", ["begin", "step"])
@pytest.mark.parametrize("answer", [True, False, None, np.True_, np.False_])
def test_true_stops(event, answer):
    callback = type("Answer", (), {event: lambda self, step: answer})()
    solution = run(callback, max_iter=3)
    stopped = {"begin": 0, "step": 1}[event]
    assert len(solution.trace) == (stopped if answer else 3)
    assert solution.stop_reason == ("Answer" if answer else "max_iter")


@pytest.mark.parametrize("answer", [1, "no", np.array([True]), 0.0])
def test_other_answers_are_refused(answer):
    def unsure(step):
        return answer

    with pytest.raises(TypeError, match="expected True, False or None from unsure, got") as raised:
        run(unsure)
    assert len(raised.value.solution.trace) == 1


def test_a_function_stops():
    def enough(step):
        return step.sweep == 2

    solution = run(enough)
    assert solution.stop_reason == "enough" and len(solution.trace) == 2


def test_end_is_called_when_an_iteration_is_left():
    seen = []

    class End:
        def end(self, solution):
            seen.append(solution.stop_reason)

    steps = amcore.iterate(PROBLEM, amcore.ThreeSplitBCD(), callbacks=[End()], backend="reference")
    next(steps)
    steps.close()
    assert seen == ["closed"]


def test_progress_table():
    stream = io.StringIO()
    table = callbacks.ProgressTable(every=2, data={"train accuracy": (X, LABELS)}, stream=stream)
    solution = run(table, max_iter=5)
    lines = stream.getvalue().splitlines()
    header = ["sweep", "objective", "dist(0,∂f)", "step", "train", "accuracy", "seconds"]
    assert lines[0].split() == header
    assert [line.split()[0] for line in lines[1:-1]] == ["0", "2", "4", "5"]
    assert len({len(line) for line in lines[:-1]}) == 1, "columns are aligned"
    assert float(lines[-2].split()[1]) == pytest.approx(solution.trace.objective[-1], rel=1e-6)
    assert float(lines[-2].split()[4]) == pytest.approx(solution.score(X, LABELS), abs=1e-4)
    assert lines[-1] == "stopped: max_iter"


def test_verbose_prints(capsys):
    run(max_iter=1, verbose=1)
    assert "objective" in capsys.readouterr().out
    run(max_iter=1)
    assert capsys.readouterr().out == ""


def test_early_stop():
    solution = run(callbacks.EarlyStop(patience=3, min_decrease=1e-3), max_iter=1000)
    relative = solution.trace.decrease / solution.trace.objective[1:]
    assert solution.stop_reason == "EarlyStop"
    assert (relative[-3:] <= 1e-3).all()
    idle = np.convolve(relative[:-1] <= 1e-3, np.ones(3), "valid")
    assert (idle < 3).all(), "it stopped at the first chance"


@pytest.mark.parametrize(
    ("durations", "sweeps"),
    [([5, 5, 5], 2), ([4, 4, 4], 2), ([3, 3, 4], 3), ([11], 1), ([1, 6], 2), ([1] * 10, 10)],
)
def test_time_limit_stops_before_a_sweep_that_would_end_later(monkeypatch, durations, sweeps):
    clock = itertools.accumulate(durations, initial=100.0)
    limit = callbacks.TimeLimit(10.0)
    monkeypatch.setattr(callbacks, "monotonic", lambda: next(clock))
    solution = run(limit, max_iter=1000)
    assert solution.stop_reason == "TimeLimit" and len(solution.trace) == sweeps


def test_checkpoint_every_and_at_the_end(tmp_path):
    path = tmp_path / "run.npz"
    saved = []

    def look(step):
        saved.append(len(amcore.checkpoint.load(path)[1]) if path.exists() else None)

    solution = run(callbacks.Checkpoint(path, every=2), look, max_iter=5)
    assert saved == [None, 2, 2, 4, 4]
    state, trace = amcore.checkpoint.load(path)
    assert len(trace) == 5
    assert all(np.array_equal(state[name], solution.state[name]) for name in state)


@pytest.mark.parametrize("name", [".", "nowhere/run.npz", "file/run.npz"])
def test_checkpoint_refuses_what_cannot_be_written(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=f"{name.split('/')[0]}") as caught:
        callbacks.Checkpoint(tmp_path / name)
    assert caught.value.filename == str(tmp_path / name) and os.listdir(tmp_path) == ["file"]


def test_a_failed_save_names_the_file_and_keeps_the_last_one(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(step):
        if step.sweep == 3:
            monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left on device") as caught:
        run(fill, callbacks.Checkpoint(path))
    assert caught.value.filename == str(path) and os.listdir(tmp_path) == ["run.npz"]
    assert len(amcore.checkpoint.load(path)[1]) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "utf-16"])
def test_progress_table_in_any_encoding(encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    table = callbacks.ProgressTable(data={"Güte": (X, LABELS)}, stream=stream)
    run(table, max_iter=1)
    header, *rows, end = stream.buffer.getvalue().decode(encoding).splitlines()
    sign, umlaut = "∂f".encode(encoding, "replace"), "ü".encode(encoding, "replace")
    assert (
        f"dist(0,{sign.decode(encoding)})" in header and f"G{umlaut.decode(encoding)}te" in header
    )
    assert len(rows) == 2 and {len(row) for row in rows} == {len(header)}
    assert end == "stopped: max_iter"


def test_what_is_no_stream():
    with pytest.raises(TypeError, match="stream: expected a text stream, got 'a'"):
        callbacks.ProgressTable(stream="a")
