"""What does the real exporter's dialect cost beside clean exports of the same pictures?

Question: (time of many frames - time of few) of `prepare`, for exports as the real exporter writes
them (row-major runs on a 256x256 grid, masks painted on PNG frames of 1280x720), divided by the
same for their clean twins: the same pictures without paint, COCO masks of image size. Aim: at most
1.2. The bare pass over both is beside it, for paint changes the size of a PNG a little.

What is looked at for evidence costs the same in an export of any length, and a little more where
the order of masks has to be found: the shorter the exports, the larger the ratio. Hence the two
results, for exports of 1,000 frames and of 200 (`--frames-per-export 200 --few 5 --many 15`).

Fails (exit 1) if an answer is wrong, never because it is slow.
"""

from pathlib import Path

import click

from benchmarks import harness
from benchmarks.engine_trials import bare_trial, prepare_trial
from benchmarks.make_exports import ExportSet, make_exports
from benchmarks.trials import (
    Trial,
    conclude,
    document_of,
    measuring_options,
    read_once,
    run_trials,
    work_folder,
)

__all__ = ["main"]

_AIM_RATIO = 1.2
_KINDS = ("real", "clean")


@click.command()
@click.option("--few", default=1, show_default=True, help="Exports of the small runs.")
@click.option("--many", default=4, show_default=True, help="Exports of the large runs.")
@click.option("--frames-per-export", default=1000, show_default=True, help="Frames of each.")
@click.option("--workers", default=2, show_default=True, help="Tasks at once, and cores.")
@measuring_options("real_dialect_<frames>", warmups=0)
def main(
    *, few: int, many: int, frames_per_export: int, workers: int, repeats: int, warmups: int,
    cache: str, work: str | None, out: str,
) -> None:  # fmt: skip
    """Time the real exporter's dialect beside its clean twin."""
    trials: list[Trial] = []
    counts = few, many
    with work_folder(work, cache) as folder:
        for kind in _KINDS:
            wanted = ExportSet.png(many, frames_per_export, painted=kind == "real")
            paths = [path.resolve() for path in make_exports(wanted, Path(cache))]
            read_once(paths)
            for number in counts:
                own, frames = paths[:number], number * frames_per_export
                trials += [
                    prepare_trial(
                        f"{kind}, {number} exports", own, folder / "engine", workers=workers,
                        frames=frames, answer=f"{kind}, {frames} frames",
                    ),
                    bare_trial(
                        f"bare {kind}, {number} exports", own, folder / "bare", processes=workers
                    ),
                ]  # fmt: skip
        harness.use_cores(workers)
        outcome = run_trials(trials, repeats=repeats, warmups=warmups)
        frames = (many - few) * frames_per_export
        sec = {
            who: outcome.further(*(f"{who}, {number} exports" for number in counts))
            for kind in _KINDS
            for who in (kind, f"bare {kind}")
        }
        document = document_of(
            __doc__, outcome, folder,
            aim={"ratio": _AIM_RATIO}, ratio=round(sec["real"] / sec["clean"], 3),
            bare_ratio=round(sec["bare real"] / sec["bare clean"], 3),
            ms_a_further_frame={who: round(1000 * own / frames, 3) for who, own in sec.items()},
            parameters=wanted.to_json() | {"few": few, "many": many, "workers": workers},
        )  # fmt: skip
    click.echo(f"ratio {document['ratio']} (aim: at most {_AIM_RATIO}), bare {sec}")
    conclude(document, out.replace("<frames>", str(frames_per_export)))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bench_real_dialect")
