"""Writing a shard: its rows to the formats and the index, and what it could not use."""

import hashlib
import re
import zipfile
from dataclasses import replace

import datasets
import numpy as np
import pytest

from engine.apart import Care
from engine.box_text import BoxStyle
from engine.config import Config
from engine.conversations import TextRules
from engine.existence import Odds
from engine.index_files import INDEX_SCHEMA
from engine.sample_export import write_sample_export
from engine.shards import ShardTask, write_shard
from engine.stages import scan_range
from engine.tables import read_table
from tests.scanning import SMALL, scans


def shard(tmp_path, rows, **changes):
    keywords = {
        "staging": str(tmp_path), "out": str(tmp_path), "split": "train", "number": 0,
        "rows": rows, "config": Config(), "texts": TextRules(), "reasons": None,
    }  # fmt: skip
    return ShardTask(**keywords | changes)


def arrow_of(task):
    folder = "quarantine" if task.reasons else f"hf/{task.split}"
    return datasets.Dataset.from_file(f"{task.staging}/{folder}/data-{task.number:05d}.arrow")


def undecoded(rows):
    return rows.cast_column("image", datasets.Image(decode=False))["image"]


@pytest.fixture
def scanned(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    (task,) = scans(tmp_path, truth)
    return truth, scan_range(task)


def test_a_shard_holds_the_rows_in_the_order_given(tmp_path, scanned):
    truth, result = scanned
    order = [4, 0, 2]
    task = shard(tmp_path, ((result.rows_path, np.array(order)),))
    written = write_shard(task)
    (file,) = written.parts["hf"].files
    data = (tmp_path / file.path).read_bytes()
    assert file.path == "hf/train/data-00000.arrow"
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert (written.rows, written.left_out, written.issues) == (3, (), ())
    loaded = arrow_of(task).cast_column("image", datasets.Image(decode=False))
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
    assert arrow_of(task)["frame_index"][:] == [30, 18, 6]


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
    loaded = arrow_of(own)
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
    assert one.texts == two.texts
    assert one.texts.rows == 6
    assert replace(one, texts_path=two.texts_path) == two


def test_texts_follow_seed_and_box_style(tmp_path, scanned):
    _, result = scanned
    rows = ((result.rows_path, np.arange(6)),)

    def said(place, **changes):
        task = shard(tmp_path / place, rows, texts=TextRules(**changes))
        write_shard(task)
        return arrow_of(task)["conversations"][:]

    assert said("a") == said("b")
    assert said("a") != said("c", seed=43)
    assert said("a") != said("d", boxes=BoxStyle(name="xyxy"))


def test_a_hidden_class_is_denied_and_never_listed(tmp_path):
    truth = write_sample_export(
        tmp_path / "b.zip", **SMALL | {"dialect": "real", "hidden": {2: (0, 1), 4: (1,)}}
    )
    (task,) = scans(tmp_path, truth)
    result = scan_range(task)
    index = read_table(result.rows_path)
    assert index["hidden_labels"].to_pylist()[2] == ["person", "dog"]
    texts = TextRules(odds=dict.fromkeys(["person", "dog"], Odds(visible=0, absent=2**32)))
    own = shard(tmp_path, ((result.rows_path, np.arange(6)),), texts=texts)
    write_shard(own)
    rows = arrow_of(own)["conversations"][:]
    denied = [set(re.findall("(?:tracked|annotated) (person|dog)", str(row))) for row in rows]
    assert denied == [set(), set(), set(), set(), {"dog"}, set()]
    assert not re.search("person|dog", str(rows[2]))


def test_batches_of_any_size_give_the_same_rows(tmp_path, scanned, monkeypatch):
    _, result = scanned
    rows = ((result.rows_path, np.arange(6)),)
    whole = shard(tmp_path / "whole", rows)
    write_shard(whole)
    monkeypatch.setattr("engine.shards._BATCH_ROWS", 2)
    monkeypatch.setattr("engine.shards._BATCH_BYTES", 30_000)
    cut = shard(tmp_path / "cut", rows)
    write_shard(cut)
    assert arrow_of(cut)[:] == arrow_of(whole)[:]


def test_a_quarantine_keeps_every_row_with_its_reasons(tmp_path):
    truth = write_sample_export(
        tmp_path / "a.zip", image_crc_flip=[1], frames_without_image=[2], **SMALL
    )
    (task,) = scans(tmp_path, truth)
    rows = ((scan_range(task).rows_path, np.array([0, 1, 2])),)
    own = shard(
        tmp_path, rows, split="quarantine", reasons=(("a: b",), ("c: d", "e: f"), ("g: h",))
    )
    written = write_shard(own)
    assert (written.rows, written.left_out) == (3, ())
    (found,) = written.issues  # nobody had read this image before
    assert (found.code, found.frame_index) == ("image_unreadable", 6)
    loaded = arrow_of(own).cast_column("image", datasets.Image(decode=False))
    new = f"image_unreadable: {found.message}"
    assert loaded["reasons"][:] == [["a: b"], ["c: d", "e: f", new], ["g: h"]]
    data = [(image or {}).get("bytes") for image in loaded["image"]]
    assert data[0] is not None
    assert data[1:] == [None, None]


def test_a_failed_write_leaves_no_shard(tmp_path, scanned, monkeypatch):
    _, result = scanned

    def full(*_args, **_keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.hf_columns.row_batch", full)
    with pytest.raises(OSError, match="No space left"):
        write_shard(shard(tmp_path / "new", ((result.rows_path, np.arange(6)),)))
    assert [file for file in (tmp_path / "new").rglob("*") if file.is_file()] == []


def test_the_index_has_every_row_and_its_place(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", image_crc_flip=[1], **SMALL)
    (task,) = scans(tmp_path, truth)
    rows = ((scan_range(task).rows_path, np.array([4, 1, 0])),)
    written = write_shard(shard(tmp_path, rows, number=3))
    assert written.index.path == "index/train-00003.parquet"
    index = read_table(str(tmp_path / written.index.path))
    assert index.schema.remove_metadata().equals(INDEX_SCHEMA)
    found = index.select(["split", "shard", "row", "status", "frame_index"]).to_pylist()
    name = "hf/train/data-00003.arrow"
    assert [tuple(row.values()) for row in found] == [
        ("train", name, 0, "kept", 24), ("train", name, 1, "kept", 0)
    ]  # fmt: skip
    loaded = datasets.Dataset.from_file(str(tmp_path / name))
    assert index["image_name"].to_pylist() == [image["path"] for image in undecoded(loaded)]
    for column in ("id", "labels", "masks", "areas", "object_ids"):
        assert loaded[column][:] == index[column].to_pylist()
    assert str(tmp_path) not in str(index.to_pylist())  # it travels with the dataset


def test_a_quarantined_row_is_in_no_split(tmp_path, scanned):
    _, result = scanned
    rows = ((result.rows_path, np.array([2])),)
    own = shard(tmp_path, rows, split="quarantine", reasons=(("a: b",),))
    (row,) = read_table(str(tmp_path / write_shard(own).index.path)).to_pylist()
    place = {key: row[key] for key in ("split", "shard", "row", "status")}
    assert place == {
        "split": None, "shard": "quarantine/data-00000.arrow", "row": 0, "status": "quarantined"
    }  # fmt: skip


def test_images_read_in_a_process_apart_give_the_same_bytes(tmp_path, scanned):
    _, result = scanned
    task = shard(tmp_path, ((result.rows_path, np.arange(6)),))
    together = write_shard(task)
    assert write_shard(replace(task, care=Care.APART)) == together


def test_a_shard_that_must_not_be_read_is_left_out_whole(tmp_path, scanned):
    _, result = scanned
    rows = ((result.rows_path, np.arange(6)),)
    written = write_shard(shard(tmp_path, rows, care=Care.UNREAD))
    assert (written.rows, written.left_out, written.image_bytes) == (0, (0, 1, 2, 3, 4, 5), 0)
    assert [issue.code for issue in written.issues] == ["frame_crashed"] * 6
    (tmp_path / "a.zip").unlink()
    known = tuple(("frame_crashed: it is so",) for _ in range(6))
    aside = write_shard(shard(tmp_path, rows, split="quarantine", reasons=known))
    assert (aside.rows, aside.issues) == (6, ())
    loaded = arrow_of(shard(tmp_path, rows, split="quarantine", reasons=known))
    assert undecoded(loaded)[:] == [None] * 6
