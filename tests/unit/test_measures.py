"""What a task has done: noted by whom it concerns, in any thread, and by nobody else."""

import threading

import numpy as np
import pyarrow as pa
import pytest

from engine.measured_tasks import MeasuredTask, Subject, subject_of
from engine.measures import COUNTS, Measured, Measures, measuring, note, note_findings
from engine.ray_metrics import METRICS
from engine.shards import ShardTask
from engine.stage_times import StageTimes
from engine.storage import read_bytes, write_bytes
from engine.survey import OpenTask
from engine.tables import read_table, write_table


def test_what_is_noted_goes_to_the_task_under_way_and_to_no_other():
    note("bytes_read", 5)
    note_findings(["mask_empty"])
    with measuring("scan", "scan-0") as first:
        note("bytes_read", 7)
        thread = threading.Thread(target=note, args=("bytes_read", 30))
        thread.start()
        thread.join()
        note_findings(["mask_empty", "image_black", "mask_empty"])
    with measuring("scan", "scan-1") as second:
        note("frames_checked", 2)
    note("frames_checked", 9)
    assert first.counts == {"bytes_read": 37}
    assert first.findings == {"mask_empty": 2, "image_black": 1}
    assert second.counts == {"frames_checked": 2}
    assert first.seconds > 0


def test_a_count_that_nobody_exports_is_refused():
    with pytest.raises(KeyError, match="frames_cheked"):
        note("frames_cheked", 1)
    assert {f"sam2prep_{name}" for name in COUNTS} < METRICS.keys()


def test_files_count_with_their_sizes(tmp_path):
    with measuring("s", "k") as measures:
        write_bytes(str(tmp_path / "a"), b"x" * 1000)
        read_bytes(str(tmp_path / "a"))
    assert measures.counts == {"bytes_written": 1000, "bytes_read": 1000}


def test_of_a_table_the_columns_count_that_are_read(tmp_path):
    path = str(tmp_path / "t.parquet")
    noise = np.random.default_rng(3).bytes(200_000)
    values = [noise[place : place + 100] for place in range(0, len(noise), 100)]
    columns = {"wide": values, "narrow": [1] * len(values), "deep": [{"x": v} for v in values]}
    write_table(path, pa.table(columns))
    read = {}
    for names in (None, ["wide"], ["narrow"], ["deep"]):
        with measuring("s", "k") as measures:
            read_table(path, names)
        read[names and names[0]] = measures.counts["bytes_read"]
    assert 200_000 < read["wide"] < 230_000
    assert 200_000 < read["deep"] < 230_000
    assert read["narrow"] < 500
    assert read[None] == read["wide"] + read["deep"] + read["narrow"]


def test_a_measured_task_gives_result_and_measures():
    def function(payload):
        note("masks_checked", payload)
        return -payload

    found = MeasuredTask(function=function, stage="scan")((Subject("scan-3", None, None), 4))
    assert isinstance(found, Measured)
    assert found.result == -4
    assert (found.measures.stage, found.measures.key) == ("scan", "scan-3")
    assert found.measures.counts == {"masks_checked": 4}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/data/x/a.zip", "a.zip"),
        ("s3://bucket/x/a.zip", "a.zip"),
        ("https://host/a.zip?X-Signature=SECRET", "a.zip"),
        ("https://user:SECRET@host", "host"),
        ("/data/folder/", "folder"),
    ],
)
def test_a_subject_has_the_name_of_its_export_and_no_place(source, name):
    task = OpenTask(
        source=source, staging="s", frames_per_range=1, mask_order="auto", frames=None, sources=1,
        video_id=None,
    )  # fmt: skip
    assert subject_of("open-0", task) == Subject("open-0", name, None)


def test_a_subject_has_its_shard():
    task = object.__new__(ShardTask)
    object.__setattr__(task, "split", "train")
    object.__setattr__(task, "number", 12)
    assert subject_of("k", task).shard == "train-00012"
    assert subject_of("k", None) == Subject("k", None, None)


def test_a_timeline_adds_tasks_up_and_knows_the_slowest():
    times = StageTimes()
    with times.timed("open"):
        pass
    with times.timed("scan"):
        for number, seconds in enumerate((0.5, 2.0, 1.0)):
            measures = Measures(stage="scan", key=f"scan-{number}", seconds=seconds, retries=number)
            measures.counts.update(bytes_read=10, bytes_written=number)
            times.add(measures)
    with times.timed("scan"):
        pass
    found = times.to_json()
    assert list(found) == ["open", "scan"]
    scan = found["scan"]
    assert found["open"]["begin_sec"] <= scan["begin_sec"] <= times.elapsed()
    assert scan["seconds"] == round(times.seconds["scan"], 3)
    del scan["begin_sec"], scan["seconds"]
    assert scan == {
        "tasks": 3, "taken_over": 0, "retries": 3, "busy_sec": 3.5,
        "slowest": {"task": "scan-1", "seconds": 2.0}, "bytes_read": 30, "bytes_written": 3,
    }  # fmt: skip
    assert found["open"]["slowest"] is None
