"""Timelines against a plain grid of frames, and their bounds."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.records import Issue, issue_table
from engine.timelines import choose_videos, columns_of, marks_of, timeline


def issue(code, video="v", index=None, object_id=None):
    frame_id = None if index is None else f"{video}/{index:06d}"
    return Issue(
        code=code, source="", video_id=video, frame_id=frame_id, frame_index=index,
        object_id=object_id, message="",
    )  # fmt: skip


@given(st.integers(0, 2000))
def test_columns_are_even_and_never_fall(frames):
    columns = columns_of(frames).tolist()
    assert len(columns) == frames
    assert columns == sorted(columns)
    sizes = Counter(columns)
    assert sorted(sizes) == list(range(min(frames, 160)))
    assert not sizes or max(sizes.values()) - min(sizes.values()) <= 1


@given(
    st.integers(1, 400),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 399)), max_size=300),
)
def test_what_is_drawn_is_what_is_visible(frames, seen):
    columns = columns_of(frames).tolist()
    grid = {(i, f) for i, f in seen if f < frames}
    visible = Counter((i, f"c{i}", columns[f]) for i, f in grid)
    found = timeline("v", list(range(0, 2 * frames, 2)), visible, (), 0)
    assert found.frames == frames
    of_column = Counter(columns)
    for track in found.tracks:
        drawn = {}
        for name in ("whole", "partly"):
            for start, stop in getattr(track, name):
                for column in range(start, stop):
                    assert column not in drawn
                    drawn[column] = name
        expected = {}
        for column in of_column:
            n = sum((track.object_id, f) in grid for f in range(frames) if columns[f] == column)
            if n:
                expected[column] = "whole" if n == of_column[column] else "partly"
        assert drawn == expected
        assert track.frames == sum(i == track.object_id for i, _ in grid)
    assert [t.object_id for t in found.tracks] == sorted({i for i, _ in grid})
    for column, (first, last) in enumerate(found.indices):
        own = [2 * f for f in range(frames) if columns[f] == column]
        assert (first, last) == (own[0], own[-1])


def test_stretches_that_touch_are_one():
    visible = {(1, "a", column): 1 for column in (0, 1, 2, 4, 6, 7)}
    (track,) = timeline("v", list(range(9)), visible, (), 0).tracks
    assert track.whole == ((0, 3), (4, 5), (6, 8))
    assert track.partly == ()


def test_objects_with_findings_come_before_longer_ones():
    visible = {(i, "a", column): 1 for i in range(30) for column in range(40 - i)}
    issues = issue_table([issue("mask_empty", index=3, object_id=29)])
    columns = {f"v/{i:06d}": i for i in range(40)}
    marks = marks_of(issues, columns, {})
    found = timeline("v", list(range(40)), visible, marks, 1)
    assert [t.object_id for t in found.tracks] == [*range(15), 29]
    assert found.tracks_omitted == 14


def test_an_object_whose_label_changes_has_two_tracks():
    visible = {(0, "dog", 0): 1, (0, "cat", 1): 1}
    found = timeline("v", [4, 9], visible, (), 0)
    assert [(t.label, t.whole) for t in found.tracks] == [("cat", ((1, 2),)), ("dog", ((0, 1),))]


def test_marks_have_the_worst_severity_and_every_code():
    columns = {"v/000001": 0, "v/000002": 0, "v/000003": 1, "v/000004": 2}
    issues = issue_table([
        issue("bbox_mismatch", index=1, object_id=7), issue("mask_empty", index=2, object_id=3),
        issue("bbox_mismatch", index=2, object_id=3), issue("bbox_mismatch", index=3),
        issue("image_mode", index=4), issue("overlay_burned_in"), issue("mask_empty", index=9),
    ])  # fmt: skip
    policy = {"image_mode": "note"}
    first, second = marks_of(issues, columns, policy)
    assert (first.column, first.severity) == (0, "error")
    assert first.codes == (("bbox_mismatch", 2), ("mask_empty", 1))
    assert first.objects == (3, 7)
    assert (second.column, second.severity, second.objects) == (1, "warning", ())


def test_the_reports_severities_count():
    columns = {"v/000001": 0, "v/000002": 1}
    issues = issue_table([issue("bbox_mismatch", index=1), issue("mask_empty", index=2)])
    policy = {"bbox_mismatch": "error", "mask_empty": "note"}
    (mark,) = marks_of(issues, columns, policy)
    assert (mark.column, mark.severity) == (0, "error")


def test_videos_with_errors_come_first_then_warnings_then_names():
    issues = issue_table(
        [issue("bbox_mismatch", "w")] * 9
        + [issue("mask_empty", "e"), issue("bbox_mismatch", "w2")]
        + [issue("mask_empty", "ee")] * 2
    )
    chosen = choose_videos(["b", "e", "ee", "w2", "w", "a"], issues, {})
    assert chosen == [("ee", 2), ("e", 1), ("w", 9), ("w2", 1), ("a", 0), ("b", 0)]
    policy = {"bbox_mismatch": "error", "mask_empty": "warning"}
    assert choose_videos(["e", "w2", "w"], issues, policy)[0] == ("w", 9)


@pytest.mark.parametrize("videos", [0, 12, 500])
def test_the_number_of_videos_is_bounded(videos):
    chosen = choose_videos([f"v{i:03d}" for i in range(videos)], issue_table([]), {})
    assert len(chosen) == min(videos, 12)
    assert chosen == sorted(chosen)


def test_a_video_without_frames_or_indices_has_a_timeline():
    assert timeline("v", [], {}, (), 3).indices == ()
    assert timeline("v", [None, None], {}, (), 0).indices == ((None, None), (None, None))
