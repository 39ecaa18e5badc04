"""What all commands share at the terminal: progress, errors, one JSON document.

Standard output belongs to the result alone; progress, logs and errors go to standard error, and
progress only where somebody watches, so that the log of a job is not flooded. With --log-format
json each line on standard error is one JSON object, for what collects the logs of many jobs.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from typing import Any, NoReturn

import click

from engine.errors import RunError, Sam2PrepError, UsageError

__all__ = [
    "LOG_FORMATS",
    "JobCommand",
    "reporting_errors",
    "say",
    "say_resumed",
    "show_json",
    "use_log_format",
    "watched_progress",
    "write_junit",
]

LOG_FORMATS = ("text", "json")
"""What --log-format takes."""

_log_format: ContextVar[str] = ContextVar("log_format", default="text")
_LINE_SEC = 15.0  # between two lines of progress; a run shorter than this is silent


class JobCommand(click.Command):
    """A command whose wrong usage is one line, and with --json one document, as other errors."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Parse the arguments; they stay in the context's `meta`, for advice to repeat them."""
        given = list(args)
        use_log_format(_said_format(given))  # before anything can go wrong
        with reporting_errors("--json" in args):
            try:
                context = super().make_context(info_name, args, *rest, **extra)
            except click.UsageError as error:
                what = error.format_message().rstrip(".")
                advice = f"see: sam2prep {self.name} --help"
                raise UsageError(str(self.name), what, advice=advice) from error
        context.meta["arguments"] = given
        return context


def _said_format(args: Sequence[str]) -> str:
    """What the arguments say of the log's format, before they are parsed."""
    option = "--log-format"
    said = [text.partition("=")[2] for text in args if text.startswith(f"{option}=")]
    said += [value for name, value in pairwise(args) if name == option]
    return said[-1] if said and said[-1] in LOG_FORMATS else "text"


def use_log_format(log_format: str) -> None:
    """Choose how lines on standard error are written from now on.

    Args:
        log_format: one of `LOG_FORMATS`; json also brings a line for each task of this process.
    """
    from engine.json_log import log_on_stderr, stop_log

    _log_format.set(log_format)
    stop_log()  # of an earlier command in this process, which may have had another standard error
    if log_format == "json":
        log_on_stderr()


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
    say(f"sam2prep: error: {error}", err=True, level="error")
    if as_json:
        show_json({"status": "ERROR", "exit_code": error.exit_code, "error": str(error)})
    sys.exit(error.exit_code)


def say(
    line: str,
    *,
    err: bool = False,
    limit: int | None = None,
    level: str = "info",
    fields: Mapping[str, Any] | None = None,
) -> None:
    """Print one line; labels and file names in it cannot act on the terminal.

    Args:
        line: the text.
        err: to standard error, where it is a line of the log.
        limit: most characters of it.
        level: info, warning or error.
        fields: what a JSON log says beside the text.
    """
    from engine.visible import visible

    if err and _log_format.get() == "json":
        from engine.json_log import LOGGER

        number = logging.getLevelNamesMapping()[level.upper()]
        text = line.removeprefix("sam2prep: ").removeprefix("error: ")
        LOGGER.log(number, "%s", text[:limit], extra={"fields": fields or {}})
        return
    _echo(visible(line, limit), err=err)


def say_resumed(summary: Mapping[str, Any]) -> None:
    """Say of a run that was continued how much of it was done before."""
    if summary.get("resumed"):
        counts = summary["resumed"]
        say(f"Resumed     {counts['taken_over']} of {counts['tasks']} tasks were done")


def show_json(document: Mapping[str, Any]) -> None:
    """Print the one document of a --json run."""
    from engine.manifest import encode
    from engine.visible import json_for_terminal

    _echo(json_for_terminal(encode(document).decode()), nl=False)


def _echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print, or nothing from now on where nobody reads any more (`| head`): no fault of the run."""
    try:
        click.echo(text, err=err, nl=nl)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, (sys.stderr if err else sys.stdout).fileno())
        os.close(nowhere)


def write_junit(path: str, document: Mapping[str, Any], done: str) -> None:
    """Write what validation.json holds as JUnit XML.

    Args:
        path: the file.
        document: as validation.json holds it.
        done: what is there all the same, if the file cannot be written: a sentence.

    Raises:
        RunError: it cannot be written.
    """
    from engine.junit import junit_xml
    from engine.storage import write_bytes

    try:
        write_bytes(path, junit_xml(document))
    except OSError as error:  # it names the temporary file
        got = error.strerror or str(error)
        raise RunError(path, "cannot be written", got=got, advice=done) from error


def _progress_in_lines() -> Callable[[str, int, int], None]:
    start = told = time.monotonic()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _LINE_SEC:
            told = now
            counts = {"done": done, "total": total, "seconds": round(now - start, 3)}
            say(
                f"sam2prep: {stage} {done} of {total}, {now - start:.0f} s", err=True,
                fields={"stage": stage, "counts": counts},
            )  # fmt: skip

    return show


@contextmanager
def watched_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give a progress callback: bars on a terminal, else a line now and then, as a log needs it."""
    if not sys.stderr.isatty() or _log_format.get() == "json":
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
