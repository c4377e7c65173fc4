"""Runs whose truth is known: families of traces with random parameters, for bench_certificate.py.

A family is a function of a random generator that returns a `Case`. The analysis is tuned on
`FAMILIES` with small seeds; `HELD_BACK`, and all families with other seeds, are to judge it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rng = np.random.Generator


@dataclass
class Case:
    """A trace and what is true of the run it comes from.

    `gap` is the true f_k − f* (None where f has no finite limit). `truth` may hold "A1", "A2",
    "critical" (holds or fails), "theta", "kind", "eta", "exponent" and "theorem". `open` names the
    properties that the trace does not decide.
    """

    f: Array
    g: Array
    gap: Array | None
    truth: dict[str, Any]
    decrease: Array | None = None
    options: dict[str, Any] = field(default_factory=dict)
    open: frozenset[str] = frozenset()


FAMILIES: dict[str, Callable[[Rng], Case]] = {}


HELD_BACK: dict[str, Callable[[Rng], Case]] = {}


def family(make: Callable[[Rng], Case]) -> Callable[[Rng], Case]:
    FAMILIES[make.__name__] = make
    return make


def held_back(make: Callable[[Rng], Case]) -> Callable[[Rng], Case]:
    HELD_BACK[make.__name__] = make
    return make


ALL = frozenset({"A1", "A2", "KL", "rate", "critical", "decay"})
LATER = frozenset({"A2", "KL", "rate", "decay"})  # what only the asymptotic regime can tell


def geometric(eta: float, theta: float = 0.5, **more: Any) -> dict[str, Any]:
    theorem = {"theorem": "4.1 (ii)"} if theta <= 0.5 else {"theorem": "4.2"}
    told = {"A1": "holds", "A2": "holds", "critical": "holds", "theta": theta}
    return told | theorem | {"kind": "geometric", "eta": eta} | more


def power(p: float, **more: Any) -> dict[str, Any]:
    """f_k − f* ~ k^{−p} of a flow: θ = (p + 1)/2p, and A1 with a constant that does not vanish."""
    told = {"A1": "holds", "A2": "fails", "critical": "holds", "theorem": "4.1 (iii)"}
    return told | {"theta": (p + 1) / (2 * p), "kind": "power", "exponent": p} | more


def uniform(rng: Rng, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def sweeps(rng: Rng, low: int = 400, high: int = 4000) -> int:
    return int(log_uniform(rng, low, high))


def from_gap(gap: Array, g: Array, truth: dict[str, Any], offset: float = 0.0, **more: Any) -> Case:
    """With decreases from the gap where `accurate`."""
    accurate = more.pop("accurate", offset != 0)
    decrease = gap[:-1] - gap[1:] if accurate else None
    return Case(gap + offset, g, gap, truth, decrease, **more)


def quadratic(rng: Rng, modes: int, step: float, h: Array, K: int) -> tuple[Array, Array, Array]:
    """f, ‖∇f‖ and decreases of gradient descent on ½ Σ h x²."""
    x0 = rng.standard_normal(modes) * np.exp(rng.uniform(-1, 1, modes))
    x = (1 - step * h) ** np.arange(K + 1)[:, None] * x0
    f = 0.5 * (h * x**2).sum(axis=1)
    decrease = 0.5 * (h * (x[:-1] - x[1:]) * (x[:-1] + x[1:])).sum(axis=1)
    return f, np.sqrt((h**2 * x**2).sum(axis=1)), decrease


def modes(rng: Rng, count: int, depth: float, offset: float = 0.0, **more: Any) -> Case:
    """Gradient descent that takes its slowest mode down by `depth` e-folds of f."""
    h = np.sort(np.exp(rng.uniform(math.log(0.01), 0, count)))
    if count > 1:
        h[1:] = np.maximum(h[1:], 1.3 * h[0])
    step = uniform(rng, 0.4, 0.95) / h[-1]
    eta = (1 - step * h[0]) ** 2
    K = max(60, int(depth / -math.log(eta)))
    f, g, decrease = quadratic(rng, count, step, h, K)
    return Case(f + offset, g, f, geometric(eta), decrease if offset else None, **more)


@family
def one_mode(rng: Rng) -> Case:
    return modes(rng, 1, uniform(rng, 30, 60))


@family
def two_modes(rng: Rng) -> Case:
    return modes(rng, 2, uniform(rng, 40, 60))


@family
def five_modes(rng: Rng) -> Case:
    return modes(rng, 5, uniform(rng, 40, 60))


@family
def many_modes(rng: Rng) -> Case:
    return modes(rng, 40, uniform(rng, 50, 80))


@family
def modes_accurate_offset(rng: Rng) -> Case:
    return modes(rng, 4, uniform(rng, 40, 60), offset=log_uniform(rng, 1, 1e6))


@family
def modes_negative_offset(rng: Rng) -> Case:
    return modes(rng, 3, uniform(rng, 40, 60), offset=-log_uniform(rng, 1, 1e4))


@family
def one_mode_below_rounding(rng: Rng) -> Case:
    """A geometric run that reaches the rounding of its offset, decreases from differences."""
    case = modes(rng, 1, uniform(rng, 60, 120))
    case.f = case.f + uniform(rng, 0.5, 5)
    return case


@family
def modes_below_rounding(rng: Rng) -> Case:
    case = modes(rng, 3, uniform(rng, 60, 100))
    case.f = case.f + uniform(rng, 0.5, 2)
    return case


@family
def early_many_modes(rng: Rng) -> Case:
    """Cut while ever slower modes take over: only descent can be told."""
    return modes(rng, 60, uniform(rng, 1, 3), open=ALL - {"A1"})


@family
def slow_hidden_under_fast(rng: Rng) -> Case:
    """A slow mode far below a fast one that has come down by 1e3 … 1e6 in g: nobody can know."""
    fast, slow = uniform(rng, 0.5, 0.9), uniform(rng, 0.9990, 0.9999)
    K = max(60, int(uniform(rng, 7, 13) / -math.log(fast)))
    k = np.arange(K + 1)
    hidden = fast**K * log_uniform(rng, 1e-3, 1e-1)
    x, y = fast**k, math.sqrt(hidden) * slow**k
    h = 1 - slow
    gap = 0.5 * x**2 + 0.5 * h * y**2
    g = np.hypot(x, h * y)
    decrease = 0.5 * (x[:-1] - x[1:]) * (x[:-1] + x[1:]) + 0.5 * h * (
        (y[:-1] - y[1:]) * (y[:-1] + y[1:])
    )
    told = geometric(slow**2)
    return Case(gap, g, gap, told, decrease, open=ALL - {"A1"})


@family
def slow_mode_shown(rng: Rng) -> Case:
    """A fast mode, then a slow one that has come down by 1e6 itself."""
    fast, slow = uniform(rng, 0.3, 0.7), uniform(rng, 0.96, 0.99)
    K = int(uniform(rng, 16, 22) / -math.log(slow))
    k = np.arange(K + 1)
    a = log_uniform(rng, 1e-4, 1e-2)
    gap = fast ** (2 * k) + a * slow ** (2 * k)
    g = np.sqrt(fast ** (2 * k) * 4 + a * (1 - slow) * slow ** (2 * k))
    return from_gap(gap, g, geometric(slow**2), accurate=True)


@family
def geometric_scattered(rng: Rng) -> Case:
    """Decreases and distances that scatter about their law."""
    eta, K = uniform(rng, 0.9, 0.98), sweeps(rng, 300, 900)
    noise = uniform(rng, 0.02, 0.3)
    d = eta ** np.arange(K) * np.exp(noise * rng.standard_normal(K))
    rest = eta**K / (1 - eta)
    gap = np.append(np.cumsum(d[::-1])[::-1], 0.0) + rest
    g = np.sqrt(gap) * np.exp(noise * rng.standard_normal(K + 1)) * uniform(rng, 0.3, 3)
    return Case(gap, g, gap, geometric(eta), d)


@family
def geometric_near_one(rng: Rng) -> Case:
    eta = 1 - log_uniform(rng, 1e-3, 1e-2)
    K = int(uniform(rng, 30, 45) / (1 - eta))
    gap = log_uniform(rng, 1e-3, 1e3) * eta ** np.arange(K + 1)
    return from_gap(gap, np.sqrt(gap) * uniform(rng, 0.1, 10), geometric(eta), accurate=True)


@family
def geometric_fast(rng: Rng) -> Case:
    eta = uniform(rng, 0.05, 0.4)
    K = int(min(300, 600 / -math.log(eta)))
    gap = eta ** np.arange(K + 1)
    return from_gap(gap, np.sqrt(gap) * uniform(rng, 0.3, 3), geometric(eta), accurate=True)


@family
def heavy_ball(rng: Rng) -> Case:
    """Momentum: f oscillates under a geometric envelope, A1 fails with every small j."""
    h, step, beta = np.array([0.05, 1.0]), 1.0, uniform(rng, 0.7, 0.85)
    x = v = np.array([1.0, 1.0])
    v = np.zeros(2)
    K, f, g = 500, [], []
    for _ in range(K + 1):
        f.append(0.5 * np.sum(h * x**2))
        g.append(float(np.linalg.norm(h * x)))
        v = beta * v - step * h * x
        x = x + v
    told = {"critical": "holds"}
    return Case(np.array(f), np.array(g), np.array(f), told, open=ALL)


@family
def proximal_point(rng: Rng) -> Case:
    """Proximal steps on ½hx²: x ← x/(1 + sh)."""
    h, s = log_uniform(rng, 0.01, 1), log_uniform(rng, 0.3, 3)
    q = 1 / (1 + s * h)
    K = int(uniform(rng, 30, 60) / -math.log(q * q))
    x = q ** np.arange(K + 1)
    f = 0.5 * h * x**2
    return from_gap(f, h * x, geometric(q * q), accurate=True)


@family
def alternating_exact(rng: Rng) -> Case:
    """Exact alternating minimisation of ½x² + ½y² − cxy: geometric with c⁴, one mode."""
    c = uniform(rng, 0.5, 0.95)
    K = int(uniform(rng, 30, 50) / -math.log(c**4)) + 20
    y = c ** (2 * np.arange(K + 1.0))
    x = c * y / c**2  # x is minimised before y: x = c y_{k−1}
    x[0] = 1.0
    f = 0.5 * x**2 + 0.5 * y**2 - c * x * y
    g = np.hypot(x - c * y, y - c * x)
    return from_gap(f, g, geometric(c**4), accurate=True)


def flow(rng: Rng, p: float, K: int, scale: float = 1.0) -> tuple[Array, Array]:
    """f and |f′| of gradient descent on s|x|^q whose f falls like k^{−p}, q = 2p/(p − 1)."""
    q = 2 * p / (p - 1)
    x, step = 1.0, uniform(rng, 0.05, 0.3) / (q * (q - 1))
    xs = [x]
    for _ in range(K):
        x -= step * q * x ** (q - 1)
        xs.append(x)
    values = np.array(xs)
    return scale * values**q, scale * q * values ** (q - 1)


def descent_power(rng: Rng, low: float, high: float, **more: Any) -> Case:
    p = uniform(rng, low, high)
    f, g = flow(rng, p, sweeps(rng, 1500, 8000), log_uniform(rng, 0.1, 10))
    return from_gap(f, g, power(p), accurate=True, **more)


@family
def quartic(rng: Rng) -> Case:
    return descent_power(rng, 2.0, 2.0 + 1e-9)


@family
def flat_power(rng: Rng) -> Case:
    return descent_power(rng, 1.1, 1.6)


@family
def steep_power(rng: Rng) -> Case:
    return descent_power(rng, 3.0, 5.0)


@family
def middle_power(rng: Rng) -> Case:
    return descent_power(rng, 1.6, 3.0)


@family
def power_with_offset(rng: Rng) -> Case:
    case = descent_power(rng, 1.5, 4.0)
    case.f = case.f + log_uniform(rng, 0.1, 1e3)
    return case


@family
def power_rounded_offset(rng: Rng) -> Case:
    """As above, but decreases are differences of objectives."""
    case = descent_power(rng, 1.5, 3.0)
    case.f, case.decrease = case.f + uniform(rng, 0.1, 1), None
    return case


@family
def power_shifted(rng: Rng) -> Case:
    p, shift, K = uniform(rng, 1.3, 4), log_uniform(rng, 1, 300), sweeps(rng, 3000, 8000)
    gap = (1 + np.arange(K + 1) / shift) ** -p
    theta = (p + 1) / (2 * p)
    return from_gap(gap, gap**theta * uniform(rng, 0.2, 5), power(p), accurate=True)


@family
def power_scattered(rng: Rng) -> Case:
    p, shift, K = uniform(rng, 1.5, 3), log_uniform(rng, 1, 30), sweeps(rng, 3000, 8000)
    noise = uniform(rng, 0.02, 0.2)
    k = np.arange(K)
    d = (1 + k / shift) ** (-p - 1) * np.exp(noise * rng.standard_normal(K))
    rest = shift / p * (1 + (K - 0.5) / shift) ** -p * math.exp(noise**2 / 2)
    gap = np.append(np.cumsum(d[::-1])[::-1], 0.0) + rest
    g = gap ** ((p + 1) / (2 * p)) * np.exp(noise * rng.standard_normal(K + 1))
    return Case(gap, g, gap, power(p), d)


@family
def power_after_transient(rng: Rng) -> Case:
    """A geometric transient, huge, then a power law."""
    case = descent_power(rng, 1.5, 3)
    assert case.gap is not None
    k = np.arange(case.f.size)
    big, eta = log_uniform(rng, 1e2, 1e6), uniform(rng, 0.3, 0.8)
    extra = big * eta**k
    case.gap = case.gap + extra
    case.f, case.g = case.gap.copy(), np.sqrt(case.g**2 + extra)
    case.decrease = -np.diff(case.gap)
    return case


@family
def power_large_x(rng: Rng) -> Case:
    """Theorem conditions f − f* ≤ 1 and g ≤ 1 are met only in other units."""
    case = descent_power(rng, 1.5, 3)
    s = log_uniform(rng, 1e3, 1e8)
    assert case.gap is not None and case.decrease is not None
    return Case(case.f * s, case.g * s, case.gap * s, case.truth, case.decrease * s)


@family
def theta_near_one(rng: Rng) -> Case:
    """p = 0.15 … 0.6: a limit so far away that few decide it."""
    p, K = uniform(rng, 0.15, 0.6), sweeps(rng, 4000, 10000)
    gap = (1 + np.arange(K + 1) / 3) ** -p
    g = (1 + np.arange(K + 1) / 3) ** (-(p + 1) / 2)
    told = {"A1": "holds", "A2": "fails", "critical": "holds", "kind": "power", "exponent": p}
    return from_gap(gap, g, told, accurate=True, open=LATER | {"critical"})


@family
def strong_on_power(rng: Rng) -> Case:
    """x ← qx on |x|^r: A2 with α = θ > ½, geometric."""
    r, q = uniform(rng, 2.5, 6), uniform(rng, 0.6, 0.95)
    K = int(uniform(rng, 40, 90) / -math.log(q**r)) + 40
    x = q ** np.arange(K + 1)
    return from_gap(x**r, r * x ** (r - 1), geometric(q**r, 1 - 1 / r), accurate=True)


@family
def theta_below_half(rng: Rng) -> Case:
    """g falls slower than √(f − f*): A1's constant tends to 0, θ below ½."""
    theta, eta = uniform(rng, 0.15, 0.4), uniform(rng, 0.8, 0.95)
    K = int(uniform(rng, 60, 90) / -math.log(eta))
    gap = eta ** np.arange(K + 1)
    told = geometric(eta, theta, A1="fails", theorem="4.2")
    return from_gap(gap, gap**theta, told, accurate=True)


@family
def superlinear(rng: Rng) -> Case:
    gap = np.array([0.9 ** (1.5**k) for k in range(20)])
    told = {"A1": "holds", "critical": "holds"}
    return from_gap(gap, 2 * np.sqrt(gap), told, accurate=True, open=ALL)


@family
def logistic_like(rng: Rng) -> Case:
    """Gradient descent on exp(−x): f ~ 1/k, the infimum is not attained."""
    x, s, xs = 0.0, uniform(rng, 0.2, 1.0), []
    for _ in range(sweeps(rng, 2000, 6000) + 1):
        xs.append(x)
        x += s * math.exp(-x)
    f = np.exp(-np.array(xs))
    told = {"A1": "holds", "A2": "fails", "critical": "holds", "KL": "not holds"}
    return from_gap(f, f.copy(), told, accurate=True, open=LATER)


@family
def falls_like_log(rng: Rng) -> Case:
    """f = −log(k + s): no limit at all."""
    k = np.arange(sweeps(rng) + 1.0)
    s = log_uniform(rng, 1, 30)
    told = {"critical": "holds", "KL": "not holds", "A1": "holds", "rate": "not holds"}
    f, g = -np.log(k + s), (k + s) ** -0.5
    return Case(f, g, None, told, open=ALL)


@family
def one_over_log(rng: Rng) -> Case:
    k = np.arange(sweeps(rng, 2000, 8000) + 1.0) + log_uniform(rng, 3, 30)
    f = 1 / np.log(k)
    told = {"critical": "holds", "KL": "not holds", "rate": "not holds"}
    return from_gap(f, np.sqrt(1 / (k * np.log(k) ** 2)), told, accurate=True, open=ALL)


@family
def unbounded_linear(rng: Rng) -> Case:
    k = np.arange(sweeps(rng) + 1.0)
    told = {"A1": "holds", "KL": "not holds", "rate": "not holds", "critical": "fails"}
    g = np.full(k.size, uniform(rng, 0.5, 5))
    return Case(10 - k * g**2 / 2, g, None, told, open=ALL - {"A1"})


@family
def finite_steps(rng: Rng) -> Case:
    """Subgradient steps on |x| that end exactly."""
    n, K = int(rng.integers(20, 80)), int(rng.integers(90, 200))
    f = uniform(rng, 0.5, 4) * np.maximum(0.0, n - np.arange(K + 1.0))
    g = np.where(f > 0, 1.0, 0.0)
    told = {"A1": "holds", "critical": "holds", "kind": "finite", "theta": 0.0}
    return from_gap(f, g, told | {"theorem": "4.1 (i)"}, open=frozenset({"A2"}))


@family
def finite_offset(rng: Rng) -> Case:
    case = finite_steps(rng)
    case.f = case.f + uniform(rng, 1, 10)
    return case


@family
def finite_after_geometric(rng: Rng) -> Case:
    """A geometric approach to a kink that is met exactly at f − f* = 1e-3."""
    eta, K = uniform(rng, 0.85, 0.95), 400
    gap = eta ** np.arange(K + 1.0)
    gap[gap < 1e-3] = 0
    g = np.where(gap > 0, np.maximum(0.5, np.sqrt(gap)), 0.0)
    told = {"A1": "holds", "critical": "holds", "kind": "finite", "theta": 0.0}
    return from_gap(gap, g, told | {"theorem": "4.1 (i)"}, open=frozenset({"A2", "KL"}))


def stall(rng: Rng, f: Array, g: Array, **more: Any) -> Case:
    told = {"A1": "fails", "critical": "fails", "KL": "not holds", "rate": "not holds"}
    return Case(f, g, None, told, open=LATER | more.pop("open", frozenset()), **more)


@family
def stall_geometric(rng: Rng) -> Case:
    k, eta = np.arange(401.0), uniform(rng, 0.8, 0.95)
    g = uniform(rng, 0.1, 5)
    return stall(rng, g + eta**k, np.full(k.size, g) * (1 + eta**k))


@family
def stall_accurate(rng: Rng) -> Case:
    k, eta = np.arange(401.0), uniform(rng, 0.8, 0.95)
    gap = eta**k
    g = np.full(k.size, uniform(rng, 0.1, 5)) + eta**k
    return stall(rng, 3 + gap, g, decrease=gap[:-1] - gap[1:])


@family
def stall_power(rng: Rng) -> Case:
    k = np.arange(sweeps(rng, 1000, 4000) + 1.0)
    gap = (1 + k) ** -uniform(rng, 1, 2)
    g = np.full(k.size, uniform(rng, 0.1, 5)) * (1 + gap)
    return stall(rng, 1 + gap, g, decrease=gap[:-1] - gap[1:])


@family
def stall_after_huge_start(rng: Rng) -> Case:
    k = np.arange(301.0)
    big = log_uniform(rng, 1e4, 1e9)
    return stall(rng, big * 0.5**k + 30 + 1e-3 / (1 + k), uniform(rng, 1, 9) + big * 0.5**k)


@family
def stall_noisy_g(rng: Rng) -> Case:
    k = np.arange(801.0)
    f = 2 + 0.95**k
    return stall(rng, f, uniform(rng, 0.1, 1) * np.exp(0.1 * rng.standard_normal(k.size)))


@family
def saddle_then_descent(rng: Rng) -> Case:
    """A plateau at a saddle, then a geometric descent."""
    x, y, s = 1.0, log_uniform(rng, 1e-7, 1e-4), 0.05
    f, g = [], []
    for _ in range(600):
        f.append(0.5 * x * x + 0.25 * (y * y - 1) ** 2)
        dx, dy = x, (y * y - 1) * y
        g.append(math.hypot(dx, dy))
        x, y = x - s * dx, y - s * dy
    gap = np.array(f)
    told = geometric((1 - s) ** 2)
    return Case(gap, np.array(g), gap, told)


@family
def on_a_plateau(rng: Rng) -> Case:
    """Cut where it still looks like convergence to the saddle: f* = ¼ would be wrong."""
    x, y, s = 1.0, 1e-12, 0.05
    f, g = [], []
    for _ in range(int(rng.integers(120, 260))):
        f.append(0.5 * x * x + 0.25 * (y * y - 1) ** 2)
        dx, dy = x, (y * y - 1) * y
        g.append(math.hypot(dx, dy))
        x, y = x - s * dx, y - s * dy
    return Case(np.array(f), np.array(g), None, {"A1": "holds"}, open=ALL)


@family
def step_plateaus(rng: Rng) -> Case:
    """Several slow pieces with sudden falls between them, the last one geometric and deep."""
    parts = [np.full(60, 1e-5)]
    for _ in range(3):
        parts += [0.3 ** np.arange(12.0), np.full(int(rng.integers(40, 90)), 1e-6)]
    eta = uniform(rng, 0.9, 0.95)
    parts.append(0.1 * eta ** np.arange(int(36 / -math.log(eta))))
    d = np.concatenate(parts)
    rest = d[-1] * eta / (1 - eta)
    gap = np.append(np.cumsum(d[::-1])[::-1], 0.0) + rest
    g = np.sqrt(np.append(d, d[-1] * eta)) * uniform(rng, 0.5, 2)
    return Case(gap, g, gap, geometric(eta), d)


def noisy(case: Case, rng: Rng, level: float) -> Case:
    """With readings of f that are off by `level`; decreases are differences of readings."""
    case.f = case.f + level * rng.standard_normal(case.f.size)
    case.decrease = None
    return case


@family
def noisy_geometric(rng: Rng) -> Case:
    case = modes(rng, 1, uniform(rng, 30, 60), open=LATER)
    return noisy(case, rng, float(case.f[0]) * log_uniform(rng, 1e-8, 1e-4))


@family
def noisy_modes(rng: Rng) -> Case:
    case = modes(rng, 4, uniform(rng, 30, 60), open=LATER)
    return noisy(case, rng, float(case.f[0]) * log_uniform(rng, 1e-9, 1e-5))


@family
def noisy_power(rng: Rng) -> Case:
    case = descent_power(rng, 1.5, 3, open=LATER)
    return noisy(case, rng, float(case.f[0]) * log_uniform(rng, 1e-9, 1e-5))


@family
def float32_geometric(rng: Rng) -> Case:
    case = modes(rng, 2, uniform(rng, 40, 60), open=LATER)
    case.f = (case.f + uniform(rng, 0.1, 3)).astype(np.float32).astype(np.float64)
    return case


@family
def float32_power(rng: Rng) -> Case:
    case = descent_power(rng, 1.5, 3, open=LATER)
    case.f = (case.f + uniform(rng, 0.1, 3)).astype(np.float32).astype(np.float64)
    case.decrease = None
    return case


@family
def float32_declared(rng: Rng) -> Case:
    case = modes(rng, 3, uniform(rng, 40, 60), open=LATER)
    case.f = (case.f + uniform(rng, 0.1, 3)).astype(np.float32).astype(np.float64)
    case.options = {"dtype": np.float32}
    return case


def float32_descent(rng: Rng) -> Case:
    """Least squares by gradient descent, all in float32."""
    f4 = np.float32
    X = rng.standard_normal((120, 4)).astype(f4)
    A = np.c_[X, np.ones(120, f4)]
    y = X @ rng.standard_normal(4).astype(f4) + rng.standard_normal(120).astype(f4) / 2
    w, f, g = np.zeros(5, f4), [], []
    for _ in range(1500):
        r = A @ w - y
        slope = f4(2 / 120) * (A.T @ r)
        f.append(float(np.mean(r * r, dtype=f4)))
        g.append(float(np.linalg.norm(slope)))
        w = w - f4(0.05) * slope
    told = {"A1": "holds", "critical": "holds"}
    return Case(np.array(f), np.array(g), None, told, open=ALL - {"A1", "critical"})


FAMILIES["float32_descent"] = float32_descent


@family
def two_step_alternation(rng: Rng) -> Case:
    """f rises every other sweep and falls over two."""
    ratio, up = uniform(rng, 0.4, 0.9), uniform(rng, 1.02, 1.5)
    k = np.arange(int(2 * 40 / -math.log(ratio)) + 1)
    gap = ratio ** (k // 2) * np.where(k % 2 == 0, 1.0, up * max(ratio, 0.9))
    gap[1::2] = np.maximum(gap[1::2], 1.001 * gap[:-1:2][: gap[1::2].size])
    told = geometric(math.sqrt(ratio))
    return from_gap(gap, np.sqrt(gap), told, accurate=True)


@family
def five_step_alternation(rng: Rng) -> Case:
    """A rise every fifth sweep: A1 holds with j = 5."""
    ratio = uniform(rng, 0.4, 0.8)
    k = np.arange(int(5 * 36 / -math.log(ratio)) // 5 * 5 + 1)
    gap = ratio ** (k // 5) * np.array([1.0, 0.95, 0.93, 0.92, 1.05])[k % 5]
    return from_gap(gap, np.sqrt(gap), geometric(ratio**0.2), accurate=True)


@family
def power_alternation(rng: Rng) -> Case:
    p, K = uniform(rng, 1.5, 3), sweeps(rng, 3000, 6000)
    k = np.arange(K + 1)
    gap = (1 + k / 5.0) ** -p * np.where(k % 2 == 0, 1.0, 1.2)
    told = power(
        p, A1="fails"
    )  # over two sweeps f falls, but in odd to even comparisons too: j = 2
    told["A1"] = "holds"
    return from_gap(gap, gap ** ((p + 1) / (2 * p)), told, accurate=True)


@family
def rises(rng: Rng) -> Case:
    """A random walk about a trend: A1 fails with every j."""
    K = sweeps(rng)
    f = np.cumsum(rng.standard_normal(K + 1)) + 1e3
    told = {"A1": "fails", "KL": "not holds", "rate": "not holds"}
    return Case(f, np.exp(0.3 * rng.standard_normal(K + 1)), None, told, open=ALL - {"A1"})


@family
def rises_half_of_the_time(rng: Rng) -> Case:
    """Falls on the whole, rises too often: correlated, hence no reading noise."""
    K = 1000
    wave = np.zeros(K + 1)
    for i in range(1, K + 1):
        wave[i] = 0.98 * wave[i - 1] + 0.3 * rng.standard_normal()
    f = 50 + 30 * 0.99 ** np.arange(K + 1) + 0.5 * wave
    told = {"A1": "fails", "KL": "not holds", "rate": "not holds"}
    return Case(f, 1 + np.abs(wave), None, told, open=ALL - {"A1"})


@family
def diminishing_steps(rng: Rng) -> Case:
    """Gradient descent with steps 1/k: the decrease beside g² tends to 0."""
    a = uniform(rng, 0.3, 0.8)
    k = np.arange(1, sweeps(rng, 2000, 6000) + 1)
    x = np.concatenate([[1.0], np.cumprod(1 - a / (k + 1))])
    f = 0.5 * x**2
    told = {"A1": "fails", "A2": "fails", "critical": "holds", "theta": 0.5, "kind": "power"}
    # g = x ~ k^{-a}: too slow for the eye
    return from_gap(f, x, told, accurate=True, open=LATER | {"critical"})


@family
def vanishing_ratio(rng: Rng) -> Case:
    """Steps 1/k²-fold shorter: f converges, g does not tend to 0 fast enough: A1 fails."""
    k = np.arange(sweeps(rng, 1000, 4000) + 1.0)
    a = uniform(rng, 1.2, 2.5)
    d = (1 + k[:-1]) ** -(a + 1)
    rest = (k[-1] + 0.5) ** -a / a
    gap = np.append(np.cumsum(d[::-1])[::-1], 0.0) + rest
    g = (1 + k) ** -(a / 4)
    told = {"A1": "fails", "kind": "power", "exponent": a, "theta": 0.25}
    return Case(gap, g, gap, told, d, open=LATER | {"critical"})


@family
def resumed_converged(rng: Rng) -> Case:
    """A converged run that is gone on with: f constant to the last bit, g at rounding."""
    K = int(rng.integers(60, 300))
    f = np.full(K + 1, uniform(rng, 0.5, 20))
    g = 1e-15 * np.exp(0.3 * rng.standard_normal(K + 1))
    return Case(f, g, np.zeros(K + 1), {"critical": "holds"}, open=ALL)


@family
def resumed_late(rng: Rng) -> Case:
    """The last part of a geometric run: all g are small, and still fall."""
    eta, K = uniform(rng, 0.9, 0.97), 500
    gap = 1e-10 * eta ** np.arange(K + 1)
    told = geometric(eta)
    return from_gap(gap, np.sqrt(gap) * uniform(rng, 0.5, 2), told, offset=3.0)


@family
def measured_sometimes(rng: Rng) -> Case:
    case = modes(rng, 3, uniform(rng, 40, 60), offset=1.0)
    case.g = np.where(np.arange(case.g.size) % 3 == 0, case.g, np.nan)
    case.open = frozenset({"rate"})
    return case


@family
def known_limit(rng: Rng) -> Case:
    case = descent_power(rng, 1.4, 4)
    f_star = uniform(rng, -3, 3)
    case.f = case.f + f_star
    case.options = {"f_star": f_star}
    return case


@family
def known_limit_geometric(rng: Rng) -> Case:
    case = modes(rng, 3, uniform(rng, 40, 60), offset=2.0)
    case.options = {"f_star": 2.0}
    return case


@family
def known_lower_bound(rng: Rng) -> Case:
    case = modes(rng, 5, uniform(rng, 40, 60))
    case.decrease = -np.diff(case.f)
    case.options = {"lower_bound": 0.0}
    return case


@family
def tiny_units(rng: Rng) -> Case:
    case = modes(rng, 3, uniform(rng, 40, 60))
    s = log_uniform(rng, 1e-120, 1e-60)
    assert case.gap is not None
    case.f, case.gap, case.g = case.f * s, case.gap * s, case.g * math.sqrt(s)
    return case


@family
def huge_units(rng: Rng) -> Case:
    case = modes(rng, 3, uniform(rng, 40, 60))
    s = log_uniform(rng, 1e60, 1e250)
    assert case.gap is not None
    case.f, case.gap, case.g = case.f * s, case.gap * s, case.g * s
    return case


@family
def too_short(rng: Rng) -> Case:
    case = modes(rng, 2, 30)
    n = int(rng.integers(3, 12))
    assert case.gap is not None
    case.f, case.g, case.gap = case.f[:n], case.g[:n], case.gap[:n]
    case.open = ALL
    return case


@family
def oscillating_distance(rng: Rng) -> Case:
    """g swings about its law with a period of its own."""
    eta, K = uniform(rng, 0.92, 0.97), 700
    gap = eta ** np.arange(K + 1)
    swing = np.exp(0.5 * np.sin(np.arange(K + 1) / uniform(rng, 1, 4)))
    return from_gap(gap, np.sqrt(gap) * swing, geometric(eta), accurate=True)


@family
def overshooting_steps(rng: Rng) -> Case:
    """Gradient descent with steps near 2/L on two modes: x of one alternates its sign."""
    h, step = np.array([1.0, uniform(rng, 0.05, 0.1)]), uniform(rng, 1.5, 1.8)
    eta = max(abs(1 - step * h[0]), abs(1 - step * h[1])) ** 2
    K = int(50 / -math.log(eta))
    f, g, decrease = quadratic(rng, 2, step, h, K)
    return Case(f, g, f, geometric(eta), decrease)


@held_back
def coordinate_descent(rng: Rng) -> Case:
    """Cyclic exact minimisation of a quadratic function: the factor is Gauss and Seidel's."""
    n = int(rng.integers(3, 6))
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    H = (basis * np.geomspace(uniform(rng, 0.05, 0.3), 1, n)) @ basis.T
    M = -np.linalg.solve(np.tril(H), np.triu(H, 1))
    rho = float(np.abs(np.linalg.eigvals(M)).max())
    K = max(60, int(uniform(rng, 40, 60) / (-2 * math.log(rho))))
    x = rng.standard_normal(n)
    f, g, decrease = [], [], []
    for _ in range(K + 1):
        f.append(0.5 * float(x @ H @ x))
        g.append(float(np.linalg.norm(H @ x)))
        following = M @ x
        decrease.append(0.5 * float((x - following) @ H @ (x + following)))
        x = following
    gap = np.array(f)
    return Case(gap, np.array(g), gap, geometric(rho**2), np.array(decrease[:-1]))


@held_back
def wobbling_geometric(rng: Rng) -> Case:
    """Decreases that swing about a geometric law."""
    eta, swing, omega = uniform(rng, 0.9, 0.98), uniform(rng, 0.05, 0.4), uniform(rng, 0.2, 2)
    K = int(uniform(rng, 35, 55) / -math.log(eta))
    k = np.arange(3 * K)
    d = eta**k * (1 + swing * np.sin(omega * k))
    gap = np.cumsum(d[::-1])[::-1]
    g = np.sqrt(gap) * uniform(rng, 0.3, 3)
    return Case(gap[: K + 1], g[: K + 1], gap[: K + 1], geometric(eta), d[:K])


@held_back
def crossover(rng: Rng) -> Case:
    """x⁴/4 + εx²/2: a power law that ends in a geometric one."""
    small, step = log_uniform(rng, 1e-3, 1e-2), uniform(rng, 0.2, 0.6)
    K = int(uniform(rng, 30, 45) / (2 * step * small))
    xs = [1.0]
    for _ in range(K):
        xs.append(xs[-1] - step * (xs[-1] ** 3 + small * xs[-1]))
    x = np.array(xs)
    gap = x**4 / 4 + small * x**2 / 2
    return from_gap(gap, x**3 + small * x, geometric((1 - step * small) ** 2), accurate=True)


@held_back
def exact_line_search(rng: Rng) -> Case:
    """Steepest descent from its worst start: ((κ − 1)/(κ + 1))² a step."""
    kappa = log_uniform(rng, 3, 60)
    h = np.array([1.0, kappa])
    eta = ((kappa - 1) / (kappa + 1)) ** 2
    x, f, g, d = np.array([kappa, 1.0]), [], [], []
    for _ in range(max(60, int(uniform(rng, 40, 60) / -math.log(eta))) + 1):
        slope = h * x
        f.append(0.5 * float(slope @ x))
        g.append(float(np.linalg.norm(slope)))
        t = float(slope @ slope) / float(slope @ (h * slope))
        d.append(t * float(slope @ slope) / 2)
        x = x - t * slope
    gap = np.array(f)
    return Case(gap, np.array(g), gap, geometric(eta), np.array(d[:-1]))


@held_back
def iterative_shrinkage(rng: Rng) -> Case:
    """Proximal gradient steps on a separable lasso: entries reach 0 in finite time."""
    n, lam = int(rng.integers(4, 9)), 0.5
    h, c = np.exp(rng.uniform(math.log(0.05), 0, n)), rng.standard_normal(n) * 2
    c[0] = lam + uniform(rng, 0.5, 2)  # one entry stays
    step = uniform(rng, 0.5, 0.95)
    end = np.sign(c) * np.maximum(np.abs(c) - lam, 0) / h
    eta = (1 - step * float(h[end != 0].min())) ** 2
    K = max(100, int(uniform(rng, 35, 50) / -math.log(eta)))
    x, gap, g = end + rng.standard_normal(n) * 3, [], []

    def above(x: Array) -> float:
        """f(x) − f*, without cancellation: h/2 (x − x*)² + λ|x| − (c − hx*)x, c − hx* in λ∂|x*|."""
        slope = c - h * end
        return float(np.sum(h * (x - end) ** 2 / 2 + np.abs(x) * lam - slope * x))

    for _ in range(K + 1):
        gap.append(above(x))
        smooth = h * x - c
        at_0 = np.maximum(np.abs(smooth) - lam, 0)
        g.append(float(np.linalg.norm(np.where(x != 0, smooth + lam * np.sign(x), at_0))))
        y = x - step * smooth
        x = np.sign(y) * np.maximum(np.abs(y) - step * lam, 0)
    told = geometric(eta)
    return Case(np.array(gap) + 1.0, np.array(g), None, told, open=LATER)


@held_back
def huber_tail(rng: Rng) -> Case:
    """Gradient descent on Huber's function from its linear part."""
    step, x, xs = uniform(rng, 0.02, 0.2), uniform(rng, 3, 20), []
    K = int(x / step + uniform(rng, 35, 50) / (-2 * math.log(1 - step)))
    for _ in range(K + 1):
        xs.append(x)
        x -= step * min(x, 1.0)
    x_k = np.array(xs)
    gap = np.where(x_k > 1, x_k - 0.5, x_k**2 / 2)
    return from_gap(gap, np.minimum(x_k, 1.0), geometric((1 - step) ** 2), accurate=True)


@held_back
def log_cosh(rng: Rng) -> Case:
    step, x, xs = uniform(rng, 0.05, 0.5), uniform(rng, 2, 10), []
    K = int(x / step + uniform(rng, 35, 50) / (-2 * math.log(1 - step)))
    for _ in range(K + 1):
        xs.append(x)
        x -= step * math.tanh(x)
    x_k = np.array(xs)
    gap = np.log1p(2 * np.sinh(x_k / 2) ** 2)
    return from_gap(gap, np.tanh(x_k), geometric((1 - step) ** 2), accurate=True)


@held_back
def two_flatnesses(rng: Rng) -> Case:
    """|x|^q + |y|^r: the flatter one rules the end."""
    K, p = sweeps(rng, 3000, 8000), uniform(rng, 1.5, 2.2)
    f, g = flow(rng, p, K)
    other, slope = flow(rng, p + uniform(rng, 1.5, 4), K, uniform(rng, 0.1, 1))
    return from_gap(f + other, np.hypot(g, slope), power(p), accurate=True)


@held_back
def heavy_tailed_power(rng: Rng) -> Case:
    """Decreases of a power law whose scatter has rare large values."""
    p, shift, K = uniform(rng, 1.5, 3), log_uniform(rng, 1, 30), sweeps(rng, 3000, 8000)
    k = np.arange(20 * K)
    scatter = np.exp(np.clip(0.05 * rng.standard_t(3, k.size), -2, 2))
    d = (1 + k / shift) ** (-p - 1) * scatter
    rest = shift / p * (1 + (k.size - 0.5) / shift) ** -p * float(scatter.mean())
    gap = (np.cumsum(d[::-1])[::-1] + rest)[: K + 1]
    return Case(gap, gap ** ((p + 1) / (2 * p)), gap, power(p), d[:K])


@held_back
def null_sweeps(rng: Rng) -> Case:
    """Every third sweep does nothing: A1 holds with j = 3."""
    ratio = uniform(rng, 0.6, 0.9)
    k = np.arange(int(3 * 40 / (-2 * math.log(ratio))))
    gap = ratio ** (2 * (k // 3) + np.minimum(k % 3, 1))
    return from_gap(gap, np.sqrt(gap), geometric(ratio ** (2 / 3)), accurate=True)


@held_back
def clustered_modes(rng: Rng) -> Case:
    """Many modes, each a little slower than the next."""
    count = int(rng.integers(5, 15))
    h = 0.05 * np.cumprod(np.append(1.0, rng.uniform(1.1, 1.4, count - 1)))
    step = uniform(rng, 0.4, 0.9) / h[-1]
    eta = (1 - step * h[0]) ** 2
    K = int(uniform(rng, 60, 90) / -math.log(eta))
    f, g, decrease = quadratic(rng, count, step, h, K)
    return Case(f + 1.0, g, f, geometric(eta), decrease)


@held_back
def power_iteration(rng: Rng) -> Case:
    """−Rayleigh's quotient under the power method: (λ₂/λ₁)² a step."""
    ratio = uniform(rng, 0.7, 0.97)
    lam = np.append([1.0, ratio], rng.uniform(0, 0.9 * ratio, 4))
    K = max(60, int(uniform(rng, 35, 50) / (-2 * math.log(ratio))))
    x = lam ** np.arange(K + 1)[:, None] * np.exp(rng.uniform(-1, 1, 6))
    x /= np.linalg.norm(x, axis=1)[:, None]
    gap = ((1 - lam) * x**2).sum(axis=1)
    g = 2 * np.linalg.norm((lam - (1 - gap)[:, None]) * x, axis=1)
    decrease = gap[:-1] - gap[1:]
    return Case(gap - 1, g, gap, geometric(ratio**2), decrease)


@held_back
def proximal_power(rng: Rng) -> Case:
    """Proximal steps on |x|^q."""
    p, s = uniform(rng, 1.4, 4), log_uniform(rng, 0.03, 1)
    q = 2 * p / (p - 1)
    x, xs = 1.0, [1.0]
    for _ in range(sweeps(rng, 2000, 6000)):
        y = x
        for _ in range(60):  # Newton's method, from above
            y -= (y + s * q * y ** (q - 1) - x) / (1 + s * q * (q - 1) * y ** (q - 2))
        x = y
        xs.append(x)
    x_k = np.array(xs)
    return from_gap(x_k**q, q * x_k ** (q - 1), power(p), accurate=True)
