"""Frames that come more than once: in one run, and to a dataset that holds them already."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.frame_index import gather
from engine.repeated_frames import Held, merge_repeated
from tests.unit.test_frame_index import index_of, row, row_file

EXPORTS = ["first", "second", "third"]


def told(merged):
    return [(issue.code, issue.frame_id, issue.frame_index) for issue in merged.issues]


def test_equal_rows_are_counted_once_and_named(tmp_path):
    index = index_of(tmp_path, row("a", 1), row("a", 1), row("a", 1), row("a", 2), row("b", 1))
    merged = merge_repeated(index)
    assert merged.index.table["id"].to_pylist() == ["a/000001", "a/000002", "b/000001"]
    assert merged.index.duplicates == 2
    assert told(merged) == [("frame_duplicate", "a/000001", 1)] * 2
    assert merged.index.where(np.array([True, True, False])).duplicates == 2
    assert merged.left_out["id"].to_pylist() == ["a/000001"] * 2


def test_rows_that_contradict_each_other_all_stay(tmp_path):
    index = index_of(tmp_path, row("a", 1), row("a", 1, digest="y"), row("a", 2))
    merged = merge_repeated(index)
    assert len(merged.index) == 3
    assert merged.index.duplicates == merged.contradictions == 0
    assert told(merged) == [("frame_conflict", "a/000001", 1)]


def test_nothing_repeated_is_no_issue(tmp_path):
    for index in (index_of(tmp_path, row("a", 1), row("a", 2), row("b", 1)), gather([])):
        merged = merge_repeated(index)
        assert merged.index.table.equals(index.table)
        assert not merged.issues
        assert not len(merged.left_out)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.sampled_from("xyz")), max_size=12
    )
)
def test_a_frame_that_is_contradicted_anywhere_has_a_conflict(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("merge")
    merged = merge_repeated(index_of(folder, *(row(v, n, digest=d) for v, n, d in rows)))
    digests = {}
    for video, number, digest in rows:
        digests.setdefault(f"{video}/{number:06d}", set()).add(digest)
    conflicts = {issue.frame_id for issue in merged.issues if issue.code == "frame_conflict"}
    assert conflicts == {frame for frame, seen in digests.items() if len(seen) > 1}
    kept = Counter(merged.index.table["id"].to_pylist())
    assert set(kept) == set(digests)
    assert all(kept[frame] == 1 for frame, seen in digests.items() if len(seen) == 1)
    assert len(merged.index) + merged.index.duplicates == len(rows)


def taken(tmp_path, old, new, aside=(), **how):
    """Rows that a dataset holds, some set aside, and rows that come to it."""
    files = [
        row_file(tmp_path / "kept.parquet", *old),
        row_file(tmp_path / "aside.parquet", *aside),
        row_file(tmp_path / "new.parquet", *new),
    ]
    held = Held(files=2, aside={1}, sources=[f"{name}.zip" for name in EXPORTS], **how)
    return merge_repeated(gather(files, EXPORTS), held)


def stayed(merged):
    table = merged.index.table
    columns = (table[name].to_pylist() for name in ("frame_index", "annotation_digest", "file"))
    return list(zip(*columns, strict=True))


def test_what_is_there_stays_beside_an_equal_record(tmp_path):
    old, new = row("a", 1, export_digest="second"), row("a", 1, export_digest="first")
    merged = taken(tmp_path, [old], [new, row("a", 2, export_digest="first")])
    assert stayed(merged) == [(1, "x", 0), (2, "x", 2)]
    assert told(merged) == [("frame_duplicate", "a/000001", 1)]
    assert merged.issues[0].source == "first.zip"
    made_anew = taken(tmp_path, [old], [new], first=False)
    assert stayed(made_anew) == [(1, "x", 2)]
    assert made_anew.index.duplicates == 1
    assert made_anew.issues[0].source == "second.zip"
    assert stayed(taken(tmp_path, [new], [old], first=False)) == [(1, "x", 0)]


@pytest.mark.parametrize(
    ("on_conflict", "rows", "replaced", "code"),
    [
        ("fail", [(1, "x", 0), (1, "y", 2)], 0, "frame_conflict"),
        ("keep", [(1, "x", 0)], 1, "conflict_resolved"),
        ("replace", [(1, "y", 2)], 1, "conflict_resolved"),
    ],
)
def test_a_record_that_contradicts_what_is_there(tmp_path, on_conflict, rows, replaced, code):
    old = row("a", 1, labels=("dog",))
    new = row("a", 1, labels=("dog", "cat"), digest="y", export_digest="third")
    merged = taken(tmp_path, [old], [new], on_conflict=on_conflict)
    assert stayed(merged) == rows
    assert merged.contradictions == (on_conflict == "fail")
    assert told(merged) == [(code, "a/000001", 1)]
    assert merged.issues[0].source == "third.zip"
    index = merged.index
    assert (index.replaced, index.duplicates) == (replaced, 0)
    assert index.objects + index.replaced_objects == 3


def test_a_record_with_errors_replaces_nothing(tmp_path):
    new = row("a", 1, digest="y", errors=1)
    merged = taken(tmp_path, [row("a", 1)], [new], on_conflict="replace")
    assert stayed(merged) == [(1, "x", 0)]


def test_two_that_replace_and_contradict_each_other_are_undecided(tmp_path):
    new = [row("a", 1, digest="y"), row("a", 1, digest="z")]
    merged = taken(tmp_path, [row("a", 1)], new, on_conflict="replace")
    assert merged.contradictions == 1
    assert not merged.made_room
    assert [code for code, *_ in told(merged)] == ["frame_conflict", "frame_conflict"]


def test_of_two_equal_ones_that_replace_one_is_counted(tmp_path):
    new = [row("a", 1, digest="y"), row("a", 1, digest="y")]
    merged = taken(tmp_path, [row("a", 1)], new, on_conflict="replace")
    assert stayed(merged) == [(1, "y", 2)]
    assert (merged.contradictions, merged.index.replaced, merged.index.duplicates) == (0, 1, 1)


@pytest.mark.parametrize("more", [{"digest": "y"}, {"image_crc32": 8}])
def test_what_was_set_aside_gives_way_to_another_record(tmp_path, more):
    merged = taken(tmp_path, [], [row("a", 1, **more)], aside=[row("a", 1), row("a", 2)])
    assert [file for *_, file in stayed(merged)] == [2, 1]
    assert merged.index.replaced == 1
    assert not merged.issues


def test_what_was_set_aside_stays_beside_the_same_record(tmp_path):
    merged = taken(tmp_path, [], [row("a", 1)], aside=[row("a", 1)])
    assert stayed(merged) == [(1, "x", 1)]
    assert told(merged) == [("frame_duplicate", "a/000001", 1)]


def test_the_same_record_of_a_frame_with_a_damaged_image_takes_its_place(tmp_path):
    """The CRC that is declared for an image says nothing of its bytes."""
    merged = taken(
        tmp_path, [], [row("a", 1), row("a", 2)], aside=[row("a", 1), row("a", 2)],
        damaged={"a/000001"},
    )  # fmt: skip
    assert stayed(merged) == [(1, "x", 2), (2, "x", 1)]
    assert merged.index.replaced == merged.index.duplicates == 1
    assert list(merged.made_room) == ["a/000001"]
    samples = taken(tmp_path, [row("a", 1)], [row("a", 1)], damaged={"a/000001"})
    assert stayed(samples) == [(1, "x", 0)]


def test_contradictions_that_were_set_aside_are_not_told_again(tmp_path):
    merged = taken(tmp_path, [], [], aside=[row("a", 1), row("a", 1, digest="y")])
    assert len(merged.index) == 2
    assert not merged.issues
