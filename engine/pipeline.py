"""Runs plain functions over tasks on Ray Data, one task a core.

The only module that imports ray, and only inside functions, since that import takes a second. The
trade: Ray Data costs about 15 ms a task and ten seconds a start, and gives the placing of tasks on
a cluster; so a task should be worth a second or more.

Ray is not trusted with completeness. By default Ray Data retries a task whose worker died for ever
(`ray/data/_internal/remote_fn.py`), and Ray retries one killed for memory for ever
(docs.ray.io, "How to avoid out-of-memory errors"): both are bounded here. What a task raises comes
back as a row, so that the error reported does not depend on which worker was first; and the keys
that came back are compared with the plan.
"""

import importlib
import logging
import os
import pickle
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

import pyarrow as pa

from engine.errors import RunError, Sam2PrepError
from engine.json_log import log_on_stderr
from engine.measures import Measured
from engine.ray_metrics import export_measures
from engine.tasks import (
    LocalRunner,
    NamedFailure,
    Task,
    first_error,
    listed,
    require_complete,
    require_unique,
)
from engine.version import build

__all__ = ["RayRunner", "Runner"]

_RETRIES = 3
_STARTS = 3
_WARM_WORKERS = 8  # more start by themselves, while these are at work
_WORKER_MODULES = ("engine.survey", "engine.stages")
_OBJECT_STORE_BYTES = 256 * 2**20  # rows here are a few KB; Ray's default is 30 % of the memory

_RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_task_oom_retries": str(_RETRIES),
    # `log_to_driver=False` does not stop the raylet's own messages (a worker died, ...): a thread
    # of the driver prints them on standard output, all but the lines that match this.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


@dataclass(kw_only=True)
class RayRunner:
    """Runs tasks on Ray Data. A context manager, usable once.

    Entering starts Ray in a thread of its own and returns at once: `run` waits for it, and until
    then the caller can do other work. What is used is, in this order: the Ray this process is
    already connected to (left running); the cluster at `address`, or at `RAY_ADDRESS`, which `ray
    job submit` sets (only disconnected from at the end); else a Ray of its own on this machine,
    shut down at the end. A cluster that merely happens to run on this machine is never joined.

    Workers import `engine` by name: it is found where the driver was started from a checkout's
    root, through PYTHONPATH, or where it is installed; on a cluster it must be installed or be in
    the job's working directory. A worker that finds other sources than the driver's refuses its
    tasks: two versions in one run would write a dataset that neither of them writes.

    Args:
        workers: most tasks at once; None means all cores of the machine or the cluster.
        address: of an existing cluster.
        task_memory_bytes: what a task reserves of a node's memory: a matter of placing, not a
            limit; None reserves nothing. More than any node has would wait for ever.
    """

    workers: int | None = None
    address: str | None = None
    task_memory_bytes: int | None = None
    _starter: ThreadPoolExecutor | None = field(default=None, init=False, repr=False)
    _started: Future[bool] | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        """Begin to start Ray, without waiting for it."""
        # A pool, because its thread lives until it is shut down: Linux kills the processes of a
        # local Ray as soon as the thread that started them ends (PR_SET_PDEATHSIG goes by thread).
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ray-start")
        self._started = self._starter.submit(self._start)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Shut down, or disconnect from, what was entered; waits for a start under way."""
        if self._started is None or self._starter is None:
            return
        if self._started.exception() is None and self._started.result():
            import ray

            ray.shutdown()
        self._starter.shutdown()
        self._starter = self._started = None

    @property
    def ready(self) -> bool:
        """Whether Ray has started, or has failed to: `run` would not wait for it."""
        return self._started is not None and self._started.done()

    def joined(self) -> bool:
        """Wait for the start, and say whether this process is connected to Ray."""
        return self._started is not None and self._started.exception() is None

    def run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Task],
        *,
        stage: str,
        on_done: Callable[[str, Any], None] | None = None,
    ) -> dict[str, Any]:
        """Call the function with the payload of every task, one task a core, in any order.

        A task whose worker died is tried three times more, so a function must bear to be run again,
        even while an earlier attempt is alive. Once a task has failed, no more is waited for than
        the tasks before it.

        Args:
            function: of a module that workers can import; called with a task's payload. What it
                prints goes to Ray's logs.
            tasks: the plan; they are begun in this order.
            stage: names the work in messages.
            on_done: called in this process with key and result, in the order of finishing.

        Returns:
            The results by key, in plan order. Of two results of one task the first counts.

        Raises:
            Sam2PrepError: what the function raised, as it is; the first in plan order.
            RunError: the function raised anything else, Ray cannot be started or reached, a worker
                died too often, a task is missing at the end (all named with stage and keys), or
                two tasks have one key.
        """
        require_unique(stage, tasks)
        if self._started is None:
            raise RunError(stage, "RayRunner.run was called outside of its `with` block")
        self._started.result()
        _take_back(signal.SIGTERM)
        results: dict[str, Any] = {}
        errors: dict[str, Sam2PrepError] = {}
        if tasks:
            # Ray Data too asks the environment whether it may report how it is used.
            with (
                _environment(_RAY_ENVIRONMENT),
                closing(self._outcomes(function, tasks, stage)) as outcomes,
            ):
                for key, ok, pickled in outcomes:
                    if key in results or key in errors:
                        continue
                    if ok:
                        results[key] = pickle.loads(pickled)
                        if on_done is not None:
                            on_done(key, results[key])
                    else:
                        errors[key] = pickle.loads(pickled)
                    if errors and first_error(tasks, results, errors) is not None:
                        break
        error = first_error(tasks, results, errors)
        if error is not None:
            raise error
        require_complete(stage, tasks, results)
        return {task.key: results[task.key] for task in tasks}

    def _start(self) -> bool:
        """Connect to Ray; True if this runner has to shut it down or disconnect."""
        with _environment(_RAY_ENVIRONMENT):
            import ray

            if ray.is_initialized():
                return False
            address = self.address or os.environ.get("RAY_ADDRESS")
            own: dict[str, Any] = {}
            if address is None:
                own = {
                    "num_cpus": self.workers,
                    "include_dashboard": False,
                    "object_store_memory": _OBJECT_STORE_BYTES,
                }
            _init_ray(address or "local", own)
            self._warm_up()
        return True

    def _warm_up(self) -> None:
        """Let Ray Data start its actors, and workers import, beside the caller's own work."""
        import ray

        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cores = int(resources.get("CPU", 1))
        count = max(1, min(cores, self.workers or cores, _WARM_WORKERS))
        tasks = [Task(key=f"worker {number}", payload=None) for number in range(count)]
        for _ in self._outcomes(_load_worker, tasks, "start"):
            pass

    def _outcomes(
        self, function: Callable[[Any], Any], tasks: Sequence[Task], stage: str
    ) -> Generator[tuple[str, bool, bytes], None, None]:
        """Yield key, success, pickled value or error of every task, in the order of finishing."""
        import ray.data
        from ray.data import DataContext, TaskPoolStrategy
        from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError
        from ray.util.annotations import RayDeprecationWarning

        _quiet_ray_data()
        context = DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.max_errored_blocks = 0
        finished: set[str] = set()
        size = None if self.workers is None else min(self.workers, len(tasks))
        with DataContext.current(context), warnings.catch_warnings():
            # Ray 2.60 to 2.63 have no other way than this deprecated one to bound retries.
            warnings.simplefilter("ignore", RayDeprecationWarning)
            dataset = ray.data.from_items(
                [{"key": task.key, "payload": pickle.dumps(task.payload)} for task in tasks],
                override_num_blocks=len(tasks),
            ).map(
                partial(_attempt, function=function, stage=stage, build_of_driver=build()),
                compute=TaskPoolStrategy(size=size),
                num_cpus=1,
                memory=self.task_memory_bytes,
                max_retries=_RETRIES,
            )
        try:
            # No prefetching: it would hold each result back until the next one is there.
            for batch in dataset.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                for row in cast(pa.Table, batch).to_pylist():
                    finished.add(row["key"])
                    yield row["key"], row["ok"], row["pickled"]
        except RayTaskError as error:
            raise RunError(stage, f"a worker could not run a task: {error.cause}") from error
        except RayError as error:
            unfinished = [task.key for task in tasks if task.key not in finished]
            died = isinstance(error, WorkerCrashedError | OutOfMemoryError)
            reason = f"a worker died {_RETRIES + 1} times at one task" if died else "Ray failed"
            raise RunError(
                stage,
                f"{reason} ({type(error).__name__}); "
                f"unfinished are {len(unfinished)} of {len(tasks)} tasks{listed(unfinished)}",
                advice="memory is the usual reason: try fewer workers" if died else None,
            ) from error


Runner = LocalRunner | RayRunner


def _init_ray(address: str, own: dict[str, Any]) -> None:
    """Start or join Ray; try again where its own processes were too slow to come up.

    Ray gives its agents 15 s, which a busy machine may not have (ray-project/ray, issue 65983).
    """
    import ray

    for attempt in range(1, _STARTS + 1):
        try:
            with NamedFailure("Ray", "start" if address == "local" else address):
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
            return
        except RunError as error:
            if attempt == _STARTS or "timed out during startup" not in str(error):
                raise
            ray.shutdown()


def _take_back(number: int) -> None:
    """Give a signal back to this program: Ray's C++ part dumps its stack at SIGTERM and aborts."""
    handler = signal.getsignal(number)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(number, handler)


def _load_worker(_payload: None) -> None:
    for module in _WORKER_MODULES:
        importlib.import_module(module)


def _attempt(
    row: dict[str, Any], *, function: Callable[[Any], Any], stage: str, build_of_driver: str
) -> dict[str, Any]:
    """Run one task in a worker; an error is a row too."""
    pa.set_cpu_count(1)
    log_on_stderr()
    try:
        _require_build(stage, build_of_driver)
        with NamedFailure(stage, row["key"]):
            result = function(pickle.loads(row["payload"]))
            if isinstance(result, Measured):
                result.measures.retries = _lost_attempts()
                export_measures(result.measures)
            pickled = pickle.dumps(result)
    except Sam2PrepError as error:
        return {"key": row["key"], "ok": False, "pickled": pickle.dumps(error)}
    return {"key": row["key"], "ok": True, "pickled": pickled}


def _lost_attempts() -> int:
    """How often the task of Ray that this is was begun before; its public context does not say."""
    from ray._private import worker

    connected: Any = worker.global_worker
    return int(connected.core_worker.get_current_task_attempt_number())


def _require_build(stage: str, of_driver: str) -> None:
    """Refuse a task of another version; asked by every task, as nodes may join at any time."""
    if build() != of_driver:
        raise RunError(
            stage, f"a worker ({socket.gethostname()}) runs another version of sam2prep than the "
            "driver", got=build(), expected=of_driver,
            advice="use one image for all nodes, or sam2prep submit, which sends the sources along",
        )  # fmt: skip


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables that are not set, for the processes started inside."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _quiet_ray_data() -> None:
    """Leave Ray Data's messages to its log file: on the terminal they repeat what we report."""
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)
