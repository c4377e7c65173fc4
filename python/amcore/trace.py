"""The trace of a run: one record per sweep, kept as columns, saved and loaded as plain arrays."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from amcore import _checks, _files
from amcore._files import atomic_write
from amcore.report import FAMILIES, SCALARS, Record

__all__ = ["Record", "Trace"]

Array = NDArray[np.float64]
_Self = TypeVar("_Self", bound="Trace")

# Kind and number of dimensions of what is saved beside the columns.
_DETAILS: dict[str, tuple[str, int]] = {
    "format": ("U", 0),
    "version": ("i", 0),
    "dtype": ("U", 0),
    "distance_is_bound": ("b", 0),
    "accurate_decrease": ("b", 0),
    "lower_bound": ("f", 0),
    "marks/sweep": ("i", 1),
    "marks/text": ("U", 1),
}
_LATER = {"lower_bound"}  # that older files lack


RISE = "objective rose"  # a mark


def rises(before: Any, after: Any, dtype: np.dtype[Any]) -> Any:
    """Whether f, a number or an array, rose by more than its rounding."""
    return after - before > 64 * float(np.finfo(dtype).eps) * np.abs(before)


class _Column:
    """A growing float64 column: appending costs O(1) on average, reading is a view."""

    def __init__(self, values: ArrayLike = ()) -> None:
        self._data: Array = np.array(values, dtype=np.float64)
        self._size = self._data.size

    def append(self, value: float) -> None:
        if self._size == self._data.size:
            grown = np.empty(max(16, 2 * self._size))
            grown[: self._size] = self._data
            self._data = grown
        self._data[self._size] = value
        self._size += 1

    def pop(self) -> None:
        self._size -= 1

    @property
    def view(self) -> Array:
        view = self._data[: self._size]
        view.flags.writeable = False
        return view


class Trace:
    """The history of a run, one entry per sweep.

    Index 0 of every array of length K + 1 is the start; `len(trace)` is the number K of sweeps.
    All attribute arrays are float64, read-only and hold NaN where nothing was measured.

    Parameters
    ----------
    dtype : float type
        Floating-point type the run computes in; it decides which differences of objectives the
        analysis takes for rounding. Totals are kept in float64 whatever it is.
    distance_is_bound : bool
        True if `subgradient_distance` is only an upper bound of dist(0, ∂f).
    accurate_decrease : bool
        True if `decrease` is accurate relative to the steps on the measured sweeps, False if it is
        the difference of two objectives.
    lower_bound : float
        A number that f is nowhere below, −inf if none is known: 0 for a sum of losses and
        regularisers that are none of them negative.

    Attributes
    ----------
    objective : ndarray
        The objective f, shape (K + 1,).
    subgradient_distance : ndarray
        dist(0, ∂f), shape (K + 1,), NaN where it was not measured.
    decrease : ndarray
        Shape (K,); `decrease[k]` is f_k − f_{k+1}.
    parts, distance, monitors, seconds : dict of ndarray
        Terms of the objective, blocks of the distance, what else the scheme watches, phases of the
        wall time, each by name and of shape (K + 1,).
    step_norm : dict of ndarray
        Frobenius norm of the change of each block of variables, shape (K,).
    step_length : ndarray
        Frobenius norm of the change of all of them together, shape (K,).
    time : ndarray
        Wall time of each sweep in seconds, shape (K + 1,); index 0 is the measurement of the
        start.
    marks : list of (sweep, text)
        Events such as a change of ε; ``"objective rose"`` where a sweep of a scheme that descends
        raised f by more than the rounding of f, as that of the state does at extreme penalties.

    Examples
    --------
    >>> trace = Trace.from_arrays([4.0, 1.0, 0.25], subgradient_distance=[4.0, 2.0, 1.0])
    >>> trace
    <Trace: 2 sweeps, objective 4 → 0.25, dist(0, ∂f) 4 → 1>
    >>> trace.decrease
    array([3.  , 0.75])
    """

    def __init__(
        self,
        *,
        dtype: DTypeLike = np.float64,
        distance_is_bound: bool = False,
        accurate_decrease: bool = True,
        lower_bound: float = -math.inf,
    ) -> None:
        self.dtype = _float(dtype)
        self.distance_is_bound = bool(distance_is_bound)
        self.accurate_decrease = bool(accurate_decrease)
        self.lower_bound = _lower_bound(lower_bound)
        self.marks: list[tuple[int, str]] = []
        self._scalars = {name: _Column() for name in SCALARS}
        self._families: dict[str, dict[str, _Column]] = {name: {} for name in FAMILIES}

    def append(self, record: Record) -> None:
        """Add the record of the next sweep.

        Raises
        ------
        ValueError
            If `record.sweep` is not the number of records so far.
        """
        count = self._count
        if record.sweep != count:
            raise ValueError(f"record.sweep is {record.sweep}, the next record is number {count}")
        for name, column in self._scalars.items():
            column.append(getattr(record, name))
        for family, columns in self._families.items():
            entries: Mapping[str, float] = getattr(record, family)
            for name in entries:
                if name not in columns:
                    columns[name] = _Column(np.full(count, math.nan))
            for name, column in columns.items():
                column.append(entries.get(name, math.nan))
        for text in record.marks:
            self.mark(text)

    def amend(self, record: Record) -> None:
        """Replace the numbers of the latest record by others of the same sweep.

        Raises
        ------
        ValueError
            If `record.sweep` is not that of the latest record.
        """
        if record.sweep != len(self):
            raise ValueError(f"record.sweep is {record.sweep}, the latest record is {len(self)}")
        for columns in (self._scalars, *self._families.values()):
            for column in columns.values():
                column.pop()
        self.append(dataclasses.replace(record, marks=()))  # they are there

    def set_columns(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Set all records at once.

        Parameters
        ----------
        columns : mapping of str to ndarray
            ``"objective"``, ``"subgradient_distance"``, ``"decrease"`` and ``"time"``, and those of
            the families by names such as ``"parts/loss"``; all of shape (K + 1,). Other names are
            left alone.

        Raises
        ------
        ValueError
            If a column is no vector of numbers as long as the objective.
        """
        count = columns["objective"].size

        def column(name: str) -> _Column:
            return _Column(_vector(name, columns[name], count, "as many as objective"))

        self._scalars = {name: column(name) for name in SCALARS}
        self._families = {family: {} for family in FAMILIES}
        for key in columns:
            family, _, name = key.partition("/")
            if family in self._families and name:
                self._families[family][name] = column(key)

    def mark(self, text: str) -> None:
        """Note an event at the latest sweep."""
        self.marks.append((len(self), str(text)))

    @property
    def _count(self) -> int:
        return self._scalars["objective"].view.size

    def __len__(self) -> int:
        """Return the number of sweeps K."""
        return max(0, self._count - 1)

    @property
    def objective(self) -> Array:
        """The objective f, shape (K + 1,)."""
        return self._scalars["objective"].view

    @property
    def subgradient_distance(self) -> Array:
        """dist(0, ∂f), shape (K + 1,), NaN where it was not measured."""
        return self._scalars["subgradient_distance"].view

    @property
    def decrease(self) -> Array:
        """The decrease f_k − f_{k+1} of each sweep, shape (K,)."""
        return self._scalars["decrease"].view[1:]

    @property
    def time(self) -> Array:
        """Wall time of each sweep in seconds, shape (K + 1,)."""
        return self._scalars["time"].view

    @property
    def parts(self) -> dict[str, Array]:
        """The terms of the objective by name, each of shape (K + 1,)."""
        return {name: column.view for name, column in self._families["parts"].items()}

    @property
    def distance(self) -> dict[str, Array]:
        """dist(0, ∂f) of each block of variables, each of shape (K + 1,)."""
        return {name: column.view for name, column in self._families["distance"].items()}

    @property
    def step_norm(self) -> dict[str, Array]:
        """Frobenius norm of the change of each block of variables, each of shape (K,)."""
        return {name: column.view[1:] for name, column in self._families["step_norm"].items()}

    @property
    def step_length(self) -> Array:
        """The norm of the change of all variables together, shape (K,)."""
        blocks = [np.square(norm) for norm in self.step_norm.values()]
        length: Array = np.sqrt(np.sum(blocks, axis=0)) if blocks else np.full(len(self), math.nan)
        return length

    @property
    def monitors(self) -> dict[str, Array]:
        """What else the scheme watches, each of shape (K + 1,)."""
        return {name: column.view for name, column in self._families["monitors"].items()}

    @property
    def seconds(self) -> dict[str, Array]:
        """Wall time of each phase in seconds, each of shape (K + 1,)."""
        return {name: column.view for name, column in self._families["seconds"].items()}

    @property
    def records(self) -> list[Record]:
        """The trace as records; entries of a record that were not measured are left out."""

        def row(k: int) -> dict[str, Any]:
            scalars = {name: float(column.view[k]) for name, column in self._scalars.items()}
            families = {
                family: {
                    name: float(column.view[k])
                    for name, column in columns.items()
                    if not math.isnan(column.view[k])
                }
                for family, columns in self._families.items()
            }
            return scalars | families

        marks = self._marks_by_sweep()
        return [
            Record(sweep=k, marks=tuple(marks.get(k, ())), **row(k)) for k in range(self._count)
        ]

    def _marks_by_sweep(self) -> dict[int, list[str]]:
        marks: dict[int, list[str]] = {}
        for sweep, text in self.marks:
            marks.setdefault(sweep, []).append(text)
        return marks

    def __repr__(self) -> str:
        """Return one line with the number of sweeps, the objective and the distance."""
        if self._count == 0:
            return "<Trace: empty>"
        sweeps = len(self)
        f, g = self.objective, self.subgradient_distance
        text = f"<Trace: {sweeps} sweep{'' if sweeps == 1 else 's'}"
        text += f", objective {f[0]:.6g} → {f[-1]:.6g}"
        measured = g[np.isfinite(g)]
        if measured.size:
            text += f", dist(0, ∂f) {measured[0]:.3g} → {measured[-1]:.3g}"
        return text + ">"

    @classmethod
    def from_arrays(
        cls: type[_Self],
        objective: ArrayLike,
        subgradient_distance: ArrayLike | None = None,
        decrease: ArrayLike | None = None,
        *,
        step_norm: ArrayLike | None = None,
        distance_is_bound: bool = False,
        dtype: DTypeLike | None = None,
        lower_bound: float = -math.inf,
    ) -> _Self:
        """Make a trace of any optimiser's run.

        Parameters
        ----------
        objective : array_like
            f_0, …, f_K, shape (K + 1,), finite.
        subgradient_distance : array_like, optional
            dist(0, ∂f) at the same points (the norm of the gradient where f is smooth), shape
            (K + 1,), not negative; NaN where it was not measured.
        decrease : array_like, optional
            f_k − f_{k+1} for k = 0, …, K − 1, shape (K,), if it is known more accurately than as a
            difference of objectives.
        step_norm : array_like, optional
            ‖X_{k+1} − X_k‖ for k = 0, …, K − 1, shape (K,), not negative; NaN where it was not
            measured.
        distance_is_bound : bool
            True if `subgradient_distance` is only an upper bound of dist(0, ∂f).
        dtype : float type, optional
            Floating-point type the objective was computed in; by default that of `objective` if it
            is one, float64 otherwise.
        lower_bound : float
            A number that the objective is nowhere below.

        Returns
        -------
        Trace

        Raises
        ------
        TypeError
            If an argument is not an array of real numbers.
        ValueError
            If an argument has the wrong shape, is not finite or masked, a distance or a step is
            negative, or an objective is below `lower_bound` by more than rounding.
        """
        f = _vector("objective", objective)
        if f.size == 0:
            raise ValueError("objective is empty, at least the start's value is needed")
        _refuse("objective", f, ~np.isfinite(f), "must be finite")
        given = np.asarray(objective).dtype
        trace = cls(
            dtype=(given if given.kind == "f" else np.float64) if dtype is None else dtype,
            distance_is_bound=distance_is_bound,
            accurate_decrease=decrease is not None,
            lower_bound=lower_bound,
        )
        check_lower_bound(trace.lower_bound, f, trace.dtype)
        if subgradient_distance is None:
            g = np.full(f.size, math.nan)
        else:
            name = "subgradient_distance"
            g = _lengths(name, subgradient_distance, f.size, "as many as objective")
        if decrease is None:
            d = f[:-1] - f[1:]
        else:
            d = _vector("decrease", decrease, f.size - 1, "one less than objective")
            _refuse("decrease", d, ~np.isfinite(d), "must be finite")
        columns = (f, g, np.concatenate([[math.nan], d]), np.full(f.size, math.nan))
        trace._scalars = {
            name: _Column(column) for name, column in zip(SCALARS, columns, strict=True)
        }
        if step_norm is not None:
            steps = _lengths("step_norm", step_norm, f.size - 1, "one less than objective")
            trace._families["step_norm"]["X"] = _Column(np.concatenate([[math.nan], steps]))
        return trace

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything the trace holds as named arrays, the inverse of `from_saved`."""
        arrays: dict[str, NDArray[Any]] = {
            "format": np.array(_files.TRACE),
            "version": np.array(_files.VERSION),
            "dtype": np.array(self.dtype.name),
            "distance_is_bound": np.array(self.distance_is_bound),
            "accurate_decrease": np.array(self.accurate_decrease),
            "lower_bound": np.array(self.lower_bound),
            "marks/sweep": np.array([sweep for sweep, _ in self.marks], dtype=np.int64),
            "marks/text": np.array([text for _, text in self.marks], dtype=np.str_),
        }
        arrays |= {name: column.view for name, column in self._scalars.items()}
        for family, columns in self._families.items():
            arrays |= {f"{family}/{name}": column.view for name, column in columns.items()}
        return arrays

    @classmethod
    def from_saved(cls: type[_Self], arrays: Mapping[str, NDArray[Any]]) -> _Self:
        """Rebuild a trace from what `to_arrays` returned.

        Raises
        ------
        ValueError
            If the arrays are not those of a trace.
        """
        _files.check_format(arrays, _files.TRACE)
        missing = sorted({*_DETAILS, *SCALARS} - _LATER - set(arrays))
        if missing:
            raise ValueError(f"a trace without {', '.join(missing)}")
        for name, array in arrays.items():
            family, _, entry = name.partition("/")
            if name not in (*_DETAILS, *SCALARS) and not (family in FAMILIES and entry):
                raise ValueError(f"{name} is no part of one")
            kind, ndim = _DETAILS.get(name, ("f", 1))
            if array.dtype.kind != kind or array.ndim != ndim:
                raise ValueError(f"{name} has dtype {array.dtype} and shape {array.shape}")
        trace = cls(
            dtype=str(arrays["dtype"]),
            distance_is_bound=bool(arrays["distance_is_bound"]),
            accurate_decrease=bool(arrays["accurate_decrease"]),
            lower_bound=float(arrays.get("lower_bound", -math.inf)),
        )
        trace.set_columns(arrays)
        sweeps, texts = arrays["marks/sweep"].tolist(), arrays["marks/text"].tolist()
        trace.marks = [(int(sweep), str(text)) for sweep, text in zip(sweeps, texts, strict=True)]
        return trace

    def save(self, path: str | PathLike[str]) -> None:
        """Write the trace to `path` in NumPy's .npz format, without pickle and atomically.

        Raises
        ------
        OSError
            If the file cannot be written; what was at `path` stays.
        """
        _files.save_arrays(path, self.to_arrays())

    @classmethod
    def load(cls: type[_Self], path: str | PathLike[str]) -> _Self:
        """Read a trace that `save` wrote, or the one in a checkpoint.

        Raises
        ------
        OSError
            If the file cannot be opened.
        ValueError
            If the file is truncated, damaged or neither of them.
        """
        with _files.saved_arrays(path, "a trace") as arrays:
            inside = "format" in arrays and str(arrays["format"]) == _files.CHECKPOINT
            return cls.from_saved(arrays.part("trace/" if inside else ""))

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write the trace to `path` as one JSON object of arrays; what is not finite becomes null.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        content: dict[str, Any] = {
            "format": _files.TRACE,
            "version": _files.VERSION,
            "dtype": self.dtype.name,
            "distance_is_bound": self.distance_is_bound,
            "accurate_decrease": self.accurate_decrease,
            "lower_bound": self.lower_bound if math.isfinite(self.lower_bound) else None,
            "sweeps": len(self),
            "objective": _plain(self.objective),
            "subgradient_distance": _plain(self.subgradient_distance),
            "decrease": _plain(self.decrease),
            "time": _plain(self.time),
        }
        for family in FAMILIES:
            columns: dict[str, Array] = getattr(self, family)
            content[family] = {name: _plain(column) for name, column in columns.items()}
        content["marks"] = [{"sweep": sweep, "text": text} for sweep, text in self.marks]
        with atomic_write(path) as file:
            file.write(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False).encode())

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write the trace to `path` as a CSV table, one row per record; what is NaN stays empty.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        columns = {name: column.view for name, column in self._scalars.items()}
        for family, members in self._families.items():
            columns |= {f"{family}/{name}": column.view for name, column in members.items()}
        marks = self._marks_by_sweep()
        lists = [column.tolist() for column in columns.values()]
        with atomic_write(path) as file:
            writer = csv.writer(_Encoded(file.write))
            writer.writerow(["sweep", *columns, "mark"])
            for k, row in enumerate(zip(*lists, strict=True)):
                cells = ["" if math.isnan(value) else repr(value) for value in row]
                writer.writerow([k, *cells, "; ".join(marks.get(k, []))])


class _Encoded:
    """The text file that `csv.writer` wants, over a function that takes bytes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def write(self, text: str) -> object:
        return self._write(text.encode())


def _float(dtype: Any) -> np.dtype[Any]:
    """Return a floating-point type."""
    try:
        result: np.dtype[Any] = np.dtype(dtype)
        known = result.kind == "f"
    except TypeError:
        known = False
    if not known:
        raise TypeError(f"dtype: expected a floating-point type, got {_checks.describe(dtype)}")
    return result


def _lower_bound(value: Any) -> float:
    """Return a lower bound of f: a number or −inf."""
    bound = _checks.real("lower_bound", value)
    if not bound < math.inf:
        raise ValueError(f"lower_bound: expected a number or -inf, got {bound:g}")
    return bound


def check_lower_bound(value: Any, objective: Array, dtype: np.dtype[Any]) -> float:
    """Return a lower bound that no objective is below by more than its rounding."""
    bound = _lower_bound(value)
    rounding = 64 * float(np.finfo(dtype).eps) * float(np.abs(objective).max())
    _refuse("objective", objective, objective < bound - rounding, f"must be >= {bound:g}")
    return bound


def _plain(values: Array) -> list[float | None]:
    """Return the values as plain numbers that JSON can hold."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _vector(name: str, values: ArrayLike, size: int | None = None, expected: str = "") -> Array:
    """Return `values` as a float64 vector of `size` entries or raise an error that names it."""
    _checks.unmasked(name, values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise TypeError(f"{name} must be an array of real numbers: {error}") from None
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name} must be a vector, got shape {array.shape}")
    if size is not None and array.size != size:
        raise ValueError(f"{name} has {array.size} entries, expected {size} ({expected})")
    return np.array(array, dtype=np.float64)


def _lengths(name: str, values: ArrayLike, size: int, expected: str) -> Array:
    """Return a vector of numbers that are at least 0, or NaN."""
    lengths = _vector(name, values, size, expected)
    _refuse(name, lengths, lengths < 0, "must not be negative")
    _refuse(name, lengths, np.isinf(lengths), "must be finite, or nan where it was not measured")
    return lengths


def _refuse(name: str, values: Array, bad: NDArray[np.bool_], requirement: str) -> None:
    """Raise an error that names the first entry that is `bad`."""
    if bad.any():
        k = int(np.argmax(bad))
        raise ValueError(f"{name} {requirement}, got {name}[{k}] = {values[k]}")
