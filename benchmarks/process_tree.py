"""Memory and processor time of every process that a command starts, read from /proc.

The kernel keeps a process's peak (`VmHWM`) itself, so sampling need only meet each process once
after its peak: what is missed is the growth in the last fraction of a second of a life. Resident
memory counts what a process shares with others: mapped files and Ray's object store (shared memory)
are counted in full in each process that has touched them. The peak of anonymous memory, which is
the process's own, is sampled, and so a little low, as is the processor time.

Linux only; elsewhere nothing is found, and the result says so by being empty.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

__all__ = ["ProcessPeak", "TreeSampler"]

_PROC = Path("/proc")
_KILO = 1024
_IDLE = "ray::IDLE"


@dataclass(frozen=True, kw_only=True)
class ProcessPeak:
    """Memory and processor time of one process.

    Args:
        name: of the process; of a Python, with the module or script it runs.
        peak_rss_bytes: most resident memory, shared parts included.
        peak_anonymous_bytes: most resident memory of its own, as sampled.
        cpu_sec: user and system time of all its threads, at the last look.
        peak_open_files: most descriptors it had open, sockets and pipes included, as sampled.
    """

    name: str
    peak_rss_bytes: int
    peak_anonymous_bytes: int
    cpu_sec: float
    peak_open_files: int = 0


class _Stat(NamedTuple):
    """Fields of /proc/<pid>/stat; times in clock ticks, the start since boot."""

    parent: int
    started: int
    cpu_ticks: int


class TreeSampler:
    """Watches a process and all its descendants from a thread; a context manager.

    A process once seen is watched until it ends, also when its parent dies before it.

    Args:
        root: process id.
        interval_sec: between two looks; one costs some milliseconds.
    """

    def __init__(self, root: int, *, interval_sec: float = 0.25) -> None:
        self._root = root
        self._interval_sec = interval_sec
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        # By (process id, start time): ids are used again.
        self._peaks: dict[tuple[int, int], ProcessPeak] = {}

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Watch no more."""
        self._stop.set()
        self._thread.join()

    def peaks(self) -> list[ProcessPeak]:
        """Every process seen, largest first."""
        return sorted(self._peaks.values(), key=lambda p: (-p.peak_rss_bytes, p.name))

    def alive(self) -> list[int]:
        """Ids of the processes that are still there; those seen before the last look."""
        return [pid for pid, start in self._peaks if (stat := _stat(pid)) and stat.started == start]

    def _watch(self) -> None:
        while not self._stop.wait(self._interval_sec):
            self._look()

    def _look(self) -> None:
        seen: dict[int, _Stat] = {}
        # os.listdir, for it makes no path object of each of hundreds of entries.
        for entry in os.listdir(_PROC) if _PROC.is_dir() else ():  # noqa: PTH208
            stat = _stat(int(entry)) if entry.isdigit() else None
            if stat is not None:
                seen[int(entry)] = stat
        watched = {pid for pid, start in self._peaks if pid in seen and seen[pid].started == start}
        inside = {self._root} | watched
        grown = True
        while grown:
            found = {pid for pid, stat in seen.items() if stat.parent in inside} - inside
            inside |= found
            grown = bool(found)
        for pid in inside & seen.keys():
            self._measure(pid, seen[pid])

    def _measure(self, pid: int, stat: _Stat) -> None:
        try:
            lines = (_PROC / str(pid) / "status").read_text().splitlines()
        except OSError:  # it has just ended
            return
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        if "VmHWM" not in fields:  # ended, not yet waited for
            return
        known = self._peaks.get((pid, stat.started))
        anonymous = _bytes(fields.get("RssAnon", "0 kB"))
        name = _name(pid, fields["Name"].strip())
        if known is not None and name == _IDLE:  # Ray renames its workers for the time of a task
            name = known.name
        self._peaks[pid, stat.started] = ProcessPeak(
            name=name,
            peak_rss_bytes=_bytes(fields["VmHWM"]),
            peak_anonymous_bytes=max(anonymous, known.peak_anonymous_bytes if known else 0),
            cpu_sec=stat.cpu_ticks / os.sysconf("SC_CLK_TCK"),
            peak_open_files=max(_open_files(pid), known.peak_open_files if known else 0),
        )


def _open_files(pid: int) -> int:
    try:
        return len(os.listdir(_PROC / str(pid) / "fd"))  # noqa: PTH208
    except OSError:  # it has just ended
        return 0


def _name(pid: int, name: str) -> str:
    """The process's name; of a Python, the module or script it runs."""
    if not name.startswith("python"):
        return name
    try:
        arguments = (_PROC / str(pid) / "cmdline").read_text().split("\0")
    except OSError:
        return name
    for number, argument in enumerate(arguments[:-1]):
        if argument == "-m":
            return f"{name} -m {arguments[number + 1]}"
        if argument == "-c":
            return f"{name} -c {arguments[number + 1].partition('(')[0][:40]!r}"
        if argument.endswith(".py"):
            return f"{name} {Path(argument).name}"
    return name


def _bytes(value: str) -> int:
    return int(value.split(maxsplit=1)[0]) * _KILO


def _stat(pid: int) -> _Stat | None:
    """What the kernel says of a process that runs; None of one that has ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name, in parentheses, may hold anything; what follows it is fields 3 onward.
    fields = text.rpartition(")")[2].split()
    if fields[0] == "Z":
        return None
    ticks = int(fields[11]) + int(fields[12])
    return _Stat(parent=int(fields[1]), started=int(fields[19]), cpu_ticks=ticks)
