"""`open_dataset`: one version of all splits, while somebody else may be publishing the next.

`datasets.load_from_disk` opens one file after the other by its path. A publication
(`engine.publication`) that falls between two of them gives it files of two versions.

Locally `OUT/hf` is exchanged as a whole and never changed in place. So a descriptor of the folder
is held, which keeps its inode number from being given to another one, and the folder that has the
name after loading must be the one that had it before; else it is done again. Nothing is locked: a
reader never makes a writer wait, and a dataset that may only be read can be opened.

On an object store nothing is exchanged, but the manifest has a digest of every file: the files are
brought here and compared with it. `load_from_disk` brings them here too, into one folder for the
whole process, and so gives the earlier version again to whoever opens a URL a second time.
"""

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa

from engine.byte_ranges import local_path, url_filesystem
from engine.errors import OutputError, RunError
from engine.locations import Location, location_of
from engine.manifest import OutState, read_json, read_manifest, state_of
from engine.storage import exists, join, temporary_folder

if TYPE_CHECKING:
    import datasets

__all__ = ["open_dataset"]

_ATTEMPTS = 20  # a publication takes longer than opening: two in a row are rare already
_PATIENCE_SEC = 10.0  # for a publication under way
_MISSING_SEC = 1.0  # for a folder that is missing though nothing is under way
_PAUSE_SEC = 0.05
_AT_ONCE = 8
# What reading a damaged file raises: broken JSON, keys or types of another kind, broken Arrow.
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException)
_OF_DAMAGE = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # Arrow's complaints have no number

_copies: dict[tuple[str, str], str] = {}  # URL and digest of the manifest: folder with its files


def open_dataset(out: Location, *, keep_in_memory: bool = False) -> "datasets.DatasetDict":
    """Open the `hf` format of a prepared dataset: all splits of one and the same version.

    What was opened stays that version, whatever is published later: files of a local dataset are
    mapped, and stay readable for whoever has them mapped when they are deleted. Three things go by
    path, and so to what is there then:

    - Pickling takes paths along, not rows: `map(num_proc=...)`, and workers of a `DataLoader` that
      are spawned (forked ones share the mapping). An `add` keeps old shards under their names;
      `split` and `--resplit` do not. With `keep_in_memory` the rows are pickled.
    - `map` and `filter` write caches beside the shards, where the next publication deletes them,
      even while they are written. After `datasets.disable_caching()`, or with `keep_in_memory` or
      `cache_file_names` of theirs, caches are elsewhere.
    - Under `--images path` an image is opened when its row is read.

    Args:
        out: the dataset, a folder or an fsspec URL that `prepare` wrote. What a URL names is copied
            to the place for temporary files, where it stays until this process ends; a version is
            copied once.
        keep_in_memory: read all rows into memory, images too, instead of mapping the files.

    Returns:
        A `datasets.DatasetDict`, as `datasets.load_from_disk(OUT/hf)` gives it.

    Raises:
        UsageError: it is no location, or a URL that cannot be opened.
        OutputError: there is no finished dataset, or it has no `hf` format.
        RunError: it is damaged, cannot be read, or somebody is publishing and does not get done.
    """
    out = location_of(out, "out")
    place = local_path(out)
    try:
        if place is not None:
            return _open_folder(out, place / "hf", keep_in_memory)
        return _open_url(out, keep_in_memory)
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise RunError(str(error.filename or out), what) from error


def _load(folder: str, keep_in_memory: bool) -> "datasets.DatasetDict":
    import datasets

    # None leaves small datasets to the setting of `datasets`.
    return datasets.DatasetDict.load_from_disk(folder, keep_in_memory=keep_in_memory or None)


def _open_folder(out: str, place: Path, keep_in_memory: bool) -> "datasets.DatasetDict":
    for _ in range(_ATTEMPTS):
        descriptor = _descriptor(out, place)
        try:
            opened = _load(str(place), keep_in_memory)
            if _is_still(place, descriptor):
                return opened
        except _UNREADABLE as error:
            if _is_still(place, descriptor):
                _complain(out, error)
        finally:
            os.close(descriptor)
    raise _restless(out)


def _descriptor(out: str, place: Path) -> int:
    """Open the folder itself; wait for one that is being put in its place."""
    start = time.monotonic()
    while True:
        state = _dataset_state(out)
        try:
            return os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass  # between two renames, where the system has no exchange
        waited = time.monotonic() - start
        if state is OutState.PENDING and waited > _PATIENCE_SEC:
            raise _unfinished_business(out)
        if state is OutState.FINISHED:
            _require_hf(out, read_json(join(out, "manifest.json")))
            if waited > _MISSING_SEC:
                raise _damaged(out, "hf is missing")
        time.sleep(_PAUSE_SEC)


def _is_still(place: Path, descriptor: int) -> bool:
    """Say whether a path leads to the folder that is open."""
    try:
        return os.path.samestat(place.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _open_url(out: str, keep_in_memory: bool) -> "datasets.DatasetDict":
    suspect = None
    for _ in range(_ATTEMPTS):
        manifest = _settled_manifest(out)
        version = (out, str(manifest["digest"]))
        if version not in _copies or not Path(_copies[version]).is_dir():
            folder, wrong = _copy(out, manifest)
            if wrong is not None:
                shutil.rmtree(folder, ignore_errors=True)
                if version == suspect:  # once may be a publication, and another one back
                    raise _damaged(out, wrong)
                suspect = version
                continue
            _copies[version] = folder
        try:
            return _load(join(_copies[version], "hf"), keep_in_memory)
        except _UNREADABLE as error:
            _complain(out, error)
    raise _restless(out)


def _settled_manifest(out: str) -> dict[str, Any]:
    """Read the manifest when nobody is in the middle of putting another one in its place."""
    start = time.monotonic()
    while True:
        url_filesystem(out)[0].invalidate_cache()  # some remember what they have listed
        if _dataset_state(out) is OutState.FINISHED:
            manifest = read_manifest(out)
            _require_hf(out, manifest)
            return manifest
        if time.monotonic() - start > _PATIENCE_SEC:
            raise _unfinished_business(out)
        time.sleep(_PAUSE_SEC)


def _copy(out: str, manifest: Mapping[str, Any]) -> tuple[str, str | None]:
    """Copy what the manifest lists of `hf` into a new folder; say what is not as it lists it."""
    folder = temporary_folder("sam2prep-open-")
    # At the end of this process, be it a worker of multiprocessing, and not of one that it forks.
    Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=0)
    filesystem, root = url_filesystem(out)

    wrong: list[str] = []

    def fetch(file: Mapping[str, Any]) -> None:
        name = str(file["path"])
        if ".." in name.split("/"):
            wrong.append(f"manifest.json names {name}, which is outside of the dataset")
        if wrong:
            return
        target = Path(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            filesystem.get_file(join(root, name), str(target))
        except FileNotFoundError:
            wrong.append(f"{name} is missing")
            return
        with target.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != file["sha256"]:
                wrong.append(f"{name} is not as manifest.json says")

    files = [file for file in manifest["files"] if str(file["path"]).startswith("hf/")]
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        list(pool.map(fetch, files))
    return folder, wrong[0] if wrong else None


def _dataset_state(out: str) -> OutState:
    """FINISHED, or PENDING; everything else is no dataset to be opened."""
    state = state_of(out)
    if state in (OutState.FINISHED, OutState.PENDING):
        return state
    if state is OutState.FAILED:
        what, advice = "holds a report and no dataset: validation FAILED", f"see {out}/report"
    elif state is OutState.UNFINISHED:
        what, advice = "holds no finished dataset", "run the command that was to write it again"
    elif exists(join(out, "dataset_dict.json")):
        what, advice = "is a part of a dataset", "give the folder above"
    else:
        what, advice = "holds no prepared dataset", "use: sam2prep prepare"
    raise OutputError(out, what, advice=advice)


def _require_hf(out: str, manifest: Mapping[str, Any]) -> None:
    formats = manifest["config"]["formats"]
    if "hf" not in formats:
        raise OutputError(
            out, "was prepared without the format hf", got=", ".join(formats),
            advice=f"prepare it with: --format {','.join(['hf', *formats])}",
        )  # fmt: skip


def _complain(out: str, error: Exception) -> NoReturn:
    """Tell a damaged dataset from files that may not be read, or not now."""
    no_damage = isinstance(error, OSError) and error.errno not in _OF_DAMAGE
    if no_damage or isinstance(error, MemoryError):  # Arrow's is one too
        raise error
    raise _damaged(out, f"hf cannot be read: {error}") from error


def _damaged(out: str, what: str) -> RunError:
    return RunError(out, f"is damaged: {what}", advice=f"use: sam2prep verify {out}")


def _unfinished_business(out: str) -> RunError:
    return RunError(
        out, f"was still being published after {_PATIENCE_SEC:g} s, by a run at work or a dead one",
        advice=f"any command that writes there completes a dead one's, as: sam2prep clean {out}",
    )  # fmt: skip


def _restless(out: str) -> RunError:
    return RunError(
        out, f"was replaced {_ATTEMPTS} times while it was being opened",
        advice="try again when fewer commands write to it",
    )  # fmt: skip
