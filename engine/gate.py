"""The gate: may training start on this dataset?

It goes by the published status and by nothing else than the dataset's own files. A dataset whose
report was altered after it was published is refused, as is one that was never finished, or of which
files are missing or have another size, images that are files of their own among them, or whose rows
name their images by path and in another place. That costs one listing, the tables of such images,
and the first rows of each shard that names them; whether the bytes are the same is what `verify`
reads them all for. Files that were added are let be: datasets writes its caches beside what it
reads.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
import pyarrow as pa

from engine.errors import NotTrainableError, RunError
from engine.image_paths import named_elsewhere, shards_with_paths
from engine.locations import Location, location_of
from engine.manifest import OutState, read_json, read_manifest, state_of
from engine.storage import absolute, join, list_sizes, read_bytes
from engine.tables import read_table
from engine.visible import visible

__all__ = ["require_trainable"]

_REPORT = "report/validation.json"
_FILES_NAMED = 5
_AGAIN = "prepare the dataset again"
_PAGE = "what to do is in {out}/report/report.html"


def require_trainable(out: Location) -> dict[str, Any]:
    """Return the validation of a dataset that may be trained on.

    Args:
        out: the dataset, a folder or an fsspec URL that `prepare` wrote.

    Returns:
        The document of its validation.json.

    Raises:
        NotTrainableError: the gate is shut; its `reasons` say why.
        RunError: there is no prepared dataset.
    """
    out = location_of(out, "out")
    state = state_of(out)
    if state is OutState.FAILED:
        document = read_json(join(out, _REPORT))
        raise _failed(out, document)
    if state is OutState.UNFINISHED:
        raise NotTrainableError(
            out, ["the run that was to write this dataset did not finish, or parts of it are gone"],
            "run its command again",
        )  # fmt: skip
    if state is OutState.PENDING:
        raise NotTrainableError(
            out, ["a run's outcome is not in its place yet"], "run its command again"
        )
    if state is not OutState.FINISHED:
        raise RunError(out, "holds no prepared dataset", advice="use: sam2prep prepare")
    try:
        manifest = read_manifest(out)
    except RunError as error:  # altered or unreadable: whatever it says now must not open the gate
        raise NotTrainableError(out, [f"manifest.json {error.what}"], _AGAIN) from error
    wrong = _wrong_files(out, manifest)
    if wrong:
        raise NotTrainableError(out, wrong, f"restore what was changed, or {_AGAIN}")
    if places := _other_places(out, manifest):
        raise NotTrainableError(out, places, f"move it back, or {_AGAIN} where it is to be")
    listed = {file["path"]: file["sha256"] for file in manifest["files"]}
    data = read_bytes(join(out, _REPORT))
    if hashlib.sha256(data).hexdigest() != listed.get(_REPORT):
        raise NotTrainableError(
            out, [f"{_REPORT} was altered since the dataset was published"], _AGAIN
        )
    document = orjson.loads(data)
    if document["status"] == "FAILED":
        raise _failed(out, document)
    return dict(document)


def _failed(out: str, document: Mapping[str, Any]) -> NotTrainableError:
    errors = [f["message"] for f in document.get("findings", []) if f["severity"] == "error"]
    return NotTrainableError(out, ["validation FAILED", *errors], _PAGE.format(out=out))


def _wrong_files(out: str, manifest: Mapping[str, Any]) -> list[str]:
    """Say which files of the dataset are not there, or are not as long as they were."""
    sizes = list_sizes(out)
    if _REPORT not in sizes:
        return [f"{_REPORT} is missing"]
    files = {file["path"]: file["size_bytes"] for file in manifest["files"]}
    files.pop(_REPORT, None)  # its digest is looked at, which says more
    wrong = _differences(files, sizes)
    for shard in () if wrong else manifest.get("digest_shards", ()):
        try:
            table = read_table(join(out, shard), ["path", "size_bytes"])
        except pa.ArrowInvalid:
            return [f"{shard} cannot be read"]
        images = dict(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
        wrong += _differences(images, sizes)
    return wrong


def _other_places(out: str, manifest: Mapping[str, Any]) -> list[str]:
    """Say where else the rows look for images that they name by full paths."""
    try:
        places = {named_elsewhere(out, name) for name in shards_with_paths(manifest)}
    except RunError as error:
        return [str(error)]
    return [
        f"its rows name their images in {place}, where it was written, and it is in "
        f"{absolute(out)} now"
        for place in sorted(filter(None, places))
    ]


def _differences(files: Mapping[str, int], sizes: Mapping[str, int]) -> list[str]:
    missing = [path for path in files if path not in sizes]
    other = [path for path, size in files.items() if path in sizes and sizes[path] != size]
    return [
        f"{_named(paths)} {what} since the dataset was published"
        for paths, what in ((missing, "went missing"), (other, "changed in size"))
        if paths
    ]


def _named(paths: list[str]) -> str:
    """Name a few files, and how many there are."""
    shown = ", ".join(visible(path) for path in paths[:_FILES_NAMED])
    if len(paths) == 1:
        return shown
    return f"{len(paths)} files ({shown}{', ...' if len(paths) > _FILES_NAMED else ''})"
