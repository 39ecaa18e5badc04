"""Files that are whole or not there, on a disk and behind a URL; fsspec is the oracle."""

import hashlib
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import fsspec
import pytest

from engine import storage
from engine.storage import AtomicFile, FileDigest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["disk", "memory", "file-url"])
def place(request, tmp_path):
    if request.param == "disk":
        return str(tmp_path)
    if request.param == "file-url":
        return f"file://{tmp_path}/below"
    return f"memory://test_storage/{uuid.uuid4().hex}"


def seen(place):
    """All files below, by fsspec alone."""
    filesystem, inner = fsspec.core.url_to_fs(place)
    return sorted(name.removeprefix(inner).strip("/") for name in filesystem.find(inner))


def read(path):
    with fsspec.open(path, "rb") as source:
        return source.read()


def test_what_is_written_is_there_with_its_digest(place):
    path = storage.join(place, "a/b", "c.bin")
    parts = [b"one", bytearray(b"two"), memoryview(b"three"), b""]
    with AtomicFile(path, name="hf/c.bin") as sink:
        assert [sink.write(part) for part in parts] == [3, 3, 5, 0]
        assert sink.tell() == 11
        sink.flush()
        assert not sink.closed
    assert sink.closed
    data = b"onetwothree"
    assert read(path) == data == storage.read_bytes(path)
    sha256 = hashlib.sha256(data).hexdigest()
    assert sink.digest() == FileDigest(path="hf/c.bin", size_bytes=11, sha256=sha256)
    assert seen(place) == ["a/b/c.bin"]


def test_an_error_leaves_nothing(place):
    path = storage.join(place, "c.bin")
    with pytest.raises(KeyError, match="seven"), AtomicFile(path) as sink:
        sink.write(b"half")
        raise KeyError("seven")
    assert not storage.exists(path)
    assert seen(place) == []


def test_an_error_leaves_the_old_file(place):
    path = storage.join(place, "c.bin")
    storage.write_bytes(path, b"old")
    with pytest.raises(KeyError), AtomicFile(path) as sink:
        sink.write(b"new, but only half")
        raise KeyError("seven")
    assert read(path) == b"old"
    assert seen(place) == ["c.bin"]


def test_a_file_is_replaced_whole(place):
    path = storage.join(place, "c.bin")
    storage.write_bytes(path, b"a longer old one")
    digest = storage.write_bytes(path, b"new", name="c.bin")
    assert read(path) == b"new"
    assert (digest.path, digest.size_bytes) == ("c.bin", 3)


def test_before_the_end_there_is_nothing_under_the_name(tmp_path):
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")
    with AtomicFile(str(path)) as sink:
        sink.write(b"x" * 2**20)
        assert path.read_bytes() == b"old"
    assert path.stat().st_size == 2**20


def test_a_killed_writer_leaves_nothing_under_the_name(tmp_path):
    path = tmp_path / "c.bin"
    code = (
        "import os, sys; from engine.storage import AtomicFile\n"
        "with AtomicFile(sys.argv[1]) as sink:\n"
        "    sink.write(b'half'); os._exit(9)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert run.returncode == 9
    assert not path.exists()
    storage.write_bytes(str(path), b"whole")
    assert path.read_bytes() == b"whole"


def test_data_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    """fsync of the file, then the rename, then fsync of the folder."""
    steps = []
    own = {"fsync": os.fsync, "replace": Path.replace}

    def fsync(descriptor):
        steps.append("folder" if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else "file")
        own["fsync"](descriptor)

    def replace(self, target):
        steps.append("rename")
        return own["replace"](self, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to tell a file's descriptor from a folder's")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    storage.write_bytes(str(tmp_path / "c.bin"), b"data")
    assert steps == ["file", "rename", "folder"]


def test_a_failing_disk_leaves_nothing(tmp_path, monkeypatch):
    def fail(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        storage.write_bytes(str(tmp_path / "c.bin"), b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_large_write_is_not_cut_short(tmp_path):
    class Slow:
        """A file that takes at most 1,000 bytes at a time, as an unbuffered one may."""

        def __init__(self, sink):
            self.sink = sink

        def write(self, data):
            return self.sink.write(data[:1000])

        def __getattr__(self, name):
            return getattr(self.sink, name)

    data = os.urandom(12_345)
    path = tmp_path / "c.bin"
    with AtomicFile(str(path)) as sink:
        sink._sink = Slow(sink._sink)
        assert sink.write(data) == len(data)
    assert path.read_bytes() == data


def test_listing_and_sizes(place):
    for name in ("b.bin", "a/x.bin", "a/b/y.bin"):
        storage.write_bytes(storage.join(place, name), b"12345")
    assert storage.list_files(place) == ["a/b/y.bin", "a/x.bin", "b.bin"]
    assert storage.stored_bytes(place) == 15
    assert storage.stored_bytes(storage.join(place, "b.bin")) == 5
    assert storage.stored_bytes(storage.join(place, "none")) == 0
    assert storage.list_files(storage.join(place, "none")) == []
    assert storage.exists(storage.join(place, "a"))
    assert storage.is_file(storage.join(place, "b.bin"))
    assert not storage.is_file(storage.join(place, "a"))
    assert not storage.is_file(storage.join(place, "none"))


def test_removing_a_folder(place):
    storage.write_bytes(storage.join(place, "a/b/y.bin"), b"1")
    storage.write_bytes(storage.join(place, "keep.bin"), b"1")
    storage.remove(storage.join(place, "a"))
    storage.remove(storage.join(place, "a"))
    assert storage.list_files(place) == ["keep.bin"]


def test_a_missing_file_says_so(place):
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(storage.join(place, "none.bin"))


@pytest.mark.parametrize(
    ("root", "parts", "joined"),
    [
        ("out", ("hf", "train"), "out/hf/train"),
        ("out/", ("/hf/", "train/"), "out/hf/train"),
        ("/", ("hf",), "//hf"),
        ("s3://bucket/out/", ("hf", "", "a.arrow"), "s3://bucket/out/hf/a.arrow"),
        (".", ("a",), "./a"),
    ],
)
def test_joining(root, parts, joined):
    assert os.path.normpath(storage.join(root, *parts)) == os.path.normpath(joined)
    assert storage.join("s3://bucket", "a") == "s3://bucket/a"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.zip", "a.zip"),
        ("/x/y/a.zip", "a.zip"),
        ("s3://b/x/a.zip", "a.zip"),
        ("x/folder/", "folder"),
    ],
)
def test_the_name_of_a_place(path, name):
    assert storage.file_name(path) == name


def test_a_temporary_folder_is_empty_and_new():
    one, two = storage.temporary_folder("test-"), storage.temporary_folder("test-")
    try:
        assert one != two
        assert storage.list_files(one) == []
    finally:
        storage.remove(one)
        storage.remove(two)
    assert not storage.exists(one)


def test_background_sync_brings_files_and_their_folders_to_the_disk(tmp_path, monkeypatch):
    synced = []

    def fsync(descriptor):
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr("engine.disk_sync.os.fsync", fsync)
    paths = [tmp_path / folder / name for folder in "ab" for name in ("1", "2")]
    for path in paths:
        with storage.AtomicFile(str(path), durable=False) as sink:
            sink.write(b"x")
    assert synced == []
    with storage.BackgroundSync() as syncing:
        for path in paths:
            syncing.add(str(path))
    folders = {path.parent for path in paths}
    assert sorted(synced) == sorted(place.stat().st_ino for place in [*paths, *folders])


def test_background_sync_tells_of_a_disk_that_fails(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"x")

    def broken(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("engine.disk_sync.os.fsync", broken)
    with pytest.raises(OSError, match="Input/output"), storage.BackgroundSync() as syncing:
        syncing.add(str(path))


def test_a_link_is_a_second_name_of_the_same_file(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b").write_bytes(b"of an earlier attempt")
    for _ in range(2):
        assert storage.link_file(str(tmp_path / "a"), str(tmp_path / "deep" / "b"))
        assert (tmp_path / "a").samefile(tmp_path / "deep" / "b")
    assert storage.link_file(str(tmp_path / "a"), str(tmp_path / "a"))
    assert storage.list_files(str(tmp_path)) == ["a", "deep/b"]


def test_where_there_are_no_links_it_is_said(tmp_path, monkeypatch):
    assert not storage.link_file(str(tmp_path / "missing"), str(tmp_path / "b"))
    assert not storage.link_file("memory://test_storage/a", "memory://test_storage/b")
    (tmp_path / "a").write_bytes(b"x")

    def refuse(_old, _new):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("engine.storage.os.link", refuse)
    assert not storage.link_file(str(tmp_path / "a"), str(tmp_path / "b"))
    assert storage.list_files(str(tmp_path)) == ["a"]


def test_background_sync_of_a_folder_is_one_call_and_tells_of_a_disk_that_fails(
    tmp_path, monkeypatch
):
    called = []
    monkeypatch.setattr("engine.storage.sync_filesystem", called.append)
    with storage.BackgroundSync() as syncing:
        syncing.add_all_below(str(tmp_path))
        syncing.add_all_below("memory://test_storage/x")
    assert called == [tmp_path]

    def broken(_place):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("engine.storage.sync_filesystem", broken)
    with pytest.raises(OSError, match="Input/output"), storage.BackgroundSync() as syncing:
        syncing.add_all_below(str(tmp_path))


def test_an_absolute_path_means_the_same_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert storage.absolute("out") == f"{tmp_path}/out"
    assert storage.absolute(f"file://{tmp_path}/out") == f"{tmp_path}/out"
    assert storage.absolute("s3://bucket/out") == "s3://bucket/out"


def test_a_folder_is_not_synced_again_before_the_first_has_begun(tmp_path, monkeypatch):
    begun, go_on, called = threading.Event(), threading.Event(), []

    def sync(_place):
        called.append(len(list(tmp_path.iterdir())))
        begun.set()
        go_on.wait(10)

    monkeypatch.setattr("engine.storage.sync_filesystem", sync)
    with storage.BackgroundSync() as syncing:
        syncing.add_all_below(str(tmp_path))
        assert begun.wait(10)
        for name in "abc":  # files that the sync under way may have missed
            (tmp_path / name).write_bytes(b"x")
            syncing.add_all_below(str(tmp_path))
        go_on.set()
    assert called == [0, 3]
