"""Checkpoints: state and trace of a run in one .npz file, without pickle."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from amcore import _files
from amcore.state import State
from amcore.trace import Trace

__all__ = ["load", "save"]


def save(path: str | PathLike[str], state: State, trace: Trace) -> None:
    """Write a checkpoint: to a temporary file in the same directory, which then takes its place.

    Parameters
    ----------
    path : path
        The file; what was there stays until the new one is complete on the disk.
    state : State
        The state, saved bit by bit.
    trace : Trace
        The trace up to it.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    arrays: dict[str, Any] = {
        "format": np.array(_files.CHECKPOINT),
        "version": np.array(_files.VERSION),
    }
    arrays |= {f"state/{name}": array for name, array in state.items()}
    arrays |= {f"trace/{name}": array for name, array in trace.to_arrays().items()}
    _files.save_arrays(path, arrays)


def load(path: str | PathLike[str]) -> tuple[State, Trace]:
    """Read a checkpoint; ``solve(…, init=state, trace=trace)`` goes on from it to the bit.

    Parameters
    ----------
    path : path
        A file that `save` wrote.

    Returns
    -------
    state : State
    trace : Trace

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is truncated, damaged or no checkpoint.
    """
    with _files.saved_arrays(path, "a checkpoint") as arrays:
        _files.check_format(arrays, _files.CHECKPOINT)
        state = arrays.part("state/")
        for name in arrays:
            if name not in ("format", "version") and not name.startswith(("state/", "trace/")):
                raise ValueError(f"{name} is no part of one")
        for name, array in state.items():
            if array.dtype.kind != "f":
                raise ValueError(f"state/{name} has dtype {array.dtype}")
        return State(state), Trace.from_saved(arrays.part("trace/"))
