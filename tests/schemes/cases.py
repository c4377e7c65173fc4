"""All schemes and their cases, on which every test of this folder runs.

A new scheme adds its row to `ROWS`, and nothing else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

import amcore
from strategies import Example, names, operator

BACKENDS = ["native", "reference"]
DTYPES = ["float64", "float32"]


@dataclass(frozen=True, kw_only=True)
class Case(Example):
    """Of any scheme; regularisers by name and parameters, one a layer."""

    kind: str
    settings: dict[str, Any]
    of_weights: tuple[tuple[Any, ...], ...]
    of_values: tuple[tuple[Any, ...], ...]

    @property
    def row(self):
        return ROWS[self.kind]

    def scheme(self):
        return getattr(amcore, self.kind)(**self.settings)

    def regularizers(self):
        return {
            "weight_regularizer": [operator("regularizer", *r) for r in self.of_weights],
            "activation_regularizer": [operator("regularizer", *s) for s in self.of_values],
        }

    @property
    def heaviest(self):
        """The largest number among the scheme's settings."""
        numbers = (x for value in self.settings.values() for x in np.ravel(value).tolist())
        return max((x for x in numbers if isinstance(x, int | float)), default=0)

    def per_layer(self, setting):
        """A weight of the scheme, for every layer."""
        return np.broadcast_to(getattr(self.scheme(), setting), self.depth)


@dataclass(frozen=True)
class Row:
    """What a scheme takes, what it promises, and examples of it."""

    activations: list[str]  # of hidden layers
    outputs: list[str]  # activations of the output layer
    settings: Callable[[Any, int], dict[str, Any]]  # drawn for a number of layers
    examples: dict[str, dict[str, Any]]  # of a scheme at work, as changes of `PLAIN`
    # Lower bound of the decrease of every sweep; None for a scheme whose objective may rise.
    promised: Callable[[Case, Any], Any] | None = None
    # Weights of ‖V_i − …σ_i(…)‖² and of ‖U_i − W_i V_{i−1} − b_i‖², by layer.
    couplings: Callable[[Case], tuple[Any, Any]] | None = None
    # Settings with a weight w of any size.
    weighted: tuple[Callable[[float], dict[str, Any]], ...] = ()
    skip: bool = False
    losses: Sequence[str] = tuple(names("loss"))
    of_weights: tuple[tuple[Any, ...], ...] = (("none",), ("ridge", 0.01), ("ridge", 1.0))
    of_values: tuple[tuple[Any, ...], ...] = (("none",),)


WEIGHT = st.floats(-1, 1).map(lambda x: round(10**x, 3))
PLAIN = {
    "widths": (20, 40, 30, 5),
    "activations": ("relu", "tanh", "identity"),
    "skip": (False,) * 3,
    "bias": True,
    "loss": "squared",
    "loss_scale": "sum",
    "of_weights": (("ridge", 0.1),) * 3,
    "of_values": (("none",),) * 3,
    "settings": {},
    "n": 60,
    "num_threads": 2,
    "seed": 3,
    "grid": False,
}
SPARSE_WEIGHTS = (
    ("l1", 0.1), ("elastic_net", 0.1, 0.3), ("group_lasso", 0.2, 0), ("group_lasso", 0.2, 1),
)  # fmt: skip
CONVEX = (
    ("none",), ("ridge", 0.4), ("l1", 0.3), ("elastic_net", 0.2, 0.5), ("nonnegative",),
    ("box", -0.4, 0.7), ("group_lasso", 0.3, 1),
)  # fmt: skip


def weights(draw, depth):
    return tuple(draw(WEIGHT) for _ in range(depth))


def squared_steps(case, trace, stem, layers=None):
    """‖Δ‖² of the blocks of a kind, layer by layer."""
    return [trace.step_norm[f"{stem}{i}"] ** 2 for i in layers or range(1, case.depth + 1)]


def three_split_decrease(case, trace):
    """(α + γ/2)‖ΔV_N‖², γ/2 ‖ΔV_i‖², α/2 ‖ΔU_i‖², and α‖ΔW_i‖² of a ridge, else half of it.

    The strong convexity of each block's problem, with the proximal term counted twice where the
    block is minimised exactly: once in its optimum, once because f leaves it out. U_N before the
    identity has no proximal term, but (γ + ρ)/2.
    """
    gamma, alpha, N = case.per_layer("gamma"), case.scheme().alpha, case.depth
    rho = case.row.couplings(case)[1]
    of_output = (gamma[-1] + rho[-1]) / 2 if case.activations[-1] == "identity" else alpha / 2
    V, U, W = (squared_steps(case, trace, stem) for stem in "VUW")
    exact = [operator("regularizer", *r).reference.curvature is not None for r in case.of_weights]
    gain = (alpha + gamma[-1] / 2) * V[-1] + of_output * U[-1]
    gain = gain + sum(alpha / (1 if e else 2) * step for e, step in zip(exact, W, strict=True))
    return gain + sum(gamma[i] / 2 * V[i] + alpha / 2 * U[i] for i in range(N - 1))


def two_split_decrease(case, trace):
    """α/2 Σ‖Δblock‖², and (α + γ/2)‖ΔV_N‖² for V_N, which is minimised exactly."""
    gamma, alpha = case.per_layer("gamma"), case.scheme().alpha
    V, W = (squared_steps(case, trace, stem) for stem in "VW")
    return (alpha + gamma[-1] / 2) * V[-1] + alpha / 2 * (sum(V[:-1]) + sum(W))


def mdlam_decrease(case, trace):
    """δ/2 Σ‖ΔW_i‖²: a step counts from δ/2‖step‖² on."""
    return case.scheme().delta / 2 * sum(squared_steps(case, trace, "W"))


def online_decrease(case, trace):
    """c₁ ‖∇f‖² at the end of the epoch: condition A1, which the safeguard makes hold."""
    return trace.monitors["c1"][1:] * trace.subgradient_distance[1:] ** 2


def graded(depth):
    """Penalties that fall from the first layer to the last, at which ADMM is well behaved."""
    return tuple(4.0 * 3**i for i in reversed(range(depth)))


ROWS = {
    "ThreeSplitBCD": Row(
        activations=names("activation"),
        outputs=["identity", *names("activation")],
        skip=True,
        of_weights=(("none",), ("ridge", 0.01), ("ridge", 1.0), *SPARSE_WEIGHTS),
        of_values=CONVEX,
        settings=lambda draw, depth: {
            "gamma": weights(draw, depth),
            "rho": weights(draw, depth),
            "alpha": draw(WEIGHT),
        },
        promised=three_split_decrease,
        couplings=lambda case: (
            case.per_layer("gamma"), case.per_layer("gamma" if case.scheme().rho is None else "rho")
        ),
        weighted=(
            lambda w: {"gamma": w, "rho": 1.0},
            lambda w: {"rho": w},
            lambda w: {"alpha": w},
            lambda w: {"gamma": w, "alpha": 1 / w},
            lambda w: {"gamma": w, "alpha": w},
        ),
        examples={
            "plain": {"settings": {"gamma": 0.5, "alpha": 0.3}, "loss": "cross_entropy"},
            "skip connections": {
                "widths": (30, 30, 30, 30),
                "activations": ("relu", "tanh", "sigmoid"),
                "skip": (True, False, True),
                "settings": {"gamma": (1.0, 2.0, 0.5), "rho": 0.7, "alpha": 0.2},
                "of_weights": (("none",),) * 3,
            },
            "regularised": {
                "widths": (6, 30, 30, 5),
                "skip": (False, True, False),
                "loss": "cross_entropy",
                "settings": {"inner_steps": 20},
                "of_weights": (("l1", 0.1), ("none",), ("group_lasso", 0.2, 0)),
                "of_values": (("l1", 0.3), ("group_lasso", 0.3, 1), ("nonnegative",)),
            },
        },
    ),
    "TwoSplitBCD": Row(
        activations=names("activation"),
        outputs=["identity", *names("activation")],
        of_weights=(("none",), ("ridge", 0.01), ("ridge", 1.0), *SPARSE_WEIGHTS),
        of_values=CONVEX,
        settings=lambda draw, depth: {
            "gamma": weights(draw, depth),
            "alpha": draw(WEIGHT),
            "inner_iters": draw(st.integers(1, 3)),
        },
        promised=two_split_decrease,
        couplings=lambda case: (case.per_layer("gamma"), case.per_layer("gamma")),
        weighted=(lambda w: {"gamma": w}, lambda w: {"alpha": w}),
        examples={
            "plain": {"activations": ("relu", "relu", "identity"), "loss": "hinge"},
            "two inner iterations": {
                "activations": ("sigmoid", "tanh", "tanh"),
                "settings": {"alpha": 0.3, "inner_iters": 2},
            },
            "regularised": {
                "loss": "cross_entropy",
                "settings": {"inner_iters": 2, "inner_steps": 20},
                "of_weights": (("l1", 0.1), ("none",), ("group_lasso", 0.2, 0)),
                "of_values": (("l1", 0.3), ("group_lasso", 0.3, 1), ("nonnegative",)),
            },
        },
    ),
    "ADMM": Row(
        activations=["sigmoid", "tanh", "identity"],
        outputs=["identity"],
        of_weights=(("ridge", 0.3), ("ridge", 1.0)),
        settings=lambda draw, depth: {
            "beta": weights(draw, depth),
            "xi": draw(st.one_of(st.none(), st.just(0.2))),
            "dual_init": draw(st.sampled_from(["zero", "backprop"])),
            "majorizer": draw(st.sampled_from(["published", "tight"])),
        },
        weighted=(lambda w: {"beta": w},),
        examples={
            "plain": {
                "activations": ("sigmoid", "tanh", "identity"),
                "settings": {"beta": graded(3), "xi": (0.1, 0.2, 0.3)},
                "of_weights": (("ridge", 0.3),) * 3,
            },
            "multipliers by backpropagation": {
                "activations": ("tanh", "sigmoid", "identity"),
                "loss": "cross_entropy",
                "settings": {"beta": graded(3), "dual_init": "backprop", "majorizer": "tight"},
                "of_weights": (("ridge", 1.0),) * 3,
            },
        },
    ),
    "MDLAM": Row(
        activations=[
            name for name in names("activation")
            if "monotone" in operator("activation", name).traits
        ],
        outputs=["identity"],
        of_weights=(("none",), ("ridge", 0.01), ("ridge", 1.0), *SPARSE_WEIGHTS),
        settings=lambda draw, depth: {
            "rho": weights(draw, depth),
            "epsilon": draw(st.sampled_from([1e-3, 0.05, 1.0, 30.0])),
            "extrapolate": draw(st.booleans()),
        },
        promised=mdlam_decrease,
        couplings=lambda case: (np.zeros(case.depth), case.per_layer("rho")),
        weighted=(lambda w: {"rho": w},),
        examples={
            "plain": {
                "loss": "cross_entropy",
                "settings": {"rho": (0.5, 1.0, 2.0), "epsilon": 0.05},
            },
            "falling epsilon": {
                "activations": ("tanh", "relu", "identity"),
                "settings": {"epsilon": 0.4, "epsilon_schedule": (0.7, 0.05)},
                "of_weights": (("elastic_net", 0.1, 0.3),) * 3,
            },
            "not extrapolated": {
                "activations": ("sigmoid", "sigmoid", "identity"),
                "settings": {"epsilon": 0.05, "extrapolate": False},
            },
        },
    ),
    "OnlineAM": Row(
        activations=names("activation"),
        outputs=["identity", *names("activation")],
        losses=[name for name in names("loss") if "smooth" in operator("loss", name).traits],
        skip=True,
        settings=lambda draw, depth: {
            "batch_size": draw(st.sampled_from([7, 20, 250])),
            "eta": draw(st.sampled_from([0.01, 0.1, 0.5])),
            "input_rank": draw(st.sampled_from([None, 3])),
            "rho_out": draw(st.sampled_from([math.inf, 1.0])),
            "epsilon": draw(st.sampled_from([math.inf, 5.0])),
            "average": draw(st.sampled_from([0.0, 0.5])),
            "schedule": "constant",
        },
        promised=online_decrease,
        examples={
            "plain": {"loss": "cross_entropy", "settings": {"schedule": "constant"}},
            "exact blocks": {
                "widths": (30, 30, 30, 30),
                "activations": ("softplus", "tanh", "identity"),
                "skip": (True, False, True),
                "settings": {
                    "batch_size": 30, "epsilon": 5.0, "rho_out": 1.0, "schedule": "constant"
                },
            },
            "averaged": {
                "settings": {
                    "batch_size": 20, "input_rank": 8, "average": 0.5, "schedule": "constant"
                },
            },
        },
    ),
}  # fmt: skip

EXAMPLES = [
    pytest.param(Case(kind=kind, **PLAIN | changes), id=f"{kind}-{name}")
    for kind, row in ROWS.items()
    for name, changes in row.examples.items()
]
on_examples = pytest.mark.parametrize("case", EXAMPLES)
on_schemes = pytest.mark.parametrize("kind", ROWS)
on_backends = pytest.mark.parametrize("backend", BACKENDS)
on_dtypes = pytest.mark.parametrize("dtype", DTYPES)


@st.composite
def cases(draw, kind, max_depth=4, max_width=12, max_samples=60, **fixed):
    """A network of every pattern that the scheme takes, with settings of every kind."""
    row, depth = ROWS[kind], draw(st.integers(1, max_depth))
    loss = draw(st.sampled_from(row.losses))
    width = st.integers(1, max_width)
    widths = [draw(width)]
    for _ in range(depth):  # often equal widths, so that skip connections are frequent
        widths.append(draw(st.one_of(st.just(widths[-1]), width)))
    if operator("loss", loss).targets == "distribution":
        widths[-1] = max(2, widths[-1])
    hidden = [draw(st.sampled_from(row.activations)) for _ in range(depth - 1)]
    output = draw(st.sampled_from(row.outputs))
    if loss == "exponential":  # of squares of squares it overflows
        assume([*hidden, output].count("polynomial") < 2)
    of_values = [draw(st.sampled_from(row.of_values)) for _ in range(depth)]
    last = operator("regularizer", *of_values[-1]).reference
    if last.terms is None and "smooth" not in operator("loss", loss).traits:
        of_values[-1] = ("none",)
    return Case(
        **{
            "kind": kind,
            "settings": row.settings(draw, depth),
            "widths": tuple(widths),
            "activations": (*hidden, output),
            "skip": tuple(
                row.skip and a == b and draw(st.booleans()) for a, b in itertools.pairwise(widths)
            ),
            "bias": draw(st.booleans()),
            "loss": loss,
            "loss_scale": draw(st.sampled_from(["sum", "mean"])),
            "of_weights": tuple(draw(st.sampled_from(row.of_weights)) for _ in range(depth)),
            "of_values": tuple(of_values),
            "n": draw(st.integers(1, max_samples)),
            "num_threads": draw(st.integers(1, 3)),
            "seed": draw(st.integers(0, 2**31)),
            "grid": draw(st.booleans()),
        }
        | fixed
    )
