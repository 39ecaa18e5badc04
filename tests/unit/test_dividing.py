"""Newcomers beside frames that are divided: what holds already stays, in every part of it."""

from itertools import pairwise

import numpy as np
import pytest

from engine.config import Config
from engine.dividing import Settled, divide, divide_more
from engine.errors import UsageError
from tests.unit.test_frame_index import index_of, row


def index_with(tmp_path, videos, **more):
    rows = [
        row(video, n, timestamp_sec=n / 10, image_crc32=100 * at + n, **more)
        for at, (video, frames) in enumerate(videos.items())
        for n in frames
    ]
    return index_of(tmp_path, *rows)


def settled(index, codes=None, **more):
    """Everything is new but what `codes` says, by id."""
    blank = {name: np.full(len(index), -1, np.int8) for name in Settled.__dataclass_fields__}
    for name, told in {"codes": codes or {}, **more}.items():
        for place, frame in enumerate(index.table["id"].to_pylist()):
            blank[name][place] = told.get(frame, -1)
    return Settled(**blank)


def by_id(index, codes):
    return dict(zip(index.table["id"].to_pylist(), codes.tolist(), strict=True))


def test_what_is_settled_stays_and_newcomers_of_its_video_join_it(tmp_path):
    index = index_with(tmp_path, {"a": range(6), "b": range(4), "c": range(9)})
    there = {f"a/{n:06d}": 2 for n in range(3)} | {f"b/{n:06d}": 1 for n in range(4)}
    held = settled(index, there)
    division = divide_more(index, held.codes < 0, held, Config(group_by="video"))
    found = by_id(index, division.assignment)
    assert {frame: found[frame] for frame in there} == there
    assert {found[f"a/{n:06d}"] for n in range(6)} == {2}
    assert {found[f"c/{n:06d}"] for n in range(9)} == {0}  # where most is lacking


def test_a_frame_that_is_neither_there_nor_new_gets_no_split(tmp_path):
    """It is set aside, or was left out before: its reason stays."""
    index = index_with(tmp_path, {"a": range(4)})
    held = settled(index, {"a/000000": 0}, left_out={"a/000001": 1})
    new = np.array([False, False, True, False])
    division = divide_more(index, new, held, Config(group_by="none"))
    assert division.assignment[[1, 3]].tolist() == [-1, -1]
    assert division.assignment[2] >= 0
    assert division.excluded.tolist() == [-1, 1, -1, -1]


def test_a_very_image_that_is_there_is_joined_though_frames_are_dealt_singly(tmp_path):
    size = {"width": 64, "height": 48, "image_bytes": 9000}  # too many bytes for a black image
    index = index_of(
        tmp_path, *(row(video, n, image_crc32=n, **size) for video in "ab" for n in range(4))
    )
    there = {f"a/{n:06d}": code for n, code in enumerate((2, 1, 2, 1))}
    held = settled(index, there)
    division = divide_more(index, held.codes < 0, held, Config(group_by="none"))
    found = by_id(index, division.assignment)
    assert [found[f"b/{n:06d}"] for n in range(4)] == [2, 1, 2, 1]


def test_newcomers_keep_their_distance_where_videos_are_cut(tmp_path):
    index = index_with(tmp_path, {"a": range(40)})
    config = Config(split="temporal", temporal_segments=True, gap_sec=0.35)
    even = np.arange(40) % 2 == 0
    first = divide(index, even, config)
    held = Settled(
        codes=first.assignment, left_out=first.excluded, folds=first.folds,
        planned=np.full(40, -1, np.int8),
    )  # fmt: skip
    division = divide_more(index, ~even, held, config)
    assert (
        division.assignment[first.assignment >= 0] == first.assignment[first.assignment >= 0]
    ).all()
    kept = [(n, code) for n, code in enumerate(division.assignment.tolist()) if code >= 0]
    assert all(a == b or n - m >= 4 for (m, a), (n, b) in pairwise(kept))
    left = (division.assignment < 0).nonzero()[0]
    assert (division.excluded[left] >= 0).all()


def test_folds_are_kept_and_go_on(tmp_path):
    index = index_with(tmp_path, {name: range(5) for name in "abcdef"})
    config = Config(folds=2, ratios=(0.5, 0.5, 0.0), group_by="video")
    codes = {f"{v}/{n:06d}": "abcd".index(v) % 2 for v in "abcd" for n in range(5)}
    folds = {frame: "abcd".index(frame[0]) // 2 for frame in codes}
    held = settled(index, codes, folds=folds)
    division = divide_more(index, held.codes < 0, held, config)
    found = by_id(index, division.folds)
    assert {frame: found[frame] for frame in folds} == folds
    for video in "ef":
        assert len({found[f"{video}/{n:06d}"] for n in range(5)}) == 1
    assert found["e/000000"] != found["f/000000"]  # as even as they can be


def test_what_was_planned_before_an_image_turned_out_bad_stays_known(tmp_path):
    index = index_with(tmp_path, {"a": range(4)})
    held = settled(index, {"a/000000": 0, "a/000002": 0}, planned={"a/000001": 2})
    new = np.array([False, False, False, True])
    division = divide_more(index, new, held, Config())
    assert division.assignment[1] == -1
    assert division.document(division.assignment)["set_aside"] == {"a": {"test": "1"}}


def test_a_split_file_cannot_bring_back_frames_that_were_left_out(tmp_path):
    index = index_with(tmp_path, {"a": range(6)})
    gone = np.array([False, True, False, False, True, False])

    def divided(**splits):
        document = {"assignment": {"a": splits}, "ratios": {"train": 0.5, "test": 0.5}}
        return divide(index, ~gone, Config(split_file=document), gone=gone)

    with pytest.raises(UsageError) as caught:
        divided(train="0-3", test="4-5")
    assert "got 2 frames whose images it does not hold (a/000001, a/000004)" in str(caught.value)
    assert "prepare all exports again with this file" in str(caught.value)
    with pytest.raises(UsageError, match=r"got 1 frame whose image it does not hold .a/000001.,"):
        divided(train="0-3", test="5", excluded="4")
    found = divided(train="0,2-3", test="5", excluded="1,4")  # it leaves them out, too
    assert found.assignment.tolist() == [0, -1, 0, 0, -1, 2]
    assert divided(train="0,2-3", test="5").assignment.tolist() == [0, -1, 0, 0, -1, 2]


def test_too_few_frames_for_a_first_division_are_refused(tmp_path):
    index = index_with(tmp_path, {"a": range(4)})
    held = settled(index)
    with pytest.raises(UsageError):
        divide_more(index, held.codes < 0, held, Config(group_by="video"))
