"""What an image shows along the boundary of a mask: a painted line, or the edge of an object.

Both are looked for along short profiles across the boundary, never by colour alone. A contour is a
line: the two pixels that the boundary separates are near its colour and those a few steps inside
and outside are not. A green object has the colour inside too, a green meadow outside too, so
neither is taken for paint. An edge is a colour step at the boundary that is larger than those
beside it, on every side of the object, so that neither a texture nor a horizon is taken for one.

Profiles instead of distance transforms, because their cost goes with the length of the boundary,
which is sampled, and not with the image. The price: a line on a scene of precisely its own colour
is free on one side at most.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Look", "crossings", "look", "mean_step"]

# A profile runs across the boundary: k = 0 is the last pixel inside the mask, 1 the first outside.
# The exporter's contour covers -1, 0 and 1 (on the real export 94, 95 and 96 % of the boundary, and
# none of 2); thinner painters cover 0 and 1. Flanks begin where JPEG's chroma no longer bleeds.
_LINE = (0, 1)
_FLANK_IN, _FLANK_OUT = (-4, -7), (4, 7)
_NEAR_IN, _NEAR_OUT = (-3, -2), (3, 4)
_FAR_IN, _FAR_OUT = (-9, -8), (9, 10)
_STEPS = np.array(
    (*_LINE, *_FLANK_IN, *_FLANK_OUT, *_NEAR_IN, *_NEAR_OUT, *_FAR_IN, *_FAR_OUT)
).reshape(-1, 1)
_NEAR_APART = 6  # px between the middles of near in and near out, and of near and far

_MOST_PROFILES = 1500  # a mask and reading; the share's standard error is then below 0.013
_LEAST_CONTESTED = 40  # profiles without which a mask has no say in the order
_LEAST_SIDE = 8  # profiles without which a side of the object has no say

_SAME_COLOUR = 70  # largest channel difference: JPEG at quality 75 moves 3 in 4 contour pixels less
_LINE_COLOUR = 100.0  # mean channel difference a line's pixel may have, of at most 255
_LINE_TO_FLANK = 0.75  # a line's pixel is at most so far from the colour as the flanks are, ...
_LINE_CONTRAST = 10.0  # ... and nearer by at least this, so that noise on the colour is no line
_EDGE_RATIO, _EDGE_CONTRAST = 1.5, 8.0  # the step at the boundary against the larger one beside it

_Pixels: TypeAlias = NDArray[np.uint8]
_Ints: TypeAlias = NDArray[np.int64]
_Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one mask's boundary shows under one reading of the mask.

    Args:
        boundary: profiles taken, at most 1,500.
        contested: those of them that are not on the other reading's boundary.
        coloured: profiles whose pixel inside the mask has the line's colour.
        lines: profiles that cross a line of that colour, free on both sides.
        line_share: the same as a share of the contested ones, 0 to 1; 0 if those are few.
        side_share: the same for lines free inside, or free outside, whichever is more.
        edge_share: share of contested profiles with an edge, on the object's worst side; None
            if it has not four sides with enough of them.
        step: mean colour difference 6 px across the boundary, 0 to 255.
    """

    boundary: int
    contested: int
    coloured: int
    lines: int
    line_share: float
    side_share: float
    edge_share: float | None
    step: float


def crossings(mask: NDArray[np.bool_], size: tuple[int, int]) -> _Ints:
    """Where a mask, stretched to an image, has its boundary.

    Nearest neighbour with source index floor(y * grid height / height): on the real export 96.1 %
    of the boundary is then in the overlay's colour; aligned by pixel centres 96.0 %, by corners
    93.6 %, rounded 39.8 %. The frame's own border is no boundary.

    Args:
        mask: bool (grid height, grid width).
        size: (height, width) of the image.

    Returns:
        int64 (n, 4): y and x of a pixel inside, dy and dx of the step out of the mask.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return np.empty((0, 4), dtype=np.int64)
    y, y0 = _source(rows[0], rows[-1], mask.shape[0], size[0])
    x, x0 = _source(columns[0], columns[-1], mask.shape[1], size[1])
    if mask.shape == size:
        image = np.ascontiguousarray(mask[y[0] : y[-1] + 1, x[0] : x[-1] + 1])
    else:
        image = mask[np.ix_(y, x)]
    down_y, down_x = _places(image[1:] != image[:-1])
    right_y, right_x = _places(image[:, 1:] != image[:, :-1])
    down_in, right_in = image[down_y, down_x], image[right_y, right_x]
    down = (down_y + ~down_in, down_x, np.where(down_in, 1, -1), np.zeros_like(down_y))
    right = (right_y, right_x + ~right_in, np.zeros_like(right_y), np.where(right_in, 1, -1))
    found = np.concatenate([np.stack(down, axis=1), np.stack(right, axis=1)])
    return found + np.array((y0, x0, 0, 0), dtype=np.int64)


def look(
    pixels: _Pixels, at: _Ints, contested: NDArray[np.bool_], colour: tuple[int, int, int]
) -> Look:
    """Take profiles across the boundary of one mask.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        at: int64 (n, 4), the boundary's crossings.
        contested: bool (n,), which of them are not on the boundary of the mask's other reading.
        colour: RGB of the line to look for.

    Returns:
        What they show.
    """
    stride = max(1, -(-len(at) // _MOST_PROFILES))
    at, contested = at[::stride], contested[::stride]
    height, width = pixels.shape[:2]
    y = np.clip(at[:, 0] + _STEPS * at[:, 2], 0, height - 1)
    x = np.clip(at[:, 1] + _STEPS * at[:, 3], 0, width - 1)
    # (3, 14, n): numpy adds whole planes at a time, but along a short last axis one by one
    profile = pixels.reshape(-1, 3)[y * width + x].transpose(2, 0, 1).astype(np.int16, order="C")
    off = np.abs(profile[:, :6] - np.array(colour, dtype=np.int16).reshape(3, 1, 1))
    distance = off.sum(axis=0) / 3
    line = distance[:2].max(axis=0)
    free_in = _free(line, distance[2:4].max(axis=0))
    free_out = _free(line, distance[4:6].max(axis=0))
    lines = free_in & free_out
    step, beside = _steps(profile)
    edges = (step >= _EDGE_RATIO * beside) & (step >= beside + _EDGE_CONTRAST)
    enough = int(contested.sum()) >= _LEAST_CONTESTED
    sides = [float(free[contested].mean()) if enough else 0.0 for free in (free_in, free_out)]
    return Look(
        boundary=len(at),
        contested=int(contested.sum()),
        coloured=int((off[:, 0].max(axis=0) <= _SAME_COLOUR).sum()),
        lines=int(lines.sum()),
        line_share=float(lines[contested].mean()) if enough else 0.0,
        side_share=max(sides),
        edge_share=_worst_side(edges[contested], at[contested]) if enough else None,
        step=float(step.mean()) if len(at) else 0.0,
    )


def mean_step(pixels: _Pixels) -> float:
    """Mean colour difference of pixels 6 px apart, over every 16th row and column.

    Args:
        pixels: uint8 (height, width, 3), RGB.

    Returns:
        0 to 255; 0 for an image with fewer than 7 rows or columns.
    """
    rows, columns = pixels[::16].astype(np.int16), pixels[:, ::16].astype(np.int16)
    across = np.abs(rows[:, _NEAR_APART:] - rows[:, :-_NEAR_APART])
    down = np.abs(columns[_NEAR_APART:] - columns[:-_NEAR_APART])
    return float(across.mean() + down.mean()) / 2 if min(across.size, down.size) else 0.0


def _source(first: int, last: int, grid: int, pixels: int) -> tuple[_Ints, int]:
    """Grid line of each image line from the one before grid line `first` to the one after `last`.

    The second value is the first such image line.
    """
    source = np.arange(pixels) * grid // pixels
    start = max(int(np.searchsorted(source, first)) - 1, 0)
    return source[start : int(np.searchsorted(source, last, "right")) + 1], start


def _places(found: NDArray[np.bool_]) -> tuple[_Ints, _Ints]:
    """`np.nonzero` of two dimensions, at a quarter of its cost."""
    y, x = np.divmod(np.flatnonzero(found), max(found.shape[1], 1))
    return y, x


def _free(line: _Floats, flank: _Floats) -> NDArray[np.bool_]:
    """Whether the colour is on the line and ends before the flank."""
    near = (line <= _LINE_COLOUR) & (line <= _LINE_TO_FLANK * flank)
    return near & (flank - line >= _LINE_CONTRAST)


def _steps(profile: NDArray[np.int16]) -> tuple[_Floats, _Floats]:
    """Colour difference across the boundary, and the larger one over the same way beside it."""
    near_in, near_out, far_in, far_out = (profile[:, k] + profile[:, k + 1] for k in (6, 8, 10, 12))
    step, inside, outside = (
        np.abs(one - other).sum(axis=0) / 2 / 3  # of two pixels, in three channels
        for one, other in ((near_in, near_out), (far_in, near_in), (far_out, near_out))
    )
    return step, np.maximum(inside, outside)


def _worst_side(edges: NDArray[np.bool_], at: _Ints) -> float | None:
    """Smallest share of edges among the profiles that go up, left, right and down."""
    side = at[:, 2] * 2 + at[:, 3]
    found = [edges[side == s] for s in (-2, -1, 1, 2)]
    enough = min(e.size for e in found) >= _LEAST_SIDE
    return min(float(e.mean()) for e in found) if enough else None
