"""`prepare`: the whole way from exports to a dataset, and its commit.

The order of the commit is the promise of the format: everything is written below `OUT/.staging`,
each folder is put in its place when all of it is there, and `manifest.json` comes last. Whatever
dies before that leaves no dataset, and no half of one.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from engine.config import Config, Execution
from engine.dataset_build import Built, build
from engine.errors import OutputError, RunError
from engine.intake import Intake, find_sources, take_in
from engine.manifest import OutState, encode, make_manifest, read_json, read_manifest, state_of
from engine.quality import Verdict
from engine.report import finding_lines, validation_document, write_report
from engine.storage import (
    exists,
    join,
    make_dirs,
    move_tree,
    remove,
    topmost_missing,
    write_bytes,
)
from engine.survey import digests_of
from engine.work import Progress, Work, start_work

__all__ = ["prepare"]

_STAGING = ".staging"
_FOLDERS = ("hf", "quarantine", "report", "index")


def prepare(
    sources: Sequence[str],
    out: str,
    config: Config | None = None,
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Read exports, check them, split them and write a dataset.

    Args:
        sources: ZIPs, folders, globs or URLs of exports.
        out: folder or URL for the dataset; empty, not there, or a failed or unfinished run's.
        config: what to make; None: the defaults.
        execution: how to run it; None: the defaults.
        progress: told of every task that is done.

    Returns:
        The summary, as `summary.json` holds it. Its `status` is FAILED, and nothing but the report
        was published, if the checks found errors that the configuration does not set aside.

    Raises:
        UsageError: wrong usage, or `out` holds something else.
        ExportError: an export cannot be read.
        RunError: the run broke; nothing of it is left in `out`.
    """
    config, execution = config or Config(), execution or Execution()
    exports = find_sources(sources)
    state = state_of(out)
    if state is OutState.FOREIGN:
        raise OutputError(
            out, "holds something that is no prepared dataset",
            advice="name a folder that is empty or not there yet",
        )  # fmt: skip
    if state is OutState.FINISHED:
        return _already_there(exports, out, config)
    with _staging(out) as staging, start_work(execution, exports, progress) as work:
        return _Run(out=out, staging=staging, config=config, work=work).start(exports)


@contextmanager
def _staging(out: str) -> Iterator[str]:
    """A place for work in progress that is gone afterwards, whatever happens."""
    made = topmost_missing(out)
    staging = join(out, _STAGING)
    try:
        remove(staging)
        make_dirs(staging)
        yield staging
    except OSError as error:
        place = f"{out}: {error.filename}" if error.filename else out
        raise RunError(place, f"the run broke: {error.strerror or error}") from error
    finally:
        remove(staging)
        if made is not None and state_of(out) is OutState.EMPTY:
            remove(made)


@contextmanager
def _all_or_nothing(out: str) -> Iterator[None]:
    """Withdraw everything put into OUT if the block is left before its end, however."""
    done = False
    try:
        yield
        done = True
    finally:
        if not done:
            _clear(out)


def _clear(out: str) -> None:
    """Remove what a run publishes, the manifest first: without it nothing counts as a dataset."""
    for part in ("manifest.json", "summary.json", "split.json", *_FOLDERS):
        remove(join(out, part))


def _already_there(exports: Sequence[str], out: str, config: Config) -> dict[str, Any]:
    manifest = read_manifest(out)
    given = sorted(digest for export in exports for digest in digests_of(export, caps=config.caps))
    held = sorted(entry["content_digest"] for entry in manifest["inputs"])
    if given == held and manifest["config"] == config.to_json():
        return read_json(join(out, "summary.json")) | {"nothing_to_do": True}
    raise OutputError(
        out,
        f"holds {manifest['samples']} samples",
        advice=f"use: sam2prep add {out} ... (from version 0.2 on; until then name another folder)",
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One run on its way: where it works, and what it was asked."""

    out: str
    staging: str
    config: Config
    work: Work

    def start(self, exports: Sequence[str]) -> dict[str, Any]:
        """Go all the way, or to a report only."""
        config = self.config
        intake = take_in(exports, self.staging, config, self.work, check_images="header")
        verdict = intake.judge(config)
        if verdict.status == "FAILED" and config.validation == "strict":
            return self.publish_failure(intake, verdict, images_checked="header")
        built = build(intake, self.staging, config, self.work)
        if built.issues:  # found while the images were read: the sources' verdict is made again
            intake = intake.with_issues(built.issues)
            verdict = intake.judge(config)
        if built.samples == 0 or (verdict.status == "FAILED" and config.validation == "strict"):
            return self.publish_failure(intake, verdict)
        return self.publish(intake, verdict, built)

    def publish_failure(
        self, intake: Intake, verdict: Verdict, *, images_checked: str | None = None
    ) -> dict[str, Any]:
        """Leave the report of a failed run, and no dataset."""
        document = validation_document(
            intake.exports, verdict, self.config, images_checked=images_checked,
            same_content=intake.links.to_json(),
        )  # fmt: skip
        write_report(join(self.staging, "report"), document, None, intake.issues)
        summary = self.summary(intake, document, None)
        with _all_or_nothing(self.out):
            _clear(self.out)
            move_tree(join(self.staging, "report"), join(self.out, "report"))
            write_bytes(join(self.out, "summary.json"), encode(summary))
        return summary

    def publish(self, intake: Intake, sources: Verdict, built: Built) -> dict[str, Any]:
        """Put the dataset in its place, the manifest last."""
        with _all_or_nothing(self.out):
            return self._publish(intake, sources, built)

    def _publish(self, intake: Intake, sources: Verdict, built: Built) -> dict[str, Any]:
        published = built.judge(intake, self.config)
        document = validation_document(
            intake.exports, published, self.config, sources=sources,
            same_content=intake.links.to_json(),
        )  # fmt: skip
        with self.work.timed("commit"):
            files = [*built.files]
            files += write_report(
                join(self.staging, "report"), document, built.split, intake.issues
            )
            _clear(self.out)
            for folder in _FOLDERS:
                if exists(join(self.staging, folder)):
                    move_tree(join(self.staging, folder), join(self.out, folder))
            split = encode(built.split)
            files.append(write_bytes(join(self.out, "split.json"), split, name="split.json"))
        summary = self.summary(intake, document, built)
        write_bytes(join(self.out, "summary.json"), encode(summary))
        manifest = make_manifest(
            inputs=_inputs(intake),
            config=self.config.to_json(),
            status=published.status,
            samples=built.samples,
            files=files,
        )
        write_bytes(join(self.out, "manifest.json"), encode(manifest))
        return summary

    def summary(
        self, intake: Intake, document: Mapping[str, Any], built: Built | None
    ) -> dict[str, Any]:
        """What a person wants to know at the end; the only file with times and places."""
        seconds = {stage: round(value, 3) for stage, value in self.work.seconds.items()}
        return {
            "status": document["status"],
            "sources_status": document["sources"]["status"],
            "total_samples": built.samples if built else 0,
            "classes": sorted(document["class_counts"]),
            "class_counts": document["class_counts"],
            "splits": built.split["sizes"] if built else {},
            "accounting": built.accounting if built else None,
            "findings": finding_lines(document),
            "inputs": [
                entry | {"path": export.source}
                for entry, export in zip(_inputs(intake), intake.exports, strict=True)
            ],
            "out": self.out,
            "runner": self.work.runner_name,
            "timings": seconds | {"total": round(self.work.elapsed(), 3)},
        }


def _inputs(intake: Intake) -> list[dict[str, Any]]:
    return [
        {
            "source": export.name,
            "video_id": export.video_id,
            "frame_records": export.frame_records,
            "content_digest": export.content_digest,
        }
        for export in intake.exports
    ]
