"""Calls in a process of their own, one after the other, whose death the caller survives.

For what has killed a worker already, and only then: starting the process takes a second, and every
argument and result goes through a pipe. Of a thousand frames the one that kills is found at the
cost of one more start, and its signal is known.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from enum import Enum
from typing import Any

from engine.child_process import ChildProcess, Died

__all__ = ["UNREAD", "Care", "each_apart", "more_careful"]


UNREAD = "is among those that ended the program that read them; none of them was read"
"""What is said of frames that were left unread together."""


class Care(Enum):
    """How a task treats what may kill its process."""

    NONE = 0
    APART = 1  # each frame in a process of its own
    UNREAD = 2  # nothing is looked at


def each_apart(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Yield what the function gives for each item, or a `Died`, in order.

    Args:
        function: picklable, of a module that can be imported; called in another process.
        items: picklable.

    Raises:
        Sam2PrepError: what the function raised on purpose; anything else as a `RunError`.
    """
    child: ChildProcess | None = None
    try:
        for item in items:
            child = child or ChildProcess()
            child.begin(function, item, stage="a process apart", key="one of its calls")
            done = child.result()
            if isinstance(done, Died):
                child = None
            yield done
    finally:
        if child is not None:
            child.kill()


def more_careful(task: Any) -> Any:
    """Give the task, a record with a `care`, with the next degree of it; None after the last."""
    return None if task.care is Care.UNREAD else replace(task, care=Care(task.care.value + 1))
