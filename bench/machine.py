"""The machine that a benchmark ran on, and what it can do at most."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("peak.cpp")


def describe() -> dict[str, Any]:
    """CPU, caches, memory, system and load, as far as this system tells them."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "caches": _caches(),
        "memory_bytes": memory("MemTotal"),
        "system": platform.platform(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions(*packages: str) -> dict[str, str | None]:
    """Versions of Python and of packages, None where one is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def memory(field: str) -> int | None:
    """A field of /proc/meminfo in bytes."""
    return _proc_bytes("/proc/meminfo", field)


def resident_memory(field: str) -> int | None:
    """VmRSS (now) or VmHWM (the most so far) of this process, in bytes.

    Unlike getrusage's maximum, VmHWM does not inherit the parent's.
    """
    own = _proc_bytes("/proc/self/status", field)
    if own is None and field == "VmHWM":
        import resource

        unit = 1 if platform.system() == "Darwin" else 1024
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return own


class Peak:
    """What the machine can do at most, from `peak.cpp`, compiled on first use.

    All figures are None, and `error` says why, where it cannot be compiled or run.
    """

    def __init__(self) -> None:
        self.error: str | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="amcore-peak-")
        self._program: Path | None = None
        self._compile()

    def flops(self, dtype: str, threads: int, seconds: float = 0.3) -> float | None:
        """GFLOP/s of fused multiply-adds in registers."""
        scalar = {"float32": "float", "float64": "double"}[dtype]
        return self._run("fma", scalar, str(threads), str(seconds))

    def bandwidth(self, threads: int, seconds: float = 1.0) -> float | None:
        """GB/s of the triad a ← b + s·c, three arrays counted."""
        return self._run("stream", str(threads), str(seconds))

    def _compile(self) -> None:
        compiler = os.environ.get("CXX") or next(
            (name for name in ("c++", "g++", "clang++") if shutil.which(name)), None
        )
        if compiler is None:
            self.error = "no C++ compiler"
            return
        program = Path(self._folder.name) / "peak"
        native = "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
        command = [compiler, "-std=c++17", "-O3", native, "-ffp-contract=fast", "-pthread"]
        done = subprocess.run(
            [*command, str(SOURCE), "-o", str(program)], capture_output=True, text=True
        )
        if done.returncode == 0:
            self._program = program
        else:
            self.error = f"{compiler} failed: {done.stderr.strip()[-500:]}"

    def _run(self, *arguments: str) -> float | None:
        if self._program is None:
            return None
        done = subprocess.run([self._program, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            self.error = f"peak ended with status {done.returncode}"
            return None
        return float(done.stdout)


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    fields = {}
    if info.exists():
        for line in info.read_text().split("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            fields[key.strip()] = value.strip()
    name = fields.get("model name", platform.processor() or platform.machine())
    if "cpu family" in fields:
        name += f" (family {fields['cpu family']}, model {fields.get('model')})"
    return name


def _caches() -> dict[str, str]:
    """Size and sharing of the caches of the first core."""
    caches = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size, shared = (
                (folder / name).read_text().strip()
                for name in ("level", "type", "size", "shared_cpu_list")
            )
        except OSError:
            continue
        caches[f"L{level} {kind.lower()}"] = f"{size}, cores {shared}"
    return caches


def _proc_bytes(path: str, field: str) -> int | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None
