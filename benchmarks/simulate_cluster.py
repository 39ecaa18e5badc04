"""How long does a corpus take on how many nodes, and when is the driver the limit?

A discrete-event simulation. What is measured, on one machine of 2 cores: the seconds of each task
of real runs, Ray's for a stage and for a task that does nothing, the driver's for the frames it
holds, and the memory they take (`benchmarks/measure_tasks.py`, while the machine had other work).
The mean of a stage's tasks is that of longer runs, with nothing beside them
(`results/runs_on_ray.json`, of `benchmarks/bench_vs_datasets_script.py` when all ran on Ray); the
spread around it is of the measured tasks. What is simulated: one driver, which hands out tasks one
after the other, and workers, one task a core, each task drawn from those of its stage; stages
follow one another. The simulator is held against the measured runs of both.

Not in it: the start of nodes, a store or a network that is the limit, nodes of other speed, tasks
that slow each other down, lost nodes, and a Ray that takes longer for a task the more there are.
"""

import heapq
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks import harness

__all__ = ["Cluster", "Costs", "main", "scenario", "simulate"]

_FRAMES = (1_000_000, 100_000_000, 1_000_000_000)
_NODES = (1, 4, 10, 100, 1_000)
_CORES = (8, 16)
_SEED = 11
_RATIOS = (0.8, 0.1, 0.1)
_FRAMES_A_SCAN = 500
_SHARD_BYTES, _ROWS_A_SHARD = 128 * 2**20, 2000
_HEAD_GIB = 8  # of the manifests in cluster/


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What was measured; all times in seconds.

    Args:
        ready: from the beginning of a run until Ray runs tasks; the driver works meanwhile.
        stage: of Ray for a stage, whatever its tasks.
        task: of driver and Ray for handing out one task and taking its result.
        frame: of the driver alone, for each frame.
        fixed: of the driver alone, for a run.
        tasks: of each stage, seconds a frame of every measured task.
        frame_bytes: that the driver holds of a frame at its peak.
        fixed_bytes: that it holds of none.
    """

    ready: float
    stage: float
    task: float
    frame: float
    fixed: float
    tasks: dict[str, NDArray[np.float64]]
    frame_bytes: float
    fixed_bytes: float

    @classmethod
    def of(
        cls, measured: dict[str, Any], workers: int, benchmark: dict[str, Any] | None = None
    ) -> "Costs":
        """Take the costs from a measurement.

        Args:
            measured: by `benchmarks/measure_tasks.py`.
            workers: tasks are those of its run with so many.
            benchmark: longer runs, by `benchmarks/bench_vs_datasets_script.py`: the tasks are
                brought to their means, and what a run costs besides is theirs; None: all its own.
        """
        [run] = [run for run in measured["runs"] if run["workers"] == workers]
        empty = {int(n): sec for n, sec in measured["empty_tasks"]["seconds"].items()}
        task, stage = np.polyfit(list(empty), list(empty.values()), 1)
        small, large = measured["driver"][-2:]
        grown = large["frames"] - small["frames"]
        names = ("index_sec", "split_sec", "plan_sec")
        frame = sum(large[name] - small[name] for name in names) / grown
        frame_bytes = (large["peak_bytes"] - small["peak_bytes"]) / grown
        seconds = run["seconds"]
        on_workers = ("open", "scan", "track", "write")
        besides = seconds["total"] - sum(seconds[name] for name in on_workers)
        fixed = max(0.0, besides - frame * run["frames"])
        frames_of_export = run["frames"] / run["exports"]
        tasks: dict[str, list[float]] = {name: [] for name in on_workers}
        for name, sec, frames in run["tasks"]:
            if name in tasks:
                tasks[name].append(sec / (frames or frames_of_export))
        arrays = {name: np.array(each) for name, each in tasks.items()}
        if benchmark is not None:
            means, besides, frames = _long_runs(benchmark, stage)
            fixed = max(0.0, besides - frame * frames)
            for name, mean in means.items():
                arrays[name] *= mean / arrays[name].mean()
        return cls(
            ready=run["ray_ready_sec"], stage=max(0.0, stage), task=task, frame=frame,
            fixed=fixed,
            tasks=arrays, frame_bytes=frame_bytes,
            fixed_bytes=large["peak_bytes"] - frame_bytes * large["frames"],
        )  # fmt: skip


@dataclass(kw_only=True)
class Cluster:
    """Cores that take tasks, and one driver that hands them out.

    Args:
        cores: of all nodes.
        costs: measured.
        rng: draws the tasks.
        clock: seconds since the run began.
        busy: seconds that cores were at tasks.
        driver: seconds that nothing but the driver was at work, or that it was handing out tasks.
    """

    cores: int
    costs: Costs
    rng: np.random.Generator
    clock: float = 0.0
    busy: float = 0.0
    driver: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)

    def alone(self, seconds: float) -> None:
        """Let the driver work while all others wait."""
        self.clock += seconds
        self.driver += seconds

    def stage(self, name: str, frames: Sequence[float], *, while_starting: bool) -> None:
        """Run the tasks of a stage.

        Args:
            name: of the stage, for its measured tasks.
            frames: of each task, in the order of the plan.
            while_starting: the driver does tasks itself until Ray runs.
        """
        begin, measured = self.clock, self.costs.tasks[name]
        drawn = self.rng.choice(measured, len(frames)) * np.asarray(frames)
        self.busy += float(drawn.sum())
        rest = iter(drawn.tolist())
        left = len(frames)
        while while_starting and left and self.clock < self.costs.ready:
            self.clock += next(rest)
            left -= 1
        if left:
            self.clock = max(self.clock, self.costs.ready) + self.costs.stage
            self._on_workers(rest, left)
        self.stages[name] = self.stages.get(name, 0.0) + self.clock - begin

    def _on_workers(self, seconds: Any, count: int) -> None:
        """Hand tasks out one after the other, each to the core that is free first."""
        free = [self.clock] * min(self.cores, count)
        handed, take, last = self.clock, heapq.heapreplace, self.clock
        for sec in seconds:
            handed += self.costs.task
            end = max(free[0], handed) + sec
            take(free, end)
            last = max(last, end)
        self.driver += self.costs.task * count
        self.clock = last


def _parts(frames: int, size: int) -> list[float]:
    """Frames cut into tasks of a size, the last one smaller."""
    whole, rest = divmod(frames, size)
    return [float(size)] * whole + ([float(rest)] if rest else [])


def simulate(
    frames: int, cores: int, costs: Costs, *, frames_per_export: int, image_bytes: int
) -> Cluster:
    """Run a corpus through the stages.

    Args:
        frames: of the corpus.
        cores: of all nodes.
        costs: measured.
        frames_per_export: each export is one video.
        image_bytes: of each image.

    Returns:
        The cluster at the end; the same arguments give the same.
    """
    cluster = Cluster(cores=cores, costs=costs, rng=np.random.default_rng(_SEED))
    exports = _parts(frames, frames_per_export)
    cluster.stage("open", exports, while_starting=True)
    scans = [part for each in exports for part in _parts(int(each), _FRAMES_A_SCAN)]
    cluster.stage("scan", scans, while_starting=True)
    cluster.alone(costs.frame * frames + costs.fixed)
    cluster.stage("track", exports, while_starting=True)
    rows = min(_ROWS_A_SHARD, _SHARD_BYTES // image_bytes)
    sizes = [round(frames * ratio) for ratio in _RATIOS]
    shards = [part for size in sizes for part in _parts(size, rows)]
    cluster.stage("write", shards, while_starting=False)
    return cluster


def _long_runs(benchmark: dict[str, Any], stage: float) -> tuple[dict[str, float], float, int]:
    """Give of the longer runs: seconds of a core a frame by stage, seconds besides, frames.

    Args:
        benchmark: by `benchmarks/bench_vs_datasets_script.py`; a little of Ray's start is in it.
        stage: of Ray for each stage.
    """
    found = benchmark["parameters"]
    frames = found["exports"] * found["frames_per_export"]
    median = sorted(benchmark["engine_timings_sec"], key=lambda each: each["total"])[1]
    names = ("open", "scan", "track", "write")
    walls = {name: max(median[name] - stage, median[name] / 2) for name in names}
    means = {name: found["workers"] * wall / frames for name, wall in walls.items()}
    return means, median["total"] - sum(median[name] for name in names), frames


def _checked(measured: dict[str, Any], tasks_of: Callable[[int], int]) -> list[dict[str, Any]]:
    """Hold the simulator against the measured runs."""
    rows = []
    for run in measured["runs"]:
        costs = Costs.of(measured, tasks_of(run["workers"]))
        found = simulate(
            run["frames"], run["workers"], costs,
            frames_per_export=measured["frames_per_export"], image_bytes=measured["image_bytes"],
        )  # fmt: skip
        total = run["seconds"]["total"]
        rows.append({
            "workers": run["workers"],
            "tasks_of_run_with_workers": tasks_of(run["workers"]),
            "measured_sec": round(total, 2),
            "simulated_sec": round(found.clock, 2),
            "off": round(found.clock / total - 1, 3),
            "load_before": run["load_before"],
        })  # fmt: skip
    return rows


def _checked_long(measured: dict[str, Any], benchmark: dict[str, Any]) -> dict[str, Any]:
    """Hold it against the longer runs: other frames, other exports, Ray and driver as measured."""
    found = benchmark["parameters"]
    costs = Costs.of(measured, 2, benchmark)
    # Its stages begin when Ray does or before: the time of waiting is in their means.
    simulated = simulate(
        found["exports"] * found["frames_per_export"], found["workers"], replace(costs, ready=0.0),
        frames_per_export=found["frames_per_export"], image_bytes=found["image_bytes"],
    )  # fmt: skip
    total = sorted(each["total"] for each in benchmark["engine_timings_sec"])[1]
    return {
        "measured_sec": round(total, 2),
        "simulated_sec": round(simulated.clock, 2),
        "off": round(simulated.clock / total - 1, 3),
    }


def scenario(
    frames: int, nodes: int, cores: int, measured: dict[str, Any], benchmark: dict[str, Any]
) -> dict[str, Any]:
    """Simulate one corpus on one cluster.

    Args:
        frames: of the corpus.
        nodes: of the cluster.
        cores: of each node.
        measured: by `benchmarks/measure_tasks.py`.
        benchmark: by `benchmarks/bench_vs_datasets_script.py`.
    """
    costs = Costs.of(measured, 2, benchmark)
    found = simulate(
        frames, nodes * cores, costs,
        frames_per_export=benchmark["parameters"]["frames_per_export"],
        image_bytes=measured["image_bytes"],
    )  # fmt: skip
    held = costs.fixed_bytes + costs.frame_bytes * frames
    return {
        "frames": frames,
        "nodes": nodes,
        "cores_a_node": cores,
        "wall_sec": round(found.clock, 1),
        "core_hours": round(found.clock * nodes * cores / 3600, 1),
        "workers_busy": round(found.busy / (found.clock * nodes * cores), 3),
        "driver_busy": round(found.driver / found.clock, 3),
        "driver_gib": round(held / 2**30, 1),
        "stages_sec": {name: round(sec, 1) for name, sec in found.stages.items()},
    }


def _limits(costs: Costs, image_bytes: int, frames_per_export: int) -> dict[str, Any]:
    """Where the driver becomes the limit: its own seconds a frame beside those of the workers."""
    rows = min(_ROWS_A_SHARD, _SHARD_BYTES // image_bytes)
    tasks = 2 / frames_per_export + 1 / _FRAMES_A_SCAN + 1 / rows
    of_driver = costs.frame + tasks * costs.task
    of_workers = sum(float(each.mean()) for each in costs.tasks.values())
    return {
        "worker_ms_a_frame": round(1000 * of_workers, 3),
        "driver_ms_a_frame": round(1000 * of_driver, 3),
        "of_that_handing_out_tasks_ms": round(1000 * tasks * costs.task, 3),
        "ms_a_task": round(1000 * costs.task, 2),
        "cores_where_driver_takes_as_long": math.floor(of_workers / of_driver),
        "bytes_a_frame": round(costs.frame_bytes),
        "frames_in_the_head_s_memory": math.floor(
            (_HEAD_GIB * 2**30 - costs.fixed_bytes) / costs.frame_bytes
        ),
    }


@click.command()
@click.option("--measured", default="benchmarks/results/task_times.json", show_default=True)
@click.option("--long-runs", default="benchmarks/results/runs_on_ray.json", show_default=True)
@click.option("--out", default="benchmarks/results/simulate_cluster.json", show_default=True)
@click.option(
    "--only", nargs=3, type=int, metavar="FRAMES NODES CORES", help="Simulate one, and print it."
)
@click.option("--price", type=float, help="Of a core hour, in your currency: prints the cost.")
def main(
    *,
    measured: str,
    long_runs: str,
    out: str,
    only: tuple[int, int, int] | None,
    price: float | None,
) -> None:
    """Simulate 1e6, 1e8 and 1e9 frames on 1 to 1,000 nodes."""
    found = json.loads(Path(measured).read_text())
    benchmark = json.loads(Path(long_runs).read_text())
    if only is not None:
        click.echo(json.dumps(scenario(*only, found, benchmark)))
        return
    checks = _checked(found, lambda workers: workers)
    crossed = _checked(found, lambda workers: 3 - workers)
    for row in checks:
        click.echo(f"workers {row['workers']}: {row['simulated_sec']} s for {row['measured_sec']}")
    results = []
    for frames in _FRAMES:
        for cores in _CORES:
            for nodes in _NODES:
                row = scenario(frames, nodes, cores, found, benchmark)
                results.append(row)
                cost = "" if price is None else f", costs {price * row['core_hours']:,.2f}"
                click.echo(
                    f"{frames:>13,} frames {nodes:5} x {cores:2} cores: {row['wall_sec']:>11,.0f} s"
                    f" {row['core_hours']:>11,.1f} core hours, driver {row['driver_gib']} GiB, busy"
                    f" {row['driver_busy']:.0%}{cost}"
                )
    costs = Costs.of(found, 2, benchmark)
    per_export = benchmark["parameters"]["frames_per_export"]
    document = {
        "question": (__doc__ or "").split("\n", maxsplit=1)[0],
        "simulated": True,
        "measured": [measured, long_runs],
        "frames_per_export": per_export,
        "image_bytes": found["image_bytes"],
        "held_against_measured_runs": checks,
        "held_against_the_long_runs": _checked_long(found, benchmark),
        "with_the_tasks_of_the_other_run": crossed,
        "limits": _limits(costs, found["image_bytes"], per_export),
        "results": results,
    }
    harness.write_result(Path(out), document)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.simulate_cluster")
