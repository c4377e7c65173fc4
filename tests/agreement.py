"""What it means that two runs agree: the compiled core and its definition in NumPy."""

import numpy as np
import pytest
from hypothesis import reject

import amcore


def preactivations(problem, state):
    """U_i where the scheme has it, else V_{i−1} W_iᵀ + b_i."""
    depth = len(state.weights)
    if "U1" in state:
        return [state[f"U{i}"].copy() for i in range(1, depth + 1)]
    inputs = [problem.X, *(state[f"V{i}"] for i in range(1, depth))]
    pairs = zip(inputs, state.weights, strict=True)
    return [V @ W.T + (0 if b is None else b) for V, (W, b) in pairs]


def entries_at_kinks(problem, *states):
    """How many arguments of activations lie at a kink but for rounding, which decides the side.

    A weight that an ℓ1 norm sets to 0 puts them there exactly; V ΔWᵀ added to V Wᵀ does not.
    """
    if "V1" not in states[0]:
        return 0
    count = 0
    for state in states:
        pairs = zip(problem.network.activations, preactivations(problem, state), strict=True)
        for activation, U in pairs:
            gaps = np.subtract.outer(U, activation.reference.kinks)
            count += np.count_nonzero(abs(gaps) <= 1e-12 * (1 + np.max(abs(U), initial=0)))
    return count


def assert_close(native, reference, rtol, what, floor=0.0):
    """Compare numbers by name; `floor` is what rounding leaves of a number that should be 0."""
    assert set(native) == set(reference), what
    for name, value in reference.items():
        error = abs(native[name] - value)
        assert error <= rtol * abs(value) + floor, (
            f"{what} {name}: {native[name]!r} is not {value!r}"
        )


def assert_same_state(native, reference, rtol, what):
    assert list(native) == list(reference)
    for name, expected in reference.items():
        block = [expected, reference["W" + name[1:]]] if name[0] == "b" else [expected]
        scale = sum(map(np.linalg.norm, block)) + np.finfo(expected.dtype).tiny
        error = np.linalg.norm(np.float64(native[name]) - expected) / scale
        assert error <= rtol, f"{what}: {name} differs by {error:.2e}"


def assert_same_record(native, reference, what, at_kinks=0):
    """`at_kinks` entries may be counted on either side of one."""
    f = sum(abs(part) for part in reference.parts.values())  # multipliers may make negative ones
    assert abs(native.objective - reference.objective) <= 1e-9 * f, what
    # Rounding leaves eps·√f of a norm that should be 0, eps²·f of a square, eps·f of a difference.
    root = 1e-12 * np.sqrt(f)
    assert_close(native.parts, reference.parts, 1e-9, f"{what} parts", 1e-13 * f)
    scale = 1e-11 * max(reference.distance.values(), default=0) + root
    assert_close(native.distance, reference.distance, 1e-9, f"{what} distance", scale)
    assert_close(native.step_norm, reference.step_norm, 1e-9, f"{what} step", root)
    ours, theirs = dict(native.monitors), dict(reference.monitors)
    changes = [record.pop("pattern_changes", 0) for record in (ours, theirs)]
    assert abs(changes[0] - changes[1]) <= at_kinks, what
    assert_close(ours, theirs, 1e-9, f"{what} monitors", root + 1e-13 * f)
    assert native.subgradient_distance == pytest.approx(
        reference.subgradient_distance, rel=1e-9, abs=scale
    )
    if native.sweep > 0:
        assert native.decrease == pytest.approx(reference.decrease, rel=1e-9, abs=1e-13 * f)


def assert_backends_agree(solve, start, check):
    """check(native, reference) of solve(backend, start); return the reference's run.

    At a kink, or where two minima are equally low, rounding decides, and runs may part. A failure
    counts only where runs of the reference from starts a rounding away pass as well.
    """
    native, reference = (solve(backend, start) for backend in ("native", "reference"))
    try:
        check(native, reference)
    except AssertionError:
        rng = np.random.default_rng(0)
        for _ in range(10):
            near = {  # nearer to 0, where the sets of regularisers are
                name: np.asarray(
                    array * (1 - np.finfo(array.dtype).eps * rng.chisquare(3, array.shape))
                )
                for name, array in start.items()
            }
            try:
                check(solve("reference", amcore.State(near)), reference)
            except AssertionError:
                reject()
        raise
    return reference


def assert_same_columns(ours, theirs):
    """Of two traces: the same bits under the same names."""
    assert list(ours) == list(theirs)
    for name, column in theirs.items():
        np.testing.assert_array_equal(ours[name], column, err_msg=name)


def assert_same_bits(run, other):
    """Of two runs: all arrays of the state, and every number of the trace that is no time."""
    assert list(run.state) == list(other.state)
    for name, array in other.state.items():
        assert run.state[name].tobytes() == array.tobytes(), name
    assert run.trace.marks == other.trace.marks
    for name in ("objective", "subgradient_distance", "decrease"):
        np.testing.assert_array_equal(
            getattr(run.trace, name), getattr(other.trace, name), err_msg=name
        )
    for family in ("parts", "distance", "step_norm", "monitors"):
        assert_same_columns(getattr(run.trace, family), getattr(other.trace, family))
