"""How long do a million frames take to divide, and how much memory?

Question: 1,000,000 frames of 5,000 videos with 50 classes, as the driver holds them after the scan.
How long do the division, the document (`split.json`, with its certificate and the assignment) and
the folds take, for each strategy and grouping? Each is a process of its own; memory is its peak,
with what Python, numpy and pyarrow take and the index itself.

Content groups are drawn: one video in ten is a second copy of another. Times are processor time
and, beside it, time on the clock, which other work on the machine lengthens. Fails (exit 1) if a
frame is not where the document says, never because it is slow: that is in the result.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa

from benchmarks import harness
from engine.config import SPLIT_NAMES, Config
from engine.dividing import divide
from engine.frame_index import FrameIndex
from engine.split_file import read_assignment

__all__ = ["main"]

_FRAMES, _VIDEOS, _CLASSES = 1_000_000, 5_000, 50
_FPS = 10.0
_CASES: dict[str, dict[str, Any]] = {
    "stratified": {},
    "stratified, by video": {"group_by": "video"},
    "stratified, by content": {"group_by": "content"},
    "random": {"split": "random"},
    "random, by video": {"split": "random", "group_by": "video"},
    "random, by content": {"split": "random", "group_by": "content"},
    "temporal": {"split": "temporal"},
    "temporal, by content": {"split": "temporal", "group_by": "content"},
    "temporal, segments": {"split": "temporal", "temporal_segments": True},
    "stratified, 5 folds": {"folds": 5},
    "stratified, by video, 5 folds": {"group_by": "video", "folds": 5},
    "random, by video, 5 folds": {"split": "random", "group_by": "video", "folds": 5},
    "temporal, by content, 5 folds": {"split": "temporal", "group_by": "content", "folds": 5},
}


def _index() -> FrameIndex:
    """Videos of unequal length; a video shows some of the classes, a frame one or two of those."""
    rng = np.random.default_rng(5)
    lengths = rng.multinomial(_FRAMES - 20 * _VIDEOS, rng.dirichlet(np.full(_VIDEOS, 3.0))) + 20
    names = np.array([f"video-{v:05d}" for v in range(_VIDEOS)])
    video = np.repeat(np.arange(_VIDEOS), lengths)
    frame = np.arange(_FRAMES) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    weights = 1 / np.arange(1, _CLASSES + 1)
    shown = rng.choice(_CLASSES, (_VIDEOS, 4), p=weights / weights.sum())
    first = shown[video, frame // 40 % 4]  # classes come and go in runs
    second = shown[video, frame // 25 % 4]
    both = rng.random(_FRAMES) < 0.5
    offsets = np.concatenate(([0], np.cumsum(1 + both)))
    classes = np.empty(offsets[-1], dtype=np.int64)
    classes[offsets[:-1]] = first
    classes[offsets[:-1][both] + 1] = second[both]
    labels = pa.array([f"class {c:02d}" for c in range(_CLASSES)]).take(pa.array(classes))
    video_id = pa.array(names).take(pa.array(video))
    table = pa.table(
        {
            "id": pa.array([f"{v}/{f:06d}" for v, f in zip(names[video], frame, strict=True)]),
            "video_id": video_id,
            "frame_index": pa.array(frame.astype(np.int64)),
            "timestamp_sec": pa.array(frame / _FPS),
            "labels": pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), labels),
        }
    )
    return FrameIndex(files=(), table=table)


def _measure(name: str) -> dict[str, Any]:
    index, config = _index(), Config(**_CASES[name])
    copies = {f"video-{v + 1:05d}": f"video-{v:05d}" for v in range(0, _VIDEOS, 10)}
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    clock, begin = time.perf_counter(), time.process_time()
    division = divide(index, np.ones(len(index), dtype=bool), config, copies)
    divided = time.process_time()
    document = division.document(division.assignment)
    documented = time.process_time()
    text = json.dumps(document)
    found = _as_written(text, index)
    certificate = document["certificate"]
    return {
        "divide_cpu_sec": round(divided - begin, 2),
        "document_cpu_sec": round(documented - divided, 2),
        "cpu_sec": round(documented - begin, 2),
        "wall_sec": round(time.perf_counter() - clock, 2),
        "memory_before_mb": round(before_mb),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "split_json_mb": round(len(text) / 1e6, 2),
        "sizes": list(document["sizes"].values()),
        "excluded": document["excluded"],
        "max_deviation_points": certificate["max_deviation_points"],
        "max_deviation_points_of_folds": document.get("folds", {})
        .get("certificate", {})
        .get("max_deviation_points"),
        "solver": certificate["solver"],
        "wrong": int((found != division.assignment).sum()),
    }


def _as_written(text: str, index: FrameIndex) -> np.ndarray[Any, np.dtype[np.int8]]:
    """What the document says of every frame; -1 where it is excluded."""
    table = read_assignment([json.loads(text)["assignment"]])
    codes = np.concatenate([table[video][1] for video in sorted(table)])
    if len(codes) != len(index):
        return np.full(len(index), -2, dtype=np.int8)
    return np.where(codes < len(SPLIT_NAMES), codes, -1).astype(np.int8)


@click.command()
@click.option("--out", default="benchmarks/results/split_scale.json", show_default=True)
@click.option("--case", type=click.Choice(list(_CASES)), help="Measure one, and print it.")
def main(*, out: str, case: str | None) -> None:
    """Divide a million frames in every way."""
    if case is not None:
        click.echo(json.dumps(_measure(case)))
        return
    results = {}
    for name in _CASES:
        command = [sys.executable, "-m", "benchmarks.bench_split_scale", "--case", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        results[name] = json.loads(done.stdout)
        row = results[name]
        click.echo(
            f"{name:30} {row['cpu_sec']:6.2f} s cpu {row['wall_sec']:6.2f} s wall "
            f"{row['peak_memory_mb']:5} MB  split.json {row['split_json_mb']:5.2f} MB  "
            f"off {row['max_deviation_points']}"
        )
    wrong = [name for name, row in results.items() if row["wrong"]]
    document = {
        "question": (__doc__ or "").split("\n", maxsplit=1)[0],
        "frames": _FRAMES,
        "videos": _VIDEOS,
        "classes": _CLASSES,
        "machine": harness.machine_facts(Path.cwd()),
        "versions": harness.package_versions(("sam2prep", "numpy", "pyarrow", "scipy")),
        "wrong": wrong,
        "results": results,
    }
    harness.write_result(Path(out), document)
    for name in wrong:
        click.echo(f"WRONG: {name}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bench_split_scale")
