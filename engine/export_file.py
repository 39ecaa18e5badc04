"""`OUT/exports.parquet`: what was seen of the images of each export, kept for what comes later.

Whether a later export shows a video that is there already, and how the masks of a video were read,
can only be told from images; the sampled ones are kept in their smallest form, some 10 KB a video.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from engine.records import Look, OpenedExport
from engine.storage import FileDigest, join
from engine.tables import read_table, write_table

__all__ = ["EXPORTS_NAME", "EXPORT_SCHEMA", "read_exports", "write_exports"]

EXPORTS_NAME = "exports.parquet"

_LOOK = pa.struct(
    [("frame_index", pa.int64()), ("phash", pa.uint64()), ("cells", pa.binary())]
)  # as `records.Look`

EXPORT_SCHEMA = pa.schema(
    [
        pa.field("video_id", pa.string()),
        pa.field("named_id", pa.string()),  # without the suffix of one that shares its name
        pa.field("content_digest", pa.string()),
        pa.field("target_fps_declared", pa.float64()),
        pa.field("looks", pa.list_(_LOOK)),
        pa.field("evidence_image", pa.binary()),  # a picture file; null where none was drawn
    ]
)


def write_exports(staging: str, exports: Sequence[OpenedExport]) -> FileDigest:
    """Write one row an export, in the order given.

    Args:
        staging: folder in which OUT grows.
        exports: with their final ids.
    """
    rows = [
        {
            "video_id": export.video_id,
            "named_id": export.named_id,
            "content_digest": export.content_digest,
            "target_fps_declared": export.video.target_fps_declared,
            "looks": [
                {"frame_index": look.frame_index, "phash": look.phash, "cells": look.cells}
                for look in export.looks
            ],
            "evidence_image": export.evidence_image,
        }
        for export in exports
    ]
    table = pa.Table.from_pylist(rows, schema=EXPORT_SCHEMA)
    return write_table(join(staging, EXPORTS_NAME), table, name=EXPORTS_NAME)


def read_exports(out: str) -> list[dict[str, Any]]:
    """Read back what was kept of each export, in the order of the file.

    Returns:
        The columns of `EXPORT_SCHEMA` by name; `looks` are records.

    Raises:
        FileNotFoundError: the dataset has no such file.
    """
    rows: list[dict[str, Any]] = read_table(join(out, EXPORTS_NAME)).to_pylist()
    return [row | {"looks": tuple(Look(**look) for look in row["looks"])} for row in rows]
