"""How many entries change their piece of a piecewise linear activation, in every scheme."""

import numpy as np
import pytest

import amcore
from agreement import preactivations
from schemes.cases import BACKENDS, on_backends, on_examples

KINKS = {"relu": [0], "leaky_relu": [0], "hard_tanh": [-1, 1], "hard_sigmoid": [-3, 3]}


def pieces(activation, U):
    """Signs of the distances to all kinks: on both sides of one and on it they differ."""
    return np.sign(np.subtract.outer(U, KINKS.get(activation, [])))


def changes(activation, old, new):
    return np.count_nonzero((pieces(activation, old) != pieces(activation, new)).any(axis=-1))


@on_backends
@on_examples
@pytest.mark.parametrize("activation", ["relu", "hard_tanh"])
def test_counts_the_entries_between_two_states(case, activation, backend):
    if activation not in case.row.activations:
        pytest.skip(f"{case.kind} takes smooth activations only")
    if "V1" not in case.scheme().variables(case.problem()):
        pytest.skip(f"{case.kind} keeps nothing of samples from sweep to sweep")
    case = case.with_(activations=(activation,) * (case.depth - 1) + ("identity",))
    before = preactivations(case.problem(), case.solve(max_iter=0, backend=backend).state)
    total = 0
    for step in case.iterate(max_iter=5, backend=backend):
        after = preactivations(case.problem(), step.state)
        net = sum(map(changes, case.activations, before, after))
        counted = step.record.monitors["pattern_changes"]
        # Without U an entry counts once with the weights and once with the activations below.
        assert counted == net if "U1" in step.state else counted >= net
        before, total = after, total + counted
    assert total > 0
    assert step.trace.monitors["pattern_changes"][0] == 0


@on_backends
@pytest.mark.parametrize("activation", KINKS)
def test_of_one_layer_only_the_weights_count(activation, backend):
    """Of ‖V − σ(X Wᵀ)‖² nothing else moves the argument of σ."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((400, 3)), rng.standard_normal((400, 2))
    network = amcore.Network([3, 2], output_activation=activation, bias=False)
    before, total = None, 0
    scheme = amcore.TwoSplitBCD(gamma=5.0, alpha=0.1, inner_iters=1)
    start = [(4 * rng.standard_normal((2, 3)), None)]
    for step in amcore.iterate(
        amcore.Problem(network, X, Y), scheme, max_iter=6, init=start, backend=backend
    ):
        before = X @ start[0][0].T if before is None else before
        after = X @ step.state["W1"].T
        assert step.record.monitors["pattern_changes"] == changes(activation, before, after)
        before, total = after, total + changes(activation, before, after)
    assert total > 0


@on_backends
def test_by_hand(backend):
    """A far target, −100, pulls V and with it U from 1 to the flat side in the first sweep."""
    problem = amcore.Problem(
        amcore.Network([1, 1], output_activation="relu", bias=False),
        np.array([[1.0]]),
        np.array([[-100.0]]),
    )
    run = amcore.solve(
        problem,
        amcore.ThreeSplitBCD(gamma=1.0, alpha=1e-3),
        max_iter=4,
        init=[(np.array([[1.0]]), None)],
        backend=backend,
    )
    assert run.trace.monitors["pattern_changes"].tolist()[:2] == [0, 1]


def test_smooth_activations_have_none():
    problem = amcore.Problem(
        amcore.Network([2, 3, 2], "tanh"), np.eye(2), np.eye(2), weight_regularizer="ridge"
    )
    for scheme in (amcore.TwoSplitBCD(), amcore.ThreeSplitBCD(), amcore.ADMM(), amcore.MDLAM()):
        for backend in BACKENDS:
            run = amcore.solve(problem, scheme, max_iter=2, backend=backend)
            assert "pattern_changes" not in run.trace.monitors
