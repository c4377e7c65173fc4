"""amcore.Network: widths, activations, skip connections, forward."""

import dataclasses
import pickle

import numpy as np
import pytest

import amcore


def test_defaults():
    net = amcore.Network([64, 100, 10])
    assert net.widths == (64, 100, 10)
    assert [a.name for a in net.activations] == ["relu", "identity"]
    assert net.skip == (False, False)
    assert net.bias is True
    assert net.depth == 2


def test_skip_everywhere_means_where_widths_agree():
    assert amcore.Network([4, 4, 5, 5, 3], skip=True).skip == (True, False, True, False)


def test_immutable_and_comparable():
    net = amcore.Network([4, 5, 3], activation=amcore.activations.leaky_relu(0.2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        net.bias = False
    assert net == amcore.Network([4, 5, 3], activation=[amcore.activations.leaky_relu(0.2)])
    assert hash(net) == hash(pickle.loads(pickle.dumps(net)))
    assert net != amcore.Network([4, 5, 3], activation="leaky_relu")


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_forward_is_the_formula(backend):
    rng = np.random.default_rng(1)
    net = amcore.Network([3, 3, 2], activation="tanh", skip=[True, False])
    weights = [(rng.normal(size=(3, 3)), rng.normal(size=3)), (rng.normal(size=(2, 3)), np.ones(2))]
    X = rng.normal(size=(7, 3))
    (W1, b1), (W2, b2) = weights
    expected = (X + np.tanh(X @ W1.T + b1)) @ W2.T + b2
    np.testing.assert_allclose(net.forward(X, weights, backend=backend), expected, rtol=1e-13)
    # Strides and integers are taken as they come.
    wide = np.repeat(X, 2, axis=1)[:, ::2]
    np.testing.assert_allclose(net.forward(wide, weights, backend=backend), expected, rtol=1e-13)
    assert net.forward(np.ones((2, 3), int), weights, backend=backend).shape == (2, 2)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_inputs_beyond_the_type_of_the_weights(backend):
    net = amcore.Network([2, 1], bias=False)
    weights = [(np.ones((1, 2), np.float32), None)]
    with pytest.raises(
        ValueError, match=r"^X: expected numbers of float32, got X\[1, 0\] = 1e\+300"
    ):
        net.forward([[1, 2], [1e300, 4]], weights, backend=backend)
    assert net.forward(np.empty((0, 2)), weights, backend=backend).shape == (0, 1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "tanh", "output_activation": "sigmoid", "bias": False},
        {"activation": ["relu", "tanh"], "skip": [False, True, False]},
        {"skip": True},
    ],
)
def test_repr_is_an_expression(options):
    net = amcore.Network([4, 5, 5, 3], **options)
    assert eval(repr(net), {"Network": amcore.Network}) == net
