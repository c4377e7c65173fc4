"""amcore.Problem: dtypes, encoding of labels, decoding of outputs."""

import numpy as np
import pytest

import amcore

rng = np.random.default_rng(0)
NET = amcore.Network([4, 3])
X = rng.standard_normal((6, 4))
LABELS = np.array([0, 1, 2, 2, 1, 0])


def test_labels_are_encoded_as_the_loss_needs():
    indicators = np.eye(3)[LABELS]
    np.testing.assert_array_equal(amcore.Problem(NET, X, LABELS).Y, indicators)
    np.testing.assert_array_equal(
        amcore.Problem(NET, X, LABELS, loss="cross_entropy").Y, indicators
    )
    np.testing.assert_array_equal(
        amcore.Problem(NET, X, LABELS, loss="hinge").Y, 2 * indicators - 1
    )
    assert amcore.Problem(NET, X, LABELS.astype(np.uint8)).classes == (0, 1, 2)


@pytest.mark.parametrize("labels", [[0, 1, 1, 0, 1, 0], [-1, 1, 1, -1, 1, -1]])
def test_two_labels_for_one_output(labels):
    problem = amcore.Problem(amcore.Network([4, 1]), X, np.array(labels), loss="hinge")
    np.testing.assert_array_equal(problem.Y[:, 0], [-1, 1, 1, -1, 1, -1])
    np.testing.assert_array_equal(problem.decode(problem.Y), labels)


def test_decode_inverts_encode():
    for loss in ("squared", "cross_entropy", "hinge"):
        problem = amcore.Problem(NET, X, LABELS, loss=loss)
        np.testing.assert_array_equal(problem.decode(problem.Y), LABELS)


def test_one_output_takes_a_vector():
    y = rng.standard_normal(6)
    problem = amcore.Problem(amcore.Network([4, 1]), X, y)
    np.testing.assert_array_equal(problem.Y, y[:, None])
    assert problem.classes is None
    integers = amcore.Problem(amcore.Network([4, 1]), X, LABELS)
    assert integers.classes is None and integers.Y.dtype == np.float64


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.uint8, np.float64),
        (bool, np.float64),
    ],
)
def test_dtypes(given, kept):
    problem = amcore.Problem(NET, np.ones((6, 4), given), LABELS)
    assert problem.dtype == kept and problem.X.dtype == kept and problem.Y.dtype == kept


def test_foreign_byte_order_and_strides():
    problem = amcore.Problem(NET, np.asfortranarray(X).astype(">f8"), LABELS)
    np.testing.assert_array_equal(problem.X, X)
    assert problem.X.flags.c_contiguous and problem.X.dtype.isnative


def test_contiguous_input_is_not_copied():
    assert np.shares_memory(amcore.Problem(NET, X, LABELS).X, X)


def test_array_interfaces():
    class Wrapped:
        def __init__(self, array):
            self.array = array

        def __array__(self, dtype=None, copy=None):
            return self.array

    class Exported:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    for kind in (Wrapped, Exported):
        np.testing.assert_array_equal(amcore.Problem(NET, kind(X), LABELS).X, X)
