"""Runs plain functions over tasks in several processes of this machine, one task a process.

The same promises as `engine.pipeline` makes on Ray, for one machine. There a start costs ten
seconds, and services take their share of every core; here a process is at work after half a
second. It places nothing, shares nothing, and knows of no other machine.

A process that dies takes nobody along: a new one takes its place, and its task is run again when
all others are done, alone, since a neighbour may have had the memory. What dies then too is its own
fault, and known by name.
"""

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.child_process import ChildProcess, Died
from engine.errors import RunError
from engine.tasks import Collected, Task, given_up, load_worker, require_unique

__all__ = ["ProcessRunner", "usable_cores"]

# Each costs two starts of a process; more than these are the fault of the machine.
_MOST_LOST = 32
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # Linux, control groups v2: microseconds in a period


@dataclass(kw_only=True)
class ProcessRunner:
    """Runs tasks in processes of this machine. A context manager, usable once.

    Entering starts the processes and returns at once: what they need, they import by themselves.

    Args:
        workers: processes, and so tasks at once.
    """

    workers: int
    _loading: dict[Connection, ChildProcess] = field(default_factory=dict, init=False, repr=False)
    _idle: list[ChildProcess] = field(default_factory=list, init=False, repr=False)
    _busy: dict[Connection, tuple[ChildProcess, Task]] = field(
        default_factory=dict, init=False, repr=False
    )
    _entered: bool = field(default=False, init=False, repr=False)

    def __enter__(self) -> Self:
        """Begin to start the processes, and let them import what tasks need."""
        self._entered = True
        for _ in range(self.workers):
            self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes; what is still at work is not waited for."""
        self._entered = False
        self._kill_busy()
        for child in (*self._idle, *self._loading.values()):
            child.kill()
        self._idle.clear()
        self._loading.clear()

    def run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Task],
        *,
        stage: str,
        on_done: Callable[[str, Any], None] | None = None,
        on_crash: Callable[[Task], None] | None = None,
    ) -> dict[str, Any]:
        """Call the function with the payload of every task, one task a process, in any order.

        A task whose process died is tried again once, so a function must bear to be run again. Once
        a task has failed, no more is waited for than the tasks before it.

        Args:
            function: of a module that can be imported; called with a task's payload.
            tasks: the plan; they are begun in this order.
            stage: names the work in messages.
            on_done: called in this process with key and result, in the order of finishing.
            on_crash: called with every task whose process died both times, in plan order; it has no
                result then. None: the first such task ends the run.

        Returns:
            The results by key, in plan order.

        Raises:
            Sam2PrepError: what the function raised, as it is; the first in plan order.
            RunError: the function raised anything else, or a process died too often (named with
                stage and task), or two tasks have one key.
        """
        require_unique(stage, tasks)
        if not self._entered:
            raise RunError(stage, "ProcessRunner.run was called outside of its `with` block")
        taken = Collected(tasks, on_done)
        taken.take(self._outcomes(function, tasks, stage, may_lose=_MOST_LOST))
        taken.take_missing(lambda task: self._outcomes(function, [task], stage, lost=1), on_crash)
        return taken.in_plan_order(stage)

    def _outcomes(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Task],
        stage: str,
        *,
        may_lose: int = 0,
        lost: int = 0,
    ) -> Generator[tuple[str, bool, bytes], None, None]:
        """Yield key, success, pickled value or error of every task, in the order of finishing.

        Of tasks whose process dies nothing is yielded, as long as they are no more than may be.
        `lost` counts the attempts at them so far.
        """
        todo, finished, died = list(reversed(tasks)), set[str](), 0
        try:
            while todo or self._busy:
                while todo and self._idle:
                    child, task = self._idle.pop(), todo.pop()
                    child.begin(function, task.payload, stage=stage, key=task.key, lost=lost)
                    self._busy[child.pipe] = (child, task)
                for pipe in self._answered():
                    if pipe in self._loading:
                        self._loaded(pipe, stage)
                        continue
                    child, task = self._busy.pop(pipe)
                    outcome = child.outcome()
                    if not isinstance(outcome, Died):
                        self._idle.append(child)
                        finished.add(task.key)
                        yield task.key, *outcome
                        continue
                    self._start()
                    died += 1
                    if died > may_lose:
                        left = [each for each in tasks if each.key not in finished]
                        raise given_up(outcome.reason, stage, tasks, left, died=True)
        finally:
            self._kill_busy()

    def _answered(self) -> list[Connection]:
        """Wait until a process has something to say, if only by its death."""
        pipes = [*self._busy, *self._loading]
        return [pipe for pipe in wait(pipes) if isinstance(pipe, Connection)]

    def _start(self) -> None:
        """Start a process; it is no help before it has imported what tasks need."""
        child = ChildProcess()
        child.begin(load_worker, None, stage="start", key="a process")
        self._loading[child.pipe] = child

    def _loaded(self, pipe: Connection, stage: str) -> None:
        child = self._loading.pop(pipe)
        loaded = child.result()
        if isinstance(loaded, Died):
            raise RunError(
                stage, f"a process ended while it was starting ({loaded.reason})",
                advice="memory is the usual reason: try fewer workers",
            )  # fmt: skip
        self._idle.append(child)

    def _kill_busy(self) -> None:
        """End what is at work on tasks that nobody waits for any more."""
        while self._busy:
            _, (child, _) = self._busy.popitem()
            child.kill()
            if self._entered:
                self._start()


def usable_cores(quota: Path = _QUOTA) -> int:
    """Give how many cores this process may use: of the machine, of its affinity, of a container.

    Args:
        quota: the container's share of time, "<microseconds or max> <period>"; may be missing.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    try:
        share, period = quota.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if share == "max" else max(1, min(cores, int(share) // int(period)))
