"""Shards against a plain loop, and the way back from a shard to the rows it is made of."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.frame_index import FrameIndex
from engine.plan import plan_shards, rows_of

FOLDERS = ["train", "validation", "test"]


def index_of(sizes, files=None, rows=None, labels=None):
    n = len(sizes)
    table = pa.table(
        {
            "labels": pa.array(labels or [["dog"]] * n, pa.list_(pa.string())),
            "image_bytes": pa.array(sizes, pa.int64()),
            "file": pa.array(files if files is not None else [0] * n, pa.int32()),
            "row": pa.array(rows if rows is not None else range(n), pa.int32()),
        }
    )
    return FrameIndex(files=("a", "b", "c"), table=table)


def plan(index, assignment, *, rows=10**6, n_bytes=10**9):
    return plan_shards(
        index, np.array(assignment, np.int8), FOLDERS, rows_per_shard=rows, shard_bytes=n_bytes
    )


def by_hand(sizes, assignment, rows, n_bytes):
    """Fill a shard until the next frame would be too much for it."""
    shards = []
    for code, folder in enumerate(FOLDERS):
        number, now, weight = 0, [], 0
        for place in [i for i, a in enumerate(assignment) if a == code]:
            size = sizes[place] or 0
            if now and (len(now) == rows or weight + size > n_bytes):
                shards.append((folder, number, now))
                number, now, weight = number + 1, [], 0
            now, weight = [*now, place], weight + size
        if now:
            shards.append((folder, number, now))
    return shards


@settings(max_examples=200, deadline=None)
@given(
    frames=st.lists(st.tuples(st.none() | st.integers(0, 30), st.integers(-1, 2)), max_size=40),
    rows=st.integers(1, 8),
    n_bytes=st.integers(1, 60),
)
def test_shards_are_those_of_a_plain_loop(frames, rows, n_bytes):
    sizes, assignment = [size for size, _ in frames], [code for _, code in frames]
    found = plan(index_of(sizes), assignment, rows=rows, n_bytes=n_bytes)
    assert [(s.split, s.number, s.places.tolist()) for s in found] == by_hand(
        sizes, assignment, rows, n_bytes
    )


def test_an_image_larger_than_a_shard_is_one_by_itself():
    found = plan(index_of([5, 100, 5]), [0, 0, 0], n_bytes=10)
    assert [shard.places.tolist() for shard in found] == [[0], [1], [2]]


def test_the_first_row_of_a_split_has_objects():
    """Readers of line files take the type of a column from its first rows."""
    labels = [[], None, ["dog"], [], ["cat"]]
    found = plan(index_of([1] * 5, labels=labels), [0] * 5, rows=2)
    assert [shard.places.tolist() for shard in found] == [[2, 0], [1, 3], [4]]
    bare = plan(index_of([1] * 3, labels=[[], None, []]), [0, 0, 1])
    assert [shard.places.tolist() for shard in bare] == [[0, 1], [2]]


def test_frames_that_are_set_aside_are_in_no_shard():
    assert plan(index_of([1, 1]), [-1, -1]) == []
    assert plan(index_of([]), []) == []


def test_a_later_frame_moves_no_earlier_shard():
    """Shards never change: the plan of more frames begins with the plan of fewer."""
    sizes = [7, 3, 9, 2, 2, 8, 1, 6]
    few = plan(index_of(sizes[:6]), [0] * 6, n_bytes=12)
    more = plan(index_of(sizes), [0] * 8, n_bytes=12)
    assert [s.places.tolist() for s in few[:-1]] == [
        s.places.tolist() for s in more[: len(few) - 1]
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50)), min_size=1, max_size=30))
def test_rows_lead_back_to_the_frames(places):
    files, rows = [file for file, _ in places], [row for _, row in places]
    index = index_of([1] * len(places), files, rows)
    chosen = np.arange(len(places))[:: 2 if len(places) > 3 else 1]
    flat = [(name, int(row)) for name, stretch in rows_of(index, chosen) for row in stretch]
    assert flat == [(index.files[files[i]], rows[i]) for i in chosen]


def test_rows_of_one_file_are_one_stretch():
    index = index_of([1] * 5, [0, 0, 2, 2, 0], [4, 2, 0, 1, 0])
    found = [(name, rows.tolist()) for name, rows in rows_of(index, np.arange(5))]
    assert found == [("a", [4, 2]), ("c", [0, 1]), ("a", [0])]
