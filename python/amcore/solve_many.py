"""Many independent runs at once, without Python between their sweeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any, cast

from amcore import _checks, _core
from amcore._interrupt import StopRequest
from amcore.problem import Problem
from amcore.run import Run
from amcore.schemes import Scheme
from amcore.solution import Solution
from amcore.state import State

__all__ = ["solve_many"]


def solve_many(
    problems: Problem | Iterable[Problem],
    schemes: Scheme | Iterable[Scheme],
    *,
    max_iter: int = 100,
    tol: float = 0.0,
    init: Any = "he",
    seed: Any = 0,
    measure_every: int = 1,
    num_threads: int | None = None,
    dtype: Any = None,
) -> list[Solution]:
    """Solve many problems, or one from many starts or by many schemes, one per thread at a time.

    The compiled core runs all sweeps. Every run gives the same bits as `solve`. Ctrl-C ends all
    runs after their current sweep; what another signal's handler raises ends them and is raised.

    Parameters
    ----------
    problems : Problem or iterable of Problem
        The problems.
    schemes : Scheme or iterable of Scheme
        The schemes.
    max_iter, tol, measure_every, dtype
        As for `solve`, the same for all runs.
    init : str, rule, or iterable of these, weights or states
        As for `solve`; an iterable gives one for every run.
    seed : int or iterable of int
        Seed of the rule.
    num_threads : int, optional
        Number of runs at a time, by default OpenMP's number of threads.

    Returns
    -------
    list of Solution
        One for every run, in order: where `problems`, `schemes`, `init` or `seed` are many they are
        equally many, and the others are the same for all. A run that fails does not end the others:
        its `stop_reason` is ``"failed"`` and its `error` says why.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, before any work.

    Examples
    --------
    >>> import numpy as np, amcore
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> problem = amcore.Problem(amcore.Network([1, 8, 1]), X, abs(X))
    >>> runs = amcore.solve_many(problem, amcore.ThreeSplitBCD(), seed=range(20), max_iter=30)
    >>> len(runs), bool(min(run.trace.objective[-1] for run in runs) < 1)
    (20, True)
    """
    given = {"problems": problems, "schemes": schemes, "init": init, "seed": seed}
    many = {name: list(value) for name, value in given.items() if _is_many(name, value)}
    counts = {name: len(values) for name, values in many.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"expected as many of each, or one for all: got {told}")
    count = next(iter(counts.values()), 1)
    if num_threads is None:
        num_threads = _core.max_threads()
    num_threads = _checks.threads(num_threads)

    def of(name: str, index: int) -> Any:
        return many[name][index] if name in many else given[name]

    runs = [
        Run(
            of("problems", k),
            of("schemes", k),
            max_iter=max_iter,
            tol=tol,
            init=of("init", k),
            trace=None,
            seed=of("seed", k),
            callbacks=(),
            measure_every=measure_every,
            num_threads=1,
            dtype=dtype,
            backend="native",
            comm=None,
            keep_products=True,
        )
        for k in range(count)
    ]
    for k, run in enumerate(runs):
        if run.continues:
            raise TypeError(
                f"init[{k}]: expected a rule or weights, got a State, which is for solve"
            )
    engines = [run.engine() for run in runs]
    with StopRequest() as request:
        done = _core.solve_many(
            cast(list[_core.Engine], engines),
            max_iter=max_iter,
            tol=tol,
            measure_every=measure_every,
            num_threads=num_threads,
            stops=lambda: bool(request.pending),
        )
        for run, engine, result in zip(runs, engines, done, strict=True):
            run.take(engine, *result)
    return [run.solution() for run in runs]


def _is_many(name: str, value: Any) -> bool:
    """Whether it holds one for every run, in their order."""
    if not isinstance(value, Iterable) or isinstance(value, str | State):
        return False
    if isinstance(value, Mapping | Set | bytes | bytearray):
        wrong = _checks.describe(value)
        raise TypeError(f"{name}: expected one for all runs or a sequence of them, got {wrong}")
    return getattr(value, "ndim", 1) > 0
