"""Whether the rows of a dataset are consistent in themselves, and the same in all places.

The index says what was found of a frame; masks are decoded by arithmetic again, and boxes, areas
and sizes compared with them. The shards of the `hf` format repeat the columns: they have to agree.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from engine import masks, rle_text

__all__ = ["SHARED_COLUMNS", "differing_rows", "row_problems"]

_PARALLEL = ("masks", "bounding_boxes", "labels", "object_ids", "areas", "confidences")
# What an index and a shard both hold; times and confidences may be NaN nowhere, so == decides.
SHARED_COLUMNS = (
    "id", "video_id", "frame_index", "timestamp_sec", "width", "height", *_PARALLEL
)  # fmt: skip


def row_problems(index: pa.Table) -> Iterator[str]:
    """Check rows of an index in themselves.

    Args:
        index: rows of a file of `OUT/index`.

    Yields:
        "<id>: what is wrong" for every problem.
    """
    rows = index.select(["status", *SHARED_COLUMNS]).to_pylist()
    checked = [row for row in rows if row["masks"] is not None]
    for row in checked:
        yield from _shape_problems(row)
    flat = [(row, place) for row in checked for place in range(len(row["masks"]))]
    parsed = rle_text.parse_compressed([row["masks"][k]["counts"] for row, k in flat])
    good = [at for at, problem in enumerate(parsed.problems) if problem is None]
    for (row, place), problem in zip(flat, parsed.problems, strict=True):
        if problem is not None:
            yield f"{row['id']}: mask {place}: {problem}"
    if not good:
        return
    runs = parsed.runs.take(np.array(good))
    sizes = np.array([flat[at][0]["masks"][flat[at][1]]["size"] for at in good], np.int64)
    found = zip(masks.sums(runs), masks.areas(runs), masks.boxes(runs, sizes), sizes, strict=True)
    for at, (pixels, area, box, size) in zip(good, found, strict=True):
        row, place = flat[at]
        if int(pixels) != int(size[0] * size[1]):
            yield f"{row['id']}: mask {place}: runs sum to {pixels}, expected {size[0] * size[1]}"
        elif place < len(row["areas"]) and int(area) != row["areas"][place]:
            yield f"{row['id']}: mask {place}: has {area} pixels, its area is {row['areas'][place]}"
        elif place < len(row["bounding_boxes"]) and box.tolist() != row["bounding_boxes"][place]:
            own = row["bounding_boxes"][place]
            yield f"{row['id']}: mask {place}: lies in {box.tolist()}, its box is {own}"


def _shape_problems(row: dict[str, Any]) -> Iterator[str]:
    lengths = {name: len(row[name]) for name in _PARALLEL}
    if len(set(lengths.values())) > 1:
        yield f"{row['id']}: columns of unequal length: {lengths}"
    if row["id"] != f"{row['video_id']}/{row['frame_index']:06d}":
        yield f"{row['id']}: is not of video {row['video_id']}, frame {row['frame_index']}"
    if row["status"] == "kept":
        for place, mask in enumerate(row["masks"]):
            if mask["size"] != [row["height"], row["width"]]:
                size = [row["height"], row["width"]]
                yield f"{row['id']}: mask {place}: size {mask['size']}, expected {size}"


def differing_rows(index: pa.Table, shard: pa.Table) -> Iterator[str]:
    """Compare a shard's rows with what the index says of them.

    Args:
        index: the rows of one shard, in its order.
        shard: of the `hf` or the Parquet format.

    Yields:
        What differs, a sentence each.
    """
    if len(index) != len(shard):
        yield f"has {len(shard)} rows, the index has {len(index)}"
        return
    names = [name for name in SHARED_COLUMNS if name in shard.column_names]
    pairs = zip(index.select(names).to_pylist(), shard.select(names).to_pylist(), strict=True)
    for number, (wanted, got) in enumerate(pairs):
        for name in names:
            if wanted[name] != got[name]:
                yield f"row {number}, {wanted['id']}: {name} is not what the index says"
