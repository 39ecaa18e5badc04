"""What a split is decided from: frames, their videos and the instances of each class in them.

Codes may come in any order: whoever decides something goes by names. Entries are kept as they are
in the frames (compressed rows), because a frame holds a few classes of perhaps thousands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import RunError
from engine.swaps import ClassTable

__all__ = ["SplitInput", "class_table", "entries_of", "merge_entries"]

_Int = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitInput:
    """What a split needs to know of the frames: some tens of bytes each.

    Args:
        ids: n unique frame ids, "<video_id>/<frame_index:06d>", in any order.
        video: int32 (n,), code of each frame's video.
        video_names: unique name of each video code.
        frame_index: int64 (n,), position of each frame in its video's source.
        indptr: int64 (n + 1,), where each frame's entries begin in `classes` and `counts`.
        classes: int32 (entries,), class code of an entry; order and repetition do not matter.
        counts: int32 (entries,), visible instances of an entry's class; 0 is as good as absent.
        class_names: unique name of each class code.
        timestamps: float64 (n,), seconds into the video, NaN where there is none; None: not known.

    Raises:
        RunError: the arrays do not fit each other, or a name occurs twice.
    """

    ids: Sequence[str] | npt.NDArray[Any]
    video: npt.NDArray[np.int32]
    video_names: tuple[str, ...]
    frame_index: npt.NDArray[np.int64]
    indptr: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    class_names: tuple[str, ...]
    timestamps: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __post_init__(self) -> None:
        n = len(self.ids)
        times = n if self.timestamps is None else len(self.timestamps)
        lengths = (len(self.video), len(self.frame_index), len(self.indptr) - 1, times)
        if lengths != (n, n, n, n) or not len(self.classes) == len(self.counts) == self.indptr[-1]:
            raise RunError("split input", "arrays do not fit each other", got=lengths, expected=n)
        for what, names in (
            ("frame ids", self.ids),
            ("video names", self.video_names),
            ("class names", self.class_names),
        ):
            if len(set(names)) != len(names):
                raise RunError("split input", f"{what} are not unique", got=len(names))

    def where(self, keep: npt.NDArray[np.bool_]) -> "SplitInput":
        """Give the frames for which `keep`, bool (n,), is true; codes and names stay."""
        lengths = np.diff(self.indptr)
        entries = np.repeat(keep, lengths)
        return SplitInput(
            ids=np.asarray(self.ids, dtype=object)[keep],
            video=self.video[keep],
            video_names=self.video_names,
            frame_index=self.frame_index[keep],
            indptr=np.concatenate(([0], np.cumsum(lengths[keep]))).astype(np.int64),
            classes=self.classes[entries],
            counts=self.counts[entries],
            class_names=self.class_names,
            timestamps=None if self.timestamps is None else self.timestamps[keep],
        )


def entries_of(data: SplitInput, unit_of_frame: npt.NDArray[Any]) -> tuple[_Int, _Int, _Int]:
    """Give unit, class and instances of every entry that has instances.

    Args:
        data: the frames.
        unit_of_frame: (n,), the unit that each frame belongs to.

    Returns:
        int64 (entries,) each, in the order of the frames.
    """
    keep = np.flatnonzero(data.counts)
    unit = np.repeat(unit_of_frame, np.diff(data.indptr))[keep].astype(np.int64)
    return unit, data.classes[keep].astype(np.int64), data.counts[keep].astype(np.int64)


def merge_entries(unit: _Int, column: _Int, amount: _Int, width: int) -> tuple[_Int, _Int, _Int]:
    """Sort entries by unit, then column, and add up those of the same unit and column.

    Args:
        unit: int64 (entries,).
        column: int64 (entries,), below `width`.
        amount: int64 (entries,).
        width: number of columns.
    """
    key = unit * width + column
    order = np.argsort(key, kind="stable")
    key, amount = key[order], amount[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    return key[first] // width, key[first] % width, np.add.reduceat(amount, first)


def class_table(
    data: SplitInput, unit_of_frame: npt.NDArray[Any], units: int, *, blank: bool
) -> ClassTable:
    """Count the instances of each class in each unit.

    Args:
        data: the frames.
        unit_of_frame: (n,), the unit that each frame belongs to.
        units: how many there are.
        blank: whether "no class at all" is a class too, of units that have no instance.

    Returns:
        A table whose columns are classes by rarity: fewest units first, then fewest instances, then
        by name; "no class at all", if asked for, comes last.
    """
    unit, classes, counts = entries_of(data, unit_of_frame)
    names = len(data.class_names)
    width = names + blank
    if blank:
        bare = np.ones(units, dtype=bool)
        bare[unit] = False
        unit = np.concatenate((unit, np.flatnonzero(bare)))
        classes = np.concatenate((classes, np.full(int(bare.sum()), names)))
        counts = np.concatenate((counts, np.ones(int(bare.sum()), dtype=np.int64)))
    if not len(unit):
        none = np.zeros(0, dtype=np.int64)
        indptr = np.zeros(units + 1, dtype=np.int64)
        return ClassTable(indptr=indptr, columns=none, amounts=none, width=width)
    unit, column, amount = merge_entries(unit, classes, counts, width)
    holders = np.bincount(column, minlength=width)
    totals = np.bincount(column, weights=amount, minlength=width).astype(np.int64)
    name = (*data.class_names, "")
    rare_first = sorted(range(width), key=lambda c: (c == names, holders[c], totals[c], name[c]))
    rank = np.empty(width, dtype=np.int64)
    rank[rare_first] = np.arange(width)
    unit, column, amount = merge_entries(unit, rank[column], amount, width)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(unit, minlength=units))))
    return ClassTable(indptr=indptr, columns=column, amounts=amount, width=width)
