"""Checks of arguments: what every error message about an array or a number says."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from pathlib import Path
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
        If it is no dense array in the memory of the CPU.
    ValueError
        If an entry is masked, or its rows differ in length.
    """
    unmasked(name, value)
    if hasattr(value, "toarray") and not hasattr(value, "__array__"):
        kind = type(value).__name__
        raise TypeError(f"{name}: expected a dense array, got {kind}; give {name}.toarray()")
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: expected an array, got rows of different lengths") from None
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise TypeError(f"{name}: {type(value).__name__} is no CPU array: {reason}") from None


def unmasked(name: str, value: Any) -> None:
    """Refuse masked entries, which NumPy would take for what lies behind the mask."""
    if _masked(value):
        raise ValueError(f"{name}: expected an array without masked entries; fill or drop them")


def _masked(value: Any) -> bool:
    """Whether an entry is masked, of an array or of one in a list."""
    if isinstance(value, list | tuple):
        return any(map(_masked, value))
    return isinstance(value, np.ma.MaskedArray) and bool(np.ma.getmaskarray(value).any())


NUMBERS = "float32, float64 or integers"


def numeric(name: str, value: Any, expected: str = NUMBERS) -> Array:
    """Return `value` as an array of floats, integers or bools, in the machine's byte order.

    Arrays of Python objects become what their entries are, such as those of a data frame whose
    columns have several types.

    Raises
    ------
    TypeError
        If an entry is no real number, or of a floating-point type that is not `expected`.
    ValueError
        As for `raw`.
    """
    result = raw(name, value)
    if result.dtype.kind == "O" and result.ndim > 0:
        for index, entry in np.ndenumerate(result):
            if not isinstance(entry, Real | np.bool_):
                wrong = f"{_place(name, index)} = {describe(entry)}"
                raise TypeError(f"{name}: expected {expected}, got {wrong}")
        result = np.array(result.tolist()).reshape(result.shape)
        if result.dtype.kind == "O":  # integers too large, fractions
            result = result.astype(np.float64)
    native = result.dtype.newbyteorder("=")
    if native in FLOATS or native.kind in "biu":
        return result.astype(native, copy=False)
    got = describe(value) if result.ndim == 0 else f"dtype {result.dtype!s:.40}"
    raise TypeError(f"{name}: expected {expected}, got {got}")


def array(name: str, value: Any, ndim: int | None = None) -> Array:
    """Return `value` as an array of floats; float32 and float64 are kept, integers become float64.

    Raises
    ------
    TypeError
        If it is no array of real numbers, or of another floating-point type.
    ValueError
        If its number of dimensions is not `ndim`, or as for `raw`.
    """
    result = numeric(name, value)
    if result.dtype not in FLOATS:
        result = result.astype(np.float64)
    if ndim is not None and result.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} dimensions, got shape {result.shape}")
    return result


def shape(name: str, value: Array, expected: tuple[int, ...], meaning: str = "") -> None:
    """Refuse an array that has not the shape expected."""
    if value.shape != expected:
        because = f" ({meaning})" if meaning else ""
        raise ValueError(f"{name}: expected shape {expected}{because}, got {value.shape}")


def filled(name: str, value: Array) -> None:
    """Refuse an array without entries."""
    if value.size == 0:
        raise ValueError(f"{name}: expected at least one entry, got shape {value.shape}")


def finite(name: str, value: Array) -> None:
    """Refuse NaN and infinity, naming the first entry."""
    refuse(name, value, ~np.isfinite(value), "finite numbers")


def refuse(name: str, value: Array, bad: npt.NDArray[np.bool_], expected: str) -> None:
    """Refuse an array with entries that are `bad`, naming the first one."""
    if bad.any():
        index = np.unravel_index(int(np.argmax(bad)), value.shape)
        raise ValueError(f"{name}: expected {expected}, got {_place(name, index)} = {value[index]}")


def _place(name: str, index: Iterable[Any]) -> str:
    return f"{name}[{', '.join(str(int(i)) for i in index)}]"


def cast(name: str, value: Array, dtype: Any) -> Array:
    """Return a finite array in `dtype`, C-contiguous, copied only if need be.

    Raises
    ------
    ValueError
        If an entry is beyond the numbers of that type.
    """
    with np.errstate(over="ignore"):
        result = contiguous(value, dtype)
    if result.dtype != value.dtype:
        refuse(name, value, ~np.isfinite(result), f"numbers of {np.dtype(dtype)}")
    return result


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
    except Exception:
        wrong = describe(value)
        raise TypeError(f"{name}: expected float32 or float64, got {wrong}") from None
    if result not in FLOATS:
        raise TypeError(f"{name}: expected float32 or float64, got {result!s:.40}")
    return result


def real(name: str, value: Any) -> float:
    """Return any float; an array without axes counts as the number it holds."""
    kind = value.dtype.kind if isinstance(value, np.ndarray | np.generic) else "f"
    try:
        if not hasattr(value, "__float__") or isinstance(value, bool) or kind not in "iuf":
            raise TypeError
        if getattr(value, "ndim", 0) != 0 or _masked(value):
            raise TypeError
        return float(value)
    except OverflowError:  # of an int
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name}: expected a number, got {describe(value)}") from None


def number(name: str, value: Any, *, least: float = -math.inf, above: float = -math.inf) -> float:
    """Return a finite float that is at least `least` and greater than `above`."""
    result = real(name, value)
    if not math.isfinite(result) or result < least or result <= above:
        bound = f" > {above:g}" if above > -math.inf else f" >= {least:g}"
        bound = bound if max(above, least) > -math.inf else ""
        raise ValueError(f"{name}: expected a finite number{bound}, got {result:g}")
    return result


# The largest integers that the core takes: of threads and steps, and of everything else.
INT_MAX, INDEX_MAX = 2**31 - 1, 2**63 - 1


def integer(name: str, value: Any, least: int, most: int = INDEX_MAX) -> int:
    """Return an int that is at least `least` and at most `most`."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {describe(value)}") from None
    if result < least:
        raise ValueError(f"{name}: expected an integer >= {least}, got {describe(result)}")
    if result > most:
        raise ValueError(f"{name}: expected an integer <= {most}, got {describe(result)}")
    return result


def threads(num_threads: Any) -> int:
    """Return a number of threads; 0, for the core OpenMP's, where None is given."""
    return 0 if num_threads is None else integer("num_threads", num_threads, 1, INT_MAX)


def flag(name: str, value: Any) -> bool:
    """Return a bool."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {describe(value)}")
    return bool(value)


def entries(name: str, value: Any, expected: str = "one value or a sequence") -> list[Any] | None:
    """Return the entries of a sequence, or of an array with axes; None for a single value.

    Raises
    ------
    TypeError
        If it has entries but no order to take them in, or can be read only once: a mapping, a set,
        an iterator.
    """
    if isinstance(value, str | bytes | bytearray):
        return None
    if hasattr(value, "__array__"):
        array = raw(name, value)
        return list(array) if array.ndim else None
    if isinstance(value, Sequence):
        return list(value)
    if isinstance(value, Iterable):
        raise TypeError(f"{name}: expected {expected}, got {describe(value)}")
    return None


def sequence(name: str, value: Any, expected: str) -> list[Any]:
    """Return the entries of a sequence, or of an array with axes."""
    given = entries(name, value, expected)
    if given is None:
        raise TypeError(f"{name}: expected {expected}, got {describe(value)}")
    return given


def per_layer(
    name: str,
    value: Any,
    count: int,
    check: Callable[[str, Any], Any] = lambda name, entry: entry,
    layer: str = "layer",
) -> list[Any]:
    """Return ``check(name, entry)`` for every layer: of a sequence, or of one value repeated."""
    given = entries(name, value)
    if given is None:
        return [check(name, value)] * count
    if len(given) != count:
        raise ValueError(f"{name}: expected {count} entries (one per {layer}), got {len(given)}")
    return [check(f"{name}[{i}]", entry) for i, entry in enumerate(given)]


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return `value`, one of the words allowed."""
    words = " or ".join(map(repr, allowed))
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected {words}, got {describe(value)}")
    if value not in allowed:
        raise ValueError(f"{name}: expected {words}, got {value!r:.40}")
    return value


def path(name: str, value: Any) -> Path:
    """Return a path."""
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise TypeError(f"{name}: expected a path, got {describe(value)}")
    if "\0" in text:
        raise ValueError(f"{name}: expected a path, got {describe(value)}")
    return Path(text)


def describe(value: Any) -> str:
    """Short text for a wrong value."""
    if isinstance(value, np.ndarray) and value.ndim > 0:
        return f"an array of shape {value.shape}"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return type(value).__name__
    plain = len(text) <= 40 and "\n" not in text
    return f"{text} ({type(value).__name__})" if plain else type(value).__name__


def contiguous(array: Array, kind: Any = None) -> Array:
    """Return the array, C-contiguous and aligned as the core takes it, copied only if need be."""
    return np.require(array, kind, ["C_CONTIGUOUS", "ALIGNED"])
