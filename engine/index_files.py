"""The files of `OUT/index`: one row a frame, with all that was found of it and where it has gone.

Written by the task that writes the shard, one file a shard, so that a later version of a dataset
adds files and changes none. What is left out of every split has a place here alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.phrases import Turn
from engine.prepared_rows import take_rows
from engine.records import FRAME_SCHEMA
from engine.storage import FileDigest, join
from engine.tables import write_table
from engine.turn_rows import TURN_TYPE, turns_column

__all__ = [
    "INDEX_SCHEMA",
    "ExcludedTask",
    "IndexPart",
    "index_name",
    "write_excluded",
    "write_index",
]

# Where an image lies in its export is of no use once it is in the dataset, and names a machine.
_PLACES = {"image_source", "image_offset", "image_compressed_bytes", "image_method"}

INDEX_SCHEMA = pa.schema(
    [
        pa.field("split", pa.string()),  # null for what is in none
        pa.field("shard", pa.string()),  # the file of OUT that holds the row's image
        pa.field("row", pa.int64()),  # of the row in its shard; null: the file is the image
        pa.field("status", pa.string()),  # kept, quarantined or excluded
        pa.field("excluded_because", pa.string()),
        pa.field("fold", pa.int8()),  # of a cross-validation; null outside of it
        pa.field("turns", pa.list_(TURN_TYPE)),  # the texts, without `<image>`
        *(field for field in FRAME_SCHEMA if field.name not in _PLACES),
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class IndexPart:
    """What is the same for all rows of a file of the index, or goes beside them.

    Args:
        split: name of the split; None for rows in none.
        status: "kept", "quarantined" or "excluded".
        shard: the file that holds all images, or the image file of each row, or None.
        folds: int8, cross-validation fold of each row, -1 for none; None without folds.
        turns: the texts of each row; empty: there are none.
        excluded_because: why rows are left out of every split.
    """

    split: str | None
    status: str
    shard: str | Sequence[str] | None = None
    folds: np.ndarray[Any, Any] | None = None
    turns: Sequence[Sequence[Turn]] = ()
    excluded_because: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExcludedTask:
    """Rows that the split leaves out.

    Args:
        staging: folder in which OUT grows.
        reason: why they are left out.
        number: of this part of them, from 0.
        rows: (row file, rows in it).
    """

    staging: str
    reason: str
    number: int
    rows: tuple[tuple[str, np.ndarray[Any, Any]], ...]


def index_name(split: str, number: int) -> str:
    """Give the name in OUT of a shard's part of the index."""
    return f"index/{split}-{number:05d}.parquet"


def write_excluded(task: ExcludedTask) -> FileDigest:
    """Write rows that the split leaves out to the index."""
    frames = pa.concat_tables([take_rows(file, rows) for file, rows in task.rows])
    part = IndexPart(split=None, status="excluded", excluded_because=task.reason)
    return write_index(
        task.staging, index_name(f"excluded-{task.reason}", task.number), frames, part
    )


def write_index(staging: str, name: str, frames: pa.Table, part: IndexPart) -> FileDigest:
    """Write one file of the index.

    Args:
        staging: folder in which OUT grows.
        name: of the file in OUT.
        frames: rows of `FRAME_SCHEMA`, in the order of their shard.
        part: what else is to be said of them.
    """
    n = len(frames)
    embedded = part.shard is None or isinstance(part.shard, str)
    own = {
        "split": pa.array([part.split] * n, pa.string()),
        "shard": pa.array([part.shard] * n if embedded else part.shard, pa.string()),
        "row": pa.array(np.arange(n) if isinstance(part.shard, str) else [None] * n, pa.int64()),
        "status": pa.array([part.status] * n, pa.string()),
        "excluded_because": pa.array([part.excluded_because] * n, pa.string()),
        "turns": turns_column(part.turns) if part.turns else pa.nulls(n, pa.list_(TURN_TYPE)),
        # Folders differ between a ZIP and the same export unpacked.
        "image_name": pc.replace_substring_regex(
            frames["image_name"], pattern=".*/", replacement=""
        ),
    }
    if part.folds is None:
        own["fold"] = pa.nulls(n, pa.int8())
    else:
        own["fold"] = pa.array(part.folds, pa.int8(), mask=part.folds < 0)
    columns = [own[key] if key in own else frames[key] for key in INDEX_SCHEMA.names]
    table = pa.table(columns, schema=INDEX_SCHEMA)
    return write_table(join(staging, name), table, name=name, durable=False)
