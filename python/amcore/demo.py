"""The demonstration: a run before one's eyes, with its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from amcore.analysis import certify
from amcore.problem import Problem
from amcore.schemes import Scheme
from amcore.solve import solve

if TYPE_CHECKING:
    from rich.table import Table

    from amcore.datasets import Split
    from amcore.solution import Solution, Step

__all__ = ["LiveTable", "demo"]


def demo(
    problem: Problem,
    scheme: Scheme,
    data: Split,
    *,
    sweeps: int,
    seed: int,
    num_threads: int | None,
    plot: Path,
    trace: Path,
) -> Solution:
    """Show a run as a table, print its certificate, and write the plot of it and the trace.

    Parameters
    ----------
    problem : Problem
        That of the samples of `data` to train with.
    scheme, seed, num_threads
        As for `solve`.
    data : Split
        Samples to score on after every sweep.
    sweeps : int
        At most so many, fewer after Ctrl-C.
    plot, trace : Path
        The files to write.

    Returns
    -------
    Solution
        The run.
    """
    print(f"{problem.network}: {len(data.y_train)} samples to train, {len(data.y_test)} held out")
    run = solve(
        problem,
        scheme,
        max_iter=sweeps,
        seed=seed,
        num_threads=num_threads,
        callbacks=[LiveTable(data, sweeps)],
    )
    certificate = certify(run.trace)
    print(f"\n{certificate}\n")
    run.trace.save(trace)
    certificate.plot(plot)
    accuracy = run.score(data.X_test, data.y_test)
    interrupted = run.stop_reason == "interrupted"
    print(
        f"test accuracy {accuracy:.2%} after {len(run.trace)} sweeps in"
        f" {run.trace.time.sum():.1f} s{' (interrupted)' if interrupted else ''};"
        f" wrote {plot} and {trace}"
    )
    return run


class LiveTable:
    """A callback that shows the run as a table: live in a terminal, line by line elsewhere."""

    COLUMNS = ("sweep", "objective", "distance", "step", "decrease", "train", "test")
    MOST_ROWS = 30

    def __init__(self, data: Split, sweeps: int) -> None:
        from rich.console import Console
        from rich.live import Live

        self.data = data
        self.every = -(-sweeps // self.MOST_ROWS)
        self.rows: list[list[str]] = []
        self.latest: list[str] = []
        self.console = Console()
        self.live = Live(console=self.console, auto_refresh=False)

    def begin(self, step: Step) -> None:
        """Show the start."""
        if self.console.is_terminal:
            self.live.start()
        else:
            self._print(self.COLUMNS)
        self._show(step)

    def step(self, step: Step) -> None:
        """Show the sweep."""
        self._show(step)

    def end(self, solution: Solution) -> None:
        """Leave the whole table behind, the last sweep included."""
        if self.latest:
            self._keep()
        if self.console.is_terminal:
            self.live.update(self._table(self.rows), refresh=True)
            self.live.stop()

    def _show(self, step: Step) -> None:
        record = step.record
        start = step.sweep == 0
        self.latest = [
            str(step.sweep),
            f"{record.objective:.6g}",
            f"{record.subgradient_distance:.3g}",
            "" if start else f"{record.step_length:.3g}",
            "" if start else f"{record.decrease:.3g}",
            f"{step.score(self.data.X_train, self.data.y_train):.2%}",
            f"{step.score(self.data.X_test, self.data.y_test):.2%}",
        ]
        rows = [*self.rows, self.latest]
        if step.sweep % self.every == 0:
            self._keep()
        if self.console.is_terminal:
            # the last rows that fit between the table's frame and the edges of the screen
            fit = max(1, self.console.height - 6)
            self.live.update(self._table(rows[-fit:]), refresh=True)

    def _keep(self) -> None:
        """Make the latest row one that stays."""
        self.rows.append(self.latest)
        if not self.console.is_terminal:
            self._print(self.latest)
        self.latest = []

    def _print(self, cells: Sequence[str]) -> None:
        print("  ".join(f"{cell:>9}" for cell in cells), flush=True)

    def _table(self, rows: Sequence[Sequence[str]]) -> Table:
        from rich.table import Table

        table = Table(*self.COLUMNS)
        for column in table.columns:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        return table
