"""A process beside this one that calls functions, one after the other, and may die of one.

Started by its own command, not by `multiprocessing`: that would import the caller's main program
anew in every process, and break where its author has not thought of that. Functions go by name, so
they must be in modules that can be imported. Arguments and results go through a pipe, and what a
function raises comes back as the error that it would have been here.

A process that is idle ends with its pipe. One that is at work would go on when its parent is
killed, so a thread of it waits for the end of a second pipe, which the parent holds open.
"""

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from engine.errors import Sam2PrepError
from engine.json_log import is_logging, log_on_stderr
from engine.measures import Measured
from engine.store_settings import StoreSettings
from engine.tasks import WORKER_ENVIRONMENT, NamedFailure

__all__ = ["ChildProcess", "Died", "Outcome", "serve"]

Outcome = tuple[bool, bytes]
"""Whether a call went well, and its result or its error, pickled."""


@dataclass(frozen=True)
class Died:
    """What stands for the result of a call that ended its process.

    Args:
        exit_code: of the process; below zero the number of a signal.
    """

    exit_code: int

    @property
    def reason(self) -> str:
        """By what it ended: a signal's name, or a code."""
        if self.exit_code >= 0:
            return f"code {self.exit_code}"
        try:
            return signal.Signals(-self.exit_code).name
        except ValueError:
            return f"signal {-self.exit_code}"

    @property
    def sentence(self) -> str:
        """What happened, for people who look at what was read."""
        return f"ended the program that read it ({self.reason})"


class ChildProcess:
    """A process that is there until it is closed, is killed, or dies."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        watched, self._held = os.pipe()
        # In a session of its own: Ctrl-C is for the parent, which decides what becomes of its work.
        self._process = subprocess.Popen(
            [
                sys.executable, "-P", "-m", __name__, str(theirs.fileno()), str(watched),
                str(int(is_logging())),
            ],
            stdin=subprocess.DEVNULL,
            stdout=sys.__stderr__ or subprocess.DEVNULL,
            env=os.environ | WORKER_ENVIRONMENT | {"PYTHONPATH": _python_path()},
            pass_fds=(theirs.fileno(), watched),
            start_new_session=True,
        )  # fmt: skip
        theirs.close()
        os.close(watched)
        self.pipe = Connection(ours.detach())
        """Readable once a call has ended, by a result or by death."""
        self._send(StoreSettings.of_this_process())

    def begin(
        self,
        function: Callable[[Any], Any],
        payload: Any,
        *,
        stage: str,
        key: str,
        lost: int = 0,
    ) -> None:
        """Hand over a call; the one before must have been answered.

        Args:
            function: picklable, of a module that can be imported.
            payload: what it gets; picklable.
            stage: names the work in messages.
            key: names the call.
            lost: attempts at it so far, for its measures.
        """
        self._send((function, payload, stage, key, lost))

    def _send(self, what: Any) -> None:
        with suppress(ConnectionError):  # it has died: `outcome` says so
            self.pipe.send_bytes(pickle.dumps(what))

    def outcome(self) -> Outcome | Died:
        """Wait for the end of the call; after a death nothing more can be begun."""
        try:
            answer: Outcome = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.close()
            return Died(self._process.returncode)
        return answer

    def result(self) -> Any:
        """Wait for the end of the call, and give its result or a `Died`; raises what it raised."""
        outcome = self.outcome()
        if isinstance(outcome, Died):
            return outcome
        ok, pickled = outcome
        if not ok:
            raise pickle.loads(pickled)
        return pickle.loads(pickled)

    def close(self) -> None:
        """Let it end, and wait for that."""
        self.pipe.close()
        self._process.wait()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def kill(self) -> None:
        """End it at once, whatever it is at."""
        self._process.kill()
        self.close()


def _python_path() -> str:
    """Where this process imports from, for another one; an empty place is the current folder."""
    own = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return os.pathsep.join(own + [place or "." for place in sys.path])


def serve(calls: int, parent: int, logs: int) -> None:
    """Be the process: answer calls until there are no more.

    Args:
        calls: file descriptor of the socket they come by.
        parent: file descriptor that ends with the parent.
        logs: 1: log lines go to standard error, as those of the parent do.
    """
    if logs:
        log_on_stderr()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    pa.set_cpu_count(1)
    _leave_out_pandas()
    with Connection(calls) as pipe:
        pipe.recv().take_over()
        while True:
            try:
                call = pipe.recv_bytes()
            except (EOFError, ConnectionError):
                return
            pipe.send(_answer(call))


class _NoPandas(MetaPathFinder):
    """Says that there is no pandas."""

    def find_spec(self, fullname: str, *_about: Any) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def _leave_out_pandas() -> None:
    """Let pyarrow find that there is no pandas, which it would import for its first array.

    It looks once, and again only where a table is turned into a frame of pandas. That is 0.2 s and
    30 MB of each process for a package that none of our functions use.
    """
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


def _end_with(parent: int) -> None:
    os.read(parent, 1)
    os._exit(1)


def _answer(call: bytes) -> Outcome:
    try:
        function, payload, stage, key, lost = pickle.loads(call)
        with NamedFailure(stage, key):
            result = function(payload)
            if isinstance(result, Measured):
                result.measures.retries = lost
            return True, pickle.dumps(result)
    except Sam2PrepError as error:
        return False, pickle.dumps(error)


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
