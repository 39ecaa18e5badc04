"""What a worker of Ray does with a task: runs it, measures it, and brings back errors as rows.

Apart from the driver's side, `engine.pipeline`, because none of it is needed there. It asks Ray for
one number alone, how often the task was begun before.
"""

import pickle
import socket
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from engine.errors import RunError, Sam2PrepError
from engine.json_log import log_on_stderr
from engine.measures import Measured
from engine.ray_metrics import export_measures
from engine.tasks import NamedFailure
from engine.version import build

__all__ = ["attempt"]


def attempt(
    row: dict[str, Any], *, function: Callable[[Any], Any], stage: str, build_of_driver: str
) -> dict[str, Any]:
    """Run one task in a worker; an error is a row too.

    Args:
        row: `key` and pickled `payload`.
        function: of the payload.
        stage: names the work.
        build_of_driver: version and sources of who gave the task.

    Returns:
        `key`, `ok`, and the pickled result or error.
    """
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
