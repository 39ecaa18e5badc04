"""The gate opens for a published dataset as it was published, and for nothing else."""

import hashlib
import json
import shutil

import fsspec
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


@pytest.mark.parametrize("gone", ["hf/train/data-*.arrow", "hf/README.md", "index/train-*.parquet"])
def test_a_missing_file_shuts_it(out, gone):
    (path,) = out.glob(gone)
    path.unlink()
    name = path.relative_to(out).as_posix()
    with pytest.raises(NotTrainableError, match=f"{name} went missing"):
        engine.require_trainable(str(out))


def test_a_file_of_another_size_shuts_it(out):
    path = next(out.glob("hf/train/*.arrow"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(NotTrainableError, match=r"\.arrow changed in size"):
        engine.require_trainable(str(out))


def test_many_missing_files_are_counted(out):
    shutil.rmtree(out / "hf")
    with pytest.raises(
        NotTrainableError, match=r"\d+ files \(hf/.*, \.\.\.\) went missing"
    ) as shut:
        engine.require_trainable(str(out))
    assert len(shut.value.reasons[0]) < 300


@pytest.fixture(scope="module")
def with_images(tmp_path_factory):
    """A dataset whose images are files, named by digest shards and not by the manifest."""
    folder = tmp_path_factory.mktemp("images")
    truth = write_sample_export(folder / "a.zip", **SMALL)
    config = engine.Config(formats=("llava",))
    engine.prepare([str(truth.path)], str(folder / "out"), config, HERE)
    return folder / "out"


def test_images_that_are_files_are_looked_for(with_images, tmp_path):
    out = shutil.copytree(with_images, tmp_path / "out")
    assert engine.require_trainable(str(out))["status"] == "PASSED"
    first, second, *_ = sorted((out / "llava/images").rglob("*.*"))
    named = {file["path"] for file in json.loads((out / "manifest.json").read_text())["files"]}
    assert first.relative_to(out).as_posix() not in named
    second.write_bytes(second.read_bytes() + b"x")
    with pytest.raises(NotTrainableError, match=f"{second.name} changed in size"):
        engine.require_trainable(str(out))
    first.unlink()
    with pytest.raises(NotTrainableError, match=f"{first.name} went missing"):
        engine.require_trainable(str(out))


def test_a_digest_shard_that_is_none_shuts_it(with_images, tmp_path):
    out = shutil.copytree(with_images, tmp_path / "out")
    shard = sorted((out / "digests").glob("*.parquet"))[0]
    shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(NotTrainableError, match=f"{shard.name} cannot be read"):
        engine.require_trainable(str(out))


@pytest.mark.parametrize("column", ["image", "images"])
def test_a_dataset_that_names_images_by_path_stays_where_it_was_written(tmp_path, column):
    """Only `images/` is in the dataset: a copy would open those of another place, or none."""
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    config = engine.Config(images="path", hf_image_column=column)
    there, moved = tmp_path / "there", tmp_path / "moved"
    engine.prepare(str(truth.path), str(there), config, HERE)
    assert engine.require_trainable(str(there))["status"] == "PASSED"
    assert engine.verify(str(there), HERE)["status"] == "VERIFIED"
    (tmp_path / "link").symlink_to(there)
    assert engine.require_trainable(str(tmp_path / "link"))["status"] == "PASSED"
    shutil.copytree(there, tmp_path / "copy")
    there.rename(moved)
    for place in (moved, tmp_path / "copy"):
        said = f"in {there}, where it was written, and it is in {place} now; move it back, or prep"
        with pytest.raises(NotTrainableError) as shut:
            engine.require_trainable(str(place))
        assert said in str(shut.value)
        found = engine.verify(str(place), HERE)
        assert found["status"] == "DAMAGED"
        assert {p["file"] for p in found["problems"]} == {
            path.relative_to(place).as_posix() for path in place.glob("hf/*/*.arrow")
        }
        assert all(f"images in {there}, where" in p["problem"] for p in found["problems"])
    there.symlink_to(moved)  # the rows lead there again
    assert engine.require_trainable(str(moved))["status"] == "PASSED"
    assert engine.verify(str(moved), HERE)["status"] == "VERIFIED"


def test_a_shard_of_paths_that_is_none_shuts_it(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    out = tmp_path / "out"
    engine.prepare(str(truth.path), str(out), engine.Config(images="path"), HERE)
    shard = next(out.glob("hf/train/*.arrow"))
    shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(NotTrainableError, match=f"{shard.name}: cannot be read"):
        engine.require_trainable(str(out))


def test_every_refusal_says_what_to_do(out, failed):
    def said(place):
        with pytest.raises(NotTrainableError) as shut:
            engine.require_trainable(str(place))
        return str(shut.value)

    assert said(failed).endswith(f"; what to do is in {failed}/report/report.html")
    (out / "hf/README.md").unlink()
    assert said(out).endswith("published; restore what was changed, or prepare the dataset again")
    (out / "manifest.json").write_text("{")
    assert "manifest.json cannot be read" in said(out)
    assert said(out).endswith("; prepare the dataset again")
    (out / "manifest.json").unlink()
    assert said(out).endswith("parts of it are gone; run its command again")
    (out / ".staging").mkdir()
    (out / ".staging/commit.json").write_text("{}")
    assert said(out).endswith("not in its place yet; run its command again")


def test_files_that_were_added_do_not_shut_it(out):
    (out / "hf/train/cache-0123.arrow").write_bytes(b"datasets puts its caches there")
    assert engine.require_trainable(str(out))["status"] == "PASSED"


def test_a_dataset_in_an_object_store(made):
    store = fsspec.filesystem("memory")
    store.put(str(made / "good"), "/gate-good", recursive=True)
    store.put(str(made / "bad"), "/gate-bad", recursive=True)
    assert engine.require_trainable("memory://gate-good")["status"] == "PASSED"
    with pytest.raises(NotTrainableError, match=r"8\.3%"):
        engine.require_trainable("memory://gate-bad")
    name = next(path for path in store.find("/gate-good/hf/train") if path.endswith(".arrow"))
    store.rm(name)
    with pytest.raises(NotTrainableError, match=r"\.arrow went missing"):
        engine.require_trainable("memory://gate-good")
    store.pipe("/gate-good/report/validation.json", b"{}")
    with pytest.raises(NotTrainableError):
        engine.require_trainable("memory://gate-good")


def test_links_to_files_count_as_files(out, tmp_path):
    path = next(out.glob("hf/train/*.arrow"))
    path.rename(tmp_path / "elsewhere.arrow")
    path.symlink_to(tmp_path / "elsewhere.arrow")
    assert engine.require_trainable(str(out))["status"] == "PASSED"


def test_a_folder_that_is_a_link_counts_as_a_folder(out, tmp_path):
    (out / "hf").rename(tmp_path / "other disk")
    (out / "hf").symlink_to(tmp_path / "other disk")
    (tmp_path / "other disk/train/round").symlink_to(out)
    assert engine.require_trainable(str(out))["status"] == "PASSED"
