"""Centroids of masks, exact, from their run lengths.

The sum of a coordinate over a run of pixels is a difference of two sums over all pixels before a
place, and that one has a closed form: walking down columns of `height` pixels, the first n pixels
are q = n // height whole columns and r = n % height pixels of the next. All of it is whole numbers;
the one rounding is the division by the area at the end.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.rle_text import Runs

__all__ = ["centroids"]

_Ints: TypeAlias = NDArray[np.int64]


def centroids(runs: Runs, height: int) -> NDArray[np.float64]:
    """Mean place of each mask's foreground pixels.

    Args:
        runs: m column-major masks, of 2**30 pixels or fewer, with sides of 2**20 px or fewer.
        height: rows of their image, px, above 0.

    Returns:
        float64 (m, 2), x and y in px of pixel centres, where the first pixel's is (0, 0): the mean
        of `numpy.nonzero`'s columns and rows. NaN for a mask without foreground.
    """
    starts, stops, edges = runs.foreground()

    def over_masks(values: _Ints) -> NDArray[np.float64]:
        running = np.concatenate([[0], np.cumsum(values)])
        found: _Ints = running[edges[1:]] - running[edges[:-1]]
        return found.astype(np.float64)

    def columns(q: _Ints, r: _Ints) -> _Ints:
        sums: _Ints = height * (q * (q - 1) >> 1) + r * q
        return sums

    def rows(q: _Ints, r: _Ints) -> _Ints:
        sums: _Ints = q * (height * (height - 1) // 2) + (r * (r - 1) >> 1)
        return sums

    areas = over_masks(stops - starts)
    areas[areas == 0] = np.nan
    first, after = np.divmod(starts, height), np.divmod(stops, height)
    places = [over_masks(f(*after) - f(*first)) / areas for f in (columns, rows)]
    return np.stack(places, axis=1)
