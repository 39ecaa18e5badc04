"""`sam2prep validate`: checks only; no dataset is written."""

import sys
from typing import Any

import click

from jobs.console import JobCommand, reporting_errors, say, show_json, watched_progress, write_junit
from jobs.options import (
    common_options,
    config_option,
    execution_options,
    junit_option,
    policy_options,
    reading_options,
)
from jobs.settings import resolve

__all__ = ["main"]

_EPILOG = """\b
Examples:
  sam2prep validate export.zip
  sam2prep validate 'exports/*.zip' --report report --check-images decode

Exit codes: 0 passed (warnings too), 1 FAILED, 2 wrong usage, 3 an input cannot be read.
"""


@click.command("validate", cls=JobCommand, epilog=_EPILOG)
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.option(
    "--report", metavar="DIR",
    help="Write report.html, validation.json, issues.jsonl, summary.md.",
)  # fmt: skip
@junit_option
@policy_options
@reading_options
@execution_options
@config_option
@common_options
def main(
    sources: tuple[str, ...],
    report: str | None,
    junit: str | None,
    config_file: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Check exports: annotations, masks, images, class balance."""
    with reporting_errors(as_json):
        config, execution = resolve(config_file, options)
        import engine

        with watched_progress() as progress:
            document = engine.validate(sources, report, config, execution, progress)
        if junit:
            where = f", the report is in {report}" if report else ""
            write_junit(junit, document, f"the exports are checked: {document['status']}{where}")
        if as_json:
            show_json(document)
        else:
            say(f"Status      {document['status']}")
            say(
                f"Looked at   {document['frames']} frames, {document['objects']} objects, "
                f"{document['videos']} videos"
            )
            for finding in document["findings"]:
                say(f"Finding     {finding['severity']} {finding['code']}: {finding['message']}")
                for example in finding["examples"]:
                    say(f"              {example}", limit=500)
                say(f"            -> {finding['recommendation']}")
            if report:
                say(f"Report      {report}/report.html")
    sys.exit(1 if document["status"] == "FAILED" else 0)


if __name__ == "__main__":
    main(prog_name="python -m jobs.validate")
