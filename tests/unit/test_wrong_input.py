"""Wrong input is refused in one clear line that names the argument, before any work."""

import re

import numpy as np
import pytest

import amcore

rng = np.random.default_rng(0)
X = rng.standard_normal((12, 4))
LABELS = np.arange(12) % 3
Y = np.eye(3)[LABELS]
NET = amcore.Network([4, 5, 3])
PROBLEM = amcore.Problem(NET, X, LABELS)
SCHEME = amcore.ThreeSplitBCD()
WEIGHTS = [(np.zeros((5, 4)), np.zeros(5)), (np.zeros((3, 5)), np.zeros(3))]


def network(widths=(4, 5, 3), **options):
    return amcore.Network(list(widths), **options)


def problem(x=X, y=LABELS, net=NET, **options):
    return amcore.Problem(net, x, y, **options)


def solve(p=PROBLEM, s=SCHEME, **options):
    return amcore.solve(p, s, max_iter=options.pop("max_iter", 1), backend="reference", **options)


def with_nan(array):
    array = array.copy()
    array[1, 2] = np.nan
    return array


def wrong_shape(layer, part, shape):
    weights = [list(pair) for pair in WEIGHTS]
    weights[layer][part] = np.zeros(shape)
    return weights


CASES = {
    # the network
    "one width": (lambda: network([4]), ValueError, "widths", "at least 2"),
    "width zero": (lambda: network([4, 0, 3]), ValueError, r"widths\[1\]", "0"),
    "width not integer": (lambda: network([4, 2.5]), TypeError, r"widths\[1\]", "2.5"),
    "width beyond int": (lambda: network([4, 2**40]), ValueError, r"widths\[1\]", "2147483647"),
    "widths a number": (lambda: amcore.Network(4), TypeError, "widths", "sequence"),
    "widths a 0-d array": (lambda: amcore.Network(np.array(4)), TypeError, "widths", "sequence"),
    "widths a word": (lambda: amcore.Network("42"), TypeError, "widths", "'42'"),
    "widths a set": (lambda: amcore.Network({4, 3}), TypeError, "widths", "set"),
    "widths an iterator": (lambda: amcore.Network(iter([4, 3])), TypeError, "widths", "iterator"),
    "widths of bool": (lambda: network([4, True]), TypeError, r"widths\[1\]", "True"),
    "unknown activation": (lambda: network(activation="rulu"), ValueError, "activation", "relu"),
    "activation no operator": (lambda: network(activation=3), TypeError, "activation", "3"),
    "constructor not called": (
        lambda: network(activation=amcore.activations.leaky_relu),
        TypeError,
        "activation",
        r"leaky_relu\(\)",
    ),
    "activation by layer": (
        lambda: network(activation={1: "tanh"}),
        TypeError,
        "activation",
        "one value or a sequence",
    ),
    "activation of another kind": (
        lambda: network(activation=["hinge"]),
        ValueError,
        r"activation\[0\]",
        "relu",
    ),
    "activation of NumPy": (
        lambda: network(activation=np.tanh),
        TypeError,
        "activation",
        r"an activation or its name, got numpy\.tanh$",
    ),
    "too many activations": (
        lambda: network(activation=["relu", "tanh"]),
        ValueError,
        "activation",
        "expected 1",
    ),
    "skip of unequal widths": (
        lambda: network(skip=[True, False]),
        ValueError,
        r"skip\[0\]",
        "4 and 5",
    ),
    "too few skips": (lambda: network(skip=[False]), ValueError, "skip", "expected 2"),
    "skip a set": (lambda: network(skip={True}), TypeError, "skip", "set"),
    "skip a word": (lambda: network(skip="10"), TypeError, "skip", "True or False"),
    "skip not bool": (lambda: network(skip=1), TypeError, "skip", "True or False"),
    "bias not bool": (lambda: network(bias="yes"), TypeError, "bias", "True or False"),
    "slope outside": (
        lambda: amcore.activations.leaky_relu(slope=-1),
        ValueError,
        "slope",
        r"\[0, 1\]",
    ),
    "unknown parameter": (
        lambda: amcore.activations.leaky_relu(alpha=1),
        TypeError,
        "leaky_relu",
        "alpha",
    ),
    "negative ridge": (lambda: amcore.regularizers.ridge(-1.0), ValueError, "lam", "-1"),
    "ridge not finite": (lambda: amcore.regularizers.ridge(np.inf), ValueError, "lam", "finite"),
    # the problem
    "network missing": (lambda: problem(net=[4, 5, 3]), TypeError, "network", "Network"),
    "X a vector": (lambda: problem(x=X[:, 0]), ValueError, "X", r"\(12,\)"),
    "X too narrow": (lambda: problem(x=X[:, :3]), ValueError, "X", r"\(12, 4\).*\(12, 3\)"),
    "X empty": (
        lambda: amcore.solve(problem(x=X[:0], y=LABELS[:0]), SCHEME),
        ValueError,
        "X",
        "at least one",
    ),
    "X with NaN": (lambda: problem(x=with_nan(X)), ValueError, "X", r"X\[1, 2\] = nan"),
    "X with inf": (lambda: problem(x=X / 0.0), ValueError, "X", "inf"),
    "X of halves": (lambda: problem(x=X.astype(np.float16)), TypeError, "X", "float16"),
    "X complex": (lambda: problem(x=X + 0j), TypeError, "X", "complex128"),
    "X text": (lambda: problem(x=X.astype(str)), TypeError, "X", "<U"),
    "X None": (lambda: problem(x=None), TypeError, "X", "NoneType"),
    "X without columns": (lambda: problem(x=X[:, :0]), ValueError, "X", r"\(12, 4\).*\(12, 0\)"),
    "X ragged": (lambda: problem(x=[[1.0], [1.0, 2.0]]), ValueError, "X", "different lengths"),
    "Y too short": (lambda: problem(y=LABELS[:-1]), ValueError, "Y", r"\(12,\).*\(11,\)"),
    "Y too narrow": (lambda: problem(y=Y[:, :2]), ValueError, "Y", r"\(12, 3\).*\(12, 2\)"),
    "Y with NaN": (lambda: problem(y=with_nan(Y)), ValueError, "Y", r"Y\[1, 2\] = nan"),
    "label too large": (lambda: problem(y=LABELS + 1), ValueError, "Y", "labels 0 … 2"),
    "label negative": (lambda: problem(y=LABELS - 1), ValueError, "Y", r"Y\[0\] = -1"),
    "real labels": (lambda: problem(y=LABELS + 0.5), ValueError, "Y", r"labels 0 … 2.*\[0\] = 0.5"),
    "label NaN": (lambda: problem(y=np.full(12, np.nan)), ValueError, "Y", r"Y\[0\] = nan"),
    "label infinite": (lambda: problem(y=np.full(12, np.inf)), ValueError, "Y", r"Y\[0\] = inf"),
    "labels in a column": (lambda: problem(y=LABELS[:, None]), ValueError, "Y", r"\(12, 1\)"),
    "labels for one output": (
        lambda: problem(net=network([4, 1]), y=LABELS, loss="hinge"),
        ValueError,
        "Y",
        r"labels 0 or 1, got Y\[2\] = 2",
    ),
    "words as labels": (
        lambda: problem(y=np.array(["cat", "dog", "emu"])[LABELS]),
        TypeError,
        "Y",
        "integer labels 0 … 2 .*dtype <U3",
    ),
    "objects as labels": (
        lambda: problem(y=np.array(["cat", "dog", "emu"], dtype=object)[LABELS]),
        TypeError,
        "Y",
        r"integer labels 0 … 2 .*Y\[0\] = 'cat' \(str\)",
    ),
    "Y None": (lambda: problem(y=None), TypeError, "Y", "integer labels 0 … 2 .*None"),
    "Y of other dtype": (lambda: problem(y=Y.astype(np.float32)), TypeError, "Y", "float32"),
    "no signs": (lambda: problem(y=Y, loss="hinge"), ValueError, "Y", "-1 and 1"),
    "no distribution": (
        lambda: problem(y=2 * Y, loss="cross_entropy"),
        ValueError,
        "Y",
        "add up to 1 .*got 2 for row 0",
    ),
    "negative probability": (
        lambda: problem(y=Y - [[0.5, 0, -0.5]], loss="cross_entropy"),
        ValueError,
        "Y",
        r"got Y\[1, 0\] = -0.5",
    ),
    "one class": (
        lambda: problem(net=network([4, 1]), y=LABELS, loss="cross_entropy"),
        ValueError,
        "loss",
        "at least 2 outputs",
    ),
    "unknown loss": (lambda: problem(loss="l2"), ValueError, "loss", "squared"),
    "unknown scale": (lambda: problem(loss_scale="max"), ValueError, "loss_scale", "mean"),
    "scale no word": (lambda: problem(loss_scale=None), TypeError, "loss_scale", "None"),
    "scale an array": (lambda: problem(loss_scale=X), TypeError, "loss_scale", r"\(12, 4\)"),
    "regularizers by layer": (
        lambda: problem(weight_regularizer={1: "ridge"}),
        TypeError,
        "weight_regularizer",
        "one value or a sequence",
    ),
    "regularizer in a list": (
        lambda: problem(weight_regularizer=["ridge", 3]),
        TypeError,
        r"weight_regularizer\[1\]",
        "3",
    ),
    "too few regularizers": (
        lambda: problem(weight_regularizer=["ridge"]),
        ValueError,
        "weight_regularizer",
        "expected 2",
    ),
    "activation regularizer": (
        lambda: problem(activation_regularizer=["ridge"]),
        ValueError,
        "activation_regularizer",
        "expected 2",
    ),
    # the scheme
    "gamma zero": (lambda: amcore.ThreeSplitBCD(gamma=0), ValueError, "gamma", "> 0"),
    "gamma a word": (lambda: amcore.ThreeSplitBCD(gamma="1"), TypeError, "gamma", "number"),
    "gamma by layer": (
        lambda: amcore.ThreeSplitBCD(gamma={1: 5.0, 2: 7.0}),
        TypeError,
        "gamma",
        "one value or a sequence, got .*dict",
    ),
    "rho a set": (lambda: amcore.MDLAM(rho={1.0, 2.0}), TypeError, "rho", "set"),
    "beta an iterator": (lambda: amcore.ADMM(beta=iter([1.0])), TypeError, "beta", "iterator"),
    "xi masked": (
        lambda: amcore.ADMM(xi=np.ma.array([1.0, 2.0], mask=[0, 1])),
        ValueError,
        "xi",
        "masked",
    ),
    "gamma of bool": (lambda: amcore.TwoSplitBCD([1, True]), TypeError, r"gamma\[1\]", "True"),
    "inner_iters beyond int": (
        lambda: amcore.TwoSplitBCD(inner_iters=2**31),
        ValueError,
        "inner_iters",
        "<= 2147483647",
    ),
    "rho negative": (lambda: amcore.ThreeSplitBCD(rho=[1, -1]), ValueError, r"rho\[1\]", "> 0"),
    "alpha zero": (lambda: amcore.ThreeSplitBCD(alpha=0), ValueError, "alpha", "> 0"),
    "alpha a bool": (lambda: amcore.ThreeSplitBCD(alpha=np.True_), TypeError, "alpha", "True"),
    "alpha complex": (
        lambda: amcore.ThreeSplitBCD(alpha=np.complex128(1)),
        TypeError,
        "alpha",
        "number",
    ),
    "alpha masked": (
        lambda: amcore.ThreeSplitBCD(alpha=np.ma.masked),
        TypeError,
        "alpha",
        "masked",
    ),
    "alpha an array": (lambda: amcore.ThreeSplitBCD(alpha=[[1], [1, 2]]), TypeError, "alpha", "1"),
    "alpha huge": (lambda: amcore.ThreeSplitBCD(alpha=10**400), ValueError, "alpha", "inf"),
    "alpha bytes": (
        lambda: amcore.ThreeSplitBCD(alpha=bytearray(b"1")),
        TypeError,
        "alpha",
        "b'1'",
    ),
    "alpha NaN": (lambda: amcore.ThreeSplitBCD(alpha=np.nan), ValueError, "alpha", "finite"),
    "too many gammas": (
        lambda: solve(s=amcore.ThreeSplitBCD(gamma=[1, 1, 1])),
        ValueError,
        "gamma",
        "expected 2",
    ),
    # the run
    "no problem": (lambda: solve(p=X), TypeError, "problem", r"\(12, 4\)"),
    "no scheme": (lambda: solve(s="bcd"), TypeError, "scheme", "bcd"),
    "max_iter real": (lambda: solve(max_iter=1.5), TypeError, "max_iter", "integer"),
    "max_iter beyond index": (lambda: solve(max_iter=2**70), ValueError, "max_iter", "<= 9223"),
    "max_iter of digits": (lambda: solve(max_iter=10**5000), ValueError, "max_iter", "got int"),
    "measured too rarely": (
        lambda: amcore.solve_many(PROBLEM, SCHEME, measure_every=2**70, seed=[0]),
        ValueError,
        "measure_every",
        "<= 9223",
    ),
    "threads beyond int": (lambda: solve(num_threads=2**40), ValueError, "num_threads", "<= 2147"),
    "runs on too many threads": (
        lambda: amcore.solve_many(PROBLEM, SCHEME, num_threads=2**40, seed=[0]),
        ValueError,
        "num_threads",
        "<= 2147",
    ),
    "seeds by name": (
        lambda: amcore.solve_many(PROBLEM, SCHEME, seed={"a": 1}),
        TypeError,
        "seed",
        "dict",
    ),
    "seeds a set": (
        lambda: amcore.solve_many(PROBLEM, SCHEME, seed={1, 2}),
        TypeError,
        "seed",
        "{1",
    ),
    "seeds bytes": (
        lambda: amcore.solve_many(PROBLEM, SCHEME, seed=b"12"),
        TypeError,
        "seed",
        "b'12'",
    ),
    "schemes by name": (
        lambda: amcore.solve_many(PROBLEM, {"bcd": SCHEME}),
        TypeError,
        "schemes",
        "dict",
    ),
    "X beyond float32": (
        lambda: solve(p=problem(1e300 * np.abs(X)), dtype="float32"),
        ValueError,
        "X",
        "numbers of float32",
    ),
    "init beyond float32": (
        lambda: solve(init=[(W + 1e300, b) for W, b in WEIGHTS], dtype="float32"),
        ValueError,
        "init W1",
        r"float32, got init W1\[0, 0\] = 1e\+300",
    ),
    "max_iter negative": (lambda: solve(max_iter=-1), ValueError, "max_iter", ">= 0"),
    "tol negative": (lambda: solve(tol=-1.0), ValueError, "tol", ">= 0"),
    "measure never": (lambda: solve(measure_every=0), ValueError, "measure_every", ">= 1"),
    "no threads": (lambda: solve(num_threads=0), ValueError, "num_threads", ">= 1"),
    "dtype": (lambda: solve(dtype="float16"), TypeError, "dtype", "float16"),
    "backend": (
        lambda: amcore.solve(PROBLEM, SCHEME, backend="gpu"),
        ValueError,
        "backend",
        "native",
    ),
    "comm": (lambda: solve(comm=3), TypeError, "comm", "Allreduce"),
    "keep_products": (lambda: solve(keep_products=1), TypeError, "keep_products", "True or False"),
    "seed": (lambda: solve(seed="zero"), TypeError, "seed", "zero"),
    "seed bool": (lambda: solve(seed=True), TypeError, "seed", "True"),
    "seed negative": (lambda: solve(seed=-1), ValueError, "seed", "-1"),
    "unknown rule": (lambda: solve(init="hee"), ValueError, "init", "xavier"),
    "init by layer": (lambda: solve(init=dict(enumerate(WEIGHTS))), TypeError, "init", "dict"),
    "init a layer of two words": (lambda: solve(init=["ab", "cd"]), TypeError, r"init\[0\]", "ab"),
    "init of one layer": (lambda: solve(init=WEIGHTS[:1]), ValueError, "init", "2 pairs"),
    "W transposed": (
        lambda: solve(init=wrong_shape(0, 0, (4, 5))),
        ValueError,
        r"init\[0\] W",
        r"\(5, 4\).*\(4, 5\)",
    ),
    "b missing": (
        lambda: solve(init=[(W, None) for W, _ in WEIGHTS]),
        ValueError,
        r"init\[0\] b",
        "bias=True",
    ),
    "state of another problem": (
        lambda: solve(init=amcore.State({"W1": X})),
        ValueError,
        "init",
        "W1, b1",
    ),
    "callbacks by name": (
        lambda: solve(callbacks={"stop": print}, verbose=1),
        TypeError,
        "callbacks",
        "a list of callbacks",
    ),
    "callbacks a number": (lambda: solve(callbacks=3, verbose=1), TypeError, "callbacks", "3"),
    "callbacks an iterator": (
        lambda: solve(callbacks=iter([print])),
        TypeError,
        "callbacks",
        "iter",
    ),
    "callbacks bytes": (lambda: solve(callbacks=b"ab"), TypeError, "callbacks", "a list"),
    "callback a number": (lambda: solve(callbacks=[3]), TypeError, r"callbacks\[0\]", "callable"),
    "callback a class": (
        lambda: solve(callbacks=[amcore.callbacks.EarlyStop]),
        TypeError,
        r"callbacks\[0\]",
        "instance",
    ),
    "data no pair": (
        lambda: amcore.callbacks.ProgressTable(data={"test": X}),
        TypeError,
        r"data\['test'\]",
        r"a pair \(X, y\), got an array of shape \(12, 4\)",
    ),
    "patience zero": (lambda: amcore.callbacks.EarlyStop(0), ValueError, "patience", ">= 1"),
    "no time": (lambda: amcore.callbacks.TimeLimit(0), ValueError, "seconds", "> 0"),
    "predict too narrow": (
        lambda: solve().predict(X[:, :3]),
        ValueError,
        "X",
        r"\(12, 4\).*\(12, 3\)",
    ),
    "predict with NaN": (lambda: solve().predict(with_nan(X)), ValueError, "X", r"X\[1, 2\] = nan"),
    "score of words": (
        lambda: solve().score(X, np.array(["ant", "bee", "cat"])[LABELS]),
        TypeError,
        "y",
        "integer labels 0 … 2, got dtype <U3",
    ),
    "score of other labels": (lambda: solve().score(X, LABELS + 1), ValueError, "y", r"\] = 3"),
    "score of nothing": (lambda: solve().score(X[:0], LABELS[:0]), ValueError, "y", "at least one"),
    "score with NaN": (
        lambda: solve(p=problem(y=Y)).score(X, with_nan(Y)),
        ValueError,
        "y",
        r"y\[1, 2\] = nan",
    ),
    "score of other width": (
        lambda: solve(p=problem(y=Y)).score(X, LABELS),
        ValueError,
        "y",
        r"\(12, 3\).*\(12, 1\)",
    ),
    "score of other length": (lambda: solve().score(X, LABELS[:5]), ValueError, "y", r"\(5,\)"),
    # operators
    "prox weight": (
        lambda: amcore.activations.relu.prox(X, X, 0.0),
        ValueError,
        "weight",
        "> 0",
    ),
    "side": (lambda: amcore.activations.relu.derivative(X, "up"), ValueError, "side", "left"),
    "prox of mixed dtypes": (
        lambda: amcore.activations.relu.prox(X, X.astype(np.float32), 1.0),
        TypeError,
        "z",
        "float32",
    ),
    "shapes apart": (
        lambda: amcore.activations.relu.prox(X, X[:, :2], 1.0),
        ValueError,
        "v, z",
        "broadcast",
    ),
    "out of other shape": (
        lambda: amcore.activations.relu.value(X, out=np.empty((4, 12))),
        ValueError,
        "out",
        r"\(12, 4\)",
    ),
    "out masked": (
        lambda: amcore.activations.relu.value(X, out=np.ma.array(X, mask=X > 0)),
        ValueError,
        "out",
        "masked",
    ),
    "out of other byte order": (
        lambda: amcore.activations.relu.value(
            X, out=np.empty((12, 4), np.dtype("f8").newbyteorder())
        ),
        TypeError,
        "out",
        "float64",
    ),
    "out read-only": (
        lambda: amcore.activations.relu.value(X, out=np.broadcast_to(X[:1], (12, 4))),
        ValueError,
        "out",
        "read-only",
    ),
    "tau by entry": (
        lambda: amcore.regularizers.l1(1.0).prox(np.ones(3), np.ones(3)),
        TypeError,
        "tau",
        r"a number, got an array of shape \(3,\)",
    ),
    "out of other dtype": (
        lambda: amcore.activations.relu.value(X, out=np.empty((12, 4), np.float32)),
        TypeError,
        "out",
        "float64",
    ),
    "loss of a number": (lambda: amcore.losses.squared.value(1.0, 1.0), ValueError, "v", "K"),
    "tau": (lambda: amcore.losses.squared.prox(Y, Y, -1), ValueError, "tau", "> 0"),
    "U and V differ": (
        lambda: amcore.blocks.ridge_update(X[:5], X, np.zeros((4, 4))),
        ValueError,
        "U",
        "as many rows as V",
    ),
    "block on too many threads": (
        lambda: amcore.blocks.preactivation_update("relu", X, X, X, num_threads=2**40),
        ValueError,
        "num_threads",
        "<= 2147483647, got 1099511627776",
    ),
    "block with NaN": (
        lambda: amcore.blocks.ridge_update(X, with_nan(X), np.zeros((4, 4))),
        ValueError,
        "V",
        "nan",
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.filterwarnings("ignore:invalid value")
def test_refused(case):
    act, kind, argument, said = CASES[case]
    with pytest.raises(kind) as caught:
        act()
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message and len(message) < 200
    assert re.match(f"{argument}:", message), message
    assert re.search(said, message), message


def test_nothing_is_done_before_the_refusal():
    calls = []
    with pytest.raises(TypeError, match="callbacks"):
        amcore.iterate(PROBLEM, SCHEME, callbacks=[calls.append, 3], backend="reference")
    assert calls == []


def test_unknown_attribute():
    with pytest.raises(AttributeError, match=r"there is .*relu"):
        _ = amcore.activations.rulu
