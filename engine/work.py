"""Where the tasks of a run are executed, and what a person sees of it meanwhile.

A run must not wait for what it does not need, so a small one stays in this process, and one that a
single machine does in minutes needs no Ray: the tasks are the same and so are the bytes. The choice
is made by the size of the inputs on storage, known before anything is opened.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from engine.config import Execution
from engine.errors import CrashError
from engine.measured_tasks import MeasuredTask, Subject, subject_of
from engine.measures import Measured, Measures
from engine.pipeline import RayRunner
from engine.process_runner import ProcessRunner, usable_cores
from engine.ray_metrics import export_measures
from engine.sav_names import sav_video, split_address
from engine.sharing import local_places
from engine.stage_times import StageTimes
from engine.storage import join, stored_bytes
from engine.task_records import Done, TaskRecords
from engine.tasks import LocalRunner, Task

__all__ = ["Progress", "Work", "start_work"]

# Called with stage, tasks done, tasks in all.
Progress = Callable[[str, int, int], None]

# One core takes 100 to 200 MB a second through a run, and a process takes half a second to start:
# below this, a second core could not make up for it.
_LOCAL_BYTES = 128 * 2**20
_PROCESS_BYTES = 64 * 2**20  # as little as that is not worth one more process
# Starting Ray takes 5 to 20 s, and its own services some of every core: from here on that is less
# than 3 % of a run, and its care for memory and its metrics are worth it.
_RAY_BYTES = 32 * 2**30

_Runner = LocalRunner | ProcessRunner | RayRunner


class Work:
    """Runs the stages of one run and keeps their times.

    Args:
        runner: executes tasks.
        progress: told of every task that is done; None: nobody.
        frames_per_range: frames one scan task takes.
        records: of finished tasks, for a run that may be continued; None: none are kept.
    """

    def __init__(
        self,
        runner: _Runner,
        progress: Progress | None = None,
        *,
        frames_per_range: int = Execution.frames_per_range,
        records: TaskRecords | None = None,
    ) -> None:
        self._runner = runner
        self._progress = progress
        self.frames_per_range = frames_per_range
        self.records = records
        self._taken_over = self._tasks = 0
        self._not_exported: list[Measures] = []
        self.times = StageTimes()

    def elapsed(self) -> float:
        """Seconds since the work began."""
        return self.times.elapsed()

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each stage, in seconds."""
        return self.times.seconds

    @property
    def resumed(self) -> dict[str, int] | None:
        """Tasks so far, and how many were done in an earlier attempt; None in a first one."""
        if self.records is None or not self.records.resumed:
            return None
        return {"taken_over": self._taken_over, "tasks": self._tasks}

    @property
    def runner_name(self) -> str:
        """Where tasks run: `local`, `processes` or `ray`."""
        if isinstance(self._runner, ProcessRunner):
            return "processes"
        return "local" if isinstance(self._runner, LocalRunner) else "ray"

    def run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Task],
        *,
        stage: str,
        while_starting: bool = False,
        each: Callable[[Any], None] | None = None,
        unchanged: Callable[[Any, Any], bool] | None = None,
        recorded: bool = True,
        rescue: Callable[[Any], Any] | None = None,
    ) -> list[Any]:
        """Run all tasks of a stage.

        Args:
            function: a stage function of one payload.
            tasks: with unique keys.
            stage: names the work to people.
            while_starting: begin in this process while a Ray of this machine is still starting, if
                no crash is to be survived.
            each: called in this process with every result, as it comes.
            unchanged: called on a worker with payload and result of a task done in an earlier
                attempt; if not so, it is done again. None: its own files say it.
            recorded: False: done again in every attempt, which costs less than to check it.
            rescue: makes of a payload that crashed its worker one that leaves out more, None if it
                left out all; None: a crash ends the run. Of no use in this process.

        Returns:
            The results in the order of the tasks.
        """
        done = 0
        subjects = [subject_of(task.key, task.payload) for task in tasks]
        if self.records is not None and recorded:
            function = self.records.of_stage(function, stage, unchanged)
            tasks = [replace(task, payload=(task.key, task.payload)) for task in tasks]
            rescue = rescue and partial(_rescue_inside, rescue)
        function, tasks = _measured(function, tasks, subjects, stage)
        rescue = rescue and partial(_rescue_inside, rescue)

        def count(_key: str, measured: Measured) -> None:
            nonlocal done
            done += 1
            result = self._counted(measured)
            if each:
                each(result)
            if self._progress:
                self._progress(stage, done, len(tasks))

        with self.times.timed(stage):
            if self._progress:
                self._progress(stage, 0, len(tasks))
            results, rest = dict[str, Any](), list(tasks)
            if while_starting and not rescue:
                results, rest = self._run_here(function, rest, stage, count)
            while rest:
                found, rest = self._run(function, rest, stage, count, rescue)
                results |= found
        in_order = [results[task.key].result for task in tasks]
        return [each.result if isinstance(each, Done) else each for each in in_order]

    def _counted(self, measured: Measured) -> Any:
        """Count a task that is done, and give its result."""
        self._tasks += 1
        result, measures = measured
        self.times.add(measures)
        if not isinstance(result, Done):
            return result
        self._taken_over += result.taken_over
        return result.result

    def _run_here(
        self,
        function: Callable[[Any], Any],
        tasks: list[Task],
        stage: str,
        count: Callable[[str, Any], None],
    ) -> tuple[dict[str, Any], list[Task]]:
        """Run tasks in this process as long as Ray is starting: results by key, and the rest."""
        results: dict[str, Any] = {}
        while tasks and self._is_starting():
            here = LocalRunner().run(function, [tasks.pop(0)], stage=stage, on_done=count)
            self._not_exported += [measured.measures for measured in here.values()]
            results |= here
        return results, tasks

    def _run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Task],
        stage: str,
        count: Callable[[str, Any], None],
        rescue: Callable[[Any], Any] | None,
    ) -> tuple[dict[str, Any], list[Task]]:
        """Give results by key, and what is to be run in place of tasks that crashed."""
        runner, rescued = self._runner, list[Task]()
        if isinstance(runner, LocalRunner) or rescue is None:
            return runner.run(function, tasks, stage=stage, on_done=count), rescued

        def replan(task: Task) -> None:
            payload = rescue(task.payload)
            if payload is None:
                raise CrashError(
                    f"{stage}: {task.name}", "a worker died each time it was at it, also when all "
                    "was left out that can be", advice="leave the export out",
                )  # fmt: skip
            rescued.append(replace(task, payload=payload))

        found = runner.run(function, tasks, stage=stage, on_done=count, on_crash=replan)
        return found, rescued

    def _is_starting(self) -> bool:
        runner = self._runner
        return isinstance(runner, RayRunner) and not runner.joins and not runner.ready

    def export_rest(self) -> None:
        """Export what was done in this process while Ray was starting; workers export their own."""
        if isinstance(self._runner, RayRunner) and self._not_exported and self._runner.joined():
            while self._not_exported:
                export_measures(self._not_exported.pop(0))

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Add the time the block takes to that of the stage."""
        return self.times.timed(stage)


def _rescue_inside(rescue: Callable[[Any], Any], task: tuple[Any, Any]) -> tuple[Any, Any] | None:
    """Rescue a payload that goes with what says whose it is."""
    whose, payload = task
    payload = rescue(payload)
    return None if payload is None else (whose, payload)


@contextmanager
def start_work(
    execution: Execution,
    sources: Sequence[str],
    progress: Progress | None = None,
    records: TaskRecords | None = None,
    *,
    places: Sequence[str | None] = (),
) -> Iterator[Work]:
    """Choose and start what runs the tasks; leave it as it was found at the end.

    Args:
        execution: how to run.
        sources: the exports, for their size.
        progress: told of every task that is done.
        records: of finished tasks, for a run that may be continued; None: none are kept.
        places: what tasks read or write beside the exports; None for what is not given. If they
            or the exports are local, every node of a cluster has to see them.
    """
    ranges = execution.frames_per_range
    kind, workers = _choice(execution, sources)
    if kind == "local":
        yield Work(LocalRunner(), progress, frames_per_range=ranges, records=records)
        return
    if kind == "processes":
        with ProcessRunner(workers=workers) as processes:
            yield Work(processes, progress, frames_per_range=ranges, records=records)
        return
    read = [place for source in sources for place in _places(source)]
    shared = local_places([*read, *(place for place in places if place is not None)])
    with RayRunner(
        workers=execution.workers, address=execution.address, places=tuple(shared)
    ) as runner:
        if shared and _on_cluster(execution):  # nothing is begun that will be refused
            runner.run(len, [], stage="start")
        work = Work(runner, progress, frames_per_range=ranges, records=records)
        yield work
        work.export_rest()


def _measured(
    function: Callable[[Any], Any], tasks: Sequence[Task], subjects: Sequence[Subject], stage: str
) -> tuple[MeasuredTask, list[Task]]:
    """Let every task of a stage measure itself."""
    return MeasuredTask(function=function, stage=stage), [
        replace(task, payload=(subject, task.payload))
        for task, subject in zip(tasks, subjects, strict=True)
    ]


def _choice(execution: Execution, sources: Sequence[str]) -> tuple[str, int]:
    """Say what runs the tasks, and in how many processes of this machine."""
    workers = execution.workers or usable_cores()
    if execution.runner != "auto":
        return execution.runner, workers
    if _on_cluster(execution):
        return "ray", workers
    places = {place for source in sources for place in _places(source)}
    n_bytes = sum(stored_bytes(place) for place in places)
    if n_bytes >= _RAY_BYTES:
        return "ray", workers
    workers = min(workers, n_bytes // _PROCESS_BYTES)
    return ("processes", workers) if workers > 1 and n_bytes >= _LOCAL_BYTES else ("local", 1)


def _on_cluster(execution: Execution) -> bool:
    return bool(execution.address or os.environ.get("RAY_ADDRESS"))


def _places(source: str) -> list[str]:
    """Where the bytes of a source lie; of an SA-V file also the frames beside it."""
    address = split_address(source)
    if address is None:
        return [source]
    container, name = address
    if container.lower().endswith(".zip"):
        return [container]
    return [source, join(container, sav_video(name) or "")]
