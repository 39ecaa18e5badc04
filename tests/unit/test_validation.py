"""Looking without making: `validate` writes a report at most, `inspect` nothing."""

import json
import tempfile

import pytest

import engine
from engine import Config, ExportError, OutputError, UsageError
from engine.config import Execution
from engine.sample_export import write_sample_export

HERE = Execution(runner="local")
SMALL = {"frames": 6, "width": 96, "height": 64}
CLEAN = SMALL | {"dialect": "coco"}


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Whatever is put into the place for temporary files must be gone again."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield
    assert list(place.iterdir()) == []


def test_a_report_is_written_and_nothing_else(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", mask_truncated=[2], **CLEAN)
    document = engine.validate([str(truth.path)], str(tmp_path / "report"), None, HERE)
    names = sorted(path.name for path in (tmp_path / "report").rglob("*"))
    assert names == ["issues.jsonl", "report.html", "summary.md", "validation.json"]
    assert json.loads((tmp_path / "report/validation.json").read_text()) == document
    assert document["status"] == document["sources"]["status"] == "FAILED"
    (line,) = (tmp_path / "report/issues.jsonl").read_text().splitlines()
    assert json.loads(line)["code"] == "mask_malformed"
    assert json.loads(line)["severity"] == "error"


def test_without_a_report_nothing_is_written(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **CLEAN)
    before = sorted(tmp_path.rglob("*"))
    document = engine.validate([str(truth.path)], None, None, HERE)
    assert document["status"] == "PASSED"
    assert (document["frames"], document["objects"], document["videos"]) == (6, 12, 1)
    assert document["class_counts"] == {"dog": 6, "person": 6}
    assert document["imbalance"]["ratio"] == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_report_can_be_written_again(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **CLEAN)
    report = str(tmp_path / "report")
    first = engine.validate([str(truth.path)], report, None, HERE)
    assert engine.validate([str(truth.path)], report, None, HERE) == first


@pytest.mark.parametrize("defect", [{}, {"mask_truncated": [2]}])
def test_a_datasets_own_report_is_not_written_over(tmp_path, defect):
    truth = write_sample_export(tmp_path / "a.zip", **CLEAN, **defect)
    out = tmp_path / "out"
    engine.prepare([str(truth.path)], str(out), None, HERE)
    before = (out / "report/validation.json").read_bytes()
    with pytest.raises(OutputError, match="another folder"):
        engine.validate([str(truth.path)], str(out), None, HERE)
    assert (out / "report/validation.json").read_bytes() == before


def test_validate_and_prepare_say_the_same(tmp_path):
    truth = write_sample_export(
        tmp_path / "a.zip", mask_truncated=[2], image_truncated=[3], bbox_off={4: 5}, **CLEAN
    )
    document = engine.validate([str(truth.path)], None, Config(validation="standard"), HERE)
    engine.prepare([str(truth.path)], str(tmp_path / "out"), Config(validation="standard"), HERE)
    report = json.loads((tmp_path / "out/report/validation.json").read_text())
    assert report["sources"]["findings"] == document["findings"]
    assert report["exports"] == document["exports"]


def test_a_finding_does_not_depend_on_how_far_images_are_checked(tmp_path):
    """Where no image is damaged."""
    truth = write_sample_export(tmp_path / "a.zip", area_off={2: 1}, **SMALL)
    found = [
        engine.validate([str(truth.path)], None, Config(check_images=how), HERE)["findings"]
        for how in ("header", "structure", "decode")
    ]
    assert found[0] == found[1] == found[2] != []


def test_wrong_sources(tmp_path):
    with pytest.raises(UsageError, match="no export is given"):
        engine.validate([], None, None, HERE)
    with pytest.raises(ExportError, match="no such file"):
        engine.validate([str(tmp_path / "none.zip")], None, None, HERE)
    (tmp_path / "broken.zip").write_bytes(b"PK no more")
    with pytest.raises(ExportError, match=r"broken\.zip"):
        engine.validate([str(tmp_path / "broken.zip")], str(tmp_path / "report"), None, HERE)
    assert not (tmp_path / "report/.staging").exists()


def test_inspect_says_what_is_there_in_the_order_named(tmp_path):
    real = write_sample_export(tmp_path / "z.zip", **SMALL | {"width": 160, "height": 90})
    other = write_sample_export(tmp_path / "a.zip", **CLEAN)
    document = engine.inspect([str(real.path), str(other.path)])
    first, second = document["exports"]
    assert [first["source"], second["source"]] == ["z.zip", "a.zip"]
    assert first["known_exporter"]
    assert not second["known_exporter"]
    assert (first["dialect"]["order"], first["dialect"]["grid"]) == ("row", [256, 256])
    assert (second["dialect"]["order"], second["dialect"]["grid"]) == ("column", None)
    assert "row-major" in first["dialect"]["order_sentence"]
    assert [text.partition(":")[0] for text in first["warnings"]] == ["overlay_burned_in"]
    assert second["warnings"] == []
    assert first["video"]["width"] == 160
    assert (first["frame_records"], first["images"]) == (6, 6)
    json.dumps(document, allow_nan=False)


def test_inspect_goes_by_the_configuration(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    config = Config(mask_order="column", video_ids={"a.zip": "kitchen"})
    (entry,) = engine.inspect([str(truth.path)], config)["exports"]
    assert (entry["dialect"]["order"], entry["video_id"]) == ("column", "kitchen")


def test_one_export_named_twice_is_read_once(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **CLEAN)
    document = engine.validate([str(truth.path), str(tmp_path / "*.zip")], None, None, HERE)
    assert document["frames"] == 6
    assert document["findings"] == []
