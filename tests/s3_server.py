"""An S3 server for tests: moto in a process of its own, and before it a proxy that may fail.

Nothing here verifies a signature: who asks needs credentials only because its library does.
"""

import http.client
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.ray_nodes import free_ports

__all__ = ["Faults", "Proxy", "environment", "running_proxy", "running_server"]

_READY_SEC = 60
SECRET = "not-a-secret-but-never-to-be-seen"


def environment(endpoint: str) -> dict[str, str]:
    """Variables by which botocore finds the server."""
    return {
        "AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip


@contextmanager
def running_server() -> Iterator[str]:
    """Start moto; gives its URL."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(10 * _READY_SEC):
            with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), 1)):
                break
            if process.poll() is not None:
                raise RuntimeError(f"moto ended with exit code {process.returncode}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@dataclass(kw_only=True)
class Faults:
    """How a share of the requests fails; the same seed gives the same sequence.

    Args:
        refused: share answered 500, 503 or 429.
        reset: share of answers whose connection is reset in the middle of the body.
        stalls: how many answers never come.
        seed: of the sequence.
    """

    refused: float = 0.0
    reset: float = 0.0
    stalls: int = 0
    seed: int = 0


@dataclass(kw_only=True)
class Proxy:
    """What a proxy has seen and done since it was made.

    Args:
        url: where it listens.
        requests: number by method and "object" of each.
        sent: bytes of the bodies given to clients, by path.
        done: faults by kind.
    """

    url: str
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)


@contextmanager
def running_proxy(upstream: str, faults: Faults | None = None) -> Iterator[Proxy]:
    """Serve what `upstream` serves, with faults; counts everything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    state = Proxy(url=f"http://127.0.0.1:{server.server_address[1]}")
    _Handler.of[server.server_address[1]] = _Behind(upstream, faults or Faults(), state)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        _Handler.of.pop(server.server_address[1])


class _Behind:
    """The server behind a proxy, and how the proxy is to fail."""

    def __init__(self, upstream: str, faults: Faults, state: Proxy) -> None:
        self.host = upstream.removeprefix("http://")
        self.faults, self.state = faults, state
        self.random = random.Random(faults.seed)
        self.lock = threading.Lock()
        self.stalls = faults.stalls

    def choose(self, method: str, path: str) -> str | None:
        """Count a request, and say how it fails."""
        with self.lock:
            self.state.requests[method, path] += 1
            drawn = self.random.random()
            if self.stalls and sum(self.state.requests.values()) > 20:
                self.stalls -= 1
                kind = "stall"
            elif drawn < self.faults.refused:
                kind = self.random.choice(("500", "503", "503", "429"))
            elif drawn < self.faults.refused + self.faults.reset:
                kind = "reset"
            else:
                return None
            self.state.done[kind] += 1
            return kind


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    of: dict[int, _Behind] = {}  # noqa: RUF012  # by port: a handler is made for each connection

    def setup(self) -> None:
        super().setup()
        self.behind = self.of[self.server.server_address[1]]  # type: ignore[index]
        self.upstream = http.client.HTTPConnection(self.behind.host, timeout=60)

    def finish(self) -> None:
        self.upstream.close()
        with suppress(OSError):
            super().finish()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _pass_on(self) -> None:
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.behind.choose(self.command, path)
        if kind == "stall":
            time.sleep(5)
            self._reset()
            return
        if kind is not None and kind.isdigit():
            self._refuse(int(kind))
            return
        headers = dict(self.headers.items()) | {"Connection": "keep-alive"}
        self.upstream.request(self.command, self.path, body=body, headers=headers)
        answer = self.upstream.getresponse()
        self._answer(answer.status, answer.getheaders(), answer.read(), path, kind)

    def _answer(self, status: int, headers: Any, data: bytes, path: str, kind: str | None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = {k.lower(): v for k, v in headers}.get("content-length", len(data))
        self.send_header("Content-Length", str(length if self.command == "HEAD" else len(data)))
        self.end_headers()
        if kind == "reset":
            self.wfile.write(data[: len(data) // 2])
            self._reset()
            return
        self.wfile.write(data)
        with self.behind.lock:
            self.behind.state.sent[path] += len(data)

    def _refuse(self, status: int) -> None:
        code = {500: "InternalError", 503: "SlowDown", 429: "TooManyRequests"}[status]
        data = f"<Error><Code>{code}</Code><Message>later</Message></Error>".encode()
        data = b"" if self.command == "HEAD" else data
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _reset(self) -> None:
        """End the connection by RST, as a machine that dies does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
        self.connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815
