"""Which cases are shown. The messages are those of real checks, so that both sides stay in step."""

import json

import numpy as np
import pytest

from engine import Config, Execution, validate
from engine.records import Issue, issue_table
from engine.sample_export import write_sample_export
from engine.worst_cases import Case, deviations, worst_cases


def issue(video, index, message="", code="mask_empty", object_id=None):
    return Issue(
        code=code, source="a.zip", video_id=video, frame_id=f"{video}/{index:06d}",
        frame_index=index, object_id=object_id, message=message,
    )  # fmt: skip


def chosen(issues, limit=6, code="mask_empty"):
    return [case.frame_id for case in worst_cases(issue_table(issues), code, limit)]


def jump(factor, index=1, video="v"):
    message = f"area is 9 px, {factor:.2g} times the 3 px of frame 7, expected a change"
    return issue(video, index, message, "area_jump", 4)


def test_without_figures_every_video_comes_once_before_any_comes_twice():
    issues = [issue(v, i) for v, n in (("a", 4), ("b", 1), ("c", 2)) for i in range(n)]
    expected = ["a/000000", "b/000000", "c/000000", "a/000001", "c/000001", "a/000002"]
    assert chosen(issues) == expected
    assert chosen(issues[::-1]) == expected
    assert chosen(issues, limit=2) == expected[:2]


def test_a_frame_is_shown_once_with_all_its_objects():
    issues = [issue("a", 1, object_id=i) for i in (5, 2, 5)] + [issue("a", 0), issue("b", 0)]
    cases = worst_cases(issue_table(issues), "mask_empty", 6)
    assert cases[2] == Case(frame_id="a/000001", object_ids=(2, 5), beside=None)
    assert [case.frame_id for case in cases] == ["a/000000", "b/000000", "a/000001"]


def test_the_largest_deviation_comes_first_up_or_down():
    issues = [jump(2, 1), jump(0.1, 2), jump(5, 3), jump(0.3, 4)]
    assert chosen(issues, code="area_jump") == ["v/000002", "v/000003", "v/000004", "v/000001"]
    (worst, *_) = worst_cases(issue_table(issues), "area_jump", 1)
    assert worst == Case(frame_id="v/000002", object_ids=(4,), beside="v/000007")


def test_other_codes_and_issues_without_a_frame_are_left_out():
    video = Issue(code="mask_empty", source="a.zip", video_id="a", message="of the video")
    assert chosen([video, issue("a", 1, code="bbox_mismatch")]) == []
    assert worst_cases(issue_table([]), "mask_empty", 6) == []


def test_a_message_of_another_form_is_no_worse_than_any():
    table = issue_table([jump(2), issue("v", 2, "what?", "area_jump")])
    assert deviations(table, "area_jump").tolist()[0] == 2
    assert chosen([issue("v", 2, "what?", "area_jump"), jump(2, 9)], code="area_jump") == [
        "v/000009", "v/000002",
    ]  # fmt: skip
    odd = issue_table([issue("v", 1, ", 1.2.3 times the ", "area_jump")])
    assert np.isfinite(deviations(odd, "area_jump")).all()


FAULTS = {
    "area_jump": ({"area_jump": {12: 3.5}}, 3.5),
    "centroid_jump": ({"centroid_jump": {12: 0.4}}, 0.4 * 320),
    "object_flicker": ({"flicker": [12]}, 1),
    "bbox_mismatch": ({"bbox_off": {12: 9}}, 9),
    "mask_area_mismatch": ({"area_off": {12: 400}}, 400),
    "timestamp_mismatch": ({"timestamp_off": {12: 0.5}}, 0.5),
}


@pytest.mark.parametrize("code", sorted(FAULTS))
def test_the_figures_of_real_messages_are_read(code, tmp_path):
    keywords, deviation = FAULTS[code]
    write_sample_export(tmp_path / "a.zip", dialect="coco", truth=False, **keywords)
    report = tmp_path / "report"
    validate([str(tmp_path / "a.zip")], str(report), Config(), Execution(runner="local"))
    document = (report / "issues.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, document) if row["code"] == code]
    issues = issue_table([Issue(**{k: v for k, v in r.items() if k != "severity"}) for r in rows])
    found = deviations(issues, code)
    assert found.max() == pytest.approx(deviation, rel=0.35)
    (case, *_) = worst_cases(issues, code, 6)
    assert case.frame_id.endswith("/000072")
    beside = {"area_jump", "centroid_jump", "object_flicker"}
    assert (case.beside is not None) == (code in beside)
    if code in beside:
        assert case.beside.endswith("/000066")
