"""How much memory does each kind of process take, by frames and by size of the images?

Question: the peak of the driver, of the largest worker and of Ray's own processes under `prepare`,
for 1,000 to 100,000 small frames, and for 500 frames from 640x360 to 3840x2160. Aim: at most 900 MB
in any process. Resident memory counts mapped files and Ray's shared memory in each process that
touches them; anonymous memory is the process's own.

Fails (exit 1) if an answer is wrong, never because much is taken.
"""

from pathlib import Path

import click

from benchmarks import harness
from benchmarks.engine_trials import prepare_trial
from benchmarks.make_exports import ExportSet, make_exports
from benchmarks.process_kinds import kinds_of
from benchmarks.trials import conclude, document_of, measuring_options, run_trials, work_folder

__all__ = ["main"]

_AIM_MB = 900
_HEIGHTS_PX = (360, 720, 1080, 2160)


def _sets(
    frames: tuple[int, ...], per_export: int, heights: tuple[int, ...], of_each_size: int
) -> dict[str, ExportSet]:
    """The exports of each trial, by its name: two exports for the sizes, to share the work."""
    wanted = {f"{count} frames": ExportSet.small(count // per_export, per_export)
              for count in frames}  # fmt: skip
    for height in heights:
        width = height * 16 // 9
        wanted[f"{width}x{height}"] = ExportSet(
            exports=2, frames_per_export=of_each_size // 2, width=width, height=height,
            image_bytes=None,
        )  # fmt: skip
    return wanted


@click.command()
@click.option(
    "--frames", multiple=True, type=int, default=(1000, 10_000, 100_000), show_default=True,
    help="Of a run with small frames; multiples of those of an export.",
)  # fmt: skip
@click.option("--frames-per-export", default=1000, show_default=True, help="Of small frames.")
@click.option("--heights", multiple=True, type=int, default=_HEIGHTS_PX, show_default=True)
@click.option("--of-each-size", default=500, show_default=True, help="Frames of each size.")
@click.option("--workers", default=2, show_default=True, help="Tasks at once, and cores.")
@measuring_options("memory", repeats=1, warmups=0)
def main(
    *, frames: tuple[int, ...], frames_per_export: int, heights: tuple[int, ...], of_each_size: int,
    workers: int, repeats: int, warmups: int, cache: str, work: str | None, out: str,
) -> None:  # fmt: skip
    """Weigh the processes of `prepare`."""
    sets = _sets(frames, frames_per_export, heights, of_each_size)
    made = {name: make_exports(wanted, Path(cache)) for name, wanted in sets.items()}
    harness.use_cores(workers)
    with work_folder(work, cache) as folder:
        trials = [
            prepare_trial(
                name, [path.resolve() for path in made[name]], folder / "engine", workers=workers,
                frames=wanted.frames, answer=name,
            )
            for name, wanted in sets.items()
        ]  # fmt: skip
        outcome = run_trials(trials, repeats=repeats, warmups=warmups)
        peaks = {name: kinds_of(runs) for name, runs in outcome.runs.items()}
        document = document_of(
            __doc__, outcome, folder, aim={"peak_rss_mb_of_one_process": _AIM_MB}, peaks=peaks,
            parameters={name: wanted.to_json() for name, wanted in sets.items()}, workers=workers,
        )  # fmt: skip
    for name, kinds in peaks.items():
        shown = ", ".join(f"{kind} {own['peak_rss_mb']} MB" for kind, own in kinds.items())
        click.echo(f"{name}: {shown}")
    conclude(document, out)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bench_memory")
