import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import amcore
from amcore import cli
from amcore.compare import SETTINGS
from amcore.demo import LiveTable
from amcore.trace import Trace

needs_demo = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sklearn", "matplotlib", "rich")),
    reason="needs amcore[demo]",
)


def run(capsys, *arguments):
    """Run the command line; return its status, output and error output."""
    try:
        status = cli.main([str(each) for each in arguments])
    except SystemExit as exit:
        status = exit.code
    return status, *capsys.readouterr()


@pytest.fixture
def traces(tmp_path):
    k = np.arange(41)
    oscillation = 0.5 ** (k // 2) * np.where(k % 2 == 0, 1.0, 1.2)
    made = {
        "holds": Trace.from_arrays(0.25**k, 2 * 0.5**k),
        "fails": Trace.from_arrays(1.0 + k, np.ones(41)),
        "undecided": Trace.from_arrays([3.0, 2.0, 1.0], [1.0, 1.0, 1.0]),
        "oscillation": Trace.from_arrays(oscillation, np.sqrt(oscillation)),
    }
    for name, trace in made.items():
        trace.save(tmp_path / f"{name}.npz")
    return tmp_path


class TestCertify:
    @pytest.mark.parametrize(("name", "status"), [("holds", 0), ("fails", 1), ("undecided", 2)])
    def test_the_status_is_the_verdict(self, capsys, traces, name, status):
        code, out, err = run(capsys, "certify", traces / f"{name}.npz")
        assert code == status and err == ""
        assert f"A1 {name}" in out
        assert out.strip() == str(amcore.certify(Trace.load(traces / f"{name}.npz")))

    def test_j_is_chosen(self, capsys, traces):
        assert run(capsys, "certify", traces / "oscillation.npz")[0] == 0
        assert run(capsys, "certify", traces / "oscillation.npz", "--j", "1")[0] == 1
        assert run(capsys, "certify", traces / "oscillation.npz", "--j", "1", "3", "2")[0] == 0

    @pytest.mark.parametrize(
        ("name", "asked", "status"),
        [
            ("holds", "KL", 0),
            ("holds", "rate", 0),
            ("holds", "critical", 0),
            ("fails", "critical", 2),
            ("fails", "rate", 2),
            ("undecided", "A2", 2),
        ],
    )
    def test_the_status_is_of_the_property_asked_for(self, capsys, traces, name, asked, status):
        code, out, _ = run(capsys, "certify", traces / f"{name}.npz", "--property", asked)
        assert code == status
        verdict = ("holds", "fails", "undecided")[status]
        assert f"{asked} {verdict}" in out

    def test_the_trace_of_a_checkpoint(self, capsys, traces):
        state = amcore.State({"W1": np.ones((2, 2))})
        path = traces / "run.npz"
        amcore.checkpoint.save(path, state, Trace.load(traces / "holds.npz"))
        assert run(capsys, "certify", path) == run(capsys, "certify", traces / "holds.npz")

    def test_a_known_limit(self, capsys, traces):
        code, out, _ = run(capsys, "certify", traces / "holds.npz", "--f-star", "0")
        assert code == 0 and "(given)" in out
        code, _, err = run(capsys, "certify", traces / "holds.npz", "--f-star", "7")
        assert code == 3 and "f_star is 7, above the last objective" in err

    def test_a_lower_bound_and_the_type_of_the_computation(self, capsys, tmp_path):
        k = np.arange(600)
        rounded = (3 + 0.9**k).astype(np.float32).astype(float)
        rounded[-1] += 1e-9  # no float32 any more, so that only --dtype can tell
        Trace.from_arrays(rounded, 0.9 ** (k / 2)).save(tmp_path / "a.npz")
        options = ("certify", tmp_path / "a.npz", "--json", tmp_path / "a.json")
        told = []
        for more in ([], ["--dtype", "float32"], ["--lower-bound", "-1"]):
            run(capsys, *options, *more)
            told.append(json.loads((tmp_path / "a.json").read_text("utf-8")))
        floors = [each["decrease"]["A1"][0]["below_floor"] for each in told]
        assert floors[1] > floors[0] == floors[2]
        code, out, err = run(capsys, *options, "--lower-bound", "3.5")
        assert (code, out) == (3, "") and err.startswith("amcore: objective must be >= 3.5")

    def test_a_lower_bound_is_a_bound_of_the_limit(self, capsys, traces):
        data = traces / "a.json"
        run(capsys, "certify", traces / "undecided.npz", "--lower-bound", "-0.5", "--json", data)
        assert json.loads(data.read_text("utf-8"))["kl"]["f_star_interval"] == [-0.5, 1.0]

    def test_files_are_written(self, capsys, traces):
        pytest.importorskip("matplotlib")
        plot, data = traces / "a.pdf", traces / "a.json"
        code, _, _ = run(capsys, "certify", traces / "holds.npz", "--plot", plot, "--json", data)
        assert code == 0 and plot.read_bytes().startswith(b"%PDF")
        assert json.loads(data.read_text("utf-8"))["verdicts"]["A1"]["verdict"] == "holds"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["absent.npz"], "absent.npz: No such file or directory"),
            (["."], "Is a directory"),
            (["damaged.npz"], "damaged.npz is not a trace saved by amcore"),
            (["empty.npz"], "trace is empty"),
            (["holds.npz", "--plot", "a.txt"], "path must end in .png, .pdf, .svg"),
            (["holds.npz", "--plot", "no/a.png"], "no/a.png: there is no directory no"),
            (["holds.npz", "--json", "no/a.json"], "there is no directory no"),
            (["holds.npz", "--j", "0"], "argument --j: expected at least 1, got 0"),
            (["holds.npz", "--j", "x"], "argument --j: expected an integer, got 'x'"),
            (["holds.npz", "--dtype", "int8"], "argument --dtype: invalid choice: 'int8'"),
            (["holds.npz", "--lower-bound", "x"], "argument --lower-bound: invalid float value"),
            (["holds.npz", "--lower-bound", "nan"], "lower_bound: expected a number or -inf"),
            (["holds.npz", "--f-star", "inf"], "f_star: expected a finite number, got inf"),
            ([], "the following arguments are required: trace"),
        ],
    )
    def test_errors_are_one_line(self, capsys, traces, monkeypatch, arguments, message):
        monkeypatch.chdir(traces)
        (traces / "damaged.npz").write_bytes((traces / "holds.npz").read_bytes()[:500])
        Trace().save(traces / "empty.npz")
        code, out, err = run(capsys, "certify", *arguments)
        assert code == 3 and message in err and err.count("\n") == 1 and out == ""
        assert err.startswith("amcore")


class TestDemo:
    @needs_demo
    def test_a_short_run(self, capsys, tmp_path):
        folder = tmp_path / "a" / "b"
        code, out, err = run(
            capsys, "demo", "--sweeps", "12", "--layers", "20", "10", "--output", folder
        )
        assert code == 0 and err == ""
        assert sorted(os.listdir(folder)) == ["certificate.png", "trace.npz"]
        lines = out.splitlines()
        assert "Network([64, 20, 10, 10]" in lines[0]
        assert lines[1].split() == list(LiveTable.COLUMNS)
        assert [line.split()[0] for line in lines[2:15]] == [str(k) for k in range(13)]
        assert "Certificate of a run of 12 sweeps" in out
        assert lines[-1].startswith("test accuracy ") and str(folder / "trace.npz") in lines[-1]
        trace = Trace.load(folder / "trace.npz")
        assert len(trace) == 12 and (np.diff(trace.objective) < 0).all()
        assert float(lines[14].split()[1]) == pytest.approx(trace.objective[-1], rel=1e-5)

    @needs_demo
    def test_the_defaults_reach_97_percent(self, capsys, tmp_path):
        code, out, _ = run(capsys, "demo", "--output", tmp_path)
        assert code == 0
        accuracy = float(out.splitlines()[-1].split()[2].rstrip("%"))
        assert accuracy >= 97.0

    @needs_demo
    def test_the_seed_decides(self, capsys, tmp_path):
        small = ("demo", "--sweeps", "3", "--layers", "5", "--output", tmp_path, "--threads", "1")
        one, again, other = (
            run(capsys, *small, "--seed", seed)[1].splitlines()[1:6] for seed in (1, 1, 2)
        )
        assert one == again != other

    @needs_demo
    def test_long_runs_are_thinned(self, capsys, tmp_path):
        _, out, _ = run(capsys, "demo", "--sweeps", "65", "--layers", "4", "--output", tmp_path)
        lines = iter(out.splitlines()[2:])
        sweeps = [int(line.split()[0]) for line in iter(lambda: next(lines), "")]
        assert sweeps == [*range(0, 64, 3), 65]

    @needs_demo
    def test_the_live_table_leaves_every_row_behind(self, capsys, tmp_path, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("LINES", "10")
        code, out, _ = run(capsys, "demo", "--sweeps", "12", "--layers", "4", "--output", tmp_path)
        assert code == 0
        table = out.rpartition("objective ┃")[2]
        assert all(f" {k} │" in table for k in range(13))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--sweeps", "0"], "argument --sweeps: expected at least 1, got 0"),
            (["--sweeps", "1.5"], "argument --sweeps: expected an integer, got '1.5'"),
            (["--layers", "-3"], "argument --layers: "),
            (["--layers"], "argument --layers: expected at least one argument"),
            (["--seed", "-1"], "argument --seed: expected at least 0, got -1"),
            (["--threads", "0"], "argument --threads: expected at least 1, got 0"),
            (["--alpha", "x"], "argument --alpha: invalid float value: 'x'"),
            (["--nonsense"], "unrecognized arguments: --nonsense"),
            pytest.param(["--alpha", "-1"], "alpha", marks=needs_demo),
            pytest.param(["--alpha", "nan"], "alpha", marks=needs_demo),
            pytest.param(["--output", "file"], "file: File exists", marks=needs_demo),
            pytest.param(["--output", "file/a"], "file/a: Not a directory", marks=needs_demo),
            pytest.param(["--seed", str(2**32)], "seed: expected an integer", marks=needs_demo),
        ],
    )
    def test_errors_are_one_line(self, capsys, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").touch()
        code, _, err = run(capsys, "demo", "--sweeps", "1", "--layers", "2", *arguments)
        assert code == 3 and message in err and err.count("\n") == 1
        assert os.listdir(tmp_path) == ["file"]

    @needs_demo
    @pytest.mark.parametrize("command", ["demo", "compare"])
    def test_a_folder_is_refused_before_the_run(self, capsys, tmp_path, command):
        taken = {"demo": "trace.npz", "compare": "mdlam.npz"}[command]
        (tmp_path / taken).mkdir()
        code, out, err = run(capsys, command, "--output", tmp_path)
        assert (code, out) == (3, "") and err == f"amcore: {tmp_path / taken}: Is a directory\n"
        assert os.listdir(tmp_path) == [taken]

    def test_without_the_extra_it_is_named(self, capsys, tmp_path, monkeypatch):
        monkeypatch.setattr(cli, "find_spec", lambda name: None)
        code, _, err = run(capsys, "demo", "--output", tmp_path / "a")
        assert code == 3 and "amcore[demo]" in err and err.count("\n") == 1
        assert not (tmp_path / "a").exists()

    @needs_demo
    @pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
    def test_ctrl_c_keeps_what_was_reached(self, tmp_path):
        command = [sys.executable, "-m", "amcore", "demo", "--sweeps", "1000000"]
        command += ["--layers", "4", "--output", str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            while process.stdout.readline().split()[:1] != [b"0"]:
                assert process.poll() is None
            time.sleep(1)  # rows are rare in a run this long, sweeps are not
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 130 and err == b""
        assert "(interrupted)" in out.decode().splitlines()[-1]
        assert len(Trace.load(tmp_path / "trace.npz")) >= 1


class TestCompare:
    @needs_demo
    def test_all_schemes(self, capsys, tmp_path):
        code, out, err = run(
            capsys, "compare", "--sweeps", "3", "--layers", "8", "8", "--output", tmp_path
        )
        assert code == 0 and err == ""
        lines = out.splitlines()
        names = [line.split()[0] for line in lines[1 : 1 + len(SETTINGS)]]
        assert names == list(SETTINGS)
        assert sorted(os.listdir(tmp_path)) == sorted(
            ["compare.png", *(f"{name}.npz" for name in SETTINGS)]
        )
        for name, line in zip(names, lines[1:], strict=False):
            trace = Trace.load(tmp_path / f"{name}.npz")
            assert len(trace) == 3
            assert float(line.split()[2]) == pytest.approx(trace.objective[-1], rel=1e-4)

    @needs_demo
    @pytest.mark.parametrize("name", list(SETTINGS))
    def test_every_scheme_has_a_demo(self, capsys, tmp_path, name):
        options = ("--sweeps", "5", "--layers", "12", "12", "--output", tmp_path)
        code, _, err = run(capsys, "demo", "--scheme", name, *options)
        assert code == 0 and err == ""
        assert len(Trace.load(tmp_path / "trace.npz")) == 5

    @needs_demo
    def test_the_same_start_as_alone(self, capsys, tmp_path):
        short = ("--sweeps", "2", "--layers", "6", "--output", tmp_path)
        run(capsys, "compare", "--schemes", "three-split", *short)
        run(capsys, "demo", *short)
        one, other = (Trace.load(tmp_path / f"{name}.npz") for name in ("three-split", "trace"))
        np.testing.assert_array_equal(one.objective, other.objective)

    @needs_demo
    def test_data_of_a_folder(self, capsys, tmp_path):
        code, _, err = run(capsys, "compare", "--data", tmp_path / "none", "--output", tmp_path)
        assert code == 3 and err.count("\n") == 1 and "none" in err


def test_info_shows_the_configuration(capsys):
    code, out, _ = run(capsys, "info")
    amcore.show_config()
    assert code == 0 and out == capsys.readouterr().out and amcore.__version__ in out


def test_version_and_help(capsys):
    assert run(capsys, "--version") == (0, f"amcore {amcore.__version__}\n", "")
    for command in ([], ["demo"], ["compare"], ["info"], ["certify"]):
        code, out, _ = run(capsys, *command, "--help")
        assert code == 0 and out.startswith("usage: amcore")
        assert "3 after an error" in " ".join(out.split())


@pytest.mark.parametrize("arguments", [[], ["nonsense"]])
def test_a_command_is_required(capsys, arguments):
    code, _, err = run(capsys, *arguments)
    assert code == 3 and err.count("\n") == 1


def test_an_interrupt_is_one_line(capsys, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(amcore, "show_config", interrupt)
    assert run(capsys, "info") == (130, "", "amcore: interrupted\n")


def test_a_fault_of_amcore_is_no_verdict(capsys, traces, monkeypatch):
    monkeypatch.setattr(cli, "certify", lambda *given, **named: 1 // {}["absent"])
    code, _, err = run(capsys, "certify", traces / "holds.npz")
    assert code == 3 and "Traceback" in err


POSIX = pytest.mark.skipif(os.name != "posix", reason="redirections of POSIX")


@POSIX
@pytest.mark.parametrize(
    ("redirection", "status", "message"),
    [
        ("> /dev/null", 0, ""),
        (">&-", 3, "amcore: standard output is closed\n"),
        ("2>&-", 0, ""),
        (">&- 2>&-", 3, ""),
        ("--json no/a.json 2>&-", 3, ""),
        pytest.param(
            "> /dev/full",
            3,
            "amcore: No space left on device\n",
            marks=pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full"),
        ),
    ],
)
def test_output_that_goes_nowhere(traces, redirection, status, message):
    command = f'"{sys.executable}" -m amcore certify "{traces / "holds.npz"}" {redirection}'
    result = subprocess.run(
        command,
        shell=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (status, message)


def test_a_narrow_output_encoding_is_no_error(traces):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "amcore", "certify", str(traces / "holds.npz")]
    result = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert result.returncode == 0 and result.stderr == b"" and b"A1 holds" in result.stdout


@POSIX
def test_a_closed_pipe_is_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "amcore", "info"]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert result.returncode == 141 and result.stderr == b""
