"""Masks of a sample export: drawn cells, what becomes of them when written, and their defects.

Dense arrays and numpy's plain functions, without the engine's own run-length code, so that the one
can be held against the other.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from engine.sample_spec import SampleSpec

__all__ = ["Drawn", "box_of", "moved", "resized"]

_BoolArray = NDArray[np.bool_]


class Drawn:
    """One object at one moment; each part of it is computed when first asked for.

    Args:
        cells: bool (height, width) of the grid that masks are written on.
        spec: of the export.
    """

    def __init__(self, cells: _BoolArray, spec: SampleSpec) -> None:
        self.cells = cells
        self._spec = spec

    @functools.cached_property
    def mask(self) -> _BoolArray:
        """At image size: the exporter's rule, nearest cell by floor(y * rows / height)."""
        rows, columns = self.cells.shape
        y = np.arange(self._spec.height) * rows // self._spec.height
        x = np.arange(self._spec.width) * columns // self._spec.width
        mask: _BoolArray = self.cells[y[:, None], x[None, :]]
        return mask

    @functools.cached_property
    def bbox(self) -> tuple[int, int, int, int]:
        """x, y, width, height in image px."""
        return box_of(self.mask)

    @functools.cached_property
    def area(self) -> int:
        """Image px."""
        return int(self.mask.sum())

    @functools.cached_property
    def runs(self) -> list[int]:
        """Run lengths of the cells as written, background first."""
        flat = self.cells.ravel(order="C" if self._spec.by_row else "F")
        ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
        runs: list[int] = np.diff(ends, prepend=0).tolist()
        return [0, *runs] if flat[0] else runs

    @functools.cached_property
    def written_bbox(self) -> tuple[int, int, int, int]:
        """In cells; the real exporter takes its own runs for column-major ones."""
        if self._spec.dialect == "coco":
            return box_of(self.cells)
        flat = np.repeat(np.arange(len(self.runs)) % 2 == 1, self.runs)
        return box_of(flat.reshape(self.cells.shape, order="F"))


def box_of(mask: _BoolArray) -> tuple[int, int, int, int]:
    """(x, y, width, height) of the True cells; all 0 if there is none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return (0, 0, 0, 0)
    x, y = int(columns[0]), int(rows[0])
    return (x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)


def resized(cells: _BoolArray, factor: float) -> _BoolArray:
    """The same form about the same centre with `factor` times the area, cut off at the frame."""
    rows, columns = (np.nonzero(cells)[axis] for axis in (0, 1))
    middle = rows.mean(), columns.mean()
    scale = factor**-0.5
    y, x = (
        np.round((np.arange(n) - m) * scale + m).astype(int)
        for n, m in zip(cells.shape, middle, strict=True)
    )
    inside = ((y >= 0) & (y < cells.shape[0]))[:, None] & ((x >= 0) & (x < cells.shape[1]))
    grown: _BoolArray = cells[y.clip(0, cells.shape[0] - 1)[:, None], x.clip(0, cells.shape[1] - 1)]
    grown &= inside
    return grown


def moved(cells: _BoolArray, share: float) -> _BoolArray:
    """The same mask elsewhere: `share` of the width away, as far as it stays inside the frame."""
    x, _, width, _ = box_of(cells)
    room = cells.shape[1] - width - x
    way = round(share * cells.shape[1])
    way = min(way, room) if room >= x else -min(way, x)
    return np.roll(cells, way, axis=1)
