"""What all commands share at the terminal: progress, errors, one JSON document.

Standard output belongs to the result alone; progress, logs and errors go to standard error, and
progress only where somebody watches, so that the log of a job is not flooded.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from engine.errors import RunError, Sam2PrepError, UsageError

__all__ = [
    "JobCommand",
    "reporting_errors",
    "say",
    "show_json",
    "watched_progress",
    "write_junit",
]

_LINE_SEC = 15.0  # between two lines of progress; a run shorter than this is silent


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
    """Turn the engine's errors into one line on standard error and an exit code."""
    try:
        yield
    except Sam2PrepError as error:
        _stop(error, as_json)
    except OSError as error:
        _stop(RunError(str(error.filename or "storage"), error.strerror or str(error)), as_json)
    except KeyboardInterrupt:
        click.echo("sam2prep: stopped; nothing was published", err=True)
        sys.exit(130)
    except MemoryError:
        _stop(RunError("memory", "there is not enough of it", advice="try fewer workers"), as_json)


def _stop(error: Sam2PrepError, as_json: bool) -> NoReturn:
    say(f"sam2prep: error: {error}", err=True)
    if as_json:
        show_json({"status": "ERROR", "exit_code": error.exit_code, "error": str(error)})
    sys.exit(error.exit_code)


def say(line: str, *, err: bool = False, limit: int | None = None) -> None:
    """Print one line; labels and file names in it cannot act on the terminal."""
    from engine.visible import visible

    click.echo(visible(line, limit), err=err)


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


def _progress_in_lines() -> Callable[[str, int, int], None]:
    start = told = time.monotonic()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _LINE_SEC:
            told = now
            say(f"sam2prep: {stage} {done} of {total}, {now - start:.0f} s", err=True)

    return show


@contextmanager
def watched_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give a progress callback: bars on a terminal, else a line now and then, as a log needs it."""
    if not sys.stderr.isatty():
        yield _progress_in_lines()
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
