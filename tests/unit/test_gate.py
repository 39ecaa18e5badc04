"""The gate opens for a published dataset as it was published, and for nothing else."""

import hashlib
import json
import shutil

import pytest

import engine
from engine import Execution, NotTrainableError, RunError
from engine.errors import Sam2PrepError
from engine.sample_export import write_sample_export

HERE = Execution(runner="local")
SMALL = {"frames": 6, "width": 48, "height": 32, "dialect": "coco"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    for name, keywords in {"good": {}, "bad": {"mask_truncated": [1]}}.items():
        truth = write_sample_export(folder / f"{name}.zip", **SMALL, **keywords)
        engine.prepare([str(truth.path)], str(folder / name), None, HERE)
    return folder


@pytest.fixture
def out(made, tmp_path):
    return shutil.copytree(made / "good", tmp_path / "out")


@pytest.fixture
def failed(made, tmp_path):
    return shutil.copytree(made / "bad", tmp_path / "failed")


def edit(path, **changes):
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | changes))


def test_a_passed_dataset_may_be_trained_on(out):
    report = engine.require_trainable(str(out))
    assert report == json.loads((out / "report/validation.json").read_text())
    assert report["status"] == "PASSED"


def test_a_failed_run_shuts_the_gate_with_its_reasons(failed):
    with pytest.raises(NotTrainableError) as shut:
        engine.require_trainable(str(failed))
    assert shut.value.reasons == ("validation FAILED", "1 mask (8.3%) cannot be decoded")
    assert shut.value.exit_code == 1
    assert "8.3%" in str(shut.value)


def test_a_failed_report_made_to_pass_does_not_open_it(failed):
    edit(failed / "report/validation.json", status="PASSED", findings=[])
    with pytest.raises(NotTrainableError, match="did not finish"):
        engine.require_trainable(str(failed))


@pytest.mark.parametrize("change", [{"status": "PASSED_WITH_WARNINGS"}, {"frames": 7}, {}])
def test_an_altered_report_shuts_it(out, change):
    edit(out / "report/validation.json", **change)  # an edit of the layout alone is one too
    with pytest.raises(NotTrainableError, match=r"validation\.json was altered"):
        engine.require_trainable(str(out))


@pytest.mark.parametrize(
    "change", [{"status": "FAILED"}, {"files": []}, {"digest": "0" * 64}, {"samples": 600}]
)
def test_an_altered_manifest_shuts_it(out, change):
    edit(out / "manifest.json", **change)
    with pytest.raises(Sam2PrepError, match=r"manifest\.json.* altered"):
        engine.require_trainable(str(out))


def test_a_report_altered_in_both_places_shuts_it(out):
    path = out / "report/validation.json"
    edit(path, frames=7)
    manifest = json.loads((out / "manifest.json").read_text())
    entry = next(f for f in manifest["files"] if f["path"] == "report/validation.json")
    entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(out / "manifest.json", files=manifest["files"])
    with pytest.raises(Sam2PrepError, match=r"manifest\.json.* altered"):
        engine.require_trainable(str(out))


def test_a_missing_report_shuts_it(out):
    (out / "report/validation.json").unlink()
    with pytest.raises(NotTrainableError, match=r"validation\.json is missing"):
        engine.require_trainable(str(out))


def test_an_unfinished_run_shuts_it(out):
    (out / "manifest.json").unlink()
    with pytest.raises(NotTrainableError, match="did not finish"):
        engine.require_trainable(str(out))


@pytest.mark.parametrize("there", [None, "empty", "foreign"])
def test_no_dataset_is_another_error(tmp_path, there):
    place = tmp_path / "place"
    if there:
        place.mkdir()
    if there == "foreign":
        (place / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="no prepared dataset"):
        engine.require_trainable(str(place))
