"""Products kept from one sweep to the next change no bit, in every scheme."""

import numpy as np
import pytest

from agreement import assert_same_bits
from schemes.cases import on_dtypes, on_examples

EDITS = {  # of a variable of the live state, between sweeps
    "nothing": ("W1", lambda W: None),
    "one entry of V": ("V1", lambda V: V.__setitem__((7, 3), 0.25)),
    "every sign of V": ("V2", lambda V: np.negative(V, out=V)),
    "V doubled": ("V1", lambda V: np.multiply(V, 2, out=V)),
    "samples exchanged": ("V1", lambda V: V.__setitem__([3, 4], V[[4, 3]])),
    "one weight": ("W2", lambda W: W.__setitem__((0, 0), 3)),
    "all weights": ("W2", lambda W: np.multiply(W, 1.5, out=W)),
    "the biases exchanged": ("b1", lambda b: b.__setitem__(slice(None), b[::-1])),
    "U": ("U2", lambda U: U.__setitem__(slice(None), 0.5)),
}


@on_dtypes
@pytest.mark.parametrize("edit", EDITS)
@on_examples
def test_kept_products_do_not_outlast_an_edit_of_the_state(case, edit, dtype):
    case = case.with_(n=700, dtype=dtype)
    variable, change = EDITS[edit]
    if variable not in case.scheme().variables(case.problem()):
        pytest.skip(f"the scheme has no {variable}")
    if case.of_values[1] == ("nonnegative",) and edit == "every sign of V":
        pytest.skip("a state outside the set of its regulariser")

    def run(keep):
        for step in case.iterate(max_iter=4, keep_products=keep):
            change(step.state[variable])
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
