"""The report of a run: for programs `validation.json` and `issues.jsonl`, for people `report.html`.

All three are made from one document, so that they cannot tell different stories. The page is one
file without a single request to anywhere: it is opened from a disk, mailed, attached to a ticket.
Labels and file names are user text; Jinja2 escapes everything that is put into the page, and the
page itself forbids every request and script. Its size is bounded, whatever the corpus.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from engine.config import SPLIT_NAMES, Config
from engine.findings import CODES
from engine.manifest import encode
from engine.quality import Verdict
from engine.records import OpenedExport
from engine.report_charts import (
    bytes_text,
    class_chart,
    count_text,
    frames_by_video,
    percent_text,
    points_text,
    shorten,
    split_rows,
)
from engine.storage import AtomicFile, FileDigest, join, write_bytes

__all__ = ["export_entry", "finding_lines", "render_page", "validation_document", "write_report"]


def validation_document(
    exports: Sequence[OpenedExport],
    verdict: Verdict,
    config: Config,
    *,
    images_checked: str | None = None,
    sources: Verdict | None = None,
    same_content: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Make the document behind validation.json.

    Args:
        exports: what was read.
        verdict: on what is published, or on the sources where nothing is.
        config: the thresholds in force.
        images_checked: how far images were read, where that is not as configured: a run that fails
            early has seen headers only.
        sources: the verdict on all that was read, where that is another one.
        same_content: videos that are one video under several names, as `Links.to_json` gives them.
    """
    whole = sources or verdict
    return {
        "status": verdict.status,
        "frames": verdict.frames,
        "objects": verdict.objects,
        "videos": verdict.videos,
        "class_counts": verdict.class_counts,
        "imbalance": verdict.imbalance,
        "findings": verdict.findings,
        "sources": {
            "status": whole.status,
            "frames": whole.frames,
            "objects": whole.objects,
            "findings": whole.findings if sources else [],
        },
        "policy": {
            "validation": config.validation,
            "imbalance_ratio": config.imbalance_ratio,
            "check_images": images_checked or config.check_images,
        },
        "exports": [export_entry(export) for export in exports],
        "same_content": list(same_content),
    }


def export_entry(export: OpenedExport) -> dict[str, Any]:
    """Say of one export what was declared, what was found, and by which evidence."""
    video = export.video
    return {
        "source": export.name,
        "video_id": export.video_id,
        "video": {
            "filename": video.filename,
            "width": video.width,
            "height": video.height,
            "fps_declared": video.fps_declared,
            "total_frames_declared": video.total_frames_declared,
            "duration_sec_declared": video.duration_sec_declared,
        },
        "frame_records": export.frame_records,
        "images": export.images,
        "image_bytes": export.image_bytes,
        "known_exporter": export.exporter_signature,
        "dialect": export.dialect,
    }


def finding_lines(document: Mapping[str, Any]) -> list[str]:
    """Give the findings of a report as one line each, errors first."""
    findings = document["sources"]["findings"] or document["findings"]
    return [f"{f['severity']} {f['code']}: {f['message']}" for f in findings]


def write_report(
    folder: str,
    document: Mapping[str, Any],
    split: Mapping[str, Any] | None,
    issues: pa.Table,
) -> list[FileDigest]:
    """Write the three files of a report.

    Args:
        folder: where they go.
        document: as `validation_document` makes it.
        split: what split.json holds; None where nothing was split.
        issues: every single one, of `ISSUE_SCHEMA`.

    Returns:
        Their digests, named as in OUT.
    """
    page = render_page(document, split).encode()
    return [
        write_bytes(
            join(folder, "validation.json"), encode(document), name="report/validation.json"
        ),
        _write_issues(join(folder, "issues.jsonl"), issues),
        write_bytes(join(folder, "report.html"), page, name="report/report.html"),
    ]


def _write_issues(path: str, issues: pa.Table) -> FileDigest:
    with AtomicFile(path, name="report/issues.jsonl") as sink:
        for batch in issues.to_batches(max_chunksize=10_000):
            lines = (
                orjson.dumps({"severity": str(CODES[row["code"]].severity), **row}) + b"\n"
                for row in batch.to_pylist()
            )
            sink.write(b"".join(lines))
    return sink.digest()


def render_page(document: Mapping[str, Any], split: Mapping[str, Any] | None) -> str:
    """Render the page for people.

    Args:
        document: as `validation_document` makes it.
        split: what split.json holds; None where nothing was split.
    """
    import jinja2  # only a run that writes a report pays for it

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "bytes": bytes_text, "by_video": frames_by_video, "count": count_text,
        "percent": percent_text, "points": points_text, "short": shorten,
    }  # fmt: skip
    template = (Path(__file__).parent / "report.html").read_text(encoding="utf-8")
    certificate = split.get("certificate") if split else None
    return environment.from_string(template).render(
        report=document,
        split=split,
        splits=split_rows(certificate, SPLIT_NAMES) if certificate else [],
        chart=class_chart(document["class_counts"], certificate, SPLIT_NAMES),
        sources_only=[f for f in document["sources"]["findings"] if f not in document["findings"]],
    )
