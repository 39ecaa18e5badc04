"""Placing frames one by one so that sizes are exact and classes come out as wished.

Frames follow the multi-label stratification of Sechidis, Tsoumakas and Vlahavas ("On the
stratification of multi-label data", 2011), done for groups of equal frames instead of single ones:
rare classes greedily and first, the rest dealt out in one vectorised pass along the groups, rarest
class first, then swaps that lower the squared deviation. Sizes are exact throughout.
scikit-learn is not used: its stratified splitters take one label a frame.

Where the swaps end with a class more than a point off that could be nearer, an integer program
tries, with few groups of equal frames, to find the best placement and prove it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.apportion import largest_remainder, mixed_bits, shuffled
from engine.frame_program import prove_frames
from engine.swaps import WHOLE, ClassTable, Goal, Load, lower_deviation

__all__ = ["FramePlacement", "best_possible_points", "place_frames"]

_Int = npt.NDArray[np.int64]

_RARE_FRAMES = 20  # one frame of so few is worth 5 points of its class: placed one by one
_ABSENCE_FRAMES = 1 << 48  # above what any deviation of a class can cost: presence comes first
# A few things are easily caught in a poor corner: they get this many starts, many things fewer,
# such that all starts together have no more entries than the second number; the third, where a
# class could still be nearer.
_FRAME_STARTS, _FRAME_ENTRIES, _FAR_ENTRIES = 16, 1 << 12, 1 << 13
_WORST_SEARCHES, _WORST_ENTRIES, _WORST_POWER = 16, 1 << 17, 3
_EXACT_UNITS, _EXACT_WAYS = 8, 3**8  # 6,561 ways to place a rare class
_NEAR_POINTS = Fraction(1, 100)  # what the rounding of shares is far below
_NO_ROOM = -(1 << 61)


@dataclass(frozen=True, kw_only=True, eq=False)
class FramePlacement:
    """Where the frames are, and what is known of that.

    Args:
        codes: int8 (frames,), the split of each frame.
        solver: JSON types: its name; whether the placement is the best there is; and the smallest
            possible largest deviation of a class at such sizes, in points, if that was proved.
    """

    codes: npt.NDArray[np.int8]
    solver: dict[str, Any]


def place_frames(
    frames: ClassTable, sizes: _Int, shares: Sequence[Fraction], load: Load | None = None
) -> FramePlacement:
    """Give every frame a split, of exact sizes and with the classes nearly even.

    Args:
        frames: one unit a frame, in seeded order, none without an entry: "no class" is a class too,
            and without a load the last one.
        sizes: int64 (splits,), frames that each split gets.
        shares: wanted share of each split, summing to 1.
        load: what the splits hold already; classes are evened out over it and the frames together.

    Returns:
        The placement. A class of fewer frames than splits is in as many splits as it has frames,
        where sizes allow.
    """
    first, group = _groups(frames)
    copies = np.bincount(group)
    table = frames.take(first)
    there = Load.none(len(sizes), table.width) if load is None else load
    wish = partial(_goal_of_frames, sizes=sizes, shares=shares, load=there)
    goal = wish(table, copies)
    best = _lower_worst(table, _spread(table, copies, sizes, goal), wish, goal)
    tried, settled = 1, None
    for entries in (_FRAME_ENTRIES, _FAR_ENTRIES):
        starts = max(tried, min(_FRAME_STARTS, entries // len(table.columns)))
        for start in range(tried, starts):
            dealt = _deal_along(shuffled(table.units, start), copies, sizes)
            best = min(best, _lower_worst(table, dealt, wish, goal), key=lambda b: b[0])
        tried = starts
        settled = _settled(table, best[1], goal, shares) if load is None else None
        if settled is None:
            break
    placed, solver = _proved(table, best[1], goal, settled)
    result = np.empty(frames.units, dtype=np.int8)
    splits = np.tile(np.arange(len(sizes), dtype=np.int8), table.units)
    result[np.argsort(group, kind="stable")] = np.repeat(splits, placed.T.ravel())
    return FramePlacement(codes=result, solver=solver)


def _proved(
    table: ClassTable, placed: _Int, goal: Goal, settled: npt.NDArray[np.bool_] | None
) -> tuple[_Int, dict[str, Any]]:
    """The placement, or a better one that is proved to be the best, and what is known of it."""
    solver: dict[str, Any] = {"name": "swaps", "optimal": None}
    least = None
    if settled is not None:
        proof = prove_frames(table, placed, goal, settled)
        if proof.placed is not None:
            placed, solver = proof.placed, {"name": "milp", "optimal": True}
        if proof.worst is not None and not settled.any():
            least = proof.worst / 100
    return placed, solver | {"least_max_deviation_points": least}


def _goal_of_frames(
    table: ClassTable,
    copies: _Int,
    whole: _Int | None = None,
    *,
    sizes: _Int,
    shares: Sequence[Fraction],
    load: Load,
) -> Goal:
    wanted = np.array([share > 0 for share in shares])
    return Goal.of(
        table,
        copies,
        shares,
        open_splits=wanted & (sizes + load.frames > 0),
        absence=np.full(table.width, _ABSENCE_FRAMES),
        load=load,
        whole=whole,
    )


def _lower_worst(
    table: ClassTable, placed: _Int, wish: Callable[..., Goal], goal: Goal
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
        weighted = wish(table, placed.sum(axis=0), whole)
        other = lower_deviation(table, placed, weighted)
        missing, other_off = goal.worst(table, other)
        other_wrong = missing, sorted(other_off, reverse=True)
        if other_wrong < wrong:
            placed, off, wrong, power = other, other_off, other_wrong, 1
        else:
            power += 1
    return wrong, placed


def _settled(
    table: ClassTable, placed: _Int, goal: Goal, shares: Sequence[Fraction]
) -> npt.NDArray[np.bool_] | None:
    """The classes that are farthest off and cannot be nearer, even alone: bool (width,).

    None where it ends there: all others are within the goal of 1 point. "No class" is not judged.
    """
    above, holders = goal.standing(table, placed)
    present = not (goal.required & (holders == 0)).any()
    off = np.abs(above).max(axis=0)[:-1].tolist()
    copies, open_splits = placed.sum(axis=0), np.flatnonzero(placed.sum(axis=1)).tolist()
    settled = np.zeros(table.width, dtype=bool)
    for column in sorted(range(len(off)), key=lambda c: -off[c]):
        if off[column] <= WHOLE // 100:
            return None
        own = table.columns == column
        amounts = np.repeat(table.amounts[own], copies[table.unit_of_entry()[own]])
        least = best_possible_points(amounts, shares, open_splits, present=present)
        if off[column] > (least + _NEAR_POINTS) * WHOLE / 100:
            return settled
        settled[column] = True
    return None


def _groups(frames: ClassTable) -> tuple[_Int, _Int]:
    """Groups of frames with the same counts: first frame of each, in order of it; group of each.

    Rows are compared by a 64-bit hash. Two different rows falling together (once in 40 million
    corpora of a million frames) would only make the result a frame less even.
    """
    mixed = mixed_bits(
        frames.columns.astype(np.uint64) << np.uint64(32) | frames.amounts.astype(np.uint64)
    )
    rows = np.add.reduceat(mixed, frames.indptr[:-1])
    _, first, group = np.unique(rows, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    by_first = np.argsort(first, kind="stable")
    rank[by_first] = np.arange(len(first))
    return first[by_first], rank[group]


def _deal(sizes: _Int) -> npt.NDArray[np.int8]:
    """A sequence of splits in which every stretch holds them in proportion: int8 (sum of sizes,).

    The j-th of the m places of a split lies as near as may be to (j + 0.5) / m of the whole.
    """
    ideal = [(np.arange(size) + 0.5) / max(size, 1) for size in sizes.tolist()]
    owners = np.repeat(np.arange(len(sizes), dtype=np.int8), sizes)
    return owners[np.argsort(np.concatenate(ideal), kind="stable")]


def _spread(table: ClassTable, copies: _Int, sizes: _Int, goal: Goal) -> _Int:
    """Frames of each group in each split, (splits, units): sizes exact, classes nearly even."""
    placed, room = _place_rare(table, copies, sizes, goal)
    return placed + _deal_along(table.rarest_first(), copies - placed.sum(axis=0), room)


def _deal_along(order: npt.NDArray[np.intp], copies: _Int, sizes: _Int) -> _Int:
    """Deal out copies of the groups, taken in this order, to the splits: (splits, units)."""
    owners = _deal(sizes).astype(np.int64) * len(order) + np.repeat(order, copies[order])
    return np.bincount(owners, minlength=len(sizes) * len(order)).reshape(len(sizes), -1)


def _place_rare(table: ClassTable, copies: _Int, sizes: _Int, goal: Goal) -> tuple[_Int, _Int]:
    """Put each frame of a rare class where that class lacks most, rarest class first."""
    placed = np.zeros((len(sizes), table.units), dtype=np.int64)
    room = sizes.copy()
    holders = table.totals(copies)[1] + goal.held.sum(axis=0)
    rare = np.flatnonzero(holders[table.columns] <= _RARE_FRAMES)
    unit_of_entry = table.unit_of_entry()
    wanted = goal.targets.copy()
    missing = goal.required & (goal.held == 0)
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


def best_possible_points(
    amounts: _Int, shares: Sequence[Fraction], open_splits: Sequence[int], *, present: bool = False
) -> Fraction:
    """A bound on how evenly one class can be spread, taken alone.

    Args:
        amounts: int64 (units,), instances of the class in each unit that has any, >= 1.
        shares: wanted share of each split, summing to 1.
        open_splits: splits that may hold anything, ascending.
        present: look only at assignments with the class in as many splits as it has units for.

    Returns:
        In percentage points, a largest deviation that no assignment can undercut. Exact for up to 8
        units in 3 splits. Otherwise the best of three bounds: no split holds part of an instance,
        the largest unit lies somewhere as a whole, a closed split holds nothing.
    """
    few = len(amounts) <= _EXACT_UNITS
    if few and len(open_splits) ** len(amounts) <= _EXACT_WAYS:
        sizes = tuple(sorted(amounts.tolist()))
        return _best_of_all_ways(sizes, tuple(shares), tuple(open_splits), present)
    total, step = int(amounts.sum()), int(np.gcd.reduce(amounts))
    parts = largest_remainder(total // step, shares).tolist()
    whole_parts = (abs(Fraction(p * step, total) - s) for p, s in zip(parts, shares, strict=True))
    closed = (share for split, share in enumerate(shares) if split not in open_splits)
    return 100 * max(*whole_parts, Fraction(int(amounts.max()), total) - max(shares), *closed)


@lru_cache(maxsize=4096)  # rare classes mostly have the same few amounts
def _best_of_all_ways(
    amounts: tuple[int, ...],
    shares: tuple[Fraction, ...],
    open_splits: tuple[int, ...],
    present: bool,
) -> Fraction:
    ways = np.array(list(product(open_splits, repeat=len(amounts))), dtype=np.int8)
    held = np.stack([(ways == split) @ np.array(amounts) for split in range(len(shares))])
    needed = list(open_splits[: len(amounts) * present])
    held = np.unique(held[:, (held[needed] > 0).all(axis=0)], axis=1)
    off = (
        max(abs(Fraction(h, sum(amounts)) - s) for h, s in zip(way, shares, strict=True))
        for way in held.T.tolist()
    )
    return 100 * min(off)
