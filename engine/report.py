"""The report of a run: for programs `validation.json` and `issues.jsonl`, for people `report.html`.

All three are made from one document, so that they cannot tell different stories. The page is one
file without a single request to anywhere: it is opened from a disk, mailed, attached to a ticket.
Labels and file names are user text; Jinja2 escapes everything that is put into the page, and the
page itself forbids every request, and every script but that of `report.js`, which it names by its
digest. Its size is bounded, whatever the corpus.
"""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from engine.config import SPLIT_NAMES, Config
from engine.manifest import encode
from engine.policy import Policy
from engine.quality import Verdict, worst_first
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
from engine.report_figures import (
    area_histogram,
    evidence,
    example_parts,
    heat_map,
    objects_histogram,
    pairs,
    picture_address,
    places,
    stretches_path,
    track_marks,
    video_rows,
)
from engine.report_material import Material
from engine.report_texts import kinds, kinds_of_classes, told_sentence
from engine.storage import AtomicFile, FileDigest, join, write_bytes
from engine.summary_md import summary_markdown
from engine.thresholds import Thresholds

__all__ = [
    "SCHEMA_ID",
    "export_entry",
    "finding_lines",
    "render_page",
    "validation_document",
    "write_report",
]

SCHEMA_ID = "urn:sam2prep:validation:1"
"""Names `engine/validation.schema.json`, which comes with the package; the number rises when a
reader of the old one would fail."""

_FOLDER = Path(__file__).parent


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
        "$schema": SCHEMA_ID,
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
            "fail_on": sorted(config.fail_on),
            "warn_on": sorted(config.warn_on),
            "ignore": sorted(config.ignore),
            "thresholds": asdict(config.thresholds),
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
    """Give the findings of a report as one line each: errors, then warnings, then notes.

    Of each, first those of what is published; then, marked so, those of the sources only.
    """
    mark = " (in the sources)"
    marked = [(finding, "") for finding in document["findings"]]
    marked += [(finding, mark) for finding in _of_sources_only(document)]
    marked.sort(key=lambda each: worst_first(each[0]))
    return [f"{f['severity']} {f['code']}: {f['message']}{where}" for f, where in marked]


def _of_sources_only(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The findings of the sources that are not said of what is published, too."""
    told = {(f["code"], f["count"], tuple(f["frames"])) for f in document["findings"]}
    return [
        f
        for f in document["sources"]["findings"]
        if (f["code"], f["count"], tuple(f["frames"])) not in told
    ]


def write_report(
    folder: str,
    document: Mapping[str, Any],
    split: Mapping[str, Any] | None,
    issues: pa.Table,
    *,
    material: Material | None = None,
    weights: Mapping[str, Any] | None = None,
    texts: Mapping[str, Any] | None = None,
) -> list[FileDigest]:
    """Write the files of a report.

    Args:
        folder: where they go.
        document: as `validation_document` makes it.
        split: what split.json holds; None where nothing was split.
        issues: every single one, of `ISSUE_SCHEMA`.
        material: what the page shows beside it; None: it shows less.
        weights: of the rows to train on, as `balance.weights_document` makes them; None: none.
        texts: what the texts are worth, as `text_report.document` says it; None: there are none.

    Returns:
        Their digests, named as in OUT.
    """
    page = render_page(document, split, material, weights=weights, texts=texts).encode()
    files = {
        "validation.json": encode(document),
        "summary.md": summary_markdown(document, split).encode(),
        "report.html": page,
    }
    if weights is not None:  # in one line: indented, every number would have its own
        files["sampling_weights.json"] = orjson.dumps(weights, option=orjson.OPT_APPEND_NEWLINE)
    written = [
        write_bytes(join(folder, name), data, name=f"report/{name}") for name, data in files.items()
    ]
    return [*written, _write_issues(join(folder, "issues.jsonl"), issues, _policy_of(document))]


def _policy_of(document: Mapping[str, Any]) -> Policy:
    policy = document["policy"]
    return Policy(**{name: tuple(policy[name]) for name in ("fail_on", "warn_on", "ignore")})


def _write_issues(path: str, issues: pa.Table, policy: Policy) -> FileDigest:
    with AtomicFile(path, name="report/issues.jsonl") as sink:
        for batch in issues.to_batches(max_chunksize=10_000):
            lines = (
                orjson.dumps({"severity": str(policy.severity(row["code"])), **row}) + b"\n"
                for row in batch.to_pylist()
            )
            sink.write(b"".join(lines))
    return sink.digest()


def render_page(
    document: Mapping[str, Any],
    split: Mapping[str, Any] | None,
    material: Material | None = None,
    *,
    weights: Mapping[str, Any] | None = None,
    texts: Mapping[str, Any] | None = None,
) -> str:
    """Render the page for people.

    Args:
        document: as `validation_document` makes it.
        split: what split.json holds; None where nothing was split.
        material: figures, timelines and pictures; None: the page goes without.
        weights: as for `write_report`.
        texts: as for `write_report`.
    """
    certificate = split.get("certificate") if split else None
    proofs, proofs_omitted = evidence(material)
    style, script = (_part(name) for name in ("report.css", "report.js"))
    page: str = _template().render(
        report=document,
        split=split,
        splits=split_rows(certificate, SPLIT_NAMES) if certificate else [],
        chart=class_chart(document["class_counts"], certificate, SPLIT_NAMES),
        published={f["code"] for f in document["findings"]},
        sources_only=_of_sources_only(document),
        material=material,
        places=places(material),
        proofs=proofs,
        proofs_omitted=proofs_omitted,
        orders={each["video_id"]: each["dialect"]["order"] for each in document["exports"]},
        weighted=weights["classes"] if weights else None,
        texts=texts,
        thresholds=_thresholds(document["policy"]["thresholds"]),
        css=style,
        script=script,
        script_digest=_digest(script),
    )
    return page


@cache
def _template() -> Any:
    """The page's template; compiling it takes longer than rendering the page of a small run."""
    import jinja2  # only a run that writes a report pays for it

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(_FOLDER),
    )  # fmt: skip
    environment.filters |= {
        "address": picture_address, "area_histogram": area_histogram, "bytes": bytes_text,
        "by_video": frames_by_video, "count": count_text, "example_parts": example_parts,
        "heat_map": heat_map, "kinds": kinds, "kinds_of_classes": kinds_of_classes,
        "objects_histogram": objects_histogram, "pairs": pairs, "percent": percent_text,
        "points": points_text, "short": shorten, "stretches": stretches_path,
        "told_sentence": told_sentence, "track_marks": track_marks, "video_rows": video_rows,
    }  # fmt: skip
    return environment.get_template("report.html")


def _thresholds(held: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """Name, value and default of each threshold in force."""
    usual = asdict(Thresholds())
    return [(name, value, usual[name]) for name, value in sorted(held.items())]


def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """Name a script as a content security policy does (CSP Level 3, section 2.3.1)."""
    return "sha256-" + b64encode(hashlib.sha256(script.encode()).digest()).decode()
