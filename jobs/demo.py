"""`sam2prep demo`: write sample exports, as the real exporter writes them."""

import click

from jobs.console import JobCommand, reporting_errors, say, show_json
from jobs.options import common_options

__all__ = ["main"]

_EPILOG = """\b
Example:
  sam2prep demo exports && sam2prep prepare exports --out dataset
"""


@click.command("demo", cls=JobCommand, epilog=_EPILOG)
@click.argument("out", metavar="OUT")
@common_options
def main(out: str, as_json: bool) -> None:
    """Write three sample exports to the folder OUT."""
    with reporting_errors(as_json):
        from engine.sample_export import demo_exports

        paths = [str(path) for path in demo_exports(out)]
        if as_json:
            show_json({"exports": paths})
        else:
            for path in paths:
                say(path)


if __name__ == "__main__":
    main(prog_name="python -m jobs.demo")
