"""Random problems and the operators under test, shared by several files."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import amcore
from amcore import _core
from amcore.reference import operator as definitions

KINDS = {
    "activation": amcore.activations,
    "loss": amcore.losses,
    "regularizer": amcore.regularizers,
}
DTYPES = {"float64": np.float64, "float32": np.float32}


def operator(family, stem, *parameters):
    """Return the public operator, by default with its default parameters."""
    found = getattr(KINDS[family], stem)
    return found(*parameters) if _core.registry()[family][stem] else found


def names(family):
    """Names of all operators of a family, on either side."""
    return sorted({*_core.registry()[family], *definitions.stems(family)})


def sides(family, stem, *parameters):
    """Return the two implementations of an operator, with one interface."""
    public = operator(family, stem, *parameters)
    return {"native": public, "reference": public.reference}


def targets(loss, rng, n, width, dtype=np.float64):
    """Draw targets such as the loss needs."""
    if loss.targets == "sign":
        return rng.choice([-1.0, 1.0], (n, width)).astype(dtype)
    if loss.targets == "distribution":
        return np.eye(width, dtype=dtype)[rng.integers(width, size=n)]
    return rng.standard_normal((n, width)).astype(dtype)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A problem, a scheme and a start, small enough to read in a failure's report."""

    widths: tuple[int, ...]
    activations: tuple[str, ...]
    skip: tuple[bool, ...]
    bias: bool
    loss: str
    loss_scale: str
    n: int
    num_threads: int
    seed: int
    grid: bool  # inputs and weights on a coarse grid, which brings zeros, kinks and equal samples
    dtype: str = "float64"

    @property
    def depth(self):
        return len(self.widths) - 1

    @property
    def network(self):
        *hidden, output = self.activations
        return amcore.Network(self.widths, hidden, output, self.skip, self.bias)

    def _normal(self, rng, *shape):
        drawn = rng.standard_normal(shape)
        return np.round(2 * drawn) / 2 if self.grid else drawn

    def problem(self, samples=slice(None)):
        rng = np.random.default_rng([self.seed, 0])
        X = self._normal(rng, self.n, self.widths[0]).astype(self.dtype)
        loss = operator("loss", self.loss)
        Y = targets(loss, rng, self.n, self.widths[-1], self.dtype)
        return amcore.Problem(
            self.network,
            X[samples],
            Y[samples],
            loss=loss,
            loss_scale=self.loss_scale,
            **self.regularizers(),
        )

    def regularizers(self):
        """The problem's, by keyword."""
        raise NotImplementedError

    def scheme(self):
        raise NotImplementedError

    def weights(self):
        rng = np.random.default_rng([self.seed, 1])
        drawn = []
        for inputs, outputs in zip(self.widths[:-1], self.widths[1:], strict=True):
            W = self._normal(rng, outputs, inputs) / np.sqrt(inputs)
            b = self._normal(rng, outputs) / 4 if self.bias else None
            drawn.append((W, b))
        return drawn

    def solve(self, **options):
        options = {"init": self.weights(), "num_threads": self.num_threads, **options}
        return amcore.solve(self.problem(), self.scheme(), **options)

    def iterate(self, **options):
        options = {"init": self.weights(), "num_threads": self.num_threads, **options}
        return amcore.iterate(self.problem(), self.scheme(), **options)

    def with_(self, **changes):
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Case(Example):
    """Three-splitting with ridges."""

    lam: tuple[float, ...]
    gamma: tuple[float, ...]
    rho: tuple[float, ...]
    alpha: float

    def regularizers(self):
        ridges = [amcore.regularizers.ridge(lam) if lam else "none" for lam in self.lam]
        return {"weight_regularizer": ridges}

    def scheme(self):
        return amcore.ThreeSplitBCD(gamma=self.gamma, rho=self.rho, alpha=self.alpha)


LOSSES = st.sampled_from(names("loss"))
ACTIVATIONS = st.sampled_from(names("activation"))


@st.composite
def cases(draw, max_depth=5, max_width=40, max_samples=80, smooth=False, losses=LOSSES):
    """Networks of every pattern that the three-splitting scheme takes."""
    depth = draw(st.integers(1, max_depth))
    loss = draw(losses)
    width = st.integers(1, max_width)
    widths = [draw(width)]
    for _ in range(depth):  # often equal widths, so that skip connections are frequent
        widths.append(draw(st.one_of(st.just(widths[-1]), width)))
    if operator("loss", loss).targets == "distribution":
        widths[-1] = max(2, widths[-1])
    allowed = [
        name
        for name in names("activation")
        if not smooth or "smooth" in operator("activation", name).traits
    ]
    hidden = [draw(st.sampled_from(allowed)) for _ in range(depth - 1)]
    output = draw(st.one_of(st.just("identity"), st.sampled_from(allowed)))
    if loss == "exponential":  # of squares of squares it overflows
        assume([*hidden, output].count("polynomial") < 2)
    agree = [a == b for a, b in itertools.pairwise(widths)]
    weight = st.floats(-1, 1).map(lambda x: round(10**x, 3))
    per_layer = st.tuples(*[weight] * depth)
    return Case(
        widths=tuple(widths),
        activations=(*hidden, output),
        skip=tuple(fits and draw(st.booleans()) for fits in agree),
        bias=draw(st.booleans()),
        loss=loss,
        loss_scale=draw(st.sampled_from(["sum", "mean"])),
        lam=draw(st.tuples(*[st.sampled_from([0.0, 0.01, 1.0])] * depth)),
        n=draw(st.integers(1, max_samples)),
        gamma=draw(per_layer),
        rho=draw(per_layer),
        alpha=draw(weight),
        num_threads=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 2**31)),
        grid=draw(st.booleans()),
    )
