"""From sources to checked frames: open every export, settle names, scan every range, sum up.

This is what `prepare` and `validate` have in common. Everything here runs on the driver and holds
narrow columns only; the work is in the tasks it hands to the runner.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from engine import identity
from engine.config import Config
from engine.content_links import Links, find_links, looks_of_videos
from engine.errors import UsageError
from engine.existence import without_effect
from engine.findings import Severity
from engine.frame_index import FrameIndex, gather, merge_repeated
from engine.mask_check import MaskReading
from engine.policy import Policy
from engine.quality import Verdict, judge
from engine.records import ISSUE_SCHEMA, Issue, OpenedExport, Video, issue_table
from engine.sources import find_exports
from engine.stages import ScanResult, ScanTask, scan_range
from engine.storage import file_name, join
from engine.survey import OpenTask, is_unchanged, open_source
from engine.tables import read_table
from engine.tasks import Task
from engine.track_check import TrackTask, check_video
from engine.unfinished import settle_inputs
from engine.work import Work

__all__ = ["Intake", "find_sources", "take_in"]


# As many as the report shows: a picture of each of 5,000 exports would be 170 MB on the driver.
_DRAWN = 8


@dataclass(frozen=True, kw_only=True)
class Intake:
    """All exports of a run, checked.

    Args:
        exports: in an order that depends on their content alone.
        index: one row a frame; equal frames once.
        issues: a table of `ISSUE_SCHEMA`, in the order of exports and ranges, then of videos.
        frames_read: rows before equal ones were counted once.
        objects_read: object records declared in them.
        links: videos that are one video under several names, with the evidence.
    """

    exports: tuple[OpenedExport, ...]
    index: FrameIndex
    issues: pa.Table
    frames_read: int
    objects_read: int
    links: Links = field(default_factory=Links)

    @property
    def evidence_images(self) -> dict[str, bytes]:
        """Both readings of a frame's masks as a picture, by video id, of the first exports."""
        drawn = [(e.video_id, e.evidence_image) for e in self.exports if e.evidence_image]
        return dict(reversed(drawn[:_DRAWN]))  # of several of one video, the first

    def judge(self, config: Config) -> Verdict:
        """Sum everything up to findings and a status."""
        return judge(
            self.index.table, self.issues, config.imbalance_ratio,
            exports=len(self.exports), label_keys=len(config.label_map),
            exhaustive=len(set(config.exhaustive)), policy=Policy.of(config),
        )  # fmt: skip

    def with_issues(self, found: Sequence[Issue]) -> "Intake":
        """Give the same intake with what was found later."""
        return replace(self, issues=pa.concat_tables([self.issues, issue_table(list(found))]))


def find_sources(sources: Sequence[str]) -> list[str]:
    """Expand the SRC arguments to exports.

    Raises:
        UsageError: no source was given.
        ExportError: a source is not there.
    """
    if not sources:
        raise UsageError("SRC", "no export is given", expected="a ZIP, a folder or a glob of them")
    found = {export: None for source in sources for export in find_exports(source)}
    return list(found)


def take_in(
    sources: Sequence[str], staging: str, config: Config, work: Work, *, check_images: str
) -> Intake:
    """Open and check exports.

    Args:
        sources: single exports, as `find_sources` gives them.
        staging: folder for range, row and issue files.
        config: of the run.
        work: executes the tasks.
        check_images: "header" leaves the rest to whoever reads the images later; "structure" and
            "decode" read every image whole.

    Raises:
        ExportError: an export cannot be read.
        RunError: the run broke.
    """
    exports = _open(sources, staging, config, work)
    tasks = [
        _scan_task(export, place, number, staging, config, check_images=check_images)
        for place, export in enumerate(exports)
        for number in range(len(export.ranges))
    ]
    results = work.run(scan_range, tasks, stage="scan", while_starting=True)
    with work.timed("index"):
        everything = gather([result.rows_path for result in results])
        index, repeated = merge_repeated(everything)
    with work.timed("links"):
        links = find_links(looks_of_videos(exports), index.table)
    tracks = work.run(
        check_video,
        _track_tasks(exports, tasks, staging, config),
        stage="track",
        while_starting=True,
    )
    tables = [read_table(path) for path in [*(r.issues_path for r in results), *tracks]]
    own = [issue for export in exports for issue in export.issues]
    own += _unused_keys(config, results)
    own += [
        Issue(code="exhaustive_unused", source="", message=f"{label!r} is the label of no object")
        for label in without_effect(config.exhaustive, everything.table)
    ]
    issues = pa.concat_tables([issue_table([*own, *repeated]), *tables]).cast(ISSUE_SCHEMA)
    return Intake(
        exports=tuple(exports),
        index=index,
        issues=issues,
        frames_read=sum(result.frames for result in results),
        objects_read=everything.objects,
        links=links,
    )


def _open(sources: Sequence[str], staging: str, config: Config, work: Work) -> list[OpenedExport]:
    drawn = set(sorted(sources, key=lambda source: (file_name(source), source))[:_DRAWN])
    tasks = [
        Task(
            key=f"open-{place:05d}",
            payload=OpenTask.of(
                source, join(staging, "ranges", f"{place:05d}"), config, len(sources),
                frames_per_range=work.frames_per_range,
                draw="small" if source in drawn else "none",
            ),
        )
        for place, source in enumerate(sources)
    ]  # fmt: skip
    opened = work.run(open_source, tasks, stage="open", while_starting=True, unchanged=is_unchanged)
    found = [export for exports in opened for export in exports]
    if work.records is not None:
        settle_inputs(staging, _contents(sources, opened))
    exports = sorted(found, key=lambda e: (e.video_id, e.content_digest, e.source))
    _refuse_mixed_masklets(exports)
    return _settle_names(exports)


def _contents(sources: Sequence[str], opened: Sequence[Sequence[OpenedExport]]) -> dict[str, str]:
    """Digest what was read of each source, of clean frames too: ranges hold their CRCs."""
    return {
        source: hashlib.sha256(
            " ".join(
                part for e in exports for part in (e.content_digest, *(r.sha256 for r in e.ranges))
            ).encode()
        ).hexdigest()
        for source, exports in zip(sources, opened, strict=True)
    }


def _refuse_mixed_masklets(exports: Sequence[OpenedExport]) -> None:
    """Refuse manual and automatic masklets of one video: both count their objects from 0.

    Frames with both would give one object_id to two objects, and frames of either contradict.
    """
    kinds: dict[str, OpenedExport] = {}
    for export in exports:
        if export.masklets is None:
            continue
        other = kinds.setdefault(export.video_id, export)
        if other.masklets and other.masklets.kind != export.masklets.kind:
            raise UsageError(
                export.source, f"is of the same video as {other.source}",
                expected="either manual or automatic masklets of a video",
                advice="give one of them, for example 'FOLDER/*_manual.json'",
            )  # fmt: skip


def _settle_names(exports: list[OpenedExport]) -> list[OpenedExport]:
    """Tell exports of one video from different videos that share a name."""
    names = identity.resolve_names(
        [
            (e.video_id, e.content_digest, {look.frame_index: look.phash for look in e.looks})
            for e in exports
        ]
    )
    return [_renamed(export, name) for export, name in zip(exports, names, strict=True)]


def _renamed(export: OpenedExport, video_id: str) -> OpenedExport:
    """Give an export its final id, in what was found of it as well."""
    if video_id == export.video_id:
        return export
    issues = tuple(
        replace(
            issue, video_id=video_id,
            frame_id=issue.frame_id and video_id + issue.frame_id.removeprefix(export.video_id),
        )
        for issue in export.issues
    )  # fmt: skip
    return replace(export, video_id=video_id, issues=issues)


def _unused_keys(config: Config, results: Sequence[ScanResult]) -> list[Issue]:
    """Name the keys of the label map that no object goes by: they are likely misspelt."""
    used = {key for result in results for key in result.map_keys}
    return [
        Issue(code="label_map_unused", source="", message=f"{key!r} names no object")
        for key in sorted(set(config.label_map) - used)
    ]


def _track_tasks(
    exports: Sequence[OpenedExport], scans: Sequence[Task], staging: str, config: Config
) -> list[Task]:
    """One task a video, for a track goes on over the borders of ranges and of exports."""
    files: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    videos: defaultdict[str, list[Video]] = defaultdict(list)
    for scan in scans:
        files[scan.payload.video_id].append((scan.payload.rows_path, scan.payload.source))
    for export in exports:
        videos[export.video_id].append(export.video)
    return [
        Task(
            key=f"track-{number:06d}",
            payload=TrackTask(
                files=tuple(of_video),
                rate=next((v.fps_declared for v in videos[video_id] if v.fps_declared), None),
                export_rate=next(
                    (v.target_fps_declared for v in videos[video_id] if v.target_fps_declared), None
                ),
                issues_path=join(staging, "issues", f"track-{number:06d}.parquet"),
                thresholds=config.thresholds,
            ),
        )
        for number, (video_id, of_video) in enumerate(sorted(files.items()))
    ]  # fmt: skip


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
        payload=ScanTask(
            range=export.ranges[number], source=export.name,
            video_id=export.video_id, video_size=export.video.size, reading=reading,
            check_images=check_images,
            rows_path=join(staging, "rows", f"{key}.parquet"),
            issues_path=join(staging, "issues", f"{key}.parquet"), masklets=export.masklets,
            label_map=config.names,
            policy=policy, black_level=config.thresholds.black_level,
        ),
    )  # fmt: skip
