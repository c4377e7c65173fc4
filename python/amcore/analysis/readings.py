"""What rounding and noise hide: how small a change of f still tells something."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amcore.trace import Trace

__all__ = [
    "before_divergence",
    "check_consistent",
    "distance_floor",
    "resolution",
    "rounding_floor",
]

Array = NDArray[np.float64]

# Roundings that may add up in one number.
_FEW = 8.0
# A share of the run at its end that noise is looked for in.
_TAILS = (0.5, 0.25, 0.125)


def resolution(trace: Trace) -> float:
    """Return ε of the objective's values: that of the trace's type, or of what they came from.

    A float64 array of numbers that were float32 (or shorter) once has significands that end in
    zeros. Where the trace has accurate decreases these were computed in the trace's own type.
    """
    eps = float(np.finfo(trace.dtype).eps)
    f = trace.objective
    if trace.accurate_decrease or f.size < 16:
        return eps
    # 53 less the zeros at the end; a number with few bits by chance tells nothing
    integer = (np.frexp(np.unique(f))[0] * 2.0**53).astype(np.int64)
    used = 53 - np.log2(np.maximum(integer & -integer, 1).astype(float))
    bits = float(used.max())
    if not 8 <= bits <= 24 or used.mean() < bits - 4:
        return eps
    return max(eps, float(2.0 ** (1 - bits)))


def noise(trace: Trace) -> float:
    """Return the standard deviation of noise in the readings of f; 0 where none shows.

    Independent errors of the readings leave a mark that no descent has: neighbouring differences
    have correlation −½, those further apart none. It shows where f has all but stopped to fall.
    """
    if trace.accurate_decrease:
        return 0.0
    d = trace.decrease
    level = 0.0
    for share in _TAILS:
        tail = d[int((1 - share) * d.size) :]
        if tail.size < 24:
            break
        tail = tail - np.median(tail)
        scale = float(np.max(np.abs(tail)))
        if scale == 0:
            break
        tail = tail / scale
        variance = float(np.mean(tail**2))
        near, far = (float(np.mean(tail[lag:] * tail[:-lag])) / variance for lag in (1, 2))
        error = 3 / np.sqrt(tail.size)
        if abs(near + 0.5) < min(error, 0.25) and abs(far) < min(error, 0.45):
            level = max(level, scale * float(np.sqrt(variance / 2)))
    return level


def rounding_floor(trace: Trace) -> Array:
    """Return how much rounding and noise can change the decrease of each sweep, shape (K,).

    A difference of objectives is off by a few ε|f|. A decrease that is accurate relative to the
    steps is off by what rounding the state does to f at a point where f is stationary in each
    block, which is of second order: a few ε²|f|. Noise of readings is estimated from them.
    """
    f = np.abs(trace.objective)
    scale = np.maximum(f[:-1], f[1:])
    few = _FEW * resolution(trace)
    accurate = trace.accurate_decrease & np.isfinite(trace.subgradient_distance[1:])
    floor: Array = np.where(accurate, few**2 * scale, few * scale)
    return np.maximum(floor, 6 * noise(trace))


def distance_floor(trace: Trace) -> float:
    """Return the distance that rounding of its terms, each as large as the largest, can leave."""
    g = trace.subgradient_distance
    return _FEW * resolution(trace) * float(np.max(g, initial=0.0, where=np.isfinite(g)))


def before_divergence(trace: Trace) -> tuple[Trace, str | None]:
    """Return the run up to where its f is no finite number, and where that is, if it is so.

    Raises
    ------
    TypeError
        If it is no trace.
    """
    if not isinstance(trace, Trace):
        raise TypeError(f"trace must be an amcore.Trace, got {type(trace).__name__}")
    wrong = np.flatnonzero(~np.isfinite(trace.objective))
    if wrong.size == 0 or wrong[0] == 0:
        return trace, None
    end, arrays = int(wrong[0]), trace.to_arrays()
    marked = arrays["marks/sweep"] < end
    for name, array in arrays.items():
        if array.ndim:
            arrays[name] = array[marked] if name.startswith("marks/") else array[:end]
    return Trace.from_saved(arrays), f"f is {trace.objective[end]} at sweep {end}"


def check_consistent(trace: Trace) -> None:
    """Refuse a trace that no run can have left.

    Raises
    ------
    ValueError
        If it is empty, an objective is not finite, a distance is infinite or negative, or a
        decrease is not the difference of the objectives to their rounding.
    """
    f, g, d = trace.objective, trace.subgradient_distance, trace.decrease
    if f.size == 0:
        raise ValueError("trace is empty")
    for name, values, wrong, expected in (
        ("objective", f, ~np.isfinite(f), "expected finite numbers"),
        ("subgradient_distance", g, np.isinf(g) | (g < 0), "expected finite numbers ≥ 0"),
    ):
        if wrong.any():
            k = int(np.argmax(wrong))
            raise ValueError(f"{name}: {expected}, got {values[k]} at sweep {k}")
    fall = f[:-1] - f[1:]
    # each objective is a sum over the samples, rounded as often; a sum of squares that has come
    # down to almost 0 is of differences of numbers that have not
    root = np.sqrt(np.abs(f))
    size = root.max() * np.maximum(root[:-1], root[1:])
    allowed = 1e3 * resolution(trace) * size + 0.01 * np.abs(fall)
    wrong = np.abs(d - fall) > allowed
    if wrong.any():
        k = int(np.argmax(wrong))
        raise ValueError(
            f"decrease: expected f(k) − f(k+1) to rounding, got {d[k]:.6g} beside"
            f" {fall[k]:.6g} at sweep {k}"
        )
