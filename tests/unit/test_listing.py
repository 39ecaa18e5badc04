"""What cannot be listed is not taken for empty; what is there, fsspec lists alike."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from engine import storage
from engine.errors import Sam2PrepError
from engine.listing import files_below, kind_of
from engine.sources import find_exports


@pytest.fixture
def memory():
    filesystem = fsspec.filesystem("memory")
    for name in ("a/b/c/1.txt", "a/b/2.txt", "a/3.txt", "ab/4.txt"):
        filesystem.pipe_file(f"/listing/{name}", name.encode())
    filesystem.makedirs("/listing/a/empty")
    yield filesystem
    filesystem.rm("/listing", recursive=True)


@pytest.mark.parametrize("folder", ["/listing", "/listing/a", "/listing/a/", "/listing/a/empty"])
def test_it_finds_what_fsspec_finds(memory, folder):
    expected = memory.find(folder, detail=True)
    found = files_below(memory, folder)
    root = folder.rstrip("/")
    assert {f"{root}/{name}": about["size"] for name, about in found.items()} == {
        name: about["size"] for name, about in expected.items()
    }


def test_what_is_not_there_is_nothing(memory):
    assert files_below(memory, "/listing/none") == {}
    assert kind_of(memory, "/listing/none") is None
    assert kind_of(memory, "/listing/a") == "directory"
    assert kind_of(memory, "/listing/a/3.txt") == "file"


class _Answers(BaseHTTPRequestHandler):
    """A server that answers with the status that is asked for."""

    def do_GET(self):
        self.send_response(int(self.path.split("/")[1]))
        self.end_headers()

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_a_web_server_that_does_not_answer_is_not_a_missing_file(server):
    assert find_exports_error(f"{server}/404/x.zip") == "no such file or folder"
    assert find_exports_error(f"{server}/403/x.zip") == (
        "cannot be read: got the server answers 403 Forbidden"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/x.zip"
    assert find_exports_error(nobody).startswith("cannot be read: got the server cannot be reached")


def find_exports_error(url):
    with pytest.raises(Sam2PrepError) as caught:
        find_exports(url)
    assert caught.value.exit_code == 3
    return caught.value.complaint


@pytest.mark.parametrize("error", [FileNotFoundError, ConnectionError, None])
def test_a_store_s_own_listing_is_taken_whole(error):
    class Store:
        async_impl = True

        def find(self, path, detail):
            if error:
                raise error(path)
            return {f"{path}/1.txt": {"type": "file", "size": 1}} if detail else [f"{path}/1.txt"]

    if error is ConnectionError:
        with pytest.raises(ConnectionError):
            files_below(Store(), "bucket/out")
    else:
        found = {} if error else {"1.txt": {"type": "file", "size": 1}}
        assert files_below(Store(), "bucket/out") == found


class Unanswering(MemoryFileSystem):
    """A file system that cannot list one folder, as after a lost connection."""

    protocol = "unanswering"
    silent: ClassVar[str] = ""

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("unanswering://", "memory://"))

    def ls(self, path, detail=True, **more):
        if self._strip_protocol(path) == self.silent:
            raise ConnectionError("no answer")
        return super().ls(path, detail, **more)

    def info(self, path, **more):
        if self._strip_protocol(path) == self.silent:
            raise ConnectionError("no answer")
        return super().info(path, **more)


@pytest.mark.parametrize("silent", ["/quiet/out", "/quiet/out/hf", "/quiet/out/hf/train"])
def test_what_cannot_be_listed_is_not_taken_for_empty(monkeypatch, silent):
    """fsspec's own `exists`, `isfile` and `find` say that there is nothing."""
    fsspec.register_implementation("unanswering", Unanswering, clobber=True)
    monkeypatch.setattr("engine.byte_ranges.time.sleep", lambda _sec: None)
    out = "unanswering://quiet/out"
    try:
        storage.write_bytes(f"{out}/hf/train/data.arrow", b"12")
        storage.write_bytes(f"{out}/summary.json", b"3")
        assert storage.list_files(out) == ["hf/train/data.arrow", "summary.json"]
        assert storage.list_sizes(out) == {"hf/train/data.arrow": 2, "summary.json": 1}
        assert storage.stored_bytes(out) == 3
        monkeypatch.setattr(Unanswering, "silent", silent)
        for asked in (storage.list_files, storage.list_sizes, storage.stored_bytes):
            with pytest.raises(ConnectionError):
                asked(out)
        for asked in (storage.exists, storage.is_file):
            with pytest.raises(ConnectionError):
                asked(f"unanswering:/{silent}")
            assert asked(f"{out}/nothing") is False
    finally:
        fsspec.filesystem("memory").rm("/quiet", recursive=True)
