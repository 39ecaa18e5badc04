"""Runs commands side by side and writes down what came of it.

Commands alternate (A, B, A, B, ...), so that a machine growing warm or busy slows both; each run is
a process of its own, so that start-up counts; writes still under way are waited for before the next
run begins. The figure of a command is the median of its runs, with the quartiles beside it; the
machine, the versions and every single run are in the result, so that a reader can judge it.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.process_tree import ProcessPeak, TreeSampler

__all__ = [
    "ROOT",
    "Command",
    "Run",
    "alternate",
    "digest_of_files",
    "machine_facts",
    "package_versions",
    "run_command",
    "summary_of",
    "use_cores",
    "write_result",
]

ROOT = Path(__file__).resolve().parents[1]
_PATIENCE_SEC = 20.0
_ERROR_LINES = 20
# An installed package has its bytecode; where that may not be written, each of Ray's ten processes
# would compile thousands of lines anew, and the start would be timed instead of the work.
_DROPPED = {"PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is timed.

    Args:
        name: in the result.
        arguments: the program and its arguments.
        environment: variables set for it beside those of this process.
    """

    name: str
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a command.

    Args:
        name: of the command.
        seconds: from the start of its process to its end.
        seconds_until_on_disk: the same until all that was written is on the disk.
        load_before: the machine's one-minute load average when it began.
        output: its standard output.
        processes: its process and all below it, largest first; empty where there is no /proc.
    """

    name: str
    seconds: float
    seconds_until_on_disk: float
    load_before: float
    output: str
    processes: tuple[ProcessPeak, ...]

    def to_json(self) -> dict[str, Any]:
        """Give the record as JSON types, without the output; memory in MB (10^6 bytes)."""
        return {
            "seconds": round(self.seconds, 2),
            "seconds_until_on_disk": round(self.seconds_until_on_disk, 2),
            "cpu_sec": round(sum(process.cpu_sec for process in self.processes), 2),
            "load_before": round(self.load_before, 2),
            "processes": _by_name(self.processes),
        }


def use_cores(cores: int) -> None:
    """Confine this process, and all it starts from now on, to so many cores (Linux only)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def run_command(command: Command) -> Run:
    """Run a command in the project's root and watch it.

    Args:
        command: to run.

    Raises:
        RuntimeError: it did not end with 0; the message holds the end of its standard error.
    """
    kept = {k: v for k, v in os.environ.items() if k not in _DROPPED and not k.startswith("RAY_")}
    environment = kept | {"PYTHONPATH": str(ROOT), **dict(command.environment)}
    os.sync()
    load_before = os.getloadavg()[0]
    start = time.perf_counter()
    process = subprocess.Popen(
        command.arguments,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with TreeSampler(process.pid) as sampler:
        output, errors = process.communicate()
        seconds = time.perf_counter() - start
    os.sync()
    until_on_disk = time.perf_counter() - start
    _wait_for_rest(sampler)
    if process.returncode != 0:
        end = "\n".join([*output.splitlines(), *errors.splitlines()][-_ERROR_LINES:])
        raise RuntimeError(f"{command.name} ended with {process.returncode}:\n{end}")
    return Run(
        name=command.name,
        seconds=seconds,
        seconds_until_on_disk=until_on_disk,
        load_before=load_before,
        output=output,
        processes=tuple(sampler.peaks()),
    )


def alternate(
    commands: Sequence[Command],
    *,
    repeats: int,
    warmups: int,
    after: Callable[[Run], None],
) -> dict[str, list[Run]]:
    """Run commands in turn, again and again.

    Args:
        commands: to run, in this order in each round.
        repeats: rounds that count.
        warmups: rounds before them that do not.
        after: called after each run, to check and remove what it left; not timed.

    Returns:
        The runs that count, by command.
    """
    runs: dict[str, list[Run]] = {command.name: [] for command in commands}
    for number in range(warmups + repeats):
        for command in commands:
            run = run_command(command)
            kind = "warm-up" if number < warmups else "run"
            print(f"{kind} {command.name}: {run.seconds:.1f} s", file=sys.stderr, flush=True)
            after(run)
            if number >= warmups:
                runs[command.name].append(run)
    return runs


def summary_of(runs: Sequence[Run]) -> dict[str, Any]:
    """Sum up the runs of a command: median and quartiles in seconds, memory as the worst run's.

    Args:
        runs: at least one.
    """
    seconds = [run.seconds for run in runs]
    low, median, high = (
        statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    )
    largest = [run.processes[0] for run in runs if run.processes]
    own = [p.peak_anonymous_bytes for run in runs for p in run.processes]
    return {
        "median_sec": round(median, 2),
        "quartiles_sec": [round(low, 2), round(high, 2)],
        "median_sec_until_on_disk": round(
            statistics.median(run.seconds_until_on_disk for run in runs), 2
        ),
        "median_cpu_sec": round(
            statistics.median(sum(p.cpu_sec for p in run.processes) for run in runs), 2
        ),
        "peak_rss_mb_of_one_process": (
            round(max(p.peak_rss_bytes for p in largest) / 1e6, 1) if largest else None
        ),
        "peak_anonymous_mb_of_one_process": round(max(own) / 1e6, 1) if own else None,
        "runs": [run.to_json() for run in runs],
    }


def machine_facts(work: Path) -> dict[str, Any]:
    """Say what the figures were measured on.

    Args:
        work: folder the commands write to, for its filesystem.

    Returns:
        JSON types; what cannot be found out is None.
    """
    cpu = _field(Path("/proc/cpuinfo"), "model name") or platform.processor() or None
    memory = _field(Path("/proc/meminfo"), "MemTotal")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory.split()[0]) * 1024 / 1e9, 1) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "work_filesystem": _filesystem(work),
    }


def package_versions(names: Sequence[str]) -> dict[str, str | None]:
    """Give the installed version of each distribution; None for one that is not installed."""
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def digest_of_files(paths: Sequence[Path]) -> str:
    """Digest files whatever their names: SHA-256 over the sorted SHA-256 digests of them."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def write_result(path: Path, document: Mapping[str, Any]) -> None:
    """Write a result as JSON, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _by_name(processes: Sequence[ProcessPeak]) -> list[dict[str, Any]]:
    """One entry a name: how many, the largest of them, their processor time; largest first."""
    names = list(dict.fromkeys(process.name for process in processes))
    groups = {name: [p for p in processes if p.name == name] for name in names}
    return [
        {
            "name": name,
            "count": len(own),
            "peak_rss_mb": round(max(p.peak_rss_bytes for p in own) / 1e6, 1),
            "peak_anonymous_mb": round(max(p.peak_anonymous_bytes for p in own) / 1e6, 1),
            "cpu_sec": round(sum(p.cpu_sec for p in own), 2),
        }
        for name, own in groups.items()
    ]


def _wait_for_rest(sampler: TreeSampler) -> None:
    """Wait for what the command left running, and end it if it stays: the next run would suffer."""
    deadline = time.monotonic() + _PATIENCE_SEC
    while sampler.alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in sampler.alive():
        os.kill(pid, signal.SIGKILL)


def _field(path: Path, name: str) -> str | None:
    if not path.exists():
        return None
    lines = [line for line in path.read_text().splitlines() if line.startswith(name)]
    return lines[0].partition(":")[2].strip() if lines else None


def _filesystem(folder: Path) -> str | None:
    """The type of the filesystem a folder is on, by the longest mount point above it."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return None
    best, kind = "", None
    for line in mounts.read_text().splitlines():
        _, point, found, *_ = line.split()
        inside = folder.resolve().is_relative_to(point)
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind
