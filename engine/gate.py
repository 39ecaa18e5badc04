"""The gate: may training start on this dataset?

It goes by the published status and by nothing else than the dataset's own files. A dataset whose
report was altered after it was published is refused, as is one that was never finished.
"""

import hashlib
from typing import Any

from engine.errors import NotTrainableError, RunError
from engine.manifest import OutState, read_json, read_manifest, state_of
from engine.storage import exists, join, read_bytes

__all__ = ["require_trainable"]

_REPORT = "report/validation.json"


def require_trainable(out: str) -> dict[str, Any]:
    """Return the validation of a dataset that may be trained on.

    Args:
        out: the dataset, a folder or URL that `prepare` wrote.

    Returns:
        The document of its validation.json.

    Raises:
        NotTrainableError: the gate is shut; its `reasons` say why.
        RunError: there is no prepared dataset.
    """
    state = state_of(out)
    if state is OutState.FAILED:
        document = read_json(join(out, _REPORT))
        errors = [f["message"] for f in document["findings"] if f["severity"] == "error"]
        raise NotTrainableError(out, ["validation FAILED", *errors])
    if state is OutState.UNFINISHED:
        raise NotTrainableError(out, ["the run that was to write this dataset did not finish"])
    if state is OutState.PENDING:
        raise NotTrainableError(
            out, ["a run's outcome is not in its place yet: run its command again"]
        )
    if state is not OutState.FINISHED:
        raise RunError(out, "holds no prepared dataset", advice="use: sam2prep prepare")
    try:
        manifest = read_manifest(out)
    except RunError as error:  # altered or unreadable: whatever it says now must not open the gate
        raise NotTrainableError(out, [f"manifest.json: {error.complaint}"]) from error
    if not exists(join(out, _REPORT)):
        raise NotTrainableError(out, [f"{_REPORT} is missing"])
    listed = {file["path"]: file["sha256"] for file in manifest["files"]}
    if hashlib.sha256(read_bytes(join(out, _REPORT))).hexdigest() != listed.get(_REPORT):
        raise NotTrainableError(out, [f"{_REPORT} was altered since the dataset was published"])
    document = read_json(join(out, _REPORT))
    if document["status"] == "FAILED":
        raise NotTrainableError(out, ["validation FAILED"])
    return document
