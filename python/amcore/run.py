"""The outer loop: start, sweeps, measurements, callbacks, stopping."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from amcore import _checks
from amcore._checks import Array
from amcore._interrupt import DeferredInterrupt, StopRequest
from amcore.collective import Collective
from amcore.errors import NumericalError
from amcore.initialization import RULES, Rule
from amcore.network import Weights
from amcore.problem import Problem
from amcore.report import Record
from amcore.schemes import Engine, Scheme
from amcore.solution import Solution, Step
from amcore.state import State
from amcore.trace import RISE, Trace, rises

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
        trace: Any,
        seed: Any,
        callbacks: Sequence[Any],
        measure_every: int,
        num_threads: int | None,
        dtype: Any,
        backend: str,
        comm: Any,
        keep_products: bool,
    ) -> None:
        self.comm, self.collective = comm, Collective(comm)
        with self.collective.joint():
            if not isinstance(problem, Problem):
                raise TypeError(f"problem: expected a Problem, got {_checks.describe(problem)}")
            if not isinstance(scheme, Scheme):
                got = _checks.describe(scheme)
                raise TypeError(f"scheme: expected a scheme such as ThreeSplitBCD(), got {got}")
            regularized = any(r.name != "none" for r in problem.activation_regularizers)
            if regularized and not scheme.regularizes_activations:
                raise ValueError(
                    f"activation_regularizer: {type(scheme).__name__} takes none, "
                    f"got {problem.activation_regularizers}"
                )
            if problem.sample_weight is not None and not scheme.weighs_samples:
                raise ValueError(f"sample_weight: {type(scheme).__name__} takes none, got some")
            scheme.check(problem)
            self.problem, self.scheme = problem, scheme
            self.max_iter = _checks.integer("max_iter", max_iter, 0)
            self.tol = _checks.number("tol", tol, least=0)
            self.measure_every = _checks.integer("measure_every", measure_every, 1)
            self.num_threads = _checks.threads(num_threads) or None
            self.backend = _checks.choice("backend", backend, ("native", "reference"))
            self.callbacks = _callbacks(callbacks)
            if comm is not None and seed is None:
                raise ValueError(
                    "seed: expected one, the same on all processes, got None with comm"
                )
            if comm is None and problem.n_samples == 0:
                raise ValueError(f"X: expected at least one sample, got shape {problem.X.shape}")
            self.keep_products = _checks.flag("keep_products", keep_products)
            self.dtype = problem.dtype if dtype is None else _checks.dtype("dtype", dtype)
            self.X = _checks.cast("X", problem.X, self.dtype)
            self.Y = _checks.cast("Y", problem.Y, self.dtype)
            weight = problem.sample_weight
            self.sample_weight = (
                None if weight is None else _checks.cast("sample_weight", weight, self.dtype)
            )
            self.start, self.continues, self.drawn = self._checked_start(init, seed)
            self.seed = seed

            self.state = State({})
            self.trace = self._checked_trace(trace)
            self.stop_reason = ""
            self.error: BaseException | None = None
            if comm is not None and not self.collective.same(self._digest()):
                raise ValueError(
                    "comm: expected the same arguments on all processes, but for the samples and "
                    "callbacks, got others"
                )

    def steps(self, interrupt: StopRequest | None = None) -> Iterator[Step]:
        """Sweep until something stops the run; a step is yielded after every sweep."""
        try:
            with self._whole():
                engine = self.engine()
                step = self._start(engine)
            first, event = step.sweep, "begin"
            while True:
                self._decide(step, first + self.max_iter, self._notify(event, step), interrupt)
                if self.stop_reason and math.isnan(step.record.subgradient_distance):
                    step = self._measure_last(engine, step.record)
                if self.error is not None:
                    raise self.error
                if event == "step":
                    yield step
                if self.stop_reason:
                    break
                sweep, event = step.sweep + 1, "step"
                measured = sweep % self.measure_every == 0 or sweep == first + self.max_iter
                with self._whole():
                    begin = perf_counter()
                    step = self._append(engine.sweep(measured), sweep, begin, measured=measured)
        except GeneratorExit as error:
            if not self.stop_reason:
                self.stop_reason = "closed"
                self.collective.fail(error)
            raise
        except BaseException as error:
            if error is not self.error:  # from a signal's handler, between two sweeps
                self.fail(error, "interrupted")
            self.collective.fail(error)
            raise
        finally:
            self._end()

    def take(
        self,
        engine: Engine,
        columns: Mapping[str, Array],
        marks: list[tuple[int, str]],
        error: BaseException | None,
    ) -> None:
        """Take over what the core has recorded of the whole run, and why it ended."""
        if columns:
            f, decrease = columns["objective"], columns["decrease"]
            unknown = np.isnan(decrease[1:])
            decrease[1:][unknown] = (f[:-1] - f[1:])[unknown]
            self.trace.set_columns(columns)
            if self.scheme.descends:
                explained = {sweep for sweep, _ in marks}
                rose = np.flatnonzero(rises(f[:-1], f[1:], self.dtype)) + 1
                marks = [*marks, *((k, RISE) for k in rose.tolist() if k not in explained)]
            self.trace.marks = sorted(marks, key=lambda mark: mark[0])
        if error is not None:
            self.fail(error)
        elif self.trace.subgradient_distance[-1] <= self.tol:
            self.stop_reason = "tol"
        else:
            self.stop_reason = "max_iter" if len(self.trace) == self.max_iter else "interrupted"
            if math.isnan(self.trace.subgradient_distance[-1]):
                self._measure_last(engine, self.trace.records[-1])

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

    def fail(self, error: BaseException, stop_reason: str = "failed") -> None:
        """End the run in an error, which gets to carry it."""
        self.stop_reason, self.error = stop_reason, error
        if stop_reason == "failed" and isinstance(error, NumericalError):
            error.sweep = self.trace.objective.size
            error.advise(self.scheme.remedies.get(error.block, ""), self.dtype)
        _carry(error, self.solution())

    def _checked_start(self, init: Any, seed: Any) -> tuple[dict[str, Array], bool, bool]:
        """Return the arrays to start from, whether they are a whole state, and drawn by a rule."""
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
            return dict(init), True, False
        network = self.problem.network
        if isinstance(init, str):
            init = RULES[_checks.choice("init", init, list(RULES))]
        if drawn := isinstance(init, Rule):
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
        arrays = {
            name: _checks.cast(f"init {name}", array, self.dtype) for name, array in names.items()
        }
        return arrays, False, drawn

    def _checked_trace(self, given: Any) -> Trace:
        """Return the trace to go on with, a copy of the one given."""
        is_bound = self.scheme.distance_is_bound(self.problem)
        lower_bound = self.scheme.lower_bound(self.problem)
        if given is None:
            return Trace(
                dtype=self.dtype,
                distance_is_bound=is_bound,
                accurate_decrease=self.scheme.accurate_decrease,
                lower_bound=lower_bound,
            )
        if not isinstance(given, Trace):
            raise TypeError(f"trace: expected a Trace, got {_checks.describe(given)}")
        if not self.continues:
            raise ValueError("trace: expected a State as init, which it goes on from")
        if not given.objective.size:
            raise ValueError("trace: expected that of a run, got an empty one")
        if (given.dtype, given.distance_is_bound) != (self.dtype, is_bound):
            raise ValueError(
                f"trace: expected one in {self.dtype} with distance_is_bound={is_bound}, "
                f"got {given.dtype} and {given.distance_is_bound}"
            )
        trace = copy.deepcopy(given)
        trace.lower_bound = lower_bound  # which older files do not tell
        return trace

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
        weight = self.sample_weight
        n = self.collective.total(self.problem.n_samples if weight is None else weight.sum())
        if n == 0:
            raise ValueError("X: expected at least one sample on some process, got none on all")
        self.scheme.begin(
            self.problem,
            arrays,
            drawn=self.drawn,
            max_iter=self.max_iter,
            seed=self.seed,
            collective=self.collective,
        )
        self.state = State(arrays, self.problem)
        self.state.trace = self.trace
        return self.scheme.engine(
            self.problem,
            self.state,
            X=self.X,
            Y=self.Y,
            loss_weight=1.0 if self.problem.loss_scale == "sum" else 1 / n,
            num_threads=self.num_threads or 0,
            collective=None if self.comm is None else self.collective,
            backend=self.backend,
            keep_products=self.keep_products,
            sample_weight=self.sample_weight,
        )

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Let no signal cut the block in two; an error in it is a failure of the run."""
        with DeferredInterrupt():
            try:
                yield
            except BaseException as error:
                self.fail(error)
                raise

    def _start(self, engine: Engine) -> Step:
        """Measure the start, for the record of sweep 0 or to compare it with the trace given."""
        begin = perf_counter()
        if not self.continues:
            engine.forward()
        report = engine.measure()
        if not self.trace.objective.size:
            return self._append(report, 0, begin, measured=True)
        last = self.trace.records[-1]
        rounding = float(np.finfo(self.dtype).eps) ** 0.5
        if not math.isclose(report.objective, last.objective, rel_tol=rounding):
            raise ValueError(
                f"trace: expected that of init, whose objective is {report.objective!r}, "
                f"got one that ends at {last.objective!r}"
            )
        return self._step(last)

    def _append(self, report: Any, sweep: int, begin: float, *, measured: bool) -> Step:
        time = perf_counter() - begin
        _expect_finite(report, measured)
        f, decrease, marks = report.objective, report.decrease, report.marks
        if sweep > 0:
            before = float(self.trace.objective[-1])
            if math.isnan(decrease):  # not measured
                decrease = before - f
            if self.scheme.descends and not marks and rises(before, f, self.dtype):
                marks = (RISE,)
        record = Record.of(report, sweep=sweep, time=time, decrease=decrease, marks=marks)
        self.trace.append(record)
        return self._step(record)

    def _measure_last(self, engine: Engine, record: Record) -> Step:
        """Measure the distance after a sweep that was not known to be the last one."""
        with self._whole():
            report = engine.measure()
            record = dataclasses.replace(
                record,
                subgradient_distance=report.subgradient_distance,
                distance=report.distance,
            )
            _expect_finite(record, True)
            self.trace.amend(record)
            return self._step(record)

    def _step(self, record: Record) -> Step:
        return Step(
            self.problem,
            self.scheme,
            self.state,
            self.trace,
            self.backend,
            self.num_threads,
            record.sweep,
            record,
        )

    def _notify(self, event: str, step: Step) -> list[str]:
        """Call the callbacks; return the names of those that stop the run.

        An error of one is kept, to be raised when the last sweep is measured.
        """
        stopping = []
        for callback in self.callbacks:
            try:
                if callback.stops(event, step):
                    stopping.append(callback.name)
            except BaseException as error:
                self.fail(error, callback.name)
                break
        return stopping

    def _decide(
        self, step: Step, last: int, stopping: list[str], interrupt: StopRequest | None
    ) -> None:
        """Set the reason to stop, if there is one here or on any other process."""
        if self.error is not None:
            if self.comm is not None:
                raise self.error
        elif step.record.subgradient_distance <= self.tol:
            self.stop_reason = "tol"
        elif stopping:
            self.stop_reason = stopping[0]
        elif interrupt is not None and interrupt.pending:
            self.stop_reason = "interrupted"
        elif step.sweep >= last:
            self.stop_reason = "max_iter"
        if self.collective.total(bool(self.stop_reason)) and not self.stop_reason:
            self.stop_reason = "another process"

    def _end(self) -> None:
        """Call every `end`, whatever the others raise, and then raise the first of their errors."""
        solution, errors = self.solution(), []
        for callback in self.callbacks:
            try:
                callback.end(solution)
            except Exception as error:
                _carry(error, solution)
                errors.append(error)
        if self.error is None and errors:
            raise errors[0]
        for late in errors:
            assert self.error is not None
            self.error.add_note(f"Then the end of a callback raised {late!r}.")

    def _digest(self) -> bytes:
        """Return a digest of what all processes of a run have in common, weights included."""
        problem = self.problem
        common = (
            problem.network,
            problem.loss,
            problem.loss_scale,
            problem.weight_regularizers,
            problem.activation_regularizers,
            problem.sample_weight is None,
            self.scheme,
            self.max_iter,
            self.tol,
            self.measure_every,
            self.backend,
            str(self.dtype),
            self.continues,
            len(self.trace),
        )
        digest = hashlib.blake2b(repr(common).encode(), digest_size=16)
        for name, array in sorted(self.start.items()):
            if name[0] not in "UVL":  # U, V, Λ are those of samples
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.digest()


def _expect_finite(report: Any, measured: bool) -> None:
    """Refuse measurements that have overflowed."""
    if not math.isfinite(report.objective):
        raise NumericalError("the objective is not finite", layer=0, block="objective")
    if measured and not math.isfinite(report.subgradient_distance):
        message = "dist(0, ∂f) is not finite, its square overflows"
        raise NumericalError(message, layer=0, block="distance")


def _carry(error: BaseException, solution: Solution) -> None:
    """Let an error that ends a run hold it, unless it holds one of its own already."""
    if getattr(error, "solution", None) is None:
        with contextlib.suppress(AttributeError):  # a class may forbid it
            error.solution = solution  # type: ignore[attr-defined]
            if not isinstance(error, NumericalError):
                error.add_note("The run up to here is `solution` of this exception.")


@dataclass(frozen=True)
class _Callback:
    """A callback's methods by event, None where it has none."""

    name: str
    methods: dict[str, Any]

    def stops(self, event: str, step: Step) -> bool:
        """Call the method of the event; return whether it asks to stop."""
        method = self.methods[event]
        answer = None if method is None else method(step)
        if not isinstance(answer, bool | np.bool_ | None):
            raise TypeError(
                f"callbacks: expected True, False or None from {self.name}, "
                f"got {_checks.describe(answer)}"
            )
        return bool(answer)

    def end(self, solution: Solution) -> None:
        """Call the method for the end."""
        if self.methods["end"] is not None:
            self.methods["end"](solution)


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
