"""Which frame is in which split, and a certificate of how even the splits are.

`stratified` and `random` deal in frames: sizes are exact, but neighbouring frames of a video, which
look nearly the same, come to lie on both sides. `temporal` deals in whole videos: nothing leaks,
but sizes and classes are only as even as the videos allow. The certificate says which of the two
was paid, in figures.

An assignment depends on names, classes, ratios and seed alone: frames and videos are put in a
seeded order, classes in the order of their rarity, before anything is chosen.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.apportion import ClassTable, largest_remainder, seeded_order
from engine.errors import ConfigError, RunError, UsageError
from engine.placement import best_possible_points, place_frames, place_videos

__all__ = ["SPLIT_NAMES", "SplitInput", "Strategy", "assign", "certificate"]

_Int = npt.NDArray[np.int64]
Strategy = Literal["stratified", "temporal", "random"]

SPLIT_NAMES = ("train", "validation", "test")

_BOUND_POINTS = 5.0  # what a class's share in a split may be off its ratio
_GOAL_POINTS = 1.0  # what it should be off at most


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

    def __post_init__(self) -> None:
        n = len(self.ids)
        lengths = (len(self.video), len(self.frame_index), len(self.indptr) - 1)
        if lengths != (n, n, n) or not len(self.classes) == len(self.counts) == self.indptr[-1]:
            raise RunError("split input", "arrays do not fit each other", got=lengths, expected=n)
        for what, names in (
            ("frame ids", self.ids),
            ("video names", self.video_names),
            ("class names", self.class_names),
        ):
            if len(set(names)) != len(names):
                raise RunError("split input", f"{what} are not unique", got=len(names))


def assign(
    strategy: Strategy, data: SplitInput, *, ratios: tuple[float, float, float], seed: int
) -> npt.NDArray[np.int8]:
    """Assign every frame to a split.

    Args:
        strategy: `random` and `stratified` give exact sizes, `stratified` also an even share of
            each class's instances; `temporal` keeps videos whole, and every split with a positive
            ratio gets one.
        data: the frames.
        ratios: wanted shares of train, validation, test.
        seed: decides between assignments that are equally good.

    Returns:
        int8 (n,): position in `SPLIT_NAMES` of each frame's split. Cost: n log n.

    Raises:
        ConfigError: the ratios are not three shares of a whole.
        UsageError: `temporal` with fewer videos than splits.
    """
    shares = _exact_ratios(ratios)
    result = np.zeros(len(data.ids), dtype=np.int8)
    if not len(result):
        return result
    if strategy == "temporal":
        return _assign_videos(data, shares, seed)
    order = seeded_order(data.ids, seed)
    sizes = largest_remainder(len(order), shares)
    if strategy == "random":
        result[order] = np.repeat(np.arange(3, dtype=np.int8), sizes)
    else:
        result[order] = place_frames(_table(data, np.argsort(order), len(order)), sizes, shares)
    return result


def _exact_ratios(ratios: Sequence[float]) -> tuple[Fraction, ...]:
    """The ratios as the decimal fractions that were typed: 0.1 is 1/10. Their sum is exactly 1."""
    shares = [float(ratio) for ratio in ratios]
    if len(shares) != 3 or not all(math.isfinite(share) and share >= 0 for share in shares):
        raise ConfigError("--ratios", "not three numbers from 0 to 1", got=_slashed(shares))
    exact = [Fraction(repr(share)) for share in shares]
    total = sum(exact, Fraction(0))
    if abs(total - 1) > Fraction(1, 10**9):
        raise ConfigError(
            "--ratios", "do not sum to 1", got=f"{_slashed(shares)} = {sum(shares):g}"
        )
    return tuple(share / total for share in exact)


def _slashed(shares: Iterable[float]) -> str:
    return "/".join(f"{share:g}" for share in shares)


def _table(data: SplitInput, unit_of_frame: _Int, units: int) -> ClassTable:
    """Instances of each class in each unit, classes coded by rarity, the last for "none at all"."""
    unit, classes, counts = _entries(data, unit_of_frame)
    width = len(data.class_names) + 1
    blank = np.ones(units, dtype=bool)
    blank[unit] = False
    bare = np.flatnonzero(blank)
    unit = np.concatenate((unit, bare))
    column = np.concatenate((classes, np.full(len(bare), width - 1)))
    amount = np.concatenate((counts, np.ones(len(bare), dtype=np.int64)))
    unit, column, amount = _merged(unit, column, amount, width)
    holders = np.bincount(column, minlength=width)
    totals = np.bincount(column, weights=amount, minlength=width).astype(np.int64)
    names = (*data.class_names, "")
    rare_first = sorted(
        range(width), key=lambda c: (c == width - 1, holders[c], totals[c], names[c])
    )
    rank = np.empty(width, dtype=np.int64)
    rank[rare_first] = np.arange(width)
    unit, column, amount = _merged(unit, rank[column], amount, width)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(unit, minlength=units))))
    return ClassTable(indptr=indptr, columns=column, amounts=amount, width=width)


def _entries(data: SplitInput, unit_of_frame: _Int) -> tuple[_Int, _Int, _Int]:
    """Unit, class and instances of every entry that has instances."""
    keep = np.flatnonzero(data.counts)
    unit = np.repeat(unit_of_frame, np.diff(data.indptr))[keep]
    return unit, data.classes[keep].astype(np.int64), data.counts[keep].astype(np.int64)


def _merged(unit: _Int, column: _Int, amount: _Int, width: int) -> tuple[_Int, _Int, _Int]:
    """Entries by unit, then column, those of the same unit and column added up."""
    key = unit * width + column
    order = np.argsort(key, kind="stable")
    key, amount = key[order], amount[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    return key[first] // width, key[first] % width, np.add.reduceat(amount, first)


def _assign_videos(data: SplitInput, shares: Sequence[Fraction], seed: int) -> npt.NDArray[np.int8]:
    present, frames = np.unique(data.video, return_counts=True)
    wanted = sum(share > 0 for share in shares)
    if len(present) < wanted:
        raise UsageError(
            "--split temporal",
            "each split takes whole videos, and there are fewer videos than splits",
            got=f"{len(present)} video{'s' * (len(present) != 1)}",
            expected=f"at least {wanted}",
            advice="use --temporal-segments to split inside a video, or set a ratio to 0",
        )
    order = seeded_order([data.video_names[code] for code in present.tolist()], seed)
    place = np.zeros(len(data.video_names), dtype=np.int64)
    place[present[order]] = np.arange(len(order))
    table = _table(data, place[data.video], len(order))
    splits = place_videos(table, frames[order], shares)
    return splits[place[data.video]]


def certificate(
    data: SplitInput,
    assignment: npt.NDArray[np.int8],
    *,
    strategy: Strategy,
    ratios: tuple[float, float, float],
    seed: int,
) -> dict[str, Any]:
    """Say in figures how even an assignment is, and what it cost.

    Args:
        data: the frames.
        assignment: int8 (n,), as `assign` returns it.
        strategy: how it was made; not `temporal` means by frames.
        ratios: as given to `assign`.
        seed: as given to `assign`.

    Returns:
        A JSON document with sorted keys. A deviation is a split's achieved share of the instances
        of a class minus its ratio, in percentage points. `best_possible_points` is a lower bound of
        a class's largest deviation, taken alone: exact up to 8 frames (or videos). Classes without
        an instance are left out. `smallest_distance_frames` is in steps of `frame_index`.
        `neighbours` is None for `temporal`, where no video is divided.

    Raises:
        ConfigError: the ratios are not three shares of a whole.
    """
    shares = _exact_ratios(ratios)
    wanted = largest_remainder(len(data.ids), shares)
    sizes = np.bincount(assignment, minlength=3)
    may_hold = [s > 0 for s in shares] if strategy == "temporal" else [w > 0 for w in wanted]
    open_splits = tuple(split for split in range(3) if may_hold[split])
    classes = _classes(data, assignment, shares, open_splits, strategy == "temporal")
    worst = max(classes, key=lambda name: classes[name]["max_deviation_points"], default=None)
    bare = np.ones(len(data.ids), dtype=bool)
    bare[_entries(data, np.arange(len(data.ids)))[0]] = False
    videos = np.unique(data.video.astype(np.int64) * 3 + assignment)
    document = {
        "bound": _limit(_BOUND_POINTS, classes),
        "classes": classes,
        "empty_splits": _empty_splits(sizes, shares, len(data.ids)),
        "frames": len(data.ids),
        "frames_without_class": _by_split(np.bincount(assignment[bare], minlength=3)),
        "goal": _limit(_GOAL_POINTS, classes),
        "max_deviation_class": worst,
        "max_deviation_points": None if worst is None else classes[worst]["max_deviation_points"],
        "neighbours": None if strategy == "temporal" else _neighbours(data, assignment),
        "ratios": _by_split(ratios),
        "seed": seed,
        "sizes": _sizes(sizes, wanted, shares),
        "strategy": strategy,
        "videos": _by_split(np.bincount(videos % 3, minlength=3)),
        "videos_in_several_splits": int((np.unique(videos // 3, return_counts=True)[1] > 1).sum()),
    }
    return dict(sorted(document.items()))


def _sizes(achieved: _Int, wanted: _Int, shares: Sequence[Fraction]) -> dict[str, Any]:
    total = max(int(achieved.sum()), 1)
    return _by_split(
        {
            "achieved": int(achieved[split]),
            "achieved_share": _rounded(Fraction(int(achieved[split]), total)),
            "target": int(wanted[split]),
            "target_share": _rounded(shares[split]),
        }
        for split in range(3)
    )


def _by_split(values: Iterable[Any]) -> dict[str, Any]:
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    return dict(sorted(zip(SPLIT_NAMES, plain, strict=True)))


def _rounded(value: Fraction | float) -> float:
    return round(float(value), 6)


def _classes(
    data: SplitInput,
    assignment: npt.NDArray[np.int8],
    shares: Sequence[Fraction],
    open_splits: tuple[int, ...],
    whole_videos: bool,
) -> dict[str, dict[str, Any]]:
    frame, column, amount = _entries(data, np.arange(len(data.ids)))
    width = len(data.class_names)
    cells = column * 3 + assignment[frame]
    held = np.bincount(cells, weights=amount, minlength=3 * width).astype(np.int64).reshape(-1, 3)
    frame, column, amount = _merged(frame, column, amount, width)
    cells = column * 3 + assignment[frame]
    frames = np.bincount(cells, minlength=3 * width).reshape(-1, 3)
    if whole_videos:
        _, column, amount = _merged(data.video[frame].astype(np.int64), column, amount, width)
    by_class = np.argsort(column, kind="stable")
    ends = np.searchsorted(column[by_class], np.arange(1, width))
    rows = {}
    for code, amounts in enumerate(np.split(amount[by_class], ends)):
        if not len(amounts):
            continue
        total = int(held[code].sum())
        off = [Fraction(int(h), total) - s for h, s in zip(held[code], shares, strict=True)]
        best = best_possible_points(amounts, shares, open_splits)
        rows[data.class_names[code]] = {
            "best_possible_points": _rounded(best),
            "deviation_points": _by_split(_rounded(100 * each) for each in off),
            "frames": _by_split(frames[code]),
            "instances": _by_split(held[code]),
            "instances_total": total,
            "max_deviation_points": _rounded(100 * max(map(abs, off))),
            "share": _by_split(_rounded(Fraction(int(h), total)) for h in held[code]),
            "too_rare": _too_rare(best, len(amounts), total, "video" if whole_videos else "frame"),
        }
    return dict(sorted(rows.items()))


def _too_rare(best: Fraction, units: int, total: int, unit: str) -> str | None:
    """Why a class cannot keep within the bound, or None if nothing is known against it."""
    if best <= _BOUND_POINTS:
        return None
    return (
        f"{total} instance{'s' * (total != 1)} in {units} {unit}{'s' * (units != 1)}: "
        f"no assignment comes nearer than {float(best):.1f} points"
    )


def _limit(points: float, classes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Whether all classes keep within a limit, and which of those that do not could have."""
    off = [name for name, row in classes.items() if row["max_deviation_points"] > points]
    cannot = [name for name in off if classes[name]["best_possible_points"] > points]
    return {
        "classes_off": off,
        "classes_that_cannot": cannot,
        "holds": not off,
        "holds_where_possible": len(off) == len(cannot),
        "points": points,
    }


def _empty_splits(sizes: _Int, shares: Sequence[Fraction], n: int) -> dict[str, str]:
    reasons = {}
    for name, size, share in sorted(zip(SPLIT_NAMES, sizes.tolist(), shares, strict=True)):
        if size:
            continue
        if share == 0:
            reasons[name] = "its ratio is 0"
        elif n == 0:
            reasons[name] = "there are no frames"
        else:
            few = f"{n} frame{'s' * (n != 1)}"
            reasons[name] = f"{few} at a ratio of {float(share):g} leave none for it"
    return reasons


def _neighbours(data: SplitInput, assignment: npt.NDArray[np.int8]) -> dict[str, int | None]:
    """Frames of one video that lie next to each other, on different sides.

    Two frames on different sides always have a pair of neighbours on different sides between them,
    so that the smallest distance is found among neighbours.
    """
    order = np.lexsort((data.frame_index, data.video))
    same = np.diff(data.video[order]) == 0
    apart = same & (np.diff(assignment[order]) != 0)
    distances = np.diff(data.frame_index[order])[apart]
    return {
        "pairs": int(same.sum()),
        "pairs_on_different_sides": int(apart.sum()),
        "smallest_distance_frames": int(distances.min()) if len(distances) else None,
    }
