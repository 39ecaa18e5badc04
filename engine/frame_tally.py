"""What the report's figures need of areas, boxes and sizes, summed where the rows lie.

The driver never holds a mask's area: a task reads these columns of one row file and gives back a
few hundred counts, the same however many frames there are. Only whole numbers are added, so that
neither the cut of the files nor the order of the sums can change a digit. The price is that bins
are fixed beforehand; quantiles cannot be had from them, only shares of bins.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["AREA_EDGES", "GRID", "TALLY_COLUMNS", "Tally", "merge", "tally"]

TALLY_COLUMNS = ("width", "height", "areas", "bounding_boxes")

AREA_EDGES = tuple(10.0 ** (-exponent / 4) for exponent in range(20, -1, -1))
"""Shares of the image that part the bins of areas: four bins a decade, from 0.00001 to 1."""

GRID = (18, 32)
"""(rows, columns) of the map of box centres, over the whole image whatever its shape."""

_Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """Counts over some frames.

    Args:
        frames: how many.
        width_px: their widths, added up.
        height_px: their heights, added up.
        areas: int64 (len(AREA_EDGES),), instances by share of the image: below the first edge, then
            [edge, next edge) and so on; a mask of the whole image is in the last.
        centres: int64 GRID, instances by the place of their box's centre, row 0 at the top.
    """

    frames: int
    width_px: int
    height_px: int
    areas: _Ints
    centres: _Ints

    @property
    def instances(self) -> int:
        """Visible instances that were counted."""
        return int(self.areas.sum())


def tally(frames: pa.Table) -> Tally:
    """Count the frames of a row file, or some of them.

    Args:
        frames: `TALLY_COLUMNS` of `FRAME_SCHEMA`. A frame without a size has no instances.
    """
    sized = frames.filter(pc.and_(pc.greater(frames["width"], 0), pc.greater(frames["height"], 0)))
    width, height = (_ints(sized[name]) for name in ("width", "height"))
    areas = sized["areas"].combine_chunks()
    each = pc.fill_null(pc.list_value_length(areas), 0).to_numpy(zero_copy_only=False)
    of = np.repeat(np.arange(len(sized)), each)
    # A box is a list of four in a list of boxes: flattened twice, four numbers an instance.
    boxes = _ints(pc.list_flatten(pc.list_flatten(sized["bounding_boxes"]))).reshape(-1, 4)
    shares = _ints(pc.list_flatten(areas)) / (width[of] * height[of])
    bins = np.minimum(np.searchsorted(AREA_EDGES, shares, side="right"), len(AREA_EDGES) - 1)
    rows, columns = GRID
    # Twice the centre is whole; so the cell is found without a rounding.
    column = (2 * boxes[:, 0] + boxes[:, 2]) * columns // (2 * width[of])
    row = (2 * boxes[:, 1] + boxes[:, 3]) * rows // (2 * height[of])
    cells = np.clip(row, 0, rows - 1) * columns + np.clip(column, 0, columns - 1)
    return Tally(
        frames=len(frames),
        width_px=int(width.sum()),
        height_px=int(height.sum()),
        areas=np.bincount(bins, minlength=len(AREA_EDGES)).astype(np.int64),
        centres=np.bincount(cells, minlength=rows * columns).astype(np.int64).reshape(GRID),
    )


def merge(tallies: Iterable[Tally]) -> Tally:
    """Add tallies up; the order does not matter, and none at all make a tally of nothing."""
    parts = list(tallies)
    return Tally(
        frames=sum(part.frames for part in parts),
        width_px=sum(part.width_px for part in parts),
        height_px=sum(part.height_px for part in parts),
        areas=sum((part.areas for part in parts), np.zeros(len(AREA_EDGES), np.int64)),
        centres=sum((part.centres for part in parts), np.zeros(GRID, np.int64)),
    )


def _ints(column: pa.ChunkedArray) -> _Ints:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.int64)
