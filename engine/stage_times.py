"""The timeline of a run: when each stage began, how long it took, and what its tasks came to.

Wall time says what a person waits for, busy time what the workers did: their ratio is how many
worked at once, and one slowest task that is as long as its stage says that more workers will not
help.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from engine.measures import Measures

__all__ = ["StageTimes"]


@dataclass(kw_only=True)
class _Stage:
    """What is known of one stage so far."""

    begin: float
    seconds: float = 0.0
    tasks: int = 0
    retries: int = 0
    busy: float = 0.0
    slowest: tuple[float, str] | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        slowest = self.slowest
        return {
            "begin_sec": round(self.begin, 3),
            "seconds": round(self.seconds, 3),
            "tasks": self.tasks,
            "taken_over": self.counts["tasks_taken_over"],
            "retries": self.retries,
            "busy_sec": round(self.busy, 3),
            "slowest": slowest and {"task": slowest[1], "seconds": round(slowest[0], 3)},
            "bytes_read": self.counts["bytes_read"],
            "bytes_written": self.counts["bytes_written"],
        }


class StageTimes:
    """Keeps the times of the stages of one run, from the moment it is made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, _Stage] = {}

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._start

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each stage, in seconds, in the order of their beginnings."""
        return {name: stage.seconds for name, stage in self._stages.items()}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time the block takes to that of the stage."""
        begin = self.elapsed()
        found = self._stages.setdefault(stage, _Stage(begin=begin))
        try:
            yield
        finally:
            found.seconds += self.elapsed() - begin

    def add(self, measures: Measures) -> None:
        """Add a finished task to its stage, which is under way."""
        stage = self._stages.setdefault(measures.stage, _Stage(begin=self.elapsed()))
        stage.tasks += 1
        stage.retries += measures.retries
        stage.busy += measures.seconds
        stage.counts.update(measures.counts)
        this = (measures.seconds, measures.key)
        stage.slowest = this if stage.slowest is None else max(stage.slowest, this)

    def to_json(self) -> dict[str, Any]:
        """Give, by stage: begin, wall, busy and slowest task in seconds, tasks and bytes."""
        return {name: stage.to_json() for name, stage in self._stages.items()}
