"""From issues and tallies to findings, status and gate.

An `Issue` is one problem at one place; a finding is all issues of one code in one sentence, with a
recommendation. The status follows from the severities alone: one error fails, one warning marks.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.balance import class_advice, missing_instances
from engine.findings import CODES, Severity, sentence
from engine.label_text import clean_label
from engine.policy import Policy
from engine.records import Issue, issue_table
from engine.visible import visible

__all__ = [
    "Verdict",
    "count_labels",
    "findings_of",
    "imbalance_of",
    "is_placeholder",
    "judge",
    "label_issues",
    "status_of",
    "worst_first",
]

# The contract's bound on ids in validation.json; all of them are in issues.jsonl.
_FRAMES_LISTED = 1000
_EXAMPLES = 5
_LABELS_NAMED, _LABEL = 20, 60
_POLICY = Policy()
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the checks of some frames came to.

    Args:
        status: PASSED, PASSED_WITH_WARNINGS or FAILED.
        findings: as validation.json holds them, errors first.
        class_counts: visible instances by label.
        imbalance: largest class against smallest; None with fewer than two classes.
        frames: looked at.
        objects: object records looked at, hidden ones too.
        videos: number of different videos.
    """

    status: str
    findings: list[dict[str, Any]]
    class_counts: dict[str, int]
    imbalance: dict[str, Any] | None
    frames: int
    objects: int
    videos: int


def judge(
    frames: pa.Table,
    issues: pa.Table,
    imbalance_ratio: float,
    extra: Sequence[Issue] = (),
    *,
    exports: int,
    label_keys: int = 0,
    exhaustive: int = 0,
    policy: Policy = _POLICY,
) -> Verdict:
    """Sum frames and issues up to findings and a status.

    Args:
        frames: narrow columns of `FRAME_SCHEMA`: video_id, labels, objects_declared.
        issues: of `ISSUE_SCHEMA`, found in these frames.
        imbalance_ratio: from which an imbalance is severe.
        extra: issues that are not in the table.
        exports: how many they come from, empty ones too; not those that could not be opened.
        label_keys: number of keys of the label map.
        exhaustive: number of labels declared exhaustive.
        policy: the severities in force.
    """
    class_counts = count_labels(frames["labels"])
    imbalance = imbalance_of(class_counts, imbalance_ratio)
    if imbalance is not None and imbalance["severe"]:
        imbalance["classes"] = class_advice(frames, class_counts, imbalance)
    videos = len(pc.unique(frames["video_id"]))
    objects = pc.sum(frames["objects_declared"]).as_py() or 0
    found = pa.concat_tables([issue_table([*label_issues(class_counts), *extra]), issues])
    failed, aside, closed, left_out = (
        pc.sum(pc.equal(found["code"], code)).as_py() or 0
        for code in ("frames_not_exported", "quarantined", "export_crashed", "export_left_out")
    )
    units = {
        "frame": len(frames), "frame listed": len(frames) + failed,
        "frame sound or not": len(frames) + aside, "object": objects,
        "video": videos, "label": len(class_counts), "export": exports + closed + left_out,
        "key": label_keys,
        "declared label": exhaustive,
    }  # fmt: skip
    findings = findings_of(found, units, class_counts, imbalance, policy)
    return Verdict(
        status=status_of(findings),
        findings=findings,
        class_counts=class_counts,
        imbalance=imbalance,
        frames=len(frames),
        objects=objects,
        videos=videos,
    )


def count_labels(labels: pa.ChunkedArray) -> dict[str, int]:
    """Count the instances of each label.

    Args:
        labels: list<string>, one list a frame.

    Returns:
        Instances by label, sorted by label.
    """
    counted = pc.value_counts(pc.list_flatten(labels))
    values, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    return dict(sorted(zip(values, counts, strict=True)))


def worst_first(finding: Mapping[str, Any]) -> int:
    """Give what findings are sorted by: errors, then warnings, then notes."""
    return _ORDER[Severity(finding["severity"])]


def is_placeholder(label: str) -> bool:
    """Say whether nobody named the object, as by the exporter's own `object_<id>`."""
    return not clean_label(label)


def label_issues(class_counts: Mapping[str, int]) -> list[Issue]:
    """Find labels that name nothing, and labels that differ in writing only or read the same."""
    issues = [
        Issue(code="label_placeholder", source="", message=f"{label}: {count} objects")
        for label, count in sorted(class_counts.items())
        if is_placeholder(label)
    ]
    first: dict[str, str] = {}
    for label in sorted(class_counts):
        ways = [_folded(label), _folded(clean_label(label) or label)]
        before = next((first[way] for way in ways if way in first), None)
        if before is not None:
            issues.append(
                Issue(code="label_variants", source="", message=f"{label!r} beside {before!r}")
            )
        for way in ways:
            first.setdefault(way, before or label)
    return issues


def _folded(label: str) -> str:
    return "".join(unicodedata.normalize("NFKC", label).casefold().split())


def imbalance_of(class_counts: Mapping[str, int], threshold: float) -> dict[str, Any] | None:
    """Compare the largest class with the smallest.

    Args:
        class_counts: instances by label.
        threshold: the ratio from which an imbalance is severe.

    Returns:
        Ratio, classes and whether it is severe; None where there are not two classes.
    """
    if len(class_counts) < 2:
        return None
    # Ties go to the first by name, so that the sentence does not depend on the order of reading.
    largest = min(class_counts, key=lambda label: (-class_counts[label], label))
    smallest = min(class_counts, key=lambda label: (class_counts[label], label))
    ratio = class_counts[largest] / class_counts[smallest]
    return {
        "largest": largest,
        "smallest": smallest,
        "ratio": ratio,
        "threshold": threshold,
        "severe": class_counts[largest] >= threshold * class_counts[smallest],
        "minority": [
            label for label in sorted(class_counts)
            if class_counts[largest] >= threshold * class_counts[label]
        ],
    }  # fmt: skip


def findings_of(
    issues: pa.Table,
    totals: Mapping[str, int],
    class_counts: Mapping[str, int],
    imbalance: Mapping[str, Any] | None,
    policy: Policy = _POLICY,
) -> list[dict[str, Any]]:
    """Sum issues up to findings, errors first.

    Args:
        issues: of `ISSUE_SCHEMA`.
        totals: how many units of each kind were looked at ("frame", "object", "video", "label").
        class_counts: instances by label.
        imbalance: as `imbalance_of` gives it.
        policy: the severities in force.

    Returns:
        Findings as validation.json holds them.
    """
    findings = [
        _finding(code, issues.filter(pc.equal(issues["code"], code)), totals, policy)
        for code in sorted(set(pc.unique(issues["code"]).to_pylist()))
    ]
    if imbalance is not None and imbalance["severe"]:
        findings.append(_imbalance_finding(imbalance, class_counts, policy))
    return sorted(findings, key=lambda f: (worst_first(f), f["code"]))


def _finding(
    code: str, rows: pa.Table, totals: Mapping[str, int], policy: Policy
) -> dict[str, Any]:
    known = CODES[code]
    frames = sorted(set(rows["frame_id"].drop_null().to_pylist()))
    videos = sorted(set(rows["video_id"].drop_null().to_pylist()))
    # One frame or video may have several issues of a code that counts frames or videos.
    count = len(rows)
    for unit, column, names in (("frame", "frame_id", frames), ("video", "video_id", videos)):
        if known.unit.startswith(unit):
            count = len(names) + rows[column].null_count
    total = max(totals.get(known.unit, 0), count)
    return {
        "code": code,
        "severity": str(policy.severity(code)),
        "severity_by_default": str(known.severity),
        "message": sentence(code, count, total),
        "count": count,
        "fraction": count / total if total else 0.0,
        "frames": frames[:_FRAMES_LISTED],
        "videos": videos[:_FRAMES_LISTED],
        "examples": [_example(row) for row in rows.slice(0, _EXAMPLES).to_pylist()],
        "recommendation": known.recommendation,
    }


def _example(row: Mapping[str, Any]) -> str:
    place = row["frame_id"] or row["video_id"] or row["source"]
    if row["object_id"] is not None:
        place = f"{place}, object {row['object_id']}"
    return f"{place}: {row['message']}" if place else str(row["message"])


def _imbalance_finding(
    imbalance: Mapping[str, Any], class_counts: Mapping[str, int], policy: Policy
) -> dict[str, Any]:
    largest, smallest = imbalance["largest"], imbalance["smallest"]
    few = sorted(imbalance["minority"], key=lambda label: (class_counts[label], label))
    threshold = imbalance["threshold"]
    needs = ", ".join(
        f"{visible(label, _LABEL)} ({class_counts[label]}): "
        f"{missing_instances(class_counts[largest], class_counts[label], threshold)} more"
        for label in few[:_LABELS_NAMED]
    )
    rest = f" and {len(few) - _LABELS_NAMED} more classes" if len(few) > _LABELS_NAMED else ""
    return {
        "code": "class_imbalance",
        "severity": str(policy.severity("class_imbalance")),
        "severity_by_default": str(CODES["class_imbalance"].severity),
        "message": sentence(
            "class_imbalance", 1, len(class_counts),
            detail=f"{visible(largest, _LABEL)}/{visible(smallest, _LABEL)} = "
            f"{imbalance['ratio']:.1f}:1",
        ),
        "count": len(imbalance["minority"]),
        "fraction": len(imbalance["minority"]) / len(class_counts),
        "frames": [],
        "videos": [],
        "examples": [],
        "recommendation": f"{CODES['class_imbalance'].recommendation} Minority classes, and how "
        f"many instances each is short of a ratio below {threshold:g}:1: {needs}{rest}; the "
        f"largest, {visible(largest, _LABEL)}, has {class_counts[largest]}. Weights for a sampler "
        "are in report/sampling_weights.json of a dataset.",
    }  # fmt: skip


def status_of(findings: Sequence[Mapping[str, Any]]) -> str:
    """Give PASSED, PASSED_WITH_WARNINGS or FAILED; notes do not count."""
    severities = {finding["severity"] for finding in findings}
    if Severity.ERROR in severities:
        return "FAILED"
    return "PASSED_WITH_WARNINGS" if Severity.WARNING in severities else "PASSED"
