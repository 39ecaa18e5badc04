"""`verify`: is a prepared dataset still what its manifest says, and consistent in itself?

Two passes, both in tasks. Every file is read and compared by size and SHA-256: that finds any
altered byte. Then every row of the index is checked by arithmetic and compared with its shard: that
finds what was wrong from the start, whoever wrote it. Between them, shards that name their images
by full paths are asked whether these lead to where the dataset is. `manifest.json` and
`summary.json` are in no list of files; they carry their own digests.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from engine.byte_ranges import sha256_of
from engine.config import SPLIT_NAMES, Execution, records_of
from engine.errors import RunError
from engine.image_paths import named_elsewhere, shards_with_paths
from engine.locations import Location, location_of
from engine.manifest import (
    LOCK,
    REJECTED,
    STAGING,
    OutState,
    is_whole,
    read_json,
    read_manifest,
    state_of,
)
from engine.row_checks import SHARED_COLUMNS, differing_rows, row_problems
from engine.storage import absolute, join, list_files, read_bytes
from engine.tables import read_stream, read_table
from engine.tasks import Task
from engine.work import Progress, start_work

__all__ = ["verify"]

_TASK_BYTES = 256 * 2**20
_TASK_FILES = 2000
# What readers leave behind: `datasets` puts the results of map and filter beside the shards.
_OF_READERS = re.compile(r"(?:^|/)(?:cache-[^/]*\.arrow|tmp[^/]*)$")

_NOT_OF_IT = (f"{STAGING}/", f"{REJECTED}/")

_Problem = tuple[str, str]  # file, what is wrong with it


@dataclass(frozen=True, kw_only=True)
class _FilesTask:
    """Files to be read and compared: name, size in bytes, sha256."""

    out: str
    files: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, kw_only=True)
class _DigestsTask:
    """A table of further files, each with its size and digest."""

    out: str
    name: str


@dataclass(frozen=True, kw_only=True)
class _PlacesTask:
    """Shards of `hf` that name their images by path."""

    out: str
    shards: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _RowsTask:
    """A file of the index whose rows are to be checked; files known to be spoilt are not opened."""

    out: str
    name: str
    spoilt: frozenset[str]


def verify(
    out: Location, execution: Execution | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Check a prepared dataset against its own manifest, and its rows in themselves.

    Args:
        out: the dataset, a folder or URL that `prepare` wrote.
        execution: how to run it; None: the defaults.
        progress: told of every task that is done.

    Returns:
        {"status": "VERIFIED" or "DAMAGED", "files", "bytes", "rows": all of the index, also of
        frames that were set aside or left out, "samples": those in a split, "problems": [{"file",
        "problem"}], "unknown_files": [...]}. Files that nobody listed do not make it damaged.

    Raises:
        UsageError: `out` is no location.
        RunError: there is no prepared dataset, or the check itself broke.
    """
    _, execution = records_of(None, execution)
    out = location_of(out, "out")
    state = state_of(out)
    if state is not OutState.FINISHED:
        advice = None if state is OutState.PENDING else "use: sam2prep prepare"
        raise RunError(out, f"holds no finished dataset ({state})", advice=advice)
    problems = list(_sealed_problems(out))
    if any(name == "manifest.json" for name, _ in problems):
        return _outcome(problems, [], [], Counter())
    manifest = read_manifest(out)
    files = manifest["files"]
    with start_work(execution, [out], progress) as work:
        tasks = list(_file_tasks(out, files))
        problems += _found(work.run(_check_files, tasks, stage="files"))
        spoilt = frozenset(name for name, _ in problems)
        whole = [name for name in manifest["digest_shards"] if name not in spoilt]
        tasks = [Task(key=name, payload=_DigestsTask(out=out, name=name)) for name in whole]
        problems += _found(work.run(_check_digests, tasks, stage="images"))
        tasks = list(_place_tasks(out, manifest, spoilt))
        problems += _found(work.run(_check_places, tasks, stage="places"))
        tasks = [
            Task(key=name, payload=_RowsTask(out=out, name=name, spoilt=spoilt))
            for name in (file["path"] for file in files)
            if name.startswith("index/") and name not in spoilt
        ]
        counted = work.run(_check_rows, tasks, stage="rows")
    problems += _found(found for found, _ in counted)
    rows = sum((splits for _, splits in counted), Counter[str]())
    if not spoilt:
        problems += _split_problems(out, rows)
    unknown = _unknown_files(out, {file["path"] for file in files}, whole)
    return _outcome(problems, files, unknown, rows)


def _found(results: Iterable[Sequence[_Problem]]) -> list[_Problem]:
    return [problem for found in results for problem in found]


def _outcome(
    problems: Sequence[_Problem],
    files: Sequence[Mapping[str, Any]],
    unknown: list[str],
    rows: Mapping[str, int],
) -> dict[str, Any]:
    return {
        "status": "DAMAGED" if problems else "VERIFIED",
        "files": len(files),
        "bytes": sum(file["size_bytes"] for file in files),
        "rows": sum(rows.values()),
        "samples": sum(rows.get(name, 0) for name in SPLIT_NAMES),
        "problems": [{"file": name, "problem": problem} for name, problem in sorted(problems)],
        "unknown_files": unknown,
    }


def _sealed_problems(out: str) -> Iterator[_Problem]:
    """Check the two files that carry their own digests."""
    for name in ("manifest.json", "summary.json"):
        try:
            content = read_bytes(join(out, name))
        except FileNotFoundError:
            yield name, "is missing"
            continue
        if not is_whole(content):
            yield name, "was altered since it was written"


def _unknown_files(out: str, listed: set[str], digest_shards: Sequence[str]) -> list[str]:
    own = listed | {"manifest.json", "summary.json", LOCK}
    for name in digest_shards:
        own.update(read_table(join(out, name), ["path"])["path"].to_pylist())
    found = (name for name in list_files(out) if not name.startswith(_NOT_OF_IT))
    return [name for name in found if name not in own and not _OF_READERS.search(name)]


def _file_tasks(out: str, files: Sequence[Mapping[str, Any]]) -> Iterator[Task]:
    batch: list[tuple[str, int, str]] = []
    size = number = 0
    for file in files:
        batch.append((file["path"], file["size_bytes"], file["sha256"]))
        size += file["size_bytes"]
        if size >= _TASK_BYTES or len(batch) == _TASK_FILES or file is files[-1]:
            payload = _FilesTask(out=out, files=tuple(batch))
            yield Task(key=f"files-{number:06d}", payload=payload)
            batch, size, number = [], 0, number + 1


def _place_tasks(out: str, manifest: Mapping[str, Any], spoilt: frozenset[str]) -> Iterator[Task]:
    shards = [name for name in shards_with_paths(manifest) if name not in spoilt]
    for start in range(0, len(shards), _TASK_FILES):
        payload = _PlacesTask(out=out, shards=tuple(shards[start : start + _TASK_FILES]))
        yield Task(key=f"places-{start:06d}", payload=payload)


def _check_places(task: _PlacesTask) -> list[_Problem]:
    """Find the shards whose rows lead to images elsewhere, which nothing here vouches for."""
    found = ((name, named_elsewhere(task.out, name)) for name in task.shards)
    return [
        (
            name,
            f"names its images in {place}, where it was written, and the dataset is in "
            f"{absolute(task.out)} now: move it back, or prepare it again",
        )
        for name, place in found
        if place is not None
    ]


def _check_files(task: _FilesTask) -> list[_Problem]:
    found = ((name, _file_problem(task.out, name, size, sha)) for name, size, sha in task.files)
    return [(name, problem) for name, problem in found if problem is not None]


def _check_digests(task: _DigestsTask) -> list[_Problem]:
    """Check the files that a digest shard names."""
    rows = read_table(join(task.out, task.name)).to_pylist()
    files = tuple((row["path"], row["size_bytes"], row["sha256"]) for row in rows)
    return _check_files(_FilesTask(out=task.out, files=files))


def _file_problem(out: str, name: str, size: int, sha256: str) -> str | None:
    try:
        at, digest = sha256_of(join(out, name))
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if at != size:
        return f"has {at} bytes, expected {size}"
    return None if digest == sha256 else "was altered since it was written"


def _check_rows(task: _RowsTask) -> tuple[list[_Problem], Counter[str]]:
    """Check one file of the index, and the shards that it speaks of."""
    table = read_table(join(task.out, task.name))
    problems = [(task.name, problem) for problem in row_problems(table)]
    shards = table["shard"].to_pylist()
    embedding = {name for name in shards if name and name.endswith((".arrow", ".parquet"))}
    for shard in sorted(embedding - task.spoilt):
        own = table.filter(pa.array([name == shard for name in shards]))
        if not np.array_equal(own["row"].to_numpy(), np.arange(len(own))):
            problems.append((task.name, f"the rows of {shard} are not numbered from 0"))
        found = differing_rows(own, _shard_rows(join(task.out, shard)))
        problems += [(shard, problem) for problem in found]
    statuses = zip(table["status"].to_pylist(), table["split"].to_pylist(), strict=True)
    return problems, Counter(split or status for status, split in statuses)


def _shard_rows(path: str) -> pa.Table:
    """The rows of a shard; of a local one, images are mapped or left where they are."""
    if path.endswith(".parquet"):
        return read_table(path, SHARED_COLUMNS)
    return read_stream(path)


def _split_problems(out: str, rows: Mapping[str, int]) -> Iterator[_Problem]:
    """Compare what split.json says with the index."""
    try:
        sizes = read_json(join(out, "split.json"))["sizes"]
    except (RunError, KeyError, orjson.JSONDecodeError) as error:
        yield "split.json", f"cannot be read: {error}"
        return
    for name in SPLIT_NAMES:
        if sizes.get(name, 0) != rows.get(name, 0):
            yield (
                "split.json",
                f"says {sizes.get(name, 0)} rows of {name}, the index has {rows[name]}",
            )
