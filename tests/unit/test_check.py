"""amcore.check_operator: passes the catalogue, finds errors, takes a user's own operators."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

import amcore
from amcore.reference.operator import Activation, Loss, Operator, Regularizer, load, stems
from strategies import KINDS, operator

OPERATORS = [(family, stem) for family in KINDS for stem in stems(family)]


@dataclass(frozen=True)
class Shifted(Activation):
    """σ(u) = u + shift."""

    shift: float = 1.0

    formula, prox_formula, source = "u + shift", "(v - shift + w z)/(1 + w)", "test"
    traits = frozenset({"smooth", "monotone", "separable"})
    L0, L1, L2 = math.inf, 1.0, 0.0

    def value(self, u):
        return u + self.shift

    def derivative(self, u, side="left"):
        return np.ones_like(u)

    def difference(self, a, b):
        return a - b

    def prox(self, v, z, weight):
        return (v - self.shift + weight * z) / (1 + weight)


@dataclass(frozen=True)
class Halved(Regularizer):
    """r(x) = ¼‖x‖²."""

    formula, prox_formula, source = "¼‖x‖²", "x/(1 + τ/2)", "test"
    traits = frozenset({"smooth", "convex", "separable"})

    def value(self, x):
        return float(np.sum(np.square(x, dtype=np.float64)) / 4)

    def difference(self, a, b):
        return float(np.sum((a - b) * (a + b), dtype=np.float64) / 4)

    def prox(self, x, tau):
        return x / (1 + tau / 2)

    def subgradient_distance(self, x, g):
        return float(np.linalg.norm(g + x / 2))


@dataclass(frozen=True)
class Doubled(Loss):
    """ℓ(v, y) = ‖v − y‖²."""

    formula, prox_formula, source = "‖v - y‖²", "(2τ y + q)/(1 + 2τ)", "test"
    traits = frozenset({"smooth", "convex", "separable"})
    targets = "real"

    def value(self, v, y):
        return float(np.sum(np.square(v - y, dtype=np.float64)))

    def gradient(self, v, y):
        return 2 * (v - y)

    def difference(self, a, b, y):
        return float(np.sum((a - b) * ((a - y) + (b - y)), dtype=np.float64))

    def prox(self, q, y, tau):
        return (2 * tau * y + q) / (1 + 2 * tau)


@pytest.mark.parametrize(("family", "stem"), OPERATORS)
def test_the_catalogue_passes(family, stem):
    for side in (operator(family, stem), load(family, stem)()):
        report = amcore.check_operator(side)
        assert report and not report.failures


@pytest.mark.parametrize("operator", [Shifted(), Shifted(-3), Halved(), Doubled()])
def test_operators_of_a_user_pass(operator):
    assert isinstance(operator, Operator)
    report = amcore.check_operator(operator)
    assert type(operator).__name__ in str(report)
    assert f"{len(report.checks)} of {len(report.checks)} checks passed" in str(report)


def spoiled(base, **changes):
    """Return an instance of a subclass of `base` with other methods."""
    return type("Spoiled" + base.__name__, (base,), changes)()


ERRORS = {
    "derivative": spoiled(Shifted, derivative=lambda self, u, side="left": 1.001 + 0 * u),
    "prox": spoiled(Shifted, prox=lambda self, v, z, weight: (v + weight * z) / (1 + weight)),
    "difference": spoiled(Shifted, difference=lambda self, a, b: 1.01 * (a - b)),
    "value": spoiled(Shifted, value=lambda self, u: (u + self.shift).astype(np.float64)),
    "raises": spoiled(Shifted, prox=lambda self, v, z, weight: 1 / 0),
    "rightmost": spoiled(
        load("activation", "relu"),
        prox=lambda self, v, z, weight: -load("activation", "relu")().prox(v, z, weight),
    ),
    "regularizer": spoiled(Halved, prox=lambda self, x, tau: x / (1 + tau)),
    "distance": spoiled(Halved, subgradient_distance=lambda self, x, g: np.linalg.norm(g + x)),
    "gradient": spoiled(Doubled, gradient=lambda self, v, y: v - y),
    "loss prox": spoiled(Doubled, prox=lambda self, q, y, tau: (tau * y + q) / (1 + tau)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_found(name):
    report = amcore.check_operator(ERRORS[name], raise_on_failure=False)
    assert not report and report.failures
    assert "FAILED" in str(report)
    with pytest.raises(AssertionError, match="FAILED"):
        amcore.check_operator(ERRORS[name])


def test_the_wrong_tie_is_found():
    """At v = 75, z = −50, w = 9/16 relu has two minimisers, −50 and 30."""

    class Rightmost(load("activation", "relu")):
        def prox(self, v, z, weight):
            u = super().prox(v, z, weight)
            return np.where((v == 75) & (z == -50) & (weight == 9 / 16), 30, u).astype(v.dtype)

    report = amcore.check_operator(Rightmost(), raise_on_failure=False)
    assert report.failures and all("ties" in check.name for check in report.failures)


def test_what_is_no_operator_is_refused():
    with pytest.raises(TypeError, match="operator: expected an operator"):
        amcore.check_operator("relu")
    with pytest.raises(TypeError, match="dtypes: expected float32 or float64"):
        amcore.check_operator(amcore.activations.relu, dtypes=[int])


def test_operators_of_a_user_in_a_problem():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((20, 3)), rng.standard_normal((20, 2))
    net = amcore.Network([3, 4, 2], activation=Shifted(0.5))
    problem = amcore.Problem(net, X, Y, loss=Doubled())
    run = amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=3, backend="reference")
    assert (np.diff(run.trace.objective) < 0).all()
    assert run.predict(X).shape == (20, 2)
    assert "Shifted" in repr(net)
    for wrong in (
        amcore.Problem(net, X, Y),
        amcore.Problem(amcore.Network([3, 4, 2]), X, Y, loss=Doubled()),
    ):
        with pytest.raises(ValueError, match=r'is written in Python: it needs backend="reference"'):
            amcore.solve(wrong, amcore.ThreeSplitBCD(), max_iter=1)
