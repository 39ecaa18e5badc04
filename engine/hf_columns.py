"""The columns of a dataset for `datasets`, and rows as Arrow batches of them.

Features are written in the list notation of datasets before 4 (`[...]`), which 2.16 to 5 read, and
in the schema of every file, so that a file by itself is read as what it is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from engine.conversations import messages
from engine.records import FRAME_SCHEMA
from engine.samples import ImageFile, Samples

__all__ = [
    "COLUMNS",
    "QUARANTINE_COLUMNS",
    "arrow_schema",
    "columns_with",
    "row_batch",
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

_MOST_BYTES = 2**31 - 1
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


def training_batch(
    schema: pa.Schema, samples: Samples, images: Sequence[ImageFile]
) -> pa.RecordBatch:
    """Build one record batch of rows to train on, with their texts in both notations.

    Args:
        schema: as `arrow_schema` gives it.
        samples: the rows.
        images: theirs, as the dataset shall hold them.
    """
    turns = samples.conversations
    texts = {"conversations": turns, "messages": [messages(each) for each in turns]}
    return row_batch(schema, samples.frames, images, texts)


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


def _binary_array(values: Sequence[bytes | None]) -> pa.BinaryArray:
    """Make an array by one copy of each value; `pa.array` makes more as its buffer grows."""
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(value or b"") for value in values], out=offsets[1:])
    if offsets[-1] > _MOST_BYTES:  # an offset has 32 bits
        return pa.array(values, pa.binary())
    held = pa.array([value is not None for value in values], pa.bool_())
    content = b"".join(value or b"" for value in values)
    buffers = [held.buffers()[1], *map(pa.py_buffer, (offsets.astype(np.int32), content))]
    return pa.Array.from_buffers(pa.binary(), len(values), buffers)


def _image_array(images: Sequence[ImageFile], kind: pa.DataType) -> pa.Array:
    data = _binary_array([image.data for image in images])
    names = pa.array([image.path or image.name for image in images], pa.string())
    # A missing image has to be null as a whole: `datasets` cannot decode a struct of nulls.
    absent = pa.array([image.data is None and image.path is None for image in images], pa.bool_())
    return pa.StructArray.from_arrays([data, names], fields=list(kind), mask=absent)
