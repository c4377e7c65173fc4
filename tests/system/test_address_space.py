"""Under a limit of the address space: fewer threads or MemoryError; the process goes on."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LIMITED = """
import resource, sys
import numpy as np, amcore

def limit(extra):
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + extra,) * 2)

rng = np.random.default_rng(0)
extra = int(float(sys.argv[1]) * 2**20)
"""
FEW_THREADS = """
X, y = rng.standard_normal((3000, 40)), np.arange(3000) % 5
problem = amcore.Problem(amcore.Network([40, 50, 5]), X, y)
limit(extra)
try:
    run = amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=2, num_threads=8)
    print(run.trace.objective.tolist())
except MemoryError:
    print("MemoryError")
"""
TOO_LARGE = """
wide, small = amcore.Network([20_000, 3]), amcore.Network([20, 3])
X, Y = rng.standard_normal((5, 20_000)), rng.standard_normal((5, 3))
W, b = rng.standard_normal((3, 20_000)), np.zeros(3)
before = W.copy()
one, two = np.full((2, 1_000_000), 1e-6), np.zeros((2, 1_000_000))
limit(extra)
for refused in (
    lambda: amcore.solve(amcore.Problem(wide, X, Y), amcore.ThreeSplitBCD(), init=[(W, b)]),
    lambda: amcore.solve(amcore.Problem(wide, X, Y), amcore.MDLAM(), init=[(W, b)]),
    lambda: amcore.solve_many(amcore.Problem(wide, X, Y), amcore.ThreeSplitBCD(), seed=[0, 1]),
    lambda: amcore.blocks.ridge_update(Y, X, W, b, alpha=1.0, num_threads=2),
    lambda: amcore.blocks.output_update("cross_entropy", one, two, two, num_threads=2),
):
    try:
        refused()
    except MemoryError:
        print("MemoryError")
assert np.array_equal(W, before)
run = amcore.solve(amcore.Problem(small, X[:, :20].copy(), Y), amcore.ThreeSplitBCD(), max_iter=3)
print(len(run.trace))
"""


def output(code, extra):
    result = subprocess.run(
        [sys.executable, "-c", LIMITED + code, str(extra)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.split("\n")[:-1]


def test_threads_whose_stacks_do_not_fit_are_done_without():
    """Their number changes no bit."""
    (enough,) = output(FEW_THREADS, 4096)
    seen = {output(FEW_THREADS, extra)[0] for extra in (4, 8, 12, 20, 30, 50)}
    assert seen <= {enough, "MemoryError"} and enough in seen


def test_what_does_not_fit_raises_memory_error():
    assert output(TOO_LARGE, 200) == ["MemoryError"] * 5 + ["3"]
