"""A scheme is its four files: a tree with those of tests/demonstration has one more."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from amcore import _core

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
# What a virtual environment brings comes first.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
MISSING = [tool for tool in ("c++", "cmake", "ninja") if not shutil.which(tool, path=PATH)]
MISSING += [name for name in ("cmeel", "pybind11") if not importlib.util.find_spec(name)]
INVARIANTS = ("native_is_reference", "descent", "measuring", "threads", "continuing")


def run(*command, **environment):
    environment = os.environ | {"PATH": PATH} | environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-10_000:]


@pytest.fixture
def tree(tmp_path):
    """What a build needs, with the four files and without the other schemes' updates."""
    for folder in ("cpp", "python"):
        build_products = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=build_products)
    shutil.copy(ROOT / "CMakeLists.txt", tmp_path)
    for stem in _core.schemes():
        (tmp_path / f"cpp/include/amcore/scheme/{stem}.hpp").unlink()
    shutil.copytree(TESTS / "demonstration", tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.thorough
@pytest.mark.skipif(MISSING, reason=f"needs {', '.join(MISSING)}")
def test_a_scheme_is_its_four_files(tree):
    options = {
        "CMAKE_BUILD_TYPE": "Debug",
        "CMAKE_CXX_FLAGS": "-g0",
        "AMCORE_ISA_LEVELS": "baseline",
        "Python_EXECUTABLE": sys.executable,
    }
    defined = [f"-D{name}={value}" for name, value in options.items()]
    run("cmake", "-S", tree, "-B", tree / "build", "-G", "Ninja", *defined)
    run("cmake", "--build", tree / "build")
    for module in (tree / "build").glob("*.so"):
        shutil.copy(module, tree / "python/amcore")
    files = [TESTS / "system/demonstration.py"]
    files += [TESTS / f"schemes/test_{name}.py" for name in INVARIANTS]
    # Without site's .pth files: an editable installation would find the amcore that it belongs to.
    python = [sys.executable, "-S", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    path = os.pathsep.join([str(tree / "python"), *sys.path])
    run(*python, *files, PYTHONPATH=path, AMCORE_ISA="baseline", AMCORE_THOROUGH="")
