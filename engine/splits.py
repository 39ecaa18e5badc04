"""Which frame is in which split.

`stratified` and `random` deal in frames, unless they are told not to divide videos: sizes are
exact, but neighbouring frames of a video, which look nearly the same, come to lie on both sides.
Where whole groups are dealt out (videos, or videos with the same content), nothing leaks, but sizes
and classes are only as even as the groups allow. `temporal` deals in groups too, or in stretches of
time of every video. The certificate says in figures which of these prices was paid.

An assignment depends on names, classes, ratios and seed alone: frames and groups are put in a
seeded order, classes in the order of their rarity, before anything is chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.apportion import exact_ratios, largest_remainder, seeded_order
from engine.errors import UsageError
from engine.group_placement import place_groups
from engine.placement import place_frames
from engine.segments import cut_segments
from engine.split_input import SplitInput, class_table
from engine.swaps import ClassTable

__all__ = ["Divided", "Rule", "Strategy", "assign", "divide_frames", "fold_shares"]

_Int = npt.NDArray[np.int64]
Strategy = Literal["stratified", "temporal", "random"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How frames are dealt out, whatever they are dealt out to.

    Args:
        strategy: `random` gives sizes alone; `stratified` also an even share of each class's
            instances; `temporal` deals in whole groups, or in segments.
        groups: name of the group of each video, in the order of `video_names`; groups are never
            divided. None: single frames, or under `temporal` each video by itself.
        gap_sec: of `temporal`: cut every video, with this gap; None: do not.
        seed: decides between assignments that are equally good.
    """

    strategy: Strategy
    groups: tuple[str, ...] | None = None
    gap_sec: float | None = None
    seed: int

    def groups_of(self, data: SplitInput) -> tuple[str, ...] | None:
        """The name of each video's group, in the order of `video_names`; None where frames are."""
        if self.gap_sec is not None:
            return None
        return data.video_names if self.strategy == "temporal" and not self.groups else self.groups


@dataclass(frozen=True, kw_only=True, eq=False)
class Divided:
    """Frames dealt out.

    Args:
        codes: int8 (n,), what each frame fell to; -1: nothing, it lies in a gap.
        solver: JSON types: which one was at work, and what it knows of the result.
    """

    codes: npt.NDArray[np.int8]
    solver: dict[str, Any]


def assign(
    strategy: Strategy,
    data: SplitInput,
    *,
    ratios: tuple[float, float, float],
    seed: int,
    groups: tuple[str, ...] | None = None,
) -> npt.NDArray[np.int8]:
    """Assign every frame to train, validation or test.

    Args:
        strategy: as in `Rule`; without groups, `random` and `stratified` give exact sizes.
        data: the frames.
        ratios: wanted shares of train, validation, test.
        seed: decides between assignments that are equally good.
        groups: name of the group of each video, in the order of `video_names`; None: single frames,
            or under `temporal` each video by itself. Every split with a positive ratio gets one.

    Returns:
        int8 (n,): 0 for train, 1 for validation, 2 for test. Cost: n log n.

    Raises:
        ConfigError: the ratios are not three shares of a whole.
        UsageError: fewer groups than splits.
    """
    rule = Rule(strategy=strategy, groups=groups, seed=seed)
    return divide_frames(data, exact_ratios(ratios), rule).codes


def fold_shares(folds: int) -> tuple[Fraction, ...]:
    """Give the shares of so many folds: equal ones."""
    return (Fraction(1, folds),) * folds


def divide_frames(data: SplitInput, shares: tuple[Fraction, ...], rule: Rule) -> Divided:
    """Deal frames out to splits, or to folds.

    Args:
        data: the frames.
        shares: wanted share of each split, summing to 1.
        rule: how.

    Raises:
        UsageError: fewer groups than shares that are positive, or videos that cannot be cut.
    """
    if not len(data):
        return _divided(np.zeros(0, dtype=np.int8), "none")
    if rule.gap_sec is not None:
        return _segments(data, shares, rule, rule.gap_sec)
    groups = rule.groups_of(data)
    if groups is not None:
        return _groups(data, shares, rule, groups)
    codes = np.zeros(len(data), dtype=np.int8)
    order = seeded_order(data.ids, rule.seed)
    sizes = largest_remainder(len(order), shares)
    if rule.strategy == "random":
        codes[order] = np.repeat(np.arange(len(sizes), dtype=np.int8), sizes)
        return _divided(codes, "shuffle")
    table = class_table(data, np.argsort(order), len(order), blank=True)
    placed = place_frames(table, sizes, shares)
    codes[order] = placed.codes
    return Divided(codes=codes, solver=placed.solver | {"classless": False})


def _divided(codes: npt.NDArray[np.int8], solver: str) -> Divided:
    known = {"name": solver, "optimal": None, "least_max_deviation_points": None}
    return Divided(codes=codes, solver=known | {"classless": solver in ("shuffle", "segments")})


def _groups(
    data: SplitInput, shares: tuple[Fraction, ...], rule: Rule, groups: tuple[str, ...]
) -> Divided:
    names, of_video = np.unique(np.array(groups, dtype=object), return_inverse=True)
    of_frame = of_video[data.video]
    present, frames = np.unique(of_frame, return_counts=True)
    _refuse_too_few(len(present), shares, rule, whole_videos=groups == data.video_names)
    order = seeded_order([names[code] for code in present.tolist()], rule.seed)
    place = np.zeros(len(names), dtype=np.int64)
    place[present[order]] = np.arange(len(order))
    plain = rule.strategy == "random"
    table = ClassTable.blank(len(order)) if plain else class_table(
        data, place[of_frame], len(order), blank=False
    )  # fmt: skip
    placed = place_groups(
        table, frames[order].astype(np.int64), shares,
        stratified=rule.strategy == "stratified", seeded_start=plain,
    )  # fmt: skip
    solver = placed.solver
    if plain:  # what was proved is proved of sizes alone
        solver |= {"classless": True, "least_max_deviation_points": None}
    return Divided(codes=placed.codes[place[of_frame]], solver=solver)


def _refuse_too_few(
    count: int, shares: Sequence[Fraction], rule: Rule, *, whole_videos: bool
) -> None:
    wanted = sum(share > 0 for share in shares)
    if count >= wanted:
        return
    unit = "video" if whole_videos else "group"
    temporal = rule.strategy == "temporal"
    option = "--split temporal" if temporal else "--group-by"
    whole = "videos" if whole_videos else "groups of videos"
    advice = "add videos, divide videos with --group-by none, or set a ratio to 0"
    raise UsageError(
        option,
        f"each split takes whole {whole}, and there are fewer {unit}s than splits",
        got=f"{count} {unit}{'s' * (count != 1)}",
        expected=f"at least {wanted}",
        advice="use --temporal-segments to split inside a video, or set a ratio to 0"
        if temporal
        else advice,
    )


def _segments(
    data: SplitInput, shares: tuple[Fraction, ...], rule: Rule, gap_sec: float
) -> Divided:
    codes = cut_segments(data, shares, gap_sec=gap_sec, seed=rule.seed)
    held = np.bincount(codes[codes >= 0], minlength=len(shares))
    empty = [split for split, share in enumerate(shares) if share > 0 and not held[split]]
    if empty:
        raise UsageError(
            "--temporal-segments",
            f"the videos are too short to be cut into {len(shares)} with a gap of {gap_sec:g} s",
            got=f"{len(data)} frames",
            advice="use a smaller --gap-sec, add videos, or use --split stratified",
        )
    return _divided(codes, "segments")
