"""The files `datasets.load_from_disk` reads, written by us so that shards can be written anywhere.

A split is a folder of Arrow IPC streams named by `state.json`, with the features in
`dataset_info.json`; the folder above lists the splits (datasets 5, `Dataset.save_to_disk` and
`DatasetDict.load_from_disk`). Writing them ourselves makes the bytes
depend on the plan alone, lets every shard be a file of its own that never changes again, and
costs no second copy of the images.

Features are written in the list notation of datasets before 4 (`[...]`), which 2.16 to 5 read.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import pyarrow as pa

from engine.config import Config
from engine.conversations import messages
from engine.records import FRAME_SCHEMA
from engine.samples import ImageFile, Part, Samples, SplitParts
from engine.storage import AtomicFile, FileDigest, join, write_bytes

__all__ = [
    "COLUMNS",
    "QUARANTINE_COLUMNS",
    "arrow_schema",
    "columns_with",
    "finish",
    "finish_quarantine",
    "open_part",
    "open_quarantine",
    "quarantine_name",
    "row_batch",
    "shard_name",
    "training_batch",
]


def _value(kind: str) -> dict[str, str]:
    return {"dtype": kind, "_type": "Value"}


# Features in the old notation: a list of one element is a list of that element.
COLUMNS: dict[str, Any] = {
    "id": _value("string"),
    "image": {"_type": "Image"},
    "conversations": [{"from": _value("string"), "value": _value("string")}],
    "messages": [
        {
            "role": _value("string"),
            "content": [{"type": _value("string"), "text": _value("string")}],
        }
    ],
    "masks": [{"size": [_value("int32")], "counts": _value("string")}],
    "bounding_boxes": [[_value("int32")]],
    "labels": [_value("string")],
    "object_ids": [_value("int64")],
    "areas": [_value("int64")],
    "confidences": [_value("float64")],
    "video_id": _value("string"),
    "frame_index": _value("int64"),
    "timestamp_sec": _value("float64"),
    "width": _value("int32"),
    "height": _value("int32"),
}

_IMAGE_COLUMNS = {"image": ("image",), "images": ("images",), "both": ("image", "images")}


def columns_with(choice: str) -> dict[str, Any]:
    """Give the columns of a dataset to train on.

    Args:
        choice: image: the column `image`, as LLaVA and TRL take it. images: `images`, a list of
            one, which axolotl and unsloth ask for. both: one beside the other, so that the bytes
            are there twice.
    """
    kinds: dict[str, Any] = {"image": {"_type": "Image"}, "images": [{"_type": "Image"}]}
    columns: dict[str, Any] = {}
    for name, feature in COLUMNS.items():
        chosen = {each: kinds[each] for each in _IMAGE_COLUMNS[choice]}
        columns |= chosen if name == "image" else {name: feature}
    return columns


# What was set aside has no text to train on, and says why it was.
QUARANTINE_COLUMNS: dict[str, Any] = {
    name: feature for name, feature in COLUMNS.items() if name not in {"conversations", "messages"}
} | {"reasons": [_value("string")]}


def _arrow_type(feature: Any) -> pa.DataType:
    if isinstance(feature, list):
        return pa.list_(_arrow_type(feature[0]))
    if feature.get("_type") == "Value":
        return getattr(pa, feature["dtype"])()
    if feature.get("_type") == "Image":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.struct([(name, _arrow_type(inner)) for name, inner in feature.items()])


def arrow_schema(columns: dict[str, Any]) -> pa.Schema:
    """Give the schema of a shard, with the features where `datasets` looks for them.

    Args:
        columns: as `columns_with` gives them, or `QUARANTINE_COLUMNS`.
    """
    info = {"info": {"features": columns}}
    return pa.schema(
        [pa.field(name, _arrow_type(feature)) for name, feature in columns.items()],
        metadata={"huggingface": orjson.dumps(info).decode()},
    )


def shard_name(split: str, number: int) -> str:
    """Give the name in OUT of a shard's file; it does not change when shards are added."""
    return f"hf/{split}/data-{number:05d}.arrow"


def quarantine_name(number: int) -> str:
    """Give the name in OUT of a shard of what was set aside."""
    return f"quarantine/data-{number:05d}.arrow"


@contextmanager
def open_part(part: Part) -> Iterator[Callable[[Samples], None]]:
    """Write a shard's Arrow file; what is yielded takes its rows."""
    name = shard_name(part.split, part.number)
    columns = columns_with(part.config.hf_image_column)
    with _arrow_file(part, name, columns) as stream:
        schema = arrow_schema(columns)

        def write(samples: Samples) -> None:
            stream.write_batch(training_batch(schema, samples))

        yield write


def training_batch(schema: pa.Schema, samples: Samples) -> pa.RecordBatch:
    """Build one record batch of rows to train on, with their texts in both notations.

    Args:
        schema: as `arrow_schema` gives it.
        samples: the rows.
    """
    turns = samples.conversations
    texts = {"conversations": turns, "messages": [messages(each) for each in turns]}
    return row_batch(schema, samples.frames, samples.images, texts)


@contextmanager
def open_quarantine(part: Part) -> Iterator[Callable[[Samples], None]]:
    """Write a shard of what was set aside, each row with its reasons."""
    name = quarantine_name(part.number)
    with _arrow_file(part, name, QUARANTINE_COLUMNS) as stream:
        schema = arrow_schema(QUARANTINE_COLUMNS)

        def write(samples: Samples) -> None:
            texts = {"reasons": samples.reasons}
            stream.write_batch(row_batch(schema, samples.frames, samples.images, texts))

        yield write


@contextmanager
def _arrow_file(part: Part, name: str, columns: dict[str, Any]) -> Iterator[Any]:
    """A stream into a file of the part, which is complete when the block is left."""
    with (
        AtomicFile(part.path(name), name=name, durable=False) as sink,
        pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), arrow_schema(columns)) as stream,
    ):
        yield stream
    part.files.append(sink.digest())


def row_batch(
    schema: pa.Schema,
    frames: pa.Table,
    images: Sequence[ImageFile],
    texts: dict[str, Any],
) -> pa.RecordBatch:
    """Build one record batch of a shard.

    Args:
        schema: as `arrow_schema` gives it.
        frames: rows of `FRAME_SCHEMA`; its columns are taken over as they are.
        images: in the order of the rows.
        texts: sequences for the columns that neither of them holds.
    """
    arrays: list[pa.Array] = []
    for field in schema:
        if field.name == "image":
            arrays.append(_image_array(images, field.type))
        elif field.name == "images":
            each = _image_array(images, field.type.value_type)
            offsets = pa.array(range(len(images) + 1), pa.int32())
            arrays.append(pa.ListArray.from_arrays(offsets, each, type=field.type))
        elif field.name in texts:
            arrays.append(pa.array(texts[field.name], field.type))
        else:
            column = frames[field.name].combine_chunks()
            if isinstance(column, pa.ChunkedArray):  # no rows at all
                column = pa.array([], FRAME_SCHEMA.field(field.name).type)
            arrays.append(column.cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _image_array(images: Sequence[ImageFile], kind: pa.DataType) -> pa.Array:
    data = pa.array([image.data for image in images], pa.binary())
    names = pa.array([image.name for image in images], pa.string())
    # A missing image has to be null as a whole: `datasets` cannot decode a struct of nulls.
    return pa.StructArray.from_arrays([data, names], fields=list(kind), mask=data.is_null())


def finish(staging: str, splits: Sequence[SplitParts], config: Config) -> list[FileDigest]:
    """Write what makes the shards a `DatasetDict`; a split without rows is left out.

    Args:
        staging: folder in which OUT grows.
        splits: all of them.
        config: of the run.
    """
    columns = columns_with(config.hf_image_column)
    present = [split for split in splits if split.rows]
    files: list[FileDigest] = []
    for split in present:
        folder, name = join(staging, "hf", split.split), f"hf/{split.split}"
        files += _split_files(folder, name, split, columns, split=split.split)
    if present:
        names = {"splits": [split.split for split in present]}
        name = "hf/dataset_dict.json"
        files.append(write_bytes(join(staging, name), _json(names), name=name))
    return files


def finish_quarantine(staging: str, parts: SplitParts) -> list[FileDigest]:
    """Write what makes the shards of a quarantine a `Dataset`."""
    folder = join(staging, "quarantine")
    return _split_files(folder, "quarantine", parts, QUARANTINE_COLUMNS, split=None)


def _split_files(
    folder: str, name: str, parts: SplitParts, columns: dict[str, Any], *, split: str | None
) -> list[FileDigest]:
    """Write `state.json` and `dataset_info.json`; `split` is None for a dataset of its own."""
    shards = parts.files
    content = "".join(shard.sha256 for shard in shards)
    state: dict[str, Any] = {
        "_data_files": [{"filename": shard.path.rsplit("/", 1)[-1]} for shard in shards],
        # datasets keys its cache by this; derived from the content, it never serves other rows.
        "_fingerprint": hashlib.sha256(content.encode()).hexdigest()[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": split,
    }
    size = sum(shard.size_bytes for shard in shards)
    info = {
        "builder_name": "sam2prep",
        "citation": "",
        "dataset_size": size,
        "description": "",
        "features": columns,
        "homepage": "",
        "license": "",
        "splits": {
            split or "train": {
                "name": split or "train",
                "num_bytes": size,
                "num_examples": parts.rows,
                "dataset_name": "sam2prep",
            }
        },
    }
    files = {"state.json": state, "dataset_info.json": info}
    return [
        write_bytes(join(folder, file), _json(content), name=f"{name}/{file}")
        for file, content in files.items()
    ]


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)
