"""The names and the behaviour that callers rely on."""

import doctest
import importlib
import inspect
import io
import json
import pickle
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import amcore
from strategies import names, operator

rng = np.random.default_rng(7)
X = rng.random((120, 64))
LABELS = rng.integers(0, 10, 120)
NET = amcore.Network([64, 20, 10], activation="relu")
PROBLEM = amcore.Problem(NET, X, LABELS, loss="squared")
SCHEME = amcore.ThreeSplitBCD(gamma=1.0, rho=None, alpha=1.0)
BACKENDS = ["native", "reference"]

NAMES = {
    "ADMM",
    "MDLAM",
    "OnlineAM",
    "Network",
    "NumericalError",
    "Problem",
    "Solution",
    "State",
    "ThreeSplitBCD",
    "TwoSplitBCD",
    "Trace",
    "activations",
    "blocks",
    "callbacks",
    "certify",
    "certify_many",
    "check_operator",
    "checkpoint",
    "get_include",
    "initialization",
    "iterate",
    "losses",
    "regularizers",
    "show_config",
    "solve",
    "solve_many",
    "bounds",
    "fit_kl",
    "rate_bound",
    "strong_decrease",
    "sufficient_decrease",
}
SIGNATURES = {
    "ADMM": "beta=1.0 xi=None dual_init='zero' majorizer='published'",
    "Network": "widths activation='relu' output_activation='identity' skip=False bias=True",
    "TwoSplitBCD": "gamma=1.0 alpha=1.0 inner_iters=1 inner_tol=1e-06 inner_steps=200",
    "ThreeSplitBCD": (
        "gamma=1.0 rho=None alpha=1.0 inner_tol=1e-06 inner_steps=200 inner_iters=None"
    ),
    "MDLAM": "rho=1.0 epsilon=0.01 epsilon_schedule=None extrapolate=True delta=1e-08",
    "OnlineAM": (
        "batch_size=250 eta=0.1 lam=1.0 input_rank=None rho_out=inf epsilon=inf clip=2.0 "
        "gram_every=None label_smoothing=0.1 schedule='linear' average=0.0 safeguard=0.001 "
        "safeguard_every=1"
    ),
    "Problem": (
        "network X Y loss='squared' loss_scale='sum' weight_regularizer=None "
        "activation_regularizer=None sample_weight=None"
    ),
    "solve": (
        "problem scheme max_iter=100 tol=0.0 init='he' trace=None seed=0 callbacks=() "
        "measure_every=1 num_threads=None dtype=None backend='native' comm=None "
        "keep_products=True verbose=0"
    ),
    "iterate": (
        "problem scheme max_iter=100 tol=0.0 init='he' trace=None seed=0 callbacks=() "
        "measure_every=1 num_threads=None dtype=None backend='native' comm=None keep_products=True"
    ),
    "blocks.ridge_update": "U V W b=None rho=1.0 alpha=0.0 lam=0.0 num_threads=None",
    "blocks.hidden_update": "S U W b=None gamma=1.0 rho=1.0 num_threads=None",
    "blocks.preactivation_update": "activation V P U gamma=1.0 rho=1.0 alpha=0.0 num_threads=None",
    "blocks.output_update": "loss Y S V loss_weight=1.0 gamma=1.0 alpha=0.0 num_threads=None",
    "callbacks.EarlyStop": "patience=10 min_decrease=1e-06",
    "callbacks.TimeLimit": "seconds",
    "callbacks.Checkpoint": "path every=1",
    "initialization.gaussian": "scale=0.01 bias=0.0",
    "activations.leaky_relu": "slope=0.01",
    "regularizers.ridge": "lam=1.0",
}


def find(path):
    found = amcore
    for name in path.split("."):
        found = getattr(found, name)
    return found


def test_names():
    assert set(amcore.__all__) == NAMES
    assert all(hasattr(amcore, name) for name in NAMES)
    assert set(dir(amcore)) >= NAMES
    assert isinstance(amcore.__version__, str)
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = amcore.nothing_such


@pytest.mark.parametrize("path", SIGNATURES)
def test_signatures(path):
    found = " ".join(
        p.name if p.default is p.empty else f"{p.name}={p.default!r}"
        for p in inspect.signature(find(path)).parameters.values()
    )
    assert found == SIGNATURES[path]


def modules():
    for module in pkgutil.walk_packages(amcore.__path__, "amcore."):
        short = module.name.rpartition(".")[2]
        if not short.startswith("_core") and short not in ("_cpu", "__main__"):
            yield module.name


@pytest.mark.parametrize("name", ["amcore", *modules()])
def test_docstrings(name):
    """Every public thing has one, and its examples run as they are printed."""
    if name == "amcore.torch":
        pytest.importorskip("torch")
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", []):
        found = getattr(module, public)
        if callable(found):
            assert found.__doc__, f"{name}.{public}"
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(module, optionflags=options)
    assert failed == 0


def test_the_main_job():
    """Assembly, run, trace and prediction as documented."""
    run = amcore.solve(
        PROBLEM, SCHEME, max_iter=30, tol=0.0, init="he", seed=0, backend="native", num_threads=None
    )
    assert isinstance(run, amcore.Solution) and isinstance(run.state, amcore.State)
    (W1, b1), (W2, b2) = run.weights
    assert (W1.shape, b1.shape, W2.shape, b2.shape) == ((20, 64), (20,), (10, 20), (10,))
    assert run.state["V1"].shape == (120, 20) and run.state["U2"].shape == (120, 10)
    assert list(run.state) == ["W1", "b1", "U1", "V1", "W2", "b2", "U2", "V2"]
    assert run.trace.objective.shape == run.trace.subgradient_distance.shape == (31,)
    assert run.trace.decrease.shape == (30,)
    assert run.trace.objective[30] < run.trace.objective[0]
    assert run.stop_reason == "max_iter"
    assert run.problem is PROBLEM and run.scheme is SCHEME
    labels = run.predict(X)
    assert labels.shape == (120,) and set(labels) <= set(range(10))
    assert run.forward(X).shape == (120, 10)
    assert np.array_equal(run.forward(X).argmax(axis=1), labels)
    assert run.score(X, LABELS) == np.mean(labels == LABELS) > 0.2


@pytest.mark.parametrize("backend", BACKENDS)
def test_start_is_the_forward_pass_from_the_weights(backend):
    weights = [(rng.random((20, 64)) / 64, rng.random(20)), (rng.random((10, 20)), rng.random(10))]
    run = amcore.solve(PROBLEM, SCHEME, max_iter=0, init=weights, backend=backend)
    (W1, b1), (W2, b2) = weights
    V1 = np.maximum(X @ W1.T + b1, 0)
    np.testing.assert_allclose(run.state["V1"], V1, rtol=1e-13)
    np.testing.assert_allclose(run.state["V2"], V1 @ W2.T + b2, rtol=1e-13)
    onehot = np.eye(10)[LABELS]
    loss = ((V1 @ W2.T + b2 - onehot) ** 2).sum() / 2
    assert run.trace.objective[0] == pytest.approx(loss, rel=1e-12)
    assert run.trace.parts["loss"][0] == pytest.approx(loss, rel=1e-12)
    assert np.isfinite(run.trace.subgradient_distance[0])


def test_rules_and_seeds_of_the_start():
    def start(**options):
        return amcore.solve(PROBLEM, SCHEME, max_iter=0, **options).weights[0][0]

    assert np.array_equal(start(), start(init="he", seed=0))
    assert not np.array_equal(start(), start(seed=1))
    assert start(init="xavier").std() < start().std()
    assert start(init="gaussian").std() == pytest.approx(0.01, rel=0.1)
    assert start(init=amcore.initialization.gaussian(3.0)).std() == pytest.approx(3, rel=0.1)
    both = [start(seed=2, backend=backend) for backend in BACKENDS]
    assert np.array_equal(*both)


@pytest.mark.parametrize("backend", BACKENDS)
def test_iterate(backend):
    state, sweeps = None, 0
    for step in amcore.iterate(PROBLEM, SCHEME, max_iter=3, backend=backend):
        sweeps += 1
        record = step.record
        assert step.sweep == record.sweep == len(step.trace) == sweeps
        assert record.objective == step.trace.objective[-1]
        assert record.subgradient_distance == step.trace.subgradient_distance[-1]
        assert record.decrease == step.trace.decrease[-1] > 0
        assert set(record.step_norm) == {f"{b}{i}" for b in "WUV" for i in (1, 2)}
        assert set(record.parts) == set(step.trace.parts)
        assert record.time > 0 and all(seconds >= 0 for seconds in record.seconds.values())
        assert step.problem is PROBLEM and step.scheme is SCHEME
        if state is not None:
            assert step.state is state, "the state is one live object"
        state = step.state
        assert step.weights[1][0] is state["W2"]
    assert sweeps == 3
    run = amcore.solve(PROBLEM, SCHEME, max_iter=3, backend=backend)
    assert all(np.array_equal(run.state[name], state[name]) for name in state)


def test_iterate_takes_changes_of_the_live_state():
    """The arrays are the state: what a caller writes is where the next sweep starts."""
    steps = amcore.iterate(PROBLEM, SCHEME, max_iter=3)
    first = next(steps)
    changed = first.state.copy()
    for array in (first.state["W1"], changed["W1"]):
        array *= 0.5
    second = next(steps)
    expected = amcore.solve(PROBLEM, SCHEME, max_iter=1, init=changed)
    assert all(np.array_equal(expected.state[name], second.state[name]) for name in changed)
    assert second.record.objective == expected.trace.objective[-1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_callbacks(backend):
    seen = []

    class Watcher:
        def begin(self, step):
            seen.append(("begin", step.sweep))

        def step(self, step):
            seen.append(("step", step.sweep))
            return step.sweep == 2

        def end(self, solution):
            seen.append(("end", solution.stop_reason))

    run = amcore.solve(
        PROBLEM, SCHEME, callbacks=[lambda step: None, Watcher()], max_iter=9, backend=backend
    )
    assert seen == [("begin", 0), ("step", 1), ("step", 2), ("end", "Watcher")]
    assert run.stop_reason == "Watcher" and len(run.trace) == 2


def test_provided_callbacks(tmp_path):
    stream = io.StringIO()
    table = amcore.callbacks.ProgressTable(data={"train": (X, LABELS)}, stream=stream)
    run = amcore.solve(
        PROBLEM,
        SCHEME,
        max_iter=4,
        callbacks=[table, amcore.callbacks.Checkpoint(tmp_path / "run.npz", every=2)],
    )
    text = stream.getvalue()
    assert "train" in text.splitlines()[0] and "max_iter" in text
    assert len(text.splitlines()) >= 6
    state, trace = amcore.checkpoint.load(tmp_path / "run.npz")
    assert all(np.array_equal(state[name], run.state[name]) for name in run.state)
    assert np.array_equal(trace.objective, run.trace.objective)

    limit = amcore.callbacks.TimeLimit(1e-9)
    assert len(amcore.solve(PROBLEM, SCHEME, callbacks=[limit]).trace) == 1
    early = amcore.callbacks.EarlyStop(patience=3, min_decrease=0.5)
    stopped = amcore.solve(PROBLEM, SCHEME, max_iter=500, callbacks=[early])
    assert stopped.stop_reason == "EarlyStop" and 3 <= len(stopped.trace) < 500
    # Also when sweeps are not measured.
    early = amcore.callbacks.EarlyStop(patience=3, min_decrease=1e-12)
    run = amcore.solve(PROBLEM, SCHEME, max_iter=30, measure_every=10, callbacks=[early])
    assert run.stop_reason == "max_iter"


def test_verbose_prints_a_table(capsys):
    amcore.solve(PROBLEM, SCHEME, max_iter=2)
    assert capsys.readouterr().out == ""
    amcore.solve(PROBLEM, SCHEME, max_iter=2, verbose=1)
    assert "objective" in capsys.readouterr().out


def test_integer_labels_and_targets():
    for loss in names("loss"):
        problem = amcore.Problem(NET, X, LABELS, loss=loss)
        run = amcore.solve(problem, SCHEME, max_iter=20)
        assert run.predict(X).dtype.kind == "i"
        assert run.score(X, LABELS) > 0.2
    y = X @ rng.standard_normal(64)
    regression = amcore.solve(
        amcore.Problem(amcore.Network([64, 10, 1]), X, y), SCHEME, max_iter=60
    )
    assert regression.predict(X).shape == (120,) and regression.predict(X).dtype == np.float64
    assert 0.5 < regression.score(X, y) <= 1


def test_loss_scale():
    total, mean = (amcore.Problem(NET, X, LABELS, loss_scale=s) for s in ("sum", "mean"))
    first, second = (amcore.solve(p, SCHEME, max_iter=0).trace.objective[0] for p in (total, mean))
    assert first == pytest.approx(120 * second, rel=1e-13)


def test_per_layer_settings():
    scalar = amcore.ThreeSplitBCD(gamma=0.5, rho=0.5, alpha=0.3)
    listed = amcore.ThreeSplitBCD(gamma=[0.5, 0.5], rho=np.array([0.5, 0.5]), alpha=0.3)
    default = amcore.ThreeSplitBCD(gamma=0.5, alpha=0.3)
    runs = [amcore.solve(PROBLEM, s, max_iter=3).trace.objective for s in (scalar, listed, default)]
    assert np.array_equal(runs[0], runs[1]) and np.array_equal(runs[0], runs[2])
    other = amcore.solve(PROBLEM, amcore.ThreeSplitBCD([0.5, 0.6], alpha=0.3), max_iter=3)
    assert not np.array_equal(other.trace.objective, runs[0])
    lam = amcore.regularizers.ridge(2.0)
    both = amcore.Problem(NET, X, LABELS, weight_regularizer=lam)
    one = amcore.Problem(NET, X, LABELS, weight_regularizer=[lam, "none"])
    start = amcore.solve(both, SCHEME, max_iter=0)
    sizes = [np.sum(W**2) for W, _ in start.weights]
    assert start.trace.parts["weight_regularizer"][0] == pytest.approx(sum(sizes))
    part = amcore.solve(one, SCHEME, max_iter=0).trace.parts["weight_regularizer"][0]
    assert part == pytest.approx(sizes[0])


def test_continue_from_a_state():
    whole = amcore.solve(PROBLEM, SCHEME, max_iter=6)
    half = amcore.solve(PROBLEM, SCHEME, max_iter=2)
    rest = amcore.solve(PROBLEM, SCHEME, max_iter=4, init=half.state)
    assert all(np.array_equal(rest.state[name], whole.state[name]) for name in whole.state)


def test_trace_files(tmp_path):
    trace = amcore.solve(PROBLEM, SCHEME, max_iter=3).trace
    trace.save(tmp_path / "trace.npz")
    again = amcore.Trace.load(tmp_path / "trace.npz")
    assert np.array_equal(again.objective, trace.objective)
    trace.to_json(tmp_path / "trace.json")
    trace.to_csv(tmp_path / "trace.csv")
    assert (
        json.loads((tmp_path / "trace.json").read_text())["objective"] == trace.objective.tolist()
    )
    assert len((tmp_path / "trace.csv").read_text().splitlines()) == 5


def test_certificate(tmp_path):
    run = amcore.solve(PROBLEM, SCHEME, max_iter=40)
    cert = amcore.certify(run.trace)
    data = cert.to_dict()
    assert json.loads(json.dumps(data)) == data
    conditions = {entry["j"]: entry for entry in data["decrease"]["A1"]}
    assert set(conditions) >= {1, 2}
    assert conditions[1]["constant"] > 0 and not conditions[1]["violations"]
    assert {"decrease", "verdicts"} <= set(data)
    assert len(str(cert).splitlines()) > 3
    cert.to_json(tmp_path / "certificate.json")
    assert json.loads((tmp_path / "certificate.json").read_text()) == data
    f, g = run.trace.objective, run.trace.subgradient_distance
    from_arrays = amcore.certify(objective=f, subgradient_distance=g).to_dict()
    assert from_arrays["decrease"]["A1"][0]["constant"] == pytest.approx(
        conditions[1]["constant"], rel=1e-6
    )


def test_certificate_plot(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "certificate.png"
    amcore.certify(amcore.solve(PROBLEM, SCHEME, max_iter=20).trace).plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")


OPERATORS = [
    (family, stem) for family in ("activation", "loss", "regularizer") for stem in names(family)
]


@pytest.mark.parametrize(("family", "stem"), OPERATORS)
def test_operators_are_named_everywhere(family, stem):
    module = {"activation": "activations", "loss": "losses", "regularizer": "regularizers"}[family]
    assert stem in dir(getattr(amcore, module))
    found = operator(family, stem)
    assert pickle.loads(pickle.dumps(found)) == found
    assert repr(found).startswith(stem)
    if family == "activation":
        assert amcore.Network([2, 2, 2], activation=stem).activations[0] == found
        assert amcore.Network([2, 2, 2], found, found).activations == (found, found)
    elif family == "loss":
        assert amcore.Problem(NET, X, LABELS, loss=stem).loss == found
    else:
        problem = amcore.Problem(NET, X, LABELS, weight_regularizer=stem)
        assert problem.weight_regularizers == (found, found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("family", "stem"), OPERATORS)
def test_operators_keep_dtype_and_shape_and_take_out(family, stem, dtype):
    found = operator(family, stem)
    a, b = (rng.standard_normal((4, 5)).astype(dtype) for _ in range(2))
    if family == "activation":
        calls = {
            "value": lambda **o: found.value(a, **o),
            "derivative": lambda **o: found.derivative(a, **o),
            "prox": lambda **o: found.prox(a, b, 0.5, **o),
        }
    elif family == "loss":
        y = amcore.Problem(amcore.Network([5, 5]), a, np.arange(4), loss=found).Y
        calls = {
            "gradient": lambda **o: found.gradient(a, y, **o),
            "prox": lambda **o: found.prox(a, y, 0.5, **o),
        }
        assert isinstance(found.value(a, y), float)
        assert found.subgradient_distance(a, y, b) >= 0
    else:
        calls = {"prox": lambda **o: found.prox(a, 0.5, **o)}
        assert isinstance(found.value(a), float)
        assert found.subgradient_distance(a, b) >= 0
    for call in calls.values():
        result = call()
        assert result.dtype == dtype and result.shape == (4, 5)
        # `out` may be strided, or an argument itself.
        out = np.zeros((4, 10), dtype)[:, ::2]
        assert call(out=out) is out and np.array_equal(out, result)
        kept = a.copy()
        assert call(out=a) is a and np.array_equal(a, result)
        a[...] = kept


def test_operators_take_anything_like_an_array():
    relu = amcore.activations.relu
    assert relu.value(-2.0) == 0 and np.ndim(relu.value(3.0)) == 0
    assert relu.value([1, -1]).dtype == np.float64
    assert relu.prox([1.0, 2.0], 0.0, 1.0).shape == (2,)
    assert relu.prox(np.ones((3, 1), np.float32), np.ones(2, np.float32), 1.0).shape == (3, 2)
    with pytest.raises(TypeError, match="float16"):
        relu.value(np.ones(2, np.float16))


def test_blocks_are_one_sweep():
    """A sweep of the scheme, put together from the public blocks."""
    gamma, rho, alpha = 0.7, 1.3, 0.4
    scheme = amcore.ThreeSplitBCD(gamma, rho, alpha)
    run = amcore.solve(PROBLEM, scheme, max_iter=1)
    s = dict(amcore.solve(PROBLEM, scheme, max_iter=0).state.copy())
    blocks, relu = amcore.blocks, amcore.activations.relu
    s["V2"] = blocks.output_update("squared", PROBLEM.Y, s["U2"], s["V2"], gamma=gamma, alpha=alpha)
    P = s["V1"] @ s["W2"].T + s["b2"]
    s["U2"] = blocks.preactivation_update("identity", s["V2"], P, s["U2"], gamma=gamma, rho=rho)
    weights = {"rho": rho, "alpha": alpha}
    s["W2"], s["b2"] = blocks.ridge_update(s["U2"], s["V1"], s["W2"], s["b2"], **weights)
    s["V1"] = blocks.hidden_update(
        relu.value(s["U1"]), s["U2"], s["W2"], s["b2"], gamma=gamma, rho=rho
    )
    P = X @ s["W1"].T + s["b1"]
    s["U1"] = blocks.preactivation_update(relu, s["V1"], P, s["U1"], gamma=gamma, **weights)
    s["W1"], s["b1"] = blocks.ridge_update(s["U1"], X, s["W1"], s["b1"], **weights)
    for name, array in s.items():
        np.testing.assert_allclose(run.state[name], array, rtol=1e-9, atol=1e-12)


def test_config_and_headers(capsys):
    amcore.show_config()
    assert "CPU level" in capsys.readouterr().out
    assert isinstance(amcore.get_include(), str)


def test_import_is_light():
    """NumPy is all that is needed, and optional packages are imported only on use."""
    code = (
        "import sys, amcore; "
        "optional = {'matplotlib', 'sklearn', 'rich', 'torch', 'scipy'}; "
        "print(sorted(optional & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr
