"""From what was built to what is published: report, cards, summary, manifest.

The same for a first run and for one that makes a dataset anew out of what it holds: a run ends in a
dataset or in a report that says why there is none, and both are put in their place by
`engine.publication`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from engine.aside import set_aside
from engine.card import card_text
from engine.config import Config
from engine.dataset_build import Built
from engine.export_file import write_exports
from engine.hf_columns import columns_with
from engine.history_record import Version, history_with
from engine.intake import Intake
from engine.manifest import FOLDERS, REJECTED, encode, make_manifest, sealed
from engine.policy import Policy
from engine.publication import publish
from engine.quality import Verdict
from engine.report import finding_lines, validation_document, write_report
from engine.report_gather import gather_material
from engine.root_card import CARD_NAME, content_digest, root_card
from engine.storage import FileDigest, join, list_files, remove, write_bytes
from engine.tables import read_table
from engine.work import Work

__all__ = ["Outcome"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where a run's results go, and by what they were made.

    Args:
        out: the dataset's place.
        staging: folder below it in which it grows.
        config: of the run.
        work: executes the tasks.
        command: the verb that makes it, for the record.
        held: the version that OUT holds; None where it is to be the first.
        facts: what else the record is to say of this run.
        run_id: of a run that may be refused: its report goes to `OUT/rejected/<run_id>`.
    """

    out: str
    staging: str
    config: Config
    work: Work
    command: str
    held: Version | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = ""

    def publish_failure(
        self,
        intake: Intake,
        verdict: Verdict,
        *,
        images_checked: str | None = None,
        sources: Verdict | None = None,
    ) -> dict[str, Any]:
        """Leave the report of a failed run, and no dataset; one that is there stays as it was.

        Args:
            intake: what was read.
            verdict: why there is none.
            images_checked: how far images were read, where that is not as configured.
            sources: the verdict on all that was read, where that is another one.

        Returns:
            The summary.
        """
        document = validation_document(
            intake.exports, verdict, self.config, images_checked=images_checked, sources=sources,
            same_content=intake.links.to_json(),
        )  # fmt: skip
        material = gather_material(
            intake.index, intake.issues, document, self.work,
            evidence_images=intake.evidence_images,
        )  # fmt: skip
        folder = self.staging
        if self.held is not None:
            folder = join(self.out, REJECTED, self.run_id)
            remove(folder)
        write_report(join(folder, "report"), document, None, intake.issues, material=material)
        summary = self._summary(intake, document, None)
        # Without any, it would be no help to set frames aside.
        aside = set_aside(intake, Policy.of(self.config))
        summary["frames_without_errors"] = len(aside) - int(aside.sum())
        if self.held is not None:
            summary["report"] = join(folder, "report")
            summary["contradictions"] = intake.contradictions
        summary = sealed(summary)
        write_bytes(join(folder, "summary.json"), encode(summary))
        if self.held is None:
            publish(self.out, ("report", "summary.json"))
        else:
            remove(self.staging)
        return summary

    def publish(
        self, intake: Intake, sources: Verdict, built: Built, published: Verdict
    ) -> dict[str, Any]:
        """Put the dataset in its place, the manifest last.

        Args:
            intake: what was read, with all that was found.
            sources: the verdict on it.
            built: the dataset in staging.
            published: the verdict on that.

        Returns:
            The summary.
        """
        document = validation_document(
            intake.exports, published, self.config, sources=sources,
            same_content=intake.links.to_json(),
        )  # fmt: skip
        material = gather_material(
            intake.index, intake.issues, document, self.work, kept=built.kept,
            evidence_images=intake.evidence_images, jpeg=not self.config.keeps_images,
        )  # fmt: skip
        with self.work.timed("commit"):
            files = [*built.files, write_exports(self.staging, intake.exports)]
            files += self._write_cards(document, built)
            files += write_report(
                join(self.staging, "report"), document, built.split, intake.issues,
                material=material, weights=built.weights, texts=built.texts,
            )  # fmt: skip
            split = encode(built.split)
            files.append(write_bytes(join(self.staging, "split.json"), split, name="split.json"))
        if self.work.resumed is not None:
            self._remove_unnamed(files)
        summary = self._summary(intake, document, built)
        record = history_with(
            self.held, summary, self.config.to_json(),
            command=self.command, finished=datetime.now(UTC), facts=self.facts,
        )  # fmt: skip
        summary = sealed(summary | {"history": record})
        write_bytes(join(self.staging, "summary.json"), encode(summary))
        manifest = make_manifest(
            inputs=_inputs(intake),
            config=self.config.to_json(),
            status=published.status,
            samples=built.samples,
            files=files,
        )
        write_bytes(join(self.staging, "manifest.json"), encode(manifest))
        publish(self.out, joins=built.joins)
        return summary

    def _remove_unnamed(self, files: Sequence[FileDigest]) -> None:
        """Remove what an earlier attempt has written and this one had no use for."""
        named = {file.path for file in files}
        staged = set(list_files(join(self.staging, "digests")))
        for file in files:  # what a dataset on an object store holds is not staged
            if file.path.startswith("digests/") and file.path.removeprefix("digests/") in staged:
                table = read_table(join(self.staging, file.path), ["path"])
                named.update(table["path"].to_pylist())
        for folder in FOLDERS:
            for name in list_files(join(self.staging, folder)):
                if f"{folder}/{name}" not in named:
                    remove(join(self.staging, folder, name))

    def _write_cards(self, document: Mapping[str, Any], built: Built) -> list[FileDigest]:
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
            text = card_text(
                document, built.split, columns, stored, content=content,
                movable=self.config.images != "path",
            )  # fmt: skip
            cards["hf/README.md"] = text.encode()
        return [
            write_bytes(join(self.staging, name), text, name=name)
            for name, text in cards.items()
            if text is not None
        ]

    def _summary(
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
            "texts": built.texts if built else None,
            "findings": finding_lines(document),
            "inputs": [
                entry | {"path": export.source}
                for entry, export in zip(_inputs(intake), intake.exports, strict=True)
            ],
            "out": self.out,
            "runner": self.work.runner_name,
            "resumed": self.work.resumed,
            "timings": seconds | {"total": round(self.work.elapsed(), 3)},
            "stages": self.work.times.to_json(),
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
