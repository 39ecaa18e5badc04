"""Everything the page shows beside the document, gathered: one task a row file, summed up here.

The driver counts what its narrow columns hold (frames, labels, videos) and leaves to tasks what
needs rows and images. Nothing here depends on how frames lie in files or on which task ends first.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.apart import more_careful
from engine.frame_index import FrameIndex
from engine.frame_tally import merge
from engine.picture_choice import Wanted, choose_pictures
from engine.report_look import Looked, LookTask, Shot, look_at_rows
from engine.report_material import Material, Picture, Timeline, Together
from engine.tasks import Task
from engine.timelines import choose_videos, columns_of, marks_of, timeline
from engine.work import Work

__all__ = ["gather_material"]

_CLASSES = 14  # of the table of classes in one frame
_MOST_OBJECTS = 1000  # counted apart; frames with more are counted with these

_Places = NDArray[np.int64]


def gather_material(
    index: FrameIndex,
    issues: pa.Table,
    document: Mapping[str, Any],
    work: Work,
    *,
    kept: NDArray[np.bool_] | None = None,
    evidence_images: Mapping[str, bytes] | None = None,
    jpeg: bool = False,
) -> Material:
    """Gather figures, timelines and pictures for the page.

    Args:
        index: all frames that were read, equal ones once.
        issues: of `ISSUE_SCHEMA`, all of them.
        document: as `report.validation_document` makes it.
        work: executes the tasks.
        kept: bool (frames,), those that are published; None: the report is about all. Figures count
            these alone; timelines show all, for what was set aside was set aside for a finding.
        evidence_images: by video id, a picture that shows how its masks are read; None: there are
            none.
        jpeg: images of published frames are shown as the JPEGs that are made of them: a dataset
            that is divided again has no others.

    Raises:
        RunError: a task did not end.
    """
    kept = np.ones(len(index), bool) if kept is None else kept
    severities = {
        finding["code"]: finding["severity"]
        for finding in (*document["sources"]["findings"], *document["findings"])
    }
    with work.timed("report"):
        wanted = choose_pictures(index, issues, document, kept)
        stretches = _stretches(index)
        chosen = choose_videos(stretches, issues, severities)
        shown = [np.arange(*stretches[video]) for video, _ in chosen]
    tasks = _tasks(index, kept, wanted, shown, jpeg=jpeg)
    looked: list[Looked] = work.run(
        look_at_rows, tasks, stage="report", while_starting=True, rescue=more_careful
    )
    with work.timed("report"):
        timelines, places = _timelines(
            index, issues, severities, list(zip(chosen, shown, strict=True)), looked
        )
        lengths = pc.fill_null(pc.list_value_length(index.table["labels"]), 0).to_numpy()
        videos = pc.value_counts(index.table["video_id"].filter(pa.array(kept))).to_pylist()
        return Material(
            tally=merge(each.tally for each in looked),
            frames_by_video=tuple(
                sorted(((v["values"], v["counts"]) for v in videos), key=lambda v: (-v[1], v[0]))
            ),
            objects_per_frame=tuple(np.bincount(np.minimum(lengths[kept], _MOST_OBJECTS)).tolist()),
            together=_together(index.table["labels"].filter(pa.array(kept)), document),
            timelines=timelines,
            timelines_omitted=len(stretches) - len(chosen),
            pictures=_pictures(wanted, looked),
            places=places,
            evidence_images=evidence_images or {},
        )


def _stretches(index: FrameIndex) -> dict[str, tuple[int, int]]:
    """Where the frames of each video lie in the index, which is sorted by video."""
    videos = pc.dictionary_encode(index.table["video_id"]).combine_chunks()
    codes = videos.indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1)).tolist()
    names = [videos.dictionary[int(codes[start])].as_py() for start in starts]
    return dict(zip(names, zip(starts, [*starts, len(codes)][1:], strict=True), strict=True))


def _tasks(
    index: FrameIndex,
    kept: NDArray[np.bool_],
    wanted: Sequence[Wanted],
    shown: Sequence[_Places],
    *,
    jpeg: bool,
) -> list[Task]:
    files, rows = (index.table[name].to_numpy().astype(np.int64) for name in ("file", "row"))
    video = np.full(len(index), -1, np.int64)
    column = np.zeros(len(index), np.int64)
    for number, places in enumerate(shown):
        video[places] = number
        column[places] = columns_of(len(places))
    shots: defaultdict[int, list[Shot]] = defaultdict(list)
    for number, each in enumerate(wanted):
        shot = Shot(
            number=number, row=int(rows[each.place]), object_ids=each.object_ids,
            labels=each.labels, bare=each.kind == "bare",
            jpeg=jpeg and bool(kept[each.place]),
        )  # fmt: skip
        shots[int(files[each.place])].append(shot)
    order = np.argsort(files, kind="stable")
    cuts = np.searchsorted(files[order], np.arange(len(index.files) + 1))
    tasks = []
    for number, path in enumerate(index.files):
        own = order[cuts[number] : cuts[number + 1]]
        drawn = own[video[own] >= 0]
        payload = LookTask(
            path=path, counted=rows[own[kept[own]]], rows=rows[drawn], videos=video[drawn],
            columns=column[drawn], shots=tuple(shots[number]),
        )  # fmt: skip
        tasks.append(Task(key=f"report-{number:06d}", payload=payload))
    return tasks


def _timelines(
    index: FrameIndex,
    issues: pa.Table,
    severities: Mapping[str, str],
    chosen: Sequence[tuple[tuple[str, int], _Places]],
    looked: Sequence[Looked],
) -> tuple[tuple[Timeline, ...], dict[str, tuple[int, int]]]:
    visible = _visible(len(chosen), looked)
    timelines = []
    places: dict[str, tuple[int, int]] = {}
    for number, ((video_id, findings), own) in enumerate(chosen):
        of_video = issues.filter(pc.equal(issues["video_id"], video_id))
        table = index.table.slice(int(own[0]), len(own))
        columns = dict(zip(table["id"].to_pylist(), columns_of(len(own)).tolist(), strict=True))
        marks = marks_of(of_video, columns, severities)
        found = pc.unique(of_video["frame_id"].drop_null()).to_pylist()
        places |= {i: (number, columns[i]) for i in found if i in columns}
        indices = table["frame_index"].to_pylist()
        timelines.append(timeline(video_id, indices, visible[number], marks, findings))
    return tuple(timelines), places


def _visible(timelines: int, looked: Sequence[Looked]) -> list[dict[tuple[int, str, int], int]]:
    """Add up what the row files hold of each timeline: a video may lie in several."""
    found: list[dict[tuple[int, str, int], int]] = [{} for _ in range(timelines)]
    for each in looked:
        for (video, object_id, label, column), frames in each.visible.items():
            key = (object_id, label, column)
            found[video][key] = found[video].get(key, 0) + frames
    return found


def _together(labels: pa.ChunkedArray, document: Mapping[str, Any]) -> Together:
    """Count the frames that hold two classes, for the classes with the most instances."""
    counts = document["class_counts"]
    order = sorted(counts, key=lambda label: (-counts[label], label))
    names = order[:_CLASSES]
    lists = labels.combine_chunks()
    found = pc.index_in(pc.list_flatten(lists), value_set=pa.array(names, pa.string()))
    held = found.is_valid().to_numpy(zero_copy_only=False)
    holds = np.zeros((len(names), len(lists)), bool)
    parents = pc.list_parent_indices(lists).to_numpy()
    holds[found.drop_null().to_numpy(), parents[held]] = True
    return Together(
        labels=tuple(names),
        omitted=len(order) - len(names),
        frames=tuple(tuple(int(np.count_nonzero(one & other)) for other in holds) for one in holds),
    )


def _pictures(wanted: Sequence[Wanted], looked: Sequence[Looked]) -> dict[str, tuple[Picture, ...]]:
    shown = {number: made for each in looked for number, made in each.shown.items()}
    found: defaultdict[str, list[Picture]] = defaultdict(list)
    for number, each in enumerate(wanted):
        made = shown[number]
        found[each.code].append(
            Picture(
                frame_id=each.frame_id, kind=each.kind, object_ids=each.object_ids,
                data=made.data, width=made.width, height=made.height, missing=made.missing,
            )
        )  # fmt: skip
    return {code: tuple(pictures) for code, pictures in found.items()}
