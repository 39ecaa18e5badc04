"""What limits a run: its time on the clock, divided among what it was spent on.

From what a run says of its stages (`stages` in `summary.json`) and what a bare pass of the same
bytes costs a core. Within tasks, reading and writing are what the bare pass took for as many bytes,
the processor has the rest: an estimate, for a task may read ahead while it works.

Cores without a task while a stage runs: as long as only one works, from the beginning on, Ray is
starting and the driver does tasks itself; later they wait for the last task, no longer than it may
take, and else for Ray.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ADVICE", "Bare", "divide_time", "largest", "stage_rows"]

_ALONE = 1.1  # tasks at once: no more than this is one process

ADVICE = {
    "processor": "the processor: more cores, or more nodes (--address), shorten it",
    "reading": "reading the exports: bring them nearer (a local disk, the region of the workers)",
    "writing": "writing the dataset: a faster place for OUT shortens it",
    "start": "the start: more frames in one run, or a cluster that runs already (--address)",
    "driver": "what the driver does alone, in one process: more cores do not shorten it",
    "waiting": "cores that wait for the last task of a stage: fewer workers would do as well",
    "ray": "tasks that wait for Ray: another load on these cores, or too many small tasks "
    "(--frames-per-range)",
}
"""What the parts of the time mean, and what would help, by part."""


@dataclass(frozen=True, kw_only=True)
class Bare:
    """What a bare pass costs, in seconds of a core.

    Args:
        read_sec: a byte as stored.
        inflate_sec: a byte as stored, its CRC included.
        write_sec: a byte of content.
        content: bytes of content a byte as stored.
    """

    read_sec: float
    inflate_sec: float
    write_sec: float
    content: float

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Bare":
        """Make it of what `benchmarks.bare_pass.bare_pass` returns."""
        stored, size = max(1, found["stored_bytes"]), max(1, found["size_bytes"])
        return cls(
            read_sec=found["read_sec"] / stored,
            inflate_sec=found["inflate_sec"] / stored,
            write_sec=found["write_sec"] / size,
            content=size / stored,
        )

    def core_seconds(self, stored_bytes: int) -> float:
        """Seconds of a core for so many bytes as stored."""
        return stored_bytes * (self.read_sec + self.inflate_sec + self.write_sec * self.content)


def divide_time(
    stages: Mapping[str, Mapping[str, Any]], total_sec: float, command_sec: float, cores: float,
    bare: Bare,
) -> dict[str, float]:  # fmt: skip
    """Divide the time of a command among what it was spent on.

    Args:
        stages: of `summary.json`, in the order of their beginnings.
        total_sec: of the work itself (`timings.total`).
        command_sec: from the start of the process to its end, at least as long.
        cores: that tasks could use at once.
        bare: of a sample of the same bytes.

    Returns:
        Seconds on the clock by the names of `ADVICE`; they add up to `command_sec`.
    """
    parts = dict.fromkeys(ADVICE, 0.0)
    parts["start"] = max(0.0, command_sec - total_sec)
    inside, starting = 0.0, True
    for stage in stages.values():
        wall, busy = stage["seconds"], stage["busy_sec"]
        inside += wall
        if not stage["tasks"]:
            parts["driver"] += wall
            continue
        # More tasks than cores may have been under way, on a cluster that grew meanwhile.
        working = min(wall, busy / cores)
        starting = starting and busy <= _ALONE * wall
        if starting:
            parts["start"] += wall - working
        else:
            last = stage["slowest"]["seconds"] if stage["slowest"] else 0.0
            parts["waiting"] += min(wall - working, last * (1 - 1 / cores))
            parts["ray"] += max(0.0, wall - working - last * (1 - 1 / cores))
        read, write = (
            stage["bytes_read"] * bare.read_sec / cores,
            stage["bytes_written"] * bare.write_sec / cores,
        )
        scale = min(1.0, working / (read + write)) if read + write else 1.0
        parts["reading"] += scale * read
        parts["writing"] += scale * write
        parts["processor"] += working - scale * (read + write)
    parts["driver"] += max(0.0, total_sec - inside)
    return parts


def largest(parts: Mapping[str, float]) -> str:
    """Give the part that most of the time was spent on; of equal ones, the first."""
    return max(parts, key=lambda name: parts[name])


def stage_rows(stages: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Give a row of text a stage.

    Returns:
        Stage, seconds, tasks, how many of them were under way at once on average, MB/s read, MB/s
        written, the slowest task in seconds; "" for what does not apply.
    """
    rows = []
    for name, stage in stages.items():
        wall, slowest = max(stage["seconds"], 1e-9), stage["slowest"]
        row = [name, f"{stage['seconds']:.1f}"]
        if not stage["tasks"]:
            rows.append((*row, "", "", "", "", ""))
            continue
        rates = [stage[key] / wall / 1e6 for key in ("bytes_read", "bytes_written")]
        row += [str(stage["tasks"]), f"{stage['busy_sec'] / wall:.1f}"]
        row += [f"{rate:.0f}" for rate in rates]
        rows.append((*row, f"{slowest['seconds']:.1f}" if slowest else ""))
    return rows
