"""A run that may die and be continued: what it is, what it keeps, and when that is thrown away.

Below `OUT/.staging` lies `run.json`, which says what the run is, the records of finished tasks
(`engine.task_records`), and `inputs.json`, the content of its inputs. Only the same run goes on
from there: another one is refused, by the name of the first key that differs, because hours of work
may lie there, and mixing two runs would give a dataset that nobody asked for.

What is kept is kept for who can come again with the same command: storage or memory failed, a
worker or the whole machine died, somebody stopped it. Where the outcome is the user's to change
(another option, another export) nothing is kept.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import orjson

from engine.errors import ExportError, NodeError, ResumeError, RunError, UsageError
from engine.manifest import FILES, JOURNAL, RUN, STAGING, encode, is_whole, sealed, versions
from engine.storage import (
    absolute,
    exists,
    join,
    list_files,
    make_dirs,
    read_bytes,
    remove,
    write_bytes,
)
from engine.task_records import TaskRecords

__all__ = ["RunInProgress", "broken", "forget_tasks", "run_record", "settle_inputs"]

_DONE = "done"
_OF_THE_DRIVER = ("report", "folds")
_INPUTS = "inputs.json"
_NOTHING = "nothing"


def run_record(
    command: str, sources: Sequence[str], config: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """Say what a run is: all that decides its bytes or the cut of its tasks.

    Args:
        command: prepare, split or add.
        sources: single exports, in the order named; none for a run that reads OUT alone.
        config: as `Config.to_json` gives it.
        **more: what else decides, as JSON types.
    """
    return {
        "command": command,
        "sources": [absolute(source) for source in sources],
        "config": dict(config),
        **more,
        "versions": versions(),
    }


class RunInProgress:
    """The work of one run below OUT, kept if the run dies; a context manager inside `writing`.

    Entering takes up what an attempt of the same run has left, or removes what is left and begins;
    it gives the records of the tasks. When the block is left by an exception that may not come
    again, what is done stays for the same command and the exception says so; after any other
    nothing stays. A publication that is decided already is left alone.

    Args:
        out: the dataset's place, locked by the caller.
        record: what the run is (`run_record`).
        resume: False: throw away whatever is there. True or None: go on where there is something.

    Raises:
        ResumeError: on entering, there is an unfinished run of something else.
        RunError: for any failure of the storage inside the block.
    """

    def __init__(self, out: str, record: Mapping[str, Any], resume: bool | None = None) -> None:
        self._out = out
        self._staging = join(out, STAGING)
        self._record: dict[str, Any] = orjson.loads(orjson.dumps(record))
        self._resume = resume

    def __enter__(self) -> TaskRecords:
        """Take up or begin."""
        held = _read_sealed(join(self._out, RUN)) if self._resume is not False else None
        if held is None:
            remove(self._staging)
            make_dirs(self._staging)
            write_bytes(join(self._out, RUN), encode(sealed(self._record)))
        elif (difference := _first_difference(self._record, held)) is not None:
            key, got, expected = difference
            raise ResumeError(
                self._out, f"holds an unfinished run with another {key}", got=got,
                expected=expected, advice=f"continue it with its own command, or throw it away: "
                f"sam2prep clean {self._out}, or --no-resume",
            )  # fmt: skip
        else:
            for name in (*_OF_THE_DRIVER, *FILES):  # no task wrote them: they are made anew
                remove(join(self._staging, name))
        folder = join(self._staging, _DONE)
        return TaskRecords(folder=folder, resumed=held is not None and bool(list_files(folder)))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Keep what is done, or remove it."""
        if error is None or exists(join(self._out, JOURNAL)):
            return
        if not self._is_to_keep(error):
            remove(self._staging)
            return
        kept = (
            f"what is done is kept in {self._staging}: the same command continues,"
            f" sam2prep clean {self._out} removes it"
        )
        if isinstance(error, OSError):
            raise broken(self._out, error, advice=kept) from error
        if isinstance(error, RunError | ExportError | NodeError):
            advice = f"{error.advice}; {kept}" if error.advice else kept
            raise type(error)(
                error.where, error.what, got=error.got, expected=error.expected, advice=advice
            ) from error
        error.add_note(kept)  # ended from outside, or a defect

    def _is_to_keep(self, error: BaseException) -> bool:
        if isinstance(error, ResumeError):
            return True
        if isinstance(error, UsageError) and not isinstance(error, NodeError):
            return False
        # An export that was read before can be read again, once its storage answers.
        if isinstance(error, ExportError) and not exists(join(self._staging, _INPUTS)):
            return False
        return bool(list_files(join(self._staging, _DONE)))


def broken(out: str, error: OSError, advice: str | None = None) -> RunError:
    """Say of a failure of the storage that it ended the run."""
    place = out if error.filename in (None, "", out) else f"{out}: {error.filename}"
    return RunError(place, f"the run broke: {error.strerror or error}", advice=advice)


def forget_tasks(staging: str) -> None:
    """Let nothing be taken over from this attempt: what its tasks found is not to be trusted."""
    remove(join(staging, _DONE))


def settle_inputs(staging: str, inputs: Mapping[str, str]) -> None:
    """Write down what the inputs hold, or compare with what an earlier attempt found in them.

    Called before the first task that depends on them, so that what comes later is of one state.

    Args:
        staging: folder of the work in progress.
        inputs: digest of the content by the name of the source.

    Raises:
        ResumeError: an input was changed since.
    """
    path = join(staging, _INPUTS)
    held = _read_sealed(path)
    if held is None:
        write_bytes(path, encode(sealed(dict(inputs))))
        return
    for name in sorted({*inputs, *held}):
        if inputs.get(name) != held.get(name):
            out = staging.removesuffix(f"/{STAGING}")
            raise ResumeError(
                name, "was changed since the unfinished run has read it",
                got=f"content {(inputs.get(name) or _NOTHING)[:12]}",
                expected=(held.get(name) or _NOTHING)[:12],
                advice=f"put it back, or begin anew: sam2prep clean {out}, or --no-resume",
            )  # fmt: skip


def _read_sealed(path: str) -> dict[str, Any] | None:
    """Give a sealed document without its seal; None if it is not there or not whole."""
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        return None
    if not is_whole(content):
        return None
    document: dict[str, Any] = orjson.loads(content)
    del document["digest"]
    return document


def _first_difference(given: Any, held: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """Name the first place where two documents differ, and what each has there."""
    if isinstance(given, dict) and isinstance(held, dict):
        parts = {name: f"{key}.{name}" if key else name for name in {**given, **held}}
    elif isinstance(given, list) and isinstance(held, list):
        parts = {place: f"{key}[{place}]" for place in range(max(len(given), len(held)))}
    elif given == held:
        return None
    else:
        return key, _NOTHING if given is None else given, _NOTHING if held is None else held
    for part, at in parts.items():
        found = _first_difference(_part(given, part), _part(held, part), at)
        if found is not None:
            return found
    return None


def _part(document: Any, part: Any) -> Any:
    if isinstance(document, dict):
        return document.get(part)
    return document[part] if part < len(document) else None
