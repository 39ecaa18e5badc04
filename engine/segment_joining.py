"""Frames that come to videos which are cut into stretches of time already.

A frame joins the stretch in which it lies; what lies between two stretches of different splits is
in the gap, and left out. Stretches stay where they are, so a video that grows at its end grows in
its last split, and wholly new videos make up for it.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from engine.segments import TICK_SEC, cut_segments, refuse_timeless
from engine.split_input import SplitInput

__all__ = ["join_segments"]

_Codes = npt.NDArray[np.int8]
_Mask = npt.NDArray[np.bool_]


def join_segments(
    data: SplitInput, held: _Codes, shares: Sequence[Fraction], *, gap_sec: float, seed: int
) -> _Codes:
    """Give frames that come to cut videos, or with new ones, to the splits.

    Args:
        data: all frames, those that are settled too.
        held: int8 (n,), the split of each settled frame, -1 of the others.
        shares: wanted share of each split, summing to 1.
        gap_sec: least time between frames of one video in different splits, seconds.
        seed: of the order in which new videos are taken.

    Returns:
        int8 (n,): `held`, with the split of each newcomer; -1 where it lies between settled frames
        of different splits, or nearer than the gap to a frame of another split. New videos are cut
        by `cut_segments` into what the splits lack then.

    Raises:
        UsageError: a timestamp is needed and missing.
    """
    videos = len(data.video_names)
    settled = np.bincount(data.video[held >= 0], minlength=videos) > 0
    coming = np.bincount(data.video[held < 0], minlength=videos) > 0
    codes = held.copy()
    grown = np.flatnonzero((settled & coming)[data.video])
    if len(grown):
        grown = grown[np.lexsort((data.frame_index[grown], data.video[grown]))]
        codes[grown] = _joined(data.video[grown], held[grown])
        if gap_sec:
            refuse_timeless(data.where((settled & coming)[data.video]))
            _keep_apart(data, grown, held, codes, gap_sec)
    new = ~settled[data.video]
    if new.any():
        sizes = np.bincount(codes[codes >= 0], minlength=len(shares)).tolist()
        codes[new] = cut_segments(data.where(new), shares, gap_sec=gap_sec, seed=seed, held=sizes)
    return codes


def _joined(video: npt.NDArray[np.int32], held: _Codes) -> _Codes:
    """The split of each frame's settled neighbours, frames sorted by video and time."""
    places, n = np.arange(len(held)), len(held)
    before = np.maximum.accumulate(np.where(held >= 0, places, -1))
    after = np.minimum.accumulate(np.where(held >= 0, places, n)[::-1])[::-1]
    sides = []
    for place in (before, after):
        inside = np.clip(place, 0, n - 1)
        there = (place == inside) & (video[inside] == video)
        sides.append(np.where(there, held[inside], -1))
    one, other = sides
    joined: _Codes = np.where(
        one < 0, other, np.where((other < 0) | (other == one), one, -1)
    ).astype(np.int8)  # fmt: skip
    return joined


def _keep_apart(
    data: SplitInput, grown: npt.NDArray[np.intp], held: _Codes, codes: _Codes, gap_sec: float
) -> None:
    """Leave out newcomers that are nearer than the gap to a frame of another split.

    All are judged at once: where times rise, a newcomer that is near another of a different split
    is near a settled frame of that split too.
    """
    times = np.zeros(0) if data.timestamps is None else data.timestamps
    starts = np.flatnonzero(np.diff(data.video[grown], prepend=-1))
    for frames in np.split(grown, starts[1:]):
        own, fresh = codes[frames], held[frames] < 0
        near = _too_near(times[frames], own, fresh, gap_sec)
        codes[frames[near]] = -1


def _too_near(times: npt.NDArray[np.float64], codes: _Codes, fresh: _Mask, gap_sec: float) -> _Mask:
    near = np.zeros(len(times), dtype=bool)
    for code in np.unique(codes[fresh & (codes >= 0)]).tolist():
        others = np.sort(times[(codes >= 0) & (codes != code)])
        if not len(others):
            continue
        mine = np.flatnonzero(fresh & (codes == code))
        place = np.searchsorted(others, times[mine])
        sides = (others[np.maximum(place - 1, 0)], others[np.minimum(place, len(others) - 1)])
        distance = np.minimum(*(np.abs(times[mine] - side) for side in sides))
        near[mine] = distance < gap_sec - TICK_SEC
    return near
