"""The driver's view of all frames: narrow columns only, in one order that nothing else decides.

Row files lie on storage; what the driver holds of a frame is its id, its video, its labels and
where the rest of it is. Rows are sorted by video and frame index, so neither the order of the
inputs nor the order in which tasks finished leaves a trace.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
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
_FILES_AT_ONCE = 64
_FRAMES_AT_ONCE = 1 << 16

_Ints = npt.NDArray[np.int64]


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
    parts: list[pa.Table] = []
    tables: list[pa.Table] = []
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
        if len(tables) == _FILES_AT_ONCE or place == len(files) - 1:
            parts.append(_as_one(tables))
    if not parts:  # an export without a single frame record
        empty = pa.schema([FRAME_SCHEMA.field(name) for name in _NARROW])
        for name in ("file", "row", "export"):
            empty = empty.append(pa.field(name, pa.int32()))
        return FrameIndex(files=(), table=empty.empty_table())
    return FrameIndex(files=tuple(files), table=_in_order(parts))


def _as_one(tables: list[pa.Table]) -> pa.Table:
    """Put small tables together, and forget them: memory in crumbs is never given back."""
    table = pa.concat_tables(tables).combine_chunks()
    tables.clear()
    pa.default_memory_pool().release_unused()
    return table


def _in_order(tables: list[pa.Table]) -> pa.Table:
    """Sort tables as one, column by column: at no time is the whole there twice."""
    table = pa.concat_tables(tables)
    tables.clear()
    names = ("video_id", "frame_index", "id", "export", "file", "row")
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names])
    columns: dict[str, pa.ChunkedArray] = {}
    for name in table.column_names:
        columns[name] = table[name].take(order)
        table = table.drop_columns(name)
        pa.default_memory_pool().release_unused()
    return pa.table(columns)


def split_input(index: FrameIndex) -> SplitInput:
    """Bring the index to what a split is decided from: ids, videos and instances of each class."""
    table = index.table
    videos = pc.dictionary_encode(table["video_id"]).combine_chunks()
    lists = table["labels"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    labels = pc.dictionary_encode(pc.list_flatten(lists))
    names = labels.dictionary.to_pylist()
    order = np.argsort(np.array(names, dtype=object)) if names else np.zeros(0, np.int64)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    per_frame, classes, counts = _counted(lengths, labels.indices, rank)
    return SplitInput(
        ids=table["id"].combine_chunks(),
        video=videos.indices.to_numpy(zero_copy_only=False).astype(np.int32),
        video_names=tuple(videos.dictionary.to_pylist()),
        frame_index=pc.fill_null(table["frame_index"], -1).to_numpy().astype(np.int64),
        indptr=np.concatenate([[0], np.cumsum(per_frame)]).astype(np.int64),
        classes=classes,
        counts=counts,
        class_names=tuple(names[int(i)] for i in order),
        timestamps=table["timestamp_sec"].to_numpy().astype(np.float64),
    )


def _counted(
    lengths: _Ints, labels: pa.Array, rank: _Ints
) -> tuple[_Ints, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Count each frame's instances by class, some frames at a time: sorting takes much memory.

    Args:
        lengths: (n,), labels of each frame.
        labels: their codes, frame by frame.
        rank: class of each code.

    Returns:
        Classes of each frame, (n,); which they are, and their instances, (entries,).
    """
    width = max(len(rank), 1)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    per_frame = np.zeros(len(lengths), np.int64)
    classes, counts = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for start in range(0, len(lengths), _FRAMES_AT_ONCE):
        stop = min(start + _FRAMES_AT_ONCE, len(lengths))
        first, last = int(ends[start]), int(ends[stop])
        codes = labels[first:last].to_numpy(zero_copy_only=False)
        frame = np.repeat(np.arange(stop - start), lengths[start:stop])
        found = rank[codes] if len(rank) else np.zeros(0, np.int64)
        cells, times = np.unique(frame * width + found, return_counts=True)
        per_frame[start:stop] = np.bincount(cells // width, minlength=stop - start)
        classes.append((cells % width).astype(np.int32))
        counts.append(times.astype(np.int32))
    return per_frame, np.concatenate(classes), np.concatenate(counts)
