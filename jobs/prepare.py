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
    say_resumed,
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

if TYPE_CHECKING:
    from engine.config import Config, Execution

__all__ = ["main"]

_CLASSES = 50

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
        with watched_progress() as progress:
            summary = engine.prepare(sources, out, config, execution, progress)
        if junit:
            write_junit(junit, read_json(join(out, "report", "validation.json")))
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
        return
    say(f"Status      {summary['status']}")
    if summary["status"] != "FAILED":
        splits = ", ".join(f"{name} {size}" for name, size in summary["splits"].items())
        say(f"Samples     {summary['total_samples']} ({splits})")
    say(f"Classes     {_classes(summary['class_counts']) or 'none'}")
    accounting = summary["accounting"]
    if accounting and accounting["frames_in"] != accounting["kept"]:
        left_out = sum(
            accounting.get(name, 0) for name in ("excluded_temporal_gap", "excluded_split_file")
        )
        say(
            f"Frames      {accounting['frames_in']} read, {accounting['kept']} kept, "
            f"{accounting['quarantined']} set aside, {accounting['excluded_duplicates']} repeated"
            + (f", {left_out} left out by the split" if left_out else "")
        )
    for line in summary["findings"]:
        say(f"Finding     {line}")
    say_resumed(summary)
    say(f"Time        {summary['timings']['total']:.1f} s")
    if summary["status"] == "FAILED":
        say(f"Report      {out}/report/report.html (no dataset was written)")
        _advise(summary)
    else:
        for name in formats:
            say(f"Dataset     {out}/{name}")
        say(f"Report      {out}/report/report.html")


def _classes(class_counts: Mapping[str, int]) -> str:
    """Name the classes with their counts, the largest only where there are many."""
    from engine.visible import visible

    shown = sorted(class_counts, key=lambda label: (-class_counts[label], label))[:_CLASSES]
    text = ", ".join(f"{visible(label, 60)} {class_counts[label]}" for label in sorted(shown))
    more = len(class_counts) - len(shown)
    return f"{text} and {more} more" if more > 0 else text


def _can_be_set_aside(errors: list[str]) -> bool:
    """Say whether each error finding is one of frames, of objects in them, or of whole videos."""
    from engine.findings import CODES

    units = {CODES[line.split()[1].rstrip(":")].unit for line in errors}
    return units <= {"frame", "object", "video"}


def _advise(summary: Mapping[str, Any]) -> None:
    """Print the commands that would help: the one that was given, and more."""
    again = f"sam2prep prepare {shlex.join(click.get_current_context().meta['arguments'])}"
    say("What would help:")
    errors = [line for line in summary["findings"] if line.startswith("error ")]
    if not any("(100.0%)" in line for line in errors) and _can_be_set_aside(errors):
        say(f"  {again} --validation standard   # set these frames aside")
    if any("image_missing" in line or "overlay_burned_in" in line for line in summary["findings"]):
        say(f"  {again} --frames DIR            # use clean frames of the original video")
    say("  annotate or repair what the report lists, export again, and run this again")


if __name__ == "__main__":
    main(prog_name="python -m jobs.prepare")
