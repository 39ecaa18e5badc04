"""What all commands share at the terminal: options, progress, errors, one JSON document.

Standard output belongs to the result alone; progress, logs and errors go to standard error, and
progress only where somebody watches, so that the log of a job is not flooded.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import click

from engine.errors import RunError, Sam2PrepError, UsageError

__all__ = [
    "JobCommand",
    "common_options",
    "config_option",
    "execution_options",
    "reading_options",
    "reporting_errors",
    "show_json",
    "watched_progress",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])


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


def common_options(command: _Command) -> _Command:
    """Add what every command understands: --json."""
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on standard output."
    )(command)


def config_option(command: _Command) -> _Command:
    """Add --config."""
    return click.option(
        "--config", "config_file", metavar="FILE",
        help="TOML file with the names of these options; options given here win.",
    )(command)  # fmt: skip


def reading_options(command: _Command) -> _Command:
    """Add what says how exports are read and judged."""
    for option in (
        click.option(
            "--video-id", "video_ids", multiple=True, metavar="SRC=NAME",
            help="Name a video by hand; repeatable.",
        ),
        click.option(
            "--frames", metavar="DIR|URL",
            help="Clean frames to use instead of those in the exports.",
        ),
        click.option(
            "--mask-order", metavar="auto|row|column",
            help="Order of mask runs; auto (default): found by evidence, for each video.",
        ),
        click.option(
            "--label", metavar="NAME",
            help="Label of objects that have none in their export (SA-V); default object_<id>.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def execution_options(command: _Command) -> _Command:
    """Add what says where the work is done."""
    for option in (
        click.option(
            "--runner",
            metavar="auto|local|ray",
            help="auto (default): small inputs in this process, others on Ray.",
        ),
        click.option("--address", help="An existing Ray cluster, for example auto or ray://..."),
        click.option("--workers", type=int, help="Tasks at once; default: all cores."),
    ):
        command = option(command)
    return command


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
    click.echo(f"sam2prep: error: {error}", err=True)
    if as_json:
        show_json({"status": "ERROR", "exit_code": error.exit_code, "error": str(error)})
    sys.exit(error.exit_code)


def show_json(document: Mapping[str, Any]) -> None:
    """Print the one document of a --json run."""
    from engine.manifest import encode

    click.echo(encode(document), nl=False)


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
