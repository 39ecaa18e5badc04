"""Options that several commands share, in groups of one purpose.

Every option has the name of its key in the configuration; what is not given stays None or empty, so
that a configuration file can say it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from engine.choices import BOX_STYLES, FORMATS
from jobs.console import LOG_FORMATS

__all__ = [
    "common_options",
    "config_option",
    "execution_options",
    "format_options",
    "junit_option",
    "policy_options",
    "reading_options",
    "resume_option",
    "split_options",
    "text_options",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _all(command: _Command, *options: Callable[[_Command], _Command]) -> _Command:
    for option in reversed(options):  # so that --help lists them as they stand here
        command = option(command)
    return command


def _switch(name: str, text: str) -> Callable[[_Command], _Command]:
    return click.option(name, is_flag=True, default=None, help=text)


def common_options(command: _Command) -> _Command:
    """Add what every command understands: --json, and --log-format, which `jobs.console` obeys."""
    return _all(
        command,
        click.option(
            "--log-format", metavar="|".join(LOG_FORMATS), type=click.Choice(LOG_FORMATS),
            expose_value=False, help="Lines on standard error: text (default), or JSON objects.",
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="One JSON document on standard output."
        ),
    )  # fmt: skip


def config_option(command: _Command) -> _Command:
    """Add --config."""
    return click.option(
        "--config", "config_file", metavar="FILE",
        help="TOML file with the names of these options; options given here win.",
    )(command)  # fmt: skip


def junit_option(command: _Command) -> _Command:
    """Add --junit."""
    return click.option(
        "--junit", metavar="FILE", callback=_location,
        help="Write the findings as JUnit XML too, for a CI system.",
    )(command)  # fmt: skip


def _location(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Refuse what names no place, before anything is done; what is written last is asked first."""
    from engine.locations import require_location

    if value is not None:
        require_location(value)
    return value


def reading_options(command: _Command) -> _Command:
    """Add what says how exports are read and judged."""
    return _all(
        command,
        click.option(
            "--label", metavar="NAME",
            help="Label of objects that have none in their export (SA-V); default object_<id>.",
        ),
        click.option(
            "--label-map", metavar="FILE",
            help="TOML or JSON: other names for labels, by label or VIDEO_ID/LABEL.",
        ),
        click.option(
            "--mask-order", metavar="auto|row|column",
            help="Order of mask runs; auto (default): found by evidence, for each video.",
        ),
        click.option(
            "--frames", metavar="DIR|URL",
            help="Clean frames to use instead of those in the exports.",
        ),
        click.option(
            "--video-id", "video_ids", multiple=True, metavar="SRC=NAME",
            help="Name a video by hand; repeatable.",
        ),
    )  # fmt: skip


def execution_options(command: _Command) -> _Command:
    """Add what says where the work is done."""
    return _all(
        command,
        click.option("--workers", type=int, help="Tasks at once; default: all cores."),
        click.option("--address", help="An existing Ray cluster, for example auto or ray://..."),
        click.option(
            "--runner", metavar="auto|local|processes|ray",
            help="local: in this process; processes: in several of this machine; ray; auto "
            "(default): Ray on a cluster and from 32 GiB on, else the quicker of the first two.",
        ),
    )  # fmt: skip


def resume_option(command: _Command) -> _Command:
    """Add --resume and --no-resume."""
    return click.option(
        "--resume/--no-resume", default=None,
        help="Go on with an unfinished run of the same inputs and options in OUT (the default; "
        "where there is none, begin), or throw it away and begin anew.",
    )(command)  # fmt: skip


def split_options(name: str) -> Callable[[_Command], _Command]:
    """Add what says which frame goes to which split.

    Args:
        name: of the option for the strategy.
    """
    return lambda command: _all(
        command,
        click.option(
            name, "split", metavar="stratified|temporal|random", help="Default: stratified."
        ),
        click.option(
            "--ratios", metavar="T/V/T",
            help="Default 0.8/0.1/0.1; or train=0.8,val=0.1,test=0.1.",
        ),
        click.option("--seed", type=int, help="Of the split and the texts; default 42."),
        click.option(
            "--group-by", metavar="none|video|content",
            help="What is never divided; default: videos under temporal, else nothing. content: "
            "also copies of a video under other names.",
        ),
        _switch("--temporal-segments", "temporal may cut a video into stretches of time."),
        click.option(
            "--gap-sec", type=float, help="Left out at each such cut, seconds; default 1.0."
        ),
        click.option("--folds", type=int, help="Write so many cross-validation folds as well."),
        click.option(
            "--split-file", metavar="FILE", help="A split.json whose assignment is taken as it is."
        ),
    )  # fmt: skip


def text_options(command: _Command) -> _Command:
    """Add what says how the texts read."""
    return _all(
        command,
        click.option(
            "--box-style", metavar="|".join(BOX_STYLES),
            help="Boxes inside texts; default norm1000.",
        ),
        click.option("--max-pixels", type=int, help="Of the resized image, for qwen25."),
        _switch("--pad-square", "norm1 is of the image padded to a square (LLaVA 1.5)."),
        click.option(
            "--templates", metavar="FILE", help="TOML or JSON: sentences instead of ours."
        ),
        click.option(
            "--exhaustive", multiple=True, metavar="LABEL",
            help="Every instance of this label is annotated, so that texts may deny it; "
            "repeatable.",
        ),
    )  # fmt: skip


def format_options(command: _Command) -> _Command:
    """Add what says which files are written."""
    return _all(
        command,
        click.option(
            "--format", "formats", multiple=True, metavar="|".join(FORMATS),
            help="Output format, repeatable; default hf.",
        ),
        click.option(
            "--images", metavar="embed|path",
            help="hf: image bytes in the dataset (default), or paths of files beside it.",
        ),
        click.option(
            "--image-format", metavar="keep|jpg",
            help="Images written as files: as they are (default), or as JPEG.",
        ),
        click.option(
            "--hf-image-column", metavar="image|images|both",
            help="hf: the column of the image (default image); images: a list of one.",
        ),
        click.option("--rows-per-shard", type=int, help="Most rows of a shard; default 2000."),
    )  # fmt: skip


def policy_options(command: _Command) -> _Command:
    """Add what says which findings fail a run."""
    return _all(
        command,
        click.option("--fail-on", metavar="CODE,...", help="Findings that are errors here."),
        click.option("--warn-on", metavar="CODE,...", help="Findings that are warnings here."),
        click.option(
            "--ignore", metavar="CODE,...", help="Findings that do not change the status here."
        ),
        click.option("--imbalance-ratio", type=float, help="Severe from this ratio on; default 9."),
        click.option(
            "--check-images", metavar="header|structure|decode",
            help="structure (default): CRC, header and end of each image; decode: every pixel.",
        ),
        click.option("--frames-per-range", type=int, help="Frames of a scan task; default 500."),
    )  # fmt: skip
