"""The local certificate: what f is like at the end point of a run, in the pattern it has there.

In the pattern of a run's end, the pieces that the arguments of piecewise linear activations lie on,
f is smooth. Newton's method in the range of ∇²f leads from the end point to the nearest critical
point X* of that smooth function; if f is its own there, as the pattern is the same, X* is one of f.
The smallest nonzero eigenvalue μ of ∇²f(X*) then says what a trace can only show by its trend.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amcore.analysis.verdict import Verdict
from amcore.state import State

if TYPE_CHECKING:
    from amcore.solution import Solution

__all__ = ["LocalCertificate", "SweepRate", "local_certificate", "sweep_rate"]

Array = NDArray[np.float64]

DENSE = 1200  # so many variables have a Hessian that is formed; of more, Krylov spaces of this much
KRYLOV = 300
NEWTON = 50  # steps at most
# What differences of gradients leave of an eigenvalue that is 0, by the largest one.
NOISE = 1e-9
GROWTHS = 12  # directions of the kernel whose growth is measured
ARNOLDI = 150  # dimension of the Krylov space of the sweep


@dataclass(frozen=True)
class LocalCertificate:
    """What the end point of a run says of the limit, where a trace can only show a trend.

    Attributes
    ----------
    verdict : Verdict
        Whether the end point is near enough to a minimiser for the numbers to hold there.
    mu : float or None
        The smallest nonzero eigenvalue of the Hessian at the limit.
    theta, c : float or None
        Exponent and constant of the KL inequality at the limit, ½ and 1/√(2μ) where f is
        Morse–Bott: minimisers nearby form a manifold, of the dimension of the Hessian's kernel.
        With a degenerate direction, along which f grows with power p > 2, θ = 1 − 1/p and there is
        no c.
    eta : float or None
        Factor by which f_k − f* falls per sweep, the square of that of the steps.
    remainder : float or None
        Upper end of f_K − f*: g_K²/(2μ), as for a quadratic function, or what f falls to the limit
        if that is more.
    f_star : float or None
        f at the limit.
    variables, rank, kernel : int or None
        How many variables are free in the pattern, the numerical rank of the Hessian, and the
        dimension of its kernel; None where the Hessian is too large to be formed.
    orders : tuple of float
        For directions of the kernel the power of f's growth along them, infinite where f stays as
        it is: that direction belongs to the set of minimisers.
    rate : SweepRate or None
        Of the sweep itself.
    """

    verdict: Verdict
    mu: float | None = None
    theta: float | None = None
    c: float | None = None
    eta: float | None = None
    remainder: float | None = None
    f_star: float | None = None
    variables: int | None = None
    rank: int | None = None
    kernel: int | None = None
    orders: tuple[float, ...] = ()
    rate: SweepRate | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return asdict(self) | {"orders": list(self.orders)}

    def told(self) -> list[str]:
        """Return the lines of a report."""
        lines = textwrap.wrap(
            f"At the end point {self.verdict.verdict}: {self.verdict.reason}.",
            79,
            subsequent_indent="  ",
        )
        if self.mu is not None:
            kernel = "" if self.kernel is None else f", kernel of dimension {self.kernel}"
            lines.append(f"  ∇²f of {self.variables} variables: μ = {self.mu:.4g}{kernel}")
        if self.theta is not None and self.f_star is not None and self.remainder is not None:
            c = "" if self.c is None else f", c = {self.c:.4g}"
            lines.append(f"  θ = {self.theta:.3g}{c}")
            lines.append(
                f"  f* = {self.f_star:.10g}, at most {self.remainder:.2g} below the last f"
            )
        if self.rate is not None:
            sentence = f"The sweep {self.rate.verdict.verdict}: {self.rate.verdict.reason}"
            if self.rate.tail is not None:
                sentence += f"; of Σ‖ΔX‖ about {self.rate.tail:.2g} is left"
            lines += textwrap.wrap(sentence + ".", 79, subsequent_indent="  ")
        return lines


@dataclass(frozen=True)
class SweepRate:
    """How fast the sweep converges near the end point of a run.

    Attributes
    ----------
    verdict : Verdict
        Whether the number is certain, in one pattern.
    factor : float or None
        Spectral radius of the sweep's map on the steps: ‖ΔX_{k+1}‖/‖ΔX_k‖ tends to it, and
        ‖X_k − X*‖ falls by it.
    length : float or None
        Σ ‖ΔX_k‖ over the run, where all sweeps were measured.
    tail : float or None
        About what is left of that sum: ‖ΔX_K‖ times factor/(1 − factor).
    """

    verdict: Verdict
    factor: float | None = None
    length: float | None = None
    tail: float | None = None


def local_certificate(run: Solution) -> LocalCertificate:
    """Certify the end point of a run of two- or three-splitting with a smooth loss and ridges.

    Parameters
    ----------
    run : Solution
        The run; its state stays as it is.

    Returns
    -------
    LocalCertificate
        Undecided, with the reason, where the end is not near a critical point, or f in its pattern
        is no smooth function.

    References
    ----------
    Feehan (2019) for Morse–Bott functions; Li and Pong (2018) for calculus of the exponent.
    """
    refusal = _refusal(run)
    if refusal:
        rate = sweep_rate(run)
        eta = None if rate.factor is None else rate.factor**2
        return LocalCertificate(Verdict("undecided", refusal), eta=eta, rate=rate)
    model = _Model(run)
    x, g = model.start, model.gradient(model.start)
    length = float(np.linalg.norm(g))
    spectrum = _Spectrum(model, x, g)
    if spectrum.negative:
        reason = "the end is not where f is convex in its pattern"
        return LocalCertificate(
            Verdict("undecided", reason), variables=model.variables, rate=sweep_rate(run)
        )
    for _ in range(NEWTON):
        step, t = spectrum.solve(g), 1.0
        while t > 1e-3 and not model.falls(x, g, step, t):
            t /= 2
        if t <= 1e-3:
            break
        x = x - t * step
        g = model.gradient(x)
        spectrum = _Spectrum(model, x, g)
    numbers: dict[str, Any] = {"variables": model.variables}
    if not np.linalg.norm(g) <= max(1e-6 * length, 1e-12 * model.scale):
        reason = f"the end is not near a critical point, dist(0, ∂f) is {length:.3g}"
        return LocalCertificate(Verdict("undecided", reason), **numbers)
    if not model.same_pattern(x):
        reason = "the critical point of f's pattern at the end lies in another pattern"
        return LocalCertificate(Verdict("undecided", reason), **numbers)
    if spectrum.formed:
        numbers |= {"rank": spectrum.rank, "kernel": model.variables - spectrum.rank}
    if spectrum.negative or spectrum.mu is None:
        reason = f"∇²f has the eigenvalue {spectrum.negative:.3g}: the end is near a saddle"
        return LocalCertificate(Verdict("fails", reason), **numbers)
    rate = sweep_rate(run, model.named(x), spectrum.kernel)
    numbers |= {"rate": rate, "eta": None if rate.factor is None else rate.factor**2}
    mu, moved = spectrum.mu, x - model.start
    fall = model.value(model.start) - model.value(x)
    quadratic = float(moved @ model.product(x, moved)) / 2 if moved.any() else 0.0
    if abs(fall - quadratic) > max(0.2 * fall, 1e-12 * abs(model.value(x))):
        reason = f"f falls by {fall:.3g} to the limit, its quadratic function by {quadratic:.3g}"
        return LocalCertificate(Verdict("undecided", reason), **numbers)
    orders = tuple(_order(model, spectrum, x, v) for v in spectrum.kernel[:GROWTHS])
    numbers |= {
        "mu": mu,
        "remainder": max(length**2 / (2 * mu), fall),
        "f_star": model.value(x),
        "orders": orders,
    }
    degenerate = [p for p in orders if math.isfinite(p)]
    if degenerate:
        p = max(degenerate)
        reason = f"f grows with power {p:.3g} along a direction in which ∇²f vanishes"
        return LocalCertificate(Verdict("undecided", reason), theta=1 - 1 / p, **numbers)
    if not spectrum.formed and not spectrum.converged:
        reason = "the smallest eigenvalue of ∇²f has not converged, it is at most mu"
        return LocalCertificate(Verdict("undecided", reason), **numbers)
    reason = f"at the limit, {np.linalg.norm(moved):.2g} from the end, μ is {mu:.4g}"
    return LocalCertificate(Verdict("holds", reason), theta=0.5, c=1 / math.sqrt(2 * mu), **numbers)


def sweep_rate(
    run: Solution, at: Mapping[str, Array] | None = None, kernel: Sequence[Array] = ()
) -> SweepRate:
    """Measure the spectral radius of a run's sweep, X ↦ S(X), on its steps.

    The derivative of S takes a step to the next one. Its products are differences of sweeps; its
    largest eigenvalue is that of its projection on the Krylov space of a step, which leaves out
    the eigenvalue 1 of moves from one minimiser to another.

    Parameters
    ----------
    run : Solution
        The run; its state stays as it is.
    at : mapping of str to ndarray, optional
        The point by names, such as the limit; by default the end of the run.
    kernel : sequence of ndarray
        Directions in which the sweep moves nothing, orthonormal vectors of the free variables.

    Returns
    -------
    SweepRate

    References
    ----------
    Arnoldi (1951).
    """
    steps = run.trace.step_length
    length = float(np.sum(steps)) if np.isfinite(steps).all() else None
    if run.scheme.numbers:
        reason = f"a sweep of {type(run.scheme).__name__} is not the one before: it extrapolates"
        return SweepRate(Verdict("undecided", reason), length=length)
    sweep = _Sweep(run, run.state if at is None else at)
    rng = np.random.default_rng(0)
    K = np.array(kernel) if len(kernel) else np.zeros((0, sweep.start.size))
    step = sweep.step(rng.standard_normal(sweep.start.size))
    step = step - K.T @ (K @ step)
    basis, H = [step / np.linalg.norm(step)], np.zeros((ARNOLDI + 1, ARNOLDI))
    factor, error = math.nan, math.inf
    for m in range(min(ARNOLDI, sweep.start.size)):
        w = sweep.product(basis[-1])
        w = w - K.T @ (K @ w)
        Q = np.array(basis)
        for _ in range(2):
            inner = Q @ w
            H[: m + 1, m] += inner
            w = w - Q.T @ inner
        H[m + 1, m] = np.linalg.norm(w)
        basis.append(w / max(H[m + 1, m], 1e-300))
        if (m + 1) % 5:
            continue
        values, vectors = np.linalg.eig(H[: m + 1, : m + 1])
        top = int(np.argmax(np.abs(values)))
        factor = float(np.abs(values[top]))
        error = float(H[m + 1, m] * np.abs(vectors[m, top]))
        if factor < 1 and error <= 1e-3 * (1 - factor):
            break
    if sweep.changes:
        reason = "the pattern changes near the end"
        return SweepRate(Verdict("undecided", reason), None, length, None)
    if not (factor < 1 and error <= 1e-3 * (1 - factor)):
        reason = f"the factor of the steps, {factor:.6g} to {error:.1g}, is not certain"
        return SweepRate(Verdict("undecided", reason), None, length, None)
    tail = float(steps[-1]) * factor / (1 - factor) if steps.size else None
    tail = tail if tail is not None and math.isfinite(tail) else None
    reason = f"a step is {factor:.6g} times the one before"
    return SweepRate(Verdict("holds", reason), factor, length, tail)


class _Variables:
    """The entries of a point that are free, as one vector: what of U is at a kink stays there."""

    def __init__(self, point: Mapping[str, Array], activations: Sequence[Any]) -> None:
        self.point = {name: np.array(x, dtype=np.float64) for name, x in point.items()}
        self._free = {name: np.ones(x.shape, bool) for name, x in self.point.items()}
        for i, sigma in enumerate(activations, start=1):
            if sigma.reference.kinks and f"U{i}" in self.point:
                self._free[f"U{i}"] = ~np.isin(self.point[f"U{i}"], sigma.reference.kinks)

    def vector(self, arrays: Mapping[str, Array]) -> Array:
        """Return the free entries of arrays like those of the point."""
        return np.concatenate([arrays[name][free] for name, free in self._free.items()])

    def named(self, x: Array) -> dict[str, Array]:
        """Return the point with other free entries, by name."""
        at, first = {}, 0
        for name, free in self._free.items():
            count = int(np.count_nonzero(free))
            at[name] = self.point[name].copy()
            at[name][free] = x[first : first + count]
            first += count
        return at


class _Sweep:
    """A scheme's sweep as a map of vectors, near a point."""

    def __init__(self, run: Solution, at: Mapping[str, Array]) -> None:
        problem = run.problem
        self.variables = _Variables(at, problem.network.activations)
        point = self.variables.point
        self.state = State({name: x.copy() for name, x in point.items()}, problem)
        self.engine = run.scheme.engine(
            problem,
            self.state,
            X=problem.X.astype(np.float64),
            Y=problem.Y.astype(np.float64),
            loss_weight=1.0 if problem.loss_scale == "sum" else 1 / problem.n_samples,
            num_threads=run.num_threads or 0,
            collective=None,
            backend=run.backend,
        )
        self.start = self.variables.vector(point)
        self.h = 1e-5 * (1 + float(np.linalg.norm(self.start)))
        self.changes = 0.0  # of the pattern, by more than the sweep's own

    def __call__(self, x: Array) -> Array:
        """S(x)."""
        for name, array in self.variables.named(x).items():
            self.state[name][...] = array
        report = self.engine.sweep(False)
        self.changes += dict(report.monitors).get("pattern_changes", 0.0)
        return self.variables.vector(self.state)

    def step(self, v: Array) -> Array:
        """S'(X)w − w for some w near v: the step of a sweep, after another, from a point nearby."""
        x = self.start + self.h / float(np.linalg.norm(v)) * v
        moved = self(x)
        return (self(moved) - moved) - (self(self(self.start)) - self(self.start))

    def product(self, v: Array) -> Array:
        """S'(X)v for a unit vector v."""
        difference: Array = self(self.start + self.h * v) - self(self.start - self.h * v)
        return difference / (2 * self.h)


def _refusal(run: Solution) -> str | None:
    """Why f is no smooth function in the pattern of the end, None if it is one."""
    problem = run.problem
    if run.scheme.stem not in _GRADIENTS:
        return f"{type(run.scheme).__name__} has constraints or multipliers"
    if "smooth" not in problem.loss.traits:
        return f"the loss {problem.loss} has kinks"
    for regularizer in (*problem.weight_regularizers, *problem.activation_regularizers):
        if regularizer.curvature is None:
            return f"the regulariser {regularizer} has kinks"
    return None


class _Model:
    """f in the pattern of the end of a run, on the vector of the variables that are free in it."""

    def __init__(self, run: Solution) -> None:
        self.problem, self.scheme = run.problem, run.scheme
        self.X = run.problem.X.astype(np.float64)
        self.Y = run.problem.Y.astype(np.float64)
        self.c = 1.0 if run.problem.loss_scale == "sum" else 1 / len(self.X)
        self.depth = run.problem.network.depth
        self.reference = [sigma.reference for sigma in run.problem.network.activations]
        self._entries = _Variables(run.state, run.problem.network.activations)
        self.named = self._entries.named
        self.arguments = self._arguments(self._entries.point)
        self.start = self._entries.vector(self._entries.point)
        self.variables = self.start.size
        self.scale = 1 + float(np.linalg.norm(self.start))

    def _arguments(self, at: dict[str, Array]) -> list[Array]:
        """Return what the activations are taken of."""
        if "U1" in at:
            return [at[f"U{i}"] for i in range(1, self.depth + 1)]
        return [_linear(at, i, self.below(at, i)) for i in range(1, self.depth + 1)]

    def below(self, at: dict[str, Array], i: int) -> Array:
        """V_{i−1}."""
        return self.X if i == 1 else at[f"V{i - 1}"]

    def sigma(self, i: int, u: Array) -> tuple[Array, Array]:
        """σ_i and its derivative; of a piecewise linear one the piece that u is on at the end."""
        sigma, end = self.reference[i - 1], self.arguments[i - 1]
        if not sigma.kinks:
            return np.asarray(sigma.value(u), float), np.asarray(sigma.derivative(u), float)
        slope = np.asarray(sigma.derivative(end, "right"), float)
        return np.asarray(sigma.value(end) + slope * (u - end), float), slope

    def same_pattern(self, x: Array) -> bool:
        """Whether all arguments of activations lie on the pieces that they lie on at the end."""
        pairs = zip(self.reference, self.arguments, self._arguments(self.named(x)), strict=True)
        return all(
            not sigma.kinks or bool((sigma.piece(end) == sigma.piece(now)).all())
            for sigma, end, now in pairs
        )

    def value(self, x: Array) -> float:
        """Return f."""
        return self._both(x)[0]

    def gradient(self, x: Array) -> Array:
        """∇f on the free variables."""
        return self._entries.vector(self._both(x)[1])

    def falls(self, x: Array, g: Array, step: Array, t: float) -> bool:
        """Whether f falls along Newton's step as it should; ‖∇f‖, where f's fall is rounding."""
        f, following = self.value(x), x - t * step
        slope = float(g @ step)
        if slope > 1e-10 * abs(f):
            return f - self.value(following) > 0.1 * t * slope
        return bool(np.linalg.norm(self.gradient(following)) < (1 - t / 2) * np.linalg.norm(g))

    def product(self, x: Array, v: Array) -> Array:
        """∇²f(x) v by differences of fourth order."""
        size = float(np.linalg.norm(v))
        h = 1e-3 * self.scale / math.sqrt(self.variables) / size
        near, far = (
            self.gradient(x + k * h * v) - self.gradient(x - k * h * v) for k in (1.0, 2.0)
        )
        product: Array = (8 * near - far) / (12 * h)
        return product

    def _both(self, x: Array) -> tuple[float, dict[str, Array]]:
        at, problem = self.named(x), self.problem
        gradient = {name: np.zeros_like(array) for name, array in at.items()}
        f = _GRADIENTS[self.scheme.stem](self, at, gradient)
        output = at[f"V{self.depth}"]
        f += self.c * problem.loss.reference.value(output, self.Y)
        gradient[f"V{self.depth}"] += self.c * problem.loss.reference.gradient(output, self.Y)
        for stem, terms in (
            ("W", problem.weight_regularizers),
            ("V", problem.activation_regularizers),
        ):
            for i, term in enumerate(terms, start=1):
                lam, array = term.curvature or 0.0, at[f"{stem}{i}"]
                f += lam / 2 * float(np.sum(array**2))
                gradient[f"{stem}{i}"] += lam * array
        return f, gradient


def _linear(at: dict[str, Array], i: int, V: Array) -> Array:
    """V_{i−1} W_iᵀ + b_i."""
    product: Array = V @ at[f"W{i}"].T
    return product + at[f"b{i}"] if f"b{i}" in at else product


def _through(
    model: _Model, at: dict[str, Array], gradient: dict[str, Array], i: int, force: Array
) -> None:
    """Add the gradients of what has the gradient `force` by V_{i−1} W_iᵀ + b_i."""
    V = model.below(at, i)
    gradient[f"W{i}"] += force.T @ V
    if f"b{i}" in at:
        gradient[f"b{i}"] += force.sum(axis=0)
    if i > 1:
        gradient[f"V{i - 1}"] += force @ at[f"W{i}"]


def _of_two_split(model: _Model, at: dict[str, Array], gradient: dict[str, Array]) -> float:
    """Σ γ_i/2 ‖V_i − σ_i(V_{i−1} W_iᵀ + b_i)‖²."""
    f = 0.0
    gammas = np.broadcast_to(model.scheme.gamma, model.depth)  # type: ignore[attr-defined]
    for i, gamma in enumerate(gammas.tolist(), start=1):
        value, slope = model.sigma(i, _linear(at, i, model.below(at, i)))
        pull = gamma * (at[f"V{i}"] - value)
        f += float(np.sum(pull**2)) / (2 * gamma)
        gradient[f"V{i}"] += pull
        _through(model, at, gradient, i, -pull * slope)
    return f


def _of_three_split(model: _Model, at: dict[str, Array], gradient: dict[str, Array]) -> float:
    """Σ γ_i/2 ‖V_i − [V_{i−1}] − σ_i(U_i)‖² + Σ ρ_i/2 ‖U_i − V_{i−1} W_iᵀ − b_i‖²."""
    f, network, scheme = 0.0, model.problem.network, model.scheme
    gammas, rhos = scheme._couplings(network)  # type: ignore[attr-defined]
    for i, (gamma, rho) in enumerate(zip(gammas, rhos, strict=True), start=1):
        value, slope = model.sigma(i, at[f"U{i}"])
        below = model.below(at, i)
        pull = gamma * (at[f"V{i}"] - value - (below if network.skip[i - 1] else 0))
        force = rho * (at[f"U{i}"] - _linear(at, i, below))
        f += float(np.sum(pull**2)) / (2 * gamma) + float(np.sum(force**2)) / (2 * rho)
        gradient[f"V{i}"] += pull
        gradient[f"U{i}"] += force - pull * slope
        _through(model, at, gradient, i, -force)
        if network.skip[i - 1] and i > 1:
            gradient[f"V{i - 1}"] -= pull
    return f


_GRADIENTS: dict[str, Callable[[_Model, dict[str, Array], dict[str, Array]], float]] = {
    "two_split_bcd": _of_two_split,
    "three_split_bcd": _of_three_split,
}


class _Spectrum:
    """Eigenvalues of ∇²f, all of them or those that the Krylov space of the gradient shows."""

    def __init__(self, model: _Model, x: Array, g: Array) -> None:
        n = model.variables
        self.formed = n <= DENSE
        if self.formed:
            H = np.array([model.product(x, e) for e in np.eye(n)])
            values, vectors = np.linalg.eigh((H + H.T) / 2)
            residuals = np.zeros(n)
        else:
            values, vectors, residuals = lanczos(lambda v: model.product(x, v), g, KRYLOV)
        most = float(np.abs(values).max())
        zero = np.abs(values) <= NOISE * most
        self.rank = int(np.count_nonzero(~zero))
        self.negative = float(values.min()) if (values < -NOISE * most).any() else 0.0
        positive = np.flatnonzero(values > NOISE * most)
        self.mu = float(values[positive[0]]) if positive.size else None
        self.converged = bool(positive.size and residuals[positive[0]] <= 0.01 * (self.mu or 0))
        self.kernel = list(vectors[:, zero].T) if self.formed else []
        self._values, self._vectors = values[~zero], vectors[:, ~zero]

    def solve(self, g: Array) -> Array:
        """Return |∇²f|⁺ g, which leads down where ∇²f is indefinite."""
        step: Array = self._vectors @ ((self._vectors.T @ g) / np.abs(self._values))
        return step


def lanczos(
    product: Callable[[Array], Array], start: Array, steps: int
) -> tuple[Array, Array, Array]:
    """Ritz values of a symmetric matrix in a Krylov space, in ascending order.

    Parameters
    ----------
    product : callable
        v ↦ H v.
    start : ndarray
        The first vector, not 0.
    steps : int
        Dimension of the space, at most.

    Returns
    -------
    values : ndarray
    vectors : ndarray
        By columns.
    residuals : ndarray
        ‖H v − λ v‖: an eigenvalue is that near.

    References
    ----------
    Lanczos (1950), every vector orthogonalised twice against all before.
    """
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        w = product(basis[-1])
        diagonal.append(float(w @ basis[-1]))
        Q = np.array(basis)
        for _ in range(2):
            w = w - Q.T @ (Q @ w)
        norm = float(np.linalg.norm(w))
        beside.append(norm)
        if len(basis) >= min(steps, start.size) or norm <= NOISE * max(map(abs, diagonal)):
            break
        basis.append(w / norm)
    T = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
    values, vectors = np.linalg.eigh(T)
    return values, Q.T @ vectors, np.abs(beside[-1] * vectors[-1])


def _order(model: _Model, spectrum: _Spectrum, x: Array, v: Array) -> float:
    """Power p of min f(x + t v + w) − f(x) ~ tᵖ over w in the range of ∇²f; infinite if it is 0."""
    base = model.value(x)
    rounding = 1e3 * float(np.finfo(np.float64).eps) * max(1e-6, abs(base))
    growths: list[tuple[float, float]] = []
    for t in np.geomspace(0.3, 0.03, 6) * model.scale / math.sqrt(model.variables):
        y = x + t * v
        for _ in range(10):
            step = spectrum.solve(model.gradient(y))
            if not 1e-10 * model.scale < np.linalg.norm(step) < model.scale:
                break
            y = y - step
        growth = model.value(y) - base
        if np.linalg.norm(step) <= 1e-10 * model.scale and growth > rounding:
            growths.append((math.log(t), math.log(growth)))
    if len(growths) < 4:
        return math.inf
    logs, growth_logs = np.array(growths).T
    return float(np.polyfit(logs, growth_logs, 1)[0])
