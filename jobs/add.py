"""`sam2prep add`: more exports join a prepared dataset."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click

from jobs.console import JobCommand, reporting_errors, say, show_json, watched_progress, write_junit
from jobs.options import (
    common_options,
    config_option,
    execution_options,
    junit_option,
    reading_options,
    resume_option,
)
from jobs.settings import apart_from_execution
from jobs.summary import advise, show_summary
from jobs.tracking import Tracking, mlflow_option

__all__ = ["main"]

_EPILOG = """\b
Examples:
  sam2prep add dataset tuesday.zip
  sam2prep add dataset 'exports/*.zip' --on-conflict replace
  sam2prep add dataset tuesday.zip --resplit
  sam2prep add dataset tuesday.zip --validation standard --frames clean/

Exit codes: 0 done (also: all of it is in already), 1 quality FAILED (the dataset is as it was, the
report lies in OUT/rejected), 2 wrong usage, 3 an input cannot be read, or the run broke.
"""


@click.command("add", cls=JobCommand, epilog=_EPILOG)
@click.argument("out", metavar="OUT")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.option("--resplit", is_flag=True, help="Divide all samples anew, those there already too.")
@click.option(
    "--on-conflict", metavar="fail|keep|replace", default="fail", show_default=True,
    help="A frame that is there comes with other annotations: add nothing, keep what is there, or "
    "replace it.",
)  # fmt: skip
@click.option(
    "--validation", metavar="strict|standard",
    help="From now on; default: as the dataset was prepared.",
)  # fmt: skip
@reading_options
@execution_options
@resume_option
@mlflow_option
@junit_option
@config_option
@common_options
def main(
    *,
    out: str,
    sources: tuple[str, ...],
    resplit: bool,
    on_conflict: str,
    junit: str | None,
    config_file: str | None,
    mlflow: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Add exports to the dataset in OUT; no sample that is there changes its split.

    Frames of a video whose frames are never divided join its split, others go where the ratios are
    not met. How exports are read (--frames, --mask-order, ...) is said of these exports alone.
    """
    with reporting_errors(as_json):
        import engine
        from engine.manifest import read_json
        from engine.storage import join

        values, execution = apart_from_execution(config_file, options)
        tracking = Tracking(mlflow)
        with watched_progress() as progress:
            summary = engine.add(
                out, sources, values, execution, progress,
                resplit=resplit, on_conflict=on_conflict,  # type: ignore[arg-type]
            )  # fmt: skip
        tracking.log(out, summary)
        failed = summary["status"] == "FAILED"
        report = summary["report"] if failed else join(out, "report")
        if junit:
            done = f"{out} is as it was" if failed else f"the dataset in {out} is complete"
            write_junit(junit, read_json(join(report, "validation.json")), done)
        if as_json:
            show_json(summary)
        elif summary.get("nothing_to_do"):
            _say_nothing_new(out, summary, on_conflict)
        else:
            show_summary(summary)
            if failed:
                say(f"Report      {report}/report.html ({out} is as it was)")
                held = read_json(join(out, "manifest.json"))["config"]["validation"]
                strict = (values.get("validation") or held) == "strict"
                advise("add", summary, strict=strict)
            else:
                record = summary["history"][-1]
                if record["already_in"]:
                    own = _named(set(values) - {"validation"})
                    unread = f"; {own} not applied to them" if own else ""
                    say(f"Already in  {record['already_in']} of the exports given{unread}")
                added = record["splits_added"]
                say(f"Added       {', '.join(f'{name} {n:+}' for name, n in added.items())}")
                say(f"Report      {report}/report.html")
    sys.exit(1 if failed else 0)


def _say_nothing_new(out: str, summary: Mapping[str, Any], on_conflict: str) -> None:
    say(f"All of it is already in {out}: {summary['total_samples']} samples, as before")
    if unread := summary.get("not_applied"):
        say(f"Not applied {_named(unread)}: nothing was added")
    if replaced := summary.get("replaced_since"):
        frames = "1 frame" if replaced == 1 else f"{replaced} frames"
        say(f"Replaced    {frames} of the same video since, by another export, and left so")
        say(
            "Next        to have these annotations again, prepare another dataset of the other "
            "exports, and add this to it with --on-conflict replace"
        )
    decided = summary.get("decided_before")
    if decided is None:
        return
    say(f"Conflicts   decided by --on-conflict {decided} when it was added, and left so")
    say(
        "Next        to decide otherwise, prepare another dataset of the earlier exports, and add "
        f"this to it with --on-conflict {on_conflict}"
    )


def _named(keys: Iterable[str]) -> str:
    """Name options as they are given."""
    names = {"video_ids": "--video-id"}
    return ", ".join(names.get(key, f"--{key.replace('_', '-')}") for key in sorted(keys))


if __name__ == "__main__":
    main(prog_name="python -m jobs.add")
