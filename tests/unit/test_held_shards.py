"""Shards that are taken over: linked and not written, and told to every format as they were."""

import json
from pathlib import Path

import pytest

import engine
from engine import held_shards
from engine.config import SPLIT_NAMES, Config
from engine.formats import finish
from engine.held_shards import HeldShardTask, keep_files, keep_shard
from engine.sample_export import write_sample_export
from engine.samples import SplitParts
from engine.storage import FileDigest
from engine.text_report import merge

HERE = engine.Execution(runner="local")
FORMATS = ("hf", "llava", "coco")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    place = tmp_path_factory.mktemp("held")
    write_sample_export(
        place / "a.zip", frames=12, width=64, height=48, truth=False, dialect="coco",
        image_crc_flip=[2],
    )  # fmt: skip
    config = Config(formats=FORMATS, validation="standard", rows_per_shard=4)
    summary = engine.prepare([str(place / "a.zip")], str(place / "out"), config, HERE)
    return place / "out", config, summary


def task_of(dataset, staging, split, number):
    out, config, _ = dataset
    manifest = json.loads((out / "manifest.json").read_text())
    files = {entry["path"]: FileDigest(**entry) for entry in manifest["files"]}
    wanted = f"{split}-{number:05d}."
    names = [name for name in files if wanted in name and not name.startswith("hf/")]
    names += [n for n in files if n == f"hf/{split}/data-{number:05d}.arrow"]
    names += [
        n for n in files if split == "quarantine" and n == f"quarantine/data-{number:05d}.arrow"
    ]
    return HeldShardTask(
        staging=str(staging), out=str(out), split=split, number=number, config=config,
        files={name: files[name] for name in names},
    )  # fmt: skip


def shards_of(dataset):
    for path in sorted((dataset[0] / "index").glob("*.parquet")):
        split, number = path.stem.rsplit("-", 1)
        yield split, int(number)


def test_nothing_is_written_and_everything_is_counted(dataset, tmp_path):
    out, _, summary = dataset
    results = {}
    for split, number in shards_of(dataset):
        task = task_of(dataset, tmp_path, split, number)
        results[split, number] = result = keep_shard(task)
        for name in task.files:
            assert (tmp_path / name).stat().st_ino == (out / name).stat().st_ino, name
        assert result.left_out == result.issues == ()
    kept = [result for (split, _), result in results.items() if split != "quarantine"]
    assert sum(result.rows for result in kept) == summary["total_samples"] == 11
    assert sum(result.objects for result in kept) == summary["accounting"]["objects_kept"]
    assert merge(result.texts for result in kept).rows == 11
    (aside,) = (result for (split, _), result in results.items() if split == "quarantine")
    assert (aside.rows, aside.texts.rows) == (1, 0)
    images = {p.relative_to(out) for p in out.glob("*/images/*/*")}
    assert len(images) == 22
    for name in images:
        assert (tmp_path / name).stat().st_ino == (out / name).stat().st_ino


def test_lines_are_those_that_were_there(dataset, tmp_path):
    out, config, summary = dataset
    of_split = {name: [] for name in SPLIT_NAMES}
    for split, number in shards_of(dataset):
        if split != "quarantine":
            result = keep_shard(task_of(dataset, tmp_path, split, number))
            of_split[split].append(result.parts["llava"])
    parts = [
        SplitParts(split=name, rows=summary["splits"].get(name, 0), parts=tuple(shares))
        for name, shares in of_split.items()
    ]
    finish("llava", str(tmp_path), parts, config)
    for name in SPLIT_NAMES:
        lines = (tmp_path / f"llava/{name}.jsonl").read_bytes()
        assert lines == (out / f"llava/{name}.jsonl").read_bytes()


def test_without_hard_links_files_are_copied(dataset, tmp_path, monkeypatch):
    out, _, _ = dataset
    monkeypatch.setattr(held_shards, "link_file", lambda source, target: False)
    keep_files(str(out), str(tmp_path), ["split.json"])
    assert (tmp_path / "split.json").read_bytes() == (out / "split.json").read_bytes()
    assert (tmp_path / "split.json").stat().st_ino != (out / "split.json").stat().st_ino


def test_on_an_object_store_they_stay_where_they_are(tmp_path):
    keep_files("memory://nowhere", str(tmp_path), ["split.json"])
    assert not list(Path(tmp_path).iterdir())
