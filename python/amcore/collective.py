"""Where the processes of a distributed run meet, each with samples of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from amcore import _checks
from amcore._checks import Array
from amcore.errors import ProcessError

__all__ = ["Collective"]


class Collective:
    """Sums and maxima over all processes, which come to the same meetings in the same order.

    Every meeting begins with an agreement: where a process has failed and says so (`fail`), it
    raises ProcessError on the others, so that no process waits for one that will not come.

    Parameters
    ----------
    comm : optional
        A communicator with the ``Allreduce(send, receive)`` of mpi4py, which adds. All else is a
        sum too, with a slot for every process: that of its ``Get_rank()``, or where there is none
        one drawn by lot. Without communicator there is one process alone.

    Raises
    ------
    TypeError
        If it is no such communicator.
    """

    def __init__(self, comm: Any = None) -> None:
        if comm is not None and not callable(getattr(comm, "Allreduce", None)):
            raise TypeError(
                f"comm: expected a communicator with Allreduce, got {_checks.describe(comm)}"
            )
        self._comm = comm
        self._slot: tuple[int, int] | None = None
        self._open = True  # until a process has failed

    def sum(self, array: Array) -> None:
        """Add a vector over all processes, in place."""
        self._agree(failed=False)
        self._add(array)

    def max(self, array: Array) -> None:
        """Take the maximum over all processes, entry by entry, in place."""
        if self._comm is not None:
            array[...] = self._gather(array)[0].max(axis=0)

    def broadcast(self, array: Array) -> None:
        """Give a vector of the first process to all, in place."""
        if self._comm is not None:
            array[...] = self._gather(array)[0][0]

    def before(self, number: float) -> float:
        """Return the sum of a number over the processes of lower rank.

        Raises
        ------
        TypeError
            If the communicator knows no ranks: an order by lot would be another in every run.
        """
        if self._comm is None:
            return 0.0
        if not self._ranked:
            got = _checks.describe(self._comm)
            raise TypeError(f"comm: expected a communicator with Get_rank and Get_size, got {got}")
        numbers, rank = self._gather(np.array([number], np.float64))
        return float(numbers[:rank].sum())

    def total(self, number: float) -> float:
        """Return the sum of a number."""
        array = np.array([number], np.float64)
        self.sum(array)
        return float(array[0])

    def same(self, digest: bytes) -> bool:
        """Return whether all processes have the same digest."""
        # n Σd² = (Σd)² only of equal numbers; 16 bits of each keep the sums exact.
        d = np.frombuffer(digest, np.uint16).astype(np.float64)
        sums = np.array([1.0, *d, *d**2])
        self.sum(sums)
        count, *rest = (int(x) for x in sums)
        return all(
            count * square == total**2
            for total, square in zip(rest[: d.size], rest[d.size :], strict=True)
        )

    def fail(self, error: BaseException) -> None:
        """Let the others know that this process ends in an error, unless one of theirs ends it."""
        if self._open and not isinstance(error, ProcessError):
            self._agree(failed=True)

    @contextmanager
    def joint(self) -> Iterator[None]:
        """Let the others know of an error in the block."""
        try:
            yield
        except BaseException as error:
            self.fail(error)
            raise

    def _agree(self, *, failed: bool) -> None:
        failures = np.array([float(failed)])
        self._add(failures)
        if failures[0] > 0:
            self._open = False
            if not failed:
                raise ProcessError("another process failed")

    @property
    def _ranked(self) -> bool:
        return hasattr(self._comm, "Get_rank") and hasattr(self._comm, "Get_size")

    def _gather(self, array: Array) -> tuple[Array, int]:
        """Return a vector of every process, a row each, and the row of this one."""
        self._agree(failed=False)
        slot, size = self._slot = self._slot or self._find_slot()
        slots = np.zeros((size, array.size), array.dtype)
        slots[slot] = array
        self._add(slots.reshape(-1))
        return slots, slot

    def _find_slot(self) -> tuple[int, int]:
        """Return a place of this process among all of them, and their number."""
        if self._ranked:
            return self._comm.Get_rank(), self._comm.Get_size()
        while True:
            drawn = np.zeros(1 << 14)
            mine = secrets.randbelow(drawn.size)
            drawn[mine] = 1
            self._add(drawn)
            if drawn.max() == 1:
                return int(drawn[:mine].sum()), int(drawn.sum())

    def _add(self, array: Array) -> None:
        if self._comm is None:
            return
        total = np.empty_like(array)
        try:
            self._comm.Allreduce(array, total)
        except BaseException:
            self._open = False  # there is no way to tell the others
            raise
        array[...] = total
