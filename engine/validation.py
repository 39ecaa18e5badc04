"""`validate` and `inspect`: look at exports without making a dataset of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engine.config import Config, Execution
from engine.content_links import find_links, looks_of_videos
from engine.errors import OutputError
from engine.intake import find_sources, take_in
from engine.manifest import OutState, state_of
from engine.report import export_entry, validation_document, write_report
from engine.storage import join, remove, temporary_folder
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
    sources: Sequence[str],
    report: str | None = None,
    config: Config | None = None,
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Check exports, images included; write nothing but a report.

    Args:
        sources: ZIPs, folders, globs or URLs of exports.
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
    config, execution = config or Config(), execution or Execution()
    exports = find_sources(sources)
    if report is not None and state_of(report) in (OutState.FINISHED, OutState.FAILED):
        raise OutputError(report, "holds a dataset's own report", advice="name another folder")
    with _scratch(report) as staging, start_work(execution, exports, progress) as work:
        intake = take_in(exports, staging, config, work, check_images=config.check_images)
        verdict = intake.judge(config)
        same_content = intake.links.to_json()
        document = validation_document(intake.exports, verdict, config, same_content=same_content)
        if report is not None:
            write_report(report, document, None, intake.issues)
        return document


def inspect(sources: Sequence[str], config: Config | None = None) -> dict[str, Any]:
    """Say what exports hold: video, frames, dialect, grid, order, and by which evidence.

    Args:
        sources: ZIPs, folders, globs or URLs of exports.
        config: `mask_order`, `frames`, `label` and `video_ids` matter; None: the defaults.

    Returns:
        {"exports": [...], "same_content": [...]}: one entry an export, in the order named; and the
        videos that are one under several names, as far as a sample of frames shows it.

    Raises:
        UsageError: wrong usage.
        ExportError: an export cannot be read.
    """
    config = config or Config()
    exports = find_sources(sources)
    with _scratch(None) as staging:
        tasks = [
            Task(
                key=f"open-{place:05d}",
                payload=OpenTask.of(source, join(staging, f"{place:05d}"), config, len(exports)),
            )
            for place, source in enumerate(exports)
        ]
        opened = LocalRunner().run(open_source, tasks, stage="open")
        every = [export for found in opened.values() for export in found]
        in_order = sorted(every, key=lambda e: (e.video_id, e.content_digest, e.source))
        return {
            "exports": [
                export_entry(export)
                | {"warnings": [f"{issue.code}: {issue.message}" for issue in export.issues]}
                for export in every
            ],
            "same_content": find_links(looks_of_videos(in_order), None).to_json(),
        }
