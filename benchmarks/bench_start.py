"""How long does a cold command take: help, a small export, and Ray's own start?

Question: each command is a process of its own, with nothing in memory but the page cache:
`sam2prep --help`; `validate` and `prepare` of an export as the real exporter writes it (48 frames
of 1280x720 PNG, painted), in one process as such small inputs are; the same `prepare` on Ray; and,
beside them, a Python that does nothing, one that imports numpy and pyarrow, and one that starts Ray
and stops it. Aims: help under 0.3 s, `validate` under 2 s, `prepare` under 3 s.

Fails (exit 1) if an answer is wrong, never because it is slow.
"""

from pathlib import Path

import click

from benchmarks import harness
from benchmarks.engine_trials import plain_trial, prepare_trial, validate_trial
from benchmarks.make_exports import ExportSet, make_exports
from benchmarks.trials import conclude, document_of, measuring_options, run_trials, work_folder

__all__ = ["main"]

_AIM_SEC = {"help": 0.3, "validate": 2.0, "prepare": 3.0}


@click.command()
@click.option("--export", "source", type=click.Path(exists=True), help="In place of the made one.")
@click.option("--frames", default=48, show_default=True, help="Of the export.")
@click.option("--workers", default=2, show_default=True, help="Tasks at once, and cores.")
@measuring_options("start", repeats=7)
def main(
    *, source: str | None, frames: int, workers: int, repeats: int, warmups: int, cache: str,
    work: str | None, out: str,
) -> None:  # fmt: skip
    """Time cold commands."""
    wanted = ExportSet.png(1, frames, painted=True)
    paths = [Path(source)] if source else make_exports(wanted, Path(cache))
    paths = [path.resolve() for path in paths]
    harness.use_cores(workers)
    start_ray = f"import ray; ray.init(num_cpus={workers}, include_dashboard=False); ray.shutdown()"
    with work_folder(work, cache) as folder:
        trials = [
            plain_trial("python", "-c", "pass"),
            plain_trial("imports", "-c", "import numpy, pyarrow"),
            plain_trial("help", "-m", "jobs.cli", "--help"),
            validate_trial("validate", paths, workers=workers, frames=frames, runner="auto"),
            prepare_trial(
                "prepare", paths, folder / "engine", workers=workers, frames=frames,
                runner="auto", answer="dataset",
            ),
            plain_trial("start of Ray", "-c", start_ray),
            prepare_trial(
                "prepare on Ray", paths, folder / "engine", workers=workers, frames=frames,
                runner="ray", answer="dataset",
            ),
        ]  # fmt: skip
        outcome = run_trials(trials, repeats=repeats, warmups=warmups)
        seconds = {trial.name: round(outcome.seconds(trial.name), 3) for trial in trials}
        document = document_of(
            __doc__, outcome, folder, aim_sec=_AIM_SEC, seconds=seconds,
            export_bytes=sum(path.stat().st_size for path in paths),
            parameters={"frames": frames, "workers": workers, "export_made": source is None},
        )  # fmt: skip
    for name, sec in seconds.items():
        click.echo(f"{name}: {sec} s")
    conclude(document, out)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bench_start")
