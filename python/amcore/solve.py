"""Entry points: a run to its end, or sweep by sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from amcore import _checks
from amcore._interrupt import StopRequest
from amcore.callbacks import ProgressTable
from amcore.problem import Problem
from amcore.run import Run
from amcore.schemes import Scheme
from amcore.solution import Solution, Step
from amcore.trace import Trace

__all__ = ["iterate", "solve"]


def solve(
    problem: Problem,
    scheme: Scheme,
    *,
    max_iter: int = 100,
    tol: float = 0.0,
    init: Any = "he",
    trace: Trace | None = None,
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

    Ctrl-C ends the run after the current sweep, which no signal cuts in two, and the solution so
    far is returned; a second one while callbacks are at work raises KeyboardInterrupt. SIGTERM,
    where nothing else handles it, ends the run likewise, and the process once the callbacks'
    ``end`` is done.

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
    trace : Trace, optional
        With a state: the trace of the run that led to it, which is gone on with (a copy of it), its
        sweeps counted on; `max_iter` is the number of further ones.
    seed : int or anything that `numpy.random.default_rng` takes
        Seed of the rule.
    callbacks : sequence
        Callables ``callback(step)`` that return True to stop, or objects with any of the methods
        ``begin(step)``, ``step(step)`` (True stops) and ``end(solution)``. `end` is called however
        the run ends.
    measure_every : int
        Measure dist(0, ∂f), step norms and accurate decreases at every so many sweeps and at the
        last one; the objective is always known. Where a callback or a signal makes a sweep the last
        one, only its dist(0, ∂f) is measured.
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
        If a factorisation fails or a non-finite value appears.
    Exception
        Whatever a callback raises. As of every error that ends a run, the attribute `solution`
        holds the run so far.

    Examples
    --------
    >>> import numpy as np, amcore
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> problem = amcore.Problem(amcore.Network([1, 8, 1]), X, abs(X))
    >>> run = amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=50)
    >>> bool(run.trace.objective[-1] < run.trace.objective[0])
    True
    """
    if _checks.integer("verbose", verbose, 0):
        given = _checks.sequence("callbacks", callbacks, "a list of callbacks")
        callbacks = [ProgressTable(), *given]
    run = Run(
        problem,
        scheme,
        max_iter=max_iter,
        tol=tol,
        init=init,
        trace=trace,
        seed=seed,
        callbacks=callbacks,
        measure_every=measure_every,
        num_threads=num_threads,
        dtype=dtype,
        backend=backend,
        comm=comm,
        keep_products=keep_products,
    )
    with StopRequest() as interrupt:
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
    trace: Trace | None = None,
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
    problem, scheme, max_iter, tol, init, trace, seed, callbacks, measure_every
        As for `solve`.
    num_threads, dtype, backend, comm, keep_products
        As for `solve`.

    Yields
    ------
    Step
        After every sweep, with the live state. Ctrl-C raises KeyboardInterrupt between sweeps.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; when `iterate` is called, not at the first sweep.
    NumericalError, Exception
        As for `solve`.
    """
    return Run(
        problem,
        scheme,
        max_iter=max_iter,
        tol=tol,
        init=init,
        trace=trace,
        seed=seed,
        callbacks=callbacks,
        measure_every=measure_every,
        num_threads=num_threads,
        dtype=dtype,
        backend=backend,
        comm=comm,
        keep_products=keep_products,
    ).steps()
