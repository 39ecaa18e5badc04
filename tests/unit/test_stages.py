"""What a worker does, by itself: scan a range, write a shard, and say what it could not use."""

import hashlib
import re
import zipfile
from dataclasses import replace

import datasets
import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask as coco

from engine.box_text import BoxStyle
from engine.config import Config
from engine.conversations import TextRules
from engine.existence import Odds
from engine.mask_check import MaskReading
from engine.records import FRAME_SCHEMA, ISSUE_SCHEMA
from engine.sample_export import write_sample_export
from engine.stages import ScanTask, ShardTask, scan_range, write_shard
from engine.survey import OpenTask, open_export
from engine.tables import read_table

SMALL = {"frames": 6, "width": 160, "height": 96, "dialect": "coco"}


def scans(tmp_path, truth, *, check_images="header", **cutting):
    task = OpenTask.of(str(truth.path), str(tmp_path / "ranges"), Config(), 1, **cutting)
    export = open_export(task)
    reading = MaskReading(
        grid=export.grid, order=export.order, known_exporter=export.exporter_signature
    )
    return [
        ScanTask(
            range=file, source=export.name, video_id=export.video_id, video_size=export.video.size,
            reading=reading, check_images=check_images,
            rows_path=str(tmp_path / f"rows-{number}.parquet"),
            issues_path=str(tmp_path / f"issues-{number}.parquet"),
        )
        for number, file in enumerate(export.ranges)
    ]  # fmt: skip


def shard(tmp_path, rows, **changes):
    keywords = {
        "path": str(tmp_path / "data-00000.arrow"), "name": "hf/train/data-00000.arrow",
        "rows": rows, "texts": TextRules(), "check_images": "structure",
        "reasons": None,
    }  # fmt: skip
    return ShardTask(**keywords | changes)


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


def test_a_shard_holds_the_rows_in_the_order_given(tmp_path, scanned):
    truth, result = scanned
    order = [4, 0, 2]
    task = shard(tmp_path, ((result.rows_path, np.array(order)),))
    written = write_shard(task)
    data = (tmp_path / "data-00000.arrow").read_bytes()
    assert written.digest.path == "hf/train/data-00000.arrow"
    assert written.digest.sha256 == hashlib.sha256(data).hexdigest()
    assert (written.rows, written.left_out, written.issues) == (3, (), ())
    loaded = datasets.Dataset.from_file(task.path).cast_column(
        "image", datasets.Image(decode=False)
    )
    assert loaded["frame_index"][:] == [order_ * 6 for order_ in order]
    with zipfile.ZipFile(truth.path) as archive:
        members = [archive.read(truth.frames[k].image) for k in order]
    assert [image["bytes"] for image in loaded["image"]] == members
    assert written.image_bytes == sum(map(len, members))


def test_rows_may_come_from_several_files(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    parts = [scan_range(task) for task in scans(tmp_path, truth, frames_per_range=3)]
    rows = ((parts[1].rows_path, np.array([2, 0])), (parts[0].rows_path, np.array([1])))
    task = shard(tmp_path, rows)
    write_shard(task)
    assert datasets.Dataset.from_file(task.path)["frame_index"][:] == [30, 18, 6]


@pytest.mark.parametrize("bad", [[0], [5], [1, 3], range(6)])
def test_a_damaged_image_is_left_out_and_reported(tmp_path, bad):
    truth = write_sample_export(tmp_path / "a.zip", image_crc_flip=bad, **SMALL)
    (task,) = scans(tmp_path, truth)
    result = scan_range(task)
    assert read_table(result.issues_path).num_rows == 0  # the headers are whole
    order = [5, 4, 3, 2, 1, 0]
    own = shard(tmp_path, ((result.rows_path, np.array(order)),))
    written = write_shard(own)
    assert written.left_out == tuple(place for place, k in enumerate(order) if k in bad)
    assert written.rows == 6 - len(bad)
    assert [issue.code for issue in written.issues] == ["image_unreadable"] * len(bad)
    assert [issue.frame_index for issue in written.issues] == [k * 6 for k in order if k in bad]
    loaded = datasets.Dataset.from_file(own.path)
    assert loaded["frame_index"][:] == [k * 6 for k in order if k not in bad]


def test_a_reports_source_is_the_exports_name_not_its_place(tmp_path):
    """The report travels with the dataset; where the export lay on this machine does not."""
    truth = write_sample_export(tmp_path / "a.zip", image_crc_flip=[2], **SMALL)
    (task,) = scans(tmp_path, truth)
    rows = ((scan_range(task).rows_path, np.arange(6)),)
    (issue,) = write_shard(shard(tmp_path, rows)).issues
    assert issue.source == "a.zip"
    assert str(tmp_path) not in issue.message


def test_a_shard_again_is_the_same_bytes(tmp_path, scanned):
    _, result = scanned
    rows = ((result.rows_path, np.arange(6)),)
    one = write_shard(shard(tmp_path / "1", rows))
    two = write_shard(shard(tmp_path / "2", rows))
    assert one.digest == two.digest


def test_texts_follow_seed_and_box_style(tmp_path, scanned):
    _, result = scanned
    rows = ((result.rows_path, np.arange(6)),)

    def said(place, **changes):
        task = shard(tmp_path / place, rows, **changes)
        write_shard(task)
        return datasets.Dataset.from_file(task.path)["conversations"][:]

    assert said("a") == said("b")
    assert said("a") != said("c", texts=TextRules(seed=43))
    assert said("a") != said("d", texts=TextRules(boxes=BoxStyle(name="xyxy")))


def test_a_hidden_class_is_denied_and_never_listed(tmp_path):
    truth = write_sample_export(
        tmp_path / "b.zip", **SMALL | {"dialect": "real", "hidden": {2: (0, 1), 4: (1,)}}
    )
    (task,) = scans(tmp_path, truth)
    result = scan_range(task)
    index = read_table(result.rows_path)
    assert index["hidden_labels"].to_pylist()[2] == ["person", "dog"]
    texts = TextRules(odds=dict.fromkeys(["person", "dog"], Odds(visible=0, absent=2**32)))
    write_shard(shard(tmp_path, ((result.rows_path, np.arange(6)),), texts=texts))
    rows = datasets.Dataset.from_file(str(tmp_path / "data-00000.arrow"))["conversations"][:]
    denied = [set(re.findall("(?:tracked|annotated) (person|dog)", str(row))) for row in rows]
    assert denied == [set(), set(), set(), set(), {"dog"}, set()]
    assert not re.search("person|dog", str(rows[2]))


def test_batches_of_any_size_give_the_same_rows(tmp_path, scanned, monkeypatch):
    _, result = scanned
    rows = ((result.rows_path, np.arange(6)),)
    whole = shard(tmp_path / "whole", rows)
    write_shard(whole)
    monkeypatch.setattr("engine.stages._BATCH_ROWS", 2)
    monkeypatch.setattr("engine.stages._BATCH_BYTES", 30_000)
    cut = shard(tmp_path / "cut", rows)
    write_shard(cut)
    assert datasets.Dataset.from_file(cut.path)[:] == datasets.Dataset.from_file(whole.path)[:]


def test_a_quarantine_keeps_every_row_with_its_reasons(tmp_path):
    truth = write_sample_export(
        tmp_path / "a.zip", image_crc_flip=[1], frames_without_image=[2], **SMALL
    )
    (task,) = scans(tmp_path, truth)
    rows = ((scan_range(task).rows_path, np.array([0, 1, 2])),)
    own = shard(tmp_path, rows, reasons=(("a: b",), ("c: d", "e: f"), ("g: h",)))
    written = write_shard(own)
    assert (written.rows, written.left_out) == (3, ())
    (found,) = written.issues  # nobody had read this image before
    assert (found.code, found.frame_index) == ("image_unreadable", 6)
    loaded = datasets.Dataset.from_file(own.path).cast_column("image", datasets.Image(decode=False))
    new = f"image_unreadable: {found.message}"
    assert loaded["reasons"][:] == [["a: b"], ["c: d", "e: f", new], ["g: h"]]
    data = [(image or {}).get("bytes") for image in loaded["image"]]
    assert data[0] is not None
    assert data[1:] == [None, None]


def test_a_failed_write_leaves_no_shard(tmp_path, scanned, monkeypatch):
    _, result = scanned

    def full(*_args, **_keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.stages.row_batch", full)
    with pytest.raises(OSError, match="No space left"):
        write_shard(shard(tmp_path / "new", ((result.rows_path, np.arange(6)),)))
    assert list((tmp_path / "new").iterdir()) == []
