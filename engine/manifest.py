"""`manifest.json`: what a dataset was made from, how, and every file of it; written last.

A folder with a manifest is a finished dataset; a folder with a FAILED report and no manifest is a
finished run without a dataset; anything else of ours is an unfinished run. The manifest carries the
digest of its own content, so that an edit of it does not go unnoticed.
"""

import hashlib
import importlib.metadata
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Any

import orjson

from engine.byte_ranges import local_path
from engine.choices import FORMATS
from engine.errors import OutputError, RunError
from engine.locations import require_location
from engine.storage import FileDigest, exists, is_file, join, list_files, read_bytes
from engine.version import VERSION

__all__ = [
    "FILES",
    "FOLDERS",
    "JOURNAL",
    "LOCK",
    "REJECTED",
    "RUN",
    "STAGING",
    "OutState",
    "encode",
    "is_whole",
    "make_manifest",
    "owned",
    "read_issues",
    "read_json",
    "read_manifest",
    "read_summary",
    "require_dataset",
    "require_files",
    "sealed",
    "state_of",
    "versions",
]

STAGING = ".staging"
"""Work in progress, below OUT."""

REJECTED = "rejected"
"""Reports of exports that were not added, below OUT."""

JOURNAL = ".staging/commit.json"
"""There while a run's outcome is decided and not in its place yet."""

RUN = ".staging/run.json"
"""What the run in progress is; there from its beginning to its end, so also after it died."""

LOCK = ".lock"
"""There while somebody writes to OUT."""

FOLDERS = ("images", *FORMATS, "digests", "quarantine", "report", "index", "folds")
"""Every folder that a run may leave in OUT, in the order of their publication: the images of `hf`
before the rows that name them."""

FILES = ("README.md", "exports.parquet", "split.json", "summary.json", "manifest.json")
"""Every file that a run may leave at the top of OUT, in the order of their publication."""

# Files that nobody else writes: where one of them is, a folder called as one of ours is ours.
_REMAINS = re.compile(
    r"(?:summary|split|report/validation|folds/fold-\d+|hf/dataset_dict|llava/manifest)\.json$"
    r"|(?:index|digests|parquet)/[\w-]+-\d{5}\.parquet$|(?:hf/\w+|quarantine)/data-\d{5}\.arrow$"
)
# What a dataset is read back from; what is taken over shard by shard. All else is written anew.
_READ_BACK = (
    "exports.parquet", "index/", "report/issues.jsonl", "report/validation.json", "split.json",
)  # fmt: skip
_SHARDS = ("digests/", "hf/train/data-", "hf/validation/data-", "hf/test/data-", "quarantine/data-",
           "parquet/")  # fmt: skip
_PACKAGES = ("datasets", "numpy", "pillow", "pyarrow", "pycocotools", "ray")


class OutState(StrEnum):
    """What a place for output holds."""

    EMPTY = "empty"
    FINISHED = "finished"
    FAILED = "failed"
    PENDING = "pending"
    UNFINISHED = "unfinished"
    FOREIGN = "foreign"


def encode(document: Any) -> bytes:
    """Give a document as the JSON that all files of a dataset are written in.

    Indented for people, keys in the order they were put in, a newline at the end.
    """
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(document, option=options)


def make_manifest(
    *,
    inputs: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    status: str,
    samples: int,
    files: Sequence[FileDigest],
) -> dict[str, Any]:
    """Make the manifest of a dataset.

    Args:
        inputs: one entry an export, with its content digest.
        config: the resolved configuration.
        status: the published one.
        samples: rows in all splits.
        files: every file of the dataset but the manifest, `summary.json`, and the images that
            digest shards among them list.
    """
    top = {file.path.split("/", 1)[0] for file in files if "/" in file.path}
    # Images of `hf` beside it are a folder of their own, which only digest shards name.
    beside = {"images"} if any(file.path.startswith("digests/hf-") for file in files) else set()
    document: dict[str, Any] = {
        "manifest_version": 1,
        "versions": versions(),
        "inputs": [dict(entry) for entry in inputs],
        "config": dict(config),
        "status": status,
        "samples": samples,
        "folders": sorted(top | beside),
        "files": [asdict(file) for file in sorted(files, key=lambda f: f.path)],
        # Tables of further files, with their digests: images that are files of their own.
        "digest_shards": sorted(f.path for f in files if f.path.startswith("digests/")),
    }
    return sealed(document)


def versions() -> dict[str, str]:
    """Give the versions that may decide about bytes: of this program, Python and packages."""
    return {
        "sam2prep": VERSION,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Give a document with the digest of its own content: no other file vouches for it."""
    return {**document, "digest": _digest(document)}


def is_whole(content: bytes) -> bool:
    """Say whether a file still is what `encode` made of a sealed document, to the byte."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(document, dict) or encode(document) != content:
        return False
    return document.get("digest") == _digest(document)


def _digest(document: Mapping[str, Any]) -> str:
    content = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def read_json(path: str) -> dict[str, Any]:
    """Read one of a dataset's JSON files.

    Raises:
        RunError: it is not there or is no JSON object.
    """
    try:
        document = orjson.loads(read_bytes(path))
    except OSError as error:
        raise RunError(path, f"cannot be read: {error.strerror or error}") from error
    except orjson.JSONDecodeError as error:
        raise RunError(path, f"cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise RunError(path, "is not a JSON object")
    return document


def read_manifest(out: str) -> dict[str, Any]:
    """Read and check a dataset's manifest.

    Raises:
        RunError: it is missing, unreadable, or altered since it was written.
    """
    return _read_sealed(join(out, "manifest.json"))


def read_summary(out: str) -> dict[str, Any]:
    """Read and check a dataset's summary.

    Raises:
        RunError: it is missing, unreadable, or altered since it was written.
    """
    return _read_sealed(join(out, "summary.json"))


def read_issues(out: str) -> Iterator[dict[str, Any]]:
    """Read what a dataset's report says of frames and exports, one record an issue.

    Raises:
        OSError: the file is missing or cannot be read.
    """
    return map(orjson.loads, read_bytes(join(out, "report/issues.jsonl")).splitlines())


def _read_sealed(path: str) -> dict[str, Any]:
    document = read_json(path)
    if document.get("digest") != _digest(document):
        raise RunError(
            path, "was altered since it was written",
            advice="bring it back as it was, or prepare the dataset again",
        )  # fmt: skip
    return document


def require_files(out: str, manifest: Mapping[str, Any], *, shards: bool) -> None:
    """Refuse a dataset on a disk that has lost a file which its next version is made from.

    On an object store that would be a request for each file; there it shows when one is read.

    Args:
        out: the dataset.
        manifest: of it.
        shards: they are taken over as they are; else they may be made anew.

    Raises:
        RunError: a file that the manifest names is missing.
    """
    if local_path(out) is None:
        return
    needed = _READ_BACK + (_SHARDS if shards else ())
    paths = [file["path"] for file in manifest["files"] if file["path"].startswith(needed)]
    gone = [path for path in paths if not exists(join(out, path))]
    if gone:
        more = f" ({len(gone)} files are)" if len(gone) > 1 else ""
        raise RunError(
            join(out, gone[0]), f"is missing{more}",
            advice=f"put it back, or prepare the dataset again; see: sam2prep verify {out}",
        )  # fmt: skip


def state_of(out: str) -> OutState:
    """Say what is in the place where a dataset shall go.

    Raises:
        UsageError: it is a URL that cannot be opened, or that holds credentials.
        RunError: the place, or a file that says so, cannot be read.
    """
    require_location(out)
    try:
        return _state_of(out)
    except OSError as error:
        raise RunError(out, f"cannot be read: {error.strerror or error}") from error


def _state_of(out: str) -> OutState:
    if not exists(out):
        return OutState.EMPTY
    if exists(join(out, JOURNAL)):
        return OutState.PENDING
    if exists(join(out, "manifest.json")):
        return OutState.FINISHED
    files = list_files(out)
    strange = {file.split("/", 1)[0] for file in files} - owned(out)
    if strange or is_file(out):  # a folder of the same name as one of ours may be anybody's
        return OutState.FOREIGN
    reported = "report/validation.json" in files and "summary.json" in files
    if reported and read_json(join(out, "report", "validation.json")).get("status") == "FAILED":
        return OutState.FAILED
    return OutState.UNFINISHED if set(files) - {LOCK} else OutState.EMPTY


def require_dataset(out: str) -> None:
    """Refuse a place that holds no finished dataset; one whose publication is pending is one.

    Raises:
        OutputError: it holds something else, or nothing.
        UsageError, RunError: as `state_of`.
    """
    state = state_of(out)
    if state not in (OutState.FINISHED, OutState.PENDING):
        raise OutputError(
            out, "holds no finished dataset", got=str(state), advice="use: sam2prep prepare"
        )


def owned(out: str) -> set[str]:
    """Name what lies at the top of OUT by the hand of this program.

    Whatever else is there, even under a name that a dataset may use, is somebody's own and is
    neither replaced nor removed. A manifest says it exactly; without one, only remains that nobody
    else leaves show that a run of ours was here.

    Raises:
        RunError: a file that says so cannot be read.
    """
    ours = {LOCK, STAGING}
    if exists(join(out, "manifest.json")):
        manifest = read_json(join(out, "manifest.json"))
        top = {file["path"] for file in manifest["files"] if "/" not in file["path"]}
        return ours | top | {*manifest["folders"], "manifest.json", "summary.json"}
    if any(_REMAINS.match(name) for name in list_files(out)):  # a run that did not finish
        ours |= {*FOLDERS, *FILES}
    return ours
