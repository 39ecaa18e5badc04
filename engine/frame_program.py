"""The best placement of groups of equal frames, proved: an integer program.

Frames with the same classes are interchangeable, so that the variables are how many frames of each
group a split gets: few, however many frames there are. As for whole videos (`group_program`), a
placement counts only if it is proved to be the best, and drawn weights choose among equal ones;
what is not proved within a number of nodes is thrown away.

One stage for each figure; each is held while the next one is lowered: classes missing where they
have to occur, the largest deviation of a class that is not settled, the sum of all deviations. "No
class at all" has to occur as any class has, but its deviation counts in the sum only, since it is
the classes that the certificate judges.
"""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.apportion import mixed_bits
from engine.integer_program import NEAR, NEAR_TOTAL, Constraints
from engine.swaps import WHOLE, ClassTable, Goal

__all__ = ["FrameProof", "prove_frames"]

_Int: TypeAlias = npt.NDArray[np.int64]
_Figures: TypeAlias = tuple[int, int, int]

_MOST_ENTRIES = 10_000  # of the constraints
_NODE_ENTRIES = 500_000  # nodes times entries a stage: a second or two
_HUNDREDTHS = 10_000  # of a point, in the whole of a class
_WEIGHT_BITS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameProof:
    """What was proved.

    Args:
        placed: int64 (splits, units), the best placement; None if the known one has no larger
            deviation, or if nothing was proved to the end.
        worst: the smallest possible largest deviation of a class that is not settled, in hundredths
            of a point, with no more classes missing than in the known placement, and the settled
            ones no farther off; None if that was not proved.
    """

    placed: _Int | None = None
    worst: int | None = None


def prove_frames(
    table: ClassTable, known: _Int, goal: Goal, settled: npt.NDArray[np.bool_]
) -> FrameProof:
    """Look for the placement with the smallest deviations, and prove that it is the best.

    Args:
        table: the groups; the last class is "no class at all".
        known: int64 (splits, units), a placement: sizes and copies are taken from it, and nothing
            worse is looked for.
        goal: the wanted shares, all counted in `WHOLE`.
        settled: bool (width,), classes that cannot be nearer than they are in `known`; never the
            last.

    Returns:
        The proof; none with too many groups.
    """
    splits = len(known)
    if splits * (6 * len(table.columns) + 2 * table.units + 5 * table.width) > _MOST_ENTRIES:
        return FrameProof()
    program = _Program(table=table, known=known, goal=goal, settled=settled)
    best = figures = program.figures(known)
    worst: int | None = None
    for stage in range(3):
        if figures[stage]:
            found = program.solve(stage)
            if found is None:
                return FrameProof(worst=worst)
            now = program.figures(found)
            if now[:stage] != figures[:stage] or now[stage] > figures[stage]:
                return FrameProof(worst=worst)  # a tolerance was used: no proof
            figures = now
        if stage == 1:
            worst = figures[1] if figures[0] == best[0] else None
            if figures[:2] == best[:2]:
                return FrameProof(worst=worst)
        program.hold(stage, figures[stage])
    last = program.solve(3)
    if last is None or program.figures(last) != figures:
        return FrameProof(worst=worst)
    return FrameProof(placed=last, worst=worst)


@dataclass(kw_only=True, eq=False)
class _Program:
    """The constraints, the same in all stages, and the figures held so far.

    Variables: frames of each group in each split; whether a class is missing where it has to occur;
    each deviation, the largest of those not settled, and the sum of all, in hundredths of a point.
    """

    table: ClassTable
    known: _Int
    goal: Goal
    settled: npt.NDArray[np.bool_]
    constraints: Constraints = field(default_factory=Constraints)

    def __post_init__(self) -> None:
        splits, units = self.known.shape
        cells = splits * self.table.width
        self.missing = splits * units
        self.off = self.missing + cells
        self.worst = self.off + cells
        self.total = self.worst + 1
        self.whole = np.zeros(self.total + 1)
        self.whole[: self.off] = 1
        self.upper = np.full(self.total + 1, np.inf)
        self.upper[: self.missing] = np.tile(self.known.sum(axis=0), splits)
        self.chased = ~self.settled & (np.arange(self.table.width) < self.table.width - 1)
        self.upper[self.missing : self.off] = self.goal.required.ravel()
        self._constrain(splits, units)

    def _constrain(self, splits: int, units: int) -> None:
        add = self.constraints.add
        for unit, copies in enumerate(self.known.sum(axis=0).tolist()):
            add(unit + units * np.arange(splits), 1, copies, copies)
        for split, size in enumerate(self.known.sum(axis=1).tolist()):
            add(split * units + np.arange(units), 1, size, size)
        off = np.abs(self.goal.standing(self.table, self.known)[0])
        by_class = np.argsort(self.table.columns, kind="stable")
        ends = np.searchsorted(self.table.columns[by_class], np.arange(1, self.table.width))
        units_of = self.table.unit_of_entry()
        for column, entries in enumerate(np.split(by_class, ends)):
            shares = self.goal.shares[entries] * (_HUNDREDTHS / WHOLE)
            most = float(off[:, column].max()) * (_HUNDREDTHS / WHOLE) + NEAR
            for split in range(splits):
                members = split * units + units_of[entries]
                cell = split * self.table.width + column
                target = float(self.goal.targets[split, column]) * (_HUNDREDTHS / WHOLE)
                for sign in (1, -1):
                    add([*members, self.off + cell], [*(sign * shares), -1], -np.inf, sign * target)
                if self.settled[column]:
                    self.upper[self.off + cell] = most
                elif self.chased[column]:
                    add([self.off + cell, self.worst], [1, -1], -np.inf, 0)
                if self.goal.required[split, column]:
                    add([*members, self.missing + cell], 1, 1, np.inf)
        cells = np.arange(self.off, self.worst)
        add([*cells, self.total], [1] * len(cells) + [-1], -np.inf, 0)

    def figures(self, placed: _Int) -> _Figures:
        """What is wrong with a placement: the sum in parts of `WHOLE`, not to be rounded."""
        above, holders = self.goal.standing(self.table, placed)
        missing = int((self.goal.required & (holders == 0)).sum())
        worst = int(np.abs(above[:, self.chased]).max(initial=0))
        return missing, -(-worst * _HUNDREDTHS // WHOLE), int(np.abs(above).sum())

    def _figure(self, stage: int) -> Any:
        return (np.arange(self.missing, self.off), [self.worst], [self.total])[stage]

    def hold(self, stage: int, figure: int) -> None:
        """Let the figure of a stage never again be above this."""
        unit, near = ((1.0, 0.0), (1.0, NEAR), (_HUNDREDTHS / WHOLE, NEAR_TOTAL))[stage]
        self.constraints.add(self._figure(stage), 1, -np.inf, figure * unit + near)

    def solve(self, stage: int) -> _Int | None:
        """Lower the figure of a stage: a placement that is proved to have the least, or None."""
        cost = np.zeros(self.total + 1)
        if stage == 3:
            numbers = np.arange(self.missing, dtype=np.uint64)
            cost[: self.missing] = mixed_bits(numbers) >> np.uint64(64 - _WEIGHT_BITS)
        else:
            cost[self._figure(stage)] = 1
        found = self.constraints.lowest(
            cost, upper=self.upper, whole=self.whole, node_entries=_NODE_ENTRIES
        )
        if found is None:
            return None
        placed: _Int = np.rint(found[: self.missing]).astype(np.int64).reshape(self.known.shape)
        right = (placed.sum(axis=0) == self.known.sum(axis=0)).all()
        return placed if right and (placed.sum(axis=1) == self.known.sum(axis=1)).all() else None
