"""Which split frames go to that come to a dataset which is divided already.

Nothing that is settled moves. Newcomers of a video, or of a group of videos, that is there already
join its split. All others go where frames and classes are lacking, judged over the whole dataset by
the same objectives, and placed by the same solvers, as in a first division: what is settled is a
load on each split, a few figures however many frames it is.

So a dataset that grows is as even as its newcomers can make it, and not always as even as it would
be if it were divided anew: that is the price of a test set that stays what it was.
"""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.apportion import lacking, seeded_order
from engine.errors import RunError
from engine.group_placement import place_groups
from engine.placement import place_frames
from engine.segment_joining import join_segments
from engine.split_input import SplitInput, load_of, table_beside
from engine.splits import Divided, Rule, divide_frames
from engine.swaps import ClassTable

__all__ = ["extend"]

_Codes = NDArray[np.int8]


def extend(
    data: SplitInput, held: _Codes, shares: tuple[Fraction, ...], rule: Rule
) -> Divided:  # fmt: skip
    """Deal newcomers out to splits, or to folds, that hold something already.

    Args:
        data: all frames that are in the dataset or shall be, those settled too.
        held: int8 (n,), the split of each frame that is settled, -1 of each newcomer.
        shares: wanted share of each split in the whole, summing to 1.
        rule: how, as in `divide_frames`.

    Returns:
        The split of every frame, that of settled ones as it was; -1 of newcomers in a gap. The
        result depends on names, classes, what is settled, shares and seed. Where nothing is
        settled, it is that of `divide_frames`.

        * Single frames: every split gets what it lacks to its share of the whole
          (`apportion.lacking`); under `stratified` such frames that the classes of the whole come
          nearest to the shares.
        * Groups: newcomers of a group that is there join the split with most of its frames, of
          equal ones the first; new groups are placed by `group_placement`. A split without a group
          gets one, if there are enough.
        * Segments: see `segment_joining`.

        The solver's name begins with "extension-" ("none" without newcomers). `optimal`: of all
        ways to place these newcomers by these rules beside what is settled, none is better; True
        too where they leave no choice. It says nothing of a division anew, and so
        `least_max_deviation_points`, a bound for all divisions, is None.

    Raises:
        RunError: `held` does not fit.
        UsageError: nothing is settled, and there are fewer groups than shares that are positive; or
            a timestamp is needed and missing.
    """
    if held.shape != (len(data),) or not np.isin(held, np.arange(-1, len(shares))).all():
        raise RunError("extension", "settled splits do not fit the frames", got=held.shape,
                       expected=f"{len(data)} of -1 to {len(shares) - 1}")  # fmt: skip
    if (held >= 0).all():
        return _divided(held.copy(), "none")
    if (held < 0).all():
        return divide_frames(data, shares, rule)
    if rule.gap_sec is not None:
        codes = join_segments(data, held, shares, gap_sec=rule.gap_sec, seed=rule.seed)
        return _divided(codes, "extension-segments", classless=True)
    groups = rule.groups_of(data)
    if groups is not None:
        return _groups(data, held, shares, rule, groups)
    return _frames(data, held, shares, rule)


def _divided(
    codes: _Codes, name: str, *, optimal: bool | None = None, classless: bool = False
) -> Divided:
    known: dict[str, Any] = {"name": name, "optimal": optimal, "least_max_deviation_points": None}
    return Divided(codes=codes, solver=known | {"classless": classless})


def _frames(
    data: SplitInput, held: _Codes, shares: tuple[Fraction, ...], rule: Rule
) -> Divided:  # fmt: skip
    codes, coming = held.copy(), held < 0
    new = data.where(coming)
    order = seeded_order(new.ids, rule.seed)
    settled = np.bincount(held[~coming], minlength=len(shares)).tolist()
    sizes = lacking(len(new), shares, settled)
    places = np.flatnonzero(coming)[order]
    if rule.strategy == "random":
        codes[places] = np.repeat(np.arange(len(sizes), dtype=np.int8), sizes)
        return _divided(codes, "extension-shuffle", classless=True)
    load = load_of(data, held, np.arange(len(data)), len(shares), blank=True)
    table, load = table_beside(new, np.argsort(order), len(new), load, blank=True)
    codes[places] = place_frames(table, sizes, shares, load).codes
    return _divided(codes, "extension-swaps")


def _groups(
    data: SplitInput,
    held: _Codes,
    shares: tuple[Fraction, ...],
    rule: Rule,
    groups: tuple[str, ...],
) -> Divided:
    names, of_video = np.unique(np.array(groups, dtype=object), return_inverse=True)
    of_frame = of_video[data.video]
    plain = rule.strategy == "random"
    codes = _with_their_groups(held, of_frame, len(names), len(shares))
    coming = codes < 0
    if not coming.any():
        return _divided(codes, "extension-joined", optimal=True, classless=plain)
    present, frames = np.unique(of_frame[coming], return_counts=True)
    order = seeded_order([names[code] for code in present.tolist()], rule.seed)
    place = np.zeros(len(names), dtype=np.int64)
    place[present[order]] = np.arange(len(order))
    load = load_of(data, codes, of_frame, len(shares), blank=False)
    if plain:
        table, load = ClassTable.blank(len(order)), load.take(np.zeros(0, dtype=np.int64))
    else:
        new = data.where(coming)
        table, load = table_beside(new, place[of_frame[coming]], len(order), load, blank=False)
    placed = place_groups(
        table, frames[order].astype(np.int64), shares,
        stratified=rule.strategy == "stratified", seeded_start=plain, load=load,
    )  # fmt: skip
    codes[coming] = placed.codes[place[of_frame[coming]]]
    return _divided(
        codes, f"extension-{placed.solver['name']}", optimal=placed.solver["optimal"],
        classless=plain,
    )  # fmt: skip


def _with_their_groups(
    held: _Codes, of_frame: NDArray[np.int64], groups: int, splits: int
) -> _Codes:
    """Newcomers of groups that are there, in the split with most of the group's frames."""
    there = held >= 0
    cells = of_frame[there] * splits + held[there]
    counts = np.bincount(cells, minlength=groups * splits).reshape(groups, splits)
    home = np.where(counts.any(axis=1), counts.argmax(axis=1), -1)
    codes: _Codes = np.where(there, held, home[of_frame]).astype(np.int8)
    return codes
