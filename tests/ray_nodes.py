"""Nodes of a Ray cluster as `ray start` makes them, for tests: each in a session of its own.

A node is ended by the ids of the processes of its session, never by a name: another Ray on this
machine is nobody's business here.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = "not-a-secret-0123456789abcdef0123456789abcdef"
_READY_SEC = 120

HIDE = 'mount -t tmpfs none "$0" && exec "$@"'
"""For `unshare --mount sh -c`: lays an empty file system over a folder, and starts a command."""


@dataclass(frozen=True)
class Nodes:
    """A head without task CPUs and one worker node, as the manifests of `cluster/` have them."""

    address: str
    folder: Path
    environment: dict[str, str]
    gcs: str

    def log_of(self, job_id: str) -> str:
        """All that the job's driver has written."""
        return (self.folder / f"session_latest/logs/job-driver-{job_id}.log").read_text()


def may_unshare(folder: Path) -> bool:
    """Whether this user may make a mount namespace here."""
    command = ["unshare", "--mount", "sh", "-c", HIDE, str(folder), "true"]
    return not subprocess.run(command, capture_output=True, check=False).returncode


def environment(home: Path) -> dict[str, str]:
    """Variables for a program that knows the token, and nothing else of any Ray."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    programs = Path(sys.executable).parent
    return kept | {
        "PATH": f"{programs}{os.pathsep}{kept.get('PATH', '')}",
        "HOME": str(home),
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different, not among those of Ray's workers."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3 * count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    return [port for port in ports if not 10000 <= port < 20000][:count]


@contextmanager
def running_nodes(worker_in: Sequence[str] = ()) -> Iterator[Nodes]:
    """Start the two nodes, give them when a job can be submitted, and end them.

    Args:
        worker_in: a command that starts the worker node's command, its further arguments.
    """
    # A short path: the sockets below it have names of at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    gcs, dashboard, agent, agent_grpc, client = free_ports(5)
    variables = environment(folder)
    head = (
        f"--head --block --num-cpus=0 --port={gcs} --dashboard-port={dashboard} "
        f"--dashboard-agent-listen-port={agent} --dashboard-agent-grpc-port={agent_grpc} "
        f"--ray-client-server-port={client} --temp-dir={folder} "
        "--object-store-memory=100000000 --include-dashboard=true"
    )
    # A folder of its own, as on a machine of its own: each node's agent removes and unpacks the
    # upload of a job anew, under the feet of a driver that shares it.
    worker = (
        f"--block --num-cpus=2 --address=127.0.0.1:{gcs} --temp-dir={folder}/w "
        "--object-store-memory=100000000"
    )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        with ExitStack() as stack:
            starts = (("head", (), head), ("worker", worker_in, worker))
            for count, (name, prefix, options) in enumerate(starts, 1):
                log = stack.enter_context((folder / f"{name}.log").open("wb"))
                process = subprocess.Popen(
                    [*prefix, "ray", "start", *options.split()],
                    env=variables | {"RAY_AUTH_MODE": "token"},
                    start_new_session=True, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT,
                )  # fmt: skip
                stack.callback(_end, process)
                _wait_for(count, address, process, folder / f"{name}.log")
            yield Nodes(address, folder, variables, f"127.0.0.1:{gcs}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Cluster:
    """A head without task CPUs and nodes of one CPU each, every one a raylet that can be killed.

    Args:
        folder: for logs and sockets; its path is short.
        more: variables that the workers of nodes get.
    """

    folder: Path
    more: dict[str, str]
    gcs: int = 0
    head: subprocess.Popen[bytes] | None = None
    nodes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _started: int = 0

    @property
    def address(self) -> str:
        """Where a driver connects."""
        return f"127.0.0.1:{self.gcs}"

    def environment(self) -> dict[str, str]:
        """Variables of a driver."""
        return environment(self.folder) | {"RAY_AUTH_MODE": "token"}

    def start(self) -> None:
        """Start the head, which knows of a dead node within seconds."""
        (self.gcs,) = free_ports(1)
        self.head = self._ray_start(
            "head", f"--head --num-cpus=0 --port={self.gcs} --include-dashboard=false "
            f"--temp-dir={self.folder}"
        )  # fmt: skip
        deadline = time.monotonic() + _READY_SEC
        while time.monotonic() < deadline and self.head.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.gcs), timeout=1):
                return
            time.sleep(0.1)
        raise RuntimeError((self.folder / "head.log").read_text())

    def complete(self, count: int, within: Sequence[str] = ()) -> None:
        """Start nodes until there are so many; does not wait for them.

        Args:
            count: of all nodes.
            within: a command that starts the new nodes' command, its further arguments.
        """
        self.nodes = {pid: node for pid, node in self.nodes.items() if _members(pid)}
        while len(self.nodes) < count:
            self._started += 1
            name = f"n{self._started}"
            node = self._ray_start(
                name, f"--num-cpus=1 --address={self.address} --temp-dir={self.folder}/{name}",
                within,
            )  # fmt: skip
            self.nodes[node.pid] = node

    def kill(self, session: int) -> None:
        """End a node at once: its raylet and its workers, as by a power failure."""
        node = self.nodes.pop(session)
        for pid in _members(session):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait()

    def end(self) -> None:
        """End all that was started."""
        for node in [*self.nodes.values(), *([self.head] if self.head else [])]:
            _end(node)

    def _ray_start(
        self, name: str, options: str, within: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        quick = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "4"}
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [*within, "ray", "start", "--block", "--object-store-memory=100000000",
                 *options.split()],
                env=self.environment() | quick | self.more, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip


@contextmanager
def running_cluster(more: dict[str, str]) -> Iterator[Cluster]:
    """Start a head; end it and all its nodes.

    Args:
        more: variables that the workers of nodes get.
    """
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp")), more)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
        shutil.rmtree(cluster.folder, ignore_errors=True)


def _wait_for(count: int, address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the head knows so many nodes."""
    request = urllib.request.Request(
        f"{address}/nodes?view=summary", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    for _ in range(2 * _READY_SEC):
        if process.poll() is not None:
            break
        with suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
            if len(json.load(answer)["data"]["summary"]) == count:
                return
        time.sleep(0.5)
    raise RuntimeError(f"ray start did not come up:\n{log.read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End every process of the session that the process began."""
    members = _members(process.pid)
    with ExitStack() as stack:
        stack.callback(process.wait)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            for _ in range(16):
                process.poll()
                members = _members(process.pid)
                if not members:
                    return
                time.sleep(0.25)


def _members(session: int) -> list[int]:
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,sess=,stat="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listing.splitlines()]
    return [int(pid) for pid, owner, state in rows if owner == str(session) and state[0] != "Z"]
