"""The command line: ``amcore demo``, ``compare``, ``certify`` and ``info``."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

import amcore
from amcore._files import check_writable
from amcore.analysis import certify
from amcore.analysis.plot import check_figure
from amcore.compare import COLUMNS, SETTINGS, compare, draw
from amcore.demo import demo
from amcore.trace import Trace

if TYPE_CHECKING:
    from amcore.datasets import Split

__all__ = ["main"]

_STATUS = {"holds": 0, "fails": 1, "undecided": 2}
_ERROR = 3
# As a shell reports the end by these signals, SIGINT and SIGPIPE.
_INTERRUPTED, _BROKEN_PIPE = 128 + 2, 128 + 13
_STATUSES = (
    "Exit status: 0 for success, 3 after an error (one line on the standard error says which),"
    " 130 after Ctrl-C, 141 if the reader of the output has left."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        The exit status: 0 for success; of ``certify`` 0, 1, 2 if what is asked for holds, fails
        or is undecided; 3 after an error, with one line on the standard error; 130 after Ctrl-C;
        141 if the reader of a pipe has left.
    """
    if sys.stdout is None:
        return _complain("standard output is closed")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        status = _BROKEN_PIPE
    except KeyboardInterrupt:
        status = _complain("interrupted", _INTERRUPTED)
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        status = _complain(f"{path}{error.strerror or error}")
    except (ValueError, TypeError, ArithmeticError, ImportError, MemoryError) as error:
        status = _complain(str(error) or type(error).__name__)
    except Exception:  # of amcore's own making; Python would end with 1, which is a verdict
        traceback.print_exc()
        status = _ERROR
    try:
        sys.stdout.flush()
    except OSError:
        # keep Python from trying once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _run(arguments: Sequence[str] | None) -> int:
    """Run the command asked for and return its exit status."""
    try:
        parsed = _parser().parse_args(arguments)
    except SystemExit as end:  # after help, or a line that says what is wrong
        return int(end.code or 0)
    status: int = parsed.run(parsed)
    return status


def _complain(message: str, status: int = _ERROR) -> int:
    """Print one line on the standard error and return the exit status."""
    with suppress(OSError, AttributeError):  # it may be full or closed, too
        sys.stderr.write(f"amcore: {' '.join(message.split())}\n")
    return status


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(_ERROR, f"{self.prog}: {' '.join(message.split())}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="amcore",
        description="Alternating minimisation, with a certificate.",
        epilog=_STATUSES,
    )
    parser.add_argument("--version", action="version", version=f"amcore {amcore.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    demonstration = commands.add_parser(
        "demo",
        help="train a network on handwritten digits and certify the run",
        description="Train a network on scikit-learn's handwritten digits, or on images in a"
        " folder, certify the run, and write a plot and the trace.",
        epilog=_STATUSES,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demonstration.add_argument(
        "--scheme", choices=SETTINGS, default="three-split", help="the scheme"
    )
    demonstration.add_argument(
        "--alpha", type=float, help="proximal weight (default: the scheme's)"
    )
    _training(demonstration, layers=[500], folder="amcore-demo")
    demonstration.set_defaults(run=_demo)

    comparison = commands.add_parser(
        "compare",
        help="run all schemes on one data set",
        description="Run all schemes on scikit-learn's handwritten digits, or on images in a"
        " folder, print a table and write a plot and the traces.",
        epilog=_STATUSES,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    comparison.add_argument(
        "--schemes", choices=SETTINGS, nargs="+", default=list(SETTINGS), help="the schemes"
    )
    _training(comparison, layers=[100, 100], folder="amcore-compare")
    comparison.set_defaults(run=_compare)

    info = commands.add_parser(
        "info",
        help="show versions and CPU level",
        description="Show versions and CPU level.",
        epilog=_STATUSES,
    )
    info.set_defaults(run=_info)

    check = commands.add_parser(
        "certify",
        help="certify a saved trace",
        description="Print the certificate of a trace that Trace.save wrote, or of the one in a"
        " checkpoint.",
        epilog=_STATUSES.replace(
            "0 for success",
            "0 if the property asked for holds, 1 if it fails, 2 if the trace does not decide it",
        ),
    )
    check.add_argument("trace", type=Path, help="the trace or checkpoint, an .npz file")
    check.add_argument(
        "--j",
        type=_at_least(1),
        nargs="+",
        help="numbers of sweeps to measure A1 over (default: 1, 2, and if neither will do the"
        " smallest that does)",
    )
    check.add_argument(
        "--property",
        choices=["A1", "A2", "KL", "rate", "critical"],
        default="A1",
        help="what the exit status is about",
    )
    check.add_argument("--f-star", type=float, help="the limit of the objective, if it is known")
    check.add_argument(
        "--lower-bound",
        type=float,
        help="a number that the objective is never below (default: what the trace says)",
    )
    check.add_argument(
        "--dtype",
        choices=["float16", "float32", "float64"],
        help="the type that the objective was computed in (default: what the trace says)",
    )
    check.add_argument("--plot", type=Path, help="draw the certificate: .png, .pdf or .svg")
    check.add_argument("--json", type=Path, help="write the certificate as JSON")
    check.set_defaults(run=_certify)
    return parser


def _training(parser: argparse.ArgumentParser, layers: Sequence[int], folder: str) -> None:
    """Add the arguments that say what is trained and how long."""
    parser.add_argument("--sweeps", type=_at_least(1), default=30, help="number of sweeps")
    parser.add_argument(
        "--layers", type=_at_least(1), nargs="+", default=layers, help="widths of the hidden layers"
    )
    parser.add_argument(
        "--data", type=Path, help="folder with the four files of MNIST (default: the digits)"
    )
    parser.add_argument("--seed", type=_at_least(0), default=0, help="seed of split and start")
    parser.add_argument("--threads", type=_at_least(1), help="number of threads")
    parser.add_argument("--output", type=Path, default=Path(folder), help="folder to write to")


def _at_least(least: int) -> Any:
    """Return a parser of integers that are at least `least`."""

    def integer(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected an integer, got {text!r:.40}") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"expected at least {least}, got {text:.40}")
        return number

    return integer


def _info(parsed: argparse.Namespace) -> int:
    amcore.show_config()
    return 0


def _certify(parsed: argparse.Namespace) -> int:
    if parsed.plot is not None:
        check_figure(parsed.plot)
    if parsed.json is not None:
        check_writable(parsed.json)
    trace = Trace.load(parsed.trace)
    if parsed.dtype is not None:
        trace.dtype = np.dtype(parsed.dtype)
    certificate = certify(trace, js=parsed.j, f_star=parsed.f_star, lower_bound=parsed.lower_bound)
    print(certificate)
    if parsed.plot is not None:
        certificate.plot(parsed.plot)
    if parsed.json is not None:
        certificate.to_json(parsed.json)
    return _STATUS[certificate.verdicts[parsed.property].verdict]


def _data(parsed: argparse.Namespace) -> Split:
    missing = [name for name in ("sklearn", "matplotlib", "rich") if find_spec(name) is None]
    if missing:
        raise ImportError(f"this needs {', '.join(missing)}: pip install 'amcore[demo]'")
    from amcore.datasets import load_digits_split, load_mnist_folder

    if parsed.data is not None:
        return load_mnist_folder(parsed.data)
    return load_digits_split(seed=parsed.seed)


def _make_folder(folder: Path, names: Sequence[str]) -> None:
    """Make the folder and refuse it if these files cannot be written there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        check_writable(folder / name)


def _compare(parsed: argparse.Namespace) -> int:
    data = _data(parsed)
    plot = parsed.output / "compare.png"
    _make_folder(parsed.output, [plot.name, *(f"{name}.npz" for name in parsed.schemes)])
    print("  ".join(f"{title:>11}" for title in COLUMNS), flush=True)
    outcomes = []
    for outcome in compare(
        data,
        parsed.layers,
        sweeps=parsed.sweeps,
        seed=parsed.seed,
        num_threads=parsed.threads,
        names=parsed.schemes,
    ):
        outcomes.append(outcome)
        print("  ".join(f"{cell:>11}" for cell in outcome.row()), flush=True)
        outcome.solution.trace.save(parsed.output / f"{outcome.name}.npz")
    draw(outcomes, plot)
    print(f"\nwrote {plot} and the traces; each scheme has an objective of its own")
    interrupted = outcomes[-1].solution.stop_reason == "interrupted"
    return _INTERRUPTED if interrupted else 0


def _demo(parsed: argparse.Namespace) -> int:
    data = _data(parsed)
    setting = SETTINGS[parsed.scheme]
    if parsed.alpha is not None:
        setting = setting.with_alpha(parsed.alpha)
    problem = setting.problem(data, parsed.layers)
    plot, trace = parsed.output / "certificate.png", parsed.output / "trace.npz"
    _make_folder(parsed.output, [plot.name, trace.name])
    run = demo(
        problem,
        setting.scheme,
        data,
        sweeps=parsed.sweeps,
        seed=parsed.seed,
        num_threads=parsed.threads,
        plot=plot,
        trace=trace,
    )
    return _INTERRUPTED if run.stop_reason == "interrupted" else 0
