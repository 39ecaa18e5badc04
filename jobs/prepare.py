"""`sam2prep prepare`: the whole workflow: read, check, split, write."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from jobs.console import (
    JobCommand,
    reporting_errors,
    say,
    show_json,
    watched_progress,
    write_junit,
)
from jobs.options import (
    common_options,
    config_option,
    execution_options,
    format_options,
    junit_option,
    policy_options,
    reading_options,
    resume_option,
    split_options,
    text_options,
)
from jobs.settings import resolve
from jobs.summary import advise, show_summary
from jobs.tracking import Tracking, mlflow_option

if TYPE_CHECKING:
    from engine.config import Config, Execution

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
@junit_option
@click.option(
    "--dry-run", is_flag=True, help="Show the resolved configuration and the plan; write nothing."
)
@format_options
@split_options("--split")
@text_options
@policy_options
@reading_options
@execution_options
@resume_option
@mlflow_option
@config_option
@common_options
def main(
    *,
    sources: tuple[str, ...],
    out: str,
    junit: str | None,
    config_file: str | None,
    as_json: bool,
    dry_run: bool,
    mlflow: str | None,
    **options: Any,
) -> None:
    """Read SAM 2 exports, check them, split them, and write a dataset to OUT.

    SRC is a ZIP, a folder holding one export, an SA-V file (VIDEO_manual.json), a folder or glob of
    these, or an fsspec URL of any of them.
    """
    with reporting_errors(as_json):
        config, execution = resolve(config_file, options)
        import engine
        from engine.manifest import read_json
        from engine.storage import join

        if dry_run:
            _rehearse(sources, out, config, execution, as_json=as_json)
            return
        tracking = Tracking(mlflow)
        with watched_progress() as progress:
            summary = engine.prepare(sources, out, config, execution, progress)
        tracking.log(out, summary)
        if junit:
            made = "the report" if summary["status"] == "FAILED" else "the dataset"
            document = read_json(join(out, "report", "validation.json"))
            write_junit(junit, document, f"{made} in {out} is complete")
        if as_json:
            show_json(summary)
        else:
            _show(summary, out, config.formats)
    sys.exit(1 if summary["status"] == "FAILED" else 0)


def _rehearse(
    sources: Sequence[str], out: str, config: "Config", execution: "Execution", *, as_json: bool
) -> None:
    """Show the plan of a run."""
    from engine.rehearsal import rehearse

    with watched_progress() as progress:
        plan = rehearse(sources, out, config, execution, progress)
    if as_json:
        show_json(plan)
        return
    say(f"Would write {plan['would_write']} ({out} is {plan['out_holds']})")
    for export in plan["exports"]:
        say(f"Export      {export['source']}: {export['video_id']}, {export['images']} images")
    say(f"Status      {plan['status']}, as far as image headers tell")
    for line in plan["findings"]:
        say(f"Finding     {line}")
    parts = [f"{plan['set_aside']} set aside"] if plan["set_aside"] else []
    parts += [f"{n} left out ({reason})" for reason, n in plan["left_out"].items()]
    say(f"Frames      {plan['frames']}{', ' if parts else ''}{', '.join(parts)}")
    for name, split in plan["splits"].items():
        say(f"Split       {name}: {split['rows']} rows in {split['shards']} shards")
    say(f"Formats     {', '.join(plan['config']['formats'])}")
    say(f"Images      {plan['image_bytes'] / 1e6:,.1f} MB")
    for name, value in plan["config"].items():
        say(f"Config      {name} = {value}")


def _show(summary: Mapping[str, Any], out: str, formats: Sequence[str]) -> None:
    if summary.get("nothing_to_do"):
        say(f"{out} holds this dataset already: {summary['total_samples']} samples")
        left_out = summary.get("exports_left_out", ())
        if left_out:
            say(f"Left out    {', '.join(left_out)}: crashed whoever opened it (export_crashed)")
            say(f"Next        mend it, then: {shlex.join(['sam2prep', 'add', out, *left_out])}")
        return
    show_summary(summary)
    if summary["status"] == "FAILED":
        say(f"Report      {out}/report/report.html (no dataset was written)")
        advise("prepare", summary)
    else:
        for name in formats:
            say(f"Dataset     {out}/{name}")
        say(f"Report      {out}/report/report.html")


if __name__ == "__main__":
    main(prog_name="python -m jobs.prepare")
