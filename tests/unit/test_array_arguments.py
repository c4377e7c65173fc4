"""Arguments that are arrays: what is refused by name, and what changes nothing."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import amcore

rng = np.random.default_rng(0)
X = rng.standard_normal((6, 4))
LABELS = np.array([0, 1, 2, 2, 1, 0])
Y = np.eye(3)[LABELS]
NET = amcore.Network([4, 5, 3], activation="tanh")
WEIGHTS = [
    (rng.standard_normal((5, 4)), rng.standard_normal(5)),
    (rng.standard_normal((3, 5)), rng.standard_normal(3)),
]


def with_weight(part, given):
    first = list(WEIGHTS[0])
    first[part] = given
    return [first, WEIGHTS[1]]


def forward(backend):
    return lambda given: NET.forward(given, WEIGHTS, backend=backend)


def solve(Y=LABELS, **options):
    return amcore.solve(amcore.Problem(NET, X, Y), amcore.ThreeSplitBCD(), max_iter=1, **options)


RUN = solve()

# What takes an array: its name in messages, a function of it, and an array that it takes.
TAKES_FINITE = {
    "Problem X": ("X", lambda given: amcore.Problem(NET, given, LABELS).X, X),
    "Problem Y": ("Y", lambda given: amcore.Problem(NET, X, given).Y, Y),
    "Problem labels": ("Y", lambda given: amcore.Problem(NET, X, given).Y, LABELS + 0.0),
    "forward X": ("X", forward("native"), X),
    "forward X, reference": ("X", forward("reference"), X),
    "forward W": (
        "weights[0] W",
        lambda given: NET.forward(X, with_weight(0, given)),
        WEIGHTS[0][0],
    ),
    "forward b": (
        "weights[0] b",
        lambda given: NET.forward(X, with_weight(1, given)),
        WEIGHTS[0][1],
    ),
    "init W": (
        "init[0] W",
        lambda given: solve(init=with_weight(0, given)).weights[0][0],
        WEIGHTS[0][0],
    ),
    "predict X": ("X", RUN.predict, X),
    "score X": ("X", lambda given: RUN.score(given, LABELS), X),
    "score labels": ("y", lambda given: RUN.score(X, given), LABELS + 0.0),
    "score targets": ("y", lambda given: solve(Y=Y).score(X, given), Y),
    "decode": ("outputs", lambda given: amcore.Problem(NET, X, LABELS).decode(given), Y),
    "ridge_update U": ("U", lambda given: amcore.blocks.ridge_update(given, X, Y.T @ X)[0], Y),
    "ridge_update b": (
        "b",
        lambda given: amcore.blocks.ridge_update(Y, X, Y.T @ X, given)[1],
        np.ones(3),
    ),
    "hidden_update S": ("S", lambda given: amcore.blocks.hidden_update(given, Y, Y.T @ X), X),
    "preactivation_update P": (
        "P",
        lambda given: amcore.blocks.preactivation_update("tanh", X, given, X),
        X,
    ),
    "output_update Y": (
        "Y",
        lambda given: amcore.blocks.output_update("cross_entropy", given, 2 * Y, 3 * Y),
        Y,
    ),
}
TAKES = TAKES_FINITE | {
    "activation u": ("u", amcore.activations.tanh.value, X),
    "activation z": ("z", lambda given: amcore.activations.relu.prox(X, given, 1.0), X),
    "loss v": ("v", lambda given: amcore.losses.squared.gradient(given, X), X),
    "loss y": ("y", lambda given: amcore.losses.squared.prox(X, given, 1.0), X),
    "regularizer x": ("x", lambda given: amcore.regularizers.l1(0.3).prox(given, 1.0), X),
    "regularizer g": (
        "g",
        lambda given: amcore.regularizers.none.subgradient_distance(X, given),
        X,
    ),
}


class Sparse:
    """As SciPy's sparse arrays: no ``__array__``, but ``toarray``."""

    def __init__(self, array):
        self.array = array

    def toarray(self):
        return self.array


class Tensor:
    """As PyTorch's tensors with a gradient."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.\nMore lines.")


class Elsewhere:
    """As arrays in the memory of another device."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        raise BufferError("device 2")

    def __dlpack_device__(self):
        return (2, 0)


def masked(array):
    mask = np.zeros(array.shape, bool)
    mask.flat[-1] = True
    return np.ma.array(array, mask=mask)


def with_object(array, entry):
    array = array.astype(object)
    array.flat[-1] = entry
    return array


WRONG = {
    "masked": (masked, "masked"),
    "masked rows": (lambda array: list(masked(array)), "masked"),
    "complex": (lambda array: array + 0j, "complex128"),
    "half": (lambda array: array.astype(np.float16), "float16"),
    "long double": (lambda array: array.astype(np.longdouble), "float"),
    "words": (lambda array: array.astype(str), "<U"),
    "bytes": (lambda array: array.astype(bytes), "S"),
    "dates": (lambda array: array.astype(int).astype("datetime64[s]"), "datetime64"),
    "records": (lambda array: np.zeros(array.shape, [("a", float), ("b", float)]), "'a'"),
    "None inside": (lambda array: with_object(array, None), r"\] = None \(NoneType\)"),
    "word inside": (lambda array: with_object(array, "a"), r"\] = 'a' \(str\)"),
    "list inside": (lambda array: with_object(array, [1]), r"\] = \[1\] \(list\)"),
    "dict": (lambda array: dict(enumerate(array)), "dict"),
    "set": (lambda array: set(array.flat), "set"),
    "iterator": (iter, "iterator"),
    "a word": (lambda array: "array", "'array'"),
    "sparse": (Sparse, r"Sparse.*toarray\(\)"),
    "gradient": (Tensor, "Tensor.*requires grad"),
    "elsewhere": (Elsewhere, "Elsewhere.*device 2"),
}


def refusal(call, given, kinds=(TypeError, ValueError)):
    """Return the one line that an array is refused with."""
    with pytest.raises(kinds) as caught:
        call(given)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 200
    return message


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("argument", TAKES)
def test_refused(argument, wrong):
    name, call, good = TAKES[argument]
    spoil, said = WRONG[wrong]
    message = refusal(call, spoil(good))
    assert message.startswith(f"{name}: "), message
    assert re.search(said, message), message


@pytest.mark.parametrize("argument", TAKES_FINITE)
@given(data=st.data(), bad=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_what_is_not_finite_is_named(argument, data, bad):
    name, call, good = TAKES_FINITE[argument]
    index = tuple(data.draw(st.integers(0, size - 1)) for size in good.shape)
    array = good.copy()
    array[index] = bad
    message = refusal(call, array, ValueError)
    place = ", ".join(map(str, index))
    assert message.startswith(f"{name}: ") and message.endswith(f"{name}[{place}] = {bad}"), message


def unaligned(array):
    raw = np.empty(array.nbytes + 1, np.uint8)
    result = raw[1:].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


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


def frame(array):
    pandas = pytest.importorskip("pandas")
    return (pandas.DataFrame if array.ndim == 2 else pandas.Series)(array)


SAME = {
    "Fortran": np.asfortranarray,
    "byte order": lambda array: array.astype(array.dtype.newbyteorder("S")),
    "strided": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "reversed": lambda array: array[::-1].copy()[::-1],
    "unaligned": unaligned,
    "read-only": read_only,
    "nothing masked": lambda array: np.ma.array(array, mask=np.zeros(array.shape, bool)),
    "list": lambda array: array.tolist(),
    "objects": lambda array: array.astype(object),
    "__array__": Wrapped,
    "DLPack": Exported,
    "data frame": frame,
    "nullable": lambda array: frame(array).astype("Float64"),
}


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("argument", TAKES)
def test_layout_and_container_change_nothing(argument, kind):
    _, call, good = TAKES[argument]
    np.testing.assert_array_equal(call(SAME[kind](good)), call(good))


def test_missing_values_of_data_frames_are_refused():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X).astype("Float64")
    table[0] = pandas.Series(range(6), dtype="Int64")
    table.iloc[2, 1] = pandas.NA
    with pytest.raises((TypeError, ValueError), match=r"^X: .*X\[2, 1\] = (nan|<NA>)"):
        amcore.Problem(NET, table, LABELS)


@given(
    st.lists(
        st.one_of(
            st.integers(-(2**70), 2**70),
            st.floats(),
            st.booleans(),
            st.none(),
            st.text(max_size=3),
            st.fractions(),
            st.just(np.ma.masked),
            st.just([]),
        ),
        max_size=4,
    )
)
def test_any_list_is_taken_as_numbers_or_refused_by_name(entries):
    network = amcore.Network([1, 1])
    try:
        problem = amcore.Problem(network, [[1.0]] * len(entries), entries)
    except (TypeError, ValueError) as error:
        assert re.match("[XY]: ", str(error)) and "\n" not in str(error)
    else:
        np.testing.assert_array_equal(problem.Y[:, 0], np.array(entries).astype(float))
