"""Modules of amcore import one another one way."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import amcore

ROOT = Path(amcore.__file__).parent


def modules():
    """Yield the name and the path of every module."""
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imported(path):
    """Return the modules of amcore that a file imports anywhere, also for type checkers only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= {node.module} - {"amcore"}  # whose other names are modules too: _core, _cpu
    return found & set(MODULES)


def test_no_circle_of_imports():
    graph = {name: imported(path) for name, path in MODULES.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_only_operators_import_their_definition():
    """An operator has its facts from there; a scheme's is found by name when a run asks for it."""
    operators = {"amcore._operator", "amcore.activations", "amcore.losses", "amcore.regularizers"}
    for name, path in MODULES.items():
        definitions = {m for m in imported(path) if m.startswith("amcore.reference.")}
        if not name.startswith("amcore.reference"):
            assert definitions <= ({"amcore.reference.operator"} if name in operators else set())
