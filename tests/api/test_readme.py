"""Examples print what the documents say, and the README's commands name what exists."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def blocks(language, document="README.md"):
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def numbers(text):
    return [float(x) for x in re.findall(r"\d+\.?\d*(?:e[-+]\d+)?", text)]


NEEDS = {
    "README.md": "sklearn",
    "docs/certificates.md": "amcore",
    "docs/scikit-learn.md": "sklearn",
    "docs/pytorch.md": "torch",
}


@pytest.mark.parametrize("document", NEEDS)
def test_examples_print_their_output(document):
    pytest.importorskip(NEEDS[document])
    examples, outputs = blocks("python", document), blocks("text", document)
    assert len(examples) == len(outputs) > 0
    source, expected = "".join(examples), "".join(outputs)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, document, "exec"), {})
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
