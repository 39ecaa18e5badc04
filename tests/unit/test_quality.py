"""Findings and status from issues and tallies, with the specification's numbers to the letter."""

import json

import pyarrow as pa
import pytest

import engine
from engine import Config, Execution, NotTrainableError
from engine.findings import CODES
from engine.quality import (
    count_labels,
    findings_of,
    imbalance_of,
    is_placeholder,
    judge,
    label_issues,
    status_of,
)
from engine.records import Issue, issue_table
from engine.sample_export import write_sample_export

HERE = Execution(runner="local")
# Small pictures, few of them: it is the number of frames that matters here.
THOUSAND = {
    "frames": 1000, "width": 24, "height": 16, "dialect": "coco", "distinct_images": 4,
    "truth": False, "labels": ("person",), "indent": None,
}  # fmt: skip
TOTALS = {"frame": 100, "object": 200, "video": 2, "label": 3}


def prepare(path, out, **config):
    return engine.prepare([str(path)], str(out), Config(**config), HERE)


def report_of(out):
    return json.loads((out / "report/validation.json").read_text(encoding="utf-8"))


def table(*labels):
    return pa.table(
        {
            "video_id": ["v"] * len(labels),
            "labels": pa.array(labels, pa.list_(pa.string())),
            "objects_declared": pa.array([len(each) for each in labels], pa.int32()),
        }
    )


# The specification's acceptance figures.


def test_15_of_1000_frames_without_annotations_fail_and_are_listed(tmp_path):
    bare = [*range(10, 20), 500, 501, 700, 998, 999]
    path = write_sample_export(tmp_path / "a.zip", frames_without_objects=bare, **THOUSAND).path
    out = tmp_path / "out"
    assert prepare(path, out)["status"] == "FAILED"
    report = report_of(out)
    assert report["status"] == "FAILED"
    (finding,) = report["findings"]
    assert finding["code"] == "missing_annotations"
    assert finding["message"] == "15 frames (1.5%) have no annotations"
    assert (finding["count"], finding["fraction"]) == (15, 0.015)
    video_id = report["exports"][0]["video_id"]
    assert finding["frames"] == [f"{video_id}/{place * 6:06d}" for place in bare]
    issues = [json.loads(line) for line in (out / "report/issues.jsonl").open()]
    assert [issue["frame_id"] for issue in issues] == finding["frames"]
    with pytest.raises(NotTrainableError, match=r"15 frames \(1\.5%\)") as shut:
        engine.require_trainable(str(out))
    assert shut.value.exit_code == 1
    assert len(shut.value.reasons) == 2


def test_the_imbalance_of_2800_to_300_is_severe_and_trains_all_the_same(tmp_path):
    counts = {"person": 2800, "car": 900, "dog": 300}
    path = write_sample_export(tmp_path / "a.zip", class_counts=counts, **THOUSAND).path
    out = tmp_path / "out"
    assert prepare(path, out)["status"] == "PASSED_WITH_WARNINGS"
    report = engine.require_trainable(str(out))
    assert report["status"] == "PASSED_WITH_WARNINGS"
    assert report["class_counts"] == counts
    finding, note = report["findings"]
    assert (note["code"], note["severity"]) == ("split_leakage", "note")
    assert finding["code"] == "class_imbalance"
    assert finding["message"] == "Severe class imbalance detected: person/dog = 9.3:1"
    assert finding["severity"] == "warning"
    assert "augment" in finding["recommendation"]
    assert "dog (300)" in finding["recommendation"]
    assert "car" not in finding["recommendation"]


def test_ids_in_the_report_are_bounded_and_in_the_lines_they_are_not(tmp_path):
    bare = range(1500)
    keywords = THOUSAND | {"frames": 1600}
    path = write_sample_export(tmp_path / "a.zip", frames_without_objects=bare, **keywords).path
    prepare(path, tmp_path / "out")
    (finding,) = report_of(tmp_path / "out")["findings"]
    assert (finding["count"], len(finding["frames"])) == (1500, 1000)
    assert len((tmp_path / "out/report/issues.jsonl").read_bytes().splitlines()) == 1500


# The border of a severe imbalance.


@pytest.mark.parametrize(
    ("large", "small", "severe"),
    [
        (899, 100, False),
        (900, 100, True),
        (9, 1, True),
        (8, 1, False),
        (9 * 10**6 - 1, 10**6, False),
    ],
)
def test_severe_begins_at_exactly_nine(large, small, severe):
    found = imbalance_of({"person": large, "dog": small}, 9.0)
    assert found["severe"] is severe
    assert found["ratio"] == large / small
    assert (found["largest"], found["smallest"]) == ("person", "dog")
    assert found["minority"] == (["dog"] if severe else [])
    verdict = judge(table(["person"] * 9, ["dog"]), issue_table([]), 9.0, exports=1)
    assert verdict.status == "PASSED_WITH_WARNINGS"
    assert judge(table(["person"] * 8, ["dog"]), issue_table([]), 9.0, exports=1).status == "PASSED"


def test_the_border_can_be_moved():
    assert imbalance_of({"a": 5, "b": 2}, 2.5)["severe"]
    assert not imbalance_of({"a": 5, "b": 2}, 2.6)["severe"]


def test_one_class_has_no_imbalance():
    assert imbalance_of({"a": 5}, 9.0) is None
    assert imbalance_of({}, 9.0) is None


def test_ties_go_by_name():
    found = imbalance_of({"b": 9, "d": 1, "a": 9, "c": 1}, 9.0)
    assert (found["largest"], found["smallest"], found["minority"]) == ("a", "c", ["c", "d"])


# Labels.


def test_labels_are_counted_by_instance():
    counted = count_labels(pa.chunked_array([[["b", "a", "b"], [], ["a"], None]]))
    assert counted == {"a": 2, "b": 2}
    assert list(counted) == ["a", "b"]
    assert count_labels(pa.chunked_array([pa.array([], pa.list_(pa.string()))])) == {}


@pytest.mark.parametrize(
    "label", ["object_0", "object_12", " Object_3 ", "Object 1", "object", "?", "..."]
)
def test_placeholders(label):
    assert is_placeholder(label)


@pytest.mark.parametrize("label", ["object_a", "objects_1", "my_object_1", "object_3d", "1"])
def test_names_that_are_no_placeholders(label):
    assert not is_placeholder(label)


def test_variants_are_named_once_each():
    counts = {
        "dog": 1,
        "Dog": 1,
        "d og": 1,
        "\uff24og": 1,
        "cat": 1,
        "caf\u00e9": 1,
        "cafe\u0301": 1,
    }
    found = [issue for issue in label_issues(counts) if issue.code == "label_variants"]
    assert len(found) == 4  # three beside the first way to write "dog", one for "café"
    assert label_issues({"dog": 1, "dogs": 1}) == []


def test_labels_that_texts_cannot_tell_apart_are_variants():
    phrase = "a man with " * 20
    for one, other in [("stop-sign", "stop_sign"), ("Stop sign", "stop_sign"), ("a[1]", "a(1)")]:
        assert [issue.message for issue in label_issues({other: 1, one: 1})] == [
            "{!r} beside {!r}".format(*sorted((one, other), reverse=True))
        ]
    assert len(label_issues({phrase + "a dog": 1, phrase + "a cat": 1})) == 1
    assert label_issues({phrase[:99] + "a dog": 1, phrase[:99] + "a cat": 1}) == []


# Findings and status.


def test_a_frame_with_two_issues_of_a_frame_code_is_one_frame():
    issues = [
        Issue(code="image_missing", source="a", video_id="v", frame_id="v/1", message=text)
        for text in ("one", "two")
    ]
    (finding,) = findings_of(issue_table(issues), TOTALS, {}, None)
    assert finding["message"] == "1 annotated frame (1.0%) has no image"
    assert (finding["count"], finding["fraction"], finding["frames"]) == (1, 0.01, ["v/1"])


def test_objects_of_one_frame_are_counted_each():
    issues = [
        Issue(code="mask_empty", source="a", video_id="v", frame_id="v/1", object_id=k, message="m")
        for k in (4, 5)
    ]
    (finding,) = findings_of(issue_table(issues), TOTALS, {}, None)
    assert finding["message"] == "2 masks (1.0%) are empty"
    assert finding["frames"] == ["v/1"]
    assert finding["examples"] == ["v/1, object 4: m", "v/1, object 5: m"]


def test_errors_come_first_then_by_code():
    names = ["label_variants", "mask_empty", "bbox_mismatch", "image_missing"]
    issues = issue_table([Issue(code=name, source="a", message="m") for name in names])
    found = [finding["code"] for finding in findings_of(issues, TOTALS, {}, None)]
    assert found == ["image_missing", "mask_empty", "bbox_mismatch", "label_variants"]


@pytest.mark.parametrize(
    ("severities", "status"),
    [
        ([], "PASSED"),
        (["note"], "PASSED"),
        (["note", "warning"], "PASSED_WITH_WARNINGS"),
        (["warning", "error", "note"], "FAILED"),
    ],
)
def test_the_status_follows_from_the_severities(severities, status):
    assert status_of([{"severity": severity} for severity in severities]) == status


def test_every_code_can_be_summed_up():
    for code, known in CODES.items():
        issues = issue_table([Issue(code=code, source="a", frame_id="v/1", message="m")])
        (finding,) = findings_of(issues, TOTALS, {}, None)
        assert finding["severity"] == known.severity
        assert finding["count"] == 1


def test_frames_and_videos_are_counted_once_however_much_is_found_of_them():
    issues = [
        Issue(code="split_leakage", source="", video_id="v", message="within itself"),
        Issue(code="split_leakage", source="", video_id="v", frame_id="v/1", message="and another"),
        Issue(code="frame_malformed", source="a", video_id="v", frame_id="v/1", message="m"),
        Issue(code="frame_malformed", source="a", video_id="v", frame_id="v/1", message="n"),
        Issue(code="frame_malformed", source="a", video_id="v", message="no index"),
    ]
    malformed, leakage = findings_of(issue_table(issues), TOTALS, {}, None)
    assert (malformed["count"], malformed["fraction"]) == (2, 0.02)
    assert (leakage["count"], leakage["fraction"]) == (1, 0.5)
    assert leakage["message"] == (
        "1 video (50.0%) has neighbouring, equal or similar frames in more than one split"
    )


def test_what_was_set_aside_is_a_share_of_it_and_of_what_is_left():
    aside = [
        Issue(code="quarantined", source="", video_id="v", frame_id=f"v/{k}", message="m")
        for k in range(2)
    ]
    (found,) = judge(table(*[["cat"]] * 6), issue_table([]), 9.0, aside, exports=1).findings
    assert (found["count"], found["fraction"]) == (2, 0.25)


def test_the_order_of_the_issues_does_not_show():
    issues = [
        Issue(code="image_missing", source="a", video_id="v", frame_id=f"v/{k}", message="m")
        for k in (3, 1, 2)
    ]
    (one,) = findings_of(issue_table(issues), TOTALS, {}, None)
    assert one["frames"] == ["v/1", "v/2", "v/3"]


def test_an_intake_without_frames_is_judged():
    verdict = judge(table(), issue_table([]), 9.0, exports=1)
    assert (verdict.frames, verdict.objects, verdict.videos) == (0, 0, 0)
    assert verdict.class_counts == {}
    assert verdict.imbalance is None
