"""Pairs across splits against a loop over all pairs of frames."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.content_links import Link, Links, find_links
from engine.near_duplicates import near_duplicates
from tests.unit.test_content_links import BIG, PLAIN, ROWS, frames, video

NAMES = ("train", "validation", "test")


def found(links, table, sides):
    return near_duplicates(links, table, np.array(sides, np.int8), NAMES)


@settings(deadline=None)
@given(ROWS, st.data())
def test_pairs_against_a_loop(rows, data):
    rows = list({(row[0], row[1]): row for row in rows}.values())
    sides = data.draw(st.lists(st.integers(-1, 2), min_size=len(rows), max_size=len(rows)))
    document, issues = found(Links(), frames(*rows), sides)
    assert bool(issues) == bool(document["exact_pairs"])
    exact = plain = within = 0
    for (i, a), (j, b) in combinations(enumerate(rows), 2):
        apart = sides[i] >= 0 and sides[j] >= 0 and sides[i] != sides[j]
        if apart and a[2] is not None and a[2:] == b[2:]:
            plain += a[3] == PLAIN
            exact += a[3] != PLAIN
            within += a[3] != PLAIN and a[0] == b[0]
    assert document["exact_pairs"] == exact
    assert document["exact_pairs_plain"] == plain
    assert document["exact_pairs_within_videos"] == within
    by_id = {
        f"{row[0]}/{row[1]:06d}": (row[2:], side) for row, side in zip(rows, sides, strict=True)
    }
    images = set()
    for example in document["examples"]:
        (one, side), (other, other_side) = (by_id[each] for each in example["frames"])
        assert one == other and side != other_side and one[1] != PLAIN
        assert example["splits"] == [NAMES[side], NAMES[other_side]]
        images.add(one)
    assert len(images) == len(document["examples"])
    assert bool(images) == bool(exact)


def two_videos():
    looks = {"a": video(1, 2, 3), "b": video(1, 2, 9), "c": video(7, 8)}
    rows = [(name, 10 * i, None) for name in "abc" for i in range(3)]
    return find_links(looks, None), frames(*rows)


def test_near_pairs_and_a_note():
    links, table = two_videos()
    document, issues = found(links, table, [0, 0, 0, 2, 2, 1, 0, 1, 2])
    assert (document["exact_pairs"], document["near_pairs"]) == (0, 2)
    assert document["near_basis"] == "sampled, at most 3 frames a video"
    assert document["exact_basis"] == "complete"
    assert {tuple(e["frames"]) for e in document["examples"]} == {
        ("a/000000", "b/000000"), ("a/000010", "b/000010"),
    }  # fmt: skip
    assert document["examples"][0]["by"] == "looks alike"
    assert document["examples"][0]["splits"] == ["train", "test"]
    (issue,) = issues
    assert (issue.code, issue.video_id) == ("split_leakage", "a")
    assert issue.frame_id in ("a/000000", "a/000010")
    assert "as b (2 of 3 sampled frames alike, such as a/0000" in issue.message
    assert "its frames are in train (3), the other's in validation (1), test (2)" in issue.message


def test_a_group_on_one_side_is_no_leak():
    links, table = two_videos()
    document, issues = found(links, table, [1, 1, 1, 1, 1, 1, 0, 0, 2])
    assert (document["near_pairs"], document["examples"], issues) == (0, [], [])


def test_a_frame_in_no_split_counts_nowhere():
    links, table = two_videos()
    document, issues = found(links, table, [0, 0, 0, -1, -1, 0, 0, 0, 0])
    assert (document["near_pairs"], issues) == (0, [])
    _, issues = found(links, table, [0, 0, 0, -1, -1, -1, 0, 0, 1])
    assert issues == []


def test_the_note_counts_equal_images():
    table = frames(*(("a", i, i) for i in range(3)), *(("b", i, i) for i in range(3)))
    links = find_links({}, table)
    document, (issue,) = found(links, table, [0, 0, 0, 1, 1, 1])
    assert document["exact_pairs"] == 3
    assert "(3 images equal byte for byte, such as" in issue.message


def test_equal_images_of_one_video_in_two_splits_are_noted():
    table = frames(*(("still", i, 7) for i in range(5)), ("b", 0, 1), ("b", 1, 2))
    document, (issue,) = found(Links(), table, [0, 0, -1, 2, 0, 0, 1])
    assert document["exact_pairs"] == 3
    assert (issue.code, issue.video_id, issue.frame_id) == (
        "split_leakage", "still", "still/000000",
    )  # fmt: skip
    assert issue.message == (
        "4 frames have an image that is in another split too, equal byte for byte, such as "
        "still/000000 (train) and still/000003 (test)"
    )


def test_a_single_image_shared_by_two_videos_is_noted_for_both():
    table = frames(("a", 0, 7), ("a", 1, 1), ("b", 0, 2), ("b", 1, 7), ("c", 0, 7, PLAIN))
    document, issues = found(Links(), table, [0, 0, 0, 1, 2])
    assert document["exact_pairs"] == 1
    assert [(issue.video_id, issue.frame_id) for issue in issues] == [
        ("a", "a/000000"), ("b", "b/000001"),
    ]  # fmt: skip
    assert issues[1].message.startswith("1 frame has an image that is in another split too")
    assert issues[1].message.endswith("such as b/000001 (validation) and a/000000 (train)")


def test_no_frames():
    document, issues = found(Links(), frames(), [])
    assert (document["exact_pairs"], document["near_pairs"], issues) == (0, 0, [])


def test_many_equal_images_give_few_examples():
    table = frames(*(("a", i, i % 40, BIG) for i in range(80)))
    document, _ = found(Links(), table, [0] * 40 + [1] * 40)
    assert (document["exact_pairs"], len(document["examples"])) == (40, 10)


def test_a_link_without_frames_here_is_no_note():
    gone = Link(
        videos=("a", "z"), equal_images=2, images=(2, 2), alike=0, sampled=(0, 0),
        examples=(("a/000000", "z/000000"),),
    )  # fmt: skip
    _, issues = found(Links(links=(gone,)), frames(("a", 0, 1), ("a", 1, 2)), [0, 1])
    assert issues == []
