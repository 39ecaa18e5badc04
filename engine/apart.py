"""Calls in a process of their own, one after the other, whose death the caller survives.

For what has killed a worker already, and only then: starting the process takes a second, and every
argument and result goes through a pipe. Of a thousand frames the one that kills is found at the
cost of one more start, and its signal is known.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from engine.errors import Sam2PrepError
from engine.tasks import NamedFailure

__all__ = ["UNREAD", "Care", "Died", "each_apart", "more_careful"]


UNREAD = "is among those that ended the program that read them; none of them was read"
"""What is said of frames that were left unread together."""


class Care(Enum):
    """How a task treats what may kill its process."""

    NONE = 0
    APART = 1  # each frame in a process of its own
    UNREAD = 2  # nothing is looked at


@dataclass(frozen=True)
class Died:
    """What stands for the result of a call that ended its process.

    Args:
        exit_code: of the process; below zero the number of a signal.
    """

    exit_code: int

    @property
    def sentence(self) -> str:
        """What happened, for people."""
        if self.exit_code >= 0:
            return f"ended the program that read it (code {self.exit_code})"
        try:
            name = signal.Signals(-self.exit_code).name
        except ValueError:
            name = f"signal {-self.exit_code}"
        return f"ended the program that read it ({name})"


def each_apart(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Yield what the function gives for each item, or a `Died`, in order.

    Args:
        function: picklable, of a module that can be imported; called in another process.
        items: picklable.

    Raises:
        Sam2PrepError: what the function raised on purpose; anything else as a `RunError`.
    """
    child: _Child | None = None
    try:
        for item in items:
            child = child or _Child(function)
            done = child.call(item)
            if isinstance(done, Died):
                child = None
            yield done
    finally:
        if child is not None:
            child.close()


def more_careful(task: Any) -> Any:
    """Give the task, a record with a `care`, with the next degree of it; None after the last."""
    return None if task.care is Care.UNREAD else replace(task, care=Care(task.care.value + 1))


class _Child:
    """A process that calls a function until its pipe ends."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit Ray's locks
        self._pipe, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, function), daemon=True
        )
        self._process.start()
        theirs.close()

    def call(self, item: Any) -> Any:
        try:
            self._pipe.send(item)
            ok, value = self._pipe.recv()
        except (EOFError, ConnectionError):
            self.close()
            return Died(self._process.exitcode or 0)
        if not ok:
            raise value
        return value

    def close(self) -> None:
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            with NamedFailure("a process apart", "one of its calls"):
                answer: tuple[bool, Any] = True, function(item)
        except Sam2PrepError as error:
            answer = False, error
        pipe.send(answer)
