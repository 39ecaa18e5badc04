"""`sam2prep submit`: run any command as a Ray job, follow it, return its exit code."""

import importlib
import shlex
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from engine.errors import RunError, UsageError
from jobs.cli import COMMANDS
from jobs.console import JobCommand, reporting_errors, say

if TYPE_CHECKING:
    from jobs.ray_jobs import JobServer

__all__ = ["main"]

_EPILOG = """\b
Examples:
  sam2prep submit --address http://head:8265 prepare 's3://b/exports/*.zip' --out s3://b/dataset
  sam2prep submit --address http://head:8265 --no-wait --job-id nightly prepare ...
  sam2prep submit --address http://head:8265 --follow nightly

Exit codes: those of the command; 2 also for a missing or wrong token, 3 also for a head that does
not answer or a job that ended without an exit code, 130 after Ctrl-C (the job goes on).
"""

_EXIT_CODES = (0, 1, 2, 3)

# Ray kills a driver 3 s after it asked it to stop; a shard under way takes longer to put away.
_VARIABLES = {"RAY_JOB_STOP_WAIT_TIME_S": "30"}


@click.command(
    "submit", cls=JobCommand, epilog=_EPILOG, context_settings={"allow_interspersed_args": False}
)
@click.argument("command", metavar="COMMAND ...", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--address", metavar="URL", envvar="RAY_API_SERVER_ADDRESS", required=True,
    help="Of the head's job server, http://HEAD:8265; also by RAY_API_SERVER_ADDRESS.",
)  # fmt: skip
@click.option("--job-id", metavar="ID", help="Name of the job; default: Ray's choice.")
@click.option("--no-wait", is_flag=True, help="Print the id of the job and leave it to itself.")
@click.option("--follow", metavar="ID", help="Follow a job submitted before, instead of a new one.")
def main(
    *, command: tuple[str, ...], address: str, job_id: str | None, no_wait: bool, follow: str | None
) -> None:
    """Run a command on the Ray cluster at URL.

    SRC and OUT are URLs, or paths that every node of the cluster sees. The files of --config,
    --templates, --label-map and --split-file are sent along. The job's log goes to standard error,
    with --json the one document to standard output.

    The token of the cluster is taken from RAY_AUTH_TOKEN, from the file RAY_AUTH_TOKEN_PATH, or
    from ~/.ray/auth_token.
    """
    as_json = "--json" in command
    with reporting_errors(as_json):
        from jobs.ray_jobs import JobServer

        if follow is not None:
            if command or job_id or no_wait:
                raise UsageError("submit", "--follow takes neither a command nor another option")
            server = JobServer(address)
            _follow(server, follow, as_json="--json" in shlex.split(server.entrypoint(follow)))
        program, arguments = _checked(command)
        server, name = _start(address, program, arguments, job_id)
        if no_wait:
            click.echo(name)
            return
        _follow(server, name, as_json=as_json)


def _checked(command: tuple[str, ...]) -> tuple[click.Command, list[str]]:
    """Let the command's own parser judge its arguments, here and now."""
    others = [name for name in COMMANDS if name != "submit"]
    if not command or command[0] not in others:
        raise UsageError(
            "submit", "no command to run" if not command else "no such command to run",
            got=repr(command[0]) if command else None, expected=f"one of {', '.join(others)}",
        )  # fmt: skip
    program: click.Command = importlib.import_module(f"jobs.{command[0]}").main
    arguments = list(command[1:])
    program.make_context(command[0], list(arguments))
    return program, arguments


def _start(
    address: str, program: click.Command, arguments: list[str], job_id: str | None
) -> "tuple[JobServer, str]":
    from jobs.parcel import packed
    from jobs.ray_jobs import JobServer

    with packed(program, arguments) as parcel:
        server = JobServer(address)
        paths = [place for place in parcel.places if "://" not in place]
        if paths:
            say(f"sam2prep: paths of the cluster, not of here: {', '.join(paths)}", err=True)
        words = ["python", "-m", f"jobs.{program.name}", *parcel.arguments]
        name = server.submit(shlex.join(words), parcel.folder, job_id=job_id, variables=_VARIABLES)
        say(f"sam2prep: job {name}, with {parcel.size_bytes / 1e6:.1f} MB of sources", err=True)
    return server, name


def _follow(server: "JobServer", job_id: str, *, as_json: bool) -> NoReturn:
    """Show the log until the job ends, and end with its exit code."""
    document: list[str] = []

    def show(line: str) -> None:
        # Our JSON is indented: it begins and ends with lines that nothing else in a log has.
        if as_json and (line == "{" or (document and document[-1] != "}")):
            document.append(line)
        else:
            say(line.expandtabs(), err=True)

    try:
        ended = server.follow(job_id, show)
    except KeyboardInterrupt:
        say(f"sam2prep: the job goes on; {server.advice(job_id)}", err=True)
        sys.exit(130)
    if ended.exit_code not in _EXIT_CODES:
        what = "was stopped" if ended.stopped else "ended without an exit code of the command"
        reason = f" ({ended.reason})" if ended.reason else ""
        raise RunError(f"job {job_id}", f"{what}{reason}", advice="submit the command again")
    if document:
        click.echo("\n".join(document))
    sys.exit(ended.exit_code)


if __name__ == "__main__":
    main(prog_name="python -m jobs.submit")
