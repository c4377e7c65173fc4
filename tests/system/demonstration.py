"""The scheme of tests/demonstration as one of all schemes, and what only it is asked.

Run by `test_new_scheme.py` in a tree that holds its four files, with the tests of all schemes.
"""

import numpy as np
import pytest

import amcore
from schemes import cases

cases.ROWS.clear()
cases.ROWS["LinearBCD"] = cases.Row(
    activations=["identity"],
    outputs=["identity"],
    settings=lambda draw, depth: {
        "gamma": cases.weights(draw, depth),
        "alpha": draw(cases.WEIGHT),
    },
    promised=lambda case, trace: case.scheme().alpha * sum(cases.squared_steps(case, trace, "W")),
    weighted=(lambda w: {"gamma": w}, lambda w: {"alpha": w}),
    examples={},
)
LINEAR = cases.PLAIN | {"kind": "LinearBCD", "activations": ("identity",) * 3}
EXAMPLES = {
    "plain": {"settings": {"gamma": (0.5, 1.0, 2.0), "alpha": 0.3}},
    "cross-entropy": {"loss": "cross_entropy"},
}
cases.EXAMPLES[:] = [
    pytest.param(cases.Case(**LINEAR | changes), id=name) for name, changes in EXAMPLES.items()
]


@cases.on_backends
@cases.on_examples
def test_distance_is_the_norm_of_the_gradient(case, backend):
    """By central differences."""
    case = case.with_(widths=(3, 4, 2, 3), n=5)
    run = case.solve(max_iter=2, backend=backend)

    def objective(state):
        return case.solve(max_iter=0, init=state, backend=backend).trace.objective[-1]

    squares = dict.fromkeys(run.trace.distance, 0.0)
    for name, array in run.state.items():
        for at in np.ndindex(array.shape):
            ends = [run.state.copy() for _ in range(2)]
            for state, step in zip(ends, (1e-5, -1e-5), strict=True):
                state[name][at] += step
            slope = (objective(ends[0]) - objective(ends[1])) / 2e-5
            squares[name.replace("b", "W")] += slope**2
    for block, square in squares.items():
        assert run.trace.distance[block][-1] == pytest.approx(np.sqrt(square), rel=1e-5, abs=1e-7)


@cases.on_examples
def test_sufficient_decrease_is_certified(case):
    case = case.with_(widths=(3, 4, 2, 3), n=20, of_weights=(("ridge", 1.0),) * 3)
    run = case.solve(max_iter=300)
    assert amcore.certify(run).verdicts["A1"].verdict == "holds"


def test_networks_that_are_not_linear_are_refused():
    network = amcore.Network([2, 3, 1], activation="relu")
    problem = amcore.Problem(network, np.ones((4, 2)), np.ones((4, 1)))
    with pytest.raises(ValueError, match="LinearBCD takes the identity, got relu"):
        amcore.solve(problem, amcore.LinearBCD())
