"""Putting a finished run in the place of what was there, so that a crash can always be completed.

Everything a run leaves is first complete below `OUT/.staging`, the manifest too; then a journal is
written, and from there on the outcome is decided: whoever comes next completes what the journal
says (`complete`), and doing so twice is harmless. Before the journal, OUT is as it was.

On a local file system each folder changes places with its successor in one step (`exchange`; where
the system has none, two renames with a moment between them in which the folder is missing), so a
reader finds every folder whole, old or new. On an object store objects are copied, all data before
the files that name them: until the copy is done, a reader may see new objects under old
names. `manifest.json` comes last in both.
"""

import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engine.byte_ranges import local_path, url_filesystem
from engine.disk_sync import sync_path
from engine.errors import OutputError, RunError
from engine.exchange import exchange
from engine.manifest import (
    FILES,
    FOLDERS,
    JOURNAL,
    LOCK,
    RUN,
    STAGING,
    OutState,
    encode,
    owned,
    read_json,
    state_of,
)
from engine.storage import (
    exists,
    join,
    list_files,
    make_dirs,
    remove,
    topmost_missing,
    write_bytes,
)
from engine.tables import read_table
from engine.unfinished import broken
from engine.writer_lock import locked

__all__ = ["complete", "is_attempt", "is_pending", "publish", "sweep", "writing"]

_AT_ONCE = 8
_ATTEMPT = re.compile(r"(?:^|/)\.[^/]+\.tmp-[0-9a-f]{12}$")  # as storage.AtomicFile names them


@contextmanager
def writing(out: str, what: str) -> Iterator[str]:
    """Be the only one who writes to OUT, and have a place below it for work in progress.

    What a run that died had decided is completed first. The place is gone afterwards, and so is an
    OUT that was not there before and holds nothing; only a publication that could not be completed
    stays, and a run that can be continued (`engine.unfinished`).

    Args:
        out: the dataset's place; made if it is not there.
        what: the command, for others who want to write there.

    Yields:
        The folder for work in progress: empty, or with what a run that died has left.

    Raises:
        RunError: another one is writing there, or the storage failed.
    """
    made, staging = None, join(out, STAGING)
    try:
        made = topmost_missing(out)
        make_dirs(out)
        with locked(out, what):
            complete(out)
            try:
                if not exists(join(out, RUN)):
                    remove(staging)
                make_dirs(staging)
                yield staging
            finally:
                if not is_pending(out) and not exists(join(out, RUN)):
                    remove(staging)
    except OSError as error:
        raise broken(out, error) from error
    finally:
        with suppress(OSError, RunError):  # an empty folder may stay; what went wrong is to be told
            if made is not None and state_of(out) is OutState.EMPTY:
                remove(made)


def sweep(out: str) -> None:
    """Remove what a run left in OUT that died when all was done; of one at work, nothing.

    Where that cannot be done, it stays: a dataset is whole with it too.
    """
    if exists(join(out, STAGING)) or exists(join(out, LOCK)):
        with suppress(RunError), writing(out, "sam2prep clean"):
            pass


def publish(out: str, names: Collection[str] = (*FOLDERS, *FILES), *, joins: bool = False) -> None:
    """Make what is staged below OUT its content; what OUT held is gone afterwards.

    Args:
        out: the dataset's place; `.staging` in it holds whole folders and files, all on the disk.
        names: of `FOLDERS` and `FILES`; what is not staged is left out, what is staged beside them
            is removed.
        joins: what is staged joins the dataset that is there. On an object store the files of both
            versions are not staged; they stay where they are.

    Raises:
        OutputError: something that is not of a dataset lies where a part of it is to go.
        RunError: it could not be completed; the next command will.
    """
    staging = join(out, STAGING)

    def staged(name: str) -> bool:
        return name in names and exists(join(staging, name))

    for name in names:
        _remove_attempts(join(staging, name))
    folders = {name: _mark(staging, name) for name in FOLDERS if staged(name)}
    files = [name for name in FILES if staged(name)]
    ours = owned(out)
    for name in (*folders, *files):
        if name not in ours and exists(join(out, name)):
            raise OutputError(
                join(out, name), "is not of this dataset, which needs its place",
                advice="move it away, and run this again",
            )  # fmt: skip
    journal: dict[str, Any] = {"folders": folders, "files": files}
    if joins and local_path(out) is None:
        journal |= {"gone": [], "removed": _no_longer_named(out)}
    else:
        journal |= {"gone": sorted(ours - {LOCK, STAGING, *folders, *files})}
    write_bytes(join(out, JOURNAL), encode(journal))
    complete(out)


def _no_longer_named(out: str) -> list[str]:
    """Name the files of a dataset that its successor in staging does not have."""
    old = read_json(join(out, "manifest.json"))
    new = read_json(join(out, STAGING, "manifest.json"))
    names = [{file["path"] for file in manifest["files"]} for manifest in (old, new)]
    shards = [set(manifest["digest_shards"]) for manifest in (old, new)]
    gone = _images(out, shards[0] - shards[1])
    come = _images(join(out, STAGING), shards[1] - shards[0])
    return sorted((names[0] - names[1]) | (gone - come))


def _images(root: str, digest_shards: set[str]) -> set[str]:
    """Name the images that some tables of digests list."""
    tables = (read_table(join(root, name), ["path"]) for name in digest_shards)
    return {path for table in tables for path in table["path"].to_pylist()}


def _remove_attempts(folder: str) -> None:
    """Remove what workers that died in the middle of a file have left beside it."""
    for name in list_files(folder):
        if is_attempt(name):
            remove(join(folder, name))


def is_attempt(name: str) -> bool:
    """Say whether a file is one that was never finished: its writer died in the middle."""
    return _ATTEMPT.search(name) is not None


def is_pending(out: str) -> bool:
    """Say whether a run's outcome was decided and is not in its place yet."""
    return exists(join(out, JOURNAL))


def complete(out: str) -> bool:
    """Finish a publication that was begun, by this process or one that died.

    Returns:
        Whether there was one.

    Raises:
        RunError: it could not be completed.
    """
    if not is_pending(out):
        return False
    journal = read_json(join(out, JOURNAL))
    try:
        if (place := local_path(out)) is not None:
            _exchange(place, journal)
        else:
            _copy(out, journal)
        remove(join(out, RUN))  # whoever dies from here on leaves nothing to be continued
        remove(join(out, JOURNAL))
    except OSError as error:
        raise RunError(
            out, f"was not put in its place: {error.strerror or error}",
            advice="nothing is lost; when the reason is gone, the next command completes it",
        ) from error  # fmt: skip
    remove(join(out, STAGING))
    return True


def _mark(staging: str, name: str) -> Any:
    """What tells the new folder from the old one when a journal is read again."""
    place = local_path(join(staging, name))
    return place.stat().st_ino if place is not None else list_files(join(staging, name))


def _exchange(out: Path, journal: dict[str, Any]) -> None:
    staging = out / STAGING
    for name, inode in journal["folders"].items():
        old, new = out / name, staging / name
        if old.exists() and old.stat().st_ino == inode:
            continue  # done before
        if old.exists() and not exchange(old, new):
            old.rename(_aside(staging, name))
        if not old.exists():
            new.rename(old)
    for name in _gone(str(out), journal):
        (out / name).rename(_aside(staging, name))
    sync_path(out)  # no manifest on the disk before what it names
    for name in journal["files"]:
        if (staging / name).exists():
            (staging / name).replace(out / name)
    sync_path(out)


def _aside(staging: Path, name: str) -> Path:
    place = staging / f"old-{name}"
    remove(str(place))
    return place


def _gone(out: str, journal: dict[str, Any]) -> list[str]:
    """What OUT holds of the version before, and this one does not have."""
    return [name for name in journal["gone"] if exists(join(out, name))]


def _copy(out: str, journal: dict[str, Any]) -> None:
    filesystem, root = url_filesystem(out)
    staged = set(list_files(join(out, STAGING)))

    def put(name: str) -> None:  # what is copied stays until all is done: a copy bears repeating
        source, target = join(root, STAGING, name), join(root, name)
        if not filesystem.async_impl:
            filesystem.makedirs(target.rsplit("/", 1)[0], exist_ok=True)  # some need it
        try:
            filesystem.cp_file(source, target)
        except NotImplementedError:  # no store, but a server that knows how to move
            filesystem.mv(source, target)

    names = [f"{name}/{file}" for name, files in journal["folders"].items() for file in files]
    names = [name for name in names if name in staged]
    # State files are JSON: they come after the data that they name.
    with ThreadPoolExecutor(_AT_ONCE if filesystem.async_impl else 1) as pool:
        list(pool.map(put, (name for name in names if not name.endswith(".json"))))
    states = [name for name in names if name.endswith(".json")]
    for name in (*states, *(name for name in journal["files"] if name in staged)):
        put(name)
    if "removed" in journal:
        for name in journal["removed"]:
            remove(join(out, name))
    else:
        for name, files in journal["folders"].items():
            for extra in sorted(set(list_files(join(out, name))) - set(files)):
                filesystem.rm(join(root, name, extra))
    for name in _gone(out, journal):
        remove(join(out, name))
