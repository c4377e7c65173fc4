"""The choice of the compiled core for this machine's CPU, and what was chosen.

On x86-64 the same sources are compiled once per CPU level; one of them is imported, as
``amcore._core``.
"""

import importlib
import os
import platform
import sys
from importlib.machinery import PathFinder
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np

from amcore import _cpu

LEVELS = ("baseline", "v3", "v4")  # every level includes those before it


def built_levels() -> tuple[str, ...]:
    """CPU levels for which this installation has a compiled core."""
    directory = [str(Path(_cpu.__file__).parent)]
    return tuple(x for x in LEVELS if PathFinder.find_spec(f"_core_{x}", directory))


def supported_levels() -> tuple[str, ...]:
    """CPU levels that this machine can execute."""
    return LEVELS[: LEVELS.index(_cpu.level()) + 1]


def choose_level(requested: str | None = None) -> str:
    """Return the level to import: the one requested, else the best one built and supported.

    Raises
    ------
    ImportError
        The level is unknown, not built, or beyond this machine; or no built level can run.
    """
    built, supported = built_levels(), supported_levels()
    if not requested:
        usable = [level for level in built if level in supported]
        if not usable:
            raise ImportError(
                f"amcore was built for {_words(built)} only and this machine supports "
                f"{_words(supported)}: rebuild it with AMCORE_ISA_LEVELS=baseline"
            )
        return usable[-1]
    if requested not in LEVELS:
        raise ImportError(f"AMCORE_ISA={requested!r} is no CPU level: use one of {_words(LEVELS)}")
    if requested not in built:
        raise ImportError(f"AMCORE_ISA={requested!r} is not built: there is {_words(built)}")
    if requested not in supported:
        raise ImportError(
            f"AMCORE_ISA={requested!r} does not run on this machine, which supports "
            f"{_words(supported)}"
        )
    return requested


def load() -> ModuleType:
    """Import the compiled core as ``amcore._core``, once, and return it.

    The environment variable ``AMCORE_ISA`` names the level; without it the best one is taken.

    Raises
    ------
    ImportError
        As `choose_level` does.
    """
    core = sys.modules.get("amcore._core")
    if core is None:
        core = importlib.import_module(f"amcore._core_{choose_level(os.environ.get('AMCORE_ISA'))}")
        sys.modules["amcore._core"] = core
        vars(sys.modules["amcore"])["_core"] = core
        # A forked child inherits the idea of a thread team but not the threads and would wait for
        # them for ever, so the team is dissolved first.
        os.register_at_fork(before=core.pause_threads)
    return core


def config() -> dict[str, str]:
    """Return what `show_config` prints, as a dictionary of strings."""
    core, build = load(), _cpu.build_info()
    return {
        "amcore": version("amcore"),
        "CPU level": core.__isa__,
        "levels built": _words(built_levels()),
        "levels supported": _words(supported_levels()),
        "threads": str(core.max_threads()),
        "OpenMP": build["openmp"] or "none",
        "compiler": build["compiler"],
        "flags": build["flags"],
        "Eigen": build["eigen"],
        "NumPy": np.__version__,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
    }


def show_config() -> None:
    """Print versions, the CPU level in use, the levels there are, threads and compiler."""
    entries = config()
    width = max(map(len, entries))
    for name, value in entries.items():
        print(f"{name:{width}}  {value}")


def get_include() -> str:
    """Return the directory of amcore's C++ headers and of the Eigen they use.

    Returns
    -------
    str
        To be passed to a compiler with ``-I``; holds ``amcore/`` and ``Eigen/``.
    """
    return str(Path(_cpu.__file__).parent / "include")


def _words(levels: tuple[str, ...]) -> str:
    return ", ".join(levels) or "none"
