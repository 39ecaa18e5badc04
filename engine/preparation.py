"""`prepare`: the whole way from exports to a dataset, and its commit.

Everything is written below `OUT/.staging`, the manifest too, and published when all of it is there
(`engine.publication`). Whatever dies before that leaves OUT as it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from engine.card import card_text
from engine.config import Config, Execution
from engine.dataset_build import Built, build
from engine.errors import ExportError, OutputError, RunError
from engine.hf_columns import columns_with
from engine.intake import Intake, find_sources, take_in
from engine.manifest import (
    STAGING,
    OutState,
    encode,
    make_manifest,
    read_json,
    read_manifest,
    sealed,
    state_of,
)
from engine.publication import complete, is_pending, publish
from engine.quality import Verdict
from engine.report import finding_lines, validation_document, write_report
from engine.report_gather import gather_material
from engine.root_card import CARD_NAME, content_digest, root_card
from engine.storage import (
    FileDigest,
    join,
    make_dirs,
    remove,
    topmost_missing,
    write_bytes,
)
from engine.survey import digests_of
from engine.work import Progress, Work, start_work

__all__ = ["prepare"]


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
    complete(out)
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
    staging = join(out, STAGING)
    try:
        remove(staging)
        make_dirs(staging)
        yield staging
    except OSError as error:
        place = f"{out}: {error.filename}" if error.filename else out
        raise RunError(place, f"the run broke: {error.strerror or error}") from error
    finally:
        if not is_pending(out):
            remove(staging)
        if made is not None and state_of(out) is OutState.EMPTY:
            remove(made)


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
        built = build(intake, self.staging, self.out, config, self.work)
        if built.issues:  # found while the images were read: the sources' verdict is made again
            intake = intake.with_issues(built.issues)
            verdict = intake.judge(config)
        if verdict.status == "FAILED" and (built.samples == 0 or config.validation == "strict"):
            return self.publish_failure(intake, verdict)
        if built.samples == 0:  # only where nothing was there and a policy says that is no error
            raise ExportError("SRC", "no frame is left to make a dataset of")
        intake = intake.with_issues(built.leaks)  # of the dataset, not of the sources
        published = built.judge(intake, config)
        if published.status == "FAILED":  # by what no frame can be set aside for
            return self.publish_failure(intake, published, sources=verdict)
        return self.publish(intake, verdict, built, published)

    def publish_failure(
        self,
        intake: Intake,
        verdict: Verdict,
        *,
        images_checked: str | None = None,
        sources: Verdict | None = None,
    ) -> dict[str, Any]:
        """Leave the report of a failed run, and no dataset."""
        document = validation_document(
            intake.exports, verdict, self.config, images_checked=images_checked, sources=sources,
            same_content=intake.links.to_json(),
        )  # fmt: skip
        material = gather_material(
            intake.index, intake.issues, document, self.work,
            evidence_images=intake.evidence_images,
        )  # fmt: skip
        write_report(join(self.staging, "report"), document, None, intake.issues, material=material)
        summary = self.summary(intake, document, None)
        write_bytes(join(self.staging, "summary.json"), encode(summary))
        publish(self.out, ("report", "summary.json"))
        return summary

    def publish(
        self, intake: Intake, sources: Verdict, built: Built, published: Verdict
    ) -> dict[str, Any]:
        """Put the dataset in its place, the manifest last."""
        document = validation_document(
            intake.exports, published, self.config, sources=sources,
            same_content=intake.links.to_json(),
        )  # fmt: skip
        material = gather_material(
            intake.index, intake.issues, document, self.work, kept=built.kept,
            evidence_images=intake.evidence_images,
        )  # fmt: skip
        with self.work.timed("commit"):
            files = [*built.files, *self.write_cards(document, built)]
            files += write_report(
                join(self.staging, "report"), document, built.split, intake.issues,
                material=material, weights=built.weights,
            )  # fmt: skip
            split = encode(built.split)
            files.append(write_bytes(join(self.staging, "split.json"), split, name="split.json"))
        summary = self.summary(intake, document, built)
        write_bytes(join(self.staging, "summary.json"), encode(summary))
        manifest = make_manifest(
            inputs=_inputs(intake),
            config=self.config.to_json(),
            status=published.status,
            samples=built.samples,
            files=files,
        )
        write_bytes(join(self.staging, "manifest.json"), encode(manifest))
        publish(self.out)
        return summary

    def write_cards(self, document: Mapping[str, Any], built: Built) -> list[FileDigest]:
        """Write what a hub shows of the dataset: a card for OUT, and one for the hf folder."""
        sizes = built.split["sizes"]
        cards = {CARD_NAME: root_card(self.config.formats, sizes, built.files)}
        if "hf" in self.config.formats:
            stored = {name: 0 for name, rows in sizes.items() if rows}
            for file in built.files:
                folder, _, rest = file.path.partition("/")
                name = rest.partition("/")[0]
                if folder == "hf" and name in stored and rest.endswith(".arrow"):
                    stored[name] += file.size_bytes
            columns = columns_with(self.config.hf_image_column)
            content = content_digest("hf", built.files)
            text = card_text(document, built.split, columns, stored, content=content)
            cards["hf/README.md"] = text.encode()
        return [
            write_bytes(join(self.staging, name), text, name=name)
            for name, text in cards.items()
            if text is not None
        ]

    def summary(
        self, intake: Intake, document: Mapping[str, Any], built: Built | None
    ) -> dict[str, Any]:
        """What a person wants to know at the end; the only file with times and places."""
        seconds = {stage: round(value, 3) for stage, value in self.work.seconds.items()}
        summary = {
            "status": document["status"],
            "sources_status": document["sources"]["status"],
            "total_samples": built.samples if built else 0,
            "classes": sorted(document["class_counts"]),
            "class_counts": document["class_counts"],
            "splits": built.split["sizes"] if built else {},
            "accounting": built.accounting if built else None,
            "texts": built.texts if built else None,
            "findings": finding_lines(document),
            "inputs": [
                entry | {"path": export.source}
                for entry, export in zip(_inputs(intake), intake.exports, strict=True)
            ],
            "out": self.out,
            "runner": self.work.runner_name,
            "timings": seconds | {"total": round(self.work.elapsed(), 3)},
        }
        return sealed(summary)


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
