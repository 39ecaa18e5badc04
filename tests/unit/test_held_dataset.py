"""What the next version keeps: by the names of the files of an index, and the rows that stay."""

import numpy as np
import pyarrow as pa
import pytest

from engine.frame_index import gather
from engine.held_dataset import files_aside, held_dataset, is_of_split
from engine.index_files import IndexPart, index_name, write_index
from engine.intake import Intake
from engine.records import FRAME_SCHEMA, issue_table
from tests.unit.test_frame_index import row, row_file

FILES = (
    "excluded-temporal_gap-00000",
    "quarantine-00000",
    "test-00000",
    "train-00000",
    "train-00004",
)


@pytest.fixture
def out(tmp_path):
    """A dataset's index: of each file two rows, of a video called as it is; rows are in folds."""
    folder = tmp_path / "out"
    digests = []
    for name in FILES:
        what, number = name.rsplit("-", 1)
        frames = pa.Table.from_pylist([row(name, 0), row(name, 1)], schema=FRAME_SCHEMA)
        kept = what in ("train", "test")
        part = IndexPart(
            split=what if kept else None, status="kept" if kept else "excluded",
            folds=pa.array([1, -1], pa.int8()).to_numpy() if what == "train" else None,
        )  # fmt: skip
        digests.append(write_index(str(folder), index_name(what, int(number)), frames, part))
    return folder, digests


def held_of(out, *new, without=(), made_room=None):
    """What stays of it beside new rows, `without` some ids of old ones."""
    folder, digests = out
    files = tuple(f"{folder}/index/{name}.parquet" for name in FILES)
    index = gather([*files, row_file(folder / "new.parquet", *new)])
    old = index.table["file"].to_numpy() < len(files)
    keep = [
        not (is_old and i in without)
        for is_old, i in zip(old, index.table["id"].to_pylist(), strict=True)
    ]
    index = index.where(np.array(keep))
    places = {i: f"{folder}/index/{name}.parquet" for i, name in (made_room or {}).items()}
    intake = Intake(
        exports=(), index=index, issues=issue_table([]), frames_read=0, objects_read=0,
        made_room=places,
    )  # fmt: skip
    manifest = {
        "files": [{"path": d.path, "size_bytes": d.size_bytes, "sha256": d.sha256} for d in digests]
    }
    held = held_dataset(manifest, files, intake)
    return held, index.table["id"].to_pylist(), index.table["file"].to_numpy() < len(files)


def of(held_array, ids, video):
    return [int(v) for v, i in zip(held_array, ids, strict=True) if i.startswith(f"{video}/")]


def test_names_of_files_say_what_their_rows_are():
    places = [f"s3://b/index/{name}.parquet" for name in FILES]
    assert files_aside(tuple(places)) == {1}
    assert [is_of_split(place) for place in places] == [False, False, True, True, True]
    assert not is_of_split("/x/.staging/rows/scan-00000-000000.parquet")


def test_everything_stays_beside_newcomers(out):
    held, ids, old = held_of(out, row("new", 0))
    assert [(s.split, s.number, len(s.places)) for s in held.shards] == [
        ("quarantine", 0, 2), ("test", 0, 2), ("train", 0, 2), ("train", 4, 2),
    ]  # fmt: skip
    assert [file.path for file in held.excluded] == ["index/excluded-temporal_gap-00000.parquet"]
    assert held.intact.tolist() == old.tolist()
    assert held.newcomers.tolist() == (~old).tolist()
    assert of(held.codes, ids, "train-00004") == [0, 0]
    assert of(held.codes, ids, "test-00000") == [2, 2]
    assert of(held.codes, ids, "quarantine-00000") == of(held.codes, ids, "new") * 2 == [-1, -1]
    assert of(held.left_out, ids, "excluded-temporal_gap-00000") == [0, 0]
    assert of(held.folds, ids, "train-00000") == [1, -1]
    numbers = {"train": 5, "test": 1, "quarantine": 1, "excluded-temporal_gap": 1}
    assert held.next_number == numbers


def test_a_shard_that_lost_a_row_is_dissolved_and_its_number_is_not_given_again(out):
    gone = "train-00004/000001"
    held, ids, _ = held_of(
        out, row("train-00004", 1, digest="y"), row("new", 0), without=[gone],
        made_room={gone: "train-00004"},
    )  # fmt: skip
    assert ("train", 4) not in {(shard.split, shard.number) for shard in held.shards}
    assert held.next_number["train"] == 5
    assert of(held.intact, ids, "train-00004") == [0, 0]
    assert of(held.codes, ids, "train-00004") == [0, 0]  # also of the one that replaces a row
    assert of(held.newcomers, ids, "train-00004") == [0, 0]
    assert of(held.folds, ids, "train-00004")[0] == 1
    assert of(held.newcomers, ids, "new") == [1]


def test_what_replaces_a_frame_keeps_its_fold(out):
    """One whose frame was in no fold has none either, and what is new waits for one."""
    there, none = "train-00000/000000", "train-00004/000001"
    held, ids, _ = held_of(
        out, row("train-00000", 0, digest="y"), row("train-00004", 1, digest="y"), row("new", 0),
        without=[there, none],
        made_room={there: "train-00000", none: "train-00004"},
    )  # fmt: skip
    assert of(held.folds, ids, "train-00000") == [1, -1]
    assert of(held.folds, ids, "train-00004") == [1, -1]
    assert of(held.folds, ids, "new") == [-1]


def test_what_replaces_a_frame_that_was_left_out_is_left_out_and_one_set_aside_comes_back(out):
    left, aside = "excluded-temporal_gap-00000/000000", "quarantine-00000/000000"
    held, ids, _ = held_of(
        out, row(left[:-7], 0, digest="y"), row(aside[:-7], 0, digest="y"), without=[left, aside],
        made_room={left: FILES[0], aside: FILES[1]},
    )  # fmt: skip
    assert held.excluded == ()
    assert of(held.left_out, ids, FILES[0]) == [0, 0]
    assert of(held.newcomers, ids, FILES[0]) == [0, 0]
    assert sorted(of(held.newcomers, ids, FILES[1])) == [0, 1]
