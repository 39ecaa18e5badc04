"""Tasks and their outcomes: what any way of running them owes, and the plain way in this process.

A stage is a function and a list of tasks. Whoever runs it gives back a result for every key, in
plan order, or raises: what the function raised on purpose as it is, anything else with the name of
its stage and task.
"""

import importlib
import pickle
import traceback
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.errors import CrashError, RunError, Sam2PrepError

__all__ = [
    "WORKER_ENVIRONMENT",
    "Collected",
    "LocalRunner",
    "NamedFailure",
    "Task",
    "first_error",
    "given_up",
    "listed",
    "load_worker",
    "portions",
    "require_complete",
    "require_unique",
]

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # The C library of Linux gives a freed image's memory back, and takes it anew for the next one:
    # two faults of three. It may keep 128 MB instead.
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**27),
}
"""Of a process that is one of as many as there are cores."""

_NAMED = 10
_WORKER_MODULES = ("engine.survey", "engine.stages", "engine.shards")
_MAY_LEAVE_OUT = ("open", "scan", "write", "quarantine")
"""Stages that do without what crashes, where the validation is a standard one."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One unit of work.

    Args:
        key: names the task in messages and results; unique in its run and the same in every run.
        payload: what the function gets; picklable.
        about: what a person knows it by, such as the export; empty: its key says enough.
    """

    key: str
    payload: Any
    about: str = ""

    @property
    def name(self) -> str:
        """The task as messages name it."""
        return f"{self.key} ({self.about})" if self.about else self.key


def require_complete(stage: str, tasks: Sequence[Task], finished: Collection[str]) -> None:
    """Compare the plan with what came back.

    Args:
        stage: names the work in the message.
        tasks: the plan.
        finished: the keys that came back, in any order.

    Raises:
        RunError: a task of the plan is missing; the message names the first ten in plan order.
    """
    missing = [task.name for task in tasks if task.key not in finished]
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


def load_worker(_payload: None) -> None:
    """Import what the tasks of a run will need, as a task of its own."""
    for module in _WORKER_MODULES:
        importlib.import_module(module)


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


class Collected:
    """What has come back of a plan, in whatever order.

    Args:
        tasks: the plan.
        on_done: called with key and result of every task that is done, once.
    """

    def __init__(
        self, tasks: Sequence[Task], on_done: Callable[[str, Any], None] | None = None
    ) -> None:
        self._tasks = tasks
        self._on_done = on_done
        self.results: dict[str, Any] = {}
        self.errors: dict[str, Sam2PrepError] = {}
        self.crashed: set[str] = set()

    @property
    def error(self) -> Sam2PrepError | None:
        """The error that comes first in plan order, once every task before it is done."""
        if not self.errors:
            return None
        done = {*self.results, *self.crashed} if self.crashed else self.results
        return first_error(self._tasks, done, self.errors)

    @property
    def missing(self) -> list[Task]:
        """Tasks of which nothing came back."""
        return [t for t in self._tasks if t.key not in self.results and t.key not in self.errors]

    def take(self, outcomes: Generator[tuple[str, bool, bytes], None, None]) -> None:
        """Take key, success and pickled value or error of tasks, until an error is settled.

        Args:
            outcomes: of two outcomes of one task the first counts; closed at the end.
        """
        with closing(outcomes):
            for key, ok, pickled in outcomes:
                if key in self.results or key in self.errors:
                    continue
                if not ok:
                    self.errors[key] = pickle.loads(pickled)
                else:
                    self.results[key] = pickle.loads(pickled)
                    if self._on_done is not None:
                        self._on_done(key, self.results[key])
                if self.error is not None:
                    return

    def take_missing(
        self,
        alone: Callable[[Task], Generator[tuple[str, bool, bytes], None, None]],
        on_crash: Callable[[Task], None] | None,
    ) -> None:
        """Run the tasks of which nothing came back, each alone, until an error is settled.

        Args:
            alone: gives the outcome of one task; raises `CrashError` if its worker dies again.
            on_crash: called then; None: the error is raised.
        """
        for task in self.missing:
            if self.error is not None:
                return
            try:
                self.take(alone(task))
            except CrashError:
                if on_crash is None:
                    raise
                self.crashed.add(task.key)
                on_crash(task)

    def in_plan_order(self, stage: str) -> dict[str, Any]:
        """Give the results by key.

        Raises:
            Sam2PrepError: the first error in plan order.
            RunError: a task is missing.
        """
        if self.error is not None:
            raise self.error
        require_complete(stage, self._tasks, {*self.results, *self.crashed})
        return {t.key: self.results[t.key] for t in self._tasks if t.key in self.results}


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


def portions(tasks: Sequence[Task], most_bytes: int) -> Iterator[list[Task]]:
    """Cut a plan into stretches whose pickled payloads are small together.

    Args:
        tasks: the plan.
        most_bytes: of a stretch; a task that is larger is one by itself.
    """
    portion: list[Task] = []
    n_bytes = 0
    for task in tasks:
        size = len(pickle.dumps(task.payload))
        if portion and n_bytes + size > most_bytes:
            yield portion
            portion, n_bytes = [], 0
        portion.append(task)
        n_bytes += size
    if portion:
        yield portion


def listed(names: Sequence[str]) -> str:
    """Give the first ten names for the end of a sentence, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f": {', '.join(names[:_NAMED])}{more}"


def given_up(
    kind: str, stage: str, tasks: Sequence[Task], unfinished: Sequence[Task], *, died: bool
) -> RunError:
    """Word the end of a run of tasks that whoever runs them gave up.

    Args:
        kind: of the failure, in a word or two.
        stage: names the work.
        tasks: of the run.
        unfinished: those of which nothing came back.
        died: whether workers died.
    """
    if died and len(tasks) == 1:
        advice = "memory is the usual reason: try fewer workers"
        if stage in _MAY_LEAVE_OUT:
            advice += "; with --validation standard, what crashes its reader is set aside"
        elif stage != "start":
            advice += ", or leave out what is named"
        return CrashError(
            f"{stage}: {tasks[0].name}", f"a worker died each time it was at it ({kind})",
            advice=advice,
        )  # fmt: skip
    reason = "workers died at too many tasks" if died else "Ray failed"
    return RunError(
        stage,
        f"{reason} ({kind}); unfinished are {len(unfinished)} of {len(tasks)} tasks"
        f"{listed([task.name for task in unfinished])}",
        advice="memory is the usual reason: try fewer workers" if died else None,
    )
