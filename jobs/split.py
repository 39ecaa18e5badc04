"""`sam2prep split`: divide a prepared dataset anew, without its exports."""

from collections.abc import Mapping
from typing import Any

import click

from jobs.console import JobCommand, reporting_errors, say, say_resumed, show_json, watched_progress
from jobs.options import (
    common_options,
    config_option,
    execution_options,
    resume_option,
    split_options,
)
from jobs.settings import apart_from_execution
from jobs.summary import show_frames
from jobs.tracking import Tracking, mlflow_option

__all__ = ["main"]

_EPILOG = """\b
Examples:
  sam2prep split dataset --strategy temporal --ratios 0.7/0.15/0.15
  sam2prep split dataset --strategy stratified --group-by video --folds 5
  sam2prep split dataset --split-file other/split.json

Exit codes: 0 done, 2 wrong usage, 3 the dataset is damaged or the run broke (it is as it was then).
"""


@click.command("split", cls=JobCommand, epilog=_EPILOG)
@click.argument("out", metavar="OUT")
@split_options("--strategy")
@execution_options
@resume_option
@mlflow_option
@config_option
@common_options
def main(
    out: str, config_file: str | None, mlflow: str | None, as_json: bool, **options: Any
) -> None:
    """Split the dataset in OUT anew; only what changes is written.

    Ratios and seed stay as they were unless they are given, by an option or by the split file;
    strategy, grouping and folds do not: give them again. The seed is that of the texts, too.

    What a split leaves out (--temporal-segments at its cuts, a split file by name) is gone from OUT
    with its images: no later split, and no add of the same export, brings it back. Only all
    exports prepared again do, to another folder.
    """
    with reporting_errors(as_json):
        import engine

        values, execution = apart_from_execution(config_file, options)
        tracking = Tracking(mlflow)
        with watched_progress() as progress:
            summary = engine.split(out, values, execution, progress)
        tracking.log(out, summary)
        if as_json:
            show_json(summary)
        elif summary.get("nothing_to_do"):
            say(f"{out} is split like this already: {summary['total_samples']} samples")
        else:
            sizes = ", ".join(f"{name} {size}" for name, size in summary["splits"].items())
            say(f"Status      {summary['status']}")
            say(f"Samples     {summary['total_samples']} ({sizes})")
            show_frames(summary)
            _say_gone(-summary["history"][-1]["samples_added"])
            for line in summary["findings"]:
                say(f"Finding     {line}")
            _say_not_kept(summary["history"][-1].get("not_kept", {}))
            say_resumed(summary)
            say(f"Time        {summary['timings']['total']:.1f} s")
            say(f"Report      {out}/report/report.html")


def _say_gone(samples: int) -> None:
    """Say that samples have left the dataset, and what brings them back."""
    if samples <= 0:
        return
    what = "1 sample leaves" if samples == 1 else f"{samples} samples leave"
    say(
        f"Left out    {what} the dataset, images too: no later split and no add of the same export "
        "undoes it, only all exports prepared again, to another folder"
    )


def _say_not_kept(lost: Mapping[str, Any]) -> None:
    """Say what the old split was made with that was not asked for again."""
    if not lost:
        return
    options = {"split": "--strategy"}
    said = [
        options.get(key, f"--{key.replace('_', '-')}")
        # Of a split file only the digest is known, and a switch has no value.
        + ("" if key in ("split_file", "temporal_segments") else f" {value}")
        for key, value in lost.items()
    ]
    say(f"Not kept    {' '.join(said)} (of the old split; give them again to keep them)")


if __name__ == "__main__":
    main(prog_name="python -m jobs.split")
