"""What it means that two runs agree: the compiled core and its definition in NumPy."""

import numpy as np
import pytest
from hypothesis import reject

import amcore


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
        scale = np.linalg.norm(expected) + np.finfo(expected.dtype).tiny
        error = np.linalg.norm(np.float64(native[name]) - expected) / scale
        assert error <= rtol, f"{what}: {name} differs by {error:.2e}"


def assert_same_record(native, reference, what):
    f = reference.objective
    assert abs(native.objective - f) <= 1e-9 * f, what
    # Rounding leaves eps·√f of a norm that should be 0, eps²·f of a square, eps·f of a difference.
    root = 1e-12 * np.sqrt(f)
    assert_close(native.parts, reference.parts, 1e-9, f"{what} parts", 1e-13 * f)
    scale = 1e-11 * max(reference.distance.values(), default=0) + root
    assert_close(native.distance, reference.distance, 1e-9, f"{what} distance", scale)
    assert_close(native.step_norm, reference.step_norm, 1e-9, f"{what} step", root)
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
            near = {
                name: array * (1 + 4 * np.finfo(array.dtype).eps * rng.standard_normal(array.shape))
                for name, array in start.items()
            }
            try:
                check(solve("reference", amcore.State(near)), reference)
            except AssertionError:
                reject()
        raise
    return reference
