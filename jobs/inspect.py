"""`sam2prep inspect`: what is in an export, and how its masks are read, with the evidence."""

from collections.abc import Mapping
from typing import Any

import click

from jobs.console import JobCommand, reporting_errors, say, show_json
from jobs.options import common_options, reading_options
from jobs.settings import resolve

__all__ = ["main"]

_EPILOG = """\b
Examples:
  sam2prep inspect export.zip
  sam2prep inspect export.zip --json
  sam2prep inspect export.zip --draw pictures
"""


@click.command("inspect", cls=JobCommand, epilog=_EPILOG)
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.option(
    "--draw", metavar="DIR",
    help="Write a PNG of each video: a frame's masks read by row and by column, side by side.",
)  # fmt: skip
@reading_options
@common_options
def main(sources: tuple[str, ...], draw: str | None, as_json: bool, **options: Any) -> None:
    """Say what exports hold: video, frames, dialect, grid, order, evidence."""
    with reporting_errors(as_json):
        config, _ = resolve(None, options)
        import engine

        document = engine.inspect(sources, config, draw)
        if as_json:
            show_json(document)
        else:
            for entry in document["exports"]:
                _show(entry)
                if draw is not None:
                    drawing = entry["drawing"]
                    say(f"  drawn       {f'{draw}/{drawing}' if drawing else 'nothing to draw'}")
            for link in document["same_content"]:
                alike, sampled = link["alike_frames"], min(link["sampled_frames"])
                say(
                    f"one video   {' and '.join(link['videos'])}: {alike} of {sampled} sampled "
                    "frames look alike"
                )


def _show(entry: Mapping[str, Any]) -> None:
    video, dialect = entry["video"], entry["dialect"]
    size = f"{video['width']}x{video['height']}" if video["width"] else "size not declared"
    say(f"{entry['source']}")
    say(f"  video       {entry['video_id']} ({video['filename']}, {size})")
    say(
        f"  frames      {entry['frame_records']} records, {entry['images']} images, "
        f"{video['total_frames_declared']} frames declared in the video"
    )
    exporter = "the known SAM 2 demo exporter" if entry["known_exporter"] else "other"
    say(f"  exporter    {exporter}")
    masklets = dialect.get("masklets")
    if masklets:
        step = "every frame" if masklets["step"] == 1 else f"every {masklets['step']}th frame"
        say(f"  masklets    SA-V, {masklets['kind'] or 'of unknown kind'}, {step} of the video")
    say(f"  masks       {', '.join(dialect['notations']) or 'none in the sample'}")
    grid, by = dialect["grid"], dialect["grid_by"]
    say(f"  grid        {f'{grid[0]}x{grid[1]} (by {by})' if grid else 'as the image'}")
    say(f"  order       {dialect['order_sentence']}")
    evidence = dialect["evidence"]
    if evidence and evidence["frames_looked"]:
        paint = (
            f"{_percent(evidence['paint_row'])} row, {_percent(evidence['paint_column'])} column"
        )
        edges = f"{evidence['gradient_row']} row, {evidence['gradient_column']} column"
        say(f"  evidence    {evidence['frames_looked']} frames, read by row and by column")
        say(f"    paint     on the masks' boundary: {paint}")
        say(f"    edges     steeper than the frame's mean by: {edges}")
    say(f"  painted     {'yes: masks are on the frames' if dialect['painted'] else 'no'}")
    for found in entry["warnings"]:
        say(f"  {_severity(found):<11} {found}")


def _severity(found: str) -> str:
    """Say what a finding is by default, which is all that is known without a policy."""
    from engine.findings import CODES

    return str(CODES[found.partition(":")[0]].severity)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


if __name__ == "__main__":
    main(prog_name="python -m jobs.inspect")
