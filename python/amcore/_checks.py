"""Checks of arguments: what every error message about an array or a number says."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def raw(name: str, value: Any) -> Array:
    """Return what NumPy makes of `value`, an array or anything with ``__array__`` or DLPack.

    Raises
    ------
    TypeError
        If it is no array in the memory of the CPU.
    ValueError
        If its rows differ in length.
    """
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: expected an array, got rows of different lengths") from None
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise TypeError(f"{name}: {type(value).__name__} is no CPU array: {reason}") from None


def array(name: str, value: Any, ndim: int | None = None) -> Array:
    """Return `value` as an array of floats; float32 and float64 are kept, integers become float64.

    Raises
    ------
    TypeError
        If it is no array of real numbers, or of another floating-point type.
    ValueError
        If its number of dimensions is not `ndim`, or its rows differ in length.
    """
    result = raw(name, value)
    native = result.dtype.newbyteorder("=")
    if native.kind in "biu":
        result = result.astype(np.float64)
    elif native in FLOATS:
        result = result.astype(native, copy=False)
    else:
        got = type(value).__name__ if native.kind == "O" else f"dtype {result.dtype}"
        raise TypeError(f"{name}: expected float32, float64 or integers, got {got}")
    if ndim is not None and result.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} dimensions, got shape {result.shape}")
    return result


def shape(name: str, value: Array, expected: tuple[int, ...], meaning: str = "") -> None:
    """Refuse an array that has not the shape expected."""
    if value.shape != expected:
        because = f" ({meaning})" if meaning else ""
        raise ValueError(f"{name}: expected shape {expected}{because}, got {value.shape}")


def finite(name: str, value: Array) -> None:
    """Refuse NaN and infinity, naming the first entry."""
    bad = ~np.isfinite(value)
    if bad.any():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), value.shape))
        place = ", ".join(map(str, index))
        raise ValueError(f"{name}: expected finite numbers, got {name}[{place}] = {value[index]}")


def same_dtype(name: str, value: Array, other_name: str, other: Array) -> None:
    """Refuse two arrays of different floating-point types."""
    if value.dtype != other.dtype:
        raise TypeError(
            f"{name}: dtype {value.dtype}, but {other_name} has dtype {other.dtype}; convert one"
        )


def dtype(name: str, value: Any) -> np.dtype[Any]:
    """Return float32 or float64."""
    try:
        result: np.dtype[Any] = np.dtype(value)
    except TypeError:
        raise TypeError(f"{name}: expected float32 or float64, got {value!r}") from None
    if result not in FLOATS:
        raise TypeError(f"{name}: expected float32 or float64, got {result}")
    return result


def number(name: str, value: Any, *, least: float = -math.inf, above: float = -math.inf) -> float:
    """Return a finite float that is at least `least` and greater than `above`."""
    if isinstance(value, str | bytes | bool) or np.ndim(value) != 0:
        raise TypeError(f"{name}: expected a number, got {describe(value)}")
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {describe(value)}") from None
    if not math.isfinite(result) or result < least or result <= above:
        bound = f" > {above:g}" if above > -math.inf else f" >= {least:g}"
        bound = bound if max(above, least) > -math.inf else ""
        raise ValueError(f"{name}: expected a finite number{bound}, got {result:g}")
    return result


def integer(name: str, value: Any, least: int) -> int:
    """Return an int that is at least `least`."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {describe(value)}") from None
    if result < least:
        raise ValueError(f"{name}: expected an integer >= {least}, got {result}")
    return result


def flag(name: str, value: Any) -> bool:
    """Return a bool."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {describe(value)}")
    return bool(value)


def per_layer(name: str, value: Any, count: int) -> Sequence[Any]:
    """Return one entry per layer: a sequence of that length, or one value repeated."""
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes):
        if np.ndim(value) == 0 or len(value) != count:
            size = len(value) if np.ndim(value) else 1
            raise ValueError(f"{name}: expected {count} entries (one per layer), got {size}")
        return list(value)
    return [value] * count


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return `value`, one of the words allowed."""
    if value not in allowed:
        raise ValueError(f"{name}: expected {' or '.join(map(repr, allowed))}, got {value!r}")
    return str(value)


def describe(value: Any) -> str:
    """Short text for a wrong value."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    text = repr(value)
    plain = len(text) <= 40 and "\n" not in text
    return f"{text} ({type(value).__name__})" if plain else type(value).__name__


def contiguous(array: Array, kind: Any = None) -> Array:
    """Return the array, C-contiguous and aligned as the core takes it, copied only if need be."""
    return np.require(array, kind, ["C_CONTIGUOUS", "ALIGNED"])
