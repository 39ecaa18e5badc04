"""One writer of a dataset at a time, and who it is.

On a local file system the lock is the kernel's (`flock`): it ends with its process, however that
dies, so a dead owner needs no detection. The file beside it only says who holds it. Object stores
have no such thing: there the file itself is the lock, its owner renews it, and one that has not
been renewed for long is taken over. Between two writers that begin in the same second that is no
guarantee, and none is claimed.
"""

import fcntl
import getpass
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from engine.byte_ranges import local_path
from engine.errors import RunError
from engine.manifest import LOCK
from engine.storage import exists, join, read_bytes, remove, write_bytes

__all__ = ["locked"]

_RENEW_SEC = 60.0
_DEAD_SEC = 15 * 60.0  # many renewals missed: a stopped machine, not a slow store


@contextmanager
def locked(out: str, what: str) -> Iterator[None]:
    """Be the only writer of a dataset while the block runs.

    Args:
        out: the dataset's place; a local folder has to be there.
        what: the command, for whoever finds the lock.

    Raises:
        RunError: another one is writing there; it says who, and since when.
    """
    place = local_path(out)
    if place is not None:
        with _flocked(out, place / LOCK, what):
            yield
    else:
        with _claimed(out, join(out, LOCK), what):
            yield


@contextmanager
def _flocked(out: str, path: Path, what: str) -> Iterator[None]:
    descriptor = _open_locked(out, path)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, orjson.dumps(_owner(what)), 0)
        yield
    finally:
        with suppress(OSError):  # it only says who; the folder may be gone, or the disk
            path.unlink()
        os.close(descriptor)  # whatever happened: this is what ends the lock


def _open_locked(out: str, path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        with ExitStack() as unless_ours:
            unless_ours.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _held(out, os.pread(descriptor, 4096, 0)) from None
            with suppress(FileNotFoundError):  # its last owner removed it between the two calls
                if _same(descriptor, path):
                    unless_ours.pop_all()
                    return descriptor


def _same(descriptor: int, path: Path) -> bool:
    ours, there = os.fstat(descriptor), path.stat()
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


@contextmanager
def _claimed(out: str, path: str, what: str) -> Iterator[None]:
    if exists(path):
        owner = read_bytes(path)
        if time.time() - float(_parsed(owner).get("renewed", 0.0)) < _DEAD_SEC:
            raise _held(out, owner)
    mine = _owner(what)
    write_bytes(path, orjson.dumps(mine))
    if _parsed(read_bytes(path)).get("token") != mine["token"]:
        raise _held(out, read_bytes(path))
    done = threading.Event()

    def renew() -> None:
        while not done.wait(_RENEW_SEC):
            with suppress(OSError):  # one of many: the next is as good
                write_bytes(path, orjson.dumps(mine | {"renewed": time.time()}))

    thread = threading.Thread(target=renew, name="lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        remove(path)


def _owner(what: str) -> dict[str, Any]:
    now = time.time()
    return {
        "command": what,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "user": getpass.getuser(),
        "since": now,
        "renewed": now,
        "token": os.urandom(8).hex(),
    }


def _parsed(owner: bytes) -> dict[str, Any]:
    with suppress(orjson.JSONDecodeError):
        document = orjson.loads(owner)
        if isinstance(document, dict):
            return document
    return {}


def _held(out: str, owner: bytes) -> RunError:
    who = _parsed(owner)
    if not who:  # it has the lock and has not written its name yet
        return RunError(out, "somebody else is writing there", advice="try again later")
    minutes = max(0, round((time.time() - float(who["since"])) / 60))
    return RunError(
        out, f"{who['command']} is writing there, since {minutes} min",
        got=f"process {who['pid']} of {who['user']} on {who['host']}",
        advice="wait for it, or end it; a lock of a process that died is taken over",
    )  # fmt: skip
