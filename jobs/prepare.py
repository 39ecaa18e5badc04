"""`sam2prep prepare`: the whole workflow: read, check, split, write."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from jobs.console import JobCommand, reporting_errors, show_json, watched_progress
from jobs.options import (
    common_options,
    config_option,
    execution_options,
    format_options,
    policy_options,
    reading_options,
    split_options,
    text_options,
)
from jobs.settings import resolve

__all__ = ["main"]

_EPILOG = """\b
Examples:
  sam2prep prepare export.zip --out dataset
  sam2prep prepare 'exports/*.zip' --out dataset --split temporal --ratios 0.7/0.15/0.15
  sam2prep prepare export.zip --out dataset --frames clean_frames/ --validation standard

Exit codes: 0 done, 1 quality FAILED, 2 wrong usage, 3 an input cannot be read or the run broke.
"""


@click.command("prepare", cls=JobCommand, epilog=_EPILOG)
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.option("--out", required=True, metavar="OUT", help="Folder or URL for the dataset.")
@click.option(
    "--validation", metavar="strict|standard",
    help="strict (default): an error finding fails the run. standard: frames with errors are set "
    "aside and the rest is prepared.",
)  # fmt: skip
@format_options
@split_options
@text_options
@policy_options
@reading_options
@execution_options
@config_option
@common_options
def main(
    sources: tuple[str, ...], out: str, config_file: str | None, as_json: bool, **options: Any
) -> None:
    """Read SAM 2 exports, check them, split them, and write a dataset to OUT.

    SRC is a ZIP, a folder holding one export, an SA-V file (VIDEO_manual.json), a folder or glob of
    these, or an fsspec URL of any of them.
    """
    with reporting_errors(as_json):
        config, execution = resolve(config_file, options)
        import engine

        with watched_progress() as progress:
            summary = engine.prepare(sources, out, config, execution, progress)
        if as_json:
            show_json(summary)
        else:
            _show(summary, out, config.formats)
    sys.exit(1 if summary["status"] == "FAILED" else 0)


def _show(summary: Mapping[str, Any], out: str, formats: Sequence[str]) -> None:
    if summary.get("nothing_to_do"):
        click.echo(f"{out} holds this dataset already: {summary['total_samples']} samples")
        return
    click.echo(f"Status      {summary['status']}")
    if summary["status"] != "FAILED":
        splits = ", ".join(f"{name} {size}" for name, size in summary["splits"].items())
        click.echo(f"Samples     {summary['total_samples']} ({splits})")
    counts = ", ".join(f"{label} {n}" for label, n in summary["class_counts"].items())
    click.echo(f"Classes     {counts or 'none'}")
    accounting = summary["accounting"]
    if accounting and accounting["frames_in"] != accounting["kept"]:
        click.echo(
            f"Frames      {accounting['frames_in']} read, {accounting['kept']} kept, "
            f"{accounting['quarantined']} set aside, {accounting['excluded_duplicates']} repeated"
        )
    for line in summary["findings"]:
        click.echo(f"Finding     {line}")
    click.echo(f"Time        {summary['timings']['total']:.1f} s")
    if summary["status"] == "FAILED":
        click.echo(f"Report      {out}/report/report.html (no dataset was written)")
        _advise(summary)
    else:
        for name in formats:
            click.echo(f"Dataset     {out}/{name}")
        click.echo(f"Report      {out}/report/report.html")


def _advise(summary: Mapping[str, Any]) -> None:
    """Print the commands that would help: the one that was given, and more."""
    again = f"sam2prep prepare {shlex.join(click.get_current_context().meta['arguments'])}"
    click.echo("What would help:")
    if not any("(100.0%)" in line for line in summary["findings"] if line.startswith("error")):
        click.echo(f"  {again} --validation standard   # set these frames aside")
    if any("image_missing" in line or "overlay_burned_in" in line for line in summary["findings"]):
        click.echo(f"  {again} --frames DIR            # use clean frames of the original video")
    click.echo("  annotate or repair what the report lists, export again, and run this again")


if __name__ == "__main__":
    main(prog_name="python -m jobs.prepare")
