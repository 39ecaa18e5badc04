"""A stage's function that says what each task has done: in numbers, and as a line of the log.

Whoever runs tasks gets a `Measured` back and need not know what it measures. The line names the
export and the shard, the two things by which a person looks for what went wrong; it holds no label,
no folder and no address, which may carry a key to a store.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.json_log import LOGGER
from engine.measures import Measured, Measures, measuring

__all__ = ["MeasuredTask", "Subject", "subject_of"]


class Subject(NamedTuple):
    """What a task is about.

    Args:
        key: of the task in its stage.
        export: name of the export it reads, without its place; None: of none, or of several.
        shard: the shard it writes, `<split>-<number>`; None: none.
    """

    key: str
    export: str | None
    shard: str | None


def subject_of(key: str, payload: Any) -> Subject:
    """Say what a task is about, by the fields of its payload.

    Args:
        key: of the task.
        payload: a task's record, such as `engine.stages.ScanTask`.
    """
    source, split = getattr(payload, "source", None), getattr(payload, "split", None)
    number = getattr(payload, "number", None)
    shard = f"{split}-{number:05d}" if isinstance(split, str) and isinstance(number, int) else None
    return Subject(key, _bare_name(source) if isinstance(source, str) else None, shard)


def _bare_name(place: str) -> str:
    """The last part of a path or URL; what follows a question mark may be a signature."""
    if "://" in place:
        place = re.split("[?#]", place, maxsplit=1)[0]
    return place.rstrip("/").rsplit("/", 1)[-1].rsplit("@", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class MeasuredTask:
    """A stage function that measures itself.

    Args:
        function: of one payload.
        stage: names the work.
    """

    function: Callable[[Any], Any]
    stage: str

    def __call__(self, task: tuple[Subject, Any]) -> Measured:
        """Call the function with the payload of a task, given with its subject."""
        subject, payload = task
        ended = False
        measures = Measures(stage=self.stage, key=subject.key)
        try:
            with measuring(self.stage, subject.key) as measures:
                result = self.function(payload)
            ended = True
        finally:
            _log(subject, measures, ended=ended)
        return Measured(result, measures)


def _log(subject: Subject, measures: Measures, *, ended: bool) -> None:
    """What a failed task raised is the run's to report: its text may hold anything."""
    fields: dict[str, Any] = {"stage": measures.stage, "task": subject.key}
    fields |= {"export": subject.export} if subject.export else {}
    fields |= {"shard": subject.shard} if subject.shard else {}
    counts: dict[str, Any] = dict(sorted(measures.counts.items()))
    fields["counts"] = counts | {"seconds": round(measures.seconds, 3)}
    if measures.findings:
        fields["findings"] = dict(sorted(measures.findings.items()))
    level, message = (logging.INFO, "task done") if ended else (logging.ERROR, "task failed")
    LOGGER.log(level, message, extra={"fields": fields})
