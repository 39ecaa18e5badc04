"""What all commands share at the terminal: progress, errors, one JSON document.

Standard output belongs to the result alone; progress, logs and errors go to standard error, and
progress only where somebody watches, so that the log of a job is not flooded.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from engine.errors import RunError, Sam2PrepError, UsageError

__all__ = [
    "JobCommand",
    "reporting_errors",
    "say",
    "say_resumed",
    "show_json",
    "watched_progress",
    "write_junit",
]


class JobCommand(click.Command):
    """A command whose wrong usage is one line, and with --json one document, as other errors."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Parse the arguments; they stay in the context's `meta`, for advice to repeat them."""
        given = list(args)
        with reporting_errors("--json" in args):
            try:
                context = super().make_context(info_name, args, *rest, **extra)
            except click.UsageError as error:
                what = error.format_message().rstrip(".")
                advice = f"see: sam2prep {self.name} --help"
                raise UsageError(str(self.name), what, advice=advice) from error
        context.meta["arguments"] = given
        return context


@contextmanager
def reporting_errors(as_json: bool) -> Iterator[None]:
    """Turn the engine's errors into one line on standard error and an exit code.

    Also what ends a run from outside: Ctrl-C, and SIGTERM, which job systems send before they kill.
    """
    terminated: list[int] = []

    def terminate(number: int, _frame: Any) -> None:
        if not terminated:  # one is enough: what follows is on its way out
            terminated.append(number)
            raise KeyboardInterrupt  # the one exception that Ray hands on from its waiting

    try:
        with _handling(signal.SIGTERM, terminate):
            yield
    except Sam2PrepError as error:
        _stop(error, as_json)
    except OSError as error:
        _stop(RunError(str(error.filename or "storage"), error.strerror or str(error)), as_json)
    except KeyboardInterrupt as error:
        said = "; ".join(["nothing was published", *_notes(error)])
        if terminated:
            _stop(RunError("run", "ended by SIGTERM", advice=said), as_json)
        say(f"sam2prep: stopped; {said}", err=True)
        sys.exit(130)
    except MemoryError as error:
        advice = "; ".join(["try fewer workers", *_notes(error)])
        _stop(RunError("memory", "there is not enough of it", advice=advice), as_json)


def _notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", ()))


@contextmanager
def _handling(number: int, handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Handle a signal while the block runs; only the main thread of a program can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _stop(error: Sam2PrepError, as_json: bool) -> NoReturn:
    say(f"sam2prep: error: {error}", err=True)
    if as_json:
        show_json({"status": "ERROR", "exit_code": error.exit_code, "error": str(error)})
    sys.exit(error.exit_code)


def say(line: str, *, err: bool = False, limit: int | None = None) -> None:
    """Print one line; labels and file names in it cannot act on the terminal."""
    from engine.visible import visible

    click.echo(visible(line, limit), err=err)


def say_resumed(summary: Mapping[str, Any]) -> None:
    """Say of a run that was continued how much of it was done before."""
    if summary.get("resumed"):
        counts = summary["resumed"]
        say(f"Resumed     {counts['taken_over']} of {counts['tasks']} tasks were done")


def show_json(document: Mapping[str, Any]) -> None:
    """Print the one document of a --json run."""
    from engine.manifest import encode
    from engine.visible import json_for_terminal

    click.echo(json_for_terminal(encode(document).decode()), nl=False)


def write_junit(path: str, document: Mapping[str, Any]) -> None:
    """Write what validation.json holds as JUnit XML."""
    from engine.junit import junit_xml
    from engine.storage import write_bytes

    write_bytes(path, junit_xml(document))


@contextmanager
def watched_progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """Give a progress callback that draws bars on a terminal, or None where there is none."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    name = TextColumn("{task.description:>10}")
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        stages: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)
            bars.update(stages[stage], completed=done, total=total)

        yield show
