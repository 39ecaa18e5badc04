"""Placing whole groups: every placement of a dozen, good starts and swaps for thousands.

The swaps lower the squares of all deviations, in which the size is one more class, of much weight:
squares see an improvement where the largest deviation, which counts in the end, stays as it is.
What they arrive at is judged by the objective itself, and the best of all starts is taken.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from engine.apportion import shuffled
from engine.group_objective import GroupGoal, Value, good_enough
from engine.swaps import ClassTable, Goal, Load, lower_deviation

__all__ = ["enumerate_groups", "search_groups"]

_Int = npt.NDArray[np.int64]
_Codes = npt.NDArray[np.int8]

_CHUNK_CELLS = 1 << 22  # placements times splits times classes judged at once: some 100 MB
_ABSENCE_SHIFT = 7  # as much as 9 points off, one wish among others
_RARE_ABSENCE_SHIFT = 2  # of a rare class: as much as 200 points off
_EMPTY_SPLIT = 1 << 58  # above everything: a split keeps its last group
_CLASS_WHOLE = 1 << 19
# A point of size outweighs 256 points of a class, or, where sizes have some slack, 8 or 1.
_SIZE_WHOLES, _SIZE_WHOLE_EXACT = (1 << 27, 1 << 22, 1 << 19), (1 << 27,)
# With as many groups as get only so many starts, the last swaps gain next to nothing.
_FEW_STARTS, _HASTE = 8, 1
_STARTS, _ENTRIES = 32, 1 << 16  # all starts together have no more entries than that
_WORST_SEARCHES, _WORST_POWER = 16, 3


def enumerate_groups(goal: GroupGoal) -> _Codes:
    """Try every placement.

    Args:
        goal: groups so few that the open splits to their power are at most some 600,000.

    Returns:
        int8 (groups,): the split of each group under the best placement; of equal ones the first,
        in which the last group goes to the first split possible.
    """
    base, groups = len(goal.open), len(goal.frames)
    codes = np.arange(base**groups)
    sizes = np.zeros((len(codes), len(goal.shares)), dtype=np.int64)
    held = np.tile(~np.isin(goal.open, goal.empty), (len(codes), 1))
    for digit, split in enumerate(goal.open.tolist()):
        for group, count in enumerate(goal.frames.tolist()):
            here = codes // base**group % base == digit
            sizes[:, split] += count * here
            held[:, digit] |= here
    empty = (~held).sum(axis=1)
    error = goal.size_errors(sizes)
    excess = np.maximum(error - 1_000_000 * goal.slack, 0)
    best = np.flatnonzero(empty == empty.min())
    best = best[excess[best] == excess[best].min()]
    figures = [*_class_figures(goal, codes[best]), error[best]]
    best = best[np.lexsort((best, *figures[::-1]))]
    digits = int(best[0]) // base ** np.arange(groups) % base
    return goal.open[digits].astype(np.int8)


def _class_figures(goal: GroupGoal, codes: _Int) -> list[_Int]:
    base, groups, width = len(goal.open), len(goal.frames), goal.table.width
    amounts = np.zeros((groups, width))
    amounts[goal.table.unit_of_entry(), goal.table.columns] = goal.table.amounts
    parts = []
    cells = len(codes) * max(width, 1) * len(goal.shares)
    for chunk in np.array_split(codes, 1 + cells // _CHUNK_CELLS):
        held = np.zeros((len(chunk), len(goal.shares), width), dtype=np.int64)
        for digit, split in enumerate(goal.open.tolist()):
            member = (chunk[:, None] // base ** np.arange(groups) % base == digit).astype(float)
            held[:, split] = member @ amounts  # whole numbers: exact in any order of summing
        parts.append(goal.class_figures(held))
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def search_groups(goal: GroupGoal, *, seeded_start: bool) -> tuple[_Codes, Value]:
    """Fill the splits in several orders, then swap.

    Args:
        goal: any number of groups.
        seeded_start: begin with the groups in their order, not with the largest ones first.

    Returns:
        int8 (groups,): the split of each group; and what the objective says of it. Cost: linear in
        the entries of the table, times some hundreds of rounds.
    """
    return _Search(goal=goal, seeded_start=seeded_start).run()


@dataclass(kw_only=True, eq=False)
class _Search:
    goal: GroupGoal
    seeded_start: bool
    sized: ClassTable = field(init=False)
    load: Load = field(init=False)

    def __post_init__(self) -> None:
        # The size is one more class of each group. The row added at the end is an empty group, for
        # a move is a swap with it.
        table, groups = self.goal.table, self.goal.table.units
        self.sized = ClassTable(
            indptr=np.append(table.indptr + np.arange(groups + 1), len(table.columns) + groups),
            columns=np.insert(table.columns, table.indptr[1:], table.width),
            amounts=np.insert(table.amounts, table.indptr[1:], self.goal.frames),
            width=table.width + 1,
        )
        load = self.goal.load
        self.load = replace(
            load,
            instances=np.column_stack((load.instances, load.frames)),
            holders=np.column_stack((load.holders, load.units)),
        )

    @property
    def starts(self) -> int:
        """Orders in which the splits are filled."""
        return max(1, min(_STARTS, _ENTRIES // len(self.sized.columns)))

    def _done(self, value: Value) -> bool:
        return self.starts <= _FEW_STARTS and good_enough(value)

    def run(self) -> tuple[_Codes, Value]:
        sizes = _SIZE_WHOLES if self.goal.slack and self.goal.table.width else _SIZE_WHOLE_EXACT
        best, value = self._fill(self._order(0)), None
        for start in range(self.starts):
            filled = self._fill(self._order(start))
            for size_whole in sizes:
                codes = self._lowered(filled, self._goal(size_whole))
                found = self.goal.value(codes)
                if value is None or found < value:
                    best, value = codes, found
                if value == self.goal.least or self._done(value):
                    return best, value
        return self._lower_worst(best, value or self.goal.value(best))

    def _order(self, start: int) -> npt.NDArray[np.intp]:
        if start:
            return shuffled(len(self.goal.frames), start)
        if self.seeded_start:
            return np.arange(len(self.goal.frames))
        return np.argsort(-self.goal.frames, kind="stable")

    def _goal(self, size_whole: int, weights: _Int | None = None) -> Goal:
        # By the root of their number, so that all classes together do not outweigh the size either.
        shift = self.sized.width.bit_length() // 2
        class_whole = _CLASS_WHOLE >> shift
        whole = np.full(self.sized.width, class_whole)
        if weights is not None:
            whole[:-1] = np.maximum(class_whole * weights >> 10, 1)
        absence = np.full(self.sized.width, class_whole**2 >> _ABSENCE_SHIFT)
        absence[:-1][self.goal.rare] = class_whole**2 << _RARE_ABSENCE_SHIFT
        whole[-1], absence[-1] = size_whole, _EMPTY_SPLIT
        return Goal.of(
            self.sized,
            np.ones(self.sized.units, dtype=np.int64),
            self.goal.shares,
            open_splits=np.array([share > 0 for share in self.goal.shares]),
            absence=absence,
            load=self.load,
            whole=whole,
        )

    def _lowered(self, codes: _Codes, goal: Goal) -> _Codes:
        groups = len(codes)
        copies = np.zeros((len(self.goal.shares), groups + 1), dtype=np.int64)
        copies[codes, np.arange(groups)] = 1
        copies[self.goal.open, groups] = groups
        haste = _HASTE if self.starts <= _FEW_STARTS else 0
        copies = lower_deviation(self.sized, copies, goal, haste=haste)
        lowered: _Codes = copies[:, :groups].argmax(axis=0).astype(np.int8)
        return lowered

    def _lower_worst(self, codes: _Codes, value: Value) -> tuple[_Codes, Value]:
        """Search on with more weight on the classes that are far off, as long as it gains."""
        power, width = 1, self.goal.table.width
        for turn in range(min(_WORST_SEARCHES, 16 * _ENTRIES // len(self.sized.columns))):
            if power > _WORST_POWER or not width or not value[3] or self._done(value):
                break
            held = np.zeros((len(self.goal.shares), width), dtype=np.int64)
            at = (codes[self.goal.table.unit_of_entry()], self.goal.table.columns)
            np.add.at(held, at, self.goal.table.amounts)
            off = np.abs(1_000_000 * held - self.goal.targets).max(axis=0) // self.goal.totals
            least = 1024 >> power
            weights = least + (1024 - least) * off // max(int(off.max()), 1)
            sizes = _SIZE_WHOLES if self.goal.slack else _SIZE_WHOLE_EXACT
            other = self._lowered(codes, self._goal(sizes[turn % len(sizes)], weights))
            found = self.goal.value(other)
            if found < value:
                codes, value, power = other, found, 1
            elif turn % len(sizes) == len(sizes) - 1:
                power += 1
        return codes, value

    def _fill(self, along: npt.NDArray[np.intp]) -> _Codes:
        """Each group in turn into the split that lacks most frames, the last into empty ones."""
        frames, lack = self.goal.frames, self.goal.quotas.tolist()
        allowed = self.goal.open.tolist()
        empty = self.goal.empty.tolist()
        placed = np.zeros(len(frames), dtype=np.int8)
        for done, group in enumerate(along.tolist()):
            open_now = empty if len(frames) - done <= len(empty) else allowed
            split = max(open_now, key=lambda s: (lack[s], -s))
            placed[group] = split
            lack[split] -= 1_000_000 * int(frames[group])
            if split in empty:
                empty.remove(split)
        return placed
