"""Does the engine, its start included, beat a plain `datasets` script with as many processes?

Question: on 2 cores, 10,000 frames of 1280x720 JPEG (about 290 KB each, ten exports, three masks of
image size a frame) to a `DatasetDict`. Aim: at most 0.45 times the script's time, and at most
900 MB of memory in any one process. The engine does more for it: it proves grid and order, writes a
report, an index and digests, and fsyncs. Beside it the same on a Ray that is started for it, which
must write the same bytes. The exports are read once beforehand, so that both find
them in the page cache.

Fails (exit 1) if an answer is wrong, never because it is slow.
"""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks import harness
from benchmarks.make_exports import DEFAULT_CACHE, ExportSet, make_exports
from benchmarks.trials import read_once

__all__ = ["main"]

_ENGINE, _ON_RAY, _SCRIPT = "engine", "engine on Ray", "datasets script"
_AIM_RATIO, _AIM_MB = 0.45, 900
_PACKAGES = ("sam2prep", "ray", "datasets", "pyarrow", "numpy", "pycocotools", "pillow", "orjson")
_SAME_COLUMNS = ("masks", "bounding_boxes", "labels", "object_ids", "areas", "frame_index")
_IMAGE_SAMPLE = 97  # every 97th frame's image is compared: a prime, so that no video is left out
_QUIET = (("HF_HUB_OFFLINE", "1"), ("HF_DATASETS_DISABLE_PROGRESS_BARS", "1"))


class _Bench:
    """The two commands, their outputs, and what is known of them.

    Args:
        exports: the ZIPs, all in one folder.
        work: an empty folder for outputs.
        frames: expected in all.
        workers: of the engine and processes of the script.
    """

    def __init__(self, exports: Sequence[Path], work: Path, frames: int, workers: int) -> None:
        self._work = work
        self._frames = frames
        self._outputs = {
            _ENGINE: work / "engine", _ON_RAY: work / "on_ray", _SCRIPT: work / "script",
        }  # fmt: skip
        self._cache = work / "cache"
        self._rows: dict[str, dict[str, Any]] = {}
        self.digests: dict[str, list[str]] = {name: [] for name in self._outputs}
        self.timings: dict[str, list[dict[str, float]]] = {_ENGINE: [], _ON_RAY: []}
        self.wrong: list[str] = []
        pattern = str(exports[0].parent / "*.zip")
        engines = [
            harness.Command(
                name=name,
                arguments=(
                    sys.executable, "-m", "jobs.prepare", pattern, "--out",
                    str(self._outputs[name]), "--workers", str(workers), "--runner", runner,
                    "--json",
                ),
            )
            for name, runner in ((_ENGINE, "auto"), (_ON_RAY, "ray"))
        ]  # fmt: skip
        self.commands = (
            *engines,
            harness.Command(
                name=_SCRIPT,
                arguments=(
                    sys.executable, "-m", "benchmarks.datasets_script", pattern,
                    "--out", str(self._outputs[_SCRIPT]), "--cache", str(self._cache),
                    "--num-proc", str(workers),
                ),
                environment=_QUIET,
            ),
        )  # fmt: skip

    def after(self, run: harness.Run) -> None:
        """Check what a run wrote, and remove it."""
        out = self._outputs[run.name]
        folder = out if run.name == _SCRIPT else out / "hf"
        if run.name != _SCRIPT:
            self.timings[run.name].append(json.loads(run.output)["timings"])
        self.digests[run.name].append(harness.digest_of_files(sorted(folder.rglob("*.arrow"))))
        rows = _rows(folder)
        if len(rows) != self._frames:
            self.wrong.append(f"{run.name}: {len(rows)} ids, expected {self._frames}")
        for name, others in self._rows.items():
            self.wrong += [f"{run.name} and {name}: {text}" for text in _differences(rows, others)]
        self._rows[run.name] = rows
        shutil.rmtree(out)
        shutil.rmtree(self._cache, ignore_errors=True)

    def verdict(self) -> list[str]:
        """What is wrong, each thing once."""
        if len({*self.digests[_ENGINE], *self.digests[_ON_RAY]}) > 1:
            self.wrong.append("engine: two runs wrote different bytes")
        return list(dict.fromkeys(self.wrong))


def _rows(folder: Path) -> dict[str, Any]:
    """Load a dataset and give what is compared of each row, by id.

    The engine's video ids end in six digits of a digest, which the script does not have.
    """
    from datasets import concatenate_datasets, load_from_disk

    whole = concatenate_datasets(list(load_from_disk(str(folder)).values()))
    ids = [re.sub(r"-[0-9a-f]{6}/", "/", frame_id) for frame_id in whole["id"]]
    table = whole.select_columns(list(_SAME_COLUMNS)).with_format("arrow")[:]
    found: dict[str, Any] = dict(zip(ids, table.to_pylist(), strict=True))
    place = {frame_id: number for number, frame_id in enumerate(ids)}
    images = whole.select_columns("image").with_format("arrow")
    for frame_id in sorted(ids)[::_IMAGE_SAMPLE]:
        image = images[place[frame_id]]["image"][0].as_py()
        found[frame_id]["image"] = image["bytes"]
    return found


def _differences(rows: dict[str, Any], others: dict[str, Any]) -> list[str]:
    """Say how two outputs differ, in a few lines."""
    if rows.keys() != others.keys():
        only = sorted(rows.keys() ^ others.keys())
        return [f"{len(only)} ids are in one of them only, the first is {only[0]}"]
    found = []
    for column in (*_SAME_COLUMNS, "image"):
        wrong = [key for key in sorted(rows) if rows[key].get(column) != others[key].get(column)]
        if wrong:
            found.append(f"{column} differs in {len(wrong)} rows, the first is {wrong[0]}")
    return found


def _document(
    wanted: ExportSet, runs: dict[str, list[harness.Run]], bench: _Bench, work: Path, workers: int
) -> dict[str, Any]:
    summaries = {name: harness.summary_of(own) for name, own in runs.items()}
    ratio = summaries[_ENGINE]["median_sec"] / summaries[_SCRIPT]["median_sec"]
    return {
        "question": "time of the engine, start included, against a plain datasets script",
        "aim": {"ratio": _AIM_RATIO, "peak_rss_mb_of_one_process": _AIM_MB},
        "ratio": round(ratio, 3),
        "parameters": wanted.to_json() | {"workers": workers},
        "machine": harness.machine_facts(work),
        "versions": harness.package_versions(_PACKAGES),
        "output_digest": {name: sorted(set(own)) for name, own in bench.digests.items()},
        "wrong": bench.verdict(),
        "engine_timings_sec": {
            name: own[-len(runs[name]) :] for name, own in bench.timings.items()
        },
        "memory_note": "resident memory counts mapped files and shared object-store memory in each "
        "process; anonymous is the process's own",
        "results": summaries,
    }


def _show(document: dict[str, Any]) -> None:
    columns = "{:16} {:>9} {:>17} {:>10} {:>7} {:>12} {:>13}"
    head = ("", "median s", "quartiles s", "on disk s", "CPU s", "peak RSS MB", "anonymous MB")
    click.echo(columns.format(*head))
    for name, found in document["results"].items():
        low, high = found["quartiles_sec"]
        click.echo(
            columns.format(
                name, f"{found['median_sec']:.1f}", f"{low:.1f} .. {high:.1f}",
                f"{found['median_sec_until_on_disk']:.1f}", f"{found['median_cpu_sec']:.1f}",
                str(found["peak_rss_mb_of_one_process"]),
                str(found["peak_anonymous_mb_of_one_process"]),
            )
        )  # fmt: skip
    click.echo(f"ratio of medians {document['ratio']:.3f} (aim: at most {_AIM_RATIO})")
    for line in document["wrong"]:
        click.echo(f"WRONG: {line}")


@click.command()
@click.option("--exports", default=10, show_default=True, help="ZIPs.")
@click.option("--frames-per-export", default=1000, show_default=True, help="Frames of each.")
@click.option("--repeats", default=3, show_default=True, help="Runs of each that count.")
@click.option("--warmups", default=1, show_default=True, help="Runs of each before them.")
@click.option("--workers", default=2, show_default=True, help="Workers, processes and cores.")
@click.option("--cache", default=str(DEFAULT_CACHE), show_default=True, help="Of the exports.")
@click.option("--work", help="Folder for outputs; default: a temporary one beside the exports.")
@click.option("--out", default="benchmarks/results/vs_datasets_script.json", show_default=True)
def main(
    *, exports: int, frames_per_export: int, repeats: int, warmups: int, workers: int,
    cache: str, work: str | None, out: str,
) -> None:  # fmt: skip
    """Time `prepare` on Ray against a plain datasets script on the same exports."""
    wanted = ExportSet(exports=exports, frames_per_export=frames_per_export)
    paths = [path.resolve() for path in make_exports(wanted, Path(cache))]
    read_once(paths)
    parent = Path(work) if work else paths[0].parents[1]
    parent.mkdir(parents=True, exist_ok=True)
    harness.use_cores(workers)
    with tempfile.TemporaryDirectory(prefix="vs_script_", dir=parent) as name:
        folder = Path(name).resolve()
        bench = _Bench(paths, folder, exports * frames_per_export, workers)
        runs = harness.alternate(
            bench.commands, repeats=repeats, warmups=warmups, after=bench.after
        )
        document = _document(wanted, runs, bench, folder, workers)
    _show(document)
    harness.write_result(Path(out), document)
    sys.exit(1 if document["wrong"] else 0)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bench_vs_datasets_script")
