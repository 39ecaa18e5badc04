"""A prepared dataset split anew has the bytes of one that was prepared with the new split."""

import json
from pathlib import Path

import datasets
import fsspec
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import engine
from engine import dataset_build
from engine.choices import FORMATS
from engine.errors import ConfigError, OutputError, RunError
from engine.sample_export import write_sample_export
from jobs.cli import main
from tests.digests import tree
from tests.small_exports import FOUR_VIDEOS, SMALL, write_videos

HERE = engine.Execution(runner="local")
ALL = {"formats": FORMATS, "validation": "standard", "rows_per_shard": 5}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("exports"), FOUR_VIDEOS)


def prepare(sources, out, **config):
    return engine.prepare(sources, str(out), engine.Config(**ALL | config), HERE)


CHANGES = [
    {"split": "temporal", "ratios": (0.5, 0.25, 0.25)},
    {"split": "random", "seed": 7},
    {"group_by": "video", "folds": 3},
    {"split": "stratified", "ratios": (0.6, 0.4, 0.0), "folds": 2},
    {"split": "temporal", "temporal_segments": True, "gap_sec": 0.5},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_it_is_what_prepare_would_have_written(sources, tmp_path, changes):
    prepare(sources, tmp_path / "out")
    summary = engine.split(str(tmp_path / "out"), changes, HERE)
    fresh = prepare(sources, tmp_path / "fresh", **changes)
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")
    for name in ("status", "splits", "accounting", "class_counts", "findings", "inputs", "texts"):
        assert summary[name] == fresh[name], name
    assert engine.verify(str(tmp_path / "out"))["status"] == "VERIFIED"
    assert engine.require_trainable(str(tmp_path / "out"))
    assert not (tmp_path / "out/.staging").exists()


@pytest.mark.parametrize(
    "formats",
    [("parquet",), ("llava",), ("coco", "revos"), ("hf",)],
)
@pytest.mark.parametrize("more", [{}, {"image_format": "jpg"}, {"hf_image_column": "images"}])
def test_images_are_found_wherever_they_lie(sources, tmp_path, formats, more):
    try:
        config = {"formats": formats} | more
        prepare(sources, tmp_path / "out", **config)
    except ConfigError:
        pytest.skip("these do not go together")
    changes = {"split": "random", "seed": 3}
    engine.split(str(tmp_path / "out"), changes, HERE)
    prepare(sources, tmp_path / "fresh", **config | changes)
    # Of images that were encoded anew, the page's pictures are made from what there is.
    drawn = ("report/report.html", "manifest.json") if "image_format" in more else ()
    without = ("summary.json", *drawn)
    assert tree(tmp_path / "out", without) == tree(tmp_path / "fresh", without)
    assert engine.verify(str(tmp_path / "out"))["status"] == "VERIFIED"


def test_images_beside_the_dataset(sources, tmp_path):
    out = tmp_path / "out"
    prepare(sources, out, formats=("hf",), images="path")
    before = {p.name: p.read_bytes() for p in (out / "images").rglob("*") if p.is_file()}
    engine.split(str(out), {"split": "random"}, HERE)
    rows = datasets.load_from_disk(str(out / "hf"))["train"].cast_column(
        "image", datasets.Image(decode=False)
    )
    assert {p.name: p.read_bytes() for p in (out / "images").rglob("*") if p.is_file()} == before
    assert all(Path(image["path"]).is_file() for image in rows["image"])
    assert engine.verify(str(out))["status"] == "VERIFIED"


def test_an_image_that_turned_out_bad_is_divided_as_in_a_first_run(tmp_path):
    """A first run finds it when its shard is planned already: the same bytes take the same plan."""
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    write_sample_export(tmp_path / "a.zip", image_crc_flip=[2, 5], dialect="coco", **SMALL)
    first = prepare([str(tmp_path / "a.zip")], out)
    for seed in (2, 1):
        summary = engine.split(str(out), {"split": "random", "seed": seed}, HERE)
    assert summary["accounting"] == first["accounting"]
    assert summary["accounting"]["quarantined"] == 2
    assert len(datasets.load_from_disk(str(out / "quarantine"))) == 2
    assert engine.verify(str(out))["status"] == "VERIFIED"
    prepare([str(tmp_path / "a.zip")], fresh, split="random", seed=1)
    assert tree(out) == tree(fresh)


def test_there_and_back_is_where_it_began(sources, tmp_path):
    out = tmp_path / "out"
    prepare(sources, out)
    before = tree(out)
    engine.split(str(out), {"split": "temporal", "ratios": (0.5, 0.25, 0.25)}, HERE)
    assert tree(out) != before
    engine.split(str(out), {"split": "stratified", "ratios": (0.8, 0.1, 0.1)}, HERE)
    assert tree(out) == before
    again = engine.split(str(out), {"split": "stratified"}, HERE)
    assert again["nothing_to_do"]
    assert tree(out) == before


def test_a_split_file_is_taken_as_it_is(sources, tmp_path):
    prepare(sources, tmp_path / "model", split="random", seed=9)
    prepare(sources, tmp_path / "out")
    engine.split(str(tmp_path / "out"), {"split_file": str(tmp_path / "model/split.json")}, HERE)
    model, own = (json.loads((tmp_path / n / "split.json").read_text()) for n in ("model", "out"))
    assert own["assignment"] == model["assignment"]


def test_what_a_split_file_says_need_not_be_what_the_dataset_was_made_with(sources, tmp_path):
    model, out, fresh = (tmp_path / name for name in ("model", "out", "fresh"))
    prepare(sources, model, split="random", seed=9, ratios=(0.6, 0.2, 0.2), folds=3)
    file = str(model / "split.json")
    own = {"ratios": (0.5, 0.25, 0.25), "seed": 3, "group_by": "video", "folds": 2}
    prepare(sources, out, **own)
    with pytest.raises(ConfigError, match=r"ratios: contradicts the split file: got \(0.7, 0.15"):
        engine.split(str(out), {"split_file": file, "ratios": (0.7, 0.15, 0.15)}, HERE)
    summary = engine.split(str(out), {"split_file": file}, HERE)
    prepare(sources, fresh, split_file=json.loads(Path(file).read_text()), seed=3)
    assert tree(out) == tree(fresh)
    assert "not_kept" not in summary["history"][-1]  # the file says the folds as well
    assert engine.split(str(out), {"split_file": file}, HERE)["nothing_to_do"]
    # From there on the ratios that stay are those of the file.
    engine.split(str(out), {"split": "temporal"}, HERE)
    assert list(json.loads((out / "split.json").read_text())["ratios"].values()) == [0.6, 0.2, 0.2]


def test_a_file_without_ratios_does_not_contradict_those_of_the_dataset(sources, tmp_path):
    prepare(sources, tmp_path / "out", ratios=(0.5, 0.25, 0.25))
    file = json.loads((tmp_path / "out/split.json").read_text())
    del file["ratios"]
    engine.split(str(tmp_path / "out"), {"split_file": file}, HERE)
    now = json.loads((tmp_path / "out/split.json").read_text())
    assert now["assignment"] == file["assignment"]


def test_what_of_the_old_split_is_not_kept_is_said(sources, tmp_path):
    out = tmp_path / "out"
    prepare(sources, out, split="temporal", group_by="video", folds=2)
    file = json.loads((out / "split.json").read_text())
    result = CliRunner().invoke(main, ["split", str(out), "--seed", "5", "--runner", "local"])
    assert result.exit_code == 0
    assert "Not kept    --strategy temporal --group-by video --folds 2 (of the " in result.output
    assert not (out / "folds").exists()
    entry = engine.history(str(out))["versions"][-1]
    assert entry["not_kept"] == {"split": "temporal", "group_by": "video", "folds": 2}
    engine.split(str(out), {"split_file": file}, HERE)
    again = engine.split(str(out), {"seed": 6}, HERE)  # folds that came with a file go with it
    assert set(again["history"][-1]["not_kept"]) == {"split_file", "folds"}
    kept = engine.split(str(out), {"seed": 7}, HERE)
    assert "not_kept" not in kept["history"][-1]


def test_frames_left_out_before_stay_left_out(sources, tmp_path):
    out = tmp_path / "out"
    first = prepare(sources, out, split="temporal", temporal_segments=True, gap_sec=0.5)
    gone = first["accounting"]["excluded_temporal_gap"]
    assert gone > 0
    summary = engine.split(str(out), {"split": "random"}, HERE)
    assert summary["accounting"]["excluded_temporal_gap"] == gone
    assert summary["total_samples"] == first["total_samples"]
    status = pq.read_table(out / "index", columns=["status"])["status"].to_pylist()
    assert status.count("excluded") == gone
    assert engine.verify(str(out))["status"] == "VERIFIED"


def said_by(out, *options):
    result = CliRunner().invoke(main, ["split", str(out), "--runner", "local", *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_what_leaves_the_dataset_is_said_and_why_it_does_not_come_back(sources, tmp_path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    prepared = prepare(sources, out)
    prepare(sources, whole)
    first, read = prepared["total_samples"], prepared["accounting"]["frames_in"]
    said = said_by(out, "--strategy", "temporal", "--temporal-segments", "--gap-sec", "0.5")
    verified = engine.verify(str(out))
    gone = first - verified["samples"]
    assert gone > 1
    assert verified["rows"] == read
    assert f"Left out    {gone} samples leave the dataset, images too: no later split" in said
    line = (
        f"{read} read, {first - gone} kept, {read - first} set aside, 0 repeated, {gone} left out"
    )
    assert line in said
    said = said_by(out, "--strategy", "random")  # once they are gone, they are only counted
    assert line in said
    assert "Left out" not in said
    assert engine.add(str(out), sources, execution=HERE)["nothing_to_do"]
    before = tree(out)
    with pytest.raises(engine.UsageError, match=rf"needs images .* got {gone} frames .*prepare"):
        engine.split(str(out), {"split_file": str(whole / "split.json")}, HERE)
    assert tree(out) == before
    shown = CliRunner().invoke(main, ["verify", str(out)]).output
    assert f"{read} rows, {first - gone} of them samples" in shown
    assert "left out by" not in said_by(whole, "--strategy", "random")


def test_on_another_file_system(sources, tmp_path):
    url = "memory://resplit/out"
    try:
        prepare(sources, url)
        engine.split(url, {"split": "random"}, HERE)
        prepare(sources, "memory://resplit/fresh", split="random")
        assert tree(url) == tree("memory://resplit/fresh")
    finally:
        fsspec.filesystem("memory").rm("/resplit", recursive=True)


def test_a_run_that_breaks_leaves_the_dataset_as_it_was(sources, tmp_path, monkeypatch):
    out = tmp_path / "out"
    prepare(sources, out)
    before = tree(out, without=())

    def full(*_args, **_keywords):
        raise OSError(28, "No space left on device", "train.jsonl")

    with monkeypatch.context() as patched:
        patched.setattr(dataset_build, "finish", full)
        with pytest.raises(RunError, match="No space left"):
            engine.split(str(out), {"split": "random"}, HERE)
    after = tree(out, without=())
    assert {name: sha for name, sha in after.items() if not name.startswith(".staging/")} == before
    assert engine.verify(str(out), HERE)["unknown_files"] == []
    engine.require_trainable(str(out))
    fresh = tmp_path / "fresh"
    prepare(sources, fresh, split="random")
    with pytest.raises(engine.ResumeError, match=r"config\.seed: got 7, expected 42"):
        engine.split(str(out), {"split": "random", "seed": 7}, HERE)
    resumed = engine.split(str(out), {"split": "random"}, HERE)["resumed"]
    assert 0 < resumed["taken_over"] < resumed["tasks"]
    assert tree(out) == tree(fresh)


def test_a_damaged_dataset_is_not_split(sources, tmp_path):
    out = tmp_path / "out"
    prepare(sources, out, formats=("hf",))
    path = next((out / "hf/train").glob("*.arrow"))
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT") + 40
    data[at] ^= 1
    path.write_bytes(data)
    before = tree(out, without=())
    with pytest.raises(RunError, match=r"damaged, the first of .* use: sam2prep verify"):
        engine.split(str(out), {"split": "random"}, HERE)
    assert tree(out, without=()) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": "strict"}, "validation: is not of the split"),
        ({"split": "alphabetical"}, "no such choice"),
        ({"split": "temporal", "group_by": "none"}, "temporal keeps videos whole"),
    ],
)
def test_what_cannot_be_said_anew(sources, tmp_path, changes, message):
    out = tmp_path / "out"
    prepare(sources, out, formats=("hf",))
    with pytest.raises(ConfigError, match=message):
        engine.split(str(out), changes, HERE)


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(OutputError, match="holds no finished dataset"):
        engine.split(str(tmp_path / "none"), {"split": "random"}, HERE)
    assert not (tmp_path / "none").exists()


def test_from_the_command_line(sources, tmp_path):
    out = str(tmp_path / "out")
    prepare(sources, out, formats=("hf",))
    run = CliRunner().invoke
    result = run(main, ["split", out, "--strategy", "temporal", "--ratios", "0.5/0.25/0.25"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Samples" in result.stdout
    document = json.loads(run(main, ["split", out, "--strategy", "temporal", "--json"]).stdout)
    assert document["nothing_to_do"]
    result = run(main, ["split", out, "--strategy", "temporal", "--ratios", "0.5/0.5"])
    assert result.exit_code == 2
