"""What does decoding every image add to validation, beside Pillow alone?

Question: `validate --check-images decode`, against the time of `validate` without it plus the bare
time of decoding the same images with Pillow on the same cores. Aim: at most 1.15 of that sum. The
bare time is that of `bare_pass --decode` (read, inflate, decode) less that of
`bare_pass --read-only`, which starts, reads and inflates the same.

Fails (exit 1) if an answer is wrong, never because it is slow.
"""

from pathlib import Path

import click

from benchmarks import harness
from benchmarks.engine_trials import bare_trial, validate_trial
from benchmarks.make_exports import make_exports, set_of_kind
from benchmarks.trials import (
    conclude,
    document_of,
    measuring_options,
    read_once,
    run_trials,
    work_folder,
)

__all__ = ["main"]

_AIM_RATIO = 1.15


@click.command()
@click.option("--kind", type=click.Choice(["jpg", "png", "real"]), default="jpg")
@click.option("--exports", default=10, show_default=True, help="ZIPs.")
@click.option("--frames-per-export", default=1000, show_default=True, help="Frames of each.")
@click.option("--workers", default=2, show_default=True, help="Tasks at once, and cores.")
@measuring_options("decoding_<kind>")
def main(
    *, kind: str, exports: int, frames_per_export: int, workers: int, repeats: int, warmups: int,
    cache: str, work: str | None, out: str,
) -> None:  # fmt: skip
    """Time the decoding of every image beside Pillow alone."""
    wanted = set_of_kind(kind, exports, frames_per_export)
    paths = [path.resolve() for path in make_exports(wanted, Path(cache))]
    read_once(paths)
    harness.use_cores(workers)
    with work_folder(work, cache) as folder:
        trials = [
            validate_trial(
                f"validate, {check}", paths, workers=workers, frames=wanted.frames,
                extra=("--check-images", check),
            )
            for check in ("decode", "structure")
        ] + [
            bare_trial(f"bare, {mode}", paths, folder / "bare", processes=workers, mode=f"--{mode}")
            for mode in ("decode", "read-only")
        ]  # fmt: skip
        outcome = run_trials(trials, repeats=repeats, warmups=warmups)
        if outcome.facts["bare, decode"]["images"] != wanted.frames:
            outcome.wrong.append("bare, decode: not every image was decoded")
        bare = outcome.further("bare, read-only", "bare, decode")
        sec = {check: outcome.seconds(f"validate, {check}") for check in ("structure", "decode")}
        document = document_of(
            __doc__, outcome, folder, aim={"ratio": _AIM_RATIO},
            ratio=round(sec["decode"] / (sec["structure"] + bare), 3),
            bare_decoding_sec=round(bare, 2),
            validate_sec={check: round(own, 2) for check, own in sec.items()},
            parameters=wanted.to_json() | {"workers": workers},
        )  # fmt: skip
    click.echo(f"{sec}, bare decoding {bare:.2f} s; ratio {document['ratio']}")
    conclude(document, out.replace("<kind>", kind))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bench_decoding")
