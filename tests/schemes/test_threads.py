"""Threads change the time and nothing else, in every scheme."""

import numpy as np
import pytest

from agreement import assert_same_bits
from schemes.cases import on_dtypes, on_examples

SEVERAL_CHUNKS = 3001  # and tiles, none of them full


@on_dtypes
@on_examples
def test_threads_change_no_bit(case, dtype):
    case = case.with_(n=SEVERAL_CHUNKS, dtype=dtype)
    one, *others = (case.solve(max_iter=3, num_threads=threads) for threads in (1, 2, 3))
    X = case.problem().X
    for run in others:
        assert_same_bits(run, one)
        np.testing.assert_array_equal(run.predict(X), one.predict(X))


@pytest.mark.parametrize("threads", [8, 33, None])
@on_examples
def test_more_threads_than_there_is_work_for(case, threads):
    case = case.with_(n=150)
    run, one = (case.solve(max_iter=2, num_threads=given) for given in (threads, 1))
    assert_same_bits(run, one)
