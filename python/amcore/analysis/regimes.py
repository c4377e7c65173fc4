"""The run cut where its law changes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amcore.analysis.law import averages
from amcore.trace import Trace

__all__ = ["Regime", "regimes"]

# f falls this many times faster later on: a plateau.
_FASTER = 10.0


@dataclass(frozen=True)
class Regime:
    """A part of the run: sweeps `first` to `last` of kind "transient", "plateau" or "asymptotic".

    On a plateau f falls slower than it does later; in the asymptotic regime its decreases follow
    one law up to the end.
    """

    kind: str
    first: int
    last: int

    def to_dict(self) -> dict[str, Any]:
        """Return the regime as plain data."""
        return asdict(self)


def regimes(trace: Trace, settled: int | None) -> tuple[Regime, ...]:
    """Cut the run at its plateaus and at `settled`, from which one law holds (None: nowhere)."""
    end = len(trace)
    last = end if settled is None else settled
    found: list[Regime] = []
    pieces = averages(trace.decrease, 0, last)
    if pieces is None:
        slow = np.zeros(1, dtype=bool)
        starts: NDArray[np.float64] = np.zeros(1)
    else:
        later = np.maximum.accumulate(pieces.logs[::-1])[::-1]
        slow = pieces.logs < later - np.log(_FASTER)
        starts = pieces.k - (pieces.weight - 1) / 2
    changes = np.flatnonzero(np.diff(slow, prepend=~slow[:1]))
    cuts = [0, *(int(starts[at]) for at in changes[1:]), last]
    for at, first, stop in zip(changes, cuts[:-1], cuts[1:], strict=True):
        if stop > first:
            found.append(Regime("plateau" if slow[at] else "transient", first, stop))
    if settled is not None and settled < end:
        found.append(Regime("asymptotic", settled, end))
    return tuple(found)
