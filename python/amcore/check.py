"""A self-test of operators: those of the catalogue and a user's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from amcore import _checks
from amcore._operator import Operator, is_definition
from amcore.activations import Activation
from amcore.losses import Loss
from amcore.regularizers import Regularizer

__all__ = ["Check", "OperatorReport", "check_operator"]

Array = _checks.Array
_TAUS = (1e-3, 0.3, 1.0, 20.0)


@dataclass(frozen=True)
class Check:
    """One property of an operator.

    Attributes
    ----------
    name : str
        What was checked, with the dtype.
    passed : bool
    detail : str
        Where it failed, with the numbers.
    """

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class OperatorReport:
    """What `check_operator` found; true if every check passed.

    Attributes
    ----------
    operator : str
    checks : tuple of Check
    """

    operator: str
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    def __bool__(self) -> bool:
        return not self.failures

    def __str__(self) -> str:
        head = f"{self.operator}: {len(self.checks) - len(self.failures)} of {len(self.checks)}"
        lines = [
            f"  {'ok    ' if check.passed else 'FAILED'} {check.name}"
            + (f": {check.detail}" if check.detail else "")
            for check in self.checks
        ]
        return "\n".join([f"{head} checks passed", *lines])


def check_operator(
    operator: Any,
    *,
    dtypes: Sequence[npt.DTypeLike] = (np.float64, np.float32),
    seed: int = 0,
    raise_on_failure: bool = True,
) -> OperatorReport:
    """Check that the functions of an operator belong together.

    The derivative is compared with differences, one-sided at kinks; the proximal map must beat a
    dense grid and random perturbations, satisfy its first-order condition and break ties to the
    left; `difference` must be accurate relative to its step, and `subgradient_distance` vanish at a
    proximal point. It tells errors from rounding, but proves nothing: arguments are drawn at
    moderate sizes.

    Parameters
    ----------
    operator : operator
        Of ``amcore.activations``, ``amcore.losses``, ``amcore.regularizers``, or an instance of a
        subclass of ``amcore.reference.operator.Activation``, ``Loss`` or ``Regularizer``.
    dtypes : sequence of dtype
        Checked one by one.
    seed : int
        Of the random arguments.
    raise_on_failure : bool
        Whether a failed check raises; the report is returned otherwise.

    Returns
    -------
    OperatorReport

    Raises
    ------
    AssertionError
        If a check fails, with the report as its text.
    TypeError
        If `operator` is none.
    """
    checks: list[Check] = []
    for family, (kind, examine) in _EXAMINE.items():
        if isinstance(operator, kind) or is_definition(operator, family):
            for dtype in dtypes:
                checked = _checks.dtype("dtypes", dtype)
                checks += _run(examine(operator, checked, np.random.default_rng(seed)), checked)
            break
    else:
        raise TypeError(f"operator: expected an operator, got {_checks.describe(operator)}")
    report = OperatorReport(str(operator), tuple(checks))
    if raise_on_failure and not report:
        raise AssertionError(str(report))
    return report


Test = tuple[str, Callable[[], str]]


def _run(tests: Iterator[Test], dtype: np.dtype[Any]) -> Iterator[Check]:
    """Run tests that return what is wrong, or nothing."""
    for name, test in tests:
        try:
            detail = test()
        except Exception as error:  # a user's own code
            detail = f"raised {type(error).__name__}: {error}"
        yield Check(f"{name} ({dtype})", not detail, detail)


def _worst(excess: Array, **arguments: Any) -> str:
    """Describe the entry that exceeds its tolerance most; NaN does too."""
    bad = ~(np.asarray(excess) <= 0)
    if not bad.any():
        return ""
    k = int(np.nanargmax(np.where(np.isnan(excess), np.inf, excess)))
    place = ", ".join(f"{key}={np.ravel(value)[k]:.9g}" for key, value in arguments.items())
    return f"off by {np.ravel(excess)[k]:.2g} beyond the tolerance at {place}"


def _wide(*arrays: Array) -> list[Array]:
    return [np.asarray(array, np.float64) for array in arrays]


def _activation(op: Any, dtype: np.dtype[Any], rng: np.random.Generator) -> Iterator[Test]:
    eps = float(np.finfo(dtype).eps)
    kinks = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
    u = np.concatenate([kinks, rng.uniform(-6, 6, 60)]).astype(dtype)

    def value() -> str:
        result = op.value(u)
        if result.dtype != dtype or result.shape != u.shape:
            return f"expected {dtype} of shape {u.shape}, got {result.dtype} of {result.shape}"
        return _worst(np.abs(result) - op.L0 * (1 + 4 * eps), u=u)

    def derivative(side: str) -> Callable[[], str]:
        def test() -> str:
            # Quotients with steps h and h/2, extrapolated, in float64.
            h = 1e-4 if side == "right" else -1e-4
            wide = u.astype(np.float64)
            slopes = [op.difference(wide + step, wide) / step for step in (h, h / 2)]
            slope, found = 2 * slopes[1] - slopes[0], op.derivative(u, side).astype(np.float64)
            tolerance = 8 * eps * (np.abs(slope) + np.abs(found)) + 1e-6 * (1 + np.abs(slope))
            bound = np.abs(found) - op.L1 * (1 + 4 * eps)
            return _worst(np.abs(found - slope) - tolerance, u=u) or _worst(bound, u=u)

        return test

    def difference() -> str:
        step = np.resize(np.array([0, 1e-7, 1e-3, 1.0]), u.shape) * rng.standard_normal(u.shape)
        a = (u + step).astype(dtype)
        wide, other = _wide(a, u)
        ends = [op.derivative(x, s) for x, s in ((wide, "left"), (other, "right"))]
        lip = np.max(np.abs([*ends, op.derivative((wide + other) / 2)]), axis=0)
        exact = op.value(wide) - op.value(other)
        rounding = 2e-15 * (1 + np.abs(op.value(wide)) + np.abs(op.value(other)))
        error = np.abs(op.difference(a, u) - exact)
        return _worst(error - 16 * eps * (lip + 1) * np.abs(wide - other) - rounding, a=a, b=u)

    yield "value", value
    for side in ("left", "right"):
        yield f"{side} derivative against differences", derivative(side)
    yield "difference of values", difference
    for weight in (1e-3, 0.03, 0.3, 2.0, 100.0):
        yield f"prox, weight {weight:g}", _activation_prox(op, dtype, rng, weight)
    yield "prox increases with z, ties to the left", lambda: _leftmost(op, dtype)


def _leftmost(op: Any, dtype: np.dtype[Any]) -> str:
    """Check that the prox at z is not right of an equally good one just left of z.

    The minimisers increase with z, so the leftmost one is the limit from the left. On a coarse grid
    of v and z exact ties occur.
    """
    v, z = (x.ravel() for x in np.meshgrid(np.arange(0, 76, 25.0), np.arange(-50, 51, 12.5)))
    v, z = v.astype(dtype), z.astype(dtype)
    before = np.nextafter(z, dtype.type(-np.inf))
    for weight in (9 / 16, 1.0):
        u, c = op.prox(v, z, weight), op.prox(v, before, weight)
        wu, wc, wv, wz = _wide(u, c, v, z)
        rounding = 64 * float(np.finfo(dtype).eps) * (1e-9 + np.abs(wu) + np.abs(wc) + np.abs(wz))
        if message := _worst(wc - wu - rounding, v=v, z=z):
            return f"decreases: {message}"
        gain = op.difference(wc, wu) * ((wv - op.value(wu)) + (wv - op.value(wc))) + weight * (
            (wu - wc) * ((wu - wz) + (wc - wz))
        )
        if (bad := (wc < wu - rounding) & (gain == 0)).any():
            k = int(np.argmax(bad))
            return f"v={v[k]:g}, z={z[k]:g}: prox {u[k]:.9g}, but {c[k]:.9g} is as good"
    return ""


def _activation_prox(
    op: Any, dtype: np.dtype[Any], rng: np.random.Generator, weight: float
) -> Callable[[], str]:
    def test() -> str:
        eps = float(np.finfo(dtype).eps)
        v, z = (3 * rng.standard_normal((2, 60))).astype(dtype)
        u = op.prox(v, z, weight)
        wv, wz, wu = _wide(v, z, u)
        fit = wv - op.value(wu)
        sides = [op.derivative(wu, side) for side in ("left", "right")]
        steep = np.max(np.abs(sides), axis=0)
        # A rounded u: h' moves by h'' times its rounding, estimated from both sides.
        beside = np.abs(wu) * 4 * eps + 1e-300
        left, right = (
            weight * (x - wz) - (wv - op.value(x)) * op.derivative(x, side)
            for x, side in ((wu - beside, "left"), (wu + beside, "right"))
        )
        scale = 16 * eps * (weight * (np.abs(wz) + np.abs(wu)) + steep * (np.abs(fit) + np.abs(wv)))
        message = _worst(np.maximum(left, -right) - scale, v=v, z=z, prox=u)
        if message:
            return f"first-order condition: {message}"
        grid = np.concatenate([np.linspace(-12, 12, 481), np.geomspace(12, 1e3, 40)])
        offsets = 10.0 ** rng.uniform(-6, 1, (60, len(v))) * rng.choice([-1, 1], (60, len(v)))
        others = np.concatenate([np.broadcast_to(grid[:, None], (len(grid), len(v))), wu + offsets])
        moved = op.difference(others, np.broadcast_to(wu, others.shape).copy())
        gain = moved * (fit + (wv - op.value(others))) + weight * (
            (wu - others) * ((wu - wz) + (others - wz))
        )
        size = np.abs(moved) * (np.abs(fit) + np.abs(wv - op.value(others))) + weight * np.abs(
            (wu - others) * (np.abs(wu - wz) + np.abs(others - wz))
        )
        excess = gain - 64 * eps * (size + beside * (weight + steep))
        k = np.unravel_index(int(np.argmax(excess)), excess.shape)
        better = excess[k] > 0 or not np.isfinite(excess).all()
        at = f"v={v[k[1]]:.9g}, z={z[k[1]]:.9g}: prox {u[k[1]]:.9g}"
        return f"{at} is worse than {others[k]:.9g}" if better else ""

    return test


def _targets(op: Any, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    if op.targets == "sign":
        return rng.choice([-1.0, 1.0], shape)
    if op.targets == "distribution":
        return np.eye(shape[1])[rng.integers(shape[1], size=shape[0])]
    return rng.standard_normal(shape)


def _loss(op: Any, dtype: np.dtype[Any], rng: np.random.Generator) -> Iterator[Test]:
    eps, shape = float(np.finfo(dtype).eps), (30, 3)
    y = _targets(op, shape, rng).astype(dtype)
    v = (2 * rng.standard_normal(shape)).astype(dtype)

    def gradient() -> str:
        wide, goal = _wide(v, y)
        found = op.gradient(v, y).astype(np.float64)
        excess = np.empty(shape)
        for index in np.ndindex(shape):
            row, step = slice(index[0], index[0] + 1), np.zeros((1, shape[1]))
            step[0, index[1]] = 1e-5
            rise = op.difference(wide[row] + step, wide[row] - step, goal[row]) / 2e-5
            excess[index] = abs(rise - found[index]) - (16 * eps + 1e-8) * (1 + abs(rise))
        return _worst(excess, v=v, y=y)

    def difference() -> str:
        a = (v + np.resize([0, 1e-7, 1e-3, 1.0], shape) * rng.standard_normal(shape)).astype(dtype)
        wide, other, goal = _wide(a, v, y)
        exact = op.value(wide, goal) - op.value(other, goal)
        size = op.value(wide, goal) + op.value(other, goal)
        error = abs(op.difference(a, v, y) - exact) - 64 * eps * size
        return f"off by {error:.2g} beyond the tolerance" if not error <= 0 else ""

    yield "gradient against differences", gradient
    yield "difference of values", difference
    for tau in _TAUS:

        def prox(tau: float = tau) -> str:
            p = op.prox(v, y, tau)
            wp, q, goal = _wide(p, v, y)

            def distance(point: Array, target: Array, g: Array) -> float:
                return float(op.subgradient_distance(point, target, g))

            def gain(row: slice, other: Array) -> float:
                pull = ((wp[row] - other) * ((wp[row] - q[row]) + (other - q[row]))).sum()
                return float(op.difference(wp[row], other, goal[row]) + pull / (2 * tau))

            return _check_prox(distance, gain, p, v, y, tau, eps, rng)

        yield f"prox, tau {tau:g}", prox


def _check_prox(
    distance: Callable[[Array, Array, Array], float],
    gain: Callable[[slice, Array], float],
    p: Array,
    q: Array,
    y: Array,
    tau: float,
    eps: float,
    rng: np.random.Generator,
) -> str:
    """Check every row: (q − p)/τ is a subgradient at p, and no perturbation is better."""
    wp, wq, goal = _wide(p, q, y)
    for k in range(len(p)):
        row = slice(k, k + 1)
        size = np.abs(wp[row]).sum() + np.abs(wq[row]).sum() + np.abs(goal[row]).sum() + 1
        tolerance = 64 * eps * size * (1 + 1 / tau)
        residual = distance(wp[row], goal[row], (wp[row] - wq[row]) / tau)
        if not residual <= tolerance:
            return f"first-order condition: off by {residual:.2g} for {q[k]}, prox {p[k]}"
        for scale in np.repeat([1e-5, 1e-3, 0.1, 1.0, 10.0], 8):
            other = wp[row] + scale * rng.standard_normal(wp[row].shape)
            if gain(row, other) > tolerance * scale:
                return f"{q[k]}: prox {p[k]} is worse than {other[0]}"
    return ""


def _regularizer(op: Any, dtype: np.dtype[Any], rng: np.random.Generator) -> Iterator[Test]:
    eps, shape = float(np.finfo(dtype).eps), (4, 3)

    def difference() -> str:
        for step in (0, 1e-6, 1e-2, 1.0):
            b = op.prox(rng.standard_normal(shape), 0.3).astype(dtype)
            a = op.prox(b + step * rng.standard_normal(shape), 0.3).astype(dtype)
            wide, other = _wide(a, b)
            exact, size = op.value(wide) - op.value(other), op.value(wide) + op.value(other)
            if np.isfinite(size) and not abs(op.difference(a, b) - exact) <= 64 * eps * (1 + size):
                return f"expected {exact:.9g}, got {op.difference(a, b):.9g}"
        return ""

    def prox(tau: float) -> str:
        for scale in (0.1, 1.0, 4.0):
            x = (scale * rng.standard_normal(shape)).astype(dtype)
            p = op.prox(x, tau)
            if p.dtype != dtype or p.shape != shape:
                return f"expected {dtype} of shape {shape}, got {p.dtype} of {p.shape}"
            wp, wx = _wide(p, x)
            size = np.abs(wp).sum() + np.abs(wx).sum() + 1
            tolerance = 64 * eps * size * (1 + 1 / tau)
            residual = op.subgradient_distance(p, ((wp - wx) / tau).astype(dtype))
            if not residual <= tolerance:
                return f"first-order condition: off by {residual:.2g}"
            others = [
                wp + s * rng.standard_normal(shape) for s in np.repeat(10.0 ** np.arange(-5, 2), 8)
            ]
            others += [wx, 0 * wx, np.where(rng.random(shape) < 0.5, wp, wx)]
            others += [np.where(rng.random(shape) < 0.5, wp, 0) for _ in range(8)]
            value = op.value(p)
            for other in others:
                pull = ((other - wp) * ((other - wx) + (wp - wx))).sum() / (2 * tau)
                rise = op.value(other.astype(dtype)) - value + pull
                if not rise >= -tolerance * (1 + abs(value)):
                    return f"{x.tolist()}: prox {p.tolist()} is worse than {other.tolist()}"
        return ""

    yield "difference of values", difference
    for tau in _TAUS:
        yield f"prox, tau {tau:g}", functools.partial(prox, tau)


_EXAMINE: dict[str, tuple[type[Operator], Callable[..., Iterator[Test]]]] = {
    "activation": (Activation, _activation),
    "loss": (Loss, _loss),
    "regularizer": (Regularizer, _regularizer),
}
