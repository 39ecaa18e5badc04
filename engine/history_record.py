"""What became of a dataset, version by version: the record in `summary.json`, and `history` of it.

`summary.json` is the one file that may differ between equal datasets, so times belong there. Each
publication takes the record of the version before and adds one entry. The record is as old as the
dataset or, for one that was prepared before there were records, begins with what its summary says.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine.config import Config
from engine.errors import RunError
from engine.locations import Location, location_of
from engine.manifest import read_manifest, read_summary, require_dataset
from engine.storage import join
from engine.version import VERSION

__all__ = ["Version", "history", "history_with", "read_version"]

_INPUT_KEYS = ("source", "video_id", "content_digest", "frame_records")


@dataclass(frozen=True, kw_only=True)
class Version:
    """The version that a run begins with.

    Args:
        summary: its `summary.json`.
        manifest: its `manifest.json`.
    """

    summary: Mapping[str, Any]
    manifest: Mapping[str, Any]

    @property
    def config(self) -> Mapping[str, Any]:
        """Its configuration."""
        config: Mapping[str, Any] = self.manifest["config"]
        return config


def read_version(out: str) -> Version:
    """Read what a run has to know of the version that it is to replace.

    Raises:
        RunError: a file of the dataset is missing, altered or unreadable.
    """
    return Version(summary=read_summary(out), manifest=read_manifest(out))


def history_with(
    held: Version | None,
    summary: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    command: str,
    finished: datetime,
    facts: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Give the record of a version: that of the one before, and one entry more.

    Args:
        held: the version before; None for a first one.
        summary: of the new version: status, total_samples, splits, classes, inputs.
        config: of the new version, as its manifest will hold it.
        command: the verb: prepare, split, add.
        finished: when, with its time zone; kept in UTC, to the second.
        facts: further keys, of the command's own; none of those below.

    Returns:
        Entries, oldest first: {"version" from 1, "command", "finished", "inputs": those that came
        with it, "samples" after it, "samples_added", "splits": rows after it, "splits_added",
        "classes_added", "classes_gone", "status", "options": values of the configuration that were
        changed, for the first version against the defaults, "sam2prep": the program's version}.
        Samples and rows that were added are differences: negative where it became less. What is
        not known of a version that was made before there were records is None.
    """
    before = [] if held is None else _record(held.summary)
    old: Mapping[str, Any] = {} if held is None else held.summary
    entry = _entry(
        len(before) + 1, old, summary, command=command, sam2prep=VERSION,
        finished=finished.astimezone(UTC).isoformat(timespec="seconds"),
        options=_changed(Config().to_json() | dict(held.config if held else {}), config),
    )  # fmt: skip
    return [*before, entry | dict(facts or {})]


def history(out: Location) -> dict[str, Any]:
    """Say which versions of a dataset there were, and what each added.

    Args:
        out: the dataset, a folder or URL that `prepare` wrote.

    Returns:
        {"out", "versions": the entries that `history_with` describes, oldest first}.

    Raises:
        OutputError: there is no finished dataset.
        RunError: its summary cannot be read, or was altered.
    """
    out = location_of(out, "out")
    require_dataset(out)
    try:
        return {"out": out, "versions": _record(read_summary(out))}
    except (KeyError, TypeError) as error:
        raise RunError(
            join(out, "summary.json"), "is not as it was written", advice=f"sam2prep verify {out}"
        ) from error


def _record(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The record that a summary holds, or the one entry that can be made of its other keys."""
    if "history" in summary:
        return [dict(entry) for entry in summary["history"]]
    unknown = dict.fromkeys(("command", "finished", "options", "sam2prep"))
    return [_entry(1, {}, summary, **unknown)]


def _entry(
    version: int, old: Mapping[str, Any], new: Mapping[str, Any], **known: Any
) -> dict[str, Any]:
    splits, splits_before = new["splits"], old.get("splits", {})
    classes, classes_before = set(new["classes"]), set(old.get("classes", ()))
    return {
        "version": version,
        "command": known["command"],
        "finished": known["finished"],
        "inputs": _came(old.get("inputs", ()), new["inputs"]),
        "samples": new["total_samples"],
        "samples_added": new["total_samples"] - old.get("total_samples", 0),
        "splits": dict(splits),
        "splits_added": {
            name: splits.get(name, 0) - splits_before.get(name, 0)
            for name in dict.fromkeys((*splits, *splits_before))
        },
        "classes_added": sorted(classes - classes_before),
        "classes_gone": sorted(classes_before - classes),
        "status": new["status"],
        "options": known["options"],
        "sam2prep": known["sam2prep"],
    }


def _came(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The inputs that are not among the old ones; two of the same content count as two."""
    left = Counter((entry["video_id"], entry["content_digest"]) for entry in old)
    came = []
    for entry in new:
        key = (entry["video_id"], entry["content_digest"])
        if left[key]:
            left[key] -= 1
        else:
            came.append({name: entry[name] for name in _INPUT_KEYS})
    return came


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Values that are new; of tables with the same keys, only the values that are."""
    changed: dict[str, Any] = {}
    for name, value in new.items():
        before = old.get(name)
        if before == value:
            continue
        if isinstance(before, Mapping) and isinstance(value, Mapping) and set(before) == set(value):
            changed[name] = _changed(before, value)
        else:
            changed[name] = value
    return changed
