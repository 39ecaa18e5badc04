"""Cutting videos into stretches of time, with a gap between, for `temporal` with too few videos.

Every video is cut, in the order of the splits: its beginning is for training, its end for the test,
as a model meets what comes later. Whole videos do not go first, even where there are some: each
split then sees each scene, and no split hangs on which video fell to it. The sizes are those of all
videos together, so that short ones even each other out.

Frames on both sides of a cut look alike. Those nearer to each other than the gap are left out, as
few as will do: the stretches are laid one after the other, each beginning as soon as the gap is
over, and they are as long as what then remains allows.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from engine.apportion import largest_remainder, seeded_order
from engine.errors import UsageError
from engine.split_input import SplitInput

__all__ = ["TICK_SEC", "cut_segments", "refuse_timeless"]

_Int = npt.NDArray[np.int64]

TICK_SEC = 1e-9
"""What two times may be nearer than a gap: 0.4 - 0.1 is less than 0.3 in binary."""


def cut_segments(
    data: SplitInput,
    shares: Sequence[Fraction],
    *,
    gap_sec: float,
    seed: int,
    held: Sequence[int] | None = None,
) -> npt.NDArray[np.int8]:
    """Give each video's stretches of time to the splits.

    Args:
        data: the frames; with a gap, their timestamps are needed.
        shares: wanted share of each split, summing to 1.
        gap_sec: least time between frames of one video in different splits, seconds.
        seed: of the order in which videos are taken, which decides about single frames.
        held: frames that each split has already, so many fewer of these; None: none.

    Returns:
        int8 (n,): the split of each frame, -1 where it lies in a gap.

    Raises:
        UsageError: a timestamp is needed and missing.
    """
    codes = np.full(len(data), -1, dtype=np.int8)
    if gap_sec:
        refuse_timeless(data)
    order = np.lexsort((data.frame_index, data.video))
    present, starts = np.unique(data.video[order], return_index=True)
    stops = np.append(starts[1:], len(order))
    held = [0] * len(shares) if held is None else list(held)
    for place in seeded_order([data.video_names[code] for code in present.tolist()], seed):
        frames = order[starts[place] : stops[place]]
        times = None if data.timestamps is None or not gap_sec else data.timestamps[frames]
        for split, (start, stop) in enumerate(
            _stretches(len(frames), times, shares, held, gap_sec)
        ):
            codes[frames[start:stop]] = split
            held[split] += stop - start
    return codes


def refuse_timeless(data: SplitInput) -> None:
    """Refuse frames without a time, which a gap in seconds needs.

    Args:
        data: the frames.

    Raises:
        UsageError: some have none.
    """
    times = np.full(len(data), np.nan) if data.timestamps is None else data.timestamps
    without = np.flatnonzero(np.isnan(times))
    if not len(without):
        return
    some = sorted(str(data.ids[place]) for place in without.tolist())
    raise UsageError(
        "--temporal-segments",
        f"a gap in seconds needs timestamp_sec, which {len(some)} of {len(data)} frames lack",
        got=", ".join(some[:3]) + (", ..." if len(some) > 3 else ""),
        advice="use --gap-sec 0 to cut without a gap, or --split stratified",
    )


def _stretches(
    count: int,
    times: npt.NDArray[np.float64] | None,
    shares: Sequence[Fraction],
    held: Sequence[int],
    gap_sec: float,
) -> list[tuple[int, int]]:
    """First and last + 1 of each split's frames in one video, given what the splits hold so far."""
    if times is not None:
        # Times that do not rise: whatever comes before counts as the latest, after, the earliest.
        latest = np.maximum.accumulate(times)
        earliest = np.minimum.accumulate(times[::-1])[::-1]
    left = count
    while True:
        at, stretches = 0, []
        for size in _sizes(left, shares, held):
            if size and at and times is not None:
                free = latest[min(at, count) - 1] + gap_sec - TICK_SEC
                at = max(at, int(np.searchsorted(earliest, free)))
            stretches.append((at, at + size))
            at += size
        if at <= count:
            break
        left -= at - count
        left = max(left, 1)
    last = max(split for split, (start, stop) in enumerate(stretches) if stop > start)
    stretches[last] = (stretches[last][0], count)
    return stretches


def _sizes(count: int, shares: Sequence[Fraction], held: Sequence[int]) -> list[int]:
    """So many frames for each split that all of them together come nearest to the shares."""
    total = sum(held) + count
    lack = [
        max(Fraction(0), total * share - have) for share, have in zip(shares, held, strict=True)
    ]
    sizes: list[int] = largest_remainder(count, [each / sum(lack) for each in lack]).tolist()
    return sizes
