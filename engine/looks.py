"""What a frame looks like, small enough to hold for a sample of frames of every video.

A look is a 64-bit hash, to find frames that may be the same among hundreds of thousands, and a
16x16 thumbnail, to tell whether they are. The hash alone cannot: paint of two exports changes up to
16 of its bits, and drawn scenes that differ are 11 and more apart. In the thumbnail paint leaves
half of the cells as they were, and of different scenes hardly a cell is equal.

What neither can tell: two takes by one camera that did not move. A comparison that knew the paint
(what differs must be on the way to a colour of the palette) was tried; it told half of them apart
and missed too many videos that are one, so it is not here. The figures are in CONTRIBUTING.md.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from engine.byte_ranges import reading_ahead
from engine.identity import mean_cells, phash
from engine.members import Member, MemberError, range_of, read_member
from engine.pixels import decode_rgb, shrink_rgb
from engine.records import Look

__all__ = [
    "LOOKS", "SIDE_PX", "Comparison", "choose_frames", "compare", "look_at", "take_looks",
]  # fmt: skip

LOOKS = 12  # a video: what some 50 ms of decoding are spent on
SIDE_PX = 128  # an image is decoded at this size or larger: eight pixels a cell, less is noise
_ENDS = 2  # a video cut in two: the end of one part is all that looks like the other
_SIDE = 16  # cells of the thumbnail, each way
_EQUAL = 4  # grey levels: JPEG, another JPEG scale and rounding stay below, light does not
_LUMA = np.array((0.299, 0.587, 0.114))  # ITU-R BT.601
_BLOCK = 1024  # pairs compared at once: some 20 MB


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """How pairs of thumbnails compare; one element a pair.

    Args:
        equal: float64 (n,), share of cells that are equal, 0 to 1.
        detail: float64 (n,), standard deviation of the brightness over the equal cells, in grey
            levels: two frames may be equal because nothing is on them.
    """

    equal: NDArray[np.float64]
    detail: NDArray[np.float64]


def look_at(frame_index: int, pixels: NDArray[np.uint8]) -> Look:
    """Take the look of a frame.

    Args:
        frame_index: of the frame.
        pixels: uint8 (height, width, 3), RGB, of any size; `SIDE_PX` on the longer side is enough.
    """
    cells = np.round(mean_cells(pixels, _SIDE, _SIDE)).astype(np.uint8)
    return Look(frame_index=frame_index, phash=phash(pixels), cells=cells.tobytes())


def take_looks(
    location: str,
    pictured: Mapping[int, Member],
    decoded: Mapping[int, NDArray[np.uint8]] = MappingProxyType({}),
) -> tuple[Look, ...]:
    """Look at some frames of a video: at most `LOOKS` images are read, and decoded small.

    Args:
        location: where the images lie.
        pictured: image by frame index.
        decoded: pixels of some of these images, at full size. None of a JPEG, which decodes to
            other pixels at a smaller size: an image has one look in every export.

    Returns:
        Looks by frame index, without those of images that cannot be read: the scan reports them.

    Raises:
        ExportError: the storage cannot be read.
    """
    looks = []
    chosen = choose_frames(pictured)
    unread = [range_of(location, pictured[index]) for index in chosen if index not in decoded]
    with reading_ahead(unread):
        for index in chosen:
            if index in decoded:
                looks.append(look_at(index, shrink_rgb(decoded[index], SIDE_PX)))
                continue
            try:
                data = read_member(location, pictured[index])
            except MemberError:
                continue
            pixels = decode_rgb(data, max_side=SIDE_PX)
            if pixels is not None and pixels.size:
                looks.append(look_at(index, pixels))
    return tuple(looks)


def choose_frames(frame_indices: Collection[int], limit: int = LOOKS) -> list[int]:
    """Choose the frames to look at: both ends, and between them such that others choose the same.

    Two exports of one video seldom hold the same frames: other objects, another rate, a part. So
    frames are not taken evenly from those at hand but from a grid that all exports share: indices
    divisible by the highest powers of two first, and among equals by a digest of the index. At a
    constant rate that is mostly an even spacing; where no index is more even than another (odd ones
    alone, say) it is a random choice.

    Args:
        frame_indices: of the frames that have an image; not negative, order does not matter.
        limit: how many to choose at most.

    Returns:
        Distinct indices, ascending. The first two and the last two are among them where `limit` is
        4 or more.
    """
    ordered = sorted(set(frame_indices))
    ends = {*ordered[:_ENDS], *ordered[-_ENDS:]} if limit >= 2 * _ENDS else set()
    between = [index for index in ordered if index not in ends]
    between.sort(key=lambda index: (-_power_of_two(index), _digest(index)))
    return sorted([*ends, *between[: max(0, limit - len(ends))]])


def _power_of_two(index: int) -> int:
    """The highest power of two that divides it; of 0, more than of any frame index."""
    return index & -index or 1 << 62


def _digest(index: int) -> bytes:
    return hashlib.sha256(str(index).encode()).digest()


def compare(
    cells: NDArray[np.uint8], left: NDArray[np.int64], right: NDArray[np.int64]
) -> Comparison:
    """Compare thumbnails pair by pair; a pair compares the same in either order.

    Args:
        cells: uint8 (n, 256, 3), of n looks.
        left: int64 (pairs,), place of one look of each pair.
        right: int64 (pairs,), place of the other.
    """
    equal, detail = np.empty(len(left)), np.empty(len(left))
    for first in range(0, len(left), _BLOCK):
        part = slice(first, first + _BLOCK)
        equal[part], detail[part] = _compare(cells[left[part]], cells[right[part]])
    return Comparison(equal=equal, detail=detail)


def _compare(
    a: NDArray[np.uint8], b: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    same = (np.abs(a.astype(np.int16) - b) <= _EQUAL).all(axis=2)
    count = np.maximum(same.sum(axis=1), 1)
    grey = (a.astype(np.float64) + b) / 2 @ _LUMA
    mean = np.where(same, grey, 0.0).sum(axis=1) / count
    spread = np.where(same, (grey - mean[:, None]) ** 2, 0.0).sum(axis=1) / count
    return same.mean(axis=1), np.sqrt(spread)
