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

from engine.records import FRAME_SCHEMA
from engine.split_input import SplitInput
from engine.tables import read_table

__all__ = ["FrameIndex", "gather", "split_input"]

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
        table: narrow columns of `FRAME_SCHEMA`, with `file` (place in `files`), `row` (in it) and
            `export` (place among the exports; -1: it is none of them).
        duplicates: how many rows were left out because an equal one is there.
        duplicate_objects: object records declared in them.
        replaced: how many rows were left out because another one of the frame took their place.
        replaced_objects: object records declared in them.
    """

    files: tuple[str, ...]
    table: pa.Table
    duplicates: int = 0
    duplicate_objects: int = 0
    replaced: int = 0
    replaced_objects: int = 0

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def objects(self) -> int:
        """Object records declared in these frames, hidden and unreadable ones too."""
        return int(pc.sum(self.table["objects_declared"]).as_py() or 0)

    @property
    def video_ids(self) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
        """Object (n,): the video of each frame; its name is there once, not once a frame."""
        found = pc.dictionary_encode(self.table["video_id"]).combine_chunks()
        names = np.array(found.dictionary.to_pylist(), dtype=object)
        return np.asarray(names[found.indices.to_numpy(zero_copy_only=False)])

    def where(self, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> "FrameIndex":
        """Give the frames for which `keep` is true; of all of them no copy is made."""
        if keep.all():
            return self
        return replace(self, table=self.table.filter(pa.array(keep)))


def gather(files: Sequence[str], exports: Sequence[str] = ()) -> FrameIndex:
    """Read the narrow columns of row files.

    Args:
        files: row files, or files of a dataset's index.
        exports: content digests of the exports, in an order that depends on the inputs alone: rows
            of one frame are told apart by it, and then by file and row.
    """
    place_of = {digest: place for place, digest in reversed(list(enumerate(exports)))}
    tables = []
    for place, file in enumerate(files):
        table = read_table(file, [*_NARROW, "export_digest"])
        digests = pc.dictionary_encode(table["export_digest"]).combine_chunks()
        known = [place_of.get(digest, -1) for digest in digests.dictionary.to_pylist()]
        codes = digests.indices.fill_null(len(known)).to_numpy()
        own = {
            "file": np.full(len(table), place, np.int32),
            "row": np.arange(len(table), dtype=np.int32),
            "export": np.array([*known, -1], np.int32)[codes],
        }
        table = table.drop_columns("export_digest")
        for name, values in own.items():
            table = table.append_column(name, pa.array(values))
        tables.append(table)
    if not tables:  # an export without a single frame record
        empty = pa.schema([FRAME_SCHEMA.field(name) for name in _NARROW])
        for name in ("file", "row", "export"):
            empty = empty.append(pa.field(name, pa.int32()))
        return FrameIndex(files=(), table=empty.empty_table())
    names = ("video_id", "frame_index", "id", "export", "file", "row")
    keys = [(name, "ascending") for name in names]
    return FrameIndex(files=tuple(files), table=pa.concat_tables(tables).sort_by(keys))


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
