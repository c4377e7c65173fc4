"""Ctrl-C and SIGTERM during a sweep of the compiled core."""

import signal
import subprocess
import sys
import time

import pytest

from amcore import checkpoint

SETUP = """
import signal, sys
import numpy as np, amcore

rng = np.random.default_rng(0)
problem = amcore.Problem(
    amcore.Network([200, 300, 300, 10]),
    rng.standard_normal((4000, 200)),
    rng.integers(0, 10, 4000),
)
scheme = amcore.ThreeSplitBCD(alpha=2.0)

def say(step):
    print("sweep", step.sweep, flush=True)
"""
SOLVE = """
before = signal.getsignal(signal.SIGINT)
run = amcore.solve(problem, scheme, max_iter=100000, callbacks=[say])
assert run.stop_reason == "interrupted", run.stop_reason
assert signal.getsignal(signal.SIGINT) is before
sweeps = len(run.trace)
assert 2 <= sweeps < 100000 and len(run.trace.records) == sweeps + 1
assert (np.diff(run.trace.objective) < 0).all()
assert np.isfinite(run.trace.subgradient_distance).all()
assert run.trace.decrease.shape == (sweeps,)
# The state is that after the last whole sweep: to the bit the one of a run of that length.
again = amcore.solve(problem, scheme, max_iter=sweeps)
assert all(np.array_equal(again.state[name], run.state[name]) for name in run.state)
assert np.array_equal(again.trace.objective, run.trace.objective)
print("intact", flush=True)
"""
ITERATE = """
steps = amcore.iterate(problem, scheme, max_iter=100000, callbacks=[say])
try:
    for step in steps:
        pass
except KeyboardInterrupt:
    pass
else:
    sys.exit("not interrupted")
sweeps = len(step.trace)
assert sweeps >= 2
again = amcore.solve(problem, scheme, max_iter=sweeps)
assert all(np.array_equal(again.state[name], step.state[name]) for name in step.state)
assert np.array_equal(again.trace.objective, step.trace.objective)
print("intact", flush=True)
"""


TERMINATED = """
class Last:
    def end(self, solution):
        print("end", solution.stop_reason, len(solution.trace), flush=True)

keep = amcore.callbacks.Checkpoint(sys.argv[1], every=10**6)
amcore.solve(problem, scheme, max_iter=100000, callbacks=[say, keep, Last()])
print("not terminated", flush=True)
"""


def started(script, *arguments):
    """Start a run and return it after its second sweep."""
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SETUP + script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while (line := child.stdout.readline()) != "sweep 2\n":
        assert line, child.stderr.read()
    return child


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("loop", [SOLVE, ITERATE], ids=["solve", "iterate"])
@pytest.mark.parametrize("delay", [0.0, 0.013])
def test_interrupt_leaves_state_and_trace_intact(loop, delay):
    child = started(loop)
    try:
        time.sleep(delay)  # by then in the middle of a later sweep
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 0, errors
    assert output.splitlines()[-1] == "intact"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("handled", [False, True])
def test_sigterm_ends_the_run_before_the_process(tmp_path, handled):
    """Unless something else handles it: here an exception that ends the process with 7."""
    own = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n" if handled else ""
    child = started(own + TERMINATED, str(tmp_path / "run.npz"))
    try:
        child.send_signal(signal.SIGTERM)
        output, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == (7 if handled else -signal.SIGTERM), errors
    sweeps = len(checkpoint.load(tmp_path / "run.npz")[1])
    *_, last = output.splitlines()
    assert sweeps >= 2 and last.startswith("end ") and last.endswith(f" {sweeps}")
