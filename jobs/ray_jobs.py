"""Jobs of a Ray cluster, through its Job Submission API.

A client of the head's HTTP server: Ray is neither started nor joined here, so this stands beside
the engine's one seam to Ray and not in it. Status and log are asked for again and again and not
streamed: one lost connection, of a port-forward say, then costs nothing, and a line cannot be lost
or come twice. The price is the whole log each time, so that the pause grows with it.

Ray 2.60 itself sends a token only where RAY_AUTH_MODE says so, though `ray start` uses one as soon
as there is one (`ray/_private/authentication/authentication_token_setup.py`): here the client does
what the head does. The token is read and sent by Ray; nothing here holds it.
"""

import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RunError, Sam2PrepError, UsageError

__all__ = ["Ended", "JobServer"]

_ANSWER_SEC = 15.0  # a head that is there answers in milliseconds
_LOST_SEC = 120.0  # a port-forward may be set up anew, a head's service may move
_QUIET_SEC = 30.0
_OVERRIDES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")  # Ray prefers them to what it is told

_TOKEN_ADVICE = (
    "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file, to what the head was started with "
    "(`ray get-auth-token` prints it there)"
)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a job ended.

    Args:
        exit_code: of the command, None if it did not end by itself.
        reason: Ray's words on it, one line; empty if it has none.
        stopped: by somebody, with `ray job stop`.
    """

    exit_code: int | None
    reason: str
    stopped: bool


class JobServer:
    """The job server of a cluster's head.

    Args:
        address: `http://HEAD:8265` or `https://...`.

    Raises:
        UsageError: the address is none, the token is missing or wrong, or the cluster runs another
            version of Ray.
        RunError: nobody answers there, or not as a head does.
    """

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise UsageError(
                "--address", "is not the address of a head's job server", got=repr(address),
                expected="http://HEAD:8265",
            )  # fmt: skip
        self.address = address.rstrip("/")
        _require_answer(self.address)
        _choose_token_mode()
        with _without_overrides(), self._talking():
            from ray.job_submission import JobSubmissionClient

            for handler in logging.getLogger("ray").handlers:
                handler.setLevel(logging.ERROR)  # what is worth saying of an upload is said here
            self._client = JobSubmissionClient(self.address)
        self._require_same_ray()

    def submit(
        self, entrypoint: str, folder: Path, *, job_id: str | None, variables: Mapping[str, str]
    ) -> str:
        """Upload a folder and start a command in it.

        Args:
            entrypoint: a shell command.
            folder: becomes the working directory of the driver, and is on the path of the workers.
            job_id: a name for the job, None: Ray's choice.
            variables: of the environment of driver and workers.

        Returns:
            The id of the job.

        Raises:
            UsageError: there is a job of this id already, or the token is wrong.
            RunError: the cluster did not take it.
        """
        with self._talking(job_id):
            return str(
                self._client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=job_id,
                    runtime_env={"working_dir": str(folder), "env_vars": dict(variables)},
                )
            )

    def entrypoint(self, job_id: str) -> str:
        """Give the shell command of a job.

        Raises:
            UsageError: there is no such job, or the token is wrong.
            RunError: the head did not answer.
        """
        with self._talking(job_id):
            return str(self._client.get_job_info(job_id).entrypoint)

    def follow(self, job_id: str, show: Callable[[str], None]) -> Ended:
        """Wait for the end of a job.

        Args:
            job_id: of a job that somebody has submitted.
            show: called with every line of the job's log, without its end, in their order.

        Raises:
            UsageError: there is no such job, or the token is wrong.
            RunError: the head has not answered for two minutes; the job may be running.
        """
        shown, told, heard = 0, time.monotonic(), time.monotonic()
        while True:
            try:
                with self._talking(job_id):
                    info = self._client.get_job_info(job_id)
                    # The status is older than the log: at the end, the log is whole.
                    waiting = info.status == "PENDING"
                    log = "" if waiting else self._client.get_job_logs(job_id)
            except RunError as error:
                if time.monotonic() - heard > _LOST_SEC:
                    raise RunError(
                        f"job {job_id}", f"the head does not answer any more ({error.what})",
                        advice=f"the job may be running; {self.advice(job_id)}",
                    ) from error  # fmt: skip
                time.sleep(5.0)
                continue
            heard = time.monotonic()
            ended = bool(info.status.is_terminal())
            lines = log.split("\n")
            if not ended or not lines[-1]:
                lines.pop()  # what is no line yet, or never will be
            for line in lines[shown:]:
                show(line)
                told = heard
            shown = max(shown, len(lines))
            if ended:
                return _how(info)
            if heard - told > _QUIET_SEC:
                show(f"sam2prep: job {job_id} is {str(info.status.value).lower()}")
                told = heard
            time.sleep(min(10.0, max(1.0, len(log) / 100_000)))

    def advice(self, job_id: str) -> str:
        """Say how a job that goes on is followed and stopped."""
        return (
            f"follow it: sam2prep submit --address {self.address} --follow {job_id}; "
            f"stop it: RAY_AUTH_MODE=token ray job stop --address {self.address} {job_id}"
        )

    def _require_same_ray(self) -> None:
        import ray

        there = getattr(self._client, "_server_ray_version", None)
        if there is not None and _release(there) != _release(ray.__version__):
            raise UsageError(
                self.address, "the cluster runs another version of Ray", got=there,
                expected=ray.__version__, advice="build its image from cluster/Dockerfile",
            )  # fmt: skip

    @contextmanager
    def _talking(self, job_id: str | None = None) -> Iterator[None]:
        """Turn what the client raises into this program's errors."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            missing = "Authentication required" in error.message
            what = "asks for a token, and none was sent" if missing else "does not take this token"
            raise UsageError(self.address, f"the cluster {what}", advice=_TOKEN_ADVICE) from None
        except (RuntimeError, OSError) as error:
            raise self._named(error, job_id) from error

    def _named(self, error: Exception, job_id: str | None) -> Sam2PrepError:
        said = str(error)
        if "already exists" in said and "please use a different" in said.lower():
            return UsageError(f"job {job_id}", "there is a job of this id already")
        if "does not exist" in said and "status code 404" in said:
            return UsageError(f"job {job_id}", f"there is no such job at {self.address}")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return RunError(self.address, lines[-1][:500] if lines else type(error).__name__)


def _how(info: Any) -> Ended:
    lines = [line for line in (info.message or "").splitlines() if line.strip()]
    return Ended(
        exit_code=info.driver_exit_code,
        reason=lines[0][:500] if lines else "",
        stopped=info.status == "STOPPED",
    )


def _release(version: str) -> list[str]:
    return version.split(".")[:2]


def _require_answer(address: str) -> None:
    """Refuse an address where nobody listens; Ray's client would wait for minutes."""
    try:
        urllib.request.urlopen(f"{address}/api/version", timeout=_ANSWER_SEC).close()
    except urllib.error.HTTPError:
        return  # 401 before a token, say: somebody is there
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if "CERTIFICATE" in str(reason):
            return  # Ray's client has certificates of its own, and the last word
        raise RunError(
            address, f"no Ray head answers there ({reason})",
            advice="is the cluster up, and its port 8265 reachable from here (a port-forward)?",
        ) from error  # fmt: skip


def _choose_token_mode() -> None:
    """Send a token if there is one and nothing else was said: what `ray start` does."""
    token, path = os.environ.get("RAY_AUTH_TOKEN"), os.environ.get("RAY_AUTH_TOKEN_PATH")
    if path and not token and not _holds_text(Path(path)):
        # Ray would end the process, with a trace of C++.
        raise UsageError("RAY_AUTH_TOKEN_PATH", "there is no token in this file", got=repr(path))
    if token or path or _holds_text(Path.home() / ".ray" / "auth_token"):
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _holds_text(path: Path) -> bool:
    return path.is_file() and bool(path.read_text(errors="replace").strip())


@contextmanager
def _without_overrides() -> Iterator[None]:
    hidden = {name: os.environ.pop(name) for name in _OVERRIDES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
