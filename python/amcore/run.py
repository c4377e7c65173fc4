"""The outer loop: start, sweeps, measurements, callbacks, stopping."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from amcore import _checks
from amcore._checks import Array
from amcore._interrupt import DeferredInterrupt
from amcore.errors import NumericalError
from amcore.initialization import RULES, Rule
from amcore.network import Weights
from amcore.problem import Problem
from amcore.report import Record, Report
from amcore.schemes import Engine, Scheme
from amcore.solution import Solution, Step
from amcore.state import State
from amcore.trace import Trace

__all__ = ["Run"]


class Run:
    """Checked arguments and the loop over sweeps."""

    def __init__(
        self,
        problem: Problem,
        scheme: Scheme,
        *,
        max_iter: int,
        tol: float,
        init: Any,
        seed: Any,
        callbacks: Sequence[Any],
        measure_every: int,
        num_threads: int | None,
        dtype: Any,
        backend: str,
        comm: Any,
        keep_products: bool,
    ) -> None:
        if not isinstance(problem, Problem):
            raise TypeError(f"problem: expected a Problem, got {_checks.describe(problem)}")
        if not isinstance(scheme, Scheme):
            raise TypeError(
                f"scheme: expected a scheme such as ThreeSplitBCD(), got {_checks.describe(scheme)}"
            )
        regularized = any(r.name != "none" for r in problem.activation_regularizers)
        if regularized and not scheme.regularizes_activations:
            raise ValueError(
                f"activation_regularizer: {type(scheme).__name__} takes none, "
                f"got {problem.activation_regularizers}"
            )
        scheme.check(problem)
        self.problem, self.scheme = problem, scheme
        self.max_iter = _checks.integer("max_iter", max_iter, 0)
        self.tol = _checks.number("tol", tol, least=0)
        self.measure_every = _checks.integer("measure_every", measure_every, 1)
        self.num_threads = _checks.threads(num_threads) or None
        self.backend = _checks.choice("backend", backend, ("native", "reference"))
        self.callbacks = _callbacks(callbacks)
        if comm is not None and not callable(getattr(comm, "Allreduce", None)):
            raise TypeError(
                f"comm: expected a communicator with Allreduce, got {_checks.describe(comm)}"
            )
        if comm is not None and seed is None:
            raise ValueError("seed: expected one, the same on all processes, got None with comm")
        if comm is not None and not scheme.distributed:
            raise ValueError(f"comm: {type(scheme).__name__} runs in one process only")
        self.comm = comm
        self.keep_products = _checks.flag("keep_products", keep_products)
        self.dtype = problem.dtype if dtype is None else _checks.dtype("dtype", dtype)
        self.X = _checks.cast("X", problem.X, self.dtype)
        self.Y = _checks.cast("Y", problem.Y, self.dtype)
        self.start, self.continues = self._checked_start(init, seed)

        self.state = State({})
        self.trace = Trace(dtype=self.dtype, distance_is_bound=scheme.distance_is_bound(problem))
        self.stop_reason = ""
        self.error: NumericalError | None = None

    def steps(self, interrupt: DeferredInterrupt | None = None) -> Iterator[Step]:
        """Sweep until something stops the run; a step is yielded after every sweep."""
        try:
            engine = self.engine()
            with DeferredInterrupt():
                begin = perf_counter()
                if not self.continues:
                    engine.forward()
                step = self._append(engine.measure(), 0, begin, measured=True)
            self._notify("begin", step)
            self._decide(step, [], interrupt)
            while not self.stop_reason:
                sweep = step.sweep + 1
                measure = sweep % self.measure_every == 0 or sweep == self.max_iter
                with DeferredInterrupt():
                    begin = perf_counter()
                    step = self._append(engine.sweep(measure), sweep, begin, measured=measure)
                self._decide(step, self._notify("step", step), interrupt)
                yield step
        except NumericalError as error:
            self.fail(error)
            raise
        finally:
            self.stop_reason = self.stop_reason or "closed"
            self._notify("end", self.solution())

    def solution(self) -> Solution:
        """Return the run so far."""
        return Solution(
            self.problem,
            self.scheme,
            self.state,
            self.trace,
            self.backend,
            self.num_threads,
            self.stop_reason,
            self.error,
        )

    def fail(self, error: NumericalError) -> None:
        """End the run in an error, which gets to know where."""
        self.stop_reason, self.error = "failed", error
        error.sweep = self.trace.objective.size
        error.solution = self.solution()

    def _checked_start(self, init: Any, seed: Any) -> tuple[dict[str, Array], bool]:
        """Return the arrays to start from, and whether they are a whole state."""
        shapes = self.scheme.variables(self.problem)
        if isinstance(init, State):
            if set(init) != set(shapes):
                raise ValueError(
                    f"init: expected a state with {', '.join(shapes)}, got {', '.join(init)}"
                )
            for name, expected in shapes.items():
                array = _checks.array(f"init {name}", init[name])
                _checks.shape(f"init {name}", array, expected)
                dtype = self._dtype_of(name)
                if array.dtype != dtype:
                    raise TypeError(f"init {name}: expected dtype {dtype}, got {array.dtype}")
                _checks.finite(f"init {name}", array)
            self._check_feasible(init.weights)
            for i, regularizer in enumerate(self.problem.activation_regularizers, start=1):
                if f"V{i}" in init and not math.isfinite(regularizer.value(init[f"V{i}"])):
                    raise ValueError(f"init V{i}: expected values in the set of {regularizer}")
            return dict(init), True
        network = self.problem.network
        if isinstance(init, str):
            init = RULES[_checks.choice("init", init, list(RULES))]
        if isinstance(init, Rule):
            regularizers = self.problem.weight_regularizers
            weights = [  # into the set of a regulariser that is infinite outside it
                (W if math.isfinite(r.value(W)) else r.prox(W, 1.0), b)
                for (W, b), r in zip(
                    init.weights(network, seed, self.dtype), regularizers, strict=True
                )
            ]
        elif isinstance(init, list | tuple):
            weights = network.check_weights(init, "init")
            self._check_feasible(weights)
        else:
            raise TypeError(
                "init: expected a rule or its name, weights [(W, b), …] or a State, "
                f"got {_checks.describe(init)}"
            )
        names = {f"W{i}": W for i, (W, _) in enumerate(weights, start=1)}
        names |= {f"b{i}": b for i, (_, b) in enumerate(weights, start=1) if b is not None}
        return {
            name: _checks.cast(f"init {name}", array, self.dtype) for name, array in names.items()
        }, False

    def _check_feasible(self, weights: Weights) -> None:
        """Refuse weights at which the objective is infinite."""
        for i, (W, _) in enumerate(weights):
            regularizer = self.problem.weight_regularizers[i]
            if not math.isfinite(regularizer.value(W)):
                raise ValueError(f"init W{i + 1}: expected weights in the set of {regularizer}")

    def _dtype_of(self, name: str) -> np.dtype[Any]:
        """Return the dtype of an array of the state."""
        return np.dtype(np.float64) if name in self.scheme.numbers else self.dtype

    def engine(self) -> Engine:
        """Allocate the state and build the engine on it."""
        shapes = self.scheme.variables(self.problem)
        arrays = {name: np.zeros(shape, self._dtype_of(name)) for name, shape in shapes.items()}
        for name, values in self.start.items():
            arrays[name][...] = values
        self.start = {}
        self.state = State(arrays, self.problem)
        n = float(self._sum(self.problem.n_samples))
        return self.scheme.engine(
            self.problem,
            self.state,
            X=self.X,
            Y=self.Y,
            loss_weight=1.0 if self.problem.loss_scale == "sum" else 1 / n,
            num_threads=self.num_threads or 0,
            reducer=None if self.comm is None else self._add,
            backend=self.backend,
            keep_products=self.keep_products,
        )

    def _append(self, report: Report, sweep: int, begin: float, *, measured: bool) -> Step:
        record = Record.of(report, sweep=sweep, time=perf_counter() - begin)
        if sweep > 0 and math.isnan(record.decrease):  # not measured
            decrease = float(self.trace.objective[-1]) - record.objective
            record = dataclasses.replace(record, decrease=decrease)
        if not math.isfinite(record.objective):
            raise NumericalError("the objective is not finite", layer=0, block="objective")
        if measured and not math.isfinite(record.subgradient_distance):
            message = "dist(0, ∂f) is not finite, its square overflows"
            raise NumericalError(message, layer=0, block="distance")
        self.trace.append(record)
        return Step(
            self.problem,
            self.scheme,
            self.state,
            self.trace,
            self.backend,
            self.num_threads,
            sweep,
            record,
        )

    def _notify(self, event: str, argument: Step | Solution) -> list[str]:
        """Call the callbacks; return the names of those that ask to stop."""
        return [
            callback.name
            for callback in self.callbacks
            if callback.methods[event] is not None and callback.methods[event](argument) is True
        ]

    def _decide(self, step: Step, stopping: list[str], interrupt: DeferredInterrupt | None) -> None:
        """Set the reason to stop, if there is one here or on any other process."""
        if step.record.subgradient_distance <= self.tol:
            self.stop_reason = "tol"
        elif stopping:
            self.stop_reason = stopping[0]
        elif interrupt is not None and interrupt.pending:
            self.stop_reason = "interrupted"
        elif step.sweep >= self.max_iter:
            self.stop_reason = "max_iter"
        if self._sum(bool(self.stop_reason)) and not self.stop_reason:
            self.stop_reason = "another process"

    def _add(self, array: Array) -> None:
        """Add an array over all processes, in place."""
        total = np.empty_like(array)
        self.comm.Allreduce(array, total)
        array[...] = total

    def _sum(self, number: float) -> float:
        if self.comm is None:
            return number
        array = np.array([number], np.float64)
        self._add(array)
        return float(array[0])


@dataclass(frozen=True)
class _Callback:
    """A callback's methods by event, None where it has none."""

    name: str
    methods: dict[str, Any]


def _callbacks(given: Any) -> list[_Callback]:
    checked = []
    for i, callback in enumerate(_checks.sequence("callbacks", given, "a list of callbacks")):
        if isinstance(callback, type):
            name = callback.__name__
            raise TypeError(f"callbacks[{i}]: {name} is a class; make an instance of it, {name}(…)")
        methods = {event: getattr(callback, event, None) for event in ("begin", "step", "end")}
        if not any(callable(method) for method in methods.values()):
            if not callable(callback):
                raise TypeError(
                    f"callbacks[{i}]: expected a callable or an object with begin, step or end, "
                    f"got {_checks.describe(callback)}"
                )
            methods["step"] = callback
        name = getattr(callback, "__name__", type(callback).__name__)
        checked.append(_Callback(name, methods))
    return checked
