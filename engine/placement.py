"""Placing frames one by one, or videos whole, so that sizes and classes come out as wished.

Frames follow the multi-label stratification of Sechidis, Tsoumakas and Vlahavas ("On the
stratification of multi-label data", 2011), done for groups of equal frames instead of single ones:
rare classes greedily and first, the rest dealt out in one vectorised pass along the groups, rarest
class first, then swaps that lower the squared deviation. Sizes are exact throughout.

Whole videos are a partition problem: exact by enumeration for a dozen, good starts and swaps
beyond. There size comes first and classes decide among the equal. scikit-learn is not used: its
stratified splitters take one label a frame, and its group splitters give folds of equal size only.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from engine.apportion import WHOLE, ClassTable, Goal, largest_remainder, lower_deviation

__all__ = ["best_possible_points", "place_frames", "place_videos"]

_Int = npt.NDArray[np.int64]

_RARE_FRAMES = 20  # one frame of so few is worth 5 points of its class: placed one by one
_ABSENCE_FRAMES = 1 << 48  # above what any deviation of a class can cost: presence comes first
_ABSENCE_SHIFT = 7  # of videos: as much as 9 points off, one wish among others
_EMPTY_SPLIT = 1 << 58  # above everything: a split keeps its last video
_SIZE_WHOLE, _CLASS_WHOLE = 1 << 27, 1 << 19  # beyond enumeration, 1 point of size outweighs 256
_ENUMERATED_VIDEOS = 12  # 3**12 = 531,441 assignments
# A few things are easily caught in a poor corner: they get this many starts, many things fewer,
# such that all starts together have no more entries than the second number.
_FRAME_STARTS, _FRAME_ENTRIES = 16, 1 << 12
_VIDEO_STARTS, _VIDEO_ENTRIES = 64, 1 << 17
_WORST_SEARCHES, _WORST_ENTRIES, _WORST_POWER = 16, 1 << 17, 3
_CHUNK_CELLS = 1 << 22  # candidates times classes costed at once: some 100 MB
_EXACT_UNITS = 8  # 3**8 = 6,561 ways to place a rare class
_NO_ROOM = -(1 << 61)


def place_frames(
    frames: ClassTable, sizes: _Int, shares: Sequence[Fraction]
) -> npt.NDArray[np.int8]:
    """Give every frame a split, of exact sizes and with the classes nearly even.

    Args:
        frames: one unit a frame, in seeded order, none without an entry: "no class" is a class too.
        sizes: int64 (3,), frames wanted in each split.
        shares: wanted share of each split, summing to 1.

    Returns:
        int8 (frames,) of 0, 1, 2. A class of fewer frames than splits is in as many
        splits as it has frames, where sizes allow.
    """
    first, group = _groups(frames)
    copies = np.bincount(group)
    table = frames.take(first)
    goal = _goal_of_frames(table, copies, sizes, shares)
    best = _lower_worst(table, _spread(table, copies, sizes, goal), sizes, shares, goal)
    for start in range(1, min(_FRAME_STARTS, _FRAME_ENTRIES // len(table.columns))):
        shuffled = _deal_along(_shuffle(table.units, start), copies, sizes)
        best = min(best, _lower_worst(table, shuffled, sizes, shares, goal), key=lambda b: b[0])
    placed = best[1]
    result = np.empty(frames.units, dtype=np.int8)
    splits = np.tile(np.arange(3, dtype=np.int8), table.units)
    result[np.argsort(group, kind="stable")] = np.repeat(splits, placed.T.ravel())
    return result


def _goal_of_frames(
    table: ClassTable,
    copies: _Int,
    sizes: _Int,
    shares: Sequence[Fraction],
    whole: _Int | None = None,
) -> Goal:
    return Goal.of(
        table,
        copies,
        shares,
        open_splits=sizes > 0,
        absence=np.full(table.width, _ABSENCE_FRAMES),
        whole=whole,
    )


def _lower_worst(
    table: ClassTable, placed: _Int, sizes: _Int, shares: Sequence[Fraction], goal: Goal
) -> tuple[tuple[int, list[int]], _Int]:
    """Lower the sum of squares, then, beyond the goal of 1 point, the largest deviations.

    Squares again, but those of the classes that are far off weigh more, ever more so until
    something is gained: the usual way to a higher norm by reweighting.

    Returns:
        What is wrong with the placement: absences, then deviations, largest first; the placement.
    """
    placed = lower_deviation(table, placed, goal)
    missing, off = goal.worst(table, placed)
    wrong = missing, sorted(off, reverse=True)
    power = 1
    for _ in range(min(_WORST_SEARCHES, _WORST_ENTRIES // len(table.columns))):
        if power > _WORST_POWER or max(off) <= WHOLE // 100:
            break
        least = WHOLE >> power
        whole = least + (WHOLE - least) * np.array(off) // max(off)
        weighted = _goal_of_frames(table, placed.sum(axis=0), sizes, shares, whole)
        other = lower_deviation(table, placed, weighted)
        missing, other_off = goal.worst(table, other)
        other_wrong = missing, sorted(other_off, reverse=True)
        if other_wrong < wrong:
            placed, off, wrong, power = other, other_off, other_wrong, 1
        else:
            power += 1
    return wrong, placed


def _groups(frames: ClassTable) -> tuple[_Int, _Int]:
    """Groups of frames with the same counts: first frame of each, in order of it; group of each.

    Rows are compared by a 64-bit hash. Two different rows falling together (once in 40 million
    corpora of a million frames) would only make the result a frame less even.
    """
    mixed = _mix(
        frames.columns.astype(np.uint64) << np.uint64(32) | frames.amounts.astype(np.uint64)
    )
    rows = np.add.reduceat(mixed, frames.indptr[:-1])
    _, first, group = np.unique(rows, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    by_first = np.argsort(first, kind="stable")
    rank[by_first] = np.arange(len(first))
    return first[by_first], rank[group]


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _deal(sizes: _Int) -> npt.NDArray[np.int8]:
    """A sequence of splits in which every stretch holds them in proportion: int8 (sum of sizes,).

    The j-th of the m places of a split lies as near as may be to (j + 0.5) / m of the whole.
    """
    ideal = [(np.arange(size) + 0.5) / max(size, 1) for size in sizes.tolist()]
    owners = np.repeat(np.arange(len(sizes), dtype=np.int8), sizes)
    return owners[np.argsort(np.concatenate(ideal), kind="stable")]


def _spread(table: ClassTable, copies: _Int, sizes: _Int, goal: Goal) -> _Int:
    """Frames of each group in each split, (3, units): sizes exact, classes nearly even."""
    placed, room = _place_rare(table, copies, sizes, goal)
    return placed + _deal_along(table.rarest_first(), copies - placed.sum(axis=0), room)


def _deal_along(order: npt.NDArray[np.intp], copies: _Int, sizes: _Int) -> _Int:
    """Deal out copies of the groups, taken in this order, to the splits: (splits, units)."""
    owners = _deal(sizes).astype(np.int64) * len(order) + np.repeat(order, copies[order])
    return np.bincount(owners, minlength=len(sizes) * len(order)).reshape(len(sizes), -1)


def _shuffle(count: int, start: int) -> npt.NDArray[np.intp]:
    """A permutation of `count` things, another one for every start, the same everywhere."""
    return np.argsort(_mix(np.arange(count, dtype=np.uint64) + np.uint64(start * count)))


def _place_rare(table: ClassTable, copies: _Int, sizes: _Int, goal: Goal) -> tuple[_Int, _Int]:
    """Put each frame of a rare class where that class lacks most, rarest class first."""
    placed = np.zeros((len(sizes), table.units), dtype=np.int64)
    room = sizes.copy()
    _, holders = table.totals(copies)
    rare = np.flatnonzero(holders[table.columns] <= _RARE_FRAMES)
    unit_of_entry = table.unit_of_entry()
    wanted = goal.targets.copy()
    missing = goal.required.copy()
    for entry in rare[np.argsort(table.columns[rare], kind="stable")].tolist():
        column, unit = int(table.columns[entry]), int(unit_of_entry[entry])
        entries = slice(int(table.indptr[unit]), int(table.indptr[unit + 1]))
        for _ in range(int(copies[unit] - placed[:, unit].sum())):
            lack = wanted[:, column] + 2 * WHOLE * missing[:, column]
            split = int(np.argmax(np.where(room > 0, lack, _NO_ROOM)))
            placed[split, unit] += 1
            room[split] -= 1
            wanted[split, table.columns[entries]] -= goal.shares[entries]
            missing[split, table.columns[entries]] = False
    return placed, room


def place_videos(
    videos: ClassTable, frames: _Int, shares: Sequence[Fraction]
) -> npt.NDArray[np.int8]:
    """Give every video a split, sizes being as near to the shares as whole videos allow.

    Args:
        videos: one unit a video, in seeded order; at least as many as there are positive shares.
        frames: int64 (videos,), size of each.
        shares: wanted share of each split, summing to 1.

    Returns:
        int8 (videos,) of 0, 1, 2; every split with a positive share has a video. Of assignments
        with equally many frames on the wrong side the one with the most even classes; of those the
        first. Exact up to 12 videos. Beyond, near it: a frame or two may go for evener classes.
    """
    if videos.units <= _ENUMERATED_VIDEOS:
        return _enumerate_videos(videos, frames, shares)
    return _search_videos(videos, frames, shares)


def _goal_of_videos(table: ClassTable, shares: Sequence[Fraction], *, sized: bool) -> Goal:
    """The goal for whole videos; if `sized`, the last class is the number of frames."""
    # By the root of their number, so that all classes together do not outweigh the size either.
    class_whole = _CLASS_WHOLE >> table.width.bit_length() // 2
    whole = np.full(table.width, class_whole)
    absence = np.full(table.width, class_whole**2 >> _ABSENCE_SHIFT)
    if sized:
        whole[-1], absence[-1] = _SIZE_WHOLE, _EMPTY_SPLIT
    return Goal.of(
        table,
        np.ones(table.units, dtype=np.int64),
        shares,
        open_splits=np.array([share > 0 for share in shares]),
        absence=absence,
        whole=whole,
    )


def _enumerate_videos(
    table: ClassTable, frames: _Int, shares: Sequence[Fraction]
) -> npt.NDArray[np.int8]:
    """Of all assignments the one with the fewest frames to move, then the most even classes."""
    splits = np.flatnonzero([share > 0 for share in shares])
    base, videos = len(splits), len(frames)
    codes = np.arange(base**videos)
    total = int(frames.sum())
    # Quotas of plain decimals are exact in these parts of a frame, those of odd ratios near enough.
    scale = min(math.lcm(*(share.denominator for share in shares)), 1 << 20)
    off = np.zeros(len(codes), dtype=np.int64)
    for digit, split in enumerate(splits.tolist()):
        size = np.zeros(len(codes), dtype=np.int64)
        held = np.zeros(len(codes), dtype=bool)
        for video, count in enumerate(frames.tolist()):
            here = codes // base**video % base == digit
            size += count * here
            held |= here
        off += np.abs(scale * size - round(scale * total * shares[split]))
        off[~held] = np.iinfo(np.int64).max // 4
    return splits[_most_even(table, shares, splits, codes[off == off.min()])].astype(np.int8)


def _most_even(table: ClassTable, shares: Sequence[Fraction], splits: _Int, codes: _Int) -> _Int:
    """The digits, one a video, of the first code under which classes are spread most evenly."""
    base, videos = len(splits), table.units
    goal = _goal_of_videos(table, shares, sized=False)
    share, has = (np.zeros((videos, table.width)) for _ in range(2))
    at = (table.unit_of_entry(), table.columns)
    share[at], has[at] = goal.shares, 1
    costs = []
    for chunk in np.array_split(codes, 1 + len(codes) * table.width // _CHUNK_CELLS):
        cost = np.zeros(len(chunk), dtype=np.int64)
        for digit, split in enumerate(splits.tolist()):
            member = (chunk[:, None] // base ** np.arange(videos) % base == digit).astype(float)
            deviation = (member @ share).astype(np.int64) - goal.targets[split]
            missing = goal.required[split] & (member @ has == 0)
            cost += (deviation * deviation + missing * goal.absence).sum(axis=1)
        costs.append(cost)
    digits: _Int = int(codes[np.argmin(np.concatenate(costs))]) // base ** np.arange(videos) % base
    return digits


def _search_videos(
    table: ClassTable, frames: _Int, shares: Sequence[Fraction]
) -> npt.NDArray[np.int8]:
    """Videos into the split that lacks most, then moves and swaps: the best of several starts.

    The first start takes the largest video first, the others go through them in a fixed shuffle.
    The size is one more class of each video, of much weight, which no split may be without.
    """
    videos = table.units
    sized = ClassTable(
        indptr=np.append(table.indptr + np.arange(videos + 1), len(table.columns) + videos),
        columns=np.insert(table.columns, table.indptr[1:], table.width),
        amounts=np.insert(table.amounts, table.indptr[1:], frames),
        width=table.width + 1,
    )
    # The row added at the end is an empty video, for a move is a swap with it.
    goal = _goal_of_videos(sized, shares, sized=True)
    best, lowest = np.zeros(videos, dtype=np.int8), None
    for start in range(max(1, min(_VIDEO_STARTS, _VIDEO_ENTRIES // len(sized.columns)))):
        along = _shuffle(videos, start) if start else np.argsort(-frames, kind="stable")
        copies = np.zeros((3, videos + 1), dtype=np.int64)
        copies[_fill(along, frames, shares), np.arange(videos)] = 1
        copies[[share > 0 for share in shares], videos] = videos
        copies = lower_deviation(sized, copies, goal)
        cost = goal.cost(sized, copies)
        if lowest is None or cost < lowest:
            best, lowest = copies[:, :videos].argmax(axis=0).astype(np.int8), cost
    return best


def _fill(along: _Int, frames: _Int, shares: Sequence[Fraction]) -> npt.NDArray[np.int8]:
    """Each video in turn into the split that lacks most frames, the last ones into empty splits."""
    lack = [int(frames.sum()) * share for share in shares]
    empty = [split for split, share in enumerate(shares) if share > 0]
    placed = np.zeros(len(frames), dtype=np.int8)
    allowed = list(empty)
    for done, video in enumerate(along.tolist()):
        open_now = empty if len(frames) - done == len(empty) else allowed
        split = max(open_now, key=lambda s: (lack[s], -s))
        placed[video] = split
        lack[split] -= int(frames[video])
        if split in empty:
            empty.remove(split)
    return placed


def best_possible_points(
    amounts: _Int, shares: Sequence[Fraction], open_splits: Sequence[int]
) -> Fraction:
    """A bound on how evenly one class can be spread, taken alone.

    Args:
        amounts: int64 (units,), instances of the class in each unit that has any, >= 1.
        shares: wanted share of each split, summing to 1.
        open_splits: splits that may hold anything, ascending.

    Returns:
        In percentage points, a largest deviation that no assignment can undercut. Exact for up to 8
        units, among the assignments that put the class in as many splits as it has units for.
        Otherwise the best of three bounds: no split holds part of an instance, the largest unit
        lies somewhere as a whole, a closed split holds nothing.
    """
    if len(amounts) <= _EXACT_UNITS:
        few = tuple(sorted(amounts.tolist()))
        return _best_of_all_ways(few, tuple(shares), tuple(open_splits))
    total, step = int(amounts.sum()), int(np.gcd.reduce(amounts))
    parts = largest_remainder(total // step, shares).tolist()
    whole_parts = (abs(Fraction(p * step, total) - s) for p, s in zip(parts, shares, strict=True))
    closed = (share for split, share in enumerate(shares) if split not in open_splits)
    return 100 * max(*whole_parts, Fraction(int(amounts.max()), total) - max(shares), *closed)


@lru_cache(maxsize=4096)  # rare classes mostly have the same few amounts
def _best_of_all_ways(
    amounts: tuple[int, ...], shares: tuple[Fraction, ...], open_splits: tuple[int, ...]
) -> Fraction:
    ways = np.array(list(product(open_splits, repeat=len(amounts))), dtype=np.int8)
    held = np.stack([(ways == split) @ np.array(amounts) for split in range(len(shares))])
    needed = list(open_splits[: len(amounts)])
    held = np.unique(held[:, (held[needed] > 0).all(axis=0)], axis=1)
    off = (
        max(abs(Fraction(h, sum(amounts)) - s) for h, s in zip(way, shares, strict=True))
        for way in held.T.tolist()
    )
    return 100 * min(off)
