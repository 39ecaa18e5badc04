"""A certificate of how even splits (or folds) are, what they cost, and what could not be better.

Every figure is counted anew in the finished assignment; nothing is taken from the solver but its
name and what it proved. A deviation is a split's achieved share of the instances of a class minus
its ratio, in percentage points.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.apportion import largest_remainder
from engine.placement import best_possible_points
from engine.split_input import SplitInput, entries_of, merge_entries

__all__ = ["Account", "certify", "certify_folds"]

_Int = npt.NDArray[np.int64]

_BOUND_POINTS = 5.0  # what a class's share in a split may be off its ratio
_GOAL_POINTS = 1.0  # what it should be off at most


@dataclass(frozen=True, kw_only=True, eq=False)
class Account:
    """An assignment, and what it is measured by.

    Args:
        data: the frames.
        codes: int8 (n,), what each of them fell to.
        names: of the splits (or folds), in the order of the codes.
        shares: wanted share of each, summing to 1.
        groups: name of the group of each video, in the order of `video_names`, where groups are
            whole; None where single frames were dealt out, or stretches of time.
        solver: as `splits.divide_frames` gives it.
    """

    data: SplitInput
    codes: npt.NDArray[np.int8]
    names: Sequence[str]
    shares: Sequence[Fraction]
    groups: tuple[str, ...] | None
    solver: dict[str, Any]

    @property
    def sizes(self) -> _Int:
        """Frames in each split: int64 (splits,)."""
        return np.bincount(self.codes, minlength=len(self.names)).astype(np.int64)

    @property
    def targets(self) -> _Int:
        """Frames wanted in each split: int64 (splits,)."""
        return largest_remainder(len(self.data), self.shares)

    @property
    def unit_of_video(self) -> _Int:
        """Code of each video's group; of each video itself where groups are divided."""
        names = self.data.video_names if self.groups is None else self.groups
        codes = np.unique(np.array(names, dtype=object), return_inverse=True)[1]
        return np.asarray(codes, dtype=np.int64)

    def by_name(self, values: Iterable[Any]) -> dict[str, Any]:
        """Put one value for each split into a table, sorted by name."""
        plain = values.tolist() if isinstance(values, np.ndarray) else values
        return dict(sorted(zip(self.names, plain, strict=True)))


def certify(account: Account) -> dict[str, Any]:
    """Say in figures how even an assignment is, and what it cost.

    Args:
        account: the assignment.

    Returns:
        A JSON document with sorted keys. `best_possible_points` is a lower bound of a class's
        largest deviation, taken alone: exact up to 8 frames (or groups);
        `best_possible_present_points` the same with the class in as many splits as it has frames
        (or groups) for, `absences` how many of these it is not in, `too_rare` all that in words.
        `reason` says why a limit does not hold. Classes without an instance are left out.
        `gap_points` of the solver is how far the largest deviation is above what is known to be
        unavoidable: 0 where the assignment is proved to be the best (of an extension: the best
        beside what was there before). `smallest_distance_frames` is
        in steps of `frame_index`. `neighbours` is None where no video is divided.
        `near_duplicates` is None: not looked for.
    """
    data, codes = account.data, account.codes
    classes = _classes(account)
    bare = np.ones(len(data), dtype=bool)
    bare[entries_of(data, np.arange(len(data)))[0]] = False
    videos, videos_apart = _held(account, data.video.astype(np.int64))
    groups, groups_apart = _held(account, account.unit_of_video[data.video])
    neighbours = None if account.groups is not None else _neighbours(data, codes)
    document = {
        "bound": _limit(_BOUND_POINTS, account, classes),
        "classes": classes,
        "empty_splits": _empty_splits(account),
        "frames": len(data),
        "frames_without_class": account.by_name(
            np.bincount(codes[bare], minlength=len(account.names))
        ),
        "goal": _limit(_GOAL_POINTS, account, classes),
        "groups": groups,
        "groups_in_several_splits": groups_apart,
        "near_duplicates": None,
        "neighbours": neighbours,
        "ratios": account.by_name(_rounded(share) for share in account.shares),
        "sizes": _sizes(account),
        "smallest_distance_frames": neighbours and neighbours["smallest_distance_frames"],
        "solver": _solver(account, classes),
        "videos": videos,
        "videos_in_several_splits": videos_apart,
        **_worst(classes),
    }
    return dict(sorted(document.items()))


def certify_folds(account: Account) -> dict[str, Any]:
    """Say in figures how even folds are: a shorter certificate, with the names of `certify`.

    Args:
        account: the folds, as if they were splits.
    """
    classes = _classes(account)
    groups, apart = _held(account, account.unit_of_video[account.data.video])
    document = {
        "bound": _limit(_BOUND_POINTS, account, classes),
        "classes": {
            name: {key: row[key] for key in ("instances", "max_deviation_points", "too_rare")}
            for name, row in classes.items()
        },
        "goal": _limit(_GOAL_POINTS, account, classes),
        "groups": groups,
        "groups_in_several_folds": apart,
        "sizes": _sizes(account),
        "solver": _solver(account, classes),
        **_worst(classes),
    }
    return dict(sorted(document.items()))


def _worst(classes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    worst = max(classes, key=lambda name: classes[name]["max_deviation_points"], default=None)
    points = None if worst is None else classes[worst]["max_deviation_points"]
    return {"max_deviation_class": worst, "max_deviation_points": points}


def _solver(account: Account, classes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    solver = account.solver
    least = solver["least_max_deviation_points"]
    if least is None:
        least = max(
            (
                row[f"best_possible_{'' if row['absences'] else 'present_'}points"]
                for row in classes.values()
            ),
            default=None,
        )
    worst = _worst(classes)["max_deviation_points"]
    known = worst is not None and least is not None
    gap = (
        0.0 if solver["optimal"] and known else max(0.0, round(worst - least, 6)) if known else None
    )
    return {"gap_points": gap, "name": solver["name"], "optimal": solver["optimal"]}


def _held(account: Account, unit_of_frame: _Int) -> tuple[dict[str, int], int]:
    """Units with a frame in each split; how many units are in more than one."""
    splits = len(account.names)
    cells = np.unique(unit_of_frame * splits + account.codes)
    held = account.by_name(np.bincount(cells % splits, minlength=splits))
    return held, int((np.unique(cells // splits, return_counts=True)[1] > 1).sum())


def _sizes(account: Account) -> dict[str, Any]:
    total = max(len(account.data), 1)
    rows = zip(account.sizes.tolist(), account.targets.tolist(), account.shares, strict=True)
    return account.by_name(
        {
            "achieved": achieved,
            "achieved_share": _rounded(Fraction(achieved, total)),
            "target": target,
            "target_share": _rounded(share),
        }
        for achieved, target, share in rows
    )


def _rounded(value: Fraction | float) -> float:
    return round(float(value), 6)


def _classes(account: Account) -> dict[str, dict[str, Any]]:
    data, codes, shares = account.data, account.codes, account.shares
    splits, width = len(shares), len(data.class_names)
    whole = account.groups is not None
    may_hold = [s > 0 for s in shares] if whole else [w > 0 for w in account.targets]
    open_splits = tuple(split for split in range(splits) if may_hold[split])
    frame, column, amount = entries_of(data, np.arange(len(data)))
    cells = column * splits + codes[frame]
    held = np.bincount(cells, weights=amount, minlength=splits * width).astype(np.int64)
    held = held.reshape(-1, splits)
    if len(frame):
        frame, column, amount = merge_entries(frame, column, amount, width)
    cells = column * splits + codes[frame]
    frames = np.bincount(cells, minlength=splits * width).reshape(-1, splits)
    if whole and len(frame):
        unit = account.unit_of_video[data.video[frame]]
        _, column, amount = merge_entries(unit, column, amount, width)
    by_class = np.argsort(column, kind="stable")
    ends = np.searchsorted(column[by_class], np.arange(1, width))
    rows = {}
    for code, amounts in enumerate(np.split(amount[by_class], ends)):
        if not len(amounts):
            continue
        total = int(held[code].sum())
        off = [Fraction(int(h), total) - s for h, s in zip(held[code], shares, strict=True)]
        best, best_present = (
            best_possible_points(amounts, shares, open_splits, present=present)
            for present in (False, True)
        )
        everywhere = min(len(amounts), len(open_splits))
        rows[data.class_names[code]] = {
            "absences": max(0, everywhere - int((held[code] > 0).sum())),
            "best_possible_points": _rounded(best),
            "best_possible_present_points": _rounded(best_present),
            "deviation_points": account.by_name(_rounded(100 * each) for each in off),
            "frames": account.by_name(frames[code]),
            "instances": account.by_name(held[code]),
            "instances_total": total,
            "max_deviation_points": _rounded(100 * max(map(abs, off))),
            "share": account.by_name(_rounded(Fraction(int(h), total)) for h in held[code]),
            "too_rare": _too_rare((best, best_present), len(amounts), total, everywhere, account),
        }
    return dict(sorted(rows.items()))


def _units(account: Account, units: int) -> str:
    if account.groups is None:
        return "frame" if units == 1 else "frames"
    if account.groups == account.data.video_names:
        return "video" if units == 1 else "videos"
    return "group of videos" if units == 1 else "groups of videos"


def _too_rare(
    best: tuple[Fraction, Fraction], units: int, total: int, splits: int, account: Account
) -> str | None:
    """Why a class cannot keep within the bound, or None if nothing is known against it."""
    every, present = (
        f"no assignment{which} comes nearer than {float(points):.1f} points"
        if points > _BOUND_POINTS
        else None
        for points, which in zip(best, ("", f" with it in {splits} splits"), strict=True)
    )
    parts = [every, present] if best[0] < best[1] else [every]
    said = ", and ".join(part for part in parts if part)
    if not said:
        return None
    return f"{total} instance{'s' * (total != 1)} in {units} {_units(account, units)}: {said}"


def _limit(points: float, account: Account, classes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Whether all classes keep within a limit, and which cannot, even taken alone."""
    off = [name for name, row in classes.items() if row["max_deviation_points"] > points]
    cannot = [name for name in off if classes[name]["best_possible_points"] > points]
    return {
        "classes_off": off,
        "classes_that_cannot": cannot,
        "holds": not off,
        "holds_where_possible": len(off) == len(cannot),
        "points": points,
        "reason": _reason(points, len(off), len(cannot), account) if off else None,
    }


def _reason(points: float, off: int, cannot: int, account: Account) -> str:
    """Why a limit does not hold, as far as that is known."""
    single = "" if account.groups is not None else "single "
    units = _units(account, 2)
    parts = []
    if cannot:
        # Each taken alone: whether they could all be as near as that at once is another question.
        parts.append(
            f"{cannot} of {off} classes that are off cannot come within {points:g} "
            f"point{'s' * (points != 1)}, however {single}{units} are dealt out "
            "(best_possible_points: nearer than that none comes, taken alone)"
        )
    # Counted in hundredths of a point, rounded up: a hundredth less is what was proved.
    least = (account.solver["least_max_deviation_points"] or 0.0) - 0.01
    if least > points:
        present = "rare classes" if not single else "classes and of frames without one"
        parts.append(
            f"of all ways to deal out {single}{units} with sizes, and presence of {present}, as "
            f"good as here, the best is off by {least:.2f} points or more"
        )
    if not parts and account.solver.get("classless"):
        parts.append(f"{units} are divided without regard to classes")
    if not parts and account.solver["name"].startswith("extension-"):
        parts.append(f"{single}{units} that were there before keep their split")
    if not parts:
        parts.append(f"not known: the best way to deal out {single}{units} was not proved")
    return "; ".join(parts)


def _empty_splits(account: Account) -> dict[str, str]:
    reasons, n = {}, len(account.data)
    for name, size, share in sorted(
        zip(account.names, account.sizes.tolist(), account.shares, strict=True)
    ):
        if size:
            continue
        if share == 0:
            reasons[name] = "its ratio is 0"
        elif n == 0:
            reasons[name] = "there are no frames"
        else:
            few = f"{n} frame{'s' * (n != 1)}"
            reasons[name] = (
                f"{few} at a ratio of {float(share):g} leave{'s' * (n == 1)} none for it"
            )
    return reasons


def _neighbours(data: SplitInput, codes: npt.NDArray[np.int8]) -> dict[str, int | None]:
    """Frames of one video that lie next to each other, on different sides.

    Two frames on different sides always have a pair of neighbours on different sides between them,
    so that the smallest distance is found among neighbours.
    """
    order = np.lexsort((data.frame_index, data.video))
    same = np.diff(data.video[order]) == 0
    apart = same & (np.diff(codes[order]) != 0)
    distances = np.diff(data.frame_index[order])[apart]
    return {
        "pairs": int(same.sum()),
        "pairs_on_different_sides": int(apart.sum()),
        "smallest_distance_frames": int(distances.min()) if len(distances) else None,
    }
