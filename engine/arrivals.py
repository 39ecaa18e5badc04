"""Exports opened, and their videos named: the same names whatever the order of the sources.

Names that a dataset has given already stay: a newcomer that shares one and shows another scene is
told apart by a suffix.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

from engine import identity
from engine.choices import of_kind
from engine.config import Config
from engine.errors import UsageError
from engine.locations import Location, location_of
from engine.records import Issue, OpenedExport
from engine.sources import find_exports
from engine.storage import file_name, join
from engine.survey import OpenTask, give_up, is_unchanged, open_source
from engine.tasks import Task
from engine.unfinished import settle_inputs
from engine.work import Work

__all__ = ["DRAWN", "find_sources", "in_precedence", "open_exports", "still_drawn"]

DRAWN = 8
"""Exports with a picture, as many as the report shows: of 5,000 they would be 170 MB."""


def find_sources(sources: Location | Sequence[Location]) -> list[str]:
    """Expand the SRC arguments to exports; one may come without a list around it.

    Raises:
        UsageError: no source was given, or what is none, or a URL that cannot be opened or holds
            credentials.
        ExportError: a source is not there.
    """
    if not sources:
        raise UsageError("SRC", "no export is given", expected="a ZIP, a folder or a glob of them")
    several = [sources] if isinstance(sources, str | os.PathLike) else sources
    of_kind("SRC", several, Iterable, "a path, a URL, or a list of them")
    named = [location_of(source, "SRC") for source in several]
    found = {export: None for source in named for export in find_exports(source)}
    return list(found)


def in_precedence(exports: Iterable[OpenedExport]) -> list[OpenedExport]:
    """Put exports in an order that depends on their content alone: by name, then by digest."""
    return sorted(exports, key=lambda e: (e.named_id, e.content_digest, e.source))


def open_exports(
    sources: Sequence[str],
    staging: str,
    config: Config,
    work: Work,
    before: Sequence[OpenedExport],
) -> tuple[list[OpenedExport], list[Issue]]:
    """Open exports and settle what their videos are called.

    Args:
        sources: single exports, as `find_sources` gives them.
        staging: folder for range files.
        config: of the run.
        work: executes the tasks.
        before: exports that a dataset holds already; their names stay.

    Returns:
        The newly opened, in an order that depends on their content alone; and what is to be said of
        those that crash whoever opens them, which a standard validation leaves out.

    Raises:
        ExportError: an export cannot be read.
        RunError: the run broke.
        UsageError: two sources contradict each other.
    """
    drawn = _drawn(sources, before)
    tasks = [
        Task(
            key=f"open-{place:05d}",
            about=file_name(source),
            payload=OpenTask.of(
                source, join(staging, "ranges", f"{place:05d}"), config, len(sources),
                frames_per_range=work.frames_per_range,
                draw="small" if _container(source) in drawn else "none",
            ),
        )
        for place, source in enumerate(sources)
    ]  # fmt: skip
    opened = work.run(
        open_source, tasks, stage="open", while_starting=True, unchanged=is_unchanged,
        rescue=give_up if config.validation == "standard" else None,
    )  # fmt: skip
    if work.records is not None:
        settle_inputs(staging, _contents(sources, opened))
    found = in_precedence(export for exports in opened for export in exports)
    _refuse_mixed_masklets([*before, *found])
    return _settle_names(found, before), [
        Issue(
            code="export_crashed", source=file_name(source),
            message=f"{file_name(source)}: a worker died each time it opened it",
        )
        for source, exports in zip(sources, opened, strict=True)
        if not exports
    ]  # fmt: skip


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


def still_drawn(before: Sequence[OpenedExport], sources: Sequence[str]) -> tuple[OpenedExport, ...]:
    """Give the exports of a dataset without the pictures that give way to those of newcomers.

    Args:
        before: exports that a dataset holds already.
        sources: single exports that come to it.
    """
    drawn = _drawn(sources, before)
    return tuple(
        export if _container(export.source) in drawn else replace(export, evidence_image=None)
        for export in before
    )


def _drawn(sources: Sequence[str], before: Sequence[OpenedExport]) -> set[str]:
    """Choose whose evidence is drawn: the same, in however many steps the exports come."""
    known = {_container(place) for place in (*sources, *(export.source for export in before))}
    return set(sorted(known, key=lambda place: (file_name(place), place))[:DRAWN])


def _container(source: str) -> str:
    """The ZIP of several exports, of each of which the address goes on behind its own."""
    head, found, _ = source.partition(".zip/")
    return f"{head}.zip" if found else source


def _refuse_mixed_masklets(exports: Sequence[OpenedExport]) -> None:
    """Refuse manual and automatic masklets of one video: both count their objects from 0.

    Frames with both would give one object_id to two objects, and frames of either contradict.
    """
    kinds: dict[str, OpenedExport] = {}
    for export in exports:
        if export.masklets is None:
            continue
        other = kinds.setdefault(export.named_id, export)
        if other.masklets and other.masklets.kind != export.masklets.kind:
            raise UsageError(
                export.source, f"is of the same video as {other.source}",
                expected="either manual or automatic masklets of a video",
                advice="give one of them, for example 'FOLDER/*_manual.json'",
            )  # fmt: skip


def _settle_names(
    found: Sequence[OpenedExport], before: Sequence[OpenedExport]
) -> list[OpenedExport]:
    """Tell exports of one video from different videos that share a name."""
    names = identity.resolve_names(
        [
            (e.named_id, e.content_digest, {look.frame_index: look.phash for look in e.looks})
            for e in (*before, *found)
        ],
        settled={export.content_digest: export.video_id for export in before},
    )
    return [
        _renamed(export, name) for export, name in zip(found, names[len(before) :], strict=True)
    ]


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
