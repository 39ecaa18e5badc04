"""From sources to checked frames: open every export, scan every range, sum up.

This is what `prepare`, `validate` and `add` have in common: what a dataset holds already is an
intake too, and more exports join it. Everything here runs on the driver and holds narrow columns
only; the work is in the tasks it hands to the runner.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.apart import more_careful
from engine.arrivals import DRAWN, in_precedence, open_exports, still_drawn
from engine.config import Config
from engine.content_links import Links, find_links, looks_of_videos
from engine.existence import without_effect
from engine.findings import Severity
from engine.frame_index import FrameIndex, gather
from engine.mask_check import MaskReading
from engine.policy import Policy
from engine.quality import Verdict, judge
from engine.records import ISSUE_SCHEMA, Issue, OpenedExport, Video, issue_table
from engine.repeated_frames import Held, Merged, merge_repeated
from engine.stages import ScanResult, ScanTask, all_readable, scan_range
from engine.storage import join
from engine.tables import read_table
from engine.tasks import Task
from engine.track_check import TrackTask, check_video
from engine.tracks import TRACK_CODES
from engine.work import Work

__all__ = ["Intake", "in_order", "take_in"]


@dataclass(frozen=True, kw_only=True)
class Intake:
    """All exports of a run, checked.

    Args:
        exports: in an order that depends on their content alone.
        index: one row a frame; equal frames once.
        issues: a table of `ISSUE_SCHEMA`, by video and frame.
        frames_read: rows before equal ones were counted once.
        objects_read: object records declared in them.
        links: videos that are one video under several names, with the evidence.
        contradictions: frames of a dataset that an export added to it contradicts, undecided.
        made_room: ids of its frames whose record another one has replaced, and the index files of
            the dataset that held them.
        planned: ids of its frames whose images turned out bad when they were written, and their
            places in `SPLIT_NAMES` till then: they take part in every division, so that it is that
            of a first run, which does not know yet.
    """

    exports: tuple[OpenedExport, ...]
    index: FrameIndex
    issues: pa.Table
    frames_read: int
    objects_read: int
    links: Links = field(default_factory=Links)
    contradictions: int = 0
    made_room: Mapping[str, str] = field(default_factory=dict)
    planned: Mapping[str, int] = field(default_factory=dict)

    @property
    def evidence_images(self) -> dict[str, bytes]:
        """Both readings of a frame's masks as a picture, by video id, of the first exports."""
        drawn = [(e.video_id, e.evidence_image) for e in self.exports if e.evidence_image]
        return dict(reversed(drawn[:DRAWN]))  # of several of one video, the first

    def judge(self, config: Config) -> Verdict:
        """Sum everything up to findings and a status."""
        return judge(
            self.index.table, self.issues, config.imbalance_ratio,
            exports=len(self.exports), label_keys=len(config.label_map),
            exhaustive=len(set(config.exhaustive)), policy=Policy.of(config),
        )  # fmt: skip

    def with_issues(self, found: Sequence[Issue]) -> "Intake":
        """Give the same intake with what was found later."""
        return replace(self, issues=in_order([self.issues, issue_table(list(found))]))


def take_in(
    sources: Sequence[str],
    staging: str,
    config: Config,
    work: Work,
    *,
    check_images: str,
    before: Intake | None = None,
    held: Held | None = None,
) -> Intake:
    """Open and check exports.

    Args:
        sources: single exports, as `find_sources` gives them.
        staging: folder for range, row and issue files.
        config: of the run.
        work: executes the tasks.
        check_images: how far images are read; "header" leaves the rest to whoever reads them later.
        before: what a dataset holds already, which is part of the result; None: nothing.
        held: how frames that it holds and that come again are taken.

    Raises:
        ExportError: an export cannot be read.
        RunError: the run broke.
    """
    before, held = before or _nothing(), held or Held()
    old = len(before.index.files)
    there = still_drawn(before.exports, sources)
    opened, closed = open_exports(sources, staging, config, work, there)
    exports = in_precedence([*there, *opened])
    results = _scanned(opened, staging, config, work, check_images)
    with work.timed("index"):
        everything = _gathered(before, exports, results)
        merged = merge_repeated(everything, replace(held, sources=[e.name for e in exports]))
    with work.timed("links"):
        links = find_links(looks_of_videos(exports), merged.index.table)
    touched = {export.video_id for export in opened}
    followed = _track_tasks(exports, touched, merged.index, staging, config)
    tracks = work.run(check_video, followed, stage="track", while_starting=True)
    own = [*closed, *merged.issues, *_unused(config, results, everything.table, before, held)]
    own += [issue for export in opened for issue in export.issues]
    scanned = _found_in_rows(results, merged, old)
    there_still = _still_valid(before.issues, merged, touched, old)
    new = everything.where(everything.table["file"].to_numpy() >= old)
    return Intake(
        exports=tuple(exports),
        index=merged.index,
        issues=in_order([there_still, issue_table(own), *scanned, *map(read_table, tracks)]),
        frames_read=before.frames_read + len(new),
        objects_read=before.objects_read + new.objects,
        links=links,
        contradictions=merged.contradictions,
        made_room=merged.made_room,
        planned=_still_planned(before, merged),
    )


def _found_in_rows(results: Sequence[ScanResult], merged: Merged, old: int) -> Iterator[pa.Table]:
    for place, result in enumerate(results, old):
        yield _of_rows_that_stay(read_table(result.issues_path), merged, place)


def _still_planned(before: Intake, merged: Merged) -> dict[str, int]:
    return {name: code for name, code in before.planned.items() if name not in merged.made_room}


def _nothing() -> Intake:
    """What there is before a first run."""
    issues = ISSUE_SCHEMA.empty_table()
    return Intake(exports=(), index=gather([]), issues=issues, frames_read=0, objects_read=0)


def _gathered(
    before: Intake, exports: Sequence[OpenedExport], results: Sequence[ScanResult]
) -> FrameIndex:
    """All rows, those that were there first."""
    files = [*before.index.files, *(result.rows_path for result in results)]
    found = gather(files, [export.content_digest for export in exports])
    return replace(before.index, files=found.files, table=found.table)


def in_order(tables: Sequence[pa.Table]) -> pa.Table:
    """Put issues together, by video and frame: in which order they were found leaves no trace."""
    issues = pa.concat_tables([table.cast(ISSUE_SCHEMA) for table in tables])
    names = ("video_id", "frame_index", "frame_id", "code", "object_id", "source", "message")
    return issues.sort_by([(name, "ascending") for name in names])


def _still_valid(issues: pa.Table, merged: Merged, touched: set[str], old: int) -> pa.Table:
    """What was found of a dataset, without what more frames may change, and rows that are gone."""
    of_rows = _of_rows_that_stay(issues, merged, None, below=old)
    codes = of_rows["code"]
    of_tracks = pc.and_(
        pc.is_in(codes, value_set=pa.array(sorted(TRACK_CODES))),
        pc.is_in(of_rows["video_id"], value_set=pa.array(sorted(touched), pa.string())),
    )
    of_corpus = pc.is_in(codes, value_set=pa.array(["label_map_unused", "exhaustive_unused"]))
    return of_rows.filter(pc.invert(pc.or_(of_tracks, of_corpus)))


def _of_rows_that_stay(
    issues: pa.Table, merged: Merged, file: int | None, *, below: int = 0
) -> pa.Table:
    """Issues without those of rows that were left out of one row file, or of all below a number."""
    gone = merged.left_out
    own = pc.less(gone["file"], below) if file is None else pc.equal(gone["file"], file)
    ids = gone["id"].filter(own)
    return issues.filter(pc.invert(pc.is_in(issues["frame_id"], value_set=ids.combine_chunks())))


def _unused(
    config: Config,
    results: Sequence[ScanResult],
    frames: pa.Table,
    before: Intake,
    held: Held,
) -> list[Issue]:
    """Name what was said of labels that no object has: it is likely misspelt."""
    used = {key for result in results for key in result.map_keys}
    messages = {key: f"{key!r} names no object" for key in set(config.label_map) - used}
    then = before.issues.filter(pc.equal(before.issues["code"], "label_map_unused"))
    unused_then = set(then["message"].to_pylist())
    messages = {  # a key that named an object then is used
        key: text
        for key, text in messages.items()
        if key not in held.label_keys or text in unused_then
    }
    unused = [
        Issue(code="label_map_unused", source="", message=text)
        for _, text in sorted(messages.items())
    ]
    return unused + [
        Issue(code="exhaustive_unused", source="", message=f"{label!r} is the label of no object")
        for label in without_effect(config.exhaustive, frames)
    ]


def _track_tasks(
    exports: Sequence[OpenedExport],
    touched: set[str],
    index: FrameIndex,
    staging: str,
    config: Config,
) -> list[Task]:
    """One task a video, for a track goes on over the borders of ranges and of exports."""
    videos: defaultdict[str, list[Video]] = defaultdict(list)
    sources: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for export in exports:
        videos[export.video_id].append(export.video)
        sources[export.video_id].setdefault(export.content_digest, export.name)
    return [
        Task(
            key=f"track-{number:06d}",
            about=_exports_named(video_id, sources[video_id]),
            payload=TrackTask(
                files=files,
                sources=sources[video_id],
                rate=next((v.fps_declared for v in videos[video_id] if v.fps_declared), None),
                export_rate=next(
                    (v.target_fps_declared for v in videos[video_id] if v.target_fps_declared), None
                ),
                issues_path=join(staging, "issues", f"track-{number:06d}.parquet"),
                thresholds=config.thresholds,
            ),
        )
        for number, (video_id, files) in enumerate(_rows_by_video(index, touched))
    ]  # fmt: skip


def _exports_named(video_id: str, sources: Mapping[str, str]) -> str:
    """Name a video by its exports, for whoever has to look at them; the first three of many."""
    names = sorted(set(sources.values()))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"video {video_id}, of {', '.join(names[:3])}{more}"


def _rows_by_video(
    index: FrameIndex, wanted: set[str]
) -> Iterator[tuple[str, tuple[tuple[str, NDArray[np.int64]], ...]]]:
    """Where the rows of some videos lie, by row file; the index is sorted by video."""
    videos = pc.run_end_encode(index.table["video_id"].combine_chunks())
    names, stops = videos.values.to_pylist(), videos.run_ends.to_pylist()
    files, rows = (index.table[name].to_numpy().astype(np.int64) for name in ("file", "row"))
    for video_id, start, stop in zip(names, [0, *stops], stops, strict=False):
        if video_id in wanted:
            own = files[start:stop]
            yield (
                video_id,
                tuple(
                    (index.files[int(file)], rows[start:stop][own == file])
                    for file in np.unique(own)
                ),
            )


def _scanned(
    exports: Sequence[OpenedExport], staging: str, config: Config, work: Work, check_images: str
) -> list[ScanResult]:
    tasks = [
        _scan_task(export, place, number, staging, config, check_images=check_images)
        for place, export in enumerate(exports)
        for number in range(len(export.ranges))
    ]
    rescue = more_careful if config.validation == "standard" else None
    results: list[ScanResult] = work.run(
        scan_range, tasks, stage="scan", while_starting=True, rescue=rescue, unchanged=all_readable
    )
    return results


def _scan_task(
    export: OpenedExport,
    place: int,
    number: int,
    staging: str,
    config: Config,
    *,
    check_images: str,
) -> Task:
    key = f"scan-{place:05d}-{number:06d}"
    policy = Policy.of(config)
    reading = MaskReading(
        grid=export.grid, order=export.order, known_exporter=export.exporter_signature,
        max_grid_pixels=config.caps.max_grid_pixels,
        masklets=export.masklets is not None,
        box_px=config.thresholds.bbox_px,
        wrong_area_is_kept=policy.severity("mask_area_mismatch") is not Severity.ERROR,
        empty_is_hidden=policy.severity("mask_empty") is not Severity.ERROR,
    )  # fmt: skip
    return Task(
        key=key,
        about=f"{export.name}, range {number + 1} of {len(export.ranges)}",
        payload=ScanTask(
            range=export.ranges[number], source=export.name,
            export_digest=export.content_digest,
            video_id=export.video_id, video_size=export.video.size, reading=reading,
            check_images=check_images,
            rows_path=join(staging, "rows", f"{key}.parquet"),
            issues_path=join(staging, "issues", f"{key}.parquet"), masklets=export.masklets,
            label_map=config.names,
            policy=policy, black_level=config.thresholds.black_level,
        ),
    )  # fmt: skip
