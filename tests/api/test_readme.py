"""The README's example prints what the README says, and its commands name what exists."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def blocks(language):
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def numbers(text):
    return [float(x) for x in re.findall(r"\d+\.?\d*(?:e[-+]\d+)?", text)]


def test_example_prints_its_output():
    pytest.importorskip("sklearn")
    (source,), (expected,) = blocks("python"), blocks("text")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "README.md", "exec"), {})
    # The words are the same; the numbers agree to what the last bits of another CPU may change.
    words = re.compile(r"\d+\.?\d*(?:e[-+]\d+)?|\s+")
    assert words.sub("", printed.getvalue()) == words.sub("", expected)
    assert numbers(printed.getvalue()) == pytest.approx(numbers(expected), rel=2e-3)


def test_two_commands_one_line_each():
    demo, tests = (block.strip() for block in blocks("sh"))
    for command in (demo, tests):
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert demo.endswith("amcore demo")
    assert "pytest" in tests
