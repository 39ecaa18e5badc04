"""`sam2prep gate`: may training start? Exit code 0 or 1, with the reasons."""

import sys

import click

from jobs.console import JobCommand, reporting_errors, say, show_json
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

        try:
            document = engine.require_trainable(out)
        except engine.NotTrainableError as error:
            if not as_json:
                raise
            say(f"sam2prep: error: {error}", err=True, level="error")
            show_json(
                {
                    "gate": "shut",
                    "status": "ERROR",
                    "exit_code": error.exit_code,
                    "error": str(error),
                    "reasons": error.reasons,
                }
            )
            sys.exit(error.exit_code)
        findings = [f"{f['severity']} {f['code']}: {f['message']}" for f in document["findings"]]
        if as_json:
            show_json({"gate": "open", "status": document["status"], "findings": findings})
        else:
            say(f"open: {document['status']}")
            for line in findings:
                say(f"  {line}")


if __name__ == "__main__":
    main(prog_name="python -m jobs.gate")
