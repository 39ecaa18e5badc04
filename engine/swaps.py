"""Instances of classes in units, and the swaps of units that spread classes evenly over splits.

Splits may hold something before: that is a load, a few figures a split, however much it is. It
counts in every share and is never swapped.

Deviations are integers (shares in `WHOLE`): no platform's rounding can decide a swap.

The swaps choose from at most `_POOL` units. That keeps the cost linear, and what it leaves undone
is a last digit: so many units, dealt out along their classes, are within the goal from the start.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["WHOLE", "ClassTable", "Goal", "Load", "lower_deviation"]

_Int = npt.NDArray[np.int64]
_Float = npt.NDArray[np.float64]

WHOLE = 1 << 22
"""All instances of a class, in the integer units in which shares and deviations are counted."""

_POOL = 1 << 17  # units that the swaps may choose from
_CANDIDATES = (96, 1024)  # units a side compared in full: first a few, at the end once more widely
_MAX_ROUNDS = 60
_MOST_WORK = 1 << 31  # cells compared in one search: some seconds, only with thousands of classes
_NEVER = 1 << 61  # above any difference that can occur, and twice it still fits 64 bits


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassTable:
    """Instances of each class in each unit; a unit is a group of equal frames, or a video.

    Args:
        indptr: int64 (units + 1,), where each unit's entries begin.
        columns: int64 (entries,), class codes, ascending inside a unit, rarest class first.
        amounts: int64 (entries,), instances of that class in one copy of the unit, >= 1.
        width: number of class codes.
    """

    indptr: _Int
    columns: _Int
    amounts: _Int
    width: int

    @classmethod
    def blank(cls, units: int) -> "ClassTable":
        """Give the table of so many units without any class."""
        none = np.zeros(0, dtype=np.int64)
        indptr = np.zeros(units + 1, dtype=np.int64)
        return cls(indptr=indptr, columns=none, amounts=none, width=0)

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.indptr) - 1

    def unit_of_entry(self) -> _Int:
        """int64 (entries,): the unit each entry belongs to."""
        return np.repeat(np.arange(self.units, dtype=np.int64), np.diff(self.indptr))

    def take(self, units: npt.NDArray[np.integer[Any]]) -> "ClassTable":
        """The table of these units, in this order."""
        lengths = np.diff(self.indptr)[units]
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        entries = np.arange(indptr[-1]) + np.repeat(self.indptr[units] - indptr[:-1], lengths)
        return ClassTable(
            indptr=indptr,
            columns=self.columns[entries],
            amounts=self.amounts[entries],
            width=self.width,
        )

    def totals(self, copies: _Int) -> tuple[_Int, _Int]:
        """Instances and units of each class, int64 (width,) each, a unit counted `copies` times."""
        times = np.repeat(copies, np.diff(self.indptr))
        instances = np.zeros(self.width, dtype=np.int64)
        holders = np.zeros(self.width, dtype=np.int64)
        np.add.at(instances, self.columns, self.amounts * times)
        np.add.at(holders, self.columns, times)
        return instances, holders

    def rarest_first(self) -> npt.NDArray[np.intp]:
        """Units by their four rarest classes, then by how many of each: intp (units,)."""
        columns = np.full((4, self.units), self.width, dtype=np.int64)
        amounts = np.zeros((4, self.units), dtype=np.int64)
        lengths = np.diff(self.indptr)
        for place in range(4):
            has = lengths > place
            entries = self.indptr[:-1][has] + place
            columns[place, has] = self.columns[entries]
            amounts[place, has] = self.amounts[entries]
        return np.lexsort((*amounts[::-1], *columns[::-1]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Load:
    """What the splits hold before the units of a table come to them, and keep.

    Args:
        frames: int64 (splits,), frames there.
        units: int64 (splits,), units there; one that lies in several splits counts in each.
        instances: int64 (splits, width), instances there of each class of the table.
        holders: int64 (splits, width), units there that have the class.
    """

    frames: _Int
    units: _Int
    instances: _Int
    holders: _Int

    @classmethod
    def none(cls, splits: int, width: int) -> "Load":
        """Give the load of empty splits."""
        frames, units = np.zeros((2, splits), dtype=np.int64)
        instances, holders = np.zeros((2, splits, width), dtype=np.int64)
        return cls(frames=frames, units=units, instances=instances, holders=holders)

    def take(self, columns: npt.NDArray[np.integer[Any]]) -> "Load":
        """The load of these classes, in this order."""
        return replace(self, instances=self.instances[:, columns], holders=self.holders[:, columns])


@dataclass(frozen=True, kw_only=True, eq=False)
class Goal:
    """What an even spread of the classes of one table is, in integer shares.

    Args:
        shares: int64 (entries,), what one copy of the entry's unit holds of its class.
        targets: int64 (splits, width), what each split should get of each class: less than nothing
            where it holds more than its share already.
        held: int64 (splits, width), units with the class that are there already.
        required: bool (splits, width), where a class has to occur: in as many splits as it has
            units, the first ones, as far as a split may hold anything.
        absence: int64 (width,), what it costs if it does not, in squared shares; powers of 2.
    """

    shares: _Int
    targets: _Int
    held: _Int
    required: npt.NDArray[np.bool_]
    absence: _Int

    @classmethod
    def of(
        cls,
        table: ClassTable,
        copies: _Int,
        ratios: Sequence[Fraction],
        *,
        open_splits: npt.NDArray[np.bool_],
        absence: _Int,
        load: Load,
        whole: _Int | None = None,
    ) -> "Goal":
        """Derive the goal.

        Args:
            table: the units.
            copies: int64 (units,), how often each unit occurs.
            ratios: wanted shares of the splits.
            open_splits: bool (splits,), those that may hold anything.
            absence: int64 (width,), cost of a class missing where it has to occur.
            load: what the splits hold already; the spread is that of it and the units together.
            whole: int64 (width,), units that all of a class is counted in, so the weight of its
                deviations; None for `WHOLE` each.

        Returns:
            The goal. Shares are rounded to a unit, a four-millionth of a class.
        """
        instances, holders = table.totals(copies)
        instances += load.instances.sum(axis=0)
        holders += load.holders.sum(axis=0)
        whole = np.full(table.width, WHOLE) if whole is None else whole
        of_entry = instances[table.columns]
        shares = (2 * table.amounts * whole[table.columns] + of_entry) // (2 * of_entry)
        present = np.maximum(instances, 1)
        held = (2 * load.instances * whole + present) // (2 * present)
        sums = held.sum(axis=0)
        np.add.at(sums, table.columns, shares * np.repeat(copies, np.diff(table.indptr)))
        targets = [[round(total * ratio) for total in sums.tolist()] for ratio in ratios]
        rank = np.cumsum(open_splits) - 1
        return cls(
            shares=shares,
            targets=np.array(targets, dtype=np.int64).reshape(len(ratios), table.width) - held,
            held=load.holders,
            required=open_splits[:, None] & (rank[:, None] < holders[None, :]),
            absence=absence,
        )

    def standing(self, table: ClassTable, copies: _Int) -> tuple[_Int, _Int]:
        """How far splits are above their targets; their units of a class: (splits, width) each."""
        above, holders = -self.targets, self.held.copy()
        for split in range(len(copies)):
            times = np.repeat(copies[split], np.diff(table.indptr))
            np.add.at(above[split], table.columns, self.shares * times)
            np.add.at(holders[split], table.columns, times)
        return above, holders

    def cost(self, table: ClassTable, copies: _Int) -> int:
        """What the swaps lower: the squared deviations, and the absences at their price."""
        above, holders = self.standing(table, copies)
        missing = self.required & (holders == 0)
        return int((above * above).sum() + (missing * self.absence).sum())

    def worst(self, table: ClassTable, copies: _Int) -> tuple[int, list[int]]:
        """How often a class misses where it has to occur; the largest deviation of each class."""
        above, holders = self.standing(table, copies)
        missing = self.required & (holders == 0)
        return int(missing.sum()), np.abs(above).max(axis=0).tolist()


def lower_deviation(table: ClassTable, copies: _Int, goal: Goal, *, haste: int = 0) -> _Int:
    """Swap units between splits as long as that lowers the squared deviation of the classes.

    Args:
        table: the units. A unit without entries, with copies everywhere, turns swaps into moves.
        copies: int64 (splits, units), copies of each unit in each split.
        goal: the wanted shares.
        haste: halvings of the most work that a search may do, which is some seconds.

    Returns:
        int64 (splits, units): the same number of copies in each split and of each unit. A local
        optimum if there are no more units than `_CANDIDATES`, near one otherwise.
    """
    deviation, holders = goal.standing(table, copies)
    pool = _pool(table)
    entries = np.repeat(np.isin(np.arange(table.units), pool), np.diff(table.indptr))
    shares = goal.shares[entries]
    search = _Search(
        table=replace(table.take(pool), amounts=shares),
        goal=goal,
        copies=copies[:, pool],
        deviation=deviation,
        holders=holders,
        work=_MOST_WORK >> haste,
    )
    search.run()
    result = copies.copy()
    result[:, pool] = search.copies
    return result


def _pool(table: ClassTable) -> _Int:
    """Units that the swaps choose from: as many of each class, and those without any, ascending."""
    if table.units <= _POOL:
        return np.arange(table.units)
    by_class = np.argsort(table.columns, kind="stable")
    columns = table.columns[by_class]
    first = np.searchsorted(columns, np.arange(table.width))
    within = np.arange(len(columns)) - first[columns]
    some = table.unit_of_entry()[by_class[within < max(1, _POOL // table.width)]]
    return np.union1d(some, np.flatnonzero(np.diff(table.indptr) == 0))


@dataclass(kw_only=True, eq=False)
class _Search:
    """The state of the swaps; `deviation` and `holders` are those of all units, not the pool."""

    table: ClassTable  # amounts are shares here
    goal: Goal
    copies: _Int
    deviation: _Int
    holders: _Int
    work: int

    def run(self) -> None:
        reach = 0
        for _ in range(_MAX_ROUNDS):
            pairs = combinations(range(len(self.copies)), 2)
            swaps = sum(self._swap_between(pair, _CANDIDATES[reach]) for pair in pairs)
            reach += not swaps
            if reach == len(_CANDIDATES) or self.work <= 0:
                break

    def _swap_between(self, pair: tuple[int, int], most: int) -> int:
        """Swap the most useful candidates of two splits; returns the number of swaps."""
        sides = [self._candidates(pair, most), self._candidates(pair[::-1], most)]
        if not all(len(side) for side in sides):
            return 0
        rows = [self.table.take(side) for side in sides]
        shared = np.intersect1d(rows[0].columns, rows[1].columns)
        # Whole numbers below 2**53, or such times one power of 2: exact in any order of summing.
        (share, has), (other_share, other_has) = (_dense(some, shared) for some in rows)
        cross = 4 * (share @ other_share.T).astype(np.int64)
        swaps = 0
        while swaps < most and self.work > 0:
            lin, lone, lack = self._slopes(pair)
            gives = _scores(rows[0], lin, lone[0] - lack[1])
            takes = _scores(rows[1], -lin, lone[1] - lack[0])
            gives[self.copies[pair[0], sides[0]] == 0] = _NEVER
            takes[self.copies[pair[1], sides[1]] == 0] = _NEVER
            change = gives[:, None] + takes[None, :] - cross
            both = (lone[0] + lone[1])[shared]
            at = np.flatnonzero(both)
            if len(at):
                change -= ((has[:, at] * both[at]) @ other_has[:, at].T).astype(np.int64)
            self.work -= change.size * (8 + len(at) // 8)
            i, j = divmod(int(np.argmin(change)), change.shape[1])
            if change[i, j] >= 0:
                break
            self._move(int(sides[0][i]), pair[0], pair[1])
            self._move(int(sides[1][j]), pair[1], pair[0])
            swaps += 1
        return swaps

    def _move(self, unit: int, source: int, target: int) -> None:
        entries = slice(int(self.table.indptr[unit]), int(self.table.indptr[unit + 1]))
        columns, shares = self.table.columns[entries], self.table.amounts[entries]
        for split, sign in ((source, -1), (target, 1)):
            self.copies[split, unit] += sign
            self.deviation[split, columns] += sign * shares
            self.holders[split, columns] += sign

    def _slopes(self, pair: tuple[int, int]) -> tuple[_Int, _Int, _Int]:
        """What moving a share costs at the margin; where a class hangs on one unit, or on none."""
        rows = list(pair)
        cost = self.goal.required[rows] * self.goal.absence
        return (
            2 * (self.deviation[pair[1]] - self.deviation[pair[0]]),
            cost * (self.holders[rows] == 1),
            cost * (self.holders[rows] == 0),
        )

    def _candidates(self, pair: tuple[int, int], most: int) -> npt.NDArray[np.intp]:
        """Units of the first split whose move to the second, taken alone, costs least."""
        there = np.flatnonzero(self.copies[pair[0]] > 0)
        if len(there) <= most:
            return there
        lin, lone, lack = self._slopes(pair)
        score = _scores(self.table, lin, lone[0] - lack[1])[there]
        # A stable sort of integers: which of two equal units is taken is the same everywhere.
        return there[np.argsort(score, kind="stable")[:most]]


def _scores(table: ClassTable, lin: _Int, presence: _Int) -> _Int:
    """What moving one copy of each unit costs, taken alone."""
    share, columns = table.amounts, table.columns
    running = np.cumsum(share * (lin[columns] + 2 * share) + presence[columns])
    running = np.concatenate(([0], running))
    return running[table.indptr[1:]] - running[table.indptr[:-1]]


def _dense(table: ClassTable, columns: _Int) -> tuple[_Float, _Float]:
    """Shares, and presence as 0 and 1, of each unit in these classes, as matrices."""
    keep = np.isin(table.columns, columns)
    at = (table.unit_of_entry()[keep], np.searchsorted(columns, table.columns[keep]))
    share, has = (np.zeros((table.units, len(columns))) for _ in range(2))
    share[at], has[at] = table.amounts[keep], 1
    return share, has
