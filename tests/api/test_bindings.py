"""Every function and class of the compiled core against arrays it must not take.

The core reads and writes raw memory, so each wrong array is refused by its binding: with TypeError
or ValueError in one line, before anything is written. Every array lies between guard bytes.
"""

import itertools
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from amcore import _core

N, IN, OUT = 6, 4, 3
GUARD = 256


def guarded(values):
    """Return a copy of an array that lies in the middle of a larger buffer, and that buffer."""
    values = np.asarray(values)
    buffer = np.full(values.nbytes + 2 * GUARD, 0xA5, np.uint8)
    start = GUARD + -(buffer.ctypes.data + GUARD) % 64
    inside = buffer[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    inside[...] = values
    return inside, buffer


rng = np.random.default_rng(0)


def normal(*shape):
    return rng.standard_normal(shape)


class Call:
    """A call with valid arguments: which are arrays, which of these are written to."""

    def __init__(self, function, written=(), numbers=None, free_shape=(), **arguments):
        self.function, self.written, self.free_shape = function, written, free_shape
        self.numbers = numbers or {}
        self.arguments = arguments

    def make(self, dtype=np.float64):
        """Return fresh arguments, and the buffers that hold their arrays."""
        buffers, made = {}, {}
        for name, value in self.arguments.items():
            if isinstance(value, np.ndarray):
                made[name], buffers[name] = guarded(value.astype(dtype))
            else:
                made[name] = value
        return made | self.numbers, buffers

    @property
    def arrays(self):
        return [name for name, value in self.arguments.items() if isinstance(value, np.ndarray)]


def engine(stem, names, settings, activation, X, Y, **given):
    """The engine of a two-layer network with changes, with a sweep after its construction.

    Its arrays are given as ``W1=…``; None leaves one out.
    """
    layers = [{name: given.pop(f"{name}{i}") for name in names} for i in (1, 2)]
    assembly = {
        "layers": [
            {n: array for n, array in layer.items() if array is not None} for layer in layers
        ],
        "numbers": {},
        "activations": [_core.Activation(activation), _core.Activation("identity")],
        "skip": [False, False],
        "loss": _core.Loss("squared"),
        "loss_weight": 1.0,
        "weight_regularizers": [_core.Regularizer("ridge", [0.5])] * 2,
        "activation_regularizers": [_core.Regularizer("none")] * 2,
        "num_threads": 1,
        "collective": None,
    }
    for name in assembly:
        assembly[name] = given.pop(name, assembly[name])
    made = _core.Engine(stem, _core.Assembly(X=X, Y=Y, **assembly), settings | given)
    made.forward()
    return made.sweep(True)


three_split = partial(
    engine,
    "three_split_bcd",
    ("W", "b", "U", "V"),
    {"gamma": [1.0, 1.0], "rho": [1.0, 1.0], "alpha": 1.0, "inner_tol": 1e-6, "inner_steps": 9},
    "relu",
)
admm = partial(
    engine,
    "admm",
    ("W", "b", "V", "Lambda", "V_old"),
    {"beta": [2.0, 1.0], "xi": [0.5, 0.25], "tight": False, "backprop": True},
    "tanh",
)


def forward(X, W1, b1, W2, b2, out, **options):
    given = {
        "activations": [_core.Activation("tanh"), _core.Activation("identity")],
        "skip": [False, False],
        "num_threads": 1,
    }
    _core.forward(X=X, weights=[(W1, b1), (W2, b2)], out=out, **(given | options))


relu, squared, ridge = (
    _core.Activation("relu"),
    _core.Loss("squared"),
    _core.Regularizer("ridge", [0.5]),
)
VECTOR = normal(7)
ROWS = normal(N, OUT)
LAYERS = {
    "W1": normal(5, IN), "b1": normal(5), "U1": normal(N, 5), "V1": normal(N, 5),
    "W2": normal(OUT, 5), "b2": normal(OUT), "U2": normal(N, OUT), "V2": normal(N, OUT),
}  # fmt: skip
ADMM_LAYERS = {name: array for name, array in LAYERS.items() if name[0] != "U"} | {
    f"{name}{i}": normal(N, width)
    for i, width in ((1, 5), (2, OUT))
    for name in ("Lambda", "V_old")
}
CALLS = {
    "Activation.value": Call(relu.value, ["out"], u=VECTOR, out=normal(7)),
    "Activation.derivative": Call(
        lambda u, out, side="left": relu.derivative(u, side, out), ["out"], u=VECTOR, out=normal(7)
    ),
    "Activation.difference": Call(relu.difference, ["out"], a=VECTOR, b=normal(7), out=normal(7)),
    "Activation.prox": Call(
        relu.prox, ["out"], {"weight": 0.5}, v=VECTOR, z=normal(7), out=normal(7)
    ),
    "Loss.value": Call(squared.value, v=ROWS, y=ROWS),
    "Loss.gradient": Call(squared.gradient, ["out"], v=ROWS, y=normal(N, OUT), out=normal(N, OUT)),
    "Loss.difference": Call(squared.difference, a=ROWS, b=ROWS, y=ROWS),
    "Loss.prox": Call(
        squared.prox, ["out"], {"tau": 0.5}, q=ROWS, y=normal(N, OUT), out=normal(N, OUT)
    ),
    "Loss.subgradient_distance": Call(
        squared.subgradient_distance, [], {"scale": 1.0}, v=ROWS, y=ROWS, g=ROWS
    ),
    "Regularizer.value": Call(ridge.value, free_shape=["x"], x=VECTOR),
    "Regularizer.prox": Call(ridge.prox, ["out"], {"tau": 0.5}, x=VECTOR, out=normal(7)),
    "Regularizer.subgradient_distance": Call(ridge.subgradient_distance, x=VECTOR, g=VECTOR),
    "ridge_update": Call(
        _core.ridge_update,
        ["W", "b"],
        {"rho": 1.0, "alpha": 1.0, "lam": 0.0, "num_threads": 1},
        U=normal(N, OUT), V=normal(N, IN), W=normal(OUT, IN), b=normal(OUT),
    ),
    "hidden_update": Call(
        _core.hidden_update,
        ["out"],
        {"gamma": 1.0, "rho": 1.0, "num_threads": 1},
        S=normal(N, IN), U=normal(N, OUT), W=normal(OUT, IN), b=normal(OUT), out=normal(N, IN),
    ),
    "preactivation_update": Call(
        _core.preactivation_update,
        ["U"],
        {"gamma": 1.0, "rho": 1.0, "alpha": 1.0, "num_threads": 1},
        activation=relu, V=normal(N, OUT), P=normal(N, OUT), U=normal(N, OUT),
    ),
    "output_update": Call(
        _core.output_update,
        ["V"],
        {"loss_weight": 1.0, "gamma": 1.0, "alpha": 1.0, "num_threads": 1},
        loss=squared, Y=normal(N, OUT), S=normal(N, OUT), V=normal(N, OUT),
    ),
    "ThreeSplitBCD": Call(three_split, list(LAYERS), X=normal(N, IN), Y=normal(N, OUT), **LAYERS),
    "ADMM": Call(admm, list(ADMM_LAYERS), X=normal(N, IN), Y=normal(N, OUT), **ADMM_LAYERS),
    "forward": Call(
        forward, ["out"], X=normal(N, IN), out=normal(N, OUT),
        **{name: LAYERS[name] for name in ("W1", "b1", "W2", "b2")},
    ),
}  # fmt: skip


def wrong_dtypes(A):
    other = np.float64 if A.dtype == np.float32 else np.float32
    for dtype in (other, np.float16, np.int64, np.complex128, A.dtype.newbyteorder(), bool, object):
        yield f"dtype {np.dtype(dtype).str}", A.astype(dtype)
    yield "text", A.astype(str)
    yield "records", np.zeros(A.shape, [("a", A.dtype)])


def wrong_layouts(A):
    double = np.repeat(A, 2, axis=-1)
    yield "every other entry", double[..., ::2]
    yield "reversed", A[..., ::-1]
    yield "broadcast", np.broadcast_to(A.ravel()[0], A.shape)
    if A.ndim == 2:
        yield "Fortran order", np.asfortranarray(A)
        yield "columns of a wider array", np.concatenate([A, A], axis=1)[:, : A.shape[1]]
    raw = np.zeros(A.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(A.dtype).reshape(A.shape)
    unaligned[...] = A
    yield "unaligned", unaligned


def wrong_shapes(A):
    yield "one row less", np.ascontiguousarray(A[:-1])
    yield "one row more", np.concatenate([A, A[:1]])
    yield "no rows", np.ascontiguousarray(A[:0])
    yield "one dimension more", A[None].copy()
    yield "scalar", np.array(A.ravel()[0])
    if A.ndim == 2:
        yield "one column less", np.ascontiguousarray(A[:, :-1])
        yield "one column more", np.concatenate([A, A[:, :1]], axis=1)
        yield "no columns", np.ascontiguousarray(A[:, :0])
        yield "flat", A.ravel().copy()
    if A.ndim == 2 and A.shape[0] != A.shape[1]:
        yield "transposed", np.ascontiguousarray(A.T)


def refused(call, arguments, buffers, multiline=False):
    """The call raises TypeError or ValueError in one line; nothing is written anywhere."""
    before = {name: buffer.copy() for name, buffer in buffers.items()}
    with pytest.raises((TypeError, ValueError)) as caught:
        call.function(**arguments)
    assert type(caught.value) in (TypeError, ValueError)
    message = str(caught.value)
    assert message and (multiline or "\n" not in message), message
    for name, buffer in buffers.items():
        assert np.array_equal(buffer, before[name]), f"{name} was written to before the refusal"
    return message


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CALLS)
def test_valid_arguments_are_taken_and_stay_in_bounds(name, dtype):
    call = CALLS[name]
    arguments, buffers = call.make(dtype)
    before = {key: buffer.copy() for key, buffer in buffers.items()}
    call.function(**arguments)
    for key, buffer in buffers.items():
        array = arguments[key]
        inside = np.zeros(buffer.size, bool)
        offset = array.ctypes.data - buffer.ctypes.data
        inside[offset : offset + array.nbytes] = key in call.written
        assert np.array_equal(buffer[~inside], before[key][~inside])
    for key in call.written:
        assert not np.array_equal(buffers[key], before[key]), f"{key} was not written"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CALLS)
def test_wrong_arrays_are_refused(name, dtype):
    call = CALLS[name]
    for key in call.arrays:
        A = call.make(dtype)[0][key]
        wrong = [*wrong_dtypes(A), *wrong_layouts(A)]
        if key not in call.free_shape:
            wrong += wrong_shapes(A)
        for what, array in wrong:
            if call.arrays == [key] and what.startswith("dtype <f"):
                continue  # the only array decides the type
            arguments, buffers = call.make(dtype)
            try:
                message = refused(call, arguments | {key: array}, buffers)
            except pytest.fail.Exception:
                pytest.fail(f"{name} took {key}: {what}")
            assert len(message) < 200


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_array_is_refused(name):
    call = CALLS[name]
    for key, wrong in itertools.product(call.arrays, ([1.0], 1.0, "x", object(), memoryview(b"1"))):
        arguments, buffers = call.make()
        refused(call, arguments | {key: wrong}, buffers, multiline=True)
        if not key.startswith("b"):  # a layer without bias has None
            refused(call, arguments | {key: None}, buffers, multiline=True)


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.written])
def test_read_only_results_are_refused(name):
    call = CALLS[name]
    for key in call.written:
        arguments, buffers = call.make()
        arguments[key].flags.writeable = False
        assert "read-only" in refused(call, arguments, buffers)


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.written])
def test_overlapping_arrays_are_refused(name):
    """A result may not share memory with another array, whole or in part."""
    call = CALLS[name]
    for written, other in itertools.product(call.written, call.arrays):
        if written == other:
            continue
        arguments, buffers = call.make()
        a, b = arguments[written], arguments[other]
        shared, buffer = guarded(np.resize(normal(97), a.size + b.size))
        for shift in (0, 1, a.size - 1):
            trial = dict(arguments)
            trial[written] = shared[: a.size].reshape(a.shape)
            trial[other] = shared[shift : shift + b.size].reshape(b.shape)
            elementwise = shift == 0 and a.shape == b.shape and "." in name
            if elementwise and _right_in_place(call, trial, written, other):
                continue
            try:
                refused(call, trial, {**buffers, "shared": buffer})
            except pytest.fail.Exception:
                pytest.fail(f"{name} took {written} and {other}, shifted by {shift}")


def _right_in_place(call, trial, written, other):
    """An elementwise function may write onto its argument, if the result is right."""
    apart = {key: np.array(v) if isinstance(v, np.ndarray) else v for key, v in trial.items()}
    same = {key: v.copy() if isinstance(v, np.ndarray) else v for key, v in trial.items()}
    same[other] = same[written]
    try:
        call.function(**same)
    except ValueError:
        return False
    call.function(**apart)
    return np.array_equal(same[written], apart[written])


def test_inputs_may_be_the_same_array():
    out = np.empty(7)
    relu.prox(VECTOR, VECTOR, 1.0, out)
    assert squared.value(ROWS, ROWS) == 0


NUMBERS = [(name, key) for name, call in CALLS.items() for key in call.numbers]


@pytest.mark.parametrize(("name", "key"), [n for n in NUMBERS if n[1] != "num_threads"])
def test_wrong_numbers_are_refused(name, key):
    call = CALLS[name]
    for wrong in (np.nan, np.inf, -np.inf, -1.0):
        arguments, buffers = call.make()
        refused(call, arguments | {key: wrong}, buffers)
    if key not in ("alpha", "lam", "scale"):
        arguments, buffers = call.make()
        refused(call, arguments | {key: 0.0}, buffers)
    for wrong in ("1", None, [1.0]):
        arguments, buffers = call.make()
        refused(call, arguments | {key: wrong}, buffers, multiline=True)


ENGINE = {
    "no layers": {"layers": []},
    "too few activations": {"activations": [relu]},
    "too many skips": {"skip": [False] * 3},
    "skip where widths differ": {"skip": [True, False]},
    "too few regularizers": {"weight_regularizers": []},
    "too few gammas": {"gamma": [1.0]},
    "gamma zero": {"gamma": [1.0, 0.0]},
    "gamma NaN": {"gamma": [1.0, np.nan]},
    "too many rhos": {"rho": [1.0] * 3},
    "rho negative": {"rho": [-1.0, 1.0]},
    "rho infinite": {"rho": [np.inf, 1.0]},
    "alpha NaN": {"alpha": np.nan},
    "alpha negative": {"alpha": -1.0},
    "loss weight zero": {"loss_weight": 0.0},
    "loss weight NaN": {"loss_weight": np.nan},
    "inner_steps zero": {"inner_steps": 0},
    "inner_steps beyond C++": {"inner_steps": 2**40},
    "inner_steps no integer": {"inner_steps": 1.5},
    "inner_tol negative": {"inner_tol": -1.0},
    "an option too many": {"beta": 1.0},
    "text for numbers": {"gamma": "12"},
    "a regularizer of V that couples samples": {
        "activation_regularizers": [_core.Regularizer("l2_ball", [1.0])] * 2
    },
    "a number of the state": {"numbers": {"s": np.zeros(())}},
    "threads beyond C++": {"num_threads": 2**40},
    "negative threads": {"num_threads": -1},
    "threads no integer": {"num_threads": "two"},
    "one bias": {"b1": None},
    "an array missing": {"U2": None},
}


@pytest.mark.parametrize("what", ENGINE)
def test_wrong_options_of_the_engine_are_refused(what):
    call = CALLS["ThreeSplitBCD"]
    arguments, buffers = call.make()
    refused(call, arguments | ENGINE[what], buffers)


@pytest.mark.parametrize(
    "options",
    [
        {"beta": [1.0]},
        {"beta": [1.0, 0.0]},
        {"beta": [np.nan, 1.0]},
        {"xi": [1.0] * 3},
        {"xi": [-1.0, 1.0]},
        {"xi": [np.inf, 1.0]},
        {"skip": [False, True]},
        {"activations": [relu, relu]},
        {"weight_regularizers": [_core.Regularizer("l1", [0.5])] * 2},
        {"tight": "published"},
        {"backprop": 1},
        {"activation_regularizers": [_core.Regularizer("l1", [0.5])] * 2},
    ],
)
def test_wrong_options_of_admm_are_refused(options):
    call = CALLS["ADMM"]
    arguments, buffers = call.make()
    refused(call, arguments | options, buffers)


@pytest.mark.parametrize(
    "options",
    [
        {"activations": [None, relu]},
        {"loss": relu},
        {"weight_regularizers": [relu, relu]},
        {"collective": 3},
        {"layers": [(1, 2, 3)]},
    ],
)
def test_wrong_kinds_of_options_are_refused(options):
    call = CALLS["ThreeSplitBCD"]
    arguments, buffers = call.make()
    refused(call, arguments | options, buffers, multiline=True)


@pytest.mark.parametrize(
    "options",
    [
        {"activations": []},
        {"skip": [True, False]},
        {"skip": [False]},
        {"activations": [relu] * 3},
        {"num_threads": 2**70},
    ],
)
def test_wrong_options_of_forward_are_refused(options):
    call = CALLS["forward"]
    arguments, buffers = call.make()
    refused(call, arguments | options, buffers)


@pytest.mark.parametrize("kind", [_core.Activation, _core.Loss, _core.Regularizer])
def test_wrong_operators_are_refused(kind):
    for arguments in (("no such thing",), ("",), ("ridge\0",), ("relu", [1.0]), ("squared", [1.0])):
        with pytest.raises(ValueError) as caught:
            kind(*arguments)
        assert "\n" not in str(caught.value)
    for wrong in (None, 3, b"relu"):
        if wrong != b"relu":
            with pytest.raises(TypeError):
                kind(wrong)


@pytest.mark.parametrize(
    ("kind", "name", "parameters"),
    [
        (_core.Regularizer, "ridge", []),
        (_core.Regularizer, "ridge", [1.0, 2.0]),
        (_core.Regularizer, "ridge", [-1.0]),
        (_core.Regularizer, "ridge", [np.nan]),
        (_core.Regularizer, "ridge", [np.inf]),
        (_core.Activation, "leaky_relu", []),
        (_core.Activation, "leaky_relu", [-0.5]),
        (_core.Activation, "leaky_relu", [1.5]),
        (_core.Activation, "leaky_relu", [np.nan]),
    ],
)
def test_wrong_parameters_are_refused(kind, name, parameters):
    with pytest.raises(ValueError) as caught:
        kind(name, parameters)
    assert "\n" not in str(caught.value)


KINDS = {
    "activation": _core.Activation,
    "loss": _core.Loss,
    "regularizer": _core.Regularizer,
}
PARAMETRIC = [
    (family, name, parameters)
    for family, operators in _core.registry().items()
    for name, parameters in operators.items()
    if parameters
]


@pytest.mark.parametrize(("family", "name", "parameters"), PARAMETRIC)
def test_parameters_that_are_no_numbers_are_refused(family, name, parameters):
    kind = KINDS[family]
    defaults = np.concatenate([np.ravel(default) for _, default in parameters]).tolist()
    kind(name, defaults)
    for wrong in ([], *(_replaced(defaults, k, np.nan) for k in range(len(defaults)))):
        with pytest.raises(ValueError) as caught:
            kind(name, wrong)
        assert "\n" not in str(caught.value)


def _replaced(values, k, value):
    return [*values[:k], value, *values[k + 1 :]]


def test_wrong_side_is_refused():
    out = np.zeros(7)
    for side in ("up", "", "LEFT"):
        with pytest.raises(ValueError, match="side"):
            relu.derivative(VECTOR, side, out)
    assert not out.any()


HARMLESS = """
import numpy as np
from amcore import _core

def build(kind, name, parameters):
    return kind(name, np.concatenate([np.ravel(default) for _, default in parameters] or [[]]))

hard = [np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 1e-310, 1e308, -1e308, 1.0, -1.0, 2.0]
with np.errstate(all="ignore"):
    for dtype in (np.float64, np.float32):
        v, z = (a.ravel().astype(dtype) for a in np.meshgrid(hard, hard))
        for name, parameters in _core.registry()["activation"].items():
            op = build(_core.Activation, name, parameters)
            out = np.empty_like(v)
            op.value(v, out)
            op.derivative(v, "left", out)
            op.difference(v, z, out)
            for weight in (1e-300, 1e-12, 1.0, 1e12, 1e300):
                op.prox(v, z, weight, out)
        for name, parameters in _core.registry()["loss"].items():
            op = build(_core.Loss, name, parameters)
            for width in (1, 2, 12):
                a, b = v.reshape(-1, width), z.reshape(-1, width)
                out = np.empty_like(a)
                op.value(a, b), op.gradient(a, b, out), op.difference(a, b, b)
                op.subgradient_distance(a, b, b, 1.0)
                for tau in (1e-300, 1e-12, 1.0, 1e12, 1e300):
                    op.prox(a, b, tau, out)
        for name, parameters in _core.registry()["regularizer"].items():
            op = build(_core.Regularizer, name, parameters)
            out = np.empty_like(v)
            op.value(v), op.prox(v, 1.0, out), op.subgradient_distance(v, z)
        # Arrays of no entries
        none = np.zeros(0, dtype)
        _core.Activation("relu").value(none, none.copy())
        assert _core.Regularizer("ridge", [1.0]).value(none) == 0
        for name, parameters in _core.registry()["loss"].items():
            op = build(_core.Loss, name, parameters)
            for shape in ((0, 3), (3, 0)):
                empty = np.zeros(shape, dtype)
                try:
                    assert op.value(empty, empty.copy()) == 0
                    op.prox(empty, empty.copy(), 1.0, empty.copy())
                except ValueError:
                    pass
print("alive")
"""
THREADS = """
import numpy as np
from amcore import _core

V, U, W = np.ones((20000, 3)), np.ones((20000, 2)), np.zeros((2, 3))
relu, squared = _core.Activation("relu"), _core.Loss("squared")
for count in (-5, 0, 64, 10_000_000):
    try:
        _core.ridge_update(U, V, W, None, 1.0, 1.0, 0.0, count)
        _core.hidden_update(V.copy(), U, W, None, 1.0, 1.0, np.empty_like(V), count)
        _core.preactivation_update(relu, U, U, U.copy(), 1.0, 1.0, 1.0, count)
        _core.output_update(squared, 1.0, U, U, U.copy(), 1.0, 1.0, count)
        _core.forward(V, [(W, None)], [relu], [False], np.empty_like(U), count)
    except ValueError as error:
        assert "num_threads" in str(error)
print("alive")
"""


@pytest.mark.parametrize("code", [HARMLESS, THREADS], ids=["hard numbers", "numbers of threads"])
def test_neither_crash_nor_hang(code):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout == "alive\n", result.stderr or result.returncode
