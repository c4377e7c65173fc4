"""amcore.checkpoint: the same bits after a resume; damaged and foreign files are refused."""

import numpy as np
import pytest

import amcore
from amcore import checkpoint

rng = np.random.default_rng(0)
PROBLEM = amcore.Problem(
    amcore.Network([3, 4, 2], activation="sigmoid"), rng.standard_normal((9, 3)), [0, 1, 1] * 3
)
SCHEME = amcore.ThreeSplitBCD()


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


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_resume_gives_the_same_bits(tmp_path, backend):
    path = tmp_path / "run.npz"
    save = [amcore.callbacks.Checkpoint(path)]
    amcore.solve(PROBLEM, SCHEME, max_iter=3, callbacks=save, backend=backend)
    resumed = amcore.solve(
        PROBLEM, SCHEME, max_iter=4, init=checkpoint.load(path)[0], backend=backend
    )
    whole = amcore.solve(PROBLEM, SCHEME, max_iter=7, backend=backend)
    assert all(np.array_equal(resumed.state[k], whole.state[k]) for k in whole.state)


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


def test_damaged_byte(saved):
    path, _ = saved
    content = bytearray(path.read_bytes())
    content[content.index(b"state/U1.npy") + 200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a checkpoint"):
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

    def fail(file, **arrays):
        file.write(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, run.state, run.trace)
    monkeypatch.undo()
    checkpoint.load(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["run.npz"]
