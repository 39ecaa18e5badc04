"""What a user says of a code holds everywhere: status, quarantine, report, index."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

import engine
from engine import Config, ConfigError, Execution
from engine.config_file import config_from
from engine.findings import CODES, Severity
from engine.policy import HARD_CODES, Policy
from engine.sample_export import write_sample_export

HERE = Execution(runner="local")
COCO = {"frames": 10, "width": 48, "height": 32, "dialect": "coco", "truth": False}
MOVING = COCO | {"width": 640, "height": 360, "frames": 24}
REAL = {"frames": 6, "width": 96, "height": 64, "truth": False}


def prepare(tmp_path, paths, **config):
    out = tmp_path / "out"
    summary = engine.prepare([str(path) for path in paths], str(out), Config(**config), HERE)
    return out, summary


def report_of(out):
    return json.loads((out / "report/validation.json").read_text())


def finding(document, code):
    (found,) = [each for each in document["findings"] if each["code"] == code]
    return found


# The lists.


def test_without_a_word_every_code_is_as_the_table_says():
    assert {code: Policy().severity(code) for code in CODES} == {
        code: known.severity for code, known in CODES.items()
    }
    assert Policy().errors == sorted(c for c, k in CODES.items() if k.severity is Severity.ERROR)


@pytest.mark.parametrize(
    ("name", "severity"), [("fail_on", "error"), ("warn_on", "warning"), ("ignore", "note")]
)
def test_each_list_gives_its_severity_to_its_codes_alone(name, severity):
    soft = [code for code in CODES if code not in HARD_CODES]
    for code in soft:
        policy = Policy(**{name: (code,)})
        assert policy.severity(code) == severity
        assert all(policy.severity(c) == CODES[c].severity for c in CODES if c != code)


@pytest.mark.parametrize("name", ["fail_on", "warn_on", "ignore"])
def test_an_unknown_code_is_refused_with_the_nearest(name):
    with pytest.raises(ConfigError, match=r"area_jumps.*did you mean area_jump\?") as refused:
        Config(**{name: ("area_jumps",)})
    assert refused.value.where == name
    with pytest.raises(ConfigError, match="README"):
        Config(**{name: ("xyzzy",)})


@pytest.mark.parametrize(
    "lists",
    [
        {"fail_on": ("area_jump",), "ignore": ("area_jump",)},
        {"fail_on": ("area_jump",), "warn_on": ("mask_frozen", "area_jump")},
        {"warn_on": ("area_jump",), "ignore": ("area_jump",)},
    ],
)
def test_a_code_in_two_lists_is_refused(lists):
    with pytest.raises(ConfigError, match=r"area_jump is in (fail_on|warn_on) as well"):
        Config(**lists)


@pytest.mark.parametrize("code", sorted(HARD_CODES))
@pytest.mark.parametrize("name", ["warn_on", "ignore"])
def test_what_cannot_be_written_cannot_be_made_harmless(code, name):
    with pytest.raises(ConfigError) as refused:
        Config(**{name: (code,)})
    assert HARD_CODES[code] in str(refused.value)
    assert "--validation standard" in str(refused.value)
    assert Config(fail_on=(code,)).fail_on == (code,)  # it is one: saying so is no mistake


def test_hard_codes_are_errors():
    assert all(CODES[code].severity is Severity.ERROR for code in HARD_CODES)


# What follows from it.


def test_a_warning_made_an_error_fails_a_strict_run(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", bbox_off={2: 5}, **COCO)
    assert engine.validate([str(truth.path)], None, None, HERE)["status"] == "PASSED_WITH_WARNINGS"
    out, summary = prepare(tmp_path, [truth.path], fail_on=("bbox_mismatch",))
    assert summary["status"] == "FAILED"
    assert not (out / "hf").exists()
    document = report_of(out)
    found = finding(document, "bbox_mismatch")
    assert (found["severity"], found["severity_by_default"]) == ("error", "warning")
    assert document["policy"]["fail_on"] == ["bbox_mismatch"]
    (line,) = (out / "report/issues.jsonl").read_text().splitlines()
    assert json.loads(line)["severity"] == "error"


def test_a_warning_made_an_error_sets_its_frames_aside(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", bbox_off={2: 5, 7: 5}, **COCO)
    out, summary = prepare(
        tmp_path, [truth.path], fail_on=("bbox_mismatch",), validation="standard"
    )
    assert (summary["status"], summary["total_samples"]) == ("PASSED_WITH_WARNINGS", 8)
    assert summary["accounting"]["quarantined"] == 2
    from datasets import load_from_disk

    aside = load_from_disk(str(out / "quarantine"))
    assert sorted(row["frame_index"] for row in aside) == [12, 42]
    assert all(reason.startswith("bbox_mismatch: ") for row in aside for reason in row["reasons"])
    assert engine.require_trainable(str(out))["sources"]["status"] == "FAILED"


def test_an_error_made_a_warning_is_trained_on_and_listed(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", area_off={2: 3}, **COCO)
    assert engine.validate([str(truth.path)], None, None, HERE)["status"] == "FAILED"
    out, summary = prepare(tmp_path, [truth.path], warn_on=("mask_area_mismatch",))
    assert (summary["status"], summary["total_samples"]) == ("PASSED_WITH_WARNINGS", 10)
    assert finding(report_of(out), "mask_area_mismatch")["count"] == 1
    assert summary["class_counts"] == {"dog": 10, "person": 10}  # its mask is there


def test_an_ignored_finding_is_a_note_that_is_still_counted(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", area_off={2: 3}, bbox_off={4: 5}, **COCO)
    out, summary = prepare(tmp_path, [truth.path], ignore=("mask_area_mismatch", "bbox_mismatch"))
    assert (summary["status"], summary["total_samples"]) == ("PASSED", 10)
    document = report_of(out)
    assert {f["severity"] for f in document["findings"]} == {"note"}
    counts = [finding(document, code)["count"] for code in ("mask_area_mismatch", "bbox_mismatch")]
    assert counts == [1, 1]
    lines = (out / "report/issues.jsonl").read_text().splitlines()
    assert sum('"mask_area' in line or '"bbox' in line for line in lines) == 2


@pytest.mark.parametrize("name", ["warn_on", "ignore"])
def test_an_empty_mask_that_is_no_error_is_left_out_like_a_hidden_object(tmp_path, name):
    truth = write_sample_export(tmp_path / "a.zip", mask_empty=[2], **COCO)
    out, summary = prepare(tmp_path, [truth.path], **{name: ("mask_empty",)})
    assert summary["total_samples"] == 10
    assert summary["accounting"]["objects_hidden"] == 1
    assert sum(summary["class_counts"].values()) == 19
    assert finding(report_of(out), "mask_empty")["count"] == 1


def test_an_imbalance_made_an_error_fails_the_run_also_under_standard(tmp_path):
    truth = write_sample_export(
        tmp_path / "a.zip", class_counts={"person": 9, "dog": 1}, **COCO | {"frames": 9}
    )
    for validation in ("strict", "standard"):
        out, summary = prepare(
            tmp_path, [truth.path], fail_on=("class_imbalance",), validation=validation
        )
        assert summary["status"] == "FAILED"
        assert not (out / "manifest.json").exists()
        assert not (out / "hf").exists()
        with pytest.raises(engine.NotTrainableError, match=r"person/dog = 9\.0:1"):
            engine.require_trainable(str(out))


def test_what_is_wrong_with_a_whole_video_sets_the_video_aside(tmp_path):
    painted = write_sample_export(tmp_path / "painted.zip", paint=True, **REAL)
    clean = write_sample_export(tmp_path / "clean.zip", **COCO)
    both = [painted.path, clean.path]
    out, summary = prepare(tmp_path, both, fail_on=("overlay_burned_in",), validation="standard")
    assert (summary["status"], summary["total_samples"]) == ("PASSED_WITH_WARNINGS", 10)
    document = report_of(out)
    assert [f["code"] for f in document["findings"]] == ["quarantined", "split_leakage"]
    assert document["sources"]["findings"][0]["code"] == "overlay_burned_in"
    from datasets import load_from_disk

    aside = load_from_disk(str(out / "quarantine"))
    assert len(aside) == 6
    assert all(row["reasons"][0].startswith("overlay_burned_in: ") for row in aside)


def test_an_empty_export_beside_others(tmp_path):
    empty = write_sample_export(tmp_path / "empty.zip", **COCO | {"frames": 0})
    good = write_sample_export(tmp_path / "good.zip", **COCO)
    out, summary = prepare(tmp_path, [empty.path, good.path], validation="standard")
    assert summary["total_samples"] == 10
    assert summary["status"] != "FAILED"
    assert engine.require_trainable(str(out))["sources"]["status"] == "FAILED"


def test_nothing_at_all_makes_no_dataset_whatever_the_policy(tmp_path):
    empty = write_sample_export(tmp_path / "empty.zip", **COCO | {"frames": 0})
    with pytest.raises(engine.ExportError, match="no frame is left"):
        prepare(tmp_path, [empty.path], ignore=("export_empty",))
    assert not (tmp_path / "out").exists()


# Thresholds.


def test_thresholds_come_from_a_table_and_are_saved_resolved():
    config, _ = config_from({"thresholds": {"bbox-px": 3, "frozen_steps": 4}})
    assert (config.thresholds.bbox_px, config.thresholds.frozen_steps) == (3, 4)
    assert config.to_json()["thresholds"]["area_jump_factor"] == 1.7
    same, _ = config_from({"thresholds": config.to_json()["thresholds"]})
    assert same == config


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"box_px": 3}, r"thresholds\.box_px: no such configuration key; did you mean bbox_px\?"),
        ({"bbox_px": -1}, r"thresholds\.bbox_px: .*got -1, expected 0 to 10000"),
        ({"bbox_px": "1"}, r"thresholds\.bbox_px"),
        ({"bbox_px": float("nan")}, r"thresholds\.bbox_px"),
        ({"frozen_steps": 2.5}, r"thresholds\.frozen_steps: not a whole number"),
        ({"painted_share": 1.5}, r"thresholds\.painted_share: .*0\.05 to 1"),
        ({"black_level": True}, r"thresholds\.black_level"),
    ],
)
def test_thresholds_out_of_range_are_refused(table, message):
    with pytest.raises(ConfigError, match=message):
        config_from({"thresholds": table})


# Each threshold, the export it is felt in, a value on the other side of it.
FELT = [
    ("bbox_px", "bbox_mismatch", COCO | {"bbox_off": {2: 3}}, 3.0),
    ("area_jump_factor", "area_jump", COCO | {"area_jump": {2: 3.0}}, 5.0),
    ("area_jump_normal", "area_jump", COCO | {"area_jump": {2: 3.0}}, 1000.0),
    ("centroid_jump_share", "centroid_jump", COCO | {"centroid_jump": {2: 0.5}}, 0.9),
    ("centroid_jump_normal", "centroid_jump", COCO | {"centroid_jump": {2: 0.5}}, 1000.0),
    ("flicker_frames", "object_flicker", COCO | {"flicker": [2, 3, 4], "frame_step": 1}, 3),
    ("frozen_steps", "mask_frozen", MOVING | {"frozen_masks": [2, 3, 4, 5]}, 20),
    ("painted_share", "overlay_burned_in", REAL | {"paint": True}, 1.0),
    ("timestamp_sec", "timestamp_mismatch", COCO | {"timestamp_off": {2: 0.1}}, 0.2),
]


@pytest.mark.parametrize(("name", "code", "keywords", "value"), FELT, ids=[f[0] for f in FELT])
def test_a_threshold_is_felt(tmp_path, name, code, keywords, value):
    truth = write_sample_export(tmp_path / "a.zip", **keywords)
    codes = []
    for thresholds in ({}, {name: value}):
        config, _ = config_from({"thresholds": thresholds})
        found = engine.validate([str(truth.path)], None, config, HERE)["findings"]
        codes.append(code in {each["code"] for each in found})
    assert codes[0] != codes[1]


def test_how_dark_is_black(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **COCO)
    grey = io.BytesIO()
    Image.new("RGB", (48, 32), (6, 6, 6)).save(grey, "PNG")
    with zipfile.ZipFile(truth.path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(truth.path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, grey.getvalue() if name.endswith("000012.png") else data)
    for level, codes in ((5, []), (6, ["image_black"])):
        config, _ = config_from({"thresholds": {"black_level": level}})
        found = engine.validate([str(truth.path)], None, config, HERE)["findings"]
        assert [each["code"] for each in found] == codes


def deep_grey(path):
    """Give one frame of an export an image of 16 bits."""
    stream = io.BytesIO()
    Image.fromarray(np.full((32, 48), 30_000, np.uint16)).save(stream, "PNG")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, stream.getvalue() if name.endswith("000012.png") else data)


@pytest.mark.parametrize(
    ("code", "keywords"),
    [
        ("image_size_mismatch", REAL | {"image_wrong_size": [2]}),
        ("image_bit_depth", COCO),
        ("mask_area_mismatch", REAL | {"area_off": {2: 3}}),
        ("mask_empty", COCO | {"mask_empty": [2]}),
    ],
)
def test_every_error_that_can_be_made_a_warning_leaves_rows_that_fit_together(
    tmp_path, code, keywords
):
    truth = write_sample_export(tmp_path / "a.zip", **keywords)
    if code == "image_bit_depth":
        deep_grey(truth.path)
    assert (
        finding(engine.validate([str(truth.path)], None, None, HERE), code)["severity"] == "error"
    )
    out, summary = prepare(tmp_path, [truth.path], warn_on=(code,), ratios=(1.0, 0.0, 0.0))
    assert summary["total_samples"] == keywords["frames"]
    assert finding(report_of(out), code)["severity"] == "warning"
    from datasets import load_from_disk

    for row in load_from_disk(str(out / "hf"))["train"]:
        assert row["image"].size == (row["width"], row["height"])
        for mask, area in zip(row["masks"], row["areas"], strict=True):
            pixels = coco.decode(mask)
            assert pixels.shape == (row["height"], row["width"])
            assert pixels.sum() == area > 0


def test_the_errors_that_are_not_hard_are_those_tested_here():
    soft = {code for code, known in CODES.items() if known.severity is Severity.ERROR}
    assert soft - set(HARD_CODES) == {
        "export_empty", "image_bit_depth", "image_size_mismatch", "mask_area_mismatch",
        "mask_empty",
    }  # fmt: skip
