"""Where the images of an Arrow stream behind a URL lie, found out without reading them.

A stream has no list of contents: each record batch tells its own length, and those of its buffers,
in a few hundred bytes before them. So a batch costs one request here, and a shard of 128 MB some
eight, after which every image is a range like a member of an export: it can be read by itself for a
picture, or ahead with its neighbours for a new split. pyarrow reads those few hundred bytes; in
place of the rest it is given zeros, which it does not look at, and whose addresses say where each
buffer lies.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.byte_ranges import ByteRange, read_range

__all__ = ["forget_shards", "image_range"]

_HEAD_BYTES = 2**16  # of a batch at once: what it says of itself, and most often its offsets too
_PREFIX_BYTES = 8  # a mark, and the length of what the batch says of itself
_MOST_BYTES = 2**24  # of what a batch says of itself: what is more is text, or another file
_SHARDS = 16  # some KB each


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    """The images of one record batch: int64 (rows + 1,), where each begins and the last ends."""

    edges: NDArray[np.int64]


def image_range(location: str, row: int) -> ByteRange | None:
    """Say where the bytes of an image lie in a shard of `hf`.

    Args:
        location: URL of an Arrow IPC stream with a column `image` of bytes and path.
        row: in the shard.

    Returns:
        The range; None where it cannot be said: of another layout, or with rows without an image.

    Raises:
        OSError: the file is not there, or the storage fails.
        pyarrow.ArrowInvalid: it is no stream.
        IndexError: it has no such row.
    """
    batches = _batches(location)
    if batches is None:
        return None
    for batch in batches:
        if row < len(batch.edges) - 1:
            return location, int(batch.edges[row]), int(batch.edges[row + 1])
        row -= len(batch.edges) - 1
    raise IndexError(f"{location} has no such row")


def forget_shards() -> None:
    """Look anew: a file of the same name may be another one since."""
    _batches.cache_clear()


class _Head:
    """A file of which the first bytes are there, and all others are zeros."""

    closed = False

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def read(self, size: int) -> bytes:
        start, self.at = self.at, self.at + size
        if start >= len(self._content):
            return bytes(size)  # pages of zeros, taken from the system only where they are touched
        return self._content[start : self.at]


@lru_cache(maxsize=_SHARDS)
def _batches(location: str) -> list[_Batch] | None:
    batches: list[_Batch] = []
    schema: pa.Schema | None = None
    at = 0
    while True:
        head = read_range(location, at, at + _HEAD_BYTES)
        length = int.from_bytes(head[4:_PREFIX_BYTES], "little")
        if not length:  # the end, with its mark or without
            if schema is None:
                raise pa.ArrowInvalid("is no Arrow stream")
            return batches
        if length > _MOST_BYTES:
            raise pa.ArrowInvalid("is no Arrow stream")
        ends = _PREFIX_BYTES + length
        if ends > len(head):
            head += read_range(location, at + len(head), at + ends)
        source = _Head(head[:ends])
        message = pa.ipc.read_message(pa.PythonFile(source, mode="r"))
        if schema is None:
            schema = pa.ipc.read_schema(message)
        else:
            begun = _Begun(location=location, at=at, head=head, ends=ends)
            found = _images(begun, schema, message)
            if found is None:
                return None
            batches.append(found)
        at += source.at


@dataclass(frozen=True, kw_only=True, eq=False)
class _Begun:
    """The beginning of a batch.

    Args:
        location: of its file.
        at: where it begins there.
        head: its first bytes.
        ends: where what it says of itself ends and its content begins, from there.
    """

    location: str
    at: int
    head: bytes
    ends: int


def _images(begun: _Begun, schema: pa.Schema, message: pa.Message) -> _Batch | None:
    """Say where the images of a batch lie, whose message has zeros for its content."""
    if message.type != "record batch" or "image" not in schema.names:
        return None
    try:
        column = pa.ipc.read_record_batch(message, schema).column("image")
    except (OSError, pa.ArrowInvalid):
        return None  # compressed: zeros are not
    if not pa.types.is_struct(column.type) or column.null_count or not len(column):
        return None
    values = column.field("bytes")
    wide = pa.types.is_large_binary(values.type)
    if values.null_count or not (wide or pa.types.is_binary(values.type)):
        return None
    _, offsets, data = values.buffers()
    kind = np.dtype(np.int64 if wide else np.int32)
    first = message.body.address
    # From the beginning of the batch:
    start, stop = (begun.ends + buffer.address - first for buffer in (offsets, data))
    if not begun.ends <= start <= stop <= begun.ends + message.body.size:
        return None  # moved by pyarrow
    size = (len(values) + 1) * kind.itemsize
    content = begun.head[start : start + size]
    if len(content) < size:
        place = begun.at + start
        content = read_range(begun.location, place, place + size)
    return _Batch(edges=np.frombuffer(content, kind).astype(np.int64) + (begun.at + stop))
