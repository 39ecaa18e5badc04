"""Which frames are set aside, and why."""

from engine.aside import reasons_aside, set_aside
from engine.intake import Intake
from engine.policy import Policy
from engine.records import Issue, issue_table
from tests.unit.test_frame_index import index_of, row

POLICY = Policy()


def issue(code, video="a", number=None, message="why"):
    frame = None if number is None else f"{video}/{number:06d}"
    return Issue(code=code, source="a.zip", video_id=video, frame_id=frame, message=message)


def intake(tmp_path, *issues, **more):
    index = index_of(tmp_path, row("a", 0), row("a", 1), row("b", 0))
    return Intake(
        exports=(), index=index, issues=issue_table(list(issues)), frames_read=3, objects_read=3,
        **more,
    )  # fmt: skip


def test_frames_with_an_error_and_no_others(tmp_path):
    found = intake(tmp_path, issue("mask_malformed", "a", 1), issue("image_black", "b", 0))
    assert set_aside(found, POLICY).tolist() == [False, True, False]


def test_an_error_of_a_video_is_one_of_all_its_frames(tmp_path):
    found = intake(tmp_path, issue("overlay_burned_in", "a"))
    assert not set_aside(found, POLICY).any()
    strict = Policy(fail_on=("overlay_burned_in",))
    aside = set_aside(found, strict)
    assert aside.tolist() == [True, True, False]
    assert reasons_aside(found, aside, strict) == {
        "a/000000": ("overlay_burned_in: why",), "a/000001": ("overlay_burned_in: why",),
    }  # fmt: skip


def test_what_a_first_run_could_not_foresee(tmp_path):
    """Bad images that were planned for a split take part; other errors of such frames count."""
    issues = [issue("image_unreadable", "a", n) for n in (0, 1)]
    found = intake(tmp_path, *issues, planned={"a/000001": 0})
    assert set_aside(found, POLICY).tolist() == [True, True, False]
    assert set_aside(found, POLICY, foreseen=False).tolist() == [True, False, False]
    more = intake(tmp_path, *issues, issue("frame_conflict", "a", 1), planned={"a/000001": 0})
    assert set_aside(more, POLICY, foreseen=False).tolist() == [True, True, False]


def test_every_reason_is_given(tmp_path):
    found = intake(
        tmp_path, issue("mask_malformed", "a", 1, "one"), issue("image_truncated", "a", 1, "two"),
        issue("image_black", "a", 1, "no error"),
    )  # fmt: skip
    aside = set_aside(found, POLICY)
    assert reasons_aside(found, aside, POLICY) == {
        "a/000001": ("mask_malformed: one", "image_truncated: two")
    }
