"""What `prepare` and `add` say at the end: figures, findings, and what would help."""

import shlex
from collections.abc import Mapping
from typing import Any

import click

from jobs.console import say, say_resumed
from jobs.parcel import located

__all__ = ["advise", "show_frames", "show_summary"]

_CLASSES = 50


def show_summary(summary: Mapping[str, Any]) -> None:
    """Print status, samples, classes, frames, findings and time."""
    say(f"Status      {summary['status']}")
    if summary["status"] != "FAILED":
        splits = ", ".join(f"{name} {size}" for name, size in summary["splits"].items())
        say(f"Samples     {summary['total_samples']} ({splits})")
    say(f"Classes     {_classes(summary['class_counts']) or 'none'}")
    show_frames(summary)
    for line in summary["findings"]:
        say(f"Finding     {line}")
    say_resumed(summary)
    say(f"Time        {summary['timings']['total']:.1f} s")


def show_frames(summary: Mapping[str, Any]) -> None:
    """Print what became of the frames, where not all that were read are kept."""
    accounting = summary["accounting"]
    if accounting and accounting["frames_in"] != accounting["kept"]:
        left_out = sum(
            accounting.get(name, 0) for name in ("excluded_temporal_gap", "excluded_split_file")
        )
        replaced = accounting.get("excluded_replaced", 0)
        say(
            f"Frames      {accounting['frames_in']} read, {accounting['kept']} kept, "
            f"{accounting['quarantined']} set aside, {accounting['excluded_duplicates']} repeated"
            + (f", {replaced} gave way to another record" if replaced else "")
            + (f", {left_out} left out by the split" if left_out else "")
        )


def _classes(class_counts: Mapping[str, int]) -> str:
    """Name the classes with their counts, the largest only where there are many."""
    from engine.visible import visible

    shown = sorted(class_counts, key=lambda label: (-class_counts[label], label))[:_CLASSES]
    text = ", ".join(f"{visible(label, 60)} {class_counts[label]}" for label in sorted(shown))
    more = len(class_counts) - len(shown)
    return f"{text} and {more} more" if more > 0 else text


def advise(command: str, summary: Mapping[str, Any], *, strict: bool = True) -> None:
    """Print the commands that would help a failed run: the one that was given, and more.

    Args:
        command: the verb.
        summary: of the run.
        strict: frames with errors are not set aside yet.
    """
    say("What would help:")
    errors = [line for line in summary["findings"] if line.startswith("error ")]
    undecided = summary.get("contradictions")
    some_left = summary["frames_without_errors"] > 0
    if strict and not undecided and some_left and _can_be_set_aside(errors):
        say(f"  {_again(command, '--validation', 'standard')}   # set these frames aside")
    by_frames = ("image_missing", "overlay_burned_in", "frames_differ")
    if any(code in line for line in summary["findings"] for code in by_frames):
        again = _again(command, "--frames", "DIR")
        say(f"  {again}            # use clean frames of the original video")
    if undecided:
        again = _again(command, "--on-conflict", "keep")
        say(f"  {again}      # or replace: which annotations hold")
    say("  annotate or repair what the report lists, export again, and run this again")


def _again(command: str, option: str, value: str) -> str:
    """Repeat the command that was given, this option as it is advised and not as it was given."""
    context = click.get_current_context()
    given: list[str] = context.meta["arguments"]
    dropped: set[int] = set()
    for index, name, _ in located(context.command, given):
        if name == option:
            dropped |= {index} if given[index].startswith(f"{option}=") else {index - 1, index}
    words = [word for index, word in enumerate(given) if index not in dropped]
    return f"sam2prep {command} {shlex.join([*words, option, value])}"


def _can_be_set_aside(errors: list[str]) -> bool:
    """Say whether each error finding is one of frames, of objects in them, or of whole videos."""
    from engine.findings import CODES

    units = {CODES[line.split()[1].rstrip(":")].unit for line in errors}
    return units <= {"frame", "object", "video"}
