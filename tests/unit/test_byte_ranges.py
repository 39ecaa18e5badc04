"""Ranges of bytes, local and far, with a store in memory that counts what it is asked for."""

import hashlib
import os
import random
import threading
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import byte_ranges
from engine.byte_ranges import local_path, read_range, reading_ahead, sha256_of, url_filesystem

DATA = random.Random(5).randbytes(300_000)


class Asked(fsspec.AbstractFileSystem):
    """One file of `DATA`; fails as it is told to, and refuses ranges behind the end as S3 does."""

    protocol = "asked"
    cachable = False
    ranges: ClassVar[list] = []
    failures: ClassVar[list] = []
    threads: ClassVar[set] = set()

    def info(self, path, **_):
        if path.endswith("missing"):
            raise FileNotFoundError(path)
        return {"name": path, "size": len(DATA), "type": "file"}

    def cat_file(self, path, start=None, end=None, **_):
        self.info(path)
        Asked.threads.add(threading.get_ident())
        if Asked.failures:
            raise Asked.failures.pop(0)
        if start >= len(DATA):
            raise OSError(22, "The requested range is not satisfiable")
        Asked.ranges.append((start, end))
        return DATA[start:end]


fsspec.register_implementation("asked", Asked, clobber=True)
URL = "asked://file"


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    Asked.ranges.clear()
    Asked.failures.clear()
    monkeypatch.setattr(byte_ranges.time, "sleep", lambda _sec: None)


@given(
    wanted=st.lists(st.tuples(st.integers(0, 310_000), st.integers(0, 20_000)), max_size=30),
    gap=st.integers(0, 5000), block=st.integers(1, 50_000), ahead=st.integers(1, 200_000),
)  # fmt: skip
@settings(max_examples=60)
def test_what_is_read_ahead_is_what_is_there(wanted, gap, block, ahead):
    names = ("_GAP_BYTES", gap), ("_BLOCK_BYTES", block), ("_AHEAD_BYTES", ahead)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names:
            patch.setattr(byte_ranges, name, value)
        ranges = [(URL, start, start + length) for start, length in wanted]
        with reading_ahead(ranges):
            for _, start, end in ranges:
                assert read_range(URL, start, end) == DATA[start:end]
            for _, start, end in reversed(ranges):  # it may come in another order, too
                assert read_range(URL, start, end) == DATA[start:end]


def test_neighbours_are_one_request_and_others_are_not():
    members = [(URL, start, start + 1128) for start in range(0, 100_000, 1000)]
    apart = [(URL, start, start + 100) for start in range(150_000, 200_000, 10_000)]
    with reading_ahead([*members, *apart]):
        for each in [*members, *apart]:
            assert read_range(*each) == DATA[each[1] : each[2]]
            assert read_range(*each[:2], each[1] + 50) == DATA[each[1] : each[1] + 50]  # a part
    assert len(Asked.ranges) == 1 + len(apart)
    assert sum(end - start for start, end in Asked.ranges) == 100_128 + 500


def test_a_request_is_bounded_and_what_is_held_too(monkeypatch):
    monkeypatch.setattr(byte_ranges, "_BLOCK_BYTES", 10_000)
    monkeypatch.setattr(byte_ranges, "_AHEAD_BYTES", 30_000)
    ranges = [(URL, start, start + 1000) for start in range(0, 200_000, 1000)]
    with reading_ahead(ranges):
        ahead = byte_ranges._current.ahead
        for each in ranges:
            read_range(*each)
            held = sum(block.end - block.start for block in ahead._held.values())
            assert held == ahead._bytes <= 30_000
    assert max(end - start for start, end in Asked.ranges) <= 10_000
    assert len(Asked.ranges) == 20


def test_what_was_not_announced_is_read_as_ever_and_other_threads_know_nothing():
    with reading_ahead([(URL, 0, 100)]):
        assert read_range(URL, 50, 70) == DATA[50:70]
        assert read_range(URL, 0, 200) == DATA[:200]  # longer than announced
        found = []
        thread = threading.Thread(
            target=lambda: found.append(hasattr(byte_ranges._current, "ahead"))
        )
        thread.start()
        thread.join()
        assert found == [False]
    assert getattr(byte_ranges._current, "ahead", None) is None


def test_a_failure_ahead_is_the_readers(monkeypatch):
    with (
        reading_ahead([("asked://missing", 0, 10), (URL, 0, 10)]),
        pytest.raises(FileNotFoundError),
    ):
        read_range("asked://missing", 0, 10)
    assert getattr(byte_ranges._current, "ahead", None) is None


def test_local_files_are_not_read_ahead(tmp_path):
    path = str(tmp_path / "file")
    Path(path).write_bytes(DATA)
    with reading_ahead([(path, 0, 100)]):
        assert getattr(byte_ranges._current, "ahead", None) is None
        assert read_range(path, 20, 30) == DATA[20:30]


def test_the_end_of_a_far_file():
    assert read_range(URL, len(DATA) - 5, len(DATA) + 10) == DATA[-5:]
    assert read_range(URL, len(DATA), len(DATA) + 1) == b""
    assert read_range(URL, len(DATA) + 7, len(DATA) + 9) == b""


@pytest.mark.parametrize("piece", [1 << 23, 100_000, 70_001, 300_000])
def test_the_digest_of_a_far_file_whatever_its_length(piece, monkeypatch):
    monkeypatch.setattr(byte_ranges, "_PIECE_BYTES", piece)
    assert sha256_of(URL) == (len(DATA), hashlib.sha256(DATA).hexdigest())


class Refused(Exception):  # noqa: N818
    """As `aiohttp.ClientResponseError`: no OSError, and a status."""

    def __init__(self, status):
        self.status = status
        super().__init__(f"status {status}")


Refused.__module__ = "aiohttp.client_exceptions"


@pytest.mark.parametrize(
    "failure",
    [Refused(429), Refused(500), Refused(503), ConnectionResetError(), TimeoutError()],
    ids=repr,
)
def test_what_passes_is_asked_for_again(failure):
    Asked.failures += [failure] * 3
    assert read_range(URL, 0, 10) == DATA[:10]
    Asked.failures += [failure] * 6
    with pytest.raises(OSError, match=r"status|^$"):
        read_range(URL, 0, 10)
    assert not Asked.failures


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Refused(404), FileNotFoundError),
        (Refused(403), PermissionError),
        (Refused(400), ConnectionError),
        (PermissionError("no"), PermissionError),
        (OSError(5, "broken"), OSError),
        (RuntimeError("a defect"), RuntimeError),
    ],
    ids=repr,
)
def test_what_does_not_pass_is_not_asked_for_again(failure, kind):
    Asked.failures += [failure]
    with pytest.raises(kind):
        read_range(URL, 0, 10)
    assert Asked.ranges == []


def test_settings_of_the_user_come_before_ours(monkeypatch):
    monkeypatch.setattr(fsspec.config, "conf", {"s3": {"config_kwargs": {"read_timeout": 3},
                                                       "use_listings_cache": True}})  # fmt: skip
    for name in ("AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"):
        monkeypatch.delenv(name, raising=False)
    ours = byte_ranges._options("s3")
    assert ours["config_kwargs"]["read_timeout"] == 3
    assert ours["config_kwargs"]["retries"]["max_attempts"] == 6
    assert "use_listings_cache" not in ours
    ours["config_kwargs"]["retries"].clear()  # as botocore does
    assert byte_ranges._options("s3")["config_kwargs"]["retries"]["max_attempts"] == 6
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    assert "retries" not in byte_ranges._options("s3")["config_kwargs"]
    assert byte_ranges._options("memory") == {}


def test_a_location_is_local_or_a_url():
    assert local_path("file:///a/b") == Path("/a/b")
    assert local_path("a/b") == Path("a/b")
    assert local_path("s3://a/b") is None
    with pytest.raises(OSError, match="nowhere"):
        url_filesystem("nowhere://a")


def test_a_file_replaced_under_its_name_is_opened_anew(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"first")
    assert read_range(str(path), 0, 5) == b"first"
    (tmp_path / "other").write_bytes(b"other")
    os.replace(tmp_path / "other", path)  # noqa: PTH105
    assert read_range(str(path), 0, 5) == b"other"
