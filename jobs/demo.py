"""`sam2prep demo`: write sample exports, as the real exporter writes them."""

from typing import TYPE_CHECKING

import click

from engine.errors import OutputError, UsageError
from jobs.console import JobCommand, reporting_errors, say, show_json
from jobs.options import common_options

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["main"]

_EPILOG = """\b
Example:
  sam2prep demo exports && sam2prep prepare exports --out dataset
"""


@click.command("demo", cls=JobCommand, epilog=_EPILOG)
@click.argument("out", metavar="OUT")
@common_options
def main(out: str, as_json: bool) -> None:
    """Write three sample exports to the local folder OUT."""
    with reporting_errors(as_json):
        from engine.sample_export import demo_exports

        paths = [str(path) for path in demo_exports(_folder(out))]
        if as_json:
            show_json({"exports": paths})
        else:
            for path in paths:
                say(path)


def _folder(out: str) -> "Path":
    """Give the folder to write to; a dataset would not be one any more with exports in it."""
    from engine.byte_ranges import local_path
    from engine.manifest import OutState, state_of

    folder = local_path(out)
    if folder is None:
        raise UsageError(
            out, "sample exports are written to a local folder", expected="a path",
            advice="write them there, and copy them to the store",
        )  # fmt: skip
    state = state_of(out)
    if state not in (OutState.EMPTY, OutState.FOREIGN):
        finished = state in (OutState.FINISHED, OutState.PENDING)
        what = "holds a dataset" if finished else "holds what a run of prepare left"
        raise OutputError(out, what, advice="name another folder for the sample exports")
    return folder


if __name__ == "__main__":
    main(prog_name="python -m jobs.demo")
