"""The layout we write is one that `datasets` reads, in the notation that older ones read too."""

import hashlib
import io
import json

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from engine.config import Config
from engine.hf_columns import (
    COLUMNS,
    QUARANTINE_COLUMNS,
    arrow_schema,
    columns_with,
    row_batch,
)
from engine.hf_layout import finish, finish_quarantine, open_part, open_quarantine
from engine.records import FRAME_SCHEMA
from engine.samples import ImageFile, Part, Samples, SplitParts


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


TURNS = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A dog."}]


def part_of(root, number, numbers, *, split="train", open_it=open_part, config=None):
    """One shard, a batch a row, as a worker writes it."""
    part = Part(staging=str(root), out="", split=split, number=number, config=config or Config())
    with open_it(part) as write:
        for n in numbers:
            images = [ImageFile(data=png(n), name=f"frame_{n}.png")]
            said = {"conversations": [TURNS]} if open_it is open_part else {"reasons": [["why"]]}
            write(Samples(frames=frames([n]), images=images, **said))
    return part.result()


def split_of(root, shards, split="train", config=None):
    parts = tuple(
        part_of(root, k, numbers, split=split, config=config) for k, numbers in enumerate(shards)
    )
    return SplitParts(split=split, rows=sum(map(len, shards)), parts=parts)


@pytest.fixture
def out(tmp_path):
    finish(str(tmp_path), [split_of(tmp_path, [[0, 1], [2]])], Config())
    return tmp_path / "hf"


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


@pytest.mark.parametrize("columns", [COLUMNS, columns_with("both"), QUARANTINE_COLUMNS])
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
    part = part_of(tmp_path, 0, [1], split="quarantine", open_it=open_quarantine)
    parts = SplitParts(split="quarantine", rows=1, parts=(part,))
    files = finish_quarantine(str(tmp_path), parts)
    loaded = datasets.load_from_disk(str(tmp_path / "quarantine"))
    assert isinstance(loaded, datasets.Dataset)
    assert loaded[0]["reasons"] == ["why"]
    assert not {"conversations", "messages"} & set(loaded.column_names)
    assert [file.path for file in files] == [
        "quarantine/state.json",
        "quarantine/dataset_info.json",
    ]


def test_digests_are_those_of_the_files(tmp_path):
    parts = split_of(tmp_path, [[0], [1, 2]])
    files = [*parts.files, *finish(str(tmp_path), [parts], Config())]
    assert len({file.path for file in files}) == len(files) == 5
    for file in files:
        data = (tmp_path / file.path).read_bytes()
        assert (file.sha256, file.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))


def test_a_split_without_rows_is_left_out(tmp_path):
    empty = SplitParts(split="test", rows=0, parts=())
    finish(str(tmp_path), [split_of(tmp_path, [[0]]), empty], Config())
    assert list(datasets.load_from_disk(str(tmp_path / "hf"))) == ["train"]
    assert finish(str(tmp_path), [empty], Config()) == []


def test_the_fingerprint_follows_the_content(tmp_path):
    """`datasets` keys its cache by it: other rows under an old one would be served stale."""
    prints = []
    for place, numbers in (("a", [0, 1]), ("b", [0, 1]), ("c", [1, 0])):
        folder = tmp_path / place
        finish(str(folder), [split_of(folder, [numbers])], Config())
        prints.append(datasets.load_from_disk(str(folder / "hf"))["train"]._fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_a_row_without_an_image():
    schema = arrow_schema(QUARANTINE_COLUMNS)
    batch = row_batch(
        schema,
        frames([1, 2]),
        [ImageFile(data=None, name=None), ImageFile(data=b"x", name="x.png")],
        {"reasons": [[], []]},
    )
    assert batch.schema.equals(schema)
    assert batch.column("image").to_pylist() == [
        None,  # not a struct of nulls, which `datasets` cannot decode
        {"bytes": b"x", "path": "x.png"},
    ]


def test_a_batch_of_no_rows():
    batch = row_batch(arrow_schema(COLUMNS), frames([]), [], {"conversations": [], "messages": []})
    assert batch.num_rows == 0
    assert batch.schema.equals(arrow_schema(COLUMNS))


@pytest.mark.parametrize(
    ("choice", "names"),
    [("image", ["image"]), ("images", ["images"]), ("both", ["image", "images"])],
)
def test_the_column_of_the_image(choice, names, tmp_path):
    """axolotl and unsloth want `images`, a list of one, where others want `image`."""
    config = Config(hf_image_column=choice)
    parts = split_of(tmp_path, [[0, 1], [2]], config=config)
    finish(str(tmp_path), [parts], config)
    train = datasets.load_from_disk(str(tmp_path / "hf"))["train"]
    others = [name for name in COLUMNS if name != "image"]
    assert train.column_names == ["id", *names, *others[1:]]
    pixels = np.full((4, 6, 3), 2).tolist()
    if "image" in names:
        assert np.asarray(train[2]["image"]).tolist() == pixels
    if "images" in names:
        assert train.features["images"] == datasets.List(datasets.Image())
        (image,) = train[2]["images"]
        assert np.asarray(image).tolist() == pixels
    assert "List" not in (tmp_path / "hf/train/dataset_info.json").read_text()


def test_the_columns_are_those_of_the_contract_by_default():
    assert columns_with("image") == COLUMNS
    assert list(columns_with("image")) == list(COLUMNS)
