"""Checkpoints: state and trace of a run in one .npz file, without pickle."""

from __future__ import annotations

import os
import zipfile
import zlib
from os import PathLike
from typing import Any

import numpy as np

from amcore.state import State
from amcore.trace import Trace, atomic_write

__all__ = ["load", "save"]

_FORMAT = "amcore.checkpoint"
_VERSION = 1
# What NumPy and zipfile raise on a damaged file.
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    MemoryError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


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
    arrays: dict[str, Any] = {"format": np.array(_FORMAT), "version": np.array(_VERSION)}
    arrays |= {f"state/{name}": array for name, array in state.items()}
    arrays |= {f"trace/{name}": array for name, array in trace.to_arrays().items()}
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def load(path: str | PathLike[str]) -> tuple[State, Trace]:
    """Read a checkpoint; ``solve(…, init=state)`` continues from it to the bit.

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
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("not a complete .npz file")
            file.seek(0)
            arrays = dict(np.load(file, allow_pickle=False))
        if str(arrays.get("format")) != _FORMAT:
            raise ValueError("it holds other arrays")
        if int(arrays["version"]) != _VERSION:
            version = int(arrays["version"])
            raise ValueError(f"format version {version}, this amcore reads {_VERSION}")
        saved = {name: _part(arrays, f"{name}/") for name in ("state", "trace")}
        return State(saved["state"]), Trace.from_saved(saved["trace"])
    except _UNREADABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{os.fspath(path)} is not a checkpoint saved by amcore: {reason}"
        ) from error


def _part(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
