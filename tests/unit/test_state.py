"""amcore.State: a read-only mapping to live arrays."""

import numpy as np
import pytest

import amcore

ARRAYS = {"W1": np.ones((3, 2)), "b1": np.zeros(3), "U1": np.ones((5, 3)), "V1": np.ones((5, 3))}


def test_mapping_is_read_only_and_live():
    state = amcore.State(ARRAYS)
    assert list(state) == list(ARRAYS) and len(state) == 4
    assert state["W1"] is ARRAYS["W1"]
    with pytest.raises(TypeError):
        state["W1"] = np.zeros((3, 2))
    with pytest.raises(KeyError, match="there is W1"):
        state["W2"]


def test_copy_is_apart():
    state = amcore.State(ARRAYS)
    copy = state.copy()
    assert not any(np.shares_memory(copy[name], state[name]) for name in state)
    assert all(np.array_equal(copy[name], state[name]) for name in state)


def test_weights():
    (pair,) = amcore.State(ARRAYS).weights
    assert pair[0] is ARRAYS["W1"] and pair[1] is ARRAYS["b1"]
    without = amcore.State({name: a for name, a in ARRAYS.items() if name != "b1"})
    assert without.weights[0][1] is None


@pytest.mark.parametrize(
    ("arrays", "kind", "said"),
    [
        ([("W1", np.ones(3))], TypeError, "arrays: expected a mapping, got "),
        ({"W1": [[1.0]]}, TypeError, r"W1: expected a NumPy array, got \[\[1\.0\]\]"),
        ({"W1": np.ma.array([1.0], mask=[True])}, ValueError, "W1: .* masked"),
    ],
)
def test_refused(arrays, kind, said):
    with pytest.raises(kind, match=f"^{said}"):
        amcore.State(arrays)
