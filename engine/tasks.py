"""Tasks and their outcomes: what any way of running them owes, and the plain way in this process.

A stage is a function and a list of tasks. Whoever runs it gives back a result for every key, in
plan order, or raises: what the function raised on purpose as it is, anything else with the name of
its stage and task.
"""

import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.errors import RunError, Sam2PrepError

__all__ = [
    "LocalRunner",
    "NamedFailure",
    "Task",
    "first_error",
    "listed",
    "require_complete",
    "require_unique",
]

_KEYS_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class Task:
    """One unit of work.

    Args:
        key: names the task in messages and results; unique in its run and the same in every run.
        payload: what the function gets; picklable.
    """

    key: str
    payload: Any


def require_complete(stage: str, tasks: Sequence[Task], finished: Collection[str]) -> None:
    """Compare the plan with what came back.

    Args:
        stage: names the work in the message.
        tasks: the plan.
        finished: the keys that came back, in any order.

    Raises:
        RunError: a task of the plan is missing; the message names the first ten in plan order.
    """
    missing = [task.key for task in tasks if task.key not in finished]
    if missing:
        raise RunError(
            stage, f"{len(missing)} of {len(tasks)} tasks did not finish{listed(missing)}"
        )


@dataclass(frozen=True)
class LocalRunner:
    """Runs tasks in this process, one after the other, in plan order."""

    def run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Task],
        *,
        stage: str,
        on_done: Callable[[str, Any], None] | None = None,
    ) -> dict[str, Any]:
        """Call the function with the payload of every task.

        Args:
            function: called once a task with its payload.
            tasks: the plan.
            stage: names the work in messages.
            on_done: called with key and result after each task.

        Returns:
            The results by key, in plan order.

        Raises:
            Sam2PrepError: what the function raised, as it is; the first in plan order.
            RunError: the function raised anything else (named with stage, key and text), or two
                tasks have one key.
        """
        require_unique(stage, tasks)
        results: dict[str, Any] = {}
        for task in tasks:
            with NamedFailure(stage, task.key):
                results[task.key] = function(task.payload)
            if on_done is not None:
                on_done(task.key, results[task.key])
        return results


class NamedFailure:
    """Gives an exception that nobody planned the name of its stage and task; a context manager.

    Nothing is swallowed: what leaves is the same failure as a `RunError`, with the exception as its
    cause. Planned errors, and what is no `Exception` (Ctrl-C, exit), pass as they are.

    Args:
        stage: names the work.
        key: names the task.
    """

    def __init__(self, stage: str, key: str) -> None:
        self._where = f"{stage}: {key}"

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, Sam2PrepError):
            return
        what = f"{type(error).__name__}: {error}"
        if not isinstance(error, OSError | MemoryError):  # a defect: say where
            frame = traceback.extract_tb(trace)[-1]
            what += f" ({Path(frame.filename).name}:{frame.lineno})"
        raise RunError(self._where, what) from error


def first_error(
    tasks: Sequence[Task], results: Collection[str], errors: dict[str, Sam2PrepError]
) -> Sam2PrepError | None:
    """Give the error that comes first in plan order, once every task before it is done.

    Args:
        tasks: the plan.
        results: keys that are done.
        errors: by key.
    """
    for task in tasks:
        if task.key in errors:
            return errors[task.key]
        if task.key not in results:
            return None
    return None


def require_unique(stage: str, tasks: Sequence[Task]) -> None:
    """Check that no two tasks have one key.

    Raises:
        RunError: two have.
    """
    seen: set[str] = set()
    for task in tasks:
        if task.key in seen:
            raise RunError(f"{stage}: {task.key}", "two tasks have this key")
        seen.add(task.key)


def listed(keys: Sequence[str]) -> str:
    """Give the first ten keys for the end of a sentence, and how many more there are."""
    more = f" and {len(keys) - _KEYS_NAMED} more" if len(keys) > _KEYS_NAMED else ""
    return f": {', '.join(keys[:_KEYS_NAMED])}{more}"
