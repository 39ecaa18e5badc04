"""What does a further frame cost beside the bare pass over the same bytes?

Question: (time of many frames - time of few) of `prepare`, divided by the same of
`benchmarks/bare_pass.py`, which reads every member, inflates it, checks its CRC and writes it once
into Arrow files; with one worker and with two. Aim: at most 1.3 times the bare pass, and two
workers 1.8 times as fast as one where the bare pass is. The few frames are those of the first of
the exports that make the many. Everything is read once beforehand.

Beside it go two other passes over the same bytes: one that also takes the SHA-256 of every byte, as
the manifest of a dataset needs it, and one that reads with Python's own `zipfile`.

Fails (exit 1) if an answer is wrong, never because it is slow.
"""

from pathlib import Path
from statistics import quantiles
from typing import Any

import click

from benchmarks import harness
from benchmarks.engine_trials import bare_trial, prepare_trial
from benchmarks.make_exports import ExportSet, make_exports, set_of_kind
from benchmarks.trials import (
    Outcome,
    Trial,
    conclude,
    document_of,
    measuring_options,
    read_once,
    run_trials,
    work_folder,
)

__all__ = ["figures_of", "main"]

_AIM_RATIO, _AIM_SCALING = 1.3, 1.8
_PASSES = {"bare pass": "", "bare pass with SHA-256": "--digest", "zipfile pass": "--zipfile"}


def _name(who: str, workers: int, frames: int) -> str:
    return f"{who}, {workers} at once, {frames} frames"


def _trials(
    wanted: ExportSet, paths: list[Path], counts: tuple[int, int], workers: list[int], work: Path
) -> list[Trial]:
    trials = []
    for number in workers:
        for exports in counts:
            frames, own = exports * wanted.frames_per_export, paths[:exports]
            trials.append(
                prepare_trial(
                    _name("engine", number, frames), own, work / "engine", workers=number,
                    frames=frames, answer=f"{frames} frames",
                )
            )  # fmt: skip
            trials += [
                bare_trial(
                    _name(who, number, frames), own, work / "bare", processes=number, mode=mode
                )
                for who, mode in _PASSES.items()
            ]
    return trials


def figures_of(
    outcome: Outcome, few: int, many: int, workers: list[int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compare further frames.

    Args:
        outcome: of the trials.
        few: frames of the small runs.
        many: frames of the large ones.
        workers: numbers of workers.

    Returns:
        By number of workers: milliseconds a further frame of the engine, of the bare pass and of
        the other passes; the ratio of the first two, with its quartiles over the rounds. And how
        many times as fast the largest number of workers is as the smallest, for the engine and the
        bare pass (empty if there is one number).
    """
    costs: dict[str, Any] = {}
    sec: dict[tuple[str, int], float] = {}
    for number in workers:
        for who in ("engine", *_PASSES):
            names = _name(who, number, few), _name(who, number, many)
            sec[who, number] = outcome.further(*names)
        own, bare = (
            outcome.further_by_round(_name(who, number, few), _name(who, number, many))
            for who in ("engine", "bare pass")
        )
        ratios = [a / b for a, b in zip(own, bare, strict=True)]
        low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        ms = {who: round(1000 * sec[who, number] / (many - few), 4) for who in _PASSES}
        costs[str(number)] = {
            "engine_ms_a_frame": round(1000 * sec["engine", number] / (many - few), 4),
            "bare_ms_a_frame": ms.pop("bare pass"),
            "other_passes_ms_a_frame": ms,
            "ratio": round(sec["engine", number] / sec["bare pass", number], 3),
            "quartiles_of_rounds": [round(low, 3), round(high, 3)],
        }
    least, most = min(workers), max(workers)
    if least == most:
        return costs, {}
    return costs, {
        "workers": [least, most],
        **{
            who.replace(" ", "_"): round(sec[who, least] / sec[who, most], 3)
            for who in ("engine", "bare pass")
        },
    }


@click.command()
@click.option("--kind", type=click.Choice(["jpg", "png", "small"]), default="jpg")
@click.option("--few", default=10, show_default=True, help="Exports of the small runs.")
@click.option("--many", default=30, show_default=True, help="Exports of the large runs.")
@click.option("--frames-per-export", default=1000, show_default=True, help="Frames of each.")
@click.option("--workers", multiple=True, type=int, default=(2, 1), show_default=True)
@measuring_options("vs_bare_pass_<kind>", warmups=0)
def main(
    *, kind: str, few: int, many: int, frames_per_export: int, workers: tuple[int, ...],
    repeats: int, warmups: int, cache: str, work: str | None, out: str,
) -> None:  # fmt: skip
    """Time further frames by the engine beside the bare pass."""
    wanted = set_of_kind(kind, many, frames_per_export)
    paths = [path.resolve() for path in make_exports(wanted, Path(cache))]
    read_once(paths)
    harness.use_cores(max(workers))
    numbers = list(workers)
    with work_folder(work, cache) as folder:
        trials = _trials(wanted, paths, (few, many), numbers, folder)
        outcome = run_trials(trials, repeats=repeats, warmups=warmups)
        frames = few * frames_per_export, many * frames_per_export
        costs, scaling = figures_of(outcome, *frames, numbers)
        document = document_of(
            __doc__, outcome, folder,
            aim={"ratio": _AIM_RATIO, "two_workers_as_fast_as_one": _AIM_SCALING},
            parameters=wanted.to_json() | {"few_frames": frames[0], "many_frames": frames[1]},
            further_frames=costs, scaling=scaling,
        )  # fmt: skip
    for number, found in costs.items():
        click.echo(f"{number} at once: {found}")
    click.echo(f"times as fast: {scaling}")
    conclude(document, out.replace("<kind>", kind))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bench_vs_bare_pass")
