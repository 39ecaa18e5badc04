"""The error tree: everything the engine raises on purpose.

A problem in the data is not an error but an `Issue` row (see `engine.records`). Errors are for what
stops a run: wrong usage, an input that cannot be read, a run that broke, a gate that is shut. Each
carries the exit code of the command line, so that the two cannot drift apart.
"""

import errno
from collections.abc import Sequence
from typing import Any

__all__ = [
    "ConfigError",
    "CrashError",
    "ExportError",
    "NodeError",
    "NotTrainableError",
    "OutputError",
    "ResumeError",
    "RunError",
    "Sam2PrepError",
    "UsageError",
    "cannot_be_read",
]


class Sam2PrepError(Exception):
    """Any error the engine raises on purpose.

    The text is one line: where, what is wrong, got, expected, what to do.

    Args:
        where: the file, member, frame or option concerned, outermost first.
        what: what is wrong there.
        got: what was found, if that is more than `what` says.
        expected: what should have been found.
        advice: what the user can do about it.
    """

    exit_code = 3

    def __init__(
        self,
        where: str,
        what: str,
        *,
        got: object = None,
        expected: object = None,
        advice: str | None = None,
    ) -> None:
        self.where = where
        self.what = what
        self.got = got
        self.expected = expected
        self.advice = advice
        super().__init__(f"{where}: {self.complaint}")

    @property
    def complaint(self) -> str:
        """The sentence without the place: what is wrong, got, expected, what to do."""
        text = self.what
        if self.got is not None:
            text += f": got {self.got}"
        if self.expected is not None:
            text += f"{',' if self.got is not None else ':'} expected {self.expected}"
        if self.advice:
            text += f"; {self.advice}"
        return " ".join(text.split())

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way from a worker to the driver, keyword arguments included."""
        return (_rebuild, (type(self), self.where, self.what, self.got, self.expected, self.advice))


def _rebuild(kind: type[Sam2PrepError], *fields: Any) -> Sam2PrepError:
    where, what, got, expected, advice = fields
    return kind(where, what, got=got, expected=expected, advice=advice)


class UsageError(Sam2PrepError):
    """Wrong usage: found before any work starts."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration key or value that cannot be taken."""


class OutputError(UsageError):
    """OUT holds something that this command must not touch."""


class ResumeError(UsageError):
    """OUT holds an unfinished run of something else, or one whose inputs were changed."""


class NodeError(UsageError):
    """A local path is not the same on every node of the cluster."""


class ExportError(Sam2PrepError):
    """An input that cannot be read as an export at all."""


class RunError(Sam2PrepError):
    """The run broke: storage, memory, workers."""


class CrashError(RunError):
    """A task during which its worker died each time, also when nothing else ran."""


# What passes by itself; a name or a permission that is wrong does not.
_PASSING = {
    errno.EIO, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ESTALE,
    errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO),
}  # fmt: skip


def cannot_be_read(where: str, error: OSError) -> Sam2PrepError:
    """Say of an input that the storage did not give it: the run broke, or the input is wrong."""
    passing = isinstance(error, ConnectionError | TimeoutError) or error.errno in _PASSING
    kind: type[Sam2PrepError] = RunError if passing else ExportError
    got = error.strerror or str(error) or type(error).__name__
    return kind(where, "cannot be read", got=got)


class NotTrainableError(Sam2PrepError):
    """The gate is shut: the dataset must not be trained on.

    Args:
        where: the dataset.
        reasons: one sentence a reason, never empty.
        advice: what the user can do about it.
    """

    exit_code = 1

    def __init__(self, where: str, reasons: Sequence[str], advice: str | None = None) -> None:
        self.reasons = tuple(reasons)
        super().__init__(where, "; ".join(self.reasons), advice=advice)

    def __reduce__(self) -> tuple[object, ...]:
        return (NotTrainableError, (self.where, self.reasons, self.advice))
