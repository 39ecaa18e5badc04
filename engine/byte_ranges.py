"""A range of bytes of a file, local or behind an fsspec URL, in one call.

Trade-off: a file object has a position, so it cannot be shared between threads, and buffers what
nobody will read. `pread` needs neither; the descriptors of a few files stay open, because opening
costs more than reading an image that is in the page cache. Local paths never go through fsspec.
Needs `os.pread`: Linux and macOS. All failures are `OSError`, for the caller to give a place to.

A request to an object store takes as long as reading a megabyte from it. So whoever knows what it
is going to read says so (`reading_ahead`): ranges that touch become one request, several requests
are under way at once, and what was asked for ahead is held in memory up to a bound.
"""

import hashlib
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = [
    "EXTRAS",
    "ByteRange",
    "local_path",
    "make_folders",
    "read_range",
    "reading_ahead",
    "sha256_of",
    "url_filesystem",
]

ByteRange = tuple[str, int, int]
"""A file, and bytes [start, end) of it."""

EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure",
    "az": "azure",
}  # fmt: skip
"""Which extra of this package brings what a protocol needs."""

_OPEN_FILES = 16  # enough for the exports that one task mixes, far below any limit of descriptors
_PIECE_BYTES = 8 * 2**20

_BLOCK_BYTES = 8 * 2**20  # of one request: at 50 MB a second it is worth its latency many times
_AHEAD_BYTES = 32 * 2**20  # of all that is held or under way
_GAP_BYTES = 1024  # between two members lie a descriptor or padding; more is another member
_AT_ONCE = 8  # requests of one task; a pool of 1,000 workers is then at what a bucket bears

# What passes by itself: too many requests, and the store's own troubles.
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
_TRIES = 6
# Their errors are no OSError; those of Python itself are defects and stay what they are.
_LIBRARIES = {
    "aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "httpx", "huggingface_hub",
    "requests",
}  # fmt: skip

# Each library repeats by itself what passes, with growing random pauses; here is how often and how
# long one attempt may take, where its own settings are not for runs of hours. The "legacy" mode of
# botocore is the one that repeats every 429 and 5xx by its number. Listings are not remembered: a
# run reads back what other processes have written.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {
        "use_listings_cache": False,
        "config_kwargs": {
            "connect_timeout": 10,
            "read_timeout": 30,
            "max_pool_connections": 16,
            "retries": {"mode": "legacy", "max_attempts": 6},
        },
    },
    "gs": {"use_listings_cache": False, "requests_timeout": 120},
    "abfs": {"use_listings_cache": False},
}
_SAME = {"s3a": "s3", "gcs": "gs", "abfss": "abfs", "az": "abfs"}


@lru_cache(maxsize=4096)  # asked several times for each frame
def local_path(location: str) -> Path | None:
    """Give the path of a local location; None if it is a URL of another file system."""
    if location.startswith("file://"):
        return Path(location.removeprefix("file://"))
    return None if "://" in location else Path(location)


def url_filesystem(location: str) -> tuple[Any, str]:
    """Give the fsspec file system of a URL and the path in it.

    Credentials, endpoint and everything else are as the environment and fsspec's configuration
    say; what they do not say is set for long runs.

    Raises:
        OSError: the protocol is unknown or its package is not installed.
    """
    import fsspec  # a URL is rare, and fsspec costs start-up time

    protocol = location.partition("://")[0]
    try:
        filesystem, path = fsspec.core.url_to_fs(location, **_options(protocol))
    except (ImportError, ValueError) as error:
        extra = EXTRAS.get(protocol)
        hint = f"pip install 'sam2prep[{extra}]'" if extra else "is there a package for it?"
        raise OSError(f"{error} ({hint})") from error
    patient_itself = protocol in EXTRAS or protocol == "hf"
    return _Store(filesystem, tries=1 if patient_itself else _TRIES), str(path)


def make_folders(url: str, filesystem: Any, inner: str) -> None:
    """Make a folder behind a URL and its parents, where there are any.

    Object stores have none: asking each time for the bucket is a request for each file written, and
    some of their libraries would make a bucket whose name was mistyped.

    Args:
        url: of the folder, or of a file in it.
        filesystem: of the URL.
        inner: the folder's path in it.
    """
    if url.partition("://")[0] not in EXTRAS:
        filesystem.makedirs(inner, exist_ok=True)


def _options(protocol: str) -> dict[str, Any]:
    """Our settings for a file system, where the user has none."""
    import fsspec

    options: dict[str, Any] = {}
    theirs = fsspec.config.conf.get(protocol, {})
    for name, ours in _OPTIONS.get(_SAME.get(protocol, protocol), {}).items():
        given = theirs.get(name)
        if given is None:
            options[name] = deepcopy(ours)  # botocore changes what it is given
        elif isinstance(given, dict) and isinstance(ours, dict):
            options[name] = deepcopy(ours) | given
    settings = options.get("config_kwargs", {})
    if "AWS_MAX_ATTEMPTS" in os.environ or "AWS_RETRY_MODE" in os.environ:
        options |= {"config_kwargs": {k: v for k, v in settings.items() if k != "retries"}}
    return options if protocol in EXTRAS else {}


def read_range(location: str, start: int, end: int) -> bytes:
    """Read bytes [start, end) of a file; fewer where the file ends before, none for an empty range.

    Raises:
        OSError: there is no such file, or the storage fails.
    """
    if start >= end:
        return b""
    path = local_path(location)
    if path is None:
        ahead: _Ahead | None = getattr(_current, "ahead", None)
        found = ahead.read(location, start, end) if ahead is not None else None
        return _fetch(*url_filesystem(location), start, end) if found is None else found
    status = path.stat()
    return _open_file(path, status.st_dev, status.st_ino).read(start, end)


@contextmanager
def reading_ahead(ranges: Sequence[ByteRange]) -> Iterator[None]:
    """Fetch ahead what this thread is going to read from URLs; of local files, nothing.

    Inside the block `read_range` finds what begins where one of the ranges does, and ends within
    it, in memory. Everything else it reads as ever.

    Args:
        ranges: in the order in which they will be read. Those that touch, one behind the other in
            one file, are fetched by one request of at most 8 MB.
    """
    far = [each for each in ranges if each[1] < each[2] and local_path(each[0]) is None]
    if not far:
        yield
        return
    before = getattr(_current, "ahead", None)
    _current.ahead = ahead = _Ahead(far)
    try:
        yield
    finally:
        _current.ahead = before
        ahead.close()


_current = threading.local()


@dataclass(kw_only=True, slots=True)
class _Block:
    """What one request brings: bytes [start, end) of a file."""

    location: str
    start: int
    end: int
    data: Future[bytes] | None = None


class _Ahead:
    """Blocks in the order in which they will be asked for; the next ones are under way."""

    def __init__(self, ranges: Sequence[ByteRange]) -> None:
        self._of: dict[tuple[str, int], int] = {}
        blocks: list[_Block] = []
        for location, start, end in ranges:
            last = blocks[-1] if blocks else None
            if last is None or not _continues(last, location, start, end):
                last = _Block(location=location, start=start, end=end)
                blocks.append(last)
            last.end = max(last.end, end)
            self._of[location, start] = len(blocks) - 1
        self._waiting = deque(enumerate(blocks))
        self._held: dict[int, _Block] = {}
        self._bytes = 0
        # A file system that is not asynchronous need not bear several threads.
        parallel = all(getattr(url_filesystem(name)[0], "async_impl", False) for name in
                       {block.location.partition("://")[0] + "://": block.location
                        for block in blocks}.values())  # fmt: skip
        self._pool = ThreadPoolExecutor(max_workers=_AT_ONCE if parallel else 1)

    def read(self, location: str, start: int, end: int) -> bytes | None:
        """Bytes [start, end), fewer at the end of the file; None: they were not asked for ahead."""
        number = self._of.get((location, start))
        if number is None:
            return None
        self._advance(number)
        block = self._held.get(number)
        if block is None or block.data is None or end > block.end:
            return None
        return block.data.result()[start - block.start : end - block.start]

    def _advance(self, number: int) -> None:
        """Forget what lies before a block; have it, and as much behind it as may be held."""
        for passed in [held for held in self._held if held < number]:
            block = self._held.pop(passed)
            self._bytes -= block.end - block.start
            if block.data is not None:
                block.data.cancel()
        while self._waiting:
            place, block = self._waiting[0]
            size = block.end - block.start
            if place > number and self._bytes + size > _AHEAD_BYTES:
                return
            self._waiting.popleft()
            if place >= number:
                # Here and not on the pool's threads: fsspec makes a client for every thread.
                fetch = partial(_fetch, *url_filesystem(block.location), block.start, block.end)
                block.data = self._pool.submit(fetch)
                self._held[place] = block
                self._bytes += size

    def close(self) -> None:
        """End what is under way."""
        self._pool.shutdown(cancel_futures=True)


def _continues(block: _Block, location: str, start: int, end: int) -> bool:
    return (
        block.location == location
        and block.start <= start <= block.end + _GAP_BYTES
        and max(end, block.end) - block.start <= _BLOCK_BYTES
    )


def _fetch(filesystem: Any, inner: str, start: int, end: int) -> bytes:
    """Get a range by one request; none of it where the file ends before."""
    try:
        return bytes(filesystem.cat_file(inner, start=start, end=end))
    except FileNotFoundError:
        raise
    except OSError:  # S3 refuses a range behind the end
        if start >= int(filesystem.info(inner)["size"] or 0):
            return b""
        raise


class _Store:
    """A file system of fsspec, all of whose failures are `OSError`, and which is patient.

    What passes by itself is asked for again, with random pauses that grow: the libraries of the
    large stores do so themselves (`_OPTIONS`), that of `https://` does not.
    """

    def __init__(self, filesystem: Any, tries: int) -> None:
        self._filesystem = filesystem
        self._tries = tries

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._filesystem, name)
        return partial(_ask, self._tries, value) if callable(value) else value


def _ask(tries: int, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
    for attempt in range(1, tries):
        attempted = _Attempt(may_fail=True)
        with attempted:
            return method(*args, **options)
        time.sleep(random.uniform(0.5, 1) * 0.2 * 2**attempt)
    with _Attempt(may_fail=False):
        return method(*args, **options)


class _Attempt:
    """Makes one request; swallows a failure that may pass, gives others the type `OSError`."""

    def __init__(self, *, may_fail: bool) -> None:
        self._may_fail = may_fail

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        status = getattr(error, "status", None)
        library = type(error).__module__.partition(".")[0]
        lost = isinstance(error, ConnectionError | TimeoutError) or library == "aiohttp"
        if self._may_fail and (lost if status is None else status in _PASSING_STATUS):
            return True
        if isinstance(error, OSError) or library not in _LIBRARIES:
            return False
        if status == 404:
            raise FileNotFoundError(str(error)) from error
        if status in (401, 403) or "Credential" in type(error).__name__:
            raise PermissionError(str(error)) from error
        raise ConnectionError(str(error) or type(error).__name__) from error


def sha256_of(location: str) -> tuple[int, str]:
    """Read a whole file in pieces, and give its size in bytes and its hexadecimal sha256.

    Raises:
        OSError: there is no such file, or the storage fails.
    """
    path, at = local_path(location), 0
    if path is not None:  # read once: no descriptor of it is to stay open
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            return file.tell(), digest.hexdigest()
    digest = hashlib.sha256()
    while piece := read_range(location, at, at + _PIECE_BYTES):
        digest.update(piece)
        at += len(piece)
        if len(piece) < _PIECE_BYTES and local_path(location) is None:
            break  # one request less
    return at, digest.hexdigest()


class _OpenFile:
    """A descriptor that lives as long as someone reads from it: eviction cannot close it before."""

    def __init__(self, path: Path) -> None:
        self._fd = -1
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self, start: int, end: int) -> bytes:
        """Bytes [start, end), fewer at the end of the file; one `pread` moves at most 2 GiB."""
        parts: list[bytes] = []
        while start < end:
            part = os.pread(self._fd, end - start, start)
            if not part:
                break
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


@lru_cache(maxsize=_OPEN_FILES)
def _open_file(path: Path, device: int, inode: int) -> _OpenFile:
    """Keyed by the inode too: a file that was replaced under its name is opened anew."""
    del device, inode
    return _OpenFile(path)
