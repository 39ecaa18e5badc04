"""OUT/llava from hand-made shards: what a line, the lists and the files for trainers hold."""

import hashlib
import io
import json
import uuid

import fsspec
import numpy as np
import pyarrow as pa
import pytest
import yaml
from PIL import Image

from engine.config import Config
from engine.llava_jsonl import finish, open_part
from engine.records import FRAME_SCHEMA
from engine.samples import ImageFile, Part, Samples, SplitParts

CONFIG = Config(formats=("llava",), box_style="xyxy")


def png(value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def samples(number, objects):
    frame = {
        "id": f"v/{number:06d}", "video_id": "v", "frame_index": number, "width": 6, "height": 4,
        "masks": [{"size": [4, 6], "counts": "PPYo0"}] * objects,
        "bounding_boxes": [[1, 2, 3, 1]] * objects, "labels": ["cr\u00eape"] * objects,
    }  # fmt: skip
    said = [
        {"from": "human", "value": f"<image>\n{number}?"},
        {"from": "gpt", "value": f"{objects}."},
    ]
    return Samples(
        frames=pa.Table.from_pylist([frame], schema=FRAME_SCHEMA),
        images=[ImageFile(data=png(number), name="x.jpg")],
        conversations=[said],
    )


def split_of(root, split, shards):
    """A split of shards; a shard is the number of objects of each of its rows."""
    parts, number = [], 0
    for at, counts in enumerate(shards):
        part = Part(staging=str(root), out="", split=split, number=at, config=CONFIG)
        with open_part(part) as write:
            for count in counts:
                write(samples(number, count))
                number += 1
        parts.append(part.result())
    return SplitParts(split=split, rows=number, parts=tuple(parts))


def written(root, **shards):
    splits = [
        split_of(root, name, shards.get(name, [])) for name in ("train", "validation", "test")
    ]
    return finish(str(root), splits, CONFIG)


def read(root, name):
    with fsspec.open(f"{root}/llava/{name}", "rb") as file:
        return file.read()


@pytest.fixture(params=["local", "memory"])
def root(request, tmp_path):
    return str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}"


def test_a_line(root):
    written(root, train=[[2]])
    assert read(root, "train.jsonl") == (
        b'{"id":"v/000000","image":"images/v/000000.png","conversations":'
        b'[{"from":"human","value":"<image>\\n0?"},{"from":"gpt","value":"2."}],'
        b'"masks":["PPYo0","PPYo0"],"bounding_boxes":[[1,2,3,1],[1,2,3,1]],'
        b'"labels":["cr\\u00eape","cr\\u00eape"],"height":4,"width":6}\n'
    )
    assert read(root, "images/v/000000.png") == png(0)


def test_a_list_is_a_line_each(root):
    written(root, train=[[1, 0], [3]])
    lines = read(root, "train.jsonl").splitlines()
    assert read(root, "train.json") == b"[\n" + b",\n".join(lines) + b"\n]\n"
    assert [json.loads(line)["id"] for line in lines] == ["v/000000", "v/000001", "v/000002"]


def test_a_row_with_objects_comes_first_wherever_it_is(root):
    """The planned first row may be left out when its image turns out bad."""
    written(root, train=[[0, 0], [0, 2, 0]], test=[[0, 0]])
    numbers = [json.loads(line)["id"][-1] for line in read(root, "train.jsonl").splitlines()]
    assert numbers == ["3", "0", "1", "2", "4"]
    assert [row["id"][-1] for row in json.loads(read(root, "train.json"))] == numbers
    entries = json.loads(read(root, "manifest.json"))["samples"]
    assert [(e["id"][-1], e["line"]) for e in entries if e["split"] == "train"] == list(
        zip(numbers, range(1, 6), strict=True)
    )
    bare = [json.loads(line)["id"][-1] for line in read(root, "test.jsonl").splitlines()]
    assert bare == ["0", "1"], "none has objects: the order stays"


def test_the_manifest_lists_the_samples_and_what_is_empty(root):
    files = written(root, train=[[1], [1]], test=[[1]])
    manifest = json.loads(read(root, "manifest.json"))
    samples_ = manifest.pop("samples")
    assert manifest == {
        "format": "llava", "box_style": "xyxy", "max_pixels": None, "pad_square": False,
        "image_format": "keep", "counts": {"train": 2, "validation": 0, "test": 1},
        "empty_splits": ["validation"], "line_counts_from": 1,
    }  # fmt: skip
    assert [(e["split"], e["line"], e["id"]) for e in samples_] == [
        ("train", 1, "v/000000"), ("train", 2, "v/000001"), ("test", 1, "v/000000"),
    ]  # fmt: skip
    assert samples_[1]["sha256"] == hashlib.sha256(png(1)).hexdigest()
    for file in files:
        data = read(root, file.path.removeprefix("llava/"))
        assert (file.size_bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert {file.path for file in files} == {
        f"llava/{name}"
        for name in (
            "train.jsonl", "train.json", "test.jsonl", "test.json", "manifest.json",
            "dataset_info.json", "internvl_meta.json", "llava_next.yaml",
        )
    }  # fmt: skip


def test_trainers_find_the_splits(root):
    written(root, train=[[1], [1]], test=[[1]])
    registered = json.loads(read(root, "dataset_info.json"))
    assert {name: entry["file_name"] for name, entry in registered.items()} == {
        "sam2prep_train": "train.json", "sam2prep_test": "test.json",
    }  # fmt: skip
    meta = json.loads(read(root, "internvl_meta.json"))
    assert meta == {
        "sam2prep_train": {
            "root": ".", "annotation": "train.jsonl", "data_augment": False, "repeat_time": 1,
            "length": 2,
        }
    }  # fmt: skip
    assert yaml.safe_load(read(root, "llava_next.yaml")) == {
        "datasets": [{"json_path": "train.json", "sampling_strategy": "all"}]
    }


def test_without_rows_there_is_a_manifest_alone(root):
    files = written(root)
    assert {file.path for file in files} == {"llava/manifest.json", "llava/dataset_info.json"}
    manifest = json.loads(read(root, "manifest.json"))
    assert (manifest["samples"], len(manifest["empty_splits"])) == ([], 3)
