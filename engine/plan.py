"""Which frame becomes which row of which file: fixed before anything is written.

A shard's size is bounded by configuration, never by the number of workers or of frames in all, and
rows follow the index's order (video, frame). So the bytes of a shard depend on the frames and the
configuration alone, and neighbouring rows lie beside each other in the export they are read from.
One row of each split is out of order: the first that has objects comes first of all, because
readers of line files take the types of all columns from the first rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.frame_index import FrameIndex

__all__ = ["Shard", "plan_shards", "rows_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shard:
    """One output file.

    Args:
        split: the split's name, or "quarantine".
        number: of the shard in its split, from 0.
        places: rows of the frame index, in the order of the file.
    """

    split: str
    number: int
    places: NDArray[np.int64]


def plan_shards(
    index: FrameIndex,
    assignment: NDArray[np.int8],
    splits: Sequence[str],
    *,
    rows_per_shard: int,
    shard_bytes: int,
) -> list[Shard]:
    """Cut each split into shards.

    Args:
        index: the frames.
        assignment: for each frame the place of its split in `splits`; anything else leaves it out.
        splits: their names.
        rows_per_shard: most rows of a shard.
        shard_bytes: most image bytes of a shard; an image larger than that is a shard by itself.

    Returns:
        Shards by split, then by number; a split without frames has none.
    """
    sizes = index.table["image_bytes"].fill_null(0).to_numpy().astype(np.int64)
    bare = pc.equal(pc.fill_null(pc.list_value_length(index.table["labels"]), 0), 0)
    has_objects = ~bare.to_numpy(zero_copy_only=False).astype(bool)
    shards: list[Shard] = []
    for code, split in enumerate(splits):
        places = _objects_first(np.flatnonzero(assignment == code), has_objects)
        for number, (start, stop) in enumerate(_cuts(sizes[places], rows_per_shard, shard_bytes)):
            shards.append(Shard(split=split, number=number, places=places[start:stop]))
    return shards


def _objects_first(places: NDArray[np.int64], has_objects: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Bring the first row that has objects to the front; the others keep their order."""
    found = np.flatnonzero(has_objects[places])
    if not len(found) or found[0] == 0:
        return places
    return np.concatenate([places[found[:1]], np.delete(places, found[0])])


def _cuts(sizes: NDArray[np.int64], rows_per_shard: int, shard_bytes: int) -> list[tuple[int, int]]:
    """Cut a sequence of files greedily: the next shard starts where this one would be too large."""
    ends = np.cumsum(sizes)
    cuts: list[tuple[int, int]] = []
    start = 0
    while start < len(sizes):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + shard_bytes, side="right"))
        stop = min(max(stop, start + 1), start + rows_per_shard)
        cuts.append((start, stop))
        start = stop
    return cuts


def rows_of(index: FrameIndex, places: NDArray[np.int64]) -> tuple[tuple[str, NDArray[Any]], ...]:
    """Say where the rows of a shard lie: stretches of row files, in the shard's order."""
    files = index.table["file"].to_numpy()[places]
    rows = index.table["row"].to_numpy()[places]
    edges = np.flatnonzero(np.diff(files)) + 1
    return tuple(
        (index.files[int(files[start])], rows[start:stop])
        for start, stop in zip([0, *edges], [*edges, len(files)], strict=True)
    )
