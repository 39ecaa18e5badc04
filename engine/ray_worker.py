"""What a worker of Ray does with a task: runs it, measures it, and brings back errors as rows.

Apart from the driver's side, `engine.pipeline`, because none of it is needed there. It asks Ray for
two things alone: how often the task was begun before, and which node this is.
"""

import pickle
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pyarrow as pa

from engine.errors import RunError, Sam2PrepError
from engine.json_log import log_on_stderr
from engine.measures import Measured
from engine.ray_metrics import export_measures
from engine.sharing import Shared
from engine.store_settings import StoreSettings
from engine.tasks import NamedFailure
from engine.version import build

__all__ = ["attempt"]


def attempt(
    row: dict[str, Any],
    *,
    function: Callable[[Any], Any],
    stage: str,
    build_of_driver: str,
    shared: Shared | None = None,
    settings: StoreSettings | None = None,
) -> dict[str, Any]:
    """Run one task in a worker; an error is a row too.

    Args:
        row: `key` and pickled `payload`.
        function: of the payload.
        stage: names the work.
        build_of_driver: version and sources of who gave the task.
        shared: the local paths that every node has to see; None: there are none.
        settings: the driver's for object stores; None: this process has them.

    Returns:
        `key`, `ok`, and the pickled result or error.
    """
    pa.set_cpu_count(1)
    log_on_stderr()
    if settings is not None:
        settings.take_over()
    try:
        _require_build(stage, build_of_driver)
        if shared is not None:
            _require_places(shared)
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


@lru_cache(maxsize=1)  # what is refused is not held: every task is refused
def _require_places(shared: Shared) -> None:
    """Refuse the tasks of a node that joined after all others were asked what they see."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    if node not in shared.asked:
        shared.require_on(f"{socket.gethostname()} ({node[:8]})")


def _require_build(stage: str, of_driver: str) -> None:
    """Refuse a task of another version; asked by every task, as nodes may join at any time."""
    if build() != of_driver:
        raise RunError(
            stage, f"a worker ({socket.gethostname()}) runs another version of sam2prep than the "
            "driver", got=build(), expected=of_driver,
            advice="use one image for all nodes, or sam2prep submit, which sends the sources along",
        )  # fmt: skip
