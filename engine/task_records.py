"""What a finished task leaves for a run that dies later: its result, and which files it wrote.

The worker writes a record when a task is done, and looks for it when the run is resumed. A record
is taken for the task only if it was made of the same payload, and if every file that the task wrote
is there with its size and SHA-256: no file of a running task is waited for to be on the disk, so a
machine that lost power may have left empty ones. Everything else is done again, which is never
wrong, only slower.

A folder for a dataset may be shared, so a record is read as what strangers wrote: the unpickler
makes records of this package and plain values, and calls nothing else.
"""

import hashlib
import importlib
import io
import pickle
import re
import struct
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.byte_ranges import sha256_of
from engine.errors import Sam2PrepError
from engine.measures import note
from engine.storage import join, read_bytes, write_bytes
from engine.written_files import noting_files

__all__ = ["Done", "RecordedTask", "TaskRecords"]

_OURS = re.compile(r"engine\.[a-z_]+")
# What an unpickler raises at bytes that somebody made up.
_UNREADABLE = (
    pickle.UnpicklingError, Sam2PrepError, ArithmeticError, AttributeError, EOFError, ImportError,
    LookupError, MemoryError, RecursionError, TypeError, ValueError, struct.error,
)  # fmt: skip


class Done(NamedTuple):
    """What came of a task.

    Args:
        result: what its function returned, now or in an earlier attempt.
        taken_over: it was in an earlier attempt.
    """

    result: Any
    taken_over: bool


@dataclass(frozen=True, kw_only=True)
class RecordedTask:
    """A stage function that leaves records, and takes over those of an earlier attempt.

    Args:
        function: of one payload.
        folder: of the stage's records.
        resumed: there may be records to take over.
        unchanged: says of payload and result whether what the task has read still is the same.
    """

    function: Callable[[Any], Any]
    folder: str
    resumed: bool
    unchanged: Callable[[Any, Any], bool] | None = None

    def __call__(self, task: tuple[str, Any]) -> Done:
        """Give the result of a task, a key and a payload.

        Raises:
            OSError: the record cannot be written.
        """
        key, payload = task
        path, digest = join(self.folder, key), _digest_of(payload)
        if self.resumed:
            found = _read(path, digest)
            if found and (self.unchanged is None or self.unchanged(payload, found.result)):
                note("tasks_taken_over", 1)
                return found
        with noting_files() as written:
            result = self.function(payload)
        files = tuple(
            (place, *((size, sha256) if sha256 else sha256_of(place)))
            for place, (size, sha256) in written.items()
        )
        content = _pickled((digest, files, result))
        write_bytes(path, _seal(content) + content, durable=False)
        return Done(result=result, taken_over=False)


@dataclass(frozen=True, kw_only=True)
class TaskRecords:
    """The records of one run.

    Args:
        folder: where they are.
        resumed: an earlier attempt of the same run may have left some.
    """

    folder: str
    resumed: bool

    def of_stage(
        self,
        function: Callable[[Any], Any],
        stage: str,
        unchanged: Callable[[Any, Any], bool] | None = None,
    ) -> RecordedTask:
        """Give the function of a stage with records; it is called with (key, payload)."""
        return RecordedTask(
            function=function, folder=join(self.folder, stage), resumed=self.resumed,
            unchanged=unchanged,
        )  # fmt: skip


def _read(path: str, digest: str) -> Done | None:
    """Give what a record holds; None if it is not there, not whole, or of another payload."""
    try:
        data = read_bytes(path)
        content = data[_SEAL_BYTES:]
        if _seal(content) != data[:_SEAL_BYTES]:
            return None
        made_of, files, result = _Unpickler(io.BytesIO(content)).load()
        if made_of != digest:
            return None
        if any(sha256_of(place) != (size, sha256) for place, size, sha256 in files):
            return None
    except (*_UNREADABLE, OSError):
        return None
    return Done(result=result, taken_over=True)


def _seal(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


_SEAL_BYTES = hashlib.sha256().digest_size


def _pickled(value: Any) -> bytes:
    sink = io.BytesIO()
    _Pickler(sink, protocol=5).dump(value)
    return sink.getvalue()


class _Pickler(pickle.Pickler):
    """Writes arrays in words of our own, so that reading them needs nothing of numpy's."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.ndarray):
            return _array, (obj.dtype.str, obj.shape, obj.tobytes())
        if isinstance(obj, np.generic):
            return _scalar, (obj.dtype.str, obj.tobytes())
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Makes records and enumerations of this package, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module == __name__ and name in (_array.__name__, _scalar.__name__):
            return globals()[name]
        if _OURS.fullmatch(module):
            found = getattr(importlib.import_module(module), name, None)
            if not isinstance(found, type) or found.__module__ != module:
                raise pickle.UnpicklingError(f"{module}.{name} is no class")
            if is_dataclass(found) or issubclass(found, Enum):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no record")


def _array(kind: str, shape: tuple[int, ...], data: bytes) -> NDArray[Any]:
    return np.frombuffer(data, _number(kind)).reshape(shape).copy()


def _scalar(kind: str, data: bytes) -> Any:
    return np.frombuffer(data, _number(kind))[0]


def _number(kind: str) -> np.dtype[Any]:
    if not re.fullmatch(r"[<>|=][biuf][1248]", kind):
        raise ValueError(f"{kind} is no kind of number")
    return np.dtype(kind)


def _digest_of(payload: Any) -> str:
    """Digest a payload by value: pickled bytes differ with the hash seed and with shared objects.

    Raises:
        TypeError: it holds something that has no value of its own.
    """
    digest = hashlib.sha256()
    _feed(digest, payload)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    kind = type(value).__qualname__
    if value is None or isinstance(value, bool | int | float | str | bytes | Enum):
        text = repr(value)
        digest.update(f"{kind} {len(text)} {text}".encode())
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str} {value.shape} ".encode() + value.tobytes())
    elif isinstance(value, Mapping):
        _feed_all(digest, "map", [part for key in sorted(value) for part in (key, value[key])])
    elif isinstance(value, Set):
        _feed_all(digest, "set", sorted(value))
    elif isinstance(value, list | tuple):
        _feed_all(digest, "list", value)
    elif is_dataclass(value):
        _feed_all(digest, kind, [getattr(value, field.name) for field in fields(value)])
    else:
        raise TypeError(f"a task holds a {kind}, which cannot be compared with an earlier one")


def _feed_all(digest: Any, kind: str, values: Any) -> None:
    digest.update(f"{kind} {len(values)} ".encode())
    for value in values:
        _feed(digest, value)
