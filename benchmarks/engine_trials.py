"""`prepare`, `validate` and the bare pass as trials, each with the check of its answer."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import harness
from benchmarks.export_pieces import list_entries
from benchmarks.trials import Judgement, Trial

__all__ = ["bare_trial", "plain_trial", "prepare_trial", "validate_trial"]

_WRITES_NOTHING = ("--decode", "--read-only")


def prepare_trial(
    name: str, sources: Sequence[Path], out: Path, *, workers: int, frames: int,
    runner: str = "auto", answer: str = "", extra: Sequence[str] = (),
) -> Trial:  # fmt: skip
    """`sam2prep prepare` of exports.

    Args:
        name: of the trial.
        sources: the ZIPs.
        out: the dataset; removed after each run.
        workers: tasks at once.
        frames: that the dataset must have.
        runner: "auto", "local", "processes" or "ray".
        answer: of trials that must write the same dataset.
        extra: further options.
    """

    def judge(run: harness.Run) -> Judgement:
        summary = json.loads(run.output)
        files = sorted((out / "hf").rglob("*.arrow"))
        found = summary["total_samples"]
        facts = {"frames": found, "runner": summary["runner"], "timings_sec": summary["timings"]}
        wrong = [] if found == frames else [f"{name}: {found} frames, expected {frames}"]
        if not files:
            return Judgement(facts=facts, wrong=(*wrong, f"{name}: {summary['status']}"))
        facts["files"] = sum(path.is_file() for path in out.rglob("*"))
        facts["dataset_bytes"] = sum(file.stat().st_size for file in files)
        return Judgement(facts=facts, wrong=tuple(wrong), digest=harness.digest_of_files(files))

    arguments = (
        sys.executable, "-m", "jobs.prepare", *map(str, sources), "--out", str(out),
        "--workers", str(workers), "--runner", runner, "--json", *extra,
    )  # fmt: skip
    command = harness.Command(name=name, arguments=arguments)
    return Trial(command=command, judge=judge, leaves=out, answer=answer)


def validate_trial(
    name: str, sources: Sequence[Path], *, workers: int, frames: int, runner: str = "auto",
    extra: Sequence[str] = (),
) -> Trial:  # fmt: skip
    """`sam2prep validate` of exports; arguments as those of `prepare_trial`."""

    def judge(run: harness.Run) -> Judgement:
        report = json.loads(run.output)
        facts = {"frames": report["frames"], "status": report["status"]}
        right = report["frames"] == frames and report["status"] != "FAILED"
        return Judgement(facts=facts, wrong=() if right else (f"{name}: {facts}",))

    arguments = (
        sys.executable, "-m", "jobs.validate", *map(str, sources), "--workers", str(workers),
        "--runner", runner, "--json", *extra,
    )  # fmt: skip
    return Trial(command=harness.Command(name=name, arguments=arguments), judge=judge)


def bare_trial(
    name: str, sources: Sequence[Path], out: Path, *, processes: int, mode: str = ""
) -> Trial:
    """The bare pass over exports.

    Args:
        name: of the trial.
        sources: the ZIPs.
        out: folder of the Arrow files; removed after each run.
        processes: at once.
        mode: an option of `benchmarks/bare_pass.py`; empty: the bare pass itself.
    """
    entries = [entry for source in sources for entry in list_entries(str(source))]
    size = sum(entry.size_bytes for entry in entries)

    def judge(run: harness.Run) -> Judgement:
        found = json.loads(run.output)
        wrong = []
        if (found["members"], found["size_bytes"]) != (len(entries), size):
            wrong.append(f"{name}: passed over {found}, expected {len(entries)} of {size} bytes")
        written = sum(file.stat().st_size for file in out.iterdir())
        if mode not in _WRITES_NOTHING and written < size:
            wrong.append(f"{name}: wrote {written} bytes of {size}")
        return Judgement(facts=found, wrong=tuple(wrong))

    arguments = (
        sys.executable, "-m", "benchmarks.bare_pass", *map(str, sources), "--out", str(out),
        "--processes", str(processes), *([mode] if mode else []),
    )  # fmt: skip
    return Trial(command=harness.Command(name=name, arguments=arguments), judge=judge, leaves=out)


def plain_trial(name: str, *arguments: str) -> Trial:
    """A Python with these arguments; it is right if it ends with 0."""
    command = harness.Command(name=name, arguments=(sys.executable, *arguments))
    return Trial(command=command, judge=lambda _run: Judgement())
