"""A process ends as usual while daemon threads are in the core, which get the lock no more."""

import subprocess
import sys

import pytest

CODE = """
import threading, time
import numpy as np, amcore
X, y = np.random.default_rng(0).standard_normal((2000, 40)), np.arange(2000) % 5
problem = amcore.Problem(amcore.Network([40, 60, 5]), X, y)
scheme = amcore.ThreeSplitBCD()
def updates():
    while True:
        amcore.blocks.ridge_update(X, X, np.eye(40), alpha=1.0)
def run():
    {call}
for _ in range(3):
    threading.Thread(target=run, daemon=True).start()
time.sleep(0.3)
print("done")
"""
CALLS = {
    "solve": "amcore.solve(problem, scheme, max_iter=10**6)",
    "solve_many": "amcore.solve_many(problem, scheme, seed=range(2), max_iter=10**6)",
    "blocks": "updates()",
}


@pytest.mark.parametrize("call", CALLS)
def test_the_process_ends_as_usual(call):
    code = CODE.format(call=CALLS[call])
    for _ in range(4):  # where in its work a thread is met is chance
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
