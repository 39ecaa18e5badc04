"""What a good placement of whole groups is: one objective, in whole numbers, for every solver.

A placement is judged by these figures, the first one first:

1. splits with a positive share that are left without a group;
2. frames on the wrong side (the sum over splits of |frames - wanted frames|, so that a frame too
   many here and too few there counts twice) beyond the slack;
3. for `stratified`, absences of rare classes: a class of at most two groups a split has to occur in
   as many splits as it has groups for, in the first ones;
4. the largest deviation of any class in any split: its share there minus the split's share;
5. absences of any class;
6. the sum of all deviations, without sign;
7. frames on the wrong side, within the slack too.

Of equal groups, seven or more lie nearest to 80/10/10 where each split has some: there evenness
asks for presence, and an absence is a deviation like others. Of fewer it asks for a split without
any, in which the class could not be measured: hence the third figure. To ask it of all classes,
before evenness, costs more than it gives: with 25 classes, three a video, and eight videos for a
split, no placement has all of them everywhere, and one with many of them is off by 40 points.

Sizes come before classes; the slack is what sizes may be off before that. It is 0 where sizes alone
were asked for, and for `stratified` one frame in 200: without it, of a dozen videos a single
placement has the best sizes, and a frame would outweigh any unevenness of classes.

Where splits hold something already, and keep it, every figure is that of it and the placed groups
together. Classes that none of the groups has are left out then: no placement changes them.

Deviations are counted in hundredths of a point, rounded up, and sizes in millionths of a frame: so
two machines, and two solvers, find the same figures and not nearly the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.apportion import largest_remainder
from engine.swaps import ClassTable, Load

__all__ = ["GroupGoal", "Value", "good_enough"]

_Int = npt.NDArray[np.int64]

Value = tuple[int, int, int, int, int, int, int]
"""The figures of the objective, in their order: less is better, compared as tuples."""

_MILLION = 1_000_000
_GOOD_POINTS = 1
_RARE_GROUPS = 2  # a split


def good_enough(value: Value) -> bool:
    """Whether nothing is missing and no class is off by more than a point.

    What is still to be gained then is a fraction of a point, and not worth minutes.
    """
    return value[:3] == (0, 0, 0) and value[3] <= 100 * _GOOD_POINTS and not value[4]


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupGoal:
    """Groups that are to be placed whole, and what is wanted of the splits.

    Args:
        table: instances of each class in each group; groups in seeded order.
        frames: int64 (groups,), frames of each.
        shares: wanted share of each split, summing to 1.
        slack: frames that may lie on the wrong side, a frame counting twice, before it matters.
        present_first: whether the presence of rare classes comes before evenness.
        load: what the splits hold already; it counts in every figure.
    """

    table: ClassTable
    frames: _Int
    shares: tuple[Fraction, ...]
    slack: int
    present_first: bool
    load: Load

    @classmethod
    def of(
        cls, table: ClassTable, frames: _Int, shares: Sequence[Fraction], *,
        stratified: bool, load: Load | None = None,
    ) -> "GroupGoal":  # fmt: skip
        """Derive the goal; `stratified`: sizes have some slack, and rare classes come first."""
        load = Load.none(len(shares), table.width) if load is None else load
        total = int(frames.sum() + load.frames.sum())
        return cls(
            table=table, frames=frames, shares=tuple(shares), present_first=stratified, load=load,
            slack=2 * (total // 200) if stratified else 0,
        )  # fmt: skip

    @cached_property
    def total(self) -> int:
        """Frames in all, those that are there already too."""
        return int(self.frames.sum() + self.load.frames.sum())

    @cached_property
    def empty(self) -> _Int:
        """Open splits without a group so far, ascending: int64 (empty,)."""
        empty: _Int = self.open[self.load.units[self.open] == 0]
        return empty

    @cached_property
    def closed_error(self) -> int:
        """Frames that splits hold which should hold none, in millionths."""
        return int(np.abs(np.delete(self.quotas, self.open)).sum())

    @cached_property
    def open(self) -> _Int:
        """Splits that may hold anything, ascending: int64 (open,)."""
        return np.flatnonzero([share > 0 for share in self.shares]).astype(np.int64)

    @cached_property
    def quotas(self) -> _Int:
        """Frames that each split lacks, in millionths, negative if too many: int64 (splits,)."""
        wanted = [round(_MILLION * self.total * share) for share in self.shares]
        quotas: _Int = np.array(wanted, dtype=np.int64) - _MILLION * self.load.frames
        return quotas

    @cached_property
    def totals(self) -> _Int:
        """Instances of each class in all, int64 (classes,), all of them positive or 1."""
        instances, _ = self.table.totals(np.ones(self.table.units, dtype=np.int64))
        totals: _Int = np.maximum(instances + self.load.instances.sum(axis=0), 1)
        return totals

    @cached_property
    def targets(self) -> _Int:
        """Instances each split lacks of each class, in millionths: int64 (splits, classes)."""
        rows = [
            [round(_MILLION * n * share) for n in self.totals.tolist()] for share in self.shares
        ]
        targets = np.array(rows, dtype=np.int64).reshape(len(self.shares), self.table.width)
        lacking: _Int = targets * (self.holders > 0) - _MILLION * self.load.instances
        return lacking

    @cached_property
    def coming(self) -> _Int:
        """Groups to be placed that have each class: int64 (classes,)."""
        return np.bincount(self.table.columns, minlength=self.table.width).astype(np.int64)

    @cached_property
    def holders(self) -> _Int:
        """Groups that have each class, those there already too: int64 (classes,)."""
        holders: _Int = self.coming + self.load.holders.sum(axis=0)
        return holders

    @cached_property
    def required(self) -> npt.NDArray[np.bool_]:
        """Where a class should occur: bool (splits, classes)."""
        wanted = np.array([share > 0 for share in self.shares])
        rank = np.cumsum(wanted) - 1
        return np.asarray(wanted[:, None] & (rank[:, None] < self.holders[None, :]))

    @cached_property
    def rare(self) -> npt.NDArray[np.bool_]:
        """Classes whose presence comes before evenness: bool (classes,)."""
        return self.present_first & (self.holders <= _RARE_GROUPS * len(self.open))

    def value(self, codes: npt.NDArray[np.integer]) -> Value:
        """Judge one placement.

        Args:
            codes: (groups,), the split of each group.
        """
        splits, width = len(self.shares), self.table.width
        codes = codes.astype(np.int64)
        sizes = np.zeros(splits, dtype=np.int64)
        np.add.at(sizes, codes, self.frames)
        groups = np.bincount(codes, minlength=splits)
        cells = codes[self.table.unit_of_entry()] * width + self.table.columns
        flat = np.zeros(splits * width, dtype=np.int64)
        np.add.at(flat, cells, self.table.amounts)
        held = flat.reshape(1, splits, width)
        empty = int((groups[self.empty] == 0).sum())
        error = int(self.size_errors(sizes[None])[0])
        rare, worst, absences, total = (int(each[0]) for each in self.class_figures(held))
        return empty, self.excess(error), rare, worst, absences, total, error

    @cached_property
    def least(self) -> Value:
        """What no placement can be better than: no class off, sizes as single frames would have."""
        sizes = largest_remainder(self.total, self.shares) - self.load.frames
        error = int(self.size_errors(sizes[None])[0])
        return 0, self.excess(error), 0, 0, 0, 0, error

    def size_errors(self, sizes: _Int) -> _Int:
        """Count frames on the wrong side, in millionths.

        Args:
            sizes: int64 (ways, splits), frames placed, without those there already.

        Returns:
            int64 (ways,).
        """
        errors: _Int = np.abs(_MILLION * sizes - self.quotas).sum(axis=1)
        return errors

    def excess(self, error: int) -> int:
        """What of a size error is beyond the slack, in millionths of a frame."""
        return max(0, error - _MILLION * self.slack)

    def class_figures(self, held: _Int) -> tuple[_Int, _Int, _Int, _Int]:
        """Judge how classes are spread.

        Args:
            held: int64 (ways, splits, classes), instances placed, without those there already.

        Returns:
            Absences of rare classes, the largest deviation, absences of any class, and the sum of
            all deviations, these in hundredths of a point, rounded up: int64 (ways,) each.
        """
        missing = (self.required & (self.load.holders == 0) & (held == 0)).sum(axis=1)
        rare, absences = missing[:, self.rare].sum(axis=1), missing.sum(axis=1)
        off = np.abs(_MILLION * held - self.targets)
        if not off.size:
            none = np.zeros(len(held), dtype=np.int64)
            return rare, none, absences, none
        worst = (-(-off // (100 * self.totals))).max(axis=(1, 2))
        millionths = (off * 10_000 // self.totals).sum(axis=(1, 2))
        return rare, worst, absences, -(-millionths // _MILLION)
