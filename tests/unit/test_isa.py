"""The choice of the compiled core, by machine and by AMCORE_ISA."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import amcore
from amcore import _isa


def run_python(code, **environment):
    """Run `code` in a fresh interpreter, which must end within a minute."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_core_is_one_module_under_both_names():
    core = importlib.import_module("amcore._core")
    assert core is amcore._core is _isa.load()
    assert core.__isa__ in _isa.LEVELS


@pytest.mark.parametrize("level", _isa.LEVELS)
def test_environment_chooses_the_level(level):
    code = "import amcore._core; print(amcore._core.__isa__)"
    result = run_python(code, AMCORE_ISA=level)
    if level in _isa.built_levels() and level in _isa.supported_levels():
        assert result.stdout.strip() == level
    else:
        assert result.stderr.splitlines()[-1].startswith(f"ImportError: AMCORE_ISA={level!r}")


def test_empty_environment_variable_is_no_request():
    code = "import amcore._core; print(amcore._core.__isa__)"
    assert run_python(code, AMCORE_ISA="").stdout.strip() == _isa.choose_level()


@pytest.mark.parametrize(
    ("requested", "built", "supported", "expected"),
    [
        (None, ("baseline", "v3", "v4"), ("baseline", "v3", "v4"), "v4"),
        (None, ("baseline", "v3", "v4"), ("baseline", "v3"), "v3"),
        (None, ("baseline", "v4"), ("baseline", "v3"), "baseline"),
        ("baseline", ("baseline", "v3"), ("baseline", "v3"), "baseline"),
    ],
)
def test_choice(monkeypatch, requested, built, supported, expected):
    monkeypatch.setattr(_isa, "built_levels", lambda: built)
    monkeypatch.setattr(_isa, "supported_levels", lambda: supported)
    assert _isa.choose_level(requested) == expected


@pytest.mark.parametrize(
    ("requested", "built", "supported", "message"),
    [
        ("v5", ("baseline",), ("baseline",), "AMCORE_ISA='v5' is no CPU level"),
        ("V3", ("baseline", "v3"), ("baseline", "v3"), "AMCORE_ISA='V3' is no CPU level"),
        ("v3", ("baseline",), ("baseline", "v3"), "AMCORE_ISA='v3' is not built"),
        ("v4", ("v3", "v4"), ("baseline", "v3"), "AMCORE_ISA='v4' does not run on this machine"),
        (None, ("v4",), ("baseline", "v3"), "amcore was built for v4 only"),
    ],
)
def test_refusal_is_one_clear_line(monkeypatch, requested, built, supported, message):
    monkeypatch.setattr(_isa, "built_levels", lambda: built)
    monkeypatch.setattr(_isa, "supported_levels", lambda: supported)
    with pytest.raises(ImportError, match=f"^{re.escape(message)}") as refusal:
        _isa.choose_level(requested)
    assert "\n" not in str(refusal.value)


def test_show_config_prints_the_configuration(capsys):
    amcore.show_config()
    printed = capsys.readouterr().out
    for name, value in _isa.config().items():
        assert re.search(rf"^{re.escape(name)} +{re.escape(value)}$", printed, re.MULTILINE)


def test_include_directory_holds_both_libraries_and_the_licence():
    include = Path(amcore.get_include())
    assert (include / "amcore" / "types.hpp").is_file()
    assert (include / "Eigen" / "Core").is_file()
    assert "Mozilla Public License" in (include / "Eigen" / "LICENSE.eigen.txt").read_text()
    for family, stem in {"activation": "relu", "loss": "squared", "regularizer": "ridge"}.items():
        registry = (include / "amcore" / family / "registry.hpp").read_text()
        assert f"X({stem}, {stem.capitalize()}{family.capitalize()})" in registry


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_can_use_threads():
    """With libgomp a child that inherits a thread team waits for ever in its first loop."""
    code = """
import os, signal
import numpy as np
import amcore

def work():
    run = amcore.solve(problem, amcore.ThreeSplitBCD(), max_iter=1, num_threads=2)
    return run.trace.objective[-1]

rng = np.random.default_rng(0)
net = amcore.Network([20, 30, 5])
problem = amcore.Problem(net, rng.standard_normal((5000, 20)), rng.standard_normal((5000, 5)))
before = work()
child = os.fork()
if child == 0:
    signal.alarm(30)
    os._exit(0 if work() == before else 1)
assert os.waitpid(child, 0)[1] == 0
assert work() == before
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr
