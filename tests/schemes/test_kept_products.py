"""Products kept from one sweep to the next change no bit, in every scheme."""

import numpy as np
import pytest

from agreement import assert_same_bits
from schemes.cases import on_dtypes, on_examples

EDITS = {  # of the live state, between sweeps
    "nothing": lambda state: None,
    "one entry of V": lambda state: state["V1"].__setitem__((7, 3), 0.25),
    "every sign of V": lambda state: np.negative(state["V2"], out=state["V2"]),
    "V doubled": lambda state: np.multiply(state["V1"], 2, out=state["V1"]),
    "samples exchanged": lambda state: state["V1"].__setitem__([3, 4], state["V1"][[4, 3]]),
    "one weight": lambda state: state["W2"].__setitem__((0, 0), 3),
    "all weights": lambda state: np.multiply(state["W2"], 1.5, out=state["W2"]),
    "the biases exchanged": lambda state: state["b1"].__setitem__(slice(None), state["b1"][::-1]),
    "U": lambda state: state["U2"].__setitem__(slice(None), 0.5),
}


@on_dtypes
@pytest.mark.parametrize("edit", EDITS)
@on_examples
def test_kept_products_do_not_outlast_an_edit_of_the_state(case, edit, dtype):
    case = case.with_(n=700, dtype=dtype)
    if edit == "U" and "U2" not in case.scheme().variables(case.problem()):
        pytest.skip("the scheme has no U")
    if case.of_values[1] == ("nonnegative",) and edit == "every sign of V":
        pytest.skip("a state outside the set of its regulariser")

    def run(keep):
        for step in case.iterate(max_iter=4, keep_products=keep):
            EDITS[edit](step.state)
        return step

    assert_same_bits(run(True), run(False))


@pytest.mark.parametrize("measure_every", [1, 3])
@on_examples
def test_kept_products_are_not_those_of_a_state_that_is_set_back(case, measure_every):
    steps = case.with_(n=700).iterate(max_iter=4, measure_every=measure_every)
    next(steps)
    start = next(steps).state.copy()
    first = next(steps)
    after = first.state.copy()
    for name, array in first.state.items():
        array[...] = start[name]
    again = next(steps)
    for name, array in again.state.items():
        np.testing.assert_array_equal(array, after[name], err_msg=name)
    assert again.record.objective == first.record.objective
