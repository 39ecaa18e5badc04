"""`validate` and `inspect`: look at exports without making a dataset of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engine.arrivals import find_sources
from engine.config import Config, Execution, records_of
from engine.content_links import find_links, looks_of_videos
from engine.errors import OutputError
from engine.intake import take_in
from engine.locations import Location, location_of
from engine.manifest import RUN, OutState, state_of
from engine.records import OpenedExport
from engine.report import export_entry, validation_document, write_report
from engine.report_gather import gather_material
from engine.storage import exists, join, remove, temporary_folder, write_bytes
from engine.survey import OpenTask, open_source
from engine.tasks import LocalRunner, Task
from engine.work import Progress, start_work

__all__ = ["inspect", "validate"]


@contextmanager
def _scratch(beside: str | None) -> Iterator[str]:
    """A folder for work in progress: beside the report, where workers of a cluster can see it."""
    folder = join(beside, ".staging") if beside else temporary_folder("sam2prep-")
    try:
        yield folder
    finally:
        remove(folder)


def validate(
    sources: Location | Sequence[Location],
    report: Location | None = None,
    config: Config | None = None,
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Check exports, images included; write nothing but a report.

    Args:
        sources: ZIPs, folders, globs or URLs of exports, or one of them.
        report: folder for the report; None: no report is written.
        config: thresholds; None: the defaults.
        execution: how to run it; None: the defaults.
        progress: told of every task that is done.

    Returns:
        The document that validation.json holds.

    Raises:
        UsageError: wrong usage.
        ExportError: an export cannot be read.
        RunError: the run broke.
    """
    config, execution = records_of(config, execution)
    report = None if report is None else location_of(report, "report")
    exports = find_sources(sources)
    if report is not None and state_of(report) in (
        OutState.FINISHED,
        OutState.FAILED,
        OutState.PENDING,
    ):
        raise OutputError(report, "holds a dataset's own report", advice="name another folder")
    if report is not None and exists(join(report, RUN)):
        raise OutputError(report, "holds an unfinished run", advice="name another folder")
    with (
        _scratch(report) as staging,
        start_work(execution, exports, progress, places=[staging, config.frames]) as work,
    ):
        intake = take_in(exports, staging, config, work, check_images=config.check_images)
        verdict = intake.judge(config)
        same_content = intake.links.to_json()
        document = validation_document(intake.exports, verdict, config, same_content=same_content)
        if report is not None:
            material = gather_material(
                intake.index, intake.issues, document, work, evidence_images=intake.evidence_images
            )
            write_report(report, document, None, intake.issues, material=material)
        return document


def inspect(
    sources: Location | Sequence[Location],
    config: Config | None = None,
    draw: Location | None = None,
) -> dict[str, Any]:
    """Say what exports hold: video, frames, dialect, grid, order, and by which evidence.

    Args:
        sources: ZIPs, folders, globs or URLs of exports, or one of them.
        config: `mask_order`, `frames`, `label` and `video_ids` matter; None: the defaults.
        draw: folder for a PNG of each export, a frame's masks read by row and by column; its
            entry has the file's name as `drawing`, or None where there was nothing to draw.

    Returns:
        {"exports": [...], "same_content": [...]}: one entry an export, in the order named; and the
        videos that are one under several names, as far as a sample of frames shows it.

    Raises:
        UsageError: wrong usage.
        ExportError: an export cannot be read.
    """
    config, _ = records_of(config)
    draw = None if draw is None else location_of(draw, "draw")
    exports = find_sources(sources)
    with _scratch(None) as staging:
        tasks = [
            Task(
                key=f"open-{place:05d}",
                payload=OpenTask.of(
                    source,
                    join(staging, f"{place:05d}"),
                    config,
                    len(exports),
                    draw="none" if draw is None else "full",
                ),
            )
            for place, source in enumerate(exports)
        ]
        results = LocalRunner().run(open_source, tasks, stage="open")
    opened = [export for found in results.values() for export in found]
    entries = [
        export_entry(export)
        | {"warnings": [f"{issue.code}: {issue.message}" for issue in export.issues]}
        for export in opened
    ]
    if draw is not None:
        for entry, name in zip(entries, _write_drawings(draw, opened), strict=True):
            entry["drawing"] = name
    in_order = sorted(opened, key=lambda e: (e.video_id, e.content_digest, e.source))
    links = find_links(looks_of_videos(in_order), None)
    return {"exports": entries, "same_content": links.to_json()}


def _write_drawings(folder: str, opened: Sequence[OpenedExport]) -> list[str | None]:
    """Write the pictures, one a video; of several exports of one video the later get a number."""
    names: list[str | None] = []
    for export in opened:
        if export.evidence_image is None:
            names.append(None)
            continue
        name, number = f"{export.video_id}.png", 1
        while name in names:
            number += 1
            name = f"{export.video_id}-{number}.png"
        write_bytes(join(folder, name), export.evidence_image)
        names.append(name)
    return names
