"""How fast are your own exports prepared on your own machine or cluster, and what limits it?

    python -m benchmarks.throughput 'exports/*.zip' --work /data/scratch
    python -m benchmarks.throughput s3://bucket/exports --work s3://bucket/scratch --address auto

Prepares the exports once into a folder below --work, which is removed afterwards, and passes barely
over a sample of the same bytes beforehand (read, inflate, write, nothing else). Says for each stage
its time, tasks and rates, what the whole time was spent on, and what would shorten it. Local files
are taken out of the page cache before each of the two, where the system allows it (Linux): exports
that are worth this do not fit into it.

The bare pass runs on this machine, also where the run is on a cluster. Ends with 1 if the run
fails.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks import harness
from benchmarks.bare_pass import bare_pass
from benchmarks.export_pieces import Piece, pieces_of, sample_of
from benchmarks.limits import ADVICE, Bare, divide_time, largest, stage_rows
from benchmarks.process_kinds import kinds_of

__all__ = ["main"]

_COLUMNS = "{:10} {:>9} {:>7} {:>8} {:>10} {:>13} {:>10}"
_HEAD = ("stage", "seconds", "tasks", "at once", "read MB/s", "written MB/s", "slowest s")


def _found(sources: Sequence[str]) -> list[str]:
    from engine.sources import find_exports
    from engine.storage import absolute

    return [absolute(found) for source in sources for found in find_exports(source)]


def _forget(exports: Sequence[str]) -> None:
    """Take local ZIPs out of the page cache, so that they come from the disk."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in (Path(export) for export in exports if "://" not in export):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _size(pieces: Sequence[Piece], *, stored: bool) -> int:
    entries = (entry for piece in pieces for entry in piece.entries)
    return sum(entry.stored_bytes if stored else entry.size_bytes for entry in entries)


def _require_space(work: Path, wanted: int) -> None:
    free = shutil.disk_usage(work).free
    if free < wanted * 1.1:
        raise click.ClickException(
            f"{work} has {free / 1e9:.1f} GB free, the dataset of these exports takes about "
            f"{wanted / 1e9:.1f} GB: give a folder with more (--work), or fewer exports"
        )


def _prepare(
    exports: Sequence[str], out: str, options: Sequence[str]
) -> tuple[harness.Run, dict[str, Any]]:
    """Run the engine once; give the run and its summary."""
    from engine.storage import exists, join, read_bytes

    arguments = (sys.executable, "-m", "jobs.prepare", *exports, "--out", out, "--json", *options)
    place = join(out, "summary.json")
    try:
        run = harness.run_command(harness.Command(name="prepare", arguments=arguments))
    except RuntimeError as error:
        failed: dict[str, Any] = json.loads(read_bytes(place)) if exists(place) else {}
        if failed.get("status") != "FAILED":
            raise click.ClickException(str(error)) from error
        lines = "".join(f"\n  {line}" for line in failed["findings"])
        raise click.ClickException(
            f"the exports FAILED their checks, and nothing was written:{lines}\n"
            'To measure all the same: --config with a file that says validation = "standard"'
        ) from error
    summary: dict[str, Any] = json.loads(read_bytes(place))
    return run, summary


def _cores(summary: dict[str, Any], workers: int | None, address: str | None) -> float:
    """Tasks that could run at once: as said, this machine's cores, or the most that did."""
    if summary["runner"] == "local":
        return 1
    if workers:
        return workers
    if not address:
        return os.cpu_count() or 1
    stages = summary["stages"].values()
    at_once = [float(each["busy_sec"] / max(each["seconds"], 1e-9)) for each in stages]
    return max(1.0, *at_once)


def _document(
    run: harness.Run, summary: dict[str, Any], cores: float, passed: dict[str, Any], stored: int
) -> dict[str, Any]:
    bare = Bare.of(passed)
    total = summary["timings"]["total"]
    parts = divide_time(summary["stages"], total, run.seconds, cores, bare)
    return {
        "frames": summary["total_samples"],
        "stored_bytes": stored,
        "seconds": round(run.seconds, 2),
        "runner": summary["runner"],
        "cores": round(cores, 1),
        "mb_a_sec": round(stored / run.seconds / 1e6, 1),
        "bare_pass_sec": round(bare.core_seconds(stored) / cores, 2),
        "bare_sample": passed,
        "spent_sec": {name: round(sec, 2) for name, sec in parts.items()},
        "limit": largest(parts),
        "stages": summary["stages"],
        "memory_here": kinds_of([run]),
    }


def _show(found: dict[str, Any]) -> None:
    click.echo(_COLUMNS.format(*_HEAD))
    for row in stage_rows(found["stages"]):
        click.echo(_COLUMNS.format(*row))
    click.echo(
        f"\n{found['frames']:,} frames, {found['stored_bytes'] / 1e9:.2f} GB in "
        f"{found['seconds']:.1f} s ({found['mb_a_sec']:.0f} MB/s, {found['runner']}, "
        f"{found['cores']:g} at once); a bare pass over these bytes takes about "
        f"{found['bare_pass_sec']:.1f} s"
    )
    for kind, own in found["memory_here"].items():
        click.echo(f"memory of {kind}, here: {own['peak_rss_mb']:.0f} MB")
    click.echo("\nspent on")
    for name, sec in sorted(found["spent_sec"].items(), key=lambda item: -item[1]):
        click.echo(f"  {name:10} {sec:9.1f} s  {sec / found['seconds']:4.0%}")
    click.echo(f"limited by {ADVICE[found['limit']]}")


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SRC...")
@click.option("--work", default=".", show_default=True, help="Folder or URL for the dataset.")
@click.option("--workers", type=click.IntRange(1), help="Tasks at once; default: all cores.")
@click.option("--address", help="An existing Ray cluster, for example auto or ray://...")
@click.option("--config", type=click.Path(exists=True), help="TOML file of prepare's options.")
@click.option("--sample-mb", default=1000, show_default=True, help="Of the bare pass.")
@click.option("--out", help="Write the figures to this JSON file.")
def main(
    *, sources: tuple[str, ...], work: str, workers: int | None, address: str | None,
    config: str | None, sample_mb: int, out: str | None,
) -> None:  # fmt: skip
    """Measure how fast SRC are prepared here, stage by stage, and say what limits it."""
    from engine.errors import Sam2PrepError
    from engine.storage import join, remove

    options = ["--workers", str(workers)] if workers else []
    options += ["--address", address] if address else []
    options += ["--config", str(Path(config).resolve())] if config else []
    try:
        exports = _found(sources)
        pieces = pieces_of(exports, os.cpu_count() or 1)
    except Sam2PrepError as error:
        raise click.ClickException(str(error)) from error
    here = None if "://" in work else Path(work).resolve()
    if here:
        here.mkdir(parents=True, exist_ok=True)
        _require_space(here, _size(pieces, stored=False))
    with tempfile.TemporaryDirectory(prefix="throughput_", dir=here) as name:
        _forget(exports)
        sample = sample_of(pieces, sample_mb * 1_000_000)
        passed = bare_pass(sample, Path(name) / "bare", workers or os.cpu_count() or 1)
        shutil.rmtree(Path(name) / "bare")
        _forget(exports)
        dataset = join(work, Path(name).name) if here is None else str(Path(name) / "dataset")
        try:
            run, summary = _prepare(exports, dataset, options)
        finally:
            remove(dataset)
    cores = _cores(summary, workers, address)
    found = _document(run, summary, cores, passed, _size(pieces, stored=True))
    _show(found)
    if out:
        harness.write_result(Path(out), found)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.throughput")
