"""The layout we write is one that `datasets` reads, in the notation that older ones read too."""

import hashlib
import io
import json

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from engine.hf_layout import (
    COLUMNS,
    QUARANTINE_COLUMNS,
    arrow_schema,
    row_batch,
    write_dataset_dict,
    write_split_files,
)
from engine.records import FRAME_SCHEMA
from engine.storage import AtomicFile


def png(value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def frames(numbers):
    rows = [
        {
            "id": f"v/{n:06d}", "video_id": "v", "frame_index": n, "timestamp_sec": n / 4,
            "width": 6, "height": 4,
            "masks": [{"size": [4, 6], "counts": "PPYo0"}] * n,
            "bounding_boxes": [[1, 2, 3, 4]] * n, "labels": ["dog"] * n,
            "object_ids": [None] * n, "areas": [9] * n, "confidences": [0.5] * n,
        }
        for n in numbers
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=FRAME_SCHEMA)


def texts(numbers):
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A dog."}]
    blocks = [{"type": "image", "text": None}, {"type": "text", "text": "What?"}]
    said = [{"role": "user", "content": blocks}]
    return {"conversations": [turns for _ in numbers], "messages": [said for _ in numbers]}


def write_shard(folder, name, numbers, columns=COLUMNS):
    schema = arrow_schema(columns)
    extra = texts(numbers) if columns is COLUMNS else {"reasons": [["why"]] * len(numbers)}
    with (
        AtomicFile(str(folder / name), name=f"hf/train/{name}") as sink,
        pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema) as stream,
    ):
        for n, text in zip(numbers, zip(*extra.values(), strict=True), strict=True):
            one = {key: [value] for key, value in zip(extra, text, strict=True)}
            images = [(png(n), f"frame_{n}.png")]
            stream.write_batch(row_batch(schema, frames([n]), images, one))
    return sink.digest()


@pytest.fixture
def out(tmp_path):
    digests = [
        write_shard(tmp_path / "train", "data-00000.arrow", [0, 1]),
        write_shard(tmp_path / "train", "data-00001.arrow", [2]),
    ]
    write_split_files(str(tmp_path / "train"), "hf/train", digests, 3, COLUMNS, split="train")
    write_dataset_dict(str(tmp_path), "hf", ["train"])
    return tmp_path


def test_datasets_reads_it(out):
    loaded = datasets.load_from_disk(str(out))
    assert isinstance(loaded, datasets.DatasetDict)
    train = loaded["train"]
    assert train.split == "train"
    assert train.num_rows == 3
    assert train.column_names == list(COLUMNS)
    assert list(train["id"]) == ["v/000000", "v/000001", "v/000002"]
    row = train[2]
    assert row["masks"] == [{"size": [4, 6], "counts": "PPYo0"}] * 2
    assert row["bounding_boxes"] == [[1, 2, 3, 4]] * 2
    assert row["object_ids"] == [None, None]
    assert row["conversations"][1] == {"from": "gpt", "value": "A dog."}
    assert row["messages"][0]["content"][0] == {"type": "image", "text": None}
    assert np.asarray(row["image"]).tolist() == np.full((4, 6, 3), 2).tolist()
    assert train[0]["masks"] == []


def test_the_features_are_the_contracts(out):
    features = datasets.load_from_disk(str(out))["train"].features
    assert features["image"] == datasets.Image()
    assert features["id"] == datasets.Value("string")
    assert features["masks"] == datasets.List(
        {"size": datasets.List(datasets.Value("int32")), "counts": datasets.Value("string")}
    )
    assert features["bounding_boxes"] == datasets.List(datasets.List(datasets.Value("int32")))
    assert features["timestamp_sec"] == datasets.Value("float64")


def test_a_shard_by_itself_has_the_same_features(out):
    whole = datasets.load_from_disk(str(out))["train"]
    shard = datasets.Dataset.from_file(str(out / "train/data-00001.arrow"))
    assert shard.features == whole.features
    assert shard[0] == whole[2]


def test_it_can_be_filtered_mapped_and_saved_again(out, tmp_path):
    train = datasets.load_from_disk(str(out))["train"]
    few = train.filter(lambda row: row["frame_index"] > 0).map(
        lambda row: {"count": len(row["labels"])}
    )
    few.save_to_disk(str(tmp_path / "again"))
    assert datasets.load_from_disk(str(tmp_path / "again"))["count"][:] == [1, 2]


@pytest.mark.parametrize("columns", [COLUMNS, QUARANTINE_COLUMNS])
def test_the_notation_is_the_one_of_before_datasets_4(columns):
    """A list is written as [element]; the word List, or Sequence, is in none of it."""
    text = json.dumps(columns)
    assert "List" not in text
    assert "Sequence" not in text
    assert "LargeList" not in text
    again = datasets.Features.from_dict(columns)
    assert again.arrow_schema.remove_metadata().equals(arrow_schema(columns).remove_metadata())
    info = json.loads(arrow_schema(columns).metadata[b"huggingface"])
    assert info["info"]["features"] == columns


def test_the_quarantine_is_a_dataset_of_its_own(tmp_path):
    folder = tmp_path / "quarantine"
    digest = write_shard(folder, "data-00000.arrow", [1], QUARANTINE_COLUMNS)
    files = write_split_files(
        str(folder), "quarantine", [digest], 1, QUARANTINE_COLUMNS, split=None
    )
    loaded = datasets.load_from_disk(str(folder))
    assert isinstance(loaded, datasets.Dataset)
    assert loaded[0]["reasons"] == ["why"]
    assert not {"conversations", "messages"} & set(loaded.column_names)
    assert [file.path for file in files] == [
        "quarantine/state.json",
        "quarantine/dataset_info.json",
    ]


def test_digests_are_those_of_the_files(out):
    digests = [write_shard(out / "x", "data-00000.arrow", [1])]
    files = write_split_files(str(out / "x"), "hf/x", digests, 1, COLUMNS, split="x")
    for file in files:
        data = (out / "x" / file.path.rpartition("/")[2]).read_bytes()
        assert file.sha256 == hashlib.sha256(data).hexdigest()


def test_the_fingerprint_follows_the_content(tmp_path):
    """`datasets` keys its cache by it: other rows under an old one would be served stale."""
    prints = []
    for place, numbers in (("a", [0, 1]), ("b", [0, 1]), ("c", [1, 0])):
        folder = tmp_path / place
        digest = write_shard(folder, "data-00000.arrow", numbers)
        write_split_files(str(folder), "hf/train", [digest], 2, COLUMNS, split="train")
        prints.append(datasets.load_from_disk(str(folder))._fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_a_row_without_an_image():
    schema = arrow_schema(QUARANTINE_COLUMNS)
    batch = row_batch(
        schema, frames([1, 2]), [(None, None), (b"x", "x.png")], {"reasons": [[], []]}
    )
    assert batch.schema.equals(schema)
    assert batch.column("image").to_pylist() == [
        None,  # not a struct of nulls, which `datasets` cannot decode
        {"bytes": b"x", "path": "x.png"},
    ]


def test_a_batch_of_no_rows():
    batch = row_batch(arrow_schema(COLUMNS), frames([]), [], texts([]))
    assert batch.num_rows == 0
    assert batch.schema.equals(arrow_schema(COLUMNS))
