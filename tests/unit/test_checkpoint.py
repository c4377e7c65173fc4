"""amcore.checkpoint: the same bits after a resume; damaged and foreign files are refused."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

import amcore
from amcore import checkpoint

rng = np.random.default_rng(0)
PROBLEM = amcore.Problem(
    amcore.Network([3, 4, 2], activation="sigmoid"), rng.standard_normal((9, 3)), [0, 1, 1] * 3
)
SCHEME = amcore.ThreeSplitBCD()
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def saved(tmp_path):
    run = amcore.solve(PROBLEM, SCHEME, max_iter=3)
    path = tmp_path / "run.npz"
    checkpoint.save(path, run.state, run.trace)
    return path, run


def test_round_trip(saved):
    path, run = saved
    state, trace = checkpoint.load(path)
    assert list(state) == list(run.state)
    for name in state:
        assert state[name].dtype == run.state[name].dtype
        np.testing.assert_array_equal(state[name], run.state[name])
    np.testing.assert_array_equal(trace.objective, run.trace.objective)
    np.testing.assert_array_equal(trace.step_norm["W1"], run.trace.step_norm["W1"])
    assert [entry.name for entry in path.parent.iterdir()] == ["run.npz"], "nothing left behind"


def test_a_resumed_run_keeps_its_history(tmp_path):
    path = tmp_path / "run.npz"
    amcore.solve(PROBLEM, SCHEME, max_iter=3, callbacks=[amcore.callbacks.Checkpoint(path)])
    state, trace = checkpoint.load(path)
    save = [amcore.callbacks.Checkpoint(path, every=5)]
    amcore.solve(PROBLEM, SCHEME, max_iter=4, init=state, trace=trace, callbacks=save)
    whole = amcore.solve(PROBLEM, SCHEME, max_iter=7)
    np.testing.assert_array_equal(checkpoint.load(path)[1].objective, whole.trace.objective)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_file(saved, share):
    path, _ = saved
    content = path.read_bytes()
    cut = path.with_name("cut.npz")
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="is not a checkpoint saved by amcore") as caught:
        checkpoint.load(cut)
    assert "\n" not in str(caught.value)
    checkpoint.load(path)


def test_every_damaged_bit_is_refused(saved):
    path, _ = saved
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is not a checkpoint saved by amcore: it is damaged"):
            checkpoint.load(path)


def test_foreign_files(tmp_path):
    arrays, text = tmp_path / "arrays.npz", tmp_path / "text.npz"
    np.savez(arrays, W1=np.ones(3))
    text.write_text("not a checkpoint")
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, format=np.array([object()], dtype=object), allow_pickle=True)
    for path in (arrays, text, pickled):
        with pytest.raises(ValueError, match=f"{path.name} is not a checkpoint"):
            checkpoint.load(path)
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "absent.npz")


def test_failed_save_keeps_the_old_file(saved, monkeypatch):
    path, run = saved

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*run\.npz") as caught:
        checkpoint.save(path, run.state, run.trace)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    monkeypatch.undo()
    checkpoint.load(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["run.npz"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state/W1": None}, "digest"),
        ({"state/W1": np.ones((5, 3))}, "digest"),
        ({"state/W1": np.ones((4, 3), int)}, "state/W1 has dtype int64"),
        ({"junk": np.ones(3)}, "junk is no part of one"),
        ({"trace/junk": np.ones(4)}, "junk is no part of one"),
        ({"trace/objective": None}, "a trace without objective"),
        ({"version": np.array(3)}, "format version 3, this amcore reads 1 to 2"),
    ],
)
def test_other_members_are_refused(saved, change, message):
    path, _ = saved
    with np.load(path) as file:
        arrays = dict(file) | change
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=f"run.npz is not a checkpoint.*: .*{message}") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [lambda path: checkpoint.load(path)[1], amcore.Trace.load])
def test_its_trace(saved, read):
    path, run = saved
    np.testing.assert_array_equal(read(path).objective, run.trace.objective)


class TestVersion1:
    """Files of amcore 0.1.0 before they had a digest."""

    def test_checkpoint(self):
        state, trace = checkpoint.load(GOLDEN / "checkpoint_v1.npz")
        assert {name: array.shape for name, array in state.items()} == {
            "W1": (3, 2),
            "b1": (3,),
            "U1": (5, 3),
        }
        for name, step in {"W1": 1 / 4, "b1": -1, "U1": 1 / 8}.items():
            assert state[name].dtype == np.float32
            np.testing.assert_array_equal(state[name].ravel(), step * np.arange(state[name].size))
        self.check(trace)

    def test_trace(self):
        self.check(amcore.Trace.load(GOLDEN / "trace_v1.npz"))

    def check(self, trace):
        nan = np.nan
        assert trace.dtype == np.float32 and trace.distance_is_bound and trace.accurate_decrease
        assert trace.lower_bound == -np.inf  # which these do not tell
        np.testing.assert_array_equal(trace.objective, [8, 4, 2, 1])
        np.testing.assert_array_equal(trace.decrease, [4, 2, 1])
        np.testing.assert_array_equal(trace.subgradient_distance, [4, nan, 4 / 3, nan])
        np.testing.assert_array_equal(trace.parts["loss"], [6, 3, 1.5, 0.75])
        np.testing.assert_array_equal(trace.parts["ridge1"], [2, 1, 0.5, 0.25])
        np.testing.assert_array_equal(trace.distance["W1"], [4, nan, 4 / 3, nan])
        np.testing.assert_array_equal(trace.step_norm["W1"], [0.5, 0.25, 0.125])
        np.testing.assert_array_equal(trace.monitors["epsilon"], np.full(4, 0.125))
        np.testing.assert_array_equal(trace.seconds["tiles"], [0, 0.125, 0.25, 0.375])
        np.testing.assert_array_equal(trace.time, [0, 0.25, 0.5, 0.75])
        assert trace.marks == [(2, "restart; ε halved")]

    def test_damage_never_gives_other_arrays(self, tmp_path):
        golden, path = GOLDEN / "checkpoint_v1.npz", tmp_path / "damaged.npz"
        content, arrays = golden.read_bytes(), everything(golden)
        for position in range(0, len(content), 5):
            damaged = bytearray(content)
            damaged[position] ^= 1 << position % 8
            path.write_bytes(damaged)
            try:
                assert everything(path) == arrays, "a bit that carries nothing, such as of a date"
            except ValueError as error:
                assert f"{path} is not a checkpoint" in str(error) and "\n" not in str(error)


def everything(path):
    """Return all that a checkpoint holds, to compare."""
    state, trace = checkpoint.load(path)
    return [
        (name, array.dtype, array.shape, array.tobytes())
        for arrays in (state, trace.to_arrays())
        for name, array in arrays.items()
    ]
