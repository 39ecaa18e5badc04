"""`sam2prep verify`: is a prepared dataset still what its manifest says?"""

import sys
from typing import Any

import click

from jobs.console import JobCommand, reporting_errors, say, show_json, watched_progress
from jobs.options import common_options, execution_options
from jobs.settings import resolve

__all__ = ["main"]

_EPILOG = """\b
Example:
  sam2prep verify dataset

Exit codes: 0 every file and row is right, 1 something is not, 3 there is no prepared dataset.
"""

_LINES = 20


@click.command("verify", cls=JobCommand, epilog=_EPILOG)
@click.argument("out", metavar="OUT")
@execution_options
@common_options
def main(out: str, as_json: bool, **options: Any) -> None:
    """Check every file of the dataset in OUT by its digest, and every row in itself."""
    with reporting_errors(as_json):
        _, execution = resolve(None, options)
        import engine

        with watched_progress() as progress:
            found = engine.verify(out, execution, progress)
        if as_json:
            show_json(found)
        else:
            say(f"Status      {found['status']}")
            rows = f"{found['rows']} rows, {found['samples']} of them samples"
            say(f"Looked at   {found['files']} files, {rows}")
            for problem in found["problems"][:_LINES]:
                say(f"Problem     {problem['file']}: {problem['problem']}")
            if len(found["problems"]) > _LINES:
                say(f"            and {len(found['problems']) - _LINES} more (see --json)")
            for name in found["unknown_files"][:_LINES]:
                say(f"Unknown     {name}: in no list of this dataset")
    sys.exit(1 if found["problems"] else 0)


if __name__ == "__main__":
    main(prog_name="python -m jobs.verify")
