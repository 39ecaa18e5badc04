"""Which files a piece of work writes, noted where they are written, so that none can be forgotten.

Trade-off: a variable of the context instead of an argument through every writer. Whoever writes a
file need not know that somebody asks; a task that is to be taken over later has all its files
checked, those of formats that are yet to be written too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Written", "note_written", "noting_files"]

Written = dict[str, tuple[int, str | None]]
"""Size in bytes and sha256 of files, by their paths; None: the digest is not known."""

_noted: ContextVar[Written | None] = ContextVar("noted", default=None)


@contextmanager
def noting_files() -> Iterator[Written]:
    """Note what is written while the block runs, in this thread.

    Yields:
        The files, filled as they appear under their names; of one written twice, the last state.
    """
    files: Written = {}
    token = _noted.set(files)
    try:
        yield files
    finally:
        _noted.reset(token)


def note_written(path: str, size_bytes: int, sha256: str | None) -> None:
    """Say that a file is in its place; costs nothing where nobody asks.

    Args:
        path: as the writer was given it.
        size_bytes: its length.
        sha256: hexadecimal digest of its bytes; None where the writer has not seen them.
    """
    files = _noted.get()
    if files is not None:
        files[path] = (size_bytes, sha256)
