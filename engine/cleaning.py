"""`clean`: remove what runs that died have left in a dataset's place, and nothing else.

What was decided is completed first: a dataset that only waits to be put in its place is no
leftover. Ours is what a run of ours has signed (`run.json`), and what lies in a place that a run of
ours made; in anybody else's folder nothing is touched, whatever it is called.
"""

from typing import Any

from engine.errors import OutputError
from engine.locations import Location, location_of
from engine.manifest import FOLDERS, LOCK, RUN, STAGING, OutState, owned, state_of
from engine.publication import complete, is_attempt, is_pending
from engine.storage import exists, join, list_files, remove, stored_bytes
from engine.writer_lock import locked

__all__ = ["clean"]

_REJECTED = "rejected"
_REPORT = "validation.json"


def clean(out: Location, *, rejected: bool = False) -> dict[str, Any]:
    """Remove the leftovers of runs that died.

    Args:
        out: a dataset, or a place where one was to be.
        rejected: remove the reports of refused additions as well.

    Returns:
        {"out", "completed": whether a publication was begun and is complete now, "removed":
        [{"path" relative to OUT, "bytes"}], "bytes": of all of them, "kept": names of reports of
        refused additions that are still there}.

    Raises:
        OutputError: there is nothing of this name.
        RunError: somebody is writing there, or the storage failed.
    """
    out = location_of(out, "out")
    if not exists(out):
        raise OutputError(out, "is not there", expected="a dataset, or an unfinished one")
    reports = _reports(out)
    removed: list[dict[str, Any]] = []
    completed = False
    if is_pending(out) or _leftovers(out) or (rejected and reports):
        unheld = _entry(out, LOCK) if exists(join(out, LOCK)) else None
        with locked(out, "sam2prep clean"):
            completed = complete(out)
            names = _leftovers(out, locked=True) + (reports if rejected else [])
            for name in names:
                removed.append(_entry(out, name))
                remove(join(out, name))
        if unheld is not None:  # nobody held it, or we would not be here; it went with our own
            removed.append(unheld)
    return {
        "out": out,
        "completed": completed,
        "removed": removed,
        "bytes": sum(entry["bytes"] for entry in removed),
        "kept": [] if rejected else reports,
    }


def _entry(out: str, name: str) -> dict[str, Any]:
    return {"path": name, "bytes": stored_bytes(join(out, name))}


def _leftovers(out: str, *, locked: bool = False) -> list[str]:
    """Name what runs that died have left: work in progress, halves of files, a lock."""
    ours = state_of(out) is not OutState.FOREIGN
    names = [STAGING] if exists(join(out, STAGING)) and (ours or exists(join(out, RUN))) else []
    if not ours:
        return names
    folders = owned(out) & set(FOLDERS)
    names += [
        name
        for name in list_files(out)
        if is_attempt(name) and (name.partition("/")[0] in folders or "/" not in name)
    ]
    return names if locked or not exists(join(out, LOCK)) else [*names, LOCK]


def _reports(out: str) -> list[str]:
    """Name the folders of refused additions: each holds the report that says why."""
    found = (name.split("/") for name in list_files(join(out, _REJECTED)))
    runs = {parts[0] for parts in found if len(parts) > 1 and parts[-1] == _REPORT}
    return [f"{_REJECTED}/{run}" for run in sorted(runs)]
