"""Any altered byte of a dataset is found, and so is a row that was wrong from the start."""

import hashlib
import json
import random
import shutil

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import RunError
from engine.manifest import encode, sealed
from engine.row_checks import differing_rows, row_problems
from engine.sample_export import write_sample_export
from engine.verification import verify


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified")
    source = folder / "a.zip"
    write_sample_export(
        source, frames=10, width=96, height=64, dialect="coco", mask_truncated=[3], truth=False
    )
    formats = ("hf", "llava", "parquet", "coco")
    config = engine.Config(validation="standard", rows_per_shard=4, formats=formats)
    engine.prepare([str(source)], str(folder / "out"), config)
    return folder / "out"


@pytest.fixture
def out(dataset, tmp_path):
    return shutil.copytree(dataset, tmp_path / "out")


def files_of(out):
    return sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())


def problems(out):
    return {(p["file"], p["problem"]) for p in verify(str(out))["problems"]}


def test_a_dataset_as_it_was_written(out):
    found = verify(str(out))
    assert found["status"] == "VERIFIED"
    assert (found["problems"], found["unknown_files"]) == ([], [])
    images = [name for name in files_of(out) if "/images/" in name]
    assert found["files"] == len(files_of(out)) - len(images) - 2
    assert found["rows"] == 10


def test_a_flipped_byte_anywhere_is_found(out):
    names = files_of(out)
    dice = random.Random(7)
    for turn in range(200):
        path = out / names[turn % len(names)]
        whole = path.read_bytes()
        at = dice.randrange(len(whole))
        path.write_bytes(
            whole[:at] + bytes([whole[at] ^ (1 << dice.randrange(8))]) + whole[at + 1 :]
        )
        found = {name for name, _ in problems(out)}
        assert found == {path.relative_to(out).as_posix()}, f"byte {at}"
        path.write_bytes(whole)
    assert problems(out) == set()


@pytest.mark.parametrize("name", ["hf/train/state.json", "summary.json", "manifest.json"])
def test_a_missing_file_is_named(out, name):
    (out / name).unlink()
    if name == "manifest.json":
        with pytest.raises(RunError, match="holds no finished dataset"):
            verify(str(out))
    else:
        assert problems(out) == {(name, "is missing")}


def test_a_shorter_file_says_its_sizes(out):
    path = out / "hf/train/data-00000.arrow"
    data = path.read_bytes()
    path.write_bytes(data[:-7])
    said = f"has {len(data) - 7} bytes, expected {len(data)}"
    assert problems(out) == {("hf/train/data-00000.arrow", said)}


def test_what_readers_leave_behind_is_no_damage(out):
    data = datasets.load_from_disk(str(out / "hf"))["train"]
    data.map(lambda row: {"n": len(row["labels"])})
    assert [name for name in files_of(out) if "cache-" in name]
    (out / "notes.txt").write_text("mine")
    found = verify(str(out))
    assert (found["status"], found["unknown_files"]) == ("VERIFIED", ["notes.txt"])


def reseal(out, name):
    """Make the manifest vouch for a file as it is now."""
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["digest"]
    data = (out / name).read_bytes()
    for file in manifest["files"]:
        if file["path"] == name:
            file |= {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (out / "manifest.json").write_bytes(encode(sealed(manifest)))


def test_an_index_that_contradicts_its_shard_is_found(out):
    name = "index/train-00000.parquet"
    table = pq.read_table(out / name)
    labels = pa.array([["cat"] * len(row) for row in table["labels"].to_pylist()])
    place = table.schema.get_field_index("labels")
    pq.write_table(table.set_column(place, table.schema.field("labels"), labels), out / name)
    reseal(out, name)
    found = problems(out)
    assert {file for file, _ in found} == {"hf/train/data-00000.arrow"}
    assert all("labels is not what the index says" in problem for _, problem in found)


def test_a_split_of_other_sizes_is_found(out):
    document = json.loads((out / "split.json").read_text())
    document["sizes"]["train"] += 1
    (out / "split.json").write_bytes(encode(document))
    reseal(out, "split.json")
    ((name, problem),) = problems(out)
    assert name == "split.json"
    assert "rows of train" in problem


@pytest.mark.parametrize(
    ("column", "change", "said"),
    [
        ("areas", lambda value: [v + 1 for v in value], "its area is"),
        ("bounding_boxes", lambda value: [[b[0] + 1, *b[1:]] for b in value], "its box is"),
        ("masks", lambda value: [{**m, "size": m["size"][::-1]} for m in value], "size"),
        ("masks", lambda value: [{**m, "counts": m["counts"][:-1]} for m in value], "mask 0"),
        ("labels", lambda value: value[1:], "columns of unequal length"),
        ("id", lambda value: value + "0", "is not of video"),
        ("frame_index", lambda value: value + 1, "is not of video"),
    ],
)
def test_a_row_that_is_wrong_in_itself_is_found(dataset, column, change, said):
    table = pq.read_table(dataset / "index/train-00000.parquet")
    assert list(row_problems(table)) == []
    rows = table.to_pylist()
    assert rows[0]["masks"]
    rows[0][column] = change(rows[0][column])
    found = list(row_problems(pa.Table.from_pylist(rows, schema=table.schema)))
    assert any(said in problem for problem in found)


def test_a_shard_of_other_rows_is_found(dataset):
    index = pq.read_table(dataset / "index/train-00000.parquet")
    shard = datasets.Dataset.from_file(str(dataset / "hf/train/data-00000.arrow")).data.table
    assert list(differing_rows(index, shard)) == []
    (short,) = differing_rows(index, shard.slice(1))
    assert short == f"has {len(shard) - 1} rows, the index has {len(shard)}"
    assert len(list(differing_rows(index, shard.take([1, 0, 2, 3])))) >= 4


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(RunError, match="use: sam2prep prepare"):
        verify(str(tmp_path / "none"))
