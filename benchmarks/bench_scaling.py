"""Does time grow in a straight line from 1,000 to 100,000 frames, and halve with two workers?

Question: `prepare` of 1,000 to 100,000 frames of 320x320 JPEG (two masks each), with one worker and
with two. The answer is a line for each number of workers: seconds a further frame (the slope, by
least squares), seconds besides, the worst distance of a measured point from the line, and the cost
of a further frame between each size and the next.

Fails (exit 1) if an answer is wrong, never because it is slow.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import harness
from benchmarks.engine_trials import prepare_trial
from benchmarks.make_exports import ExportSet, make_exports
from benchmarks.trials import (
    conclude,
    document_of,
    measuring_options,
    read_once,
    run_trials,
    work_folder,
)

__all__ = ["line_through", "main"]

_SIDE_PX = 320


def line_through(frames: Sequence[int], seconds: Sequence[float]) -> dict[str, Any]:
    """Lay a line through measured points.

    Args:
        frames: of each point, rising, at least two.
        seconds: of each point.

    Returns:
        `ms_a_frame` (slope) and `besides_sec` of the line nearest to all points in seconds,
        `worst_off` as share of the measured time, and `steps_ms_a_frame` from each to the next.
    """
    slope, besides = np.polyfit(np.asarray(frames, dtype=float), np.asarray(seconds), 1)
    off = [abs(slope * n + besides - sec) / sec for n, sec in zip(frames, seconds, strict=True)]
    points = list(zip(frames, seconds, strict=True))
    steps = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(points)]
    return {
        "ms_a_frame": round(1000 * float(slope), 4),
        "besides_sec": round(float(besides), 2),
        "worst_off": round(float(max(off)), 3),
        "seconds": {str(n): round(sec, 2) for n, sec in points},
        "steps_ms_a_frame": [round(1000 * step, 4) for step in steps],
    }


@click.command()
@click.option(
    "--frames", multiple=True, type=int, default=(1000, 3000, 10_000, 30_000, 100_000),
    show_default=True, help="Of a run, rising; multiples of those of an export.",
)  # fmt: skip
@click.option("--frames-per-export", default=1000, show_default=True, help="Frames of each.")
@click.option("--workers", multiple=True, type=int, default=(2, 1), show_default=True)
@click.option("--runner", type=click.Choice(["auto", "ray"]), default="auto", show_default=True)
@measuring_options("scaling", warmups=0)
def main(
    *, frames: tuple[int, ...], frames_per_export: int, workers: tuple[int, ...], runner: str,
    repeats: int, warmups: int, cache: str, work: str | None, out: str,
) -> None:  # fmt: skip
    """Time `prepare` at growing sizes."""
    wanted = ExportSet.small(max(frames) // frames_per_export, frames_per_export, side=_SIDE_PX)
    paths = [path.resolve() for path in make_exports(wanted, Path(cache))]
    read_once(paths)
    harness.use_cores(max(workers))
    with work_folder(work, cache) as folder:
        trials = [
            prepare_trial(
                f"{number} at once, {count} frames", paths[: count // frames_per_export],
                folder / "engine", workers=number, frames=count, runner=runner,
                answer=f"{count} frames",
            )
            for count in frames for number in workers
        ]  # fmt: skip
        outcome = run_trials(trials, repeats=repeats, warmups=warmups)
        lines = {
            str(number): line_through(
                frames, [outcome.seconds(f"{number} at once, {count} frames") for count in frames]
            )
            for number in workers
        }
        slopes = [lines[str(number)]["ms_a_frame"] for number in (min(workers), max(workers))]
        document = document_of(
            __doc__, outcome, folder, parameters=wanted.to_json() | {"runner": runner},
            lines=lines, times_as_fast=round(slopes[0] / slopes[1], 3),
        )  # fmt: skip
    for number, line in lines.items():
        click.echo(f"{number} at once: {line}")
    click.echo(f"times as fast a further frame: {document['times_as_fast']}")
    conclude(document, out)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bench_scaling")
