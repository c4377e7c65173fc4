"""The state of a run: named arrays."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from amcore import _checks
from amcore._checks import Array
from amcore.network import Weights
from amcore.problem import Problem
from amcore.trace import Trace

__all__ = ["State"]


class State(Mapping[str, Array]):
    """The variables of a run by name: ``W1``, ``b1``, ``U1``, ``V1``, ``W2``, ….

    W_i has shape (d_i, d_{i−1}), b_i (d_i,), U_i and V_i (n_samples, d_i). The mapping is
    read-only; the arrays are live: a sweep changes them in place.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        The arrays, kept as they are.
    problem : Problem, optional
        The problem whose variables they are.

    Attributes
    ----------
    problem : Problem or None
        As given; a run sets it.
    trace : Trace or None
        Of the run whose state it is, which sets it.

    Raises
    ------
    TypeError, ValueError
        If it is no mapping of names to arrays, or an entry is masked.

    Examples
    --------
    >>> import numpy as np
    >>> State({"W1": np.zeros((3, 2)), "U1": np.zeros((5, 3)), "V1": np.zeros((5, 3))})
    <State: W1 (3, 2), U1 (5, 3), V1 (5, 3), float64>
    """

    def __init__(self, arrays: Mapping[str, Array], problem: Problem | None = None) -> None:
        if not isinstance(arrays, Mapping):
            raise TypeError(f"arrays: expected a mapping, got {_checks.describe(arrays)}")
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name}: expected a NumPy array, got {_checks.describe(array)}")
            _checks.raw(name, array)
        self._arrays = dict(arrays)
        self.problem = problem
        self.trace: Trace | None = None

    def __getitem__(self, name: str) -> Array:
        try:
            return self._arrays[name]
        except KeyError:
            raise KeyError(f"no array {name!r}: there is {', '.join(self._arrays)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in self.items())
        dtypes = ", ".join(sorted({str(array.dtype) for array in self.values()}))
        return f"<State: {shapes}, {dtypes}>"

    @property
    def depth(self) -> int:
        """Number N of layers."""
        return sum(re.fullmatch(r"W\d+", name) is not None for name in self)

    @property
    def weights(self) -> Weights:
        """The weights ``[(W_1, b_1), …]``, live; b_i is None without bias."""
        return [(self[f"W{i}"], self._arrays.get(f"b{i}")) for i in range(1, self.depth + 1)]

    def copy(self) -> State:
        """Return the state with copies of its arrays."""
        copies = {name: np.array(array, order="C") for name, array in self.items()}
        copy = State(copies, self.problem)
        copy.trace = self.trace
        return copy

    def greatest_norms(self) -> dict[str, float]:
        """Bound the norms that the arrays have had on the way, by names.

        Returns
        -------
        dict
            ‖X_K‖ + Σ ‖ΔX_k‖ ≥ ‖X_k‖ over the sweeps of the run, NaN if some were not measured;
            ‖X_K‖ without a run.
        """
        norms = {name: float(np.linalg.norm(np.float64(x))) for name, x in self.items()}
        if self.trace is None:
            return norms
        steps = {name: float(np.sum(step)) for name, step in self.trace.step_norm.items()}
        steps |= {f"b{name[1:]}": step for name, step in steps.items() if name[0] == "W"}
        return {name: norms[name] + steps.get(name, 0.0) for name in norms}
