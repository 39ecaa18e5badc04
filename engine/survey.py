"""Opening an export: what holds for the whole video, settled before its first row exists.

One pass cuts the annotations into ranges; then a sample of 12 to 16 frames is looked at, to find
by evidence which grid the masks are on, in which order their runs go, and whether they are painted
on the frames. The evidence is kept: the report and `inspect` show why.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from engine import dialect, identity
from engine.caps import Caps
from engine.clean_frames import clean_frames, export_stem, from_zero
from engine.config import Config, Execution
from engine.evidence_frames import (
    choose_evidence,
    evidence_images,
)
from engine.export import CutExport, cut_export, is_known_exporter, read_metadata, read_video
from engine.looks import take_looks
from engine.measures import note_findings
from engine.members import Members, content_digest, with_crcs
from engine.pairing import ImageIndex
from engine.records import Issue, OpenedExport, Video
from engine.sav_listing import list_exports
from engine.storage import file_name, join
from engine.thresholds import Thresholds
from engine.used_frames import measure_paint, paint_figures, pictures_differ
from engine.video_dialect import VideoDialect, find_dialect

__all__ = ["OpenTask", "digests_of", "give_up", "is_unchanged", "open_export", "open_source"]

_DEFAULT_CAPS = Caps()


@dataclass(frozen=True, kw_only=True)
class OpenTask:
    """One export to be opened.

    Args:
        source: its place, a path or an fsspec URL.
        staging: folder for its range files.
        frames_per_range: frame records a range.
        mask_order: the user's word, or "auto".
        frames: place of clean frames to use instead of its own; None: its own.
        sources: number of exports of the run; clean frames directly in `frames` serve one only.
        video_id: name given by hand.
        caps: limits beyond which the export is refused.
        video_ids: all names given by hand, for a source that holds several exports.
        label: of objects that have none in the export (SA-V).
        painted_share: of a boundary that is in the overlay's colour, from which masks are painted.
        box_px: a declared box may be off by so much on each side.
        draw: the evidence as a picture: none, a small JPEG, or a PNG with the figures.
        given_up: it has killed workers, and is left closed.
    """

    source: str
    staging: str
    frames_per_range: int
    mask_order: Literal["auto", "row", "column"]
    frames: str | None
    sources: int
    video_id: str | None
    caps: Caps = field(default_factory=Caps)
    video_ids: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None
    painted_share: float = Thresholds.painted_share
    box_px: float = Thresholds.bbox_px
    draw: Literal["none", "small", "full"] = "none"
    given_up: bool = False

    @classmethod
    def of(
        cls,
        source: str,
        staging: str,
        config: Config,
        sources: int,
        *,
        frames_per_range: int = Execution.frames_per_range,
        draw: Literal["none", "small", "full"] = "none",
    ) -> "OpenTask":
        """Make the task for one source of a run of `sources` exports."""
        names = config.video_ids
        return cls(
            source=source,
            staging=staging,
            frames_per_range=frames_per_range,
            mask_order=config.mask_order,
            frames=config.frames,
            sources=sources,
            video_id=names.get(source) or names.get(file_name(source)),
            caps=config.caps,
            video_ids=names,
            label=config.label,
            painted_share=config.thresholds.painted_share,
            box_px=config.thresholds.bbox_px,
            draw=draw,
        )

    def of_one(self, members: Members, number: int, several: int) -> "OpenTask":
        """Make the task for one of several exports in the source, called by its own address."""
        source = join(self.source, members.root + members.annotations)
        return replace(
            self,
            source=source,
            staging=join(self.staging, f"{number:05d}"),
            sources=self.sources + several - 1,
            draw=self.draw if number == 0 or self.draw == "full" else "none",
            video_id=self.video_ids.get(source) or self.video_ids.get(members.annotations),
        )


def open_source(task: OpenTask) -> list[OpenedExport]:
    """Open what a source holds: one export, or several SA-V videos in one ZIP; given up, none.

    Raises:
        ExportError: it cannot be read.
    """
    if task.given_up:
        return []
    found = list_exports(task.source, caps=task.caps)
    if len(found) == 1:
        return [open_export(task, found[0])]
    return [
        open_export(task.of_one(members, number, len(found)), members)
        for number, members in enumerate(found)
    ]


def open_export(task: OpenTask, listed: Members | None = None) -> OpenedExport:
    """Open an export: cut its records into ranges, and find its dialect.

    Args:
        task: what to open.
        listed: its files; None: those of the only export in the source.

    Raises:
        ExportError: it cannot be read.
    """
    members = with_crcs(listed or list_exports(task.source, caps=task.caps)[0])
    metadata = read_metadata(members, caps=task.caps)
    cut, own_cut, image_source = _cut(task, members, metadata)
    video = read_video(cut.head, metadata, task.source)
    signature = is_known_exporter(metadata)
    frames = choose_evidence(own_cut)
    own = evidence_images(members.location, frames, own_cut.pictured)
    found = find_dialect(
        frames, own, mask_order=task.mask_order, box_px=task.box_px, video_size=video.size,
        signature=signature,
    )  # fmt: skip
    found = replace(found, masklets=cut.masklets, painted=found.shows_paint(task.painted_share))
    video_id = task.video_id or _id_of(video, task.source)
    decoded = {i: e.pixels for i, e in own.items() if e.pixels is not None and not e.jpeg}
    looks = take_looks(image_source, cut.pictured, decoded if task.frames is None else {})
    if task.frames is None:
        of_images = _own_paint(found)
    else:
        paint = measure_paint(frames, cut, image_source, found.samples_grid)
        differ = pictures_differ(
            (members.location, own_cut), (image_source, cut), decoded=decoded, looks=looks
        )
        of_images = _given_issues(task, found, paint, differ)
    issues = tuple(_video_issues(task, video_id, cut, metadata, found, of_images=of_images))
    note_findings(issue.code for issue in issues)
    return OpenedExport(
        source=task.source,
        video=video,
        video_id=video_id,
        named_id=video_id,
        content_digest=content_digest(members.values()),
        exporter_signature=signature,
        frame_records=len(cut.frame_indices),
        ranges=cut.ranges,
        grid=found.grid.size if found.grid else None,
        order=found.decision.order,
        dialect=found.to_json(),
        issues=issues,
        image_bytes=cut.image_bytes,
        images=cut.images,
        masklets=cut.masklets,
        evidence_image=found.drawing(task.draw),
        looks=looks,
    )


def _cut(
    task: OpenTask, members: Members, metadata: Mapping[str, Any]
) -> tuple[CutExport, CutExport, str]:
    """Cut the records for the images that are used, and for its own; say where the first lie."""
    own_images = ImageIndex.of(members.values())
    cut_by = partial(
        cut_export, members, frames_per_range=task.frames_per_range, caps=task.caps,
        label=task.label,
    )  # fmt: skip
    if task.frames is None:
        cut = cut_by(own_images, image_source=members.location, staging=task.staging)
        return cut, cut, members.location
    clean, place = clean_frames(
        task.frames, task.source, read_video({}, metadata, task.source).filename, task.sources,
        caps=task.caps,
    )  # fmt: skip
    # They may be all frames of the video: those that no record names are no part of the export.
    cut_clean = partial(cut_by, image_source=place, staging=task.staging, keep_orphans=False)
    cut = cut_clean(clean)
    declared = read_video(cut.head, metadata, task.source).total_frames_declared
    moved = from_zero(clean, cut.frame_indices, declared) if cut.masklets is None else None
    if moved is not None:
        cut = replace(cut_clean(moved[0]), renumbered=moved[1])
    # The evidence is in the images that the masks were drawn for, even where others are used.
    own = cut_by(own_images, image_source=members.location, staging=join(task.staging, "own"))
    return cut, own, place


def _id_of(video: Video, source: str) -> str:
    return identity.video_id(
        filename=video.filename or export_stem(source),
        width=video.width,
        height=video.height,
        total_frames=video.total_frames_declared,
        duration_sec=video.duration_sec_declared,
    )


def _video_issues(
    task: OpenTask,
    video_id: str,
    cut: CutExport,
    metadata: Mapping[str, Any],
    found: VideoDialect,
    *,
    of_images: Sequence[tuple[str, str]],
) -> Iterator[Issue]:
    """Yield what is to be said of the video as a whole; `of_images`: code and message."""

    def issue(code: str, message: str, frame_index: int | None = None) -> Issue:
        frame_id = None if frame_index is None else f"{video_id}/{frame_index:06d}"
        return Issue(
            code=code, source=file_name(task.source), video_id=video_id, frame_id=frame_id,
            frame_index=frame_index, message=message,
        )  # fmt: skip

    if not cut.ranges:
        images = "there are no images" if task.frames is None else "no image is used"
        yield issue("export_empty", f"annotations is an empty list, and {images}")
    if cut.by_position:
        yield issue("images_paired_by_position", "no image name holds the index of a frame")
    if cut.renumbered:
        yield issue("images_paired_by_position", cut.renumbered)
    if cut.between:
        yield issue("images_between_frames", f"{cut.between} images are not used")
    for code, message in of_images:
        yield issue(code, message)
    if found.decision.by == "unproven" and found.notations:
        yield issue("mask_order_unproven", found.decision.sentence)
    if found.decision.contradicts:
        yield issue("mask_order_contradicted", found.decision.sentence)
    for index in _not_exported(cut, metadata):
        yield issue("frames_not_exported", "listed in frame_indices, without a record", index)


def _own_paint(found: VideoDialect) -> list[tuple[str, str]]:
    """Say whether the export's own images are painted: code and message."""
    if not found.painted or found.evidence is None:
        return []
    return [("overlay_burned_in", paint_figures(found.evidence))]


def _given_issues(
    task: OpenTask, found: VideoDialect, paint: dialect.Evidence | None, differ: str | None
) -> list[tuple[str, str]]:
    """Say what is wrong with the frames given with --frames: code and message of each."""
    issues = []
    if paint is not None and dialect.painted(paint, task.painted_share):
        message = f"the frames given with --frames: {paint_figures(paint)}"
        issues.append(("overlay_burned_in", message))
    if differ is not None:
        issues.append(("frames_differ", differ))
    return issues


def _not_exported(cut: CutExport, metadata: Mapping[str, Any]) -> list[int]:
    """Frames that the exporter meant to write: a frame that failed is listed and has no record."""
    for document in (cut.head, metadata):
        configured = document.get("export_config")
        listed = configured.get("frame_indices") if isinstance(configured, Mapping) else None
        if isinstance(listed, list):
            whole = {i for i in listed if isinstance(i, int) and not isinstance(i, bool) and i >= 0}
            return sorted(whole - cut.meant - set(cut.frame_indices))
    return []


def is_unchanged(task: OpenTask, opened: Sequence[OpenedExport]) -> bool:
    """Say whether a source still holds what was opened; clean frames are never taken on trust.

    Raises:
        ExportError: it cannot be read.
    """
    held = [export.content_digest for export in opened]
    return task.frames is None and digests_of(task.source, caps=task.caps) == held


def give_up(task: OpenTask) -> OpenTask | None:
    """Leave a source closed that has killed workers; None if it was closed already."""
    return None if task.given_up else replace(task, given_up=True)


def digests_of(source: str, *, caps: Caps = _DEFAULT_CAPS) -> list[str]:
    """Digest the content of every export in a source: names, sizes and CRCs of its members.

    Raises:
        ExportError: it cannot be read.
    """
    found = list_exports(source, caps=caps)
    return [content_digest(with_crcs(members).values()) for members in found]
