"""What does each part of a run cost: tasks by stage, Ray by task, the driver by frame?

The figures that `benchmarks/simulate_cluster.py` works with. Three measurements, each in a process
of its own:

- `prepare` on Ray with one worker and with two: seconds of every task, and of the whole, by the
  program's own measures; the same runs are what the simulator is held against.
- tasks that do nothing, 50 to 800 of them: what Ray Data and the driver take for a stage and for
  each of its tasks.
- the driver alone, with row files of 100,000 to 1,000,000 frames: seconds and peak memory of
  gathering, merging, dividing and describing them.

Other work on the machine lengthens tasks and whole alike; the load before each run is in the
result.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa

from benchmarks import harness
from benchmarks.make_exports import DEFAULT_CACHE, ExportSet, make_exports

__all__ = ["do_nothing", "main"]

_EMPTY_TASKS = (50, 200, 800)
_INDEX_FRAMES = (100_000, 300_000, 1_000_000)
_FRAMES_A_FILE, _FRAMES_A_VIDEO, _CLASSES = 500, 1000, 50


def do_nothing(payload: int) -> int:
    """Be a task that costs nothing itself."""
    return payload


def _run(workers: int, out: str, sources: list[str]) -> dict[str, Any]:
    """Prepare a dataset on Ray, and note every task that is done."""
    import engine
    from engine import pipeline, work
    from engine.measures import Measures
    from engine.stage_times import StageTimes

    tasks: list[list[Any]] = []
    start, ready = time.perf_counter(), []

    class Recording(StageTimes):
        def add(self, measures: Measures) -> None:
            frames = measures.counts["frames_checked"] + measures.counts["samples_written"]
            tasks.append([measures.stage, round(measures.seconds, 4), frames])
            super().add(measures)

    begin: Callable[[pipeline.RayRunner], bool] = pipeline.RayRunner._start

    def noted(runner: pipeline.RayRunner) -> bool:
        found = begin(runner)
        ready.append(time.perf_counter() - start)
        return found

    work.StageTimes = Recording  # type: ignore[misc, attr-defined]
    pipeline.RayRunner._start = noted  # type: ignore[method-assign]
    execution = engine.Execution(workers=workers, runner="ray")
    load = os.getloadavg()[0]
    summary = engine.prepare(sources, out, engine.Config(), execution)
    return {
        "workers": workers,
        "frames": summary["total_samples"],
        "exports": len(sources),
        "load_before": round(load, 2),
        "ray_ready_sec": round(ready[0], 2),
        "seconds": summary["timings"],
        "tasks": tasks,
    }


def _empty_tasks() -> dict[str, Any]:
    """Seconds of stages whose tasks do nothing, by their number."""
    from engine.pipeline import RayRunner
    from engine.tasks import Task

    seconds = {}
    with RayRunner(workers=2) as runner:
        runner.run(do_nothing, [Task(key="first", payload=0)], stage="start")
        for number in _EMPTY_TASKS:
            tasks = [Task(key=f"task-{n}", payload=n) for n in range(number)]
            start = time.perf_counter()
            runner.run(do_nothing, tasks, stage="nothing")
            seconds[str(number)] = round(time.perf_counter() - start, 3)
    return {"seconds": seconds}


def _write_rows(folder: Path, frames: int) -> list[str]:
    """Row files as scans leave them, as far as the driver reads them."""
    from engine.tables import write_table

    rng = np.random.default_rng(7)
    number = np.arange(frames)
    video, frame = number // _FRAMES_A_VIDEO, number % _FRAMES_A_VIDEO
    videos = np.array([f"session-{v:07d}_0123456789ab" for v in range(video[-1] + 1)])[video]
    labels = rng.integers(0, _CLASSES, 3 * frames)
    names = pa.array([f"class {c:02d}" for c in range(_CLASSES)])
    offsets = pa.array(np.arange(0, 3 * frames + 1, 3, dtype=np.int32))
    hidden = pa.array(np.zeros(frames + 1, np.int32))
    digests = np.array([f"{v:064x}" for v in range(video[-1] + 1)])[video]
    table = pa.table(
        {
            "id": pa.array([f"{v}/{f:06d}" for v, f in zip(videos, frame, strict=True)]),
            "video_id": pa.array(videos),
            "frame_index": pa.array(frame),
            "timestamp_sec": pa.array(frame / 10),
            "labels": pa.ListArray.from_arrays(offsets, names.take(pa.array(labels))),
            "hidden_labels": pa.ListArray.from_arrays(hidden, pa.array([], pa.string())),
            "objects_declared": pa.array(np.full(frames, 3, np.int32)),
            "objects_hidden": pa.array(np.zeros(frames, np.int32)),
            "errors": pa.array(np.zeros(frames, np.int32)),
            "width": pa.array(np.full(frames, 1280, np.int32)),
            "height": pa.array(np.full(frames, 720, np.int32)),
            "image_bytes": pa.array(np.full(frames, 290_000)),
            "image_crc32": pa.array(rng.integers(0, 2**32, frames, dtype=np.uint32)),
            "annotation_digest": pa.array([f"{n:064x}" for n in number]),
            "export_digest": pa.array(digests),
        }
    )
    paths = []
    for first in range(0, frames, _FRAMES_A_FILE):
        paths.append(str(folder / f"scan-{first:09d}.parquet"))
        write_table(paths[-1], table.slice(first, _FRAMES_A_FILE), durable=False)
    return paths


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _driver(paths: list[str]) -> dict[str, Any]:
    """What the driver does with all frames between the stages."""
    from engine.config import SPLIT_NAMES, Config
    from engine.dividing import divide
    from engine.frame_index import gather
    from engine.manifest import encode
    from engine.plan import plan_shards, rows_of
    from engine.repeated_frames import Held, merge_repeated

    config, before = Config(), _peak_bytes()
    clock = [time.perf_counter()]
    digests = [f"{n:064x}" for n in range(len(paths) * _FRAMES_A_FILE // _FRAMES_A_VIDEO)]
    index = merge_repeated(gather(paths, digests), Held()).index
    clock.append(time.perf_counter())
    gathered = _peak_bytes()
    division = divide(index, np.ones(len(index), dtype=bool), config, {})
    encode(division.document(division.assignment))
    clock.append(time.perf_counter())
    shards = plan_shards(
        index, division.assignment, SPLIT_NAMES,
        rows_per_shard=config.rows_per_shard, shard_bytes=config.shard_bytes,
    )  # fmt: skip
    rows = [rows_of(index, shard.places) for shard in shards]
    clock.append(time.perf_counter())
    return {
        "frames": len(index),
        "shards": len(rows),
        "index_sec": round(clock[1] - clock[0], 2),
        "split_sec": round(clock[2] - clock[1], 2),
        "plan_sec": round(clock[3] - clock[2], 2),
        "index_bytes": index.table.nbytes,
        "peak_bytes_before": before,
        "peak_bytes_index": gathered,
        "peak_bytes": _peak_bytes(),
    }


def _child(*arguments: str) -> dict[str, Any]:
    """Measure in a process of its own; its last line of standard output is the result."""
    command = harness.Command(
        name=arguments[0], arguments=(sys.executable, "-m", "benchmarks.measure_tasks", *arguments)
    )
    run = harness.run_command(command)
    print(f"{arguments[0]} {arguments[1][:40]}: {run.seconds:.1f} s", file=sys.stderr, flush=True)
    found: dict[str, Any] = json.loads(run.output.splitlines()[-1])
    return found


@click.group(invoke_without_command=True)
@click.option("--exports", default=6, show_default=True, help="ZIPs.")
@click.option("--frames-per-export", default=500, show_default=True, help="Frames of each.")
@click.option("--cache", default=str(DEFAULT_CACHE), show_default=True, help="Of the exports.")
@click.option("--out", default="benchmarks/results/task_times.json", show_default=True)
@click.pass_context
def main(
    context: click.Context, exports: int, frames_per_export: int, cache: str, out: str
) -> None:
    """Measure tasks, Ray and driver."""
    if context.invoked_subcommand:
        return
    wanted = ExportSet(exports=exports, frames_per_export=frames_per_export)
    paths = [str(path.resolve()) for path in make_exports(wanted, Path(cache))]
    for path in paths:
        Path(path).read_bytes()  # into the page cache, for all runs alike
    with tempfile.TemporaryDirectory(prefix="task_times_", dir=Path(cache)) as name:
        folder = Path(name).resolve()
        runs = [_child("run", str(n), str(folder / f"out-{n}"), *paths) for n in (1, 2)]
        drivers = [_child("driver", str(n), str(folder)) for n in _INDEX_FRAMES]
        document = {
            "question": (__doc__ or "").split("\n", maxsplit=1)[0],
            "machine": harness.machine_facts(folder),
            "versions": harness.package_versions(("sam2prep", "ray", "numpy", "pyarrow")),
            "frames_per_export": frames_per_export,
            "image_bytes": wanted.image_bytes,
            "runs": runs,
            "empty_tasks": _child("empty", "tasks"),
            "driver": drivers,
        }
    harness.write_result(Path(out), document)


@main.command("run")
@click.argument("workers", type=int)
@click.argument("out")
@click.argument("sources", nargs=-1)
def _run_command(workers: int, out: str, sources: tuple[str, ...]) -> None:
    click.echo(json.dumps(_run(workers, out, list(sources))))


@main.command("empty")
@click.argument("_what")
def _empty_command(_what: str) -> None:
    click.echo(json.dumps(_empty_tasks()))


@main.command("driver")
@click.argument("frames", type=int)
@click.argument("folder")
def _driver_command(frames: int, folder: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        write = [sys.executable, "-m", "benchmarks.measure_tasks", "rows", str(frames), place]
        subprocess.run(write, check=True)  # so that its memory is not in the peak
        paths = sorted(str(path) for path in Path(place).iterdir())
        click.echo(json.dumps(_driver(paths)))


@main.command("rows")
@click.argument("frames", type=int)
@click.argument("folder")
def _rows_command(frames: int, folder: str) -> None:
    _write_rows(Path(folder), frames)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.measure_tasks")
