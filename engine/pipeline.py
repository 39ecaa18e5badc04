"""Runs plain functions over tasks on Ray Data, one task a core.

The only module that imports ray, and only inside functions, since that import takes a second. The
trade: Ray Data costs about 15 ms a task and ten seconds a start, and gives the placing of tasks on
a cluster; so a task should be worth a second or more.

Ray is not trusted with completeness. By default Ray Data retries a task whose worker died for ever
(`ray/data/_internal/remote_fn.py`), and Ray retries one killed for memory for ever
(docs.ray.io, "How to avoid out-of-memory errors"): both are bounded here. What a task raises comes
back as a row, so that the error reported does not depend on which worker was first; and the keys
that came back are compared with the plan.

A worker that dies takes nobody along: Ray Data goes on without the task. What is missing in the end
is run again, one task at a time with all the cluster to itself, since a neighbour may have had the
memory; what dies then too is its own fault, and known by name.
"""

import logging
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

import pyarrow as pa

from engine.errors import RunError
from engine.ray_worker import attempt
from engine.sharing import Shared, require_same, sights
from engine.store_settings import StoreSettings
from engine.tasks import (
    WORKER_ENVIRONMENT,
    Collected,
    NamedFailure,
    Task,
    given_up,
    load_worker,
    portions,
    require_unique,
)
from engine.version import build

__all__ = ["RayRunner"]

_RETRIES = 3
# Each costs five starts of a worker; more than these are the fault of machines, not of the data.
_MOST_LOST = 32
_PORTION_BYTES = 32 * 2**20  # of payloads at once in the object store of the driver's node
_TASK_BYTES = 2**30
_STARTS = 3
_WARM_WORKERS = 8  # more start by themselves, while these are at work
_OBJECT_STORE_BYTES = 256 * 2**20  # rows here are a few KB; Ray's default is 30 % of the memory

_RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_task_oom_retries": str(_RETRIES),
    # `log_to_driver=False` does not stop the raylet's own messages (a worker died, ...): a thread
    # of the driver prints them on standard output, all but the lines that match this.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
    **WORKER_ENVIRONMENT,
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
        task_memory_bytes: what a task reserves of a node's memory, or all of the largest node's if
            that is less: a matter of placing, not a limit. None reserves nothing.
        places: local paths that tasks read or write: the first `run` asks all nodes for them, and
            nodes that join later look before their first task.
    """

    workers: int | None = None
    address: str | None = None
    task_memory_bytes: int | None = _TASK_BYTES
    places: tuple[str, ...] = ()
    _starter: ThreadPoolExecutor | None = field(default=None, init=False, repr=False)
    _started: Future[bool] | None = field(default=None, init=False, repr=False)
    _shared: Shared | None = field(default=None, init=False, repr=False)

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
    def joins(self) -> bool:
        """Whether tasks go to a cluster that is there, rather than to a Ray of its own."""
        return bool(self.address or os.environ.get("RAY_ADDRESS"))

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
        on_crash: Callable[[Task], None] | None = None,
    ) -> dict[str, Any]:
        """Call the function with the payload of every task, one task a core, in any order.

        A task whose worker died is tried three times more, and once alone when all others are
        done, so a function must bear to be run again, even while an earlier attempt is alive. Once
        a task has failed, no more is waited for than the tasks before it.

        Args:
            function: of a module that workers can import; called with a task's payload. What it
                prints goes to Ray's logs.
            tasks: the plan; they are begun in this order.
            stage: names the work in messages.
            on_done: called in this process with key and result, in the order of finishing.
            on_crash: called with every task whose worker died each time, in plan order; it has no
                result then. None: the first such task ends the run.

        Returns:
            The results by key, in plan order. Of two results of one task the first counts.

        Raises:
            Sam2PrepError: what the function raised, as it is; the first in plan order.
            NodeError: a node does not see one of `places` as the driver does.
            RunError: the function raised anything else, Ray cannot be started or reached, a worker
                died too often, a task is missing at the end (all named with stage and task), or
                two tasks have one key.
        """
        require_unique(stage, tasks)
        self._wait_for_start(stage)
        _take_back(signal.SIGTERM)
        taken = Collected(tasks, on_done)
        # Ray Data too asks the environment whether it may report how it is used.
        with _environment(_RAY_ENVIRONMENT):
            for portion in portions(tasks, _PORTION_BYTES):
                taken.take(self._outcomes(function, portion, stage, may_lose=_MOST_LOST))
                if taken.error is not None:
                    break
            taken.take_missing(
                lambda task: self._outcomes(function, [task], stage, retries=0), on_crash
            )
        return taken.in_plan_order(stage)

    def _wait_for_start(self, stage: str) -> None:
        if self._started is None:
            raise RunError(stage, "RayRunner.run was called outside of its `with` block")
        self._started.result()
        if self.places and self._shared is None:
            self._shared = _require_shared(self.places, stage)

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

    def _reserved(self) -> float | None:
        """Bytes of memory that a task reserves; more than any node has it would wait for."""
        import ray

        held = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        sizes = [node.get("memory", 0.0) for node in held if node.get("CPU")]
        if self.task_memory_bytes is None or not sizes:
            return self.task_memory_bytes
        return float(min(self.task_memory_bytes, max(sizes)))

    def _warm_up(self) -> None:
        """Let Ray Data start its actors, and workers import, beside the caller's own work."""
        import ray

        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cores = int(resources.get("CPU", 1))
        count = max(1, min(cores, self.workers or cores, _WARM_WORKERS))
        tasks = [Task(key=f"worker {number}", payload=None) for number in range(count)]
        for _ in self._outcomes(load_worker, tasks, "start"):
            pass

    def _outcomes(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Task],
        stage: str,
        *,
        retries: int = _RETRIES,
        may_lose: int = 0,
    ) -> Generator[tuple[str, bool, bytes], None, None]:
        """Yield key, success, pickled value or error of every task, in the order of finishing.

        Of tasks that are lost for good nothing is yielded, as long as they are no more than may be.
        """
        import ray.data
        from ray.data import DataContext, TaskPoolStrategy
        from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError
        from ray.util.annotations import RayDeprecationWarning

        _quiet_ray_data()
        context = DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.max_errored_blocks = may_lose
        finished: set[str] = set()
        size = None if self.workers is None else min(self.workers, len(tasks))
        with DataContext.current(context), warnings.catch_warnings():
            # Ray 2.60 to 2.63 have no other way than this deprecated one to bound retries.
            warnings.simplefilter("ignore", RayDeprecationWarning)
            dataset = ray.data.from_items(
                [{"key": task.key, "payload": pickle.dumps(task.payload)} for task in tasks],
                override_num_blocks=len(tasks),
            ).map(
                partial(
                    attempt, function=function, stage=stage, build_of_driver=build(),
                    shared=self._shared, settings=StoreSettings.of_this_process(),
                ),
                compute=TaskPoolStrategy(size=size),
                num_cpus=1,
                memory=self._reserved(),
                max_retries=retries,
            )  # fmt: skip
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
            died = isinstance(error, WorkerCrashedError | OutOfMemoryError)
            unfinished = [task for task in tasks if task.key not in finished]
            raise given_up(type(error).__name__, stage, tasks, unfinished, died=died) from error


def _require_shared(places: tuple[str, ...], stage: str) -> Shared:
    """Ask every node that runs tasks what it sees of some paths; the driver's own, too.

    Returns:
        What is to be asked of nodes that join later.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    later = Shared(
        places=places, seen=tuple(sights(places, names=False)),
        asked=frozenset(node["NodeID"] for node in alive),
    )  # fmt: skip
    if len(alive) == 1:
        return later
    working = {
        node["NodeID"]: str(node["NodeManagerAddress"])
        for node in alive
        if node["Resources"].get("CPU", 0)
    }
    look = ray.remote(sights)
    asked = {
        f"{address} ({node[:8]})": look.options(
            num_cpus=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote(places)
        for node, address in working.items()
    }
    seen: dict[str, Any] = {}
    for name, answer in asked.items():
        try:
            seen[name] = ray.get(answer)
        except RayTaskError as error:
            raise RunError(stage, f"node {name} could not be asked: {error.cause}") from error
        except RayError:
            continue  # a node that has gone meanwhile runs nothing
    require_same(places, sights(places), seen)
    return later


def _init_ray(address: str, own: dict[str, Any]) -> None:
    """Start or join Ray; try again where its own processes were too slow to come up.

    Ray gives its agents 15 s, which a busy machine may not have (ray-project/ray, issue 65983).
    """
    import ray

    for start in range(1, _STARTS + 1):
        try:
            with NamedFailure("Ray", "start" if address == "local" else address):
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
            return
        except RunError as error:
            if start == _STARTS or "timed out during startup" not in str(error):
                raise
            ray.shutdown()


def _take_back(number: int) -> None:
    """Give a signal back to this program: Ray's C++ part dumps its stack at SIGTERM and aborts."""
    handler = signal.getsignal(number)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(number, handler)


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
