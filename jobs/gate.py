"""`sam2prep gate`: may training start? Exit code 0 or 1, with the reasons."""

import click

from jobs.console import JobCommand, reporting_errors, show_json
from jobs.options import common_options

__all__ = ["main"]

_EPILOG = """\b
Example:
  sam2prep gate dataset && python train.py dataset/hf
"""


@click.command("gate", cls=JobCommand, epilog=_EPILOG)
@click.argument("out", metavar="OUT")
@common_options
def main(out: str, as_json: bool) -> None:
    """Say whether training may start on the dataset in OUT."""
    with reporting_errors(as_json):
        import engine

        document = engine.require_trainable(out)
        if as_json:
            show_json({"gate": "open", "status": document["status"]})
        else:
            click.echo(f"open: {document['status']}")


if __name__ == "__main__":
    main(prog_name="python -m jobs.gate")
