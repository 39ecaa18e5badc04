"""The files `datasets.load_from_disk` reads, written by us so that shards can be written anywhere.

A split is a folder of Arrow IPC streams named by `state.json`, with the features in
`dataset_info.json`; the folder above lists the splits (datasets 5, `Dataset.save_to_disk` and
`DatasetDict.load_from_disk`). Writing them ourselves makes the bytes
depend on the plan alone, lets every shard be a file of its own that never changes again, and
costs no second copy of the images.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import pyarrow as pa

from engine.config import Config
from engine.hf_columns import (
    QUARANTINE_COLUMNS,
    arrow_schema,
    columns_with,
    row_batch,
    training_batch,
)
from engine.image_files import write_images
from engine.samples import ImageFile, Part, Samples, SplitParts
from engine.storage import AtomicFile, FileDigest, join, write_bytes

__all__ = [
    "finish",
    "finish_quarantine",
    "open_part",
    "open_quarantine",
    "quarantine_name",
    "shard_name",
]


def shard_name(split: str, number: int) -> str:
    """Give the name in OUT of a shard's file; it does not change when shards are added."""
    return f"hf/{split}/data-{number:05d}.arrow"


def quarantine_name(number: int) -> str:
    """Give the name in OUT of a shard of what was set aside."""
    return f"quarantine/data-{number:05d}.arrow"


@contextmanager
def open_part(part: Part) -> Iterator[Callable[[Samples], None]]:
    """Write a shard's Arrow file; what is yielded takes its rows."""
    name, by_path = shard_name(part.split, part.number), part.config.images == "path"
    columns = columns_with(part.config.hf_image_column)
    with _arrow_file(part, name, columns) as stream:
        schema = arrow_schema(columns)

        def write(samples: Samples) -> None:
            images = _named_files(part, samples) if by_path else samples.images
            stream.write_batch(training_batch(schema, samples, images))

        yield write


def _named_files(part: Part, samples: Samples) -> list[ImageFile]:
    """Write the images as files beside the dataset, which names them by their full paths.

    `datasets` opens a path as it is, never relative to the dataset: such a dataset stays where it
    was written.
    """
    files = write_images(part, samples, "images")
    return [ImageFile(data=None, name=None, path=join(part.out, file.path)) for file in files]


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
