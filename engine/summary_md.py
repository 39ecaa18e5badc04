"""`report/summary.md`: the report in a screenful, for the comment under a pull request.

The same document as the page and validation.json. All user text goes through `visible.markdown`,
and every list is bounded: GitHub takes comments of 65,536 characters at most, GitLab job summaries
of a megabyte.
"""

from collections.abc import Mapping
from typing import Any

from engine.visible import markdown

__all__ = ["summary_markdown"]

_FINDINGS, _CLASSES, _EXPORTS, _EXAMPLES, _LINKS = 50, 30, 20, 3, 10
_SENTENCE, _ADVICE = 400, 700


def summary_markdown(document: Mapping[str, Any], split: Mapping[str, Any] | None) -> str:
    """Write the summary.

    Args:
        document: as validation.json holds it.
        split: what split.json holds; None where nothing was split.

    Returns:
        Markdown as GitHub and GitLab read it, below 60,000 characters.
    """
    sources = document["sources"]
    lines = [f"# sam2prep: {document['status']}", ""]
    lines.append(
        f"Frames: {document['frames']:,}; objects: {document['objects']:,}; "
        f"videos: {document['videos']:,}; classes: {len(document['class_counts']):,}."
    )
    gone = _gone(document, split)
    if gone:
        lines += [
            "",
            f"The sources are {sources['status']} ({sources['frames']:,} frames); this is said of "
            f"what is left without the {gone}.",
        ]
    lines += _to_do(document)
    lines += _findings("Findings", document["findings"])
    if gone:
        lines += _findings("Findings in the sources", sources["findings"])
    lines += _splits(split) + _classes(document) + _exports(document)
    lines += _same_content(document["same_content"]) + _policy(document["policy"])
    return "\n".join(lines) + "\n"


def _gone(document: Mapping[str, Any], split: Mapping[str, Any] | None) -> str:
    """Name what the sources hold and the dataset does not; "" where both are the same.

    That the findings differ does not say so: `split_leakage` is of the dataset alone.
    """
    sources = document["sources"]
    if not sources["findings"]:
        return ""
    cut = sum(split["excluded"].values()) if split is not None else 0
    frames = sources["frames"] - document["frames"]
    ways = ["set aside"] * (frames > cut) + ["left out by the split"] * (cut > 0)
    if frames:
        return f"frames that were {' or '.join(ways)}"
    left = {finding["code"] for finding in document["findings"]}
    closed = any(finding["code"] not in left for finding in sources["findings"])
    return "exports of which no frame came" if closed else ""


def _to_do(document: Mapping[str, Any]) -> list[str]:
    """Say what to do, of what fails the run first."""
    found = [f for f in document["findings"] if f["severity"] != "note"][:10]
    if not found:
        return []
    return ["", "## What to do", ""] + [
        f"{number}. **{f['severity']}** `{f['code']}`: {markdown(f['recommendation'], _ADVICE)}"
        for number, f in enumerate(found, start=1)
    ]


def _findings(title: str, findings: list[dict[str, Any]]) -> list[str]:
    if not findings:
        return ["", f"## {title}", "", "None."]
    lines = [
        "",
        f"## {title}",
        "",
        "| severity | code | finding | for example |",
        "|---|---|---|---|",
    ]
    for f in findings[:_FINDINGS]:
        severity = f["severity"]
        if f["severity"] != f["severity_by_default"]:
            severity += f" (by default {f['severity_by_default']})"
        examples = "<br>".join(markdown(text, 120) for text in f["examples"][:_EXAMPLES])
        lines.append(
            f"| {severity} | `{f['code']}` | {markdown(f['message'], _SENTENCE)} | {examples} |"
        )
    if len(findings) > _FINDINGS:
        lines += ["", f"and {len(findings) - _FINDINGS} more kinds of findings"]
    return lines


def _splits(split: Mapping[str, Any] | None) -> list[str]:
    if split is None:
        return []
    total = sum(split["sizes"].values()) or 1
    lines = ["", "## Splits", "", f"Strategy {split['strategy']}, seed {split['seed']}.", ""]
    lines += ["| split | frames | share | wanted |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {size:,} | {size / total:.1%} | {split['ratios'][name]:.1%} |"
        for name, size in split["sizes"].items()
    ]
    said = [_deviation("Largest deviation of a class", split.get("certificate"))]
    if "folds" in split:
        folds = f"In {split['folds']['count']} folds"
        said.append(_deviation(folds, split["folds"]["certificate"]))
    said += [f"Left out ({name}): {n:,}." for name, n in split["excluded"].items()]
    said = list(filter(None, said))
    return [*lines, "", " ".join(said)] if said else lines


def _deviation(what: str, certificate: Mapping[str, Any] | None) -> str:
    if certificate is None or certificate["max_deviation_class"] is None:
        return ""
    points = certificate["max_deviation_points"]
    return f"{what}: {points:.1f} points ({markdown(certificate['max_deviation_class'], 60)})."


def _classes(document: Mapping[str, Any]) -> list[str]:
    counts = sorted(document["class_counts"].items(), key=lambda item: (-item[1], item[0]))
    if not counts:
        return []
    lines = ["", "## Classes", "", "| label | instances |", "|---|---|"]
    lines += [f"| {markdown(label, 60)} | {count:,} |" for label, count in counts[:_CLASSES]]
    if len(counts) > _CLASSES:
        lines += ["", f"and {len(counts) - _CLASSES:,} more classes"]
    return lines


def _exports(document: Mapping[str, Any]) -> list[str]:
    exports = document["exports"]
    lines = [
        "",
        "## Exports",
        "",
        "| export | frame records | images | masks read |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {markdown(e['source'], 80)} | {e['frame_records']:,} | {e['images']:,} | "
        f"{markdown(e['dialect']['order_sentence'], 160)} |"
        for e in exports[:_EXPORTS]
    ]
    if len(exports) > _EXPORTS:
        lines += ["", f"and {len(exports) - _EXPORTS:,} more exports"]
    return lines


def _same_content(links: list[dict[str, Any]]) -> list[str]:
    if not links:
        return []
    lines = ["", "## One video under several names", ""]
    lines += ["| videos | equal images | sampled frames alike |", "|---|---|---|"]
    lines += [
        f"| {' and '.join(markdown(video, 80) for video in link['videos'])} | "
        f"{link['equal_images']:,} | {link['alike_frames']:,} of {min(link['sampled_frames']):,} |"
        for link in links[:_LINKS]
    ]
    if len(links) > _LINKS:
        lines += ["", f"and more: {len(links) - _LINKS:,}"]
    return lines


def _policy(policy: Mapping[str, Any]) -> list[str]:
    words = [f"validation {policy['validation']}", f"images {policy['check_images']}"]
    words += [
        f"{name}: {', '.join(f'`{code}`' for code in policy[name])}"
        for name in ("fail_on", "warn_on", "ignore")
        if policy[name]
    ]
    return ["", f"Policy: {'; '.join(words)}."]
