import csv
import dataclasses
import json
import math
import os
import pickle

import numpy as np
import pytest

from amcore.trace import Record, Trace

MASKED = np.ma.array([2.0, 1.0], mask=[True, False])


def made_trace(sweeps=3):
    trace = Trace()
    trace.append(
        Record(0, 10.0, 4.0, parts={"loss": 9.0, "linear1": 1.0}, distance={"W1": 4.0}, time=0.5)
    )
    for k in range(1, sweeps + 1):
        f = 10.0 / 2**k
        measured = k % 2 == 1
        trace.append(
            Record(
                sweep=k,
                objective=f,
                subgradient_distance=1.0 / k if measured else math.nan,
                decrease=f,
                parts={"loss": f - 0.5**k, "linear1": 0.5**k},
                distance={"W1": 1.0 / k} if measured else {},
                step_norm={"W1": 0.25} if measured else {"W1": math.nan},
                time=0.125,
                seconds={"tiles": 0.1},
            )
        )
    return trace


def same(a, b):
    return a.to_arrays().keys() == b.to_arrays().keys() and all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
        for x, y in zip(a.to_arrays().values(), b.to_arrays().values(), strict=True)
    )


def test_columns_have_the_documented_lengths():
    trace = made_trace(3)
    assert len(trace) == 3
    for values in (trace.objective, trace.subgradient_distance, trace.time, trace.parts["loss"]):
        assert values.shape == (4,) and values.dtype == np.float64
    assert trace.distance["W1"].shape == trace.seconds["tiles"].shape == (4,)
    assert trace.decrease.shape == trace.step_norm["W1"].shape == (3,)
    np.testing.assert_array_equal(trace.objective, [10, 5, 2.5, 1.25])
    np.testing.assert_array_equal(trace.decrease, [5, 2.5, 1.25])
    np.testing.assert_array_equal(trace.subgradient_distance, [4, 1, math.nan, 1 / 3])
    np.testing.assert_array_equal(trace.seconds["tiles"], [math.nan, 0.1, 0.1, 0.1])
    assert list(trace.parts) == ["loss", "linear1"]


def test_an_empty_trace():
    trace = Trace()
    assert len(trace) == 0 and trace.objective.size == 0 and trace.decrease.size == 0
    assert trace.records == [] and trace.parts == {} and "empty" in repr(trace)


def test_appending_many_records_keeps_them_all():
    trace = Trace()
    for k in range(1000):
        trace.append(Record(k, float(k), decrease=-1.0))
        assert trace.objective[-1] == k
    np.testing.assert_array_equal(trace.objective, np.arange(1000.0))


def test_a_view_taken_earlier_keeps_its_values():
    trace = made_trace(3)
    before = trace.objective
    kept = before.copy()
    for k in range(4, 100):
        trace.append(Record(k, 0.0))
    np.testing.assert_array_equal(before, kept)


@pytest.mark.parametrize("name", ["objective", "subgradient_distance", "decrease", "time"])
def test_columns_are_read_only(name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(made_trace(), name)[0] = 1.0


@pytest.mark.parametrize("sweep", [0, 3, 5, -1])
def test_records_come_in_order(sweep):
    trace = made_trace(3)
    with pytest.raises(ValueError, match="next record is number 4"):
        trace.append(Record(sweep, 1.0))
    assert len(trace) == 3


def test_records_give_back_what_was_appended():
    trace = made_trace(3)
    again = Trace()
    for record in trace.records:
        again.append(record)
    assert same(trace, again)
    assert trace.records[2].distance == {} and trace.records[1].step_norm == {"W1": 0.25}


def test_repr_is_one_line_with_the_numbers():
    text = repr(made_trace(3))
    assert text == "<Trace: 3 sweeps, objective 10 → 1.25, dist(0, ∂f) 4 → 0.333>"
    assert repr(Trace.from_arrays([1.0, 0.5])) == "<Trace: 1 sweep, objective 1 → 0.5>"


def test_dtype_must_be_floating_point():
    with pytest.raises(TypeError, match="floating-point"):
        Trace(dtype="int32")


class TestFromArrays:
    def test_decrease_defaults_to_differences(self):
        trace = Trace.from_arrays([4, 1, 2], [3, 2, 1])
        np.testing.assert_array_equal(trace.decrease, [3, -1])
        assert not trace.accurate_decrease and trace.dtype == np.float64
        assert trace.decrease.size == len(trace) == 2

    def test_decrease_given_is_kept(self):
        trace = Trace.from_arrays([1.0, 1.0], [1.0, 0.5], [1e-20])
        assert trace.decrease[0] == 1e-20 and trace.accurate_decrease

    def test_dtype_of_the_objective_is_noted(self):
        assert Trace.from_arrays(np.ones(2, np.float32)).dtype == np.float32
        assert Trace.from_arrays(np.ones(2, np.float32), dtype="float64").dtype == np.float64
        assert Trace.from_arrays([1, 2]).dtype == np.float64

    def test_unmeasured_distances_may_be_nan(self):
        trace = Trace.from_arrays([3.0, 2.0, 1.0], [1.0, math.nan, 0.5])
        assert math.isnan(trace.subgradient_distance[1])

    def test_the_arrays_are_copied(self):
        f = np.array([2.0, 1.0])
        trace = Trace.from_arrays(f)
        f[0] = 100.0
        assert trace.objective[0] == 2.0

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (([],), ValueError, "objective is empty"),
            (([[1.0, 2.0]],), ValueError, r"objective must be a vector, got shape \(1, 2\)"),
            ((3.0,), ValueError, "objective must be a vector"),
            ((["a", "b"],), TypeError, "objective must be an array of real numbers"),
            (([1j, 2],), TypeError, "objective must be an array of real numbers"),
            (([True, False],), TypeError, "objective must be an array of real numbers"),
            (([[1.0], [1.0, 2.0]],), TypeError, "objective must be an array of real numbers"),
            ((None,), TypeError, "objective must be an array of real numbers"),
            (([1.0, math.nan],), ValueError, r"objective must be finite, got objective\[1\] = nan"),
            (([math.inf, 1.0],), ValueError, r"objective\[0\] = inf"),
            (([1.0, 2.0], [1.0]), ValueError, "subgradient_distance has 1 entries, expected 2"),
            (([1.0, 2.0], [1.0, -1e-9]), ValueError, "subgradient_distance must not be negative"),
            (([1.0, 2.0], [1.0, math.inf]), ValueError, "subgradient_distance must be finite"),
            ((MASKED,), ValueError, "objective: .* without masked entries"),
            (([1.0, 2.0], MASKED), ValueError, "subgradient_distance: .* without masked entries"),
            (([1.0, 2.0], None, MASKED[:1]), ValueError, "decrease: .* without masked entries"),
            (([1.0, 2.0], None, [1.0, 2.0]), ValueError, "decrease has 2 entries, expected 1"),
            (([1.0, 2.0], None, [math.nan]), ValueError, "decrease must be finite"),
        ],
    )
    def test_wrong_input_is_refused(self, arguments, error, message):
        with pytest.raises(error, match=message) as caught:
            Trace.from_arrays(*arguments)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("bound", "error"), [(math.nan, ValueError), (math.inf, ValueError), ("0", TypeError)]
    )
    def test_wrong_lower_bounds_are_refused(self, bound, error):
        with pytest.raises(error, match="lower_bound: expected a number"):
            Trace.from_arrays([1.0], lower_bound=bound)

    def test_no_objective_is_below_the_lower_bound(self):
        Trace.from_arrays([1.0, -1e-16], lower_bound=0)
        with pytest.raises(ValueError, match=r"objective must be >= 0, got objective\[1\]"):
            Trace.from_arrays([1.0, -1e-6], lower_bound=0)


class TestFiles:
    def test_round_trip(self, tmp_path):
        trace = Trace(dtype="float32", distance_is_bound=True, lower_bound=-2.5)
        for record in made_trace(5).records:
            trace.append(record)
        trace.mark("restart; ε halved")
        trace.mark("again")
        path = tmp_path / "trace.npz"
        trace.save(path)
        loaded = Trace.load(path)
        assert same(trace, loaded)
        assert loaded.marks == [(5, "restart; ε halved"), (5, "again")]
        assert loaded.dtype == np.float32 and loaded.distance_is_bound
        assert loaded.lower_bound == -2.5
        assert list(loaded.parts) == ["loss", "linear1"]

    def test_a_loaded_trace_can_grow(self, tmp_path):
        made_trace(3).save(tmp_path / "a.npz")
        loaded = Trace.load(tmp_path / "a.npz")
        loaded.append(Record(4, 0.5, decrease=0.75))
        assert len(loaded) == 4 and loaded.decrease[-1] == 0.75

    def test_empty_and_foreign_traces_round_trip(self, tmp_path):
        for trace in (Trace(), Trace.from_arrays([2.0, 1.0], [1.0, math.nan])):
            trace.save(tmp_path / "a.npz")
            assert same(trace, Trace.load(tmp_path / "a.npz"))

    def test_the_file_name_is_kept_as_given(self, tmp_path):
        made_trace().save(str(tmp_path / "run.trace"))
        assert os.listdir(tmp_path) == ["run.trace"]
        assert len(Trace.load(tmp_path / "run.trace")) == 3

    def test_needs_no_pickle(self, tmp_path):
        made_trace().save(tmp_path / "a.npz")
        with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
            assert all(archive[name].dtype.kind != "O" for name in archive)

    def test_every_truncation_is_refused(self, tmp_path):
        path = tmp_path / "a.npz"
        made_trace().save(path)
        content = path.read_bytes()
        for size in {*range(0, len(content), 97), len(content) - 1}:
            path.write_bytes(content[:size])
            with pytest.raises(ValueError, match="is not a trace saved by amcore") as caught:
                Trace.load(path)
            assert "\n" not in str(caught.value)

    def test_every_damaged_byte_is_refused(self, tmp_path):
        path = tmp_path / "a.npz"
        made_trace().save(path)
        content = path.read_bytes()
        for position in range(0, len(content), 41):
            damaged = bytearray(content)
            damaged[position] ^= 0xFF
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match="is not a trace saved by amcore"):
                Trace.load(path)

    def test_foreign_files_are_refused(self, tmp_path):
        path = tmp_path / "a.npz"
        arrays = made_trace().to_arrays()

        def refused(message):
            with pytest.raises(ValueError, match=message) as caught:
                Trace.load(path)
            assert "\n" not in str(caught.value) and str(path) in str(caught.value)

        path.write_text("sweep,objective\n0,1\n")
        refused("not a complete .npz file")
        path.write_bytes(pickle.dumps([1.0, 2.0]))
        refused("not a complete .npz file")
        with path.open("wb") as file:
            np.save(file, np.ones(3))
        refused("not a complete .npz file")
        np.savez(path, objective=np.ones(3))
        refused("it holds other arrays")
        np.savez(path, **(arrays | {"objective": np.array([1.0, None])}), allow_pickle=True)
        refused("Object arrays cannot be loaded")
        np.savez(path, **(arrays | {"version": np.array(99)}))
        refused("format version 99")
        np.savez(path, **{name: array for name, array in arrays.items() if name != "decrease"})
        refused("without decrease")
        np.savez(path, **(arrays | {"time": np.ones(7)}))
        refused("time has 7 entries, expected 4")
        np.savez(path, **(arrays | {"time": np.ones((4, 1))}))
        refused(r"time has dtype float64 and shape \(4, 1\)")
        np.savez(path, **(arrays | {"marks/sweep": np.ones(0)}))
        refused("marks/sweep has dtype float64")
        np.savez(path, **(arrays | {"junk": np.ones(4)}))
        refused("junk is no part of one")
        np.savez(path, **arrays)
        refused("its digest is gone")
        np.savez(path, **(arrays | {"dtype": np.array("no such type")}))
        refused("is not a trace saved by amcore")

    def test_a_missing_file_is_an_os_error(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            Trace.load(tmp_path / "absent.npz")
        with pytest.raises(OSError):
            Trace.load(tmp_path)

    def test_saving_where_there_is_no_directory(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no directory"):
            made_trace().save(tmp_path / "no" / "a.npz")

    def test_json_is_strict_and_complete(self, tmp_path):
        trace = made_trace(3)
        trace.mark("done")
        trace.to_json(tmp_path / "a.json")
        content = json.loads((tmp_path / "a.json").read_text("utf-8"), parse_constant=pytest.fail)
        assert content["sweeps"] == 3 and content["objective"] == trace.objective.tolist()
        assert content["subgradient_distance"] == [4.0, 1.0, None, 1 / 3]
        assert content["decrease"] == [5, 2.5, 1.25]
        assert content["parts"]["linear1"] == [1.0, 0.5, 0.25, 0.125]
        assert content["step_norm"]["W1"] == [0.25, None, 0.25]
        assert content["marks"] == [{"sweep": 3, "text": "done"}]

    def test_csv_has_a_row_per_record(self, tmp_path):
        trace = made_trace(3)
        trace.mark("a, b")
        trace.mark("c")
        trace.to_csv(tmp_path / "a.csv")
        with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [float(row["objective"]) for row in rows] == trace.objective.tolist()
        assert [row["sweep"] for row in rows] == ["0", "1", "2", "3"]
        assert rows[2]["subgradient_distance"] == "" and float(rows[3]["distance/W1"]) == 1 / 3
        assert rows[0]["decrease"] == "" and rows[3]["mark"] == "a, b; c"


def test_amending_replaces_the_latest_record():
    trace = made_trace(2)
    trace.mark("here")
    last = trace.records[-1]
    trace.amend(dataclasses.replace(last, subgradient_distance=0.5, distance={"b1": 0.25}))
    assert len(trace) == 2 and trace.marks == [(2, "here")]
    assert trace.objective[-1] == last.objective and trace.subgradient_distance[-1] == 0.5
    np.testing.assert_array_equal(trace.distance["b1"], [math.nan, math.nan, 0.25])
    assert math.isnan(trace.distance["W1"][-1])
    assert repr(trace.records[:2]) == repr(made_trace(1).records)  # NaN among them
    with pytest.raises(ValueError, match=r"record\.sweep is 1, the latest record is 2"):
        trace.amend(trace.records[1])
