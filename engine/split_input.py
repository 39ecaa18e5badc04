"""What a split is decided from: frames, their videos and the instances of each class in them.

Codes may come in any order: whoever decides something goes by names. Entries are kept as they are
in the frames (compressed rows), because a frame holds a few classes of perhaps thousands.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import RunError
from engine.swaps import ClassTable, Load

__all__ = ["SplitInput", "class_table", "entries_of", "load_of", "merge_entries", "table_beside"]

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

    ids: pa.StringArray
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
            ("video names", pa.array(self.video_names, pa.string())),
            ("class names", pa.array(self.class_names, pa.string())),
        ):
            if not _are_unique(names):
                raise RunError("split input", f"{what} are not unique", got=len(names))

    def where(self, keep: npt.NDArray[np.bool_]) -> "SplitInput":
        """Give the frames for which `keep`, bool (n,), is true; codes and names stay."""
        lengths = np.diff(self.indptr)
        entries = np.repeat(keep, lengths)
        return SplitInput(
            ids=self.ids.filter(pa.array(keep)),
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


def _are_unique(names: pa.StringArray) -> bool:
    """Say whether no two are equal, by sorting: a table of hashes takes 350 bytes a name."""
    in_order = names.take(pc.sort_indices(names))
    return not pc.any(pc.equal(in_order[1:], in_order[:-1])).as_py()


def merge_entries(unit: _Int, column: _Int, amount: _Int, width: int) -> tuple[_Int, _Int, _Int]:
    """Sort entries by unit, then column, and add up those of the same unit and column.

    Args:
        unit: int64 (entries,).
        column: int64 (entries,), below `width`.
        amount: int64 (entries,).
        width: number of columns.
    """
    if not len(unit):
        return unit, column, amount
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
    none = Load.none(0, len(data.class_names) + blank)
    every = np.arange(len(data.class_names) + blank)
    return _ranked(data, unit_of_frame, units, none, every, blank=blank)[0]


def load_of(
    data: SplitInput,
    codes: npt.NDArray[np.int8],
    unit_of_frame: npt.NDArray[Any],
    splits: int,
    *,
    blank: bool,
) -> Load:
    """Sum up what the splits hold of frames that are settled.

    Args:
        data: the frames.
        codes: int8 (n,), the split of each; -1 of those that are not settled, which do not count.
        unit_of_frame: (n,), the unit that each frame belongs to, >= 0.
        splits: how many there are.
        blank: whether "no class at all" is a class too, of frames that have no instance.

    Returns:
        The load of every class code, and "no class at all", if asked for, as the last one. Cost:
        n log n, and a few figures a split.
    """
    width = len(data.class_names) + blank
    units = int(unit_of_frame.max(initial=-1)) + 1
    frame, column, amount = entries_of(data, np.arange(len(data)))
    if blank:
        bare = np.ones(len(data), dtype=bool)
        bare[frame] = False
        frame = np.concatenate((frame, np.flatnonzero(bare)))
        column = np.concatenate((column, np.full(int(bare.sum()), width - 1)))
        amount = np.concatenate((amount, np.ones(int(bare.sum()), dtype=np.int64)))
    settled = codes[frame] >= 0
    frame, column, amount = frame[settled], column[settled], amount[settled]
    there = codes.astype(np.int64) * units + unit_of_frame
    places = _distinct(there[codes >= 0])
    held = _distinct(there[frame] * width + column)
    cells = codes[frame].astype(np.int64) * width + column
    instances = np.zeros(splits * width, dtype=np.int64)
    np.add.at(instances, cells, amount)
    holders = np.bincount(
        held // (units * width) * width + held % width, minlength=splits * width
    )  # fmt: skip
    return Load(
        frames=np.bincount(codes[codes >= 0], minlength=splits).astype(np.int64),
        units=np.bincount(places // max(units, 1), minlength=splits).astype(np.int64),
        instances=instances.reshape(splits, width),
        holders=holders.astype(np.int64).reshape(splits, width),
    )


def _distinct(keys: _Int) -> _Int:
    # numpy 2.3 hashes in `unique`, which takes ten times as long for millions of different numbers.
    ordered: _Int = np.sort(keys)
    return ordered[np.flatnonzero(np.diff(ordered, prepend=-1))]


def table_beside(
    data: SplitInput, unit_of_frame: npt.NDArray[Any], units: int, load: Load, *, blank: bool
) -> tuple[ClassTable, Load]:
    """Count the instances of each class in units that come to what is there already.

    Args:
        data: the frames that come.
        unit_of_frame: (n,), the unit that each of them belongs to.
        units: how many there are.
        load: as `load_of` gives it, of the same class names and `blank`.
        blank: as in `class_table`.

    Returns:
        The table, with the classes that one of the units has, by their rarity in units and load
        together; and the load of these classes, in the same order.
    """
    unit, classes, _ = entries_of(data, unit_of_frame)
    coming = np.zeros(len(data.class_names) + blank, dtype=bool)
    coming[classes] = True
    if blank:
        coming[-1] = len(np.unique(unit)) < units
    return _ranked(data, unit_of_frame, units, load, np.flatnonzero(coming), blank=blank)


def _ranked(
    data: SplitInput,
    unit_of_frame: npt.NDArray[Any],
    units: int,
    load: Load,
    kept: npt.NDArray[np.integer[Any]],
    *,
    blank: bool,
) -> tuple[ClassTable, Load]:
    """The table of some class codes, rarest first, and their load."""
    unit, column, amount = _counted(data, unit_of_frame, units, blank)
    names, width = len(data.class_names), len(data.class_names) + blank
    holders = np.bincount(column, minlength=width) + load.holders.sum(axis=0)
    totals = np.bincount(column, weights=amount, minlength=width).astype(np.int64)
    totals += load.instances.sum(axis=0)
    name = (*data.class_names, "")
    rare_first = sorted(
        kept.tolist(), key=lambda c: (c == names, holders[c], totals[c], name[c])
    )  # fmt: skip
    rank = np.empty(width, dtype=np.int64)
    rank[rare_first] = np.arange(len(rare_first))
    unit, column, amount = merge_entries(unit, rank[column], amount, max(len(rare_first), 1))
    indptr = np.concatenate(([0], np.cumsum(np.bincount(unit, minlength=units))))
    table = ClassTable(indptr=indptr, columns=column, amounts=amount, width=len(rare_first))
    return table, load.take(np.array(rare_first, dtype=np.int64))


def _counted(
    data: SplitInput, unit_of_frame: npt.NDArray[Any], units: int, blank: bool
) -> tuple[_Int, _Int, _Int]:
    unit, classes, counts = entries_of(data, unit_of_frame)
    names = len(data.class_names)
    if blank:
        bare = np.ones(units, dtype=bool)
        bare[unit] = False
        unit = np.concatenate((unit, np.flatnonzero(bare)))
        classes = np.concatenate((classes, np.full(int(bare.sum()), names)))
        counts = np.concatenate((counts, np.ones(int(bare.sum()), dtype=np.int64)))
    return merge_entries(unit, classes, counts, names + blank)
