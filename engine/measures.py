"""What a task has done, in numbers, noted where it is done and added up by whoever runs it.

Trade-off: a variable of the process instead of an argument through every reader and writer. It is
not one of the context, for what a task's own threads read ahead is the task's too; a process runs
one task at a time, a worker of Ray as well as `engine.tasks.LocalRunner`. Nothing in it is a name
that came from a user: stages, finding codes and numbers, so that what counts them stays bounded.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["COUNTS", "Measured", "Measures", "measuring", "note", "note_findings"]

COUNTS = (
    "frames_checked", "masks_checked", "samples_written", "bytes_read", "bytes_written",
    "tasks_taken_over",
)  # fmt: skip
"""What a task counts. Bytes are those of images, annotations and tables, not of mapped files."""


@dataclass(kw_only=True)
class Measures:
    """What one task has done.

    Args:
        stage: of the run.
        key: of the task in it.
        seconds: from its beginning to its end.
        retries: attempts that were lost before this one.
        counts: by the names of `COUNTS`.
        findings: data problems found, by code.
    """

    stage: str
    key: str
    seconds: float = 0.0
    retries: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)


class Measured(NamedTuple):
    """What came of a task.

    Args:
        result: what its function returned.
        measures: what it has done for it.
    """

    result: Any
    measures: Measures


_lock = threading.Lock()
_noted: list[Measures] = []  # of the task under way, the innermost last


@contextmanager
def measuring(stage: str, key: str) -> Iterator[Measures]:
    """Measure what is done while the block runs, in any thread of this process.

    Args:
        stage: of the run.
        key: of the task.

    Yields:
        The measures; `seconds` is right after the block.
    """
    measures = Measures(stage=stage, key=key)
    start = time.perf_counter()
    with _lock:
        _noted.append(measures)
    try:
        yield measures
    finally:
        with _lock:
            _noted.remove(measures)
        measures.seconds = time.perf_counter() - start


def note(name: str, number: int) -> None:
    """Say that a task has done something; costs nothing where nobody asks.

    Args:
        name: one of `COUNTS`.
        number: how many, or how many bytes.

    Raises:
        KeyError: the name is none of them.
    """
    if name not in COUNTS:
        raise KeyError(name)
    with _lock:
        if _noted:
            _noted[-1].counts[name] += number


def note_findings(codes: Iterable[str]) -> None:
    """Say which data problems a task has found, by their codes, one for each."""
    with _lock:
        if _noted:
            _noted[-1].findings.update(codes)
