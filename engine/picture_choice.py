"""Which frames are pictured for each finding of a report.

A finding may be about objects and frames, about videos (paint, an order without proof) or about
labels. Each kind is brought down to a handful of frames; all findings share one budget of pictures,
because the page has an upper bound of bytes and every picture has one too.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.frame_index import FrameIndex
from engine.quality import is_placeholder
from engine.worst_cases import Case, worst_cases

__all__ = ["MAX_PICTURES", "Wanted", "choose_pictures"]

# With at most 12 kB a picture, a third more in base64: 2.4 MB of a page that may have 5 MB.
MAX_PICTURES = 150
_PER_FINDING = 6


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One picture to be made for a finding.

    Args:
        code: of the finding.
        frame_id: of the frame.
        place: of the frame in the index.
        kind: as of `report_material.Picture`.
        object_ids: to be outlined strongly.
        labels: of objects to be outlined strongly.
    """

    code: str
    frame_id: str
    place: int
    kind: str = "case"
    object_ids: tuple[int, ...] = ()
    labels: frozenset[str] = frozenset()


def choose_pictures(
    index: FrameIndex,
    issues: pa.Table,
    document: Mapping[str, Any],
    kept: NDArray[np.bool_],
) -> list[Wanted]:
    """Choose the pictures of all findings, in the order of the page; of no frame that crashes.

    Args:
        index: all frames.
        issues: of `ISSUE_SCHEMA`.
        document: as `report.validation_document` makes it.
        kept: bool (frames,), the frames that its own findings are about; those of its sources are
            about all.
    """
    published = [finding["code"] for finding in document["findings"]]
    sources = [f for f in document["sources"]["findings"] if f["code"] not in published]
    findings = [*document["findings"], *sources]
    limit = max(1, min(_PER_FINDING, MAX_PICTURES // max(1, len(findings))))
    aside = index.table["id"].filter(pa.array(~kept))
    remaining = issues.filter(pc.invert(pc.is_in(issues["frame_id"], value_set=pc.unique(aside))))
    everything = np.ones(len(index), bool)
    wanted: list[Wanted] = []
    for number, finding in enumerate(findings):
        own = number < len(published)
        among, told = (kept, remaining) if own else (everything, issues)
        labels = _labels(finding["code"], document)
        chosen = (
            _of_labels(index, finding["code"], labels, among, limit)
            if labels
            else _pictures(index, told, finding, among, limit)
        )
        wanted += chosen[: max(limit, 2)]
    crashed = issues.filter(pc.equal(issues["code"], "frame_crashed"))["frame_id"]
    unread = set(crashed.to_pylist())
    return [each for each in wanted if each.frame_id not in unread][:MAX_PICTURES]


def _pictures(
    index: FrameIndex,
    issues: pa.Table,
    finding: Mapping[str, Any],
    among: NDArray[np.bool_],
    limit: int,
) -> list[Wanted]:
    code = finding["code"]
    cases = worst_cases(issues, code, limit)
    if cases:
        return _of_cases(index, code, cases)
    if finding["frames"]:  # found after the issues were gathered: set aside
        bare = [Case(frame_id=i, object_ids=(), beside=None) for i in finding["frames"][:limit]]
        return _of_cases(index, code, bare)
    videos = pc.unique(issues["video_id"].filter(pc.equal(issues["code"], code)).drop_null())
    return _of_videos(index, code, sorted(videos.to_pylist())[:limit], among)


def _labels(code: str, document: Mapping[str, Any]) -> frozenset[str]:
    """Labels that a finding is about."""
    if code == "class_imbalance" and document["imbalance"]:
        return frozenset(document["imbalance"]["minority"])
    if code == "label_placeholder":
        return frozenset(filter(is_placeholder, document["class_counts"]))
    return frozenset()


def _of_cases(index: FrameIndex, code: str, cases: Sequence[Case]) -> list[Wanted]:
    """Picture cases, each beside the frame it differs from; a frame that came twice, twice."""
    ids = {case.frame_id for case in cases} | {case.beside for case in cases if case.beside}
    places = _places(index, sorted(ids))
    found: list[Wanted] = []
    for case in cases:
        before = places[case.beside][:1] if case.beside else []
        here = places[case.frame_id][: 2 if code == "frame_conflict" else 1]
        for kind, at, frame_id in (
            *(("before", place, case.beside or "") for place in before if here),
            *(("case", place, case.frame_id) for place in here),
        ):
            found.append(
                Wanted(
                    code=code, frame_id=frame_id, place=at, kind=kind, object_ids=case.object_ids
                )
            )
    return found


def _places(index: FrameIndex, ids: Sequence[str]) -> defaultdict[str, list[int]]:
    column = index.table["id"]
    found = np.flatnonzero(pc.is_in(column, value_set=pa.array(ids, pa.string())).to_numpy())
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, frame_id in zip(found, column.take(pa.array(found)).to_pylist(), strict=True):
        places[frame_id].append(int(place))
    return places


def _of_videos(
    index: FrameIndex, code: str, videos: Sequence[str], among: NDArray[np.bool_]
) -> list[Wanted]:
    """Picture each video by its first frame with the most objects; paint also as it is."""
    lengths = pc.fill_null(pc.list_value_length(index.table["labels"]), 0).to_numpy()
    found = []
    for video in videos:
        own = np.flatnonzero(pc.equal(index.table["video_id"], video).to_numpy() & among)
        if not own.size:
            continue
        place = int(own[np.argmax(lengths[own])])
        frame_id = index.table["id"][place].as_py()
        kinds = ("bare", "case") if code == "overlay_burned_in" else ("case",)
        found += [Wanted(code=code, frame_id=frame_id, place=place, kind=kind) for kind in kinds]
    return found


def _of_labels(
    index: FrameIndex, code: str, labels: frozenset[str], among: NDArray[np.bool_], limit: int
) -> list[Wanted]:
    """Picture frames that hold one of the labels: the first of each video before the second."""
    lists = index.table["labels"].combine_chunks()
    holds = pc.is_in(pc.list_flatten(lists), value_set=pa.array(sorted(labels), pa.string()))
    parents = pc.list_parent_indices(lists).to_numpy()
    has = np.zeros(len(index), bool)
    has[parents[holds.to_numpy(zero_copy_only=False)]] = True
    places = np.flatnonzero(has & among)
    if not places.size:
        return []
    videos = pc.dictionary_encode(index.table["video_id"].take(pa.array(places))).combine_chunks()
    video = videos.indices.to_numpy()  # sorted by video: the first of each begins a stretch
    starts = np.flatnonzero(np.diff(video, prepend=-1))
    turn = np.arange(len(places)) - np.repeat(starts, np.diff([*starts, len(places)]))
    first = places[np.lexsort((places, turn))][:limit]
    return [
        Wanted(
            code=code, frame_id=index.table["id"][int(place)].as_py(), place=int(place),
            labels=labels,
        )
        for place in first
    ]  # fmt: skip
