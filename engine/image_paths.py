"""Where the rows of a dataset under `--images path` say that its images are.

They name them by full paths, which `datasets` opens as they are. A dataset that was moved or copied
still names those of the place where it was written: each of its files is as it was, and none of its
rows leads to them.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.byte_ranges import local_path, url_filesystem
from engine.errors import RunError
from engine.storage import absolute, join

__all__ = ["named_elsewhere", "shards_with_paths"]

# What pyarrow makes of altered bytes, by what they happen to mean.
_UNREADABLE = (OSError, ValueError, LookupError, MemoryError, pa.ArrowException)
_PARTS = 3  # of a path below the dataset: images/<video>/<frame>.<ext>


def shards_with_paths(manifest: Mapping[str, Any]) -> list[str]:
    """List the shards of a dataset whose rows name their images, by their names in it."""
    if manifest["config"].get("images") != "path":
        return []
    names = (file["path"] for file in manifest["files"])
    return [name for name in names if name.startswith("hf/") and name.endswith(".arrow")]


def named_elsewhere(out: str, shard: str) -> str | None:
    """Say where a dataset was when a shard of it was written, if it is not there now.

    It is there too where a link leads from one place to the other: what counts is the file that the
    first row opens.

    Args:
        out: the dataset, whose images are files in `out/images`.
        shard: a file of its `hf`, by its name in the dataset.

    Returns:
        The folder or URL it was written to; None: it is there, or no row has an image.

    Raises:
        RunError: the shard cannot be read, or is none.
    """
    try:
        named = _first_path(join(out, shard))
    except _UNREADABLE as error:
        raise RunError(join(out, shard), "cannot be read", got=str(error)) from error
    if named is None:
        return None
    place, *inside = named.rsplit("/", _PARTS)
    return None if _is_same(named, join(absolute(out), *inside)) else place


def _first_path(path: str) -> str | None:
    """The path of the first image that a shard names; only its first rows are read."""
    with _opened(path) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            column = "image" if "image" in batch.schema.names else "images"
            images = batch.column(column)
            images.validate(full=True)  # altered offsets would be followed to wherever they lead
            if column == "images":
                images = pc.list_flatten(images)
            paths = pc.struct_field(images, "path").drop_null()
            if len(paths):
                return str(paths[0])
    return None


def _opened(path: str) -> Any:
    place = local_path(path)
    if place is not None:
        return pa.memory_map(str(place))  # lengths that were altered reserve no memory
    filesystem, inner = url_filesystem(path)
    return filesystem.open(inner, "rb")


def _is_same(named: str, there: str) -> bool:
    """Whether two names are those of one file: equal, by a link, or by another name of a store."""
    if named == there:
        return True
    one, other = local_path(named), local_path(there)
    if one is not None and other is not None:
        try:
            return one.samefile(other)
        except (OSError, ValueError):  # one of them is not there, or no name of a file
            return False
    if one is not None or other is not None:
        return False
    (store, path), (other_store, other_path) = url_filesystem(named), url_filesystem(there)
    return bool(path == other_path and store.protocol == other_store.protocol)
