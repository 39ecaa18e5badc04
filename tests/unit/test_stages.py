"""What a worker does first, by itself: scan a range and say what it could not use."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask as coco

from engine.apart import Care
from engine.records import FRAME_SCHEMA, ISSUE_SCHEMA
from engine.sample_export import write_sample_export
from engine.stages import scan_range
from engine.tables import read_table
from tests.scanning import SMALL, scans


@pytest.fixture
def scanned(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    (task,) = scans(tmp_path, truth)
    return truth, scan_range(task)


def test_a_scan_writes_a_row_for_each_frame(scanned):
    truth, result = scanned
    rows = read_table(result.rows_path)
    assert rows.schema.equals(FRAME_SCHEMA)
    assert read_table(result.issues_path).schema.equals(ISSUE_SCHEMA)
    assert (result.frames, rows.num_rows) == (6, 6)
    for row, frame in zip(rows.to_pylist(), truth.frames, strict=True):
        assert row["frame_index"] == frame.frame_index
        for rle, item in zip(row["masks"], frame.objects, strict=True):
            np.testing.assert_array_equal(coco.decode(rle).astype(bool), item.mask)


def test_ranges_together_are_the_whole(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", mask_truncated=[4], orphan_images=1, **SMALL)
    (one,) = scans(tmp_path, truth)
    whole = scan_range(one)
    rows, issues = read_table(whole.rows_path), read_table(whole.issues_path)
    parts = [scan_range(task) for task in scans(tmp_path / "cut", truth, frames_per_range=2)]
    assert [part.frames for part in parts] == [2, 2, 2, 1]
    assert pa.concat_tables([read_table(p.rows_path) for p in parts]).equals(rows)
    assert pa.concat_tables([read_table(p.issues_path) for p in parts]).equals(issues)
    assert issues["code"].to_pylist() == ["mask_malformed", "missing_annotations"]


def test_a_scan_again_writes_the_same_bytes(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", area_off={1: 5}, **SMALL)
    (task,) = scans(tmp_path, truth)
    digests = []
    for attempt in range(2):
        own = replace(
            task,
            rows_path=str(tmp_path / f"r{attempt}.parquet"),
            issues_path=str(tmp_path / f"i{attempt}.parquet"),
        )
        result = scan_range(own)
        paths = (result.rows_path, result.issues_path)
        digests.append([(tmp_path / p).read_bytes() for p in paths])
    assert digests[0] == digests[1]


def test_each_frame_in_a_process_of_its_own_gives_the_same(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", mask_truncated=[4], orphan_images=1, **SMALL)
    (task,) = scans(tmp_path, truth)
    together = scan_range(task)
    rows, issues = read_table(together.rows_path), read_table(together.issues_path)
    apart = scan_range(replace(task, care=Care.APART))
    assert apart == together
    assert read_table(apart.rows_path).equals(rows)
    assert read_table(apart.issues_path).equals(issues)


def test_a_range_that_must_not_be_looked_at_still_is_counted(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    (task,) = scans(tmp_path, truth)
    seen = read_table(scan_range(task).rows_path)
    truth.path.unlink()
    unread = scan_range(replace(task, care=Care.UNREAD))
    rows, issues = read_table(unread.rows_path), read_table(unread.issues_path)
    for name in ("id", "frame_index", "objects_declared", "image_name", "image_crc32"):
        assert rows[name].equals(seen[name])
    assert set(rows["errors"].to_pylist()) == {1}
    assert not any(rows["masks"].to_pylist())
    assert issues["code"].to_pylist() == ["frame_crashed"] * 6
    assert issues["frame_id"].to_pylist() == rows["id"].to_pylist()
