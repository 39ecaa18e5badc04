"""How long do a million small frames take, and how much memory does the driver?

Question: `prepare` of 10,000 to 1,000,000 frames of 64x64 JPEG with two masks each, start to
commit. Aims: linear within 15 % from 100,000 on (the cost of a further frame in each step, against
that of the first of these steps), the driver below 800 MB, and at most 1.2 ms of core time a frame.
Core time is given in two ways: the processor time of all processes, Ray's own included, and the
time on the clock multiplied by the cores, which counts idle cores too.

Fails (exit 1) if an answer is wrong, never because it is slow.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from benchmarks import harness
from benchmarks.engine_trials import prepare_trial
from benchmarks.make_exports import ExportSet, make_exports
from benchmarks.process_kinds import kinds_of
from benchmarks.trials import (
    Outcome,
    conclude,
    document_of,
    measuring_options,
    read_once,
    run_trials,
    work_folder,
)

__all__ = ["figures_of", "main"]

_AIM = {"steps_apart_by": 0.15, "driver_mb": 800, "core_ms_a_frame": 1.2}
_LINEAR_FROM = 100_000


def _name(count: int) -> str:
    return f"{count} frames"


def figures_of(outcome: Outcome, frames: tuple[int, ...], cores: int) -> dict[str, Any]:
    """Work out what the aims ask for.

    Args:
        outcome: of the trials.
        frames: of the trials, rising.
        cores: they had.

    Returns:
        By number of frames: seconds, core time a frame in ms in both ways, memory of the driver
        and of the largest worker in MB, the most open files of a process of each kind; the cost of
        a further frame in each step, in ms; and how far the steps from 100,000 on are from the
        first of them, None if there is one only.
    """
    sizes = {}
    for count in frames:
        sec, kinds = outcome.seconds(_name(count)), kinds_of(outcome.runs[_name(count)])
        sizes[str(count)] = {
            "seconds": round(sec, 2),
            "cpu_ms_a_frame": round(1000 * outcome.cpu_seconds(_name(count)) / count, 4),
            "clock_times_cores_ms_a_frame": round(1000 * sec * cores / count, 4),
            "driver_mb": kinds.get("driver", {}).get("peak_rss_mb"),
            "worker_mb": kinds.get("worker", {}).get("peak_rss_mb"),
            "open_files": {kind: own["open_files"] for kind, own in kinds.items()},
        }
    steps = {
        f"{few} to {many}": 1000 * outcome.further(_name(few), _name(many)) / (many - few)
        for few, many in pairwise(frames)
    }
    far = [step for (few, _), step in zip(pairwise(frames), steps.values(), strict=True)
           if few >= _LINEAR_FROM]  # fmt: skip
    return {
        "sizes": sizes,
        "steps_ms_a_frame": {name: round(step, 4) for name, step in steps.items()},
        "steps_apart_by": (
            round(max(abs(step / far[0] - 1) for step in far), 3) if len(far) > 1 else None
        ),
    }


@click.command()
@click.option(
    "--frames", multiple=True, type=int, default=(10_000, 100_000, 300_000, 1_000_000),
    show_default=True, help="Of a run, rising; multiples of those of an export.",
)  # fmt: skip
@click.option("--frames-per-export", default=1000, show_default=True, help="Frames of each.")
@click.option("--workers", default=2, show_default=True, help="Tasks at once, and cores.")
@measuring_options("million", repeats=1, warmups=0)
def main(
    *, frames: tuple[int, ...], frames_per_export: int, workers: int, repeats: int, warmups: int,
    cache: str, work: str | None, out: str,
) -> None:  # fmt: skip
    """Time and weigh `prepare` up to a million frames."""
    wanted = ExportSet.small(max(frames) // frames_per_export, frames_per_export)
    paths = [path.resolve() for path in make_exports(wanted, Path(cache))]
    read_once(paths)
    harness.use_cores(workers)
    with work_folder(work, cache) as folder:
        trials = [
            prepare_trial(
                _name(count), paths[: count // frames_per_export], folder / "engine",
                workers=workers, frames=count, answer=_name(count),
            )
            for count in frames
        ]  # fmt: skip
        outcome = run_trials(trials, repeats=repeats, warmups=warmups)
        figures = figures_of(outcome, frames, workers)
        document = document_of(
            __doc__, outcome, folder, aim=_AIM, **figures,
            parameters=wanted.to_json() | {"workers": workers},
        )  # fmt: skip
    for count, found in figures["sizes"].items():
        click.echo(f"{count} frames: {found}")
    click.echo(f"steps {figures['steps_ms_a_frame']}, apart by {figures['steps_apart_by']}")
    conclude(document, out)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bench_million")
