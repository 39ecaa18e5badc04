"""What the processes of a run are: the driver, its workers, Ray's own.

By their names, as `benchmarks/process_tree.py` gives them: Ray calls a worker after its task, the
engine's own processes are called by the module whose function they serve.
"""

from collections.abc import Sequence
from typing import Any

from benchmarks.harness import Run

__all__ = ["kind_of", "kinds_of"]

_DRIVERS = ("jobs.prepare", "jobs.validate", "jobs.cli", "datasets_script", "bare_pass")


def kind_of(name: str) -> str:
    """Give "driver", "worker" or "Ray" for the name of a process.

    The engine's stages are maps of Ray Data; a worker that was never given a task (`ray::IDLE`) and
    Ray's actors (`ray::_StatsActor`) are Ray's own.
    """
    if any(driver in name for driver in _DRIVERS):
        return "driver"
    if name.startswith("ray::Map") or "engine.child_process" in name:
        return "worker"
    return "Ray"


def kinds_of(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Give the largest process of each kind over runs, kinds in the order of their memory.

    Args:
        runs: of one command.

    Returns:
        By kind, its largest peaks in MB (10^6 bytes): resident, which counts mapped files and
        shared memory, and its own; the most open files of one; and the name of the largest. Empty
        without /proc.
    """
    found: dict[str, dict[str, Any]] = {}
    processes = [process for run in runs for process in run.processes]
    for process in sorted(processes, key=lambda each: -each.peak_rss_bytes):
        kind = kind_of(process.name)
        own = round(process.peak_anonymous_bytes / 1e6, 1)
        if kind not in found:
            size = round(process.peak_rss_bytes / 1e6, 1)
            found[kind] = {
                "peak_rss_mb": size, "peak_anonymous_mb": own, "open_files": 0,
                "name": process.name,
            }  # fmt: skip
        held = found[kind]
        held["open_files"] = max(held["open_files"], process.peak_open_files)
        held["peak_anonymous_mb"] = max(held["peak_anonymous_mb"], own)
    return found
