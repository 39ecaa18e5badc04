"""The driver's view of all frames against plain loops over the same rows."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import frame_index
from engine.frame_index import FrameIndex, gather, split_input
from engine.records import FRAME_SCHEMA
from engine.tables import write_table


def row(video, number, labels=("dog",), digest="x", **more):
    return {
        "id": f"{video}/{number:06d}", "video_id": video, "frame_index": number,
        "labels": list(labels), "objects_declared": len(labels), "objects_hidden": 0, "errors": 0,
        "image_bytes": 10, "image_crc32": 7, "annotation_digest": digest,
        "masks": [{"size": [1, 1], "counts": "1"}] * len(labels),
    } | more  # fmt: skip


def row_file(path, *rows):
    write_table(str(path), pa.Table.from_pylist(list(rows), schema=FRAME_SCHEMA))
    return str(path)


def index_of(tmp_path, *rows):
    return gather([row_file(tmp_path / "rows.parquet", *rows)])


def test_rows_are_sorted_and_know_where_they_lie(tmp_path):
    files = [
        row_file(tmp_path / "0.parquet", row("b", 5), row("a", 9)),
        row_file(tmp_path / "1.parquet"),
        row_file(tmp_path / "2.parquet", row("a", 10), row("a", 2), row("b", 0)),
    ]
    index = gather(files)
    assert len(index) == 5
    assert index.files == tuple(files)
    found = index.table.select(["id", "file", "row"]).to_pylist()
    assert [(r["id"], r["file"], r["row"]) for r in found] == [
        ("a/000002", 2, 1),
        ("a/000009", 0, 1),
        ("a/000010", 2, 0),
        ("b/000000", 2, 2),
        ("b/000005", 0, 0),
    ]


def test_masks_are_not_read(tmp_path):
    assert "masks" not in index_of(tmp_path, row("a", 1)).table.column_names


def test_the_order_of_the_files_shows_in_their_places_only(tmp_path):
    one = row_file(tmp_path / "1.parquet", row("b", 5), row("a", 9))
    two = row_file(tmp_path / "2.parquet", row("a", 10))
    columns = ["id", "labels", "annotation_digest"]
    first, second = (gather(files).table.select(columns) for files in ([one, two], [two, one]))
    assert first.equals(second)


def test_no_file_and_no_row_is_an_empty_index(tmp_path):
    none, empty = gather([]), index_of(tmp_path)
    assert len(none) == len(empty) == 0
    assert none.table.schema.equals(empty.table.schema)
    assert split_input(none).ids.to_pylist() == []


def test_frames_are_chosen_by_a_mask(tmp_path):
    index = index_of(tmp_path, *(row("a", n) for n in range(4)))
    kept = index.where(np.array([True, False, False, True]))
    assert kept.table["id"].to_pylist() == ["a/000000", "a/000003"]
    assert kept.files == index.files


LABELS = st.lists(st.sampled_from(["dog", "Dog", "car", "\u00e9"]), max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), LABELS), max_size=10))
def test_the_split_sees_what_is_there(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("split")
    index = index_of(folder, *(row(v, n, labels) for n, (v, labels) in enumerate(rows)))
    data = split_input(index)
    expected = {f"{v}/{n:06d}": (v, n, Counter(labels)) for n, (v, labels) in enumerate(rows)}
    assert data.ids.to_pylist() == sorted(expected)
    assert list(data.class_names) == sorted({label for _, labels in rows for label in labels})
    for place, frame in enumerate(data.ids.to_pylist()):
        span = slice(data.indptr[place], data.indptr[place + 1])
        names = [data.class_names[k] for k in data.classes[span]]
        assert len(set(names)) == len(names)
        counts = dict(zip(names, data.counts[span].tolist(), strict=True))
        found = (data.video_names[data.video[place]], int(data.frame_index[place]), counts)
        assert found == expected[frame]
    assert data.indptr[-1] == len(data.classes) == len(data.counts)


def test_frames_without_an_index_go_to_the_split_as_minus_one(tmp_path):
    index = index_of(tmp_path, row("a", 1) | {"frame_index": None}, row("a", 3))
    assert sorted(split_input(index).frame_index.tolist()) == [-1, 3]


def test_an_index_is_frozen(tmp_path):
    with pytest.raises(AttributeError):
        index_of(tmp_path, row("a", 1)).duplicates = 4
    assert FrameIndex(files=(), table=pa.table({})).duplicates == 0


def test_how_many_files_and_frames_are_taken_at_once_makes_no_difference(tmp_path, monkeypatch):
    labels = [["dog"], [], ["car", "dog", "car"], ["Dog"], ["car"]]
    rows = [row(video, n, labels[n % 5]) for n in range(13) for video in "ba"]
    files = [row_file(tmp_path / f"{k}.parquet", *rows[k::5]) for k in range(5)]
    whole = gather(files)
    seen = split_input(whole)
    monkeypatch.setattr(frame_index, "_FILES_AT_ONCE", 2)
    monkeypatch.setattr(frame_index, "_FRAMES_AT_ONCE", 3)
    assert gather(files).table.equals(whole.table)
    for name in ("indptr", "classes", "counts"):
        np.testing.assert_array_equal(getattr(split_input(whole), name), getattr(seen, name))
