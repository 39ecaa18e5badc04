"""A disk that fails at one operation of a run: it raises, it dies, or it is gone from there on.

Within `FailingDisk` every call that changes something below a folder, or opens a file there, passes
through here and gets a number: `os`, `io`, `fcntl.flock`, the exchange of `engine.exchange`,
`syncfs`. The numbers of two runs agree, because what is synced in a thread is synced at once here,
and because temporary names are counted instead of drawn. What pyarrow reads by itself is not seen.
An audit hook of the interpreter says what was changed another way (`escaped`): a harness that
misses operations would prove nothing.

What a sync is for, a machine that loses power, is not tried: a sync is an operation that can fail,
and does nothing else here.
"""

import ctypes
import errno
import fcntl
import io
import itertools
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn, Self
from unittest import mock

from engine import exchange, storage

__all__ = ["FailingDisk", "Operation", "worth_a_point"]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What a full disk refuses; everything else is a disk that is broken.
_NEEDS_SPACE = ("open", "write", "mkdir", "link", "rename", "truncate")

# Audit events that change what a path names: the places of paths, then of their folders' numbers.
_CHANGES = {
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.setxattr": ((0, None),),
    "fcntl.flock": ((0, None),),
    "fcntl.lockf": ((0, None),),
}
_watching: list["FailingDisk"] = []
_open, _close = os.open, os.close  # as they are; within `FailingDisk` they are its own


@dataclass(kw_only=True)
class Operation:
    """One call that reached the storage.

    Args:
        kind: what it does.
        path: on what, relative to the watched folder.
        changes: whether names or bytes are others afterwards; a death before one that changes
            nothing leaves what a death before the next leaves.
    """

    kind: str
    path: str
    changes: bool


def worth_a_point(operations: list[Operation], how: str) -> list[int]:
    """Give the numbers at which a failure can have a result of its own.

    Of the writes to one file, the first and the last: those between them differ in nothing but the
    length of a file that has no name yet. Of the times that one name is read or listed, likewise.
    Deaths only where something changes.
    """
    points = []
    reads: dict[tuple[str, str], list[int]] = {}
    for number, operation in enumerate(operations):
        if how == "kill" and not operation.changes:
            continue
        near = operations[max(0, number - 1) : number + 2]
        if operation.kind == "write" and len(near) == 3 and all(o == operation for o in near):
            continue
        if operation.kind in ("get", "list", "open to read"):
            reads.setdefault((operation.kind, operation.path), []).append(number)
        else:
            points.append(number)
    return sorted({*points, *(n for found in reads.values() for n in (found[0], found[-1]))})


class FailingDisk:
    """Counts the storage operations below some folders, and lets one of them fail.

    A context manager, for one process without other threads that write.

    Args:
        *roots: the folders; what is elsewhere is not touched.
        fail_at: number of the operation; None: all succeed.
        how: "raise" once, "kill" the process without any clean-up, or "gone": nothing works from
            there on.
        last_words: called before the process is killed.
    """

    def __init__(
        self,
        *roots: Path,
        fail_at: int | None = None,
        how: str = "raise",
        last_words: Callable[[], None] | None = None,
    ) -> None:
        self.operations: list[Operation] = []
        self.escaped: list[str] = []
        self.bytes_written = 0
        self._roots = [str(root.absolute()) for root in roots]
        self._fail_at, self._how, self._last_words = fail_at, how, last_words
        self._descriptors: dict[int, str] = {}
        self._inside = False
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        replaced: list[tuple[Any, str, Any]] = [
            (os, "open", self._open),
            (os, "close", self._close),
            (os, "write", self._write(os.write)),
            (os, "pwrite", self._write(os.pwrite)),
            (os, "rename", self._two_paths("rename", os.rename)),
            (os, "replace", self._two_paths("rename", os.replace)),
            (os, "link", self._two_paths("link", os.link)),
            (os, "unlink", self._one_path("unlink", os.unlink)),
            (os, "remove", self._one_path("unlink", os.remove)),
            (os, "rmdir", self._one_path("rmdir", os.rmdir)),
            (os, "mkdir", self._one_path("mkdir", os.mkdir)),
            (os, "truncate", self._one_path("truncate", os.truncate)),
            (os, "ftruncate", self._one_path("truncate", os.ftruncate)),
            (os, "fsync", self._one_path("sync", _nothing, changes=False)),
            (fcntl, "flock", self._one_path("lock", fcntl.flock, changes=False)),
            (io, "FileIO", self._file_class()),
            (io, "open", self._reading(io.open)),
            (storage, "sync_filesystem", self._one_path("sync", _nothing, changes=False)),
            (storage, "ThreadPoolExecutor", _AtOnce),
            (exchange, "_library_call", self._exchange(exchange._library_call())),
        ]
        for name in ("fdatasync", "posix_fadvise"):
            if hasattr(os, name):
                replaced.append((os, name, self._one_path("sync", _nothing, changes=False)))
        names = (f"{number:012x}" for number in itertools.count())
        replaced.append((secrets, "token_hex", lambda _size: next(names)))
        for owner, name, new in replaced:
            self._stack.enter_context(mock.patch.object(owner, name, new))
        _install_hook()
        _watching.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watching.remove(self)
        self._stack.close()

    def step(self, kind: str, path: str, *, changes: bool = True) -> bool:
        """Count an operation.

        Returns:
            Whether it is to fail, by `fail`.
        """
        number = len(self.operations)
        self.operations.append(Operation(kind=kind, path=self._relative(path), changes=changes))
        if self._fail_at is None:
            return False
        return number >= self._fail_at if self._how == "gone" else number == self._fail_at

    def fail(self, kind: str, path: str) -> NoReturn:
        """Do what becomes of the operation."""
        if self._how == "kill":
            if self._last_words:
                self._last_words()
            os.kill(os.getpid(), signal.SIGKILL)
        full = self._how == "raise" and kind in _NEEDS_SPACE
        code = errno.ENOSPC if full else errno.EIO
        raise OSError(code, os.strerror(code), path)

    def call(self, kind: str, path: str | None, do: Callable[[], Any], changes: bool = True) -> Any:
        """Count an operation, and carry it out unless it is to fail."""
        if path is None:
            return do()
        if self.step(kind, path, changes=changes):
            self.fail(kind, path)
        operation = self.operations[-1]
        try:
            with self._working():
                return do()
        except OSError:
            operation.changes = False
            raise

    @contextmanager
    def _working(self) -> Iterator[None]:
        before, self._inside = self._inside, True
        try:
            yield
        finally:
            self._inside = before

    def _place(self, path: Any, folder: Any = None) -> str | None:
        """Give the path of what a call is about; None if it is not below a watched folder."""
        if isinstance(path, int):
            return self._descriptors.get(path)
        name = Path(os.fsdecode(path))
        if isinstance(folder, int) and folder >= 0:
            name = Path(self._descriptors.get(folder, "/not watched")) / name
        place = str(name.absolute())
        return place if any(f"{place}/".startswith(f"{root}/") for root in self._roots) else None

    def _relative(self, path: str) -> str:
        for root in self._roots:
            if f"{path}/".startswith(f"{root}/"):
                return path.removeprefix(root).strip("/") or "."
        return path

    def _one_path(self, kind: str, original: Any, *, changes: bool = True) -> Any:
        def called(path: Any, *args: Any, dir_fd: int | None = None, **more: Any) -> Any:
            if dir_fd is not None:
                more["dir_fd"] = dir_fd
            place = self._place(path, dir_fd)
            return self.call(kind, place, lambda: original(path, *args, **more), changes)

        return called

    def _two_paths(self, kind: str, original: Any) -> Any:
        def called(source: Any, target: Any, **more: Any) -> Any:
            place = self._place(target, more.get("dst_dir_fd"))
            place = place or (self._place(source) if kind == "rename" else None)
            return self.call(kind, place, lambda: original(source, target, **more))

        return called

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        place = self._place(path, dir_fd)
        kind = "open" if flags & _WRITING else "open to read"
        makes = bool(flags & (os.O_CREAT | os.O_TRUNC))
        made: int = self.call(kind, place, lambda: _open(path, flags, mode, dir_fd=dir_fd), makes)
        if place is not None:
            self._descriptors[made] = place
        return made

    def _reading(self, original: Any) -> Any:
        def called(file: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
            if set(mode) & set("wxa+"):
                return original(file, mode, *args, **more)  # of which the audit tells
            place = self._place(file)
            do = partial(original, file, mode, *args, **more)
            return self.call("open to read", place, do, changes=False)

        return called

    def _close(self, descriptor: int) -> None:
        self._descriptors.pop(descriptor, None)
        _close(descriptor)

    def _write(self, original: Any) -> Any:
        def called(descriptor: int, data: Any, *args: Any) -> int:
            place = self._descriptors.get(descriptor)
            if place is None:
                return int(original(descriptor, data, *args))
            return self._halved(place, data, lambda part: int(original(descriptor, part, *args)))

        return called

    def _halved(self, place: str, data: Any, write: Callable[[Any], int]) -> int:
        """Write, or write a half and fail: that is how a disk runs full."""
        if self.step("write", place):
            write(memoryview(data)[: len(data) // 2])
            self.fail("write", place)
        self.bytes_written += len(data)
        return write(data)

    def _file_class(self) -> type[io.FileIO]:
        disk = self

        class File(io.FileIO):
            def __init__(self, file: Any, mode: str = "r", *args: Any, **more: Any) -> None:
                self.place = disk._place(file) if set(mode) & set("wxa+") else None
                opened = super().__init__
                disk.call("open", self.place, lambda: opened(file, mode, *args, **more))
                if self.place is not None:
                    disk._descriptors[self.fileno()] = self.place

            def write(self, data: Any) -> int:
                write = super().write
                return write(data) if self.place is None else disk._halved(self.place, data, write)

            def close(self) -> None:
                last = self.place is not None and not self.closed and not sys.is_finalizing()
                if last:
                    disk._descriptors.pop(self.fileno(), None)
                super().close()
                if last and disk.step("close", str(self.place), changes=False):
                    disk.fail("close", str(self.place))  # late news of a write that was put off

        return File

    def _exchange(self, original: Any) -> Any:
        if original is None:
            return lambda: None

        def called(*args: Any) -> int:
            place = self._place(next(arg for arg in args if isinstance(arg, bytes)))
            try:
                return int(self.call("exchange", place, lambda: original(*args)))
            except OSError as error:
                ctypes.set_errno(error.errno or 0)
                return -1

        return lambda: called

    def audited(self, event: str, args: tuple[Any, ...]) -> None:
        """Note an event that no counted call has caused."""
        if self._inside:
            return
        if event == "open":
            path, _, flags = args
            if isinstance(path, int) or not flags & _WRITING:
                return
            places = [self._place(path)]
        else:
            places = [
                self._place(args[path], None if folder is None else args[folder])
                for path, folder in _CHANGES.get(event, ())
            ]
        self.escaped += [f"{event} {place}" for place in places if place is not None]


def _nothing(*_args: Any) -> None:
    """What a sync does to a file, as far as other processes can see."""


class _AtOnce:
    """An executor that has done what it is given before it returns."""

    def __init__(self, **_: Any) -> None:
        pass

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args))
        except OSError as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_: Any) -> None:
        pass


@cache
def _install_hook() -> None:
    """Have the interpreter tell what it does; there is no way to take a hook back."""
    sys.addaudithook(lambda event, args: _watching[-1].audited(event, args) if _watching else None)
