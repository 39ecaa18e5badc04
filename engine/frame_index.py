"""The driver's view of all frames: narrow columns only, in one order that nothing else decides.

Row files lie on storage; what the driver holds of a frame is its id, its video, its labels and
where the rest of it is. Rows are sorted by video and frame index, so neither the order of the
inputs nor the order in which tasks finished leaves a trace.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.records import FRAME_SCHEMA, Issue
from engine.split_input import SplitInput
from engine.tables import read_table

__all__ = ["FrameIndex", "gather", "merge_repeated", "split_input"]

_NARROW = (
    "id",
    "video_id",
    "frame_index",
    "timestamp_sec",
    "labels",
    "hidden_labels",
    "objects_declared",
    "objects_hidden",
    "errors",
    "width",
    "height",
    "image_bytes",
    "image_crc32",
    "annotation_digest",
)


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """All frames of a run.

    Args:
        files: the row files.
        table: narrow columns of `FRAME_SCHEMA`, with `file` (place in `files`) and `row` (in it).
        duplicates: how many rows were left out because an equal one is there.
        duplicate_objects: object records declared in them.
    """

    files: tuple[str, ...]
    table: pa.Table
    duplicates: int = 0
    duplicate_objects: int = 0

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def objects(self) -> int:
        """Object records declared in these frames, hidden and unreadable ones too."""
        return int(pc.sum(self.table["objects_declared"]).as_py() or 0)

    def where(self, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> "FrameIndex":
        """Give the frames for which `keep` is true."""
        return replace(self, table=self.table.filter(pa.array(keep)))


def gather(files: Sequence[str]) -> FrameIndex:
    """Read the narrow columns of row files.

    Args:
        files: in an order that depends on the inputs alone: equal rows are told apart by it.
    """
    tables = []
    for place, file in enumerate(files):
        table = read_table(file, _NARROW)
        table = table.append_column("file", pa.array(np.full(len(table), place, np.int32)))
        tables.append(table.append_column("row", pa.array(np.arange(len(table), dtype=np.int32))))
    if not tables:  # an export without a single frame record
        empty = pa.schema([FRAME_SCHEMA.field(name) for name in _NARROW])
        table = empty.append(pa.field("file", pa.int32())).append(pa.field("row", pa.int32()))
        return FrameIndex(files=(), table=table.empty_table())
    keys = [(name, "ascending") for name in ("video_id", "frame_index", "id", "file", "row")]
    return FrameIndex(files=tuple(files), table=pa.concat_tables(tables).sort_by(keys))


def merge_repeated(index: FrameIndex) -> tuple[FrameIndex, list[Issue]]:
    """Count frames that come more than once only once, and name those that contradict each other.

    Returns:
        The index without the repeated rows of equal annotations, and issues: `frame_duplicate` for
        these, `frame_conflict` for frames whose rows differ (all of them stay).
    """
    ids = index.table["id"].to_numpy(zero_copy_only=False)
    repeated = np.flatnonzero(ids[1:] == ids[:-1]) + 1
    if not len(repeated):
        return index, []
    keep = np.ones(len(ids), bool)
    issues: list[Issue] = []
    rows = index.table.select(["id", "video_id", "frame_index", "annotation_digest"])
    for place in repeated:
        row, before = (rows.slice(int(i), 1).to_pylist()[0] for i in (place, place - 1))
        same = row["annotation_digest"] == before["annotation_digest"]
        keep[place] = not same
        issues.append(
            Issue(
                code="frame_duplicate" if same else "frame_conflict", source="",
                video_id=row["video_id"], frame_id=row["id"], frame_index=row["frame_index"],
                message="a record of this frame is there already, with "
                + ("the same" if same else "other") + " annotations",
            )
        )  # fmt: skip
    kept, again = index.where(keep), index.where(~keep)
    return replace(kept, duplicates=len(again), duplicate_objects=again.objects), issues


def split_input(index: FrameIndex) -> SplitInput:
    """Bring the index to what a split is decided from: ids, videos and instances of each class."""
    table = index.table
    videos = pc.dictionary_encode(table["video_id"]).combine_chunks()
    lists = table["labels"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    frame_of = np.repeat(np.arange(len(table)), lengths)
    labels = pc.dictionary_encode(pc.list_flatten(lists))
    names = labels.dictionary.to_pylist()
    order = np.argsort(np.array(names, dtype=object)) if names else np.zeros(0, np.int64)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    classes = (
        rank[labels.indices.to_numpy(zero_copy_only=False)] if names else np.zeros(0, np.int64)
    )
    width = max(len(names), 1)
    cells, counts = np.unique(frame_of * width + classes, return_counts=True)
    per_frame = np.bincount(cells // width, minlength=len(table))
    return SplitInput(
        ids=table["id"].to_numpy(zero_copy_only=False),
        video=videos.indices.to_numpy(zero_copy_only=False).astype(np.int32),
        video_names=tuple(videos.dictionary.to_pylist()),
        frame_index=pc.fill_null(table["frame_index"], -1).to_numpy().astype(np.int64),
        indptr=np.concatenate([[0], np.cumsum(per_frame)]).astype(np.int64),
        classes=(cells % width).astype(np.int32),
        counts=counts.astype(np.int32),
        class_names=tuple(names[int(i)] for i in order),
        timestamps=table["timestamp_sec"].to_numpy().astype(np.float64),
    )
