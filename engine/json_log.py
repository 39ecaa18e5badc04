"""Log lines for programs: one JSON object a line, from Python's own logging.

No library: what a log collector needs is the time in UTC, the level, and fields with fixed names.
Only what callers hand over as `fields` is written beside the message, never the objects of a task.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

__all__ = ["LOGGER", "JsonFormatter", "is_logging", "log_on_stderr", "stop_log"]

LOGGER = logging.getLogger("sam2prep")
"""Of all log lines of a run; silent until a handler is added."""
LOGGER.addHandler(logging.NullHandler())  # or Python itself would print errors

_LONGEST = 200  # of a text of user origin: the name of an export


class JsonFormatter(logging.Formatter):
    """Makes one line of a record: time, level, message, then its `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line; control characters in it are escaped, so that it stays one."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        for name, value in getattr(record, "fields", {}).items():
            line[name] = value[:_LONGEST] if isinstance(value, str) else value
        return json.dumps(line)


def is_logging() -> bool:
    """Say whether lines go anywhere."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in LOGGER.handlers)


def log_on_stderr(stream: TextIO | None = None) -> None:
    """Let all lines go to standard error as JSON; a second call changes nothing.

    Args:
        stream: instead of standard error.
    """
    if is_logging():
        return
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)


def stop_log() -> None:
    """Let lines go nowhere again."""
    for handler in list(LOGGER.handlers):
        if isinstance(handler.formatter, JsonFormatter):
            LOGGER.removeHandler(handler)
