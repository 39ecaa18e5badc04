"""Dividing the frames of a run: by a rule, by a split file, or beside frames that are divided.

A frame that a dataset holds keeps its split for good: what comes later joins the split of its
group, or goes where the ratios are not met. So a model that was measured on a test set before is
measured on the same frames, and more, afterwards.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.apportion import exact_ratios
from engine.config import Config
from engine.content_links import equal_images
from engine.division import EXCLUSIONS, Division, Wish
from engine.errors import UsageError
from engine.extension import extend
from engine.frame_index import FrameIndex, split_input
from engine.split_file import ASSIGNED, read_assignment
from engine.split_input import SplitInput
from engine.splits import Divided, Rule, divide_frames, fold_shares

__all__ = ["Settled", "divide", "divide_more"]

_Codes = NDArray[np.int8]
_Mask = NDArray[np.bool_]

_NAMED = 3  # frames named in an error


def divide(
    index: FrameIndex,
    good: _Mask,
    config: Config,
    group_of_video: Mapping[str, str] | None = None,
    *,
    gone: _Mask | None = None,
) -> Division:
    """Divide the good frames of a run.

    Args:
        index: all frames.
        good: bool (n,), frames that are not set aside.
        config: of the run.
        group_of_video: for `--group-by content`, the name of the group (its smallest video id) of
            each video that is in one with others; any other video is a group by itself.
        gone: bool (n,), frames whose images an earlier split has left out: none of the good ones,
            and the split file cannot bring them back; None: there are none.

    Raises:
        UsageError: the frames cannot be divided as asked, or the split file does not fit them.
        ConfigError: a stretch of the split file cannot be read.
    """
    wish, groups = Wish.of(config), dict(group_of_video or {})
    planned = np.full(len(index), -1, dtype=np.int8)
    excluded = planned.copy()
    data = split_input(index.where(good))
    if config.split_file is not None:
        planned = _from_file(index, good, config.split_file, gone)
        left_out = (planned == ASSIGNED.index("excluded")) & good
        excluded[left_out] = EXCLUSIONS.index("split_file")
        planned[planned == ASSIGNED.index("excluded")] = -1
        solver = {"name": "split_file", "optimal": None, "least_max_deviation_points": None}
    else:
        divided = divide_frames(data, exact_ratios(wish.ratios), wish.rule(data, groups))
        planned[good] = divided.codes
        excluded[good & (planned < 0)] = EXCLUSIONS.index("temporal_gap")
        solver = divided.solver
    assignment = np.where(good, planned, -1).astype(np.int8)
    held = (config.split_file or {}).get("folds") or {}
    count = config.folds or held.get("count")
    folds, fold_solver = np.full(len(index), -1, dtype=np.int8), {}
    if count is not None:
        fold_of = _folds(index, assignment, held, partial(wish.rule, group_of_video=groups), count)
        folds[(assignment >= 0) & (assignment < 2)] = fold_of.codes
        fold_solver = fold_of.solver
    return Division(
        index=index, assignment=assignment, excluded=excluded, folds=folds, fold_count=count,
        planned=planned, wish=wish, groups=groups, solver=solver, fold_solver=fold_solver,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Settled:
    """What a dataset says of its frames, by the frames of the dataset and its newcomers.

    Args:
        codes: int8 (n,), split of each frame that has one; -1 for the others.
        left_out: int8 (n,), place in `EXCLUSIONS` of frames that were left out; -1 for the others.
        folds: int8 (n,), cross-validation fold; -1 for the others.
        planned: int8 (n,), split that a frame was to be in when its image turned out bad; else -1.
    """

    codes: _Codes
    left_out: _Codes
    folds: _Codes
    planned: _Codes


def divide_more(
    index: FrameIndex,
    newcomers: _Mask,
    settled: Settled,
    config: Config,
    group_of_video: Mapping[str, str] | None = None,
) -> Division:
    """Divide frames that come to a dataset; what it holds already stays as it is.

    Args:
        index: all frames, those there already too.
        newcomers: bool (n,), good frames that have no split yet.
        settled: what holds of the others.
        config: of the dataset; its rule is used, not the file that it was divided by.
        group_of_video: as in `divide`.

    Raises:
        UsageError: the frames cannot be divided as asked.
    """
    wish, groups = Wish.of(config), dict(group_of_video or {})
    assignment = settled.codes.copy()
    if wish.group_by == "none" and wish.gap_sec is None:
        _join_equal_images(index, newcomers, assignment)
    inside = newcomers | (assignment >= 0)
    data = split_input(index.where(inside))
    divided = extend(data, assignment[inside], exact_ratios(wish.ratios), wish.rule(data, groups))
    assignment[inside] = divided.codes
    excluded = settled.left_out.copy()
    excluded[newcomers & (assignment < 0)] = EXCLUSIONS.index("temporal_gap")
    folds, fold_solver = np.full(len(index), -1, dtype=np.int8), {}
    if config.folds is not None:
        dealt = (assignment >= 0) & (assignment < 2)
        data = split_input(index.where(dealt))
        fold_of = extend(
            data, settled.folds[dealt], fold_shares(config.folds), wish.rule(data, groups)
        )
        folds[dealt] = fold_of.codes
        fold_solver = fold_of.solver
    return Division(
        index=index, assignment=assignment, excluded=excluded, folds=folds,
        fold_count=config.folds,
        planned=np.where(assignment < 0, settled.planned, assignment).astype(np.int8),
        wish=wish, groups=groups,
        solver=divided.solver, fold_solver=fold_solver,
    )  # fmt: skip


def _join_equal_images(index: FrameIndex, newcomers: _Mask, codes: _Codes) -> None:
    """Send newcomers to the split that holds their very image, though frames are dealt singly."""
    equal = equal_images(index.table)
    for start, stop in _stretches(equal.image):
        rows = equal.rows[start:stop][~equal.plain[start:stop]]
        there = codes[rows][codes[rows] >= 0]
        if len(there):
            codes[rows[newcomers[rows] & (codes[rows] < 0)]] = np.bincount(there).argmax()


def _stretches(values: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Where equal values that follow each other begin and end."""
    edges = (np.flatnonzero(np.diff(values)) + 1).tolist()
    return list(zip([0, *edges], [*edges, len(values)], strict=True)) if len(values) else []


def _folds(
    index: FrameIndex,
    assignment: _Codes,
    held: Mapping[str, Any],
    rule: Callable[[SplitInput], Rule],
    count: int,
) -> Divided:
    """Deal train and validation out to folds; the test set stays out of it."""
    inside = (assignment >= 0) & (assignment < 2)
    data = split_input(index.where(inside))
    if held.get("count") == count:
        names = tuple(str(fold) for fold in range(count))
        table = read_assignment([held.get("assignment", {})], names)
        codes = _looked_up(index.where(inside), table)[0]
        solver = {"name": "split_file", "optimal": None, "least_max_deviation_points": None}
        return Divided(codes=codes, solver=solver)
    try:
        return divide_frames(data, fold_shares(count), rule(data))
    except UsageError as error:
        raise UsageError(
            f"--folds {count}", error.what, got=error.got, expected=error.expected,
            advice="use fewer folds, or what would give more groups",
        ) from error  # fmt: skip


def _from_file(
    index: FrameIndex, good: _Mask, document: Mapping[str, Any], gone: _Mask | None
) -> _Codes:
    """What the split file says of every frame; refused unless it says it of every good one."""
    table = read_assignment([document["assignment"], document.get("set_aside", {})])
    codes, strange = _looked_up(index, table)
    missing = index.where(good & (codes < 0)).table["id"]
    total = sum(len(frames) for frames, _ in strange)
    if not len(missing) and not total:
        if gone is not None:
            _refuse_gone(index.where(gone & (codes >= 0) & (codes != ASSIGNED.index("excluded"))))
        return codes
    some = missing.slice(0, _NAMED).to_pylist()
    parts = []
    if len(missing):
        parts.append(f"{_frames(len(missing))} not in it ({_few(some, len(missing))})")
    if total:
        some = [f"{video}/{frame:06d}" for frames, video in strange for frame in frames[:_NAMED]]
        parts.append(f"{_frames(total)} in it not there ({_few(some, total)})")
    raise UsageError(
        "--split-file", "does not fit these exports", got=" and ".join(parts),
        advice="give the exports it was made of, and the same --validation",
    )  # fmt: skip


def _refuse_gone(wanted: FrameIndex) -> None:
    """Refuse frames that the split file wants, and whose images are not there any more."""
    if len(wanted):
        what = "frame whose image" if len(wanted) == 1 else "frames whose images"
        some = wanted.table["id"].slice(0, _NAMED).to_pylist()
        raise UsageError(
            "--split-file", "needs images that an earlier split left out of the dataset",
            got=f"{len(wanted)} {what} it does not hold ({_few(some, len(wanted))})",
            expected="a file that leaves them out, too",
            advice="to have them back, prepare all exports again with this file, to another --out",
        )  # fmt: skip


def _frames(count: int) -> str:
    return "1 frame is" if count == 1 else f"{count} frames are"


def _few(ids: list[str], total: int) -> str:
    return ", ".join(ids[:_NAMED]) + (", ..." if total > _NAMED else "")


def _looked_up(
    index: FrameIndex, table: Mapping[str, tuple[NDArray[np.int64], _Codes]]
) -> tuple[_Codes, list[tuple[list[int], str]]]:
    """The code of each frame, -1 where the table has none; and frames that only the table has."""
    codes = np.full(len(index), -1, dtype=np.int8)
    videos = index.video_ids
    frames = index.table["frame_index"].fill_null(-1).to_numpy()
    known = index.table["frame_index"].is_valid().to_numpy(zero_copy_only=False)
    names, starts = np.unique(videos, return_index=True)  # the index is sorted by video
    stops = np.append(starts[1:], len(videos))
    strange = []
    ranges = dict(
        zip(names.tolist(), zip(starts.tolist(), stops.tolist(), strict=True), strict=True)
    )
    for video, (held, held_codes) in sorted(table.items()):
        start, stop = ranges.get(video, (0, 0))
        own, valid = frames[start:stop], known[start:stop]
        only = held[~np.isin(held, own[valid])]
        if len(only):
            strange.append((only.tolist(), video))
        if not len(held):
            continue
        place = np.minimum(np.searchsorted(held, own), len(held) - 1)
        found = valid & (held[place] == own)
        codes[start:stop][found] = held_codes[place[found]]
    return codes, strange
