"""Every CPU level that is installed and runs here computes the same, up to rounding."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from amcore import _isa

RUN = """
import json, sys
import numpy as np, amcore

backend = sys.argv[1]
results = {}
for dtype in ["float64"] if backend == "reference" else ["float64", "float32"]:
    for seed, widths in enumerate([(1, 1), (5, 7, 3), (20, 33, 33, 17, 4), (64, 100, 10)]):
        rng = np.random.default_rng(seed)
        n = [1, 13, 100, 300][seed]
        hidden = [["relu"], ["tanh"], ["sigmoid", "relu", "hard_tanh"], ["relu"]][seed]
        net = amcore.Network(widths, hidden[: len(widths) - 2], skip=True)
        X, Y = rng.standard_normal((n, widths[0])), rng.standard_normal((n, widths[-1]))
        problem = amcore.Problem(net, X.astype(dtype), Y.astype(dtype))
        scheme = amcore.ThreeSplitBCD(gamma=0.7, rho=1.3, alpha=0.5)
        trace = amcore.solve(problem, scheme, max_iter=5, backend=backend).trace
        measures = [trace.objective.tolist(), trace.subgradient_distance.tolist()]
        results[f"{dtype} {widths}"] = measures
print(json.dumps([amcore._core.__isa__, results]))
"""

LEVELS = [level for level in _isa.LEVELS if level in _isa.built_levels()]


def run(backend, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, backend],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def reference():
    return run("reference")[1]


@pytest.mark.parametrize("level", LEVELS)
def test_level_agrees_with_the_reference(level, reference):
    if level not in _isa.supported_levels():
        pytest.skip(f"this machine does not run {level}")
    used, results = run("native", AMCORE_ISA=level)
    assert used == level and len(results) == 2 * len(reference)
    for what, (f, g) in results.items():
        dtype, _, widths = what.partition(" ")
        exact_f, exact_g = reference[f"float64 {widths}"]
        rtol, coarse = (1e-4, 1e-2) if dtype == "float32" else (1e-10, 1e-7)
        np.testing.assert_allclose(f, exact_f, rtol=rtol, err_msg=what)
        np.testing.assert_allclose(g, exact_g, rtol=coarse, atol=0.1 * coarse, err_msg=what)
