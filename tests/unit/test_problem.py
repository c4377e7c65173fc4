"""amcore.Problem: dtypes, encoding of labels, decoding of outputs."""

import dataclasses

import numpy as np
import pytest

import amcore
from amcore.reference.loss.squared import SquaredLoss

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


@pytest.mark.parametrize("loss", ["squared", "cross_entropy", "hinge"])
@pytest.mark.parametrize("kind", [np.uint8, bool, np.float32, float, object])
def test_labels_of_any_type(kind, loss):
    labels = LABELS % 2 if kind is bool else LABELS
    problem = amcore.Problem(NET, X, labels.astype(kind), loss=loss)
    assert problem.classes == (0, 1, 2)
    np.testing.assert_array_equal(problem.Y, amcore.Problem(NET, X, labels, loss=loss).Y)
    checked = problem.check_labels(labels.astype(kind))
    np.testing.assert_array_equal(checked, labels)
    assert checked.dtype.kind == "i"


@pytest.mark.parametrize(
    ("y", "kind", "said"),
    [
        (LABELS.astype(str), TypeError, "labels 0 … 2, got dtype <U"),
        (LABELS + 1, ValueError, r"labels 0 … 2, got y\[2\] = 3"),
        (LABELS + 0.5, ValueError, r"y\[0\] = 0.5"),
        (LABELS[:, None], ValueError, r"\(6,\).*\(6, 1\)"),
        (np.ma.array(LABELS, mask=LABELS == 1), ValueError, "masked"),
    ],
)
def test_wrong_labels(y, kind, said):
    with pytest.raises(kind, match=f"^y: .*{said}"):
        amcore.Problem(NET, X, LABELS).check_labels(y)


def test_targets_that_are_no_labels_have_none():
    with pytest.raises(ValueError, match=r"^y: the problem's targets are not class labels"):
        amcore.Problem(NET, X, np.eye(3)[LABELS]).check_labels(LABELS)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_decoded_outputs_have_the_shape_of_the_targets(backend, width):
    network = amcore.Network([4, width])
    targets = rng.standard_normal((6, width))
    W, b = rng.standard_normal((width, 4)), np.zeros(width)
    outputs = network.forward(X, [(W, b)], backend=backend)
    shaped = [targets] if width > 1 else [targets, targets[:, 0]]
    for given in shaped:
        decoded = amcore.Problem(network, X, given).decode(outputs)
        assert decoded.shape == given.shape
        np.testing.assert_array_equal(decoded.ravel(), outputs.ravel())


def test_no_label_is_read_from_what_is_not_finite():
    outputs = np.eye(3)
    outputs[1, 0] = np.nan
    problem = amcore.Problem(NET, X, LABELS)
    with pytest.raises(ValueError, match=r"^outputs: .*outputs\[1, 0\] = nan"):
        problem.decode(outputs)
    with pytest.raises(ValueError, match=r"^outputs: expected shape \(3, 3\)"):
        problem.decode(outputs[:, :2])


class Frame:
    """As a data frame: an array whose columns have names."""

    def __init__(self, array, columns):
        self.array, self.columns = array, columns

    def __array__(self, dtype=None, copy=None):
        return self.array


def test_names_of_columns_are_kept_and_compared():
    problem = amcore.Problem(NET, Frame(X, ["a", "b", "c", "d"]), LABELS)
    assert problem.columns == ("a", "b", "c", "d")
    for fits in (Frame(X, ["a", "b", "c", "d"]), Frame(X, range(4)), X):
        problem.check_columns(fits)
    for names, said in ((["a", "c", "b", "d"], "column 1 to be 'b', got 'c'"), ("azcd", "got 'z'")):
        with pytest.raises(ValueError, match=f"^X: expected .*{said}"):
            problem.check_columns(Frame(X, names))


@pytest.mark.parametrize("columns", [range(4), ["a", "b", "c", 3], [("a", "b")] * 4, None, X.sum])
def test_columns_without_names(columns):
    problem = amcore.Problem(NET, Frame(X, columns), LABELS)
    assert problem.columns is None
    problem.check_columns(Frame(X, ["a", "b", "c", "d"]))


@dataclasses.dataclass(frozen=True)
class Theirs(SquaredLoss):
    """A user's loss, of which nothing is known unless it says so."""


@dataclasses.dataclass(frozen=True)
class Nonnegative(SquaredLoss):
    nonnegative = True


@pytest.mark.parametrize(
    ("scheme", "loss", "bound"),
    [
        (amcore.TwoSplitBCD(), "hinge", 0),
        (amcore.ThreeSplitBCD(), "cross_entropy", 0),
        (amcore.MDLAM(), "squared", 0),
        (amcore.ADMM(), "squared", -np.inf),  # of multipliers of any sign
        (amcore.ThreeSplitBCD(), Theirs(), -np.inf),
        (amcore.ThreeSplitBCD(), Nonnegative(), 0),
    ],
)
def test_the_trace_knows_a_lower_bound_of_its_objective(scheme, loss, bound):
    problem = amcore.Problem(
        amcore.Network([2, 3, 2], "tanh"), np.eye(2), [0, 1], loss, weight_regularizer="ridge"
    )
    run = amcore.solve(problem, scheme, max_iter=2, backend="reference")
    assert run.trace.lower_bound == bound
    old = amcore.Trace.from_saved(
        {name: array for name, array in run.trace.to_arrays().items() if name != "lower_bound"}
    )
    assert old.lower_bound == -np.inf
    goes_on = amcore.solve(
        problem, scheme, init=run.state, trace=old, max_iter=1, backend="reference"
    )
    assert goes_on.trace.lower_bound == bound
