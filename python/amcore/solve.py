"""The outer loop: start, sweeps, measurements, callbacks, stopping."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from types import FrameType, TracebackType
from typing import Any

import numpy as np

from amcore import _checks
from amcore._checks import Array
from amcore.callbacks import ProgressTable
from amcore.errors import NumericalError
from amcore.initialization import RULES, Rule
from amcore.network import Weights
from amcore.problem import Problem
from amcore.schemes import Engine, Report, Scheme
from amcore.state import State
from amcore.trace import Record, Trace

__all__ = ["Solution", "Step", "iterate", "solve"]


@dataclass(frozen=True, repr=False, eq=False)
class _Fit:
    """What a run has reached: its state, as a predictor, and its trace."""

    problem: Problem
    scheme: Scheme
    state: State
    trace: Trace
    backend: str
    num_threads: int | None

    @property
    def weights(self) -> Weights:
        """The weights ``[(W_1, b_1), …]``; b_i is None without bias."""
        return self.state.weights

    def forward(self, X: Any) -> Array:
        """Compute the outputs of the network for inputs X.

        Parameters
        ----------
        X : array_like
            Shape (n_samples, d_0).

        Returns
        -------
        ndarray
            Shape (n_samples, d_N), in the dtype of the weights.

        Raises
        ------
        TypeError, ValueError
            If X is no such array.
        """
        network = self.problem.network
        return network.forward(X, self.weights, num_threads=self.num_threads, backend=self.backend)

    def predict(self, X: Any) -> Array:
        """Class labels (n_samples,) if the problem was given labels, outputs otherwise.

        Parameters and errors as for `forward`.
        """
        outputs = self.forward(X)
        return outputs if self.problem.classes is None else self.problem.decode(outputs)

    def score(self, X: Any, y: Any) -> float:
        """Share of right labels if the problem was given labels, else R² over all outputs.

        Parameters
        ----------
        X : array_like
            Shape (n_samples, d_0).
        y : array_like
            Labels (n_samples,), or targets (n_samples, d_N).

        Returns
        -------
        float
            R² is 1 − ‖y − forward(X)‖²/‖y − mean y‖², means by output.

        Raises
        ------
        TypeError, ValueError
            If X or y has the wrong shape.
        """
        predicted = self.predict(X)
        truth = _checks.raw("y", y)
        if truth.ndim == 1 and predicted.ndim == 2:
            truth = truth[:, None]
        _checks.shape("y", truth, predicted.shape, "as the predictions for X")
        if self.problem.classes is not None:
            return float(np.mean(predicted == truth))
        spread = np.sum(np.square(truth - truth.mean(axis=0), dtype=np.float64))
        error = np.sum(np.square(truth - predicted, dtype=np.float64))
        return float(1 - error / spread) if spread > 0 else math.nan


@dataclass(frozen=True, repr=False, eq=False)
class Step(_Fit):
    """One sweep of a run, as `iterate` yields it and callbacks get it.

    Attributes
    ----------
    sweep : int
        Number of the sweep, counted from 1; 0 is the start.
    record : Record
        Measurements of the sweep.
    state : State
        The state after the sweep; live, the next sweep changes it.
    weights, trace, problem, scheme
        The weights in the state, the trace so far, and what is being solved.
    """

    sweep: int
    record: Record

    def __repr__(self) -> str:
        return f"<Step: sweep {self.sweep}, objective {self.record.objective:.6g}>"


@dataclass(frozen=True, repr=False, eq=False)
class Solution(_Fit):
    """The result of a run.

    Attributes
    ----------
    weights : list of (W, b)
        The weights of the network.
    state : State
        All variables by name.
    trace : Trace
        The measurements, sweep by sweep.
    problem, scheme
        What was solved, and how.
    stop_reason : str
        ``"max_iter"``, ``"tol"``, ``"interrupted"``, ``"failed"`` (in a `NumericalError`),
        ``"closed"`` (an iteration left early) or the name of the callback that stopped the run.
    error : NumericalError or None
        What ended a run that failed.
    """

    stop_reason: str
    error: NumericalError | None = None

    def __repr__(self) -> str:
        return f"<Solution: {self.scheme}, {self.trace!r}, stopped by {self.stop_reason}>"


def solve(
    problem: Problem,
    scheme: Scheme,
    *,
    max_iter: int = 100,
    tol: float = 0.0,
    init: Any = "he",
    seed: Any = 0,
    callbacks: Sequence[Any] = (),
    measure_every: int = 1,
    num_threads: int | None = None,
    dtype: Any = None,
    backend: str = "native",
    comm: Any = None,
    keep_products: bool = True,
    verbose: int = 0,
) -> Solution:
    """Solve a problem by sweeps of a scheme.

    Ctrl-C ends the run after the current sweep and the solution so far is returned.

    Parameters
    ----------
    problem : Problem
        The problem.
    scheme : Scheme
        The scheme, such as ``ThreeSplitBCD(gamma=1.0, alpha=1.0)``.
    max_iter : int
        Number of sweeps.
    tol : float
        Stop as soon as a measured dist(0, ∂f) is at most this.
    init : str, rule, weights or State
        Start: a rule of `amcore.initialization` or its name (``"he"``, ``"xavier"``,
        ``"gaussian"``); the weights ``[(W_1, b_1), …]``; or a state to continue from. These are
        copied. Except for a state, the auxiliary variables start from the forward pass.
    seed : int or anything that `numpy.random.default_rng` takes
        Seed of the rule.
    callbacks : sequence
        Callables ``callback(step)`` that return True to stop, or objects with any of the methods
        ``begin(step)``, ``step(step)`` (True stops) and ``end(solution)``.
    measure_every : int
        Measure dist(0, ∂f), step norms and accurate decreases at every so many sweeps and at the
        last one; the objective is always known.
    num_threads : int, optional
        Number of threads, by default OpenMP's; results do not depend on it.
    dtype : float32 or float64, optional
        Type of the computation, by default that of the problem.
    backend : {"native", "reference"}
        The compiled core, or its definition in NumPy.
    comm : optional
        A communicator such as mpi4py's; every process holds its own samples of one problem.
    keep_products : bool
        Let the compiled core keep W_i V_{i−1} + b_i of all samples from one sweep to the next: a
        sixth less work for one more array per layer. The results are the same bits.
    verbose : int
        From 1 on, print a table of the run.

    Returns
    -------
    Solution

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; before any work.
    NumericalError
        If a factorisation fails or a non-finite value appears; its `solution` holds the run so far.

    Examples
    --------
    >>> import numpy as np, amcore
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> problem = amcore.Problem(amcore.Network([1, 8, 1]), X, abs(X))
    >>> run = amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=50)
    >>> bool(run.trace.objective[-1] < run.trace.objective[0])
    True
    """
    given = [ProgressTable(), *callbacks] if _checks.integer("verbose", verbose, 0) else callbacks
    run = Run(
        problem,
        scheme,
        max_iter=max_iter,
        tol=tol,
        init=init,
        seed=seed,
        callbacks=given,
        measure_every=measure_every,
        num_threads=num_threads,
        dtype=dtype,
        backend=backend,
        comm=comm,
        keep_products=keep_products,
    )
    with _DeferredInterrupt(keep=True) as interrupt:
        for _ in run.steps(interrupt):
            pass
    return run.solution()


def iterate(
    problem: Problem,
    scheme: Scheme,
    *,
    max_iter: int = 100,
    tol: float = 0.0,
    init: Any = "he",
    seed: Any = 0,
    callbacks: Sequence[Any] = (),
    measure_every: int = 1,
    num_threads: int | None = None,
    dtype: Any = None,
    backend: str = "native",
    comm: Any = None,
    keep_products: bool = True,
) -> Iterator[Step]:
    """Solve a problem sweep by sweep.

    Parameters
    ----------
    problem, scheme, max_iter, tol, init, seed, callbacks, measure_every, num_threads
        As for `solve`.
    dtype, backend, comm, keep_products
        As for `solve`.

    Yields
    ------
    Step
        After every sweep, with the live state. Ctrl-C raises KeyboardInterrupt between sweeps.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; when `iterate` is called, not at the first sweep.
    NumericalError
        As for `solve`.
    """
    return Run(
        problem,
        scheme,
        max_iter=max_iter,
        tol=tol,
        init=init,
        seed=seed,
        callbacks=callbacks,
        measure_every=measure_every,
        num_threads=num_threads,
        dtype=dtype,
        backend=backend,
        comm=comm,
        keep_products=keep_products,
    ).steps()


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
        if num_threads is not None:
            num_threads = _checks.integer("num_threads", num_threads, 1)
        self.num_threads = num_threads
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
        self.start, self.continues = self._checked_start(init, seed)

        self.state = State({})
        self.trace = Trace(dtype=self.dtype, distance_is_bound=scheme.distance_is_bound(problem))
        self.stop_reason = ""
        self.error: NumericalError | None = None

    def steps(self, interrupt: _DeferredInterrupt | None = None) -> Iterator[Step]:
        """Sweep until something stops the run; a step is yielded after every sweep."""
        try:
            engine = self.engine()
            with _DeferredInterrupt():
                begin = perf_counter()
                if not self.continues:
                    engine.forward()
                step = self._append(engine.measure(), 0, begin, measured=True)
            self._notify("begin", step)
            self._decide(step, [], interrupt)
            while not self.stop_reason:
                sweep = step.sweep + 1
                measure = sweep % self.measure_every == 0 or sweep == self.max_iter
                with _DeferredInterrupt():
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
                _checks.shape(f"init {name}", init[name], expected)
                if init[name].dtype != self.dtype:
                    raise TypeError(
                        f"init {name}: expected dtype {self.dtype}, got {init[name].dtype}"
                    )
                _checks.finite(f"init {name}", init[name])
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
        elif isinstance(init, Sequence):
            weights = network.check_weights(init, "init")
            self._check_feasible(weights)
        else:
            raise TypeError(
                "init: expected a rule or its name, weights [(W, b), …] or a State, "
                f"got {_checks.describe(init)}"
            )
        names = {f"W{i}": W for i, (W, _) in enumerate(weights, start=1)}
        names |= {f"b{i}": b for i, (_, b) in enumerate(weights, start=1) if b is not None}
        return names, False

    def _check_feasible(self, weights: Weights) -> None:
        """Refuse weights at which the objective is infinite."""
        for i, (W, _) in enumerate(weights):
            regularizer = self.problem.weight_regularizers[i]
            if not math.isfinite(regularizer.value(W)):
                raise ValueError(f"init W{i + 1}: expected weights in the set of {regularizer}")

    def engine(self) -> Engine:
        """Allocate the state and build the engine on it."""
        shapes = self.scheme.variables(self.problem)
        arrays = {name: np.zeros(shape, self.dtype) for name, shape in shapes.items()}
        for name, values in self.start.items():
            arrays[name][...] = values
        self.start = {}
        self.state = State(arrays, self.problem)
        X, Y = (_checks.contiguous(array, self.dtype) for array in (self.problem.X, self.problem.Y))
        n = float(self._sum(self.problem.n_samples))
        return self.scheme.engine(
            self.problem,
            self.state,
            X=X,
            Y=Y,
            loss_weight=1.0 if self.problem.loss_scale == "sum" else 1 / n,
            num_threads=self.num_threads or 0,
            reducer=None if self.comm is None else self._add,
            backend=self.backend,
            keep_products=self.keep_products,
        )

    def _append(self, report: Report, sweep: int, begin: float, *, measured: bool) -> Step:
        decrease = report.decrease
        if sweep > 0 and math.isnan(decrease):  # not measured
            decrease = float(self.trace.objective[-1]) - report.objective
        record = Record(
            sweep=sweep,
            objective=report.objective,
            subgradient_distance=report.subgradient_distance,
            decrease=decrease,
            parts=report.parts,
            distance=report.distance,
            step_norm=report.step_norm,
            monitors=report.monitors,
            time=perf_counter() - begin,
            seconds=report.seconds,
        )
        if not math.isfinite(record.objective):
            raise NumericalError("the objective is not finite", layer=0, block="objective")
        if measured and not math.isfinite(record.subgradient_distance):
            message = "dist(0, ∂f) is not finite, its square overflows"
            raise NumericalError(message, layer=0, block="distance")
        self.trace.append(record)
        for text in report.marks:
            self.trace.mark(text)
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

    def _decide(
        self, step: Step, stopping: list[str], interrupt: _DeferredInterrupt | None
    ) -> None:
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
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise TypeError(f"callbacks: expected a list of callbacks, got {_checks.describe(given)}")
    checked = []
    for i, callback in enumerate(given):
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


class _DeferredInterrupt:
    """Hold SIGINT back inside a `with` block of the main thread, so that no sweep is cut in two.

    At the end of the block the signal goes to the handler that was there before; Python's own
    raises KeyboardInterrupt. With `keep` it only sets `pending`, and a second one goes through.
    """

    def __init__(self, keep: bool = False) -> None:
        self.keep, self.pending = keep, False
        self.previous: Callable[[int, FrameType | None], Any] | None = None

    def __enter__(self) -> _DeferredInterrupt:
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self.previous = previous
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.previous is not None:
            signal.signal(signal.SIGINT, self.previous)
            if self.pending and not self.keep and error is None:
                self.previous(signal.SIGINT, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.keep and self.pending and self.previous is not None:
            self.previous(number, frame)
        self.pending = True
