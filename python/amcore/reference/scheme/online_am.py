"""Alternating minimisation batch by batch, with a safeguard on the objective of all samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from amcore.errors import NumericalError
from amcore.reference.operator import Array
from amcore.reference.scheme.layered_scheme import Assembly, square
from amcore.report import Report

# Rates of the running means of a Gram matrix and of the squared length of a step; batches over
# which steps grow to their length; batches at the start that all go into the Gram matrices.
GRAM_RATE, LENGTH_RATE, WARM_UP, FIRST = 0.05, 0.02, 20, 10
# The share of its slope that the fall of f along the fall-back direction has to reach (Armijo), and
# how often that step is halved.
ARMIJO, HALVINGS = 0.1, 40
# What the safeguard tries in turn: points on the way to the end of an epoch, then that step.
POINTS = {1.0: "", 0.5: "½ way accepted", 0.25: "¼ way accepted"}
GRADIENT_STEP = "gradient step"

Keys: TypeAlias = npt.NDArray[np.uint64]
Weights: TypeAlias = list[Array]  # [W_i, b_i] of every layer: a row for every output


@dataclass(frozen=True)
class Measures:
    """Of f/(cΣω) at some weights: its terms, and by layers C_i = −∇f, if that was measured."""

    weights: Weights
    loss: float
    ridge: float
    C: tuple[Array, ...] = ()

    @property
    def value(self) -> float:
        """f/(cΣω)."""
        return self.loss + self.ridge

    @property
    def squared_gradient(self) -> float:
        """‖∇f/(cΣω)‖²."""
        return sum(square(C) for C in self.C)


class OnlineAM(Assembly):
    """Alternating minimisation of one batch after the other, each from its forward pass.

    Minimises over W, b the regularised loss of the network itself, ω_j the weights of the samples,

        f = c Σ_j ω_j ℓ(V_N) + Σ λ_i/2 ‖W_i‖²,
        V_i = [V_{i−1} +] σ_i(P_i),   P_i = V_{i−1} W_iᵀ + b_i.

    For the B samples of a batch, from the output down,

        dV_N = ω (prox_{ℓ/ρ}(V_N) − V_N);              ρ = ∞: −ω ∇ℓ(V_N)
        R_i  = dV_i ⊙ σ_i'(P_i);
        dV_i = argmin ½‖R_{i+1} − dV W_{i+1}ᵀ‖² + ε/2 ‖dV‖² [+ ½‖dV_{i+1} − dV‖²],
               ε a multiple of ‖W_{i+1}‖²/d_{i+1};     ε = ∞: R_{i+1} W_{i+1} [+ dV_{i+1}]

    with the terms in brackets where the layer, or the one above, has a skip connection. Then every
    layer makes a part of the regularised least-squares step to R_i, V̄ = [V, 1],

        C_i = R_iᵀ V̄_{i−1}/B − u_i λ_i/(cΣω) [W_i, 0],   D_i = C_i (G_i + Λ_i)^{-1},
        [W_i, b_i] += θ D_i/√v_i,   v_i ≥ q/clip² the running mean of q = ⟨C_i, D_i⟩/d_i.

    G_i is the running mean of V̄_{i−1}ᵀV̄_{i−1}/B; Λ_i is 0 for the bias, else lam times the mean of
    G_i's diagonal; θ = eta s(k) is how far P_i moves, the root mean square of a unit, whatever the
    layer's scale. u_i is the unit of R_i: 1/ρ over the product of the ε above, without those that
    are ∞. Where all are, C_i is −∇f/(cΣω) of the batch.

    B counts the samples of a batch on all processes, which take them from one order of the samples
    of all, and meet once a batch to add their sums. The weights, G and v are the same on all.

    The inputs' Gram matrix is taken about their mean, once, and kept on its largest components E:
    whitened inputs x̃ = T(x − m), T = (e + lam)^{-1/2} Eᵀ, make D_1 = C_1, and W_1 = W̃_1 T.

    Safeguard: an epoch's end X is accepted if f(X_k) − f(X) ≥ c₁ ‖∇f(X)‖², else the first of the
    points ½ and ¼ of the way from X_k to it that is, else X_k + t D, D of all samples, with t
    halved from 1 until f falls by ARMIJO t⟨−∇f, D⟩; where that misses c₁, c₁ is halved. Condition
    A1 holds by construction. ∇f is by the weights of the whitened inputs.

    Source: our own algebra; A1 is from Xu, Bao, Xing (2022).
    """

    def __init__(
        self,
        *,
        sample_weight: Array | None = None,
        batch_size: int,
        gram_every: int,
        safeguard_every: int,
        eta: float,
        lam: float,
        inverse_rho_out: float,
        inverse_epsilon: float,
        inverse_clip: float,
        label_smoothing: float,
        schedule: str,
        average: float,
        safeguard: float,
        **assembly: Any,
    ) -> None:
        super().__init__(**assembly)
        X, Y = self.X, self.Y
        first, *others = arrays = [layer.arrays for layer in self.layers]
        self.components, self.center = first["components"], first["center"]
        self.grams = [layer["G"] for layer in others]
        self.lengths = [layer["v"] for layer in arrays]
        self.samples = round(self._total(len(X)))
        self.first = round(self._before(len(X)))  # of this process, among those of all
        self.batches = -(-self.samples // batch_size)
        self.gram_every, self.safeguard_every = gram_every, safeguard_every
        self.eta, self.lam, self.inverse_clip = eta, lam, inverse_clip
        self.pull = inverse_rho_out, inverse_epsilon
        self.schedule, self.average, self.safeguard = schedule, average, safeguard
        if label_smoothing:
            self.Y = (1 - label_smoothing) * Y + label_smoothing / Y.shape[1]
        omega = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
        weight = self._total(omega.sum())
        self.total = self.loss_weight * weight
        self.omega = (omega / (weight / self.samples)).astype(X.dtype)
        self.inputs = (X - self.center) @ self.components.T
        self.spread = 1 / np.sum(np.square(self.components), axis=1)  # e + lam
        self.ridge = [(layer.regularizer.curvature or 0) / self.total for layer in self.layers]
        self.event = ""  # what the safeguard did in the last epoch
        self.current: Measures | None = None  # after the last epoch
        self.last: Measures | None = None  # after the last safeguarded epoch

    def forward(self) -> None:
        """Project W_1 on the components kept; what the network does to the mean input stays."""
        self._write_weights(self._from_whitened(self._to_whitened(self._weights())))
        self._keep()

    def measure(self) -> Report:
        """Objective and gradient of the current state."""
        start = perf_counter()
        with np.errstate(all="ignore"):
            self.current = self._measures(self._weights(), gradient=True)
        self.event = ""
        seconds = {"update": 0.0, "objective": perf_counter() - start}
        return self._report(None, math.nan, seconds, measured=True)

    def sweep(self, measure: bool) -> Report:
        """One epoch and its safeguard; the gradient where that or `measure` asks for it."""
        begin = perf_counter()
        self._agree_on_numbers()
        with np.errstate(all="ignore"):
            old = self._weights()
            before = self._known(self.current, old)
            memory = [array.copy() for array in (*self.grams, *self.lengths)]
            end, batch_loss = self._epoch(old)
            middle = perf_counter()
            if checked := self._is_checked():
                end, self.current = self._safeguarded(end, before, memory)
                self.last = self.current
            else:
                self.event = ""
                for i, W in enumerate(end):
                    if not np.isfinite(W).all():
                        self._forget(memory)
                        message = "a non-finite value appeared; take a smaller eta or the safeguard"
                        raise NumericalError(message, layer=i + 1, block="W")
                self.current = self._measures(end, gradient=measure)
            self._write_weights(end)
            if checked:
                self._keep()
            self.numbers["epochs"][...] += 1
        seconds = {"update": middle - begin, "objective": perf_counter() - middle}
        return self._report(before, self.total * batch_loss, seconds, measured=measure)

    # An epoch.

    def _epoch(self, weights: Weights) -> tuple[Weights, float]:
        """Return the weights after an update by every batch, and the mean loss of the batches."""
        weights, epoch = self._to_whitened(weights), int(self.numbers["epochs"])
        tail = max(1, round(self.average * self.batches))
        mean = [np.zeros_like(W) for W in weights]
        inverses = [self._inverse(G) for G in self.grams]
        total = 0.0
        for b, (rows, count) in enumerate(self._order(epoch)):
            k = epoch * self.batches + b
            loss, crosses, units, V = self._residuals(weights, rows, *self.pull)
            total += loss / self.samples
            grams = []
            if k < FIRST or k % self.gram_every == 0:
                inputs = [self._bordered(v) for v in V[1:]]
                grams = [v.T @ (self.omega[rows, None] * v) for v in inputs]
            sums = self._total_arrays([*crosses, *grams])
            C = self._right_sides(weights, sums, units, count)
            for i, gram in enumerate(sums[len(C) :]):
                G = self.grams[i]
                G += max(GRAM_RATE, 1 / (k + 1)) * (gram / count - G)
                inverses[i] = self._inverse(G)
            for i, W in enumerate(weights):
                D = C[i] if i == 0 else C[i] @ inverses[i - 1]
                W += self._step(k, i, float(np.vdot(C[i], D)) / len(W)) * D
            if b >= self.batches - tail:
                for average, W in zip(mean, weights, strict=True):
                    average += W / tail
        return self._from_whitened(mean), self._total(total)

    def _residuals(
        self, weights: Weights, rows: Any, inverse_rho: float, inverse_epsilon: float
    ) -> tuple[float, list[Array], list[float], list[Array]]:
        """Σ ω ℓ of some samples; R_iᵀ V̄_{i−1}, u_i and V_{i−1} of every layer."""
        V, P = self._forward(weights, rows)
        y, omega = self.Y[rows], self.omega[rows]
        crosses: list[Array] = [np.empty(0)] * len(weights)
        units = [1.0] * len(weights)
        if inverse_rho == 0:
            unit, dV = 1.0, -omega[:, None] * self.loss.gradient(V[-1], y)
        else:
            prox = self.loss.prox(V[-1], y, inverse_rho)
            unit, dV = inverse_rho, omega[:, None] * (prox - V[-1])
        for i in reversed(range(len(weights))):
            layer, W = self.layers[i], self._without_bias(weights[i])
            R = dV * layer.activation.derivative(P[i])
            crosses[i], units[i] = R.T @ self._bordered(V[i]), unit
            if i > 0:
                dV = R @ W + dV if layer.skip else R @ W
                if inverse_epsilon > 0:
                    eps = square(W) / len(W) / inverse_epsilon or 1.0
                    H = W.T @ W + (eps + layer.skip) * np.eye(W.shape[1], dtype=W.dtype)
                    dV, unit = dV @ _inverse(H), unit / eps
        return self._loss(V[-1], y, omega), crosses, units, V[:-1]

    def _right_sides(
        self, weights: Weights, sums: list[Array], units: list[float], count: int
    ) -> list[Array]:
        """C_i from R_iᵀ V̄_{i−1} and u_i of so many samples."""
        C: list[Array] = [cross / count for cross in sums[: len(weights)]]
        for i, unit in enumerate(units):
            self._without_bias(C[i])[...] -= unit * self._ridge_gradient(weights, i)
        return C

    def _forward(self, weights: Weights, rows: Any) -> tuple[list[Array], list[Array]]:
        """V_0, …, V_N and P_1, …, P_N of some samples, V_0 the whitened inputs."""
        V: list[Array] = [self.inputs[rows]]
        P: list[Array] = []
        for i, (layer, W) in enumerate(zip(self.layers, weights, strict=True)):
            P.append(self._bordered(V[i]) @ W.T)
            value = layer.activation.value(P[i])
            V.append((self.X[rows] if i == 0 else V[i]) + value if layer.skip else value)
        return V, P

    def _loss(self, v: Array, y: Array, omega: Array) -> float:
        """Σ ω ℓ."""
        if (omega == 1).all():
            return self.loss.value(v, y)
        values = (self.loss.value(v[[j]], y[[j]]) for j in range(len(v)))
        return float(sum(w * value for w, value in zip(omega.tolist(), values, strict=True)))

    def _order(self, epoch: int) -> Iterator[tuple[npt.NDArray[np.intp], int]]:
        """Every batch: its rows of this process, and the number of its samples on all.

        The samples of all are taken in an order drawn for the epoch, in equal parts.
        """
        n = self.samples
        order = np.argsort(random_keys(int(self.numbers["shuffle"]), epoch, n), kind="stable")
        for b in range(self.batches):
            rows = order[b * n // self.batches : (b + 1) * n // self.batches] - self.first
            yield rows[(rows >= 0) & (rows < len(self.X))], len(rows)

    def _inverse(self, G: Array) -> Array:
        """(G + Λ)^{-1}; the identity where there is no G yet."""
        if not G.any():
            return np.eye(len(G), dtype=G.dtype)
        matrix = G.astype(np.float64)
        diagonal = np.einsum("ii->i", matrix)[: self._without_bias(G).shape[1]]
        diagonal += self.lam * (diagonal.mean() or 1.0)
        return _inverse(matrix).astype(G.dtype)

    def _step(self, k: int, i: int, q: float) -> float:
        """θ/√v_i for batch k."""
        length = self.lengths[i]
        length += LENGTH_RATE * (q - length)
        v = max(float(length[0]) / (1 - (1 - LENGTH_RATE) ** (k + 1)), q * self.inverse_clip**2)
        s = 1.0
        if self.schedule != "constant":
            u = k / (float(self.numbers["planned"]) * self.batches)
            s = 1 - u if self.schedule == "linear" else (1 + math.cos(math.pi * u)) / 2
        theta = self.eta * s * min(1.0, (k + 1) / WARM_UP)
        return theta / math.sqrt(v) if v > 0 else 0.0

    # The safeguard.

    def _is_checked(self) -> bool:
        """Whether the epoch at work is safeguarded: every so many, and a schedule's last."""
        done, planned = int(self.numbers["epochs"]) + 1, int(self.numbers["planned"])
        return self.safeguard > 0 and (done % self.safeguard_every == 0 or done == planned)

    def _safeguarded(
        self, end: Weights, before: Measures, memory: list[Array]
    ) -> tuple[Weights, Measures]:
        """Return the point that is accepted after an epoch, and f there."""
        if self.layers[0].W_old is None:
            start, last = self._weights(), before
        else:
            start = self._weights("_old")
            last = self._known(self.last, start)
        for share, self.event in POINTS.items():
            point: Weights = [x + share * (y - x) for x, y in zip(start, end, strict=True)]
            now = self._measures(point, gradient=True)
            if last.value - now.value >= self._c1 * now.squared_gradient:
                return point, now
        self._forget(memory)
        self.event = GRADIENT_STEP
        return self._gradient_step(start, last)

    def _forget(self, memory: list[Array]) -> None:
        """G and v as they were before the epoch."""
        for array, kept in zip((*self.grams, *self.lengths), memory, strict=True):
            array[...] = kept

    def _gradient_step(self, start: Weights, last: Measures) -> tuple[Weights, Measures]:
        """Step along D of all samples, as far as Armijo's condition allows; c₁ is halved to fit.

        The start itself, where no step makes f fall by more than rounding.
        """
        C = self._measures(start, gradient=True).C
        inverses = [self._inverse(G) for G in self.grams]
        D = [C[0], *(c @ inverse for c, inverse in zip(C[1:], inverses, strict=True))]
        slope = sum(float(np.vdot(c, d)) for c, d in zip(C, D, strict=True))
        direction = self._from_whitened(D)
        for halvings in range(HALVINGS):
            t = 0.5**halvings
            point = [x + t * d for x, d in zip(start, direction, strict=True)]
            fall = last.value - self._measures(point, gradient=False).value
            if fall > 0 and fall >= ARMIJO * t * slope:
                now = self._measures(point, gradient=True)
                while fall < self._c1 * now.squared_gradient:
                    self.numbers["halvings"][...] += 1
                return point, now
        return start, self._measures(start, gradient=True)

    @property
    def _c1(self) -> float:
        """c₁ for f/(cΣω), halved as often as the state says."""
        return self.safeguard * 0.5 ** int(self.numbers["halvings"])

    # The measures.

    def _measures(self, weights: Weights, gradient: bool) -> Measures:
        whitened, every, n = self._to_whitened(weights), slice(None), self.samples
        ridge = sum(
            lam / 2 * square(self._without_bias(W))
            for lam, W in zip(self.ridge, weights, strict=True)
        )
        if gradient:
            loss, crosses, units, _ = self._residuals(whitened, every, 0.0, 0.0)
            C = self._right_sides(whitened, self._total_arrays(crosses), units, n)
            return Measures(weights, self._total(loss) / n, ridge, tuple(C))
        V, _ = self._forward(whitened, every)
        return Measures(weights, self._total(self._loss(V[-1], self.Y, self.omega)) / n, ridge)

    def _known(self, measures: Measures | None, weights: Weights) -> Measures:
        """Return the measures, if they are of these weights, which others may have changed.

        On any process: what decides how a sweep goes is the same on all.
        """
        known = measures is not None and all(map(np.array_equal, measures.weights, weights))
        if self._greatest(float(not known)):
            return self._measures(weights, gradient=False)
        assert measures is not None
        return measures

    def _agree_on_numbers(self) -> None:
        """Of the numbers of the state, which decide too, all processes take the greatest."""
        for number in self.numbers.values():
            number[...] = self._greatest(float(number))
        if not np.isfinite(list(self.numbers.values())).all():
            message = "a number of the state is not finite"
            raise NumericalError(message, layer=0, block="numbers")

    def _report(
        self, before: Measures | None, batch_loss: float, seconds: dict[str, float], measured: bool
    ) -> Report:
        """Report on `current`, after an epoch from `before` if there was one."""
        now = self.current
        assert now is not None
        monitors = {
            "rejections": float(self.event != ""),
            "interpolations": float(self.event in POINTS.values() and self.event != ""),
            "fallbacks": float(self.event == GRADIENT_STEP),
            "batch_loss": batch_loss,
            "c1": self._c1 / self.total,
        }
        norms = steps = [math.nan] * len(self.layers)
        if measured:
            norms = [self.total * math.sqrt(square(C)) for C in now.C]
        decrease = math.nan
        if before is not None and measured:
            pairs = zip(now.weights, before.weights, strict=True)
            steps = [math.sqrt(square(new - old)) for new, old in pairs]
            decrease = self.total * (before.value - now.value)
        return Report(
            objective=self.total * now.value,
            subgradient_distance=math.hypot(*norms),
            decrease=decrease,
            parts={"loss": self.total * now.loss, "weight_regularizer": self.total * now.ridge},
            distance={f"W{i}": norm for i, norm in enumerate(norms, start=1)},
            step_norm={f"W{i}": norm for i, norm in enumerate(steps, start=1)},
            monitors=monitors,
            seconds=seconds,
            marks=(self.event,) if self.event else (),
        )

    # Weights.

    def _bordered(self, V: Array) -> Array:
        """[V, 1], or V without biases."""
        if self.layers[0].b is None:
            return V
        return np.column_stack([V, np.ones(len(V), V.dtype)])

    def _without_bias(self, W: Array) -> Array:
        return W if self.layers[0].b is None else W[:, :-1]

    def _weights(self, suffix: str = "") -> Weights:
        """Return a copy of the weights in the state."""
        weights = []
        for layer in self.layers:
            W, b = layer.arrays[f"W{suffix}"], layer.arrays.get(f"b{suffix}")
            weights.append(W.copy() if b is None else np.column_stack([W, b]))
        return weights

    def _write_weights(self, weights: Weights, suffix: str = "") -> None:
        for layer, W in zip(self.layers, weights, strict=True):
            layer.arrays[f"W{suffix}"][...] = self._without_bias(W)
            if layer.b is not None:
                layer.arrays[f"b{suffix}"][...] = W[:, -1]

    def _keep(self) -> None:
        """Keep the weights as those of the last safeguarded epoch, where the state has them."""
        if self.layers[0].W_old is not None:
            self._write_weights(self._weights(), "_old")

    def _to_whitened(self, weights: Weights) -> Weights:
        """W̃_1 = W_1 E (e + lam)^{1/2}, b̃_1 = b_1 + W_1 m; a copy of the others."""
        W = self._without_bias(weights[0])
        first = (W @ self.components.T) * self.spread
        if self.layers[0].b is not None:
            first = np.column_stack([first, weights[0][:, -1] + W @ self.center])
        return [first, *(W.copy() for W in weights[1:])]

    def _from_whitened(self, weights: Weights) -> Weights:
        """W_1 = W̃_1 T, b_1 = b̃_1 − W_1 m."""
        W = self._without_bias(weights[0]) @ self.components
        if self.layers[0].b is not None:
            W = np.column_stack([W, weights[0][:, -1] - W @ self.center])
        return [W, *weights[1:]]

    def _ridge_gradient(self, weights: Weights, i: int) -> Array:
        """λ_i W_i/(cΣω), by the weights of the whitened inputs for the first layer."""
        W = self.ridge[i] * self._without_bias(weights[i])
        return W / self.spread if i == 0 else W


def _inverse(matrix: Array) -> Array:
    """Return the inverse; of a matrix that has none NaN, which the safeguard is to see."""
    try:
        inverse: Array = np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return np.full_like(matrix, np.nan)
    return inverse


def random_keys(seed: int, epoch: int, n: int) -> Keys:
    """Return n random numbers of 64 bits: splitmix64 of Steele, Lea, Flood (OOPSLA 2014)."""
    mask, golden = (1 << 64) - 1, 0x9E3779B97F4A7C15
    start = _mix(np.array([(seed * golden + epoch) & mask], np.uint64))
    return _mix(start + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(golden))


def _mix(z: Keys) -> Keys:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
