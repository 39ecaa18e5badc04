"""The best placement of groups, proved: an integer program, solved by HiGHS through scipy.

HiGHS computes in floating point, and how far it comes in a second differs between machines. What it
finds is used only where that cannot show: it gets a number of nodes, not a time; a result counts
only if it is proved to be the best; and of placements that the objective finds equal, a last
stage takes the one that drawn weights prefer, which is a single one. Whatever is not proved is
thrown away, and the search's placement stays. What remains is a proof that succeeds at the very
last nodes allowed: there another build of HiGHS may need a node more.

One stage for each figure of the objective; each is held while the next one is lowered.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.apportion import mixed_bits
from engine.group_objective import GroupGoal, Value
from engine.integer_program import NEAR, NEAR_TOTAL, Constraints

__all__ = ["Proof", "prove_groups"]

_Codes = npt.NDArray[np.int8]

_MOST_GROUPS = 400
_MOST_ENTRIES = 40_000  # of the constraints
_NODE_ENTRIES = 250_000  # nodes times entries a stage: a few seconds in all
_MILLION = 1_000_000
_WEIGHT_BITS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Proof:
    """What was proved.

    Args:
        codes: int8 (groups,), the best placement; None if that was not proved to the end.
        worst: the smallest possible largest deviation, in hundredths of a point, among placements
            as good in what comes before it; None if that was not proved.
        before: what comes before it, as far as it was proved, else as it was known.
    """

    codes: _Codes | None
    worst: int | None
    before: tuple[int, ...]


def prove_groups(goal: GroupGoal, value: Value) -> Proof:
    """Look for the best placement of groups, and prove that it is.

    Args:
        goal: the groups.
        value: of a placement that is known: nothing worse is looked for.

    Returns:
        The proof, or none: with more than 400 groups none is tried.
    """
    groups, splits = len(goal.frames), len(goal.open)
    entries = 3 * splits * len(goal.table.columns) + 4 * splits * groups
    if groups > _MOST_GROUPS or entries > _MOST_ENTRIES or value[0]:
        return Proof(codes=None, worst=None, before=value[:3])
    program = _Program(goal=goal)
    worst: int | None = None
    bounds = list(value)
    codes: _Codes | None = None
    for stage in range(1, 7):
        if bounds[stage] == 0:
            program.hold(stage, 0)
            continue
        codes = program.solve(stage, bounds[stage])
        if codes is None:
            return Proof(codes=None, worst=worst, before=tuple(bounds[:3]))
        found = goal.value(codes)
        if found[:stage] != tuple(bounds[:stage]) or found[stage] > bounds[stage]:
            # A tolerance was used: no proof.
            return Proof(codes=None, worst=worst, before=tuple(bounds[:3]))
        bounds = list(found)
        worst = found[3] if stage == 3 else worst
        program.hold(stage, found[stage])
    last = program.solve(7, 0)
    if last is None or goal.value(last) != tuple(bounds):
        return Proof(codes=None, worst=bounds[3], before=tuple(bounds[:3]))
    return Proof(codes=last, worst=bounds[3], before=tuple(bounds[:3]))


@dataclass(kw_only=True, eq=False)
class _Program:
    """The constraints, the same in all stages, and the figures held so far.

    Variables: whether a group is in an open split; the size error of each split, frames; the excess
    of their sum; whether a class is absent where it has to be; the largest deviation, hundredths of
    a point; each deviation; their sum, hundredths of a point.
    """

    goal: GroupGoal
    constraints: Constraints = field(default_factory=Constraints)

    def __post_init__(self) -> None:
        goal = self.goal
        self.splits, self.groups, self.width = len(goal.open), len(goal.frames), goal.table.width
        self.cells = self.splits * self.width
        self.error = self.splits * self.groups
        self.excess = self.error + self.splits
        self.absent = self.excess + 1
        self.worst = self.absent + self.cells
        self.off = self.worst + 1
        self.total = self.off + self.cells
        self.upper = np.full(self.total + 1, np.inf)
        self.upper[: self.error] = 1
        self.upper[self.absent : self.worst] = 1
        self.whole = np.zeros(self.total + 1)
        self.whole[: self.error] = 1
        self.whole[self.absent : self.off] = 1
        self._constrain()

    def _constrain(self) -> None:
        goal, add = self.goal, self.constraints.add
        everywhere = np.arange(self.splits) * self.groups
        for group in range(self.groups):
            add(everywhere + group, 1, 1, 1)
        closed = goal.closed_error / _MILLION
        for place, split in enumerate(goal.open.tolist()):
            members = place * self.groups + np.arange(self.groups)
            quota = float(goal.quotas[split]) / _MILLION
            if split in goal.empty:
                add(members, 1, 1, np.inf)
            for sign in (1, -1):
                add([*members, self.error + place], [*(sign * goal.frames), -1],
                          -np.inf, sign * quota)  # fmt: skip
            self._constrain_classes(place, split)
        errors = self.error + np.arange(self.splits)
        add([*errors, self.excess], [1] * self.splits + [-1], -np.inf, goal.slack - closed)
        off = self.off + np.arange(self.cells)
        add([*off, self.total], [1] * self.cells + [-1], -np.inf, 0)

    def _constrain_classes(self, place: int, split: int) -> None:
        goal, table, add = self.goal, self.goal.table, self.constraints.add
        by_class = np.argsort(table.columns, kind="stable")
        group_of = table.unit_of_entry()[by_class]
        ends = np.cumsum(goal.coming)
        for column in range(self.width):
            own = slice(int(ends[column] - goal.coming[column]), int(ends[column]))
            members = place * self.groups + group_of[own]
            cell = place * self.width + column
            total = float(goal.totals[column])
            shares = 1e4 * table.amounts[by_class[own]] / total
            target = 1e4 * float(goal.targets[split, column]) / _MILLION / total
            for sign in (1, -1):
                add([*members, self.off + cell], [*(sign * shares), -1],
                          -np.inf, sign * target)  # fmt: skip
            add([self.off + cell, self.worst], [1, -1], -np.inf, 0)
            if goal.required[split, column] and not goal.load.holders[split, column]:
                add([*members, self.absent + cell], 1, 1, np.inf)

    def _figure(self, stage: int) -> tuple[Any, float]:
        """The variables that make a figure of the objective up, and its unit."""
        if stage == 1:
            return [self.excess], 1 / _MILLION
        if stage == 2:
            rare = np.tile(self.goal.rare, self.splits)
            return self.absent + np.flatnonzero(rare), 1
        if stage == 3:
            return [self.worst], 1
        if stage == 4:
            return self.absent + np.arange(self.cells), 1
        if stage == 5:
            return [self.total], 1
        return self.error + np.arange(self.splits), 1 / _MILLION

    def hold(self, stage: int, figure: int) -> None:
        """Let the figure of a stage never again be above this."""
        columns, unit = self._figure(stage)
        near = NEAR_TOTAL if stage == 5 else 0.0 if unit == 1 else NEAR
        closed = self.goal.closed_error if stage == 6 else 0
        self.constraints.add(columns, 1, -np.inf, (figure - closed) * unit + near)

    def solve(self, stage: int, known: int) -> _Codes | None:
        """Lower the figure of a stage: a placement that is proved to have the least, or None."""
        cost = np.zeros(self.total + 1)
        upper = self.upper.copy()
        if stage == 7:
            numbers = np.arange(self.error, dtype=np.uint64)
            cost[: self.error] = mixed_bits(numbers) >> np.uint64(64 - _WEIGHT_BITS)
        else:
            columns, unit = self._figure(stage)
            cost[columns] = 1
            if len(columns) == 1:
                upper[columns] = known * unit + (NEAR_TOTAL if stage != 3 else 0.0)
        found = self.constraints.lowest(
            cost, upper=upper, whole=self.whole, node_entries=_NODE_ENTRIES
        )
        if found is None:
            return None
        chosen = found[: self.error].reshape(self.splits, self.groups)
        codes: _Codes = self.goal.open[chosen.argmax(axis=0)].astype(np.int8)
        return codes
