"""`sam2prep clean`: remove what runs that died have left."""

import click

from jobs.console import JobCommand, reporting_errors, say, show_json
from jobs.options import common_options

__all__ = ["main"]

_EPILOG = """\b
Examples:
  sam2prep clean dataset
  sam2prep clean dataset --rejected

Exit codes: 0 done (also: nothing to do), 2 OUT is not there, 3 somebody is writing to it.
"""


@click.command("clean", cls=JobCommand, epilog=_EPILOG)
@click.argument("out", metavar="OUT")
@click.option("--rejected", is_flag=True, help="Also the reports of refused additions.")
@common_options
def main(out: str, rejected: bool, as_json: bool) -> None:
    """Remove what runs that died have left in OUT; a dataset in it stays as it is.

    An unfinished run can then no longer be continued. What was decided and is not in its place yet
    is put there first.
    """
    with reporting_errors(as_json):
        import engine

        done = engine.clean(out, rejected=rejected)
        if as_json:
            show_json(done)
            return
        if done["completed"]:
            say("Completed   the run whose outcome was not in its place yet")
        for entry in done["removed"]:
            say(f"Removed     {entry['path']} ({entry['bytes'] / 1e6:,.1f} MB)")
        if not done["removed"] and not done["completed"]:
            say(f"{out} holds no leftovers")
        if done["kept"]:
            count = len(done["kept"])
            reports = "1 report" if count == 1 else f"{count} reports"
            say(f"Kept        {reports} of refused additions (--rejected)")


if __name__ == "__main__":
    main(prog_name="python -m jobs.clean")
