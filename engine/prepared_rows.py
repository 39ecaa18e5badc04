"""Rows of a prepared dataset as if they came from an export: what a new split is written from.

The files of `OUT/index` hold all that was found of a frame; its image lies in a file that the index
names: row of an Arrow or Parquet shard, or an image file of its own. Shards are mapped, not read:
only the bytes of the rows that are wanted are touched. Behind a URL these are ranges of an Arrow
shard; a Parquet shard is read whole there, since its pages are compressed.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from engine.byte_ranges import ByteRange, local_path, read_range
from engine.errors import ExportError
from engine.frame_check import image_member
from engine.measures import note
from engine.members import MemberError, range_of, read_member
from engine.phrases import Turn
from engine.records import FRAME_SCHEMA
from engine.shard_ranges import forget_shards, image_range
from engine.storage import file_name, join, read_bytes
from engine.tables import read_stream, read_table
from engine.turn_rows import turns_of

__all__ = ["image_origin", "image_ranges", "read_image", "take_rows", "take_turns"]

# In place of a ZIP's compression method: the image is in the row `image_offset` of a shard, or is
# the file by itself.
_IN_DATASET = -1
# Rows go by video and frame in every shard, so one of each split is looked at at a time.
_OPEN_SHARDS = 4


def take_rows(file: str, rows: NDArray[Any]) -> pa.Table:
    """Read some rows of a row file, or of a file of a dataset's index.

    Args:
        file: a Parquet file of `FRAME_SCHEMA`, or one below OUT/index.
        rows: numbers of the rows wanted, in the order wanted.

    Returns:
        Rows of `FRAME_SCHEMA`, which `read_image` understands.
    """
    forget_shards()
    _image_column.cache_clear()  # a shard of this name may be another one since the last task
    table = read_table(file).take(pa.array(rows))
    if "shard" not in table.column_names:
        return table
    out = file.rsplit("/index/", 1)[0]
    places = zip(table["shard"].to_pylist(), table["image_name"].to_pylist(), strict=True)
    sources = [join(out, shard) if shard and name else None for shard, name in places]
    located = {
        "image_source": pa.array(sources, pa.string()),
        "image_offset": table["row"],
        "image_compressed_bytes": table["image_bytes"],
        "image_method": pa.array([_IN_DATASET] * len(table), pa.int16()),
    }
    columns = [located[name] if name in located else table[name] for name in FRAME_SCHEMA.names]
    return pa.table(columns, schema=FRAME_SCHEMA)


def take_turns(file: str, rows: NDArray[Any]) -> list[list[Turn] | None]:
    """Read the texts that some rows have; None of each row that has none yet.

    Args:
        file: as in `take_rows`.
        rows: likewise.
    """
    if file_name(file.rsplit("/", 1)[0]) != "index":
        return [None] * len(rows)
    return turns_of(read_table(file, ["turns"])["turns"].take(pa.array(rows)))


def image_ranges(frames: pa.Table) -> list[ByteRange]:
    """Say what `read_image` is going to read of members of exports behind URLs, row by row.

    Args:
        frames: rows of `FRAME_SCHEMA`.
    """
    sources = frames["image_source"].unique().to_pylist()
    if all(source is None or local_path(source) is not None for source in sources):
        return []
    columns = [name for name in FRAME_SCHEMA.names if name.startswith("image_")]
    ranges = map(_range_of, frames.select(columns).to_pylist())
    return [each for each in ranges if each is not None]


def _range_of(row: Mapping[str, Any]) -> ByteRange | None:
    """Where the bytes of a row's image lie, if that is a range of a file behind a URL."""
    place = row["image_source"]
    if place is None or local_path(place) is not None:
        return None
    if row["image_method"] != _IN_DATASET:
        return range_of(place, image_member(row))
    if row["image_offset"] is None or not place.endswith(".arrow"):
        return None
    try:
        return image_range(place, row["image_offset"])
    except (OSError, pa.ArrowInvalid, IndexError):
        return None  # whoever reads it says so


def read_image(row: Mapping[str, Any]) -> bytes | None:
    """Read the image of a row; checked by its CRC, but for files, which may be encoded anew.

    Args:
        row: the image columns of `FRAME_SCHEMA`.

    Returns:
        The file's bytes; None of a row that was set aside without its image.

    Raises:
        MemberError: the image is damaged.
        ExportError: the storage cannot be read.
    """
    if row["image_method"] != _IN_DATASET:
        return read_member(row["image_source"], image_member(row))
    place, number = row["image_source"], row["image_offset"]
    try:
        if number is None:
            return read_bytes(place)
        if (own := _range_of(row)) is not None:
            data = read_range(*own)
            note("bytes_read", len(data))
            return _checked(row, data)
        image = _image_column(place)[number].as_py()
    except (OSError, pa.ArrowInvalid, IndexError) as error:
        raise ExportError(place, f"row {number} cannot be read: {error}") from error
    image = image[0] if isinstance(image, list) else image
    if image is None and "/quarantine/" in place:
        return None
    return _checked(row, (image or {}).get("bytes"))


def _checked(row: Mapping[str, Any], data: bytes | None) -> bytes:
    """Refuse an image of a shard that is not the one that was written."""
    crc = row["image_crc32"]
    if data is None or (crc is not None and zlib_ng.crc32(data) != crc):
        where = f"{file_name(row['image_source'])}: row {row['image_offset']}"
        raise MemberError(where, "the image was altered")
    return bytes(data)


def image_origin(row: Mapping[str, Any]) -> str | None:
    """Give the file of a dataset that is the image of a row; None if it is inside of one."""
    alone = row["image_method"] == _IN_DATASET and row["image_offset"] is None
    return row["image_source"] if alone else None


@lru_cache(maxsize=_OPEN_SHARDS)
def _image_column(path: str) -> pa.ChunkedArray:
    """The images of a shard; of a local file only the pages that are looked at are read."""
    if path.endswith(".parquet"):
        return read_table(path, ["images"])["images"]
    table = read_stream(path)
    return table["image" if "image" in table.column_names else "images"]
