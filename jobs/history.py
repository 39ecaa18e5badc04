"""`sam2prep history`: the versions of a dataset, what each added, from which inputs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from jobs.console import JobCommand, reporting_errors, say, show_json
from jobs.options import common_options

__all__ = ["main"]

_EPILOG = """\b
Examples:
  sam2prep history dataset
  sam2prep history dataset --json

Exit codes: 0 done, 2 there is no finished dataset, 3 it is damaged.
"""

_COLUMNS = "{:<9}{:<21}{:<9}{:<20}{}"  # version, when, command, samples, status
_INDENT = " " * 9
_WIDTH = 100
_NAMED = 3
_SHOWN = {  # what has a place of its own; anything else an entry says is said behind it
    "version", "command", "finished", "inputs", "samples", "samples_added", "splits",
    "splits_added", "classes_added", "classes_gone", "status", "options", "sam2prep",
}  # fmt: skip
_AS_USUAL = (False, 0, "fail")  # of what `add` is told: --resplit, --on-conflict


@click.command("history", cls=JobCommand, epilog=_EPILOG)
@click.argument("out", metavar="OUT")
@common_options
def main(out: str, as_json: bool) -> None:
    """Say which versions of the dataset in OUT there were, and what each added."""
    with reporting_errors(as_json):
        import engine

        found = engine.history(out)
        if as_json:
            show_json(found)
            return
        say(_COLUMNS.format("Version", "When (UTC)", "Command", "Samples", "Status"))
        for entry in found["versions"]:
            for line in _lines(entry):
                say(line, limit=_WIDTH)


def _lines(entry: Mapping[str, Any]) -> Iterator[str]:
    when = (entry["finished"] or "unknown").removesuffix("+00:00").replace("T", " ")
    first = entry["version"] == 1
    yield _COLUMNS.format(
        entry["version"], when, entry["command"] or "unknown",
        _counted(entry["samples"], 0 if first else entry["samples_added"]), entry["status"],
    )  # fmt: skip
    splits = [
        f"{name} {_counted(rows, 0 if first else entry['splits_added'].get(name, 0))}"
        for name, rows in entry["splits"].items()
    ]
    details = {
        "splits": ", ".join(splits),
        "from": _few([given["source"] for given in entry["inputs"]]),
        "with": _few(_pairs(entry["options"] or {})),
        "and": _few(
            _pairs({k: v for k, v in entry.items() if k not in _SHOWN and v not in _AS_USUAL})
        ),
        "new classes": _few(entry["classes_added"]),
        "gone classes": _few(entry["classes_gone"]),
        "note": ""
        if entry["command"]
        else "made before there was a record, maybe in several steps",
    }
    for name, text in details.items():
        if text:
            yield f"{_INDENT}{name} {text}"


def _counted(number: int, added: int) -> str:
    return f"{number:,} ({added:+,})" if added else f"{number:,}"


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={_short(value)}" for name, value in values.items()]


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return "/".join(f"{name} {inner}" for name, inner in value.items())
    if isinstance(value, list):
        return "/".join(str(part) for part in value)
    return str(value)


def _few(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    from engine.visible import visible

    shown = ", ".join(visible(name, 20) for name in names[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown


if __name__ == "__main__":
    main(prog_name="python -m jobs.history")
