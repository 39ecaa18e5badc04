"""Whose boxes are declared: those of the masks read by rows, or by columns.

A box that is its mask's in one reading only says how its writer reads the runs, which need not be
how they were written: the known exporter writes rows, reads them as columns, and declares the boxes
of that. So boxes that fit the columns prove nothing, while nobody gets boxes that fit the rows by
such a slip. By another one they may: on a square grid each reading is the other's transpose, and a
box with x and y exchanged fits the wrong one.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import masks
from engine.frame_json import RawObject, parse_masks
from engine.masks import LONGEST_SIDE, Order
from engine.rle_text import Runs

__all__ = ["BoxFits", "fit_boxes"]

# An unrelated box is within a pixel on all four sides about never, so three are more than chance.
# One in ten may be neither's: boxes stay behind where somebody corrects a mask.
_LEAST_MASKS, _NEARLY_ALL = 3, 0.9

_Size = tuple[int, int]
_Boxes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class BoxFits:
    """How many declared boxes are those of their masks, in either reading.

    Args:
        declared: masks that have foreground and a declared box.
        row: of these, how many boxes fit row-major.
        column: of these, how many fit column-major.
        both: of these, how many fit either; they say nothing.
        row_unswapped: how many fit row-major alone, and no exchange of x and y explains it.
    """

    declared: int = 0
    row: int = 0
    column: int = 0
    both: int = 0
    row_unswapped: int = 0

    @property
    def reading(self) -> Order | None:
        """The one reading that nearly all boxes fit which do not fit either."""
        least = max(_LEAST_MASKS, _NEARLY_ALL * (self.declared - self.both))
        if self.row - self.both >= least:
            return "row"
        return "column" if self.column - self.both >= least else None

    @property
    def prove_row(self) -> bool:
        """Whether nothing but row-major masks explains them."""
        return self.reading == "row" and self.row_unswapped >= _LEAST_MASKS


def fit_boxes(
    records: Sequence[tuple[RawObject, _Size | None]], grid: _Size, box_px: float
) -> BoxFits:
    """Compare declared boxes with both readings of their masks, in pixels of grid and image.

    Args:
        records: masks and the (height, width) of their images, None where that is not known. Those
            with a size, COCO-compressed ones, and those whose runs do not fill the grid are passed
            over, as are empty ones.
        grid: (height, width).
        box_px: a box may be off by so much on each side.
    """
    groups: defaultdict[_Size | None, list[RawObject]] = defaultdict(list)
    for raw, image in records:
        if raw.bbox is not None and raw.size is None and raw.notation in ("decimal", "counts"):
            other = image is not None and image != grid and max(*grid, *image) <= LONGEST_SIDE
            groups[image if other else None].append(raw)
    found = np.zeros(5, dtype=np.int64)
    for image, raws in groups.items():
        found += _fits(raws, grid, image, box_px)
    declared, row, column, both, row_unswapped = found.tolist()
    return BoxFits(
        declared=declared, row=row, column=column, both=both, row_unswapped=row_unswapped
    )


def _fits(raws: list[RawObject], grid: _Size, image: _Size | None, box_px: float) -> _Boxes:
    """The figures of `BoxFits` for masks of one image size, int64 (5,)."""
    runs = Runs.concat([parse_masks(raw.notation or "", [raw.counts]).runs for raw in raws])
    good = np.flatnonzero((masks.sums(runs) == grid[0] * grid[1]) & (masks.areas(runs) > 0))
    runs = runs.take(good)
    declared = np.array([raws[k].bbox for k in good.tolist()]).reshape(-1, 4)
    row, column, unswapped = np.zeros((3, good.size), dtype=np.bool_)
    for size in (grid, image):
        if size is not None and good.size:
            by_row, by_column = (
                np.abs(_boxes(runs, grid, size, order) - declared).max(axis=1) <= box_px
                for order in ("row", "column")
            )
            row, column = row | by_row, column | by_column
            unswapped |= by_row & (size[0] != size[1])
    figures = (row, column, row & column, unswapped & ~column)
    return np.array([good.size, *(np.count_nonzero(each) for each in figures)])


def _boxes(runs: Runs, grid: _Size, size: _Size, order: Order) -> _Boxes:
    if size == grid:
        return masks.boxes(runs, grid, order=order)
    return masks.boxes(masks.stretch(runs, grid, size, order=order), size, order="column")
