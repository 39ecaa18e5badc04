"""Trials and the figures made of them: answers that must be noticed, and figures by hand."""

import dataclasses
import sys
from pathlib import Path

import pytest

from benchmarks import bench_million, bench_vs_bare_pass, harness
from benchmarks.bench_scaling import line_through
from benchmarks.engine_trials import bare_trial, plain_trial, prepare_trial, validate_trial
from benchmarks.harness import Run
from benchmarks.process_kinds import kind_of, kinds_of
from benchmarks.process_tree import ProcessPeak
from benchmarks.trials import Judgement, Outcome, Trial, document_of, run_trials
from engine.sample_export import write_sample_export


def run_of(seconds: float, *processes: ProcessPeak) -> Run:
    return Run(
        name="x", seconds=seconds, seconds_until_on_disk=seconds, load_before=0.0, output="",
        processes=processes,
    )  # fmt: skip


def process(name: str, mb: float, cpu_sec: float = 0.0) -> ProcessPeak:
    size = round(mb * 1e6)
    return ProcessPeak(
        name=name,
        peak_rss_bytes=size,
        peak_anonymous_bytes=size // 2,
        cpu_sec=cpu_sec,
        peak_open_files=7,
    )


def outcome_of(**seconds: list[float]) -> Outcome:
    """Names come with _ for what is between them."""
    return Outcome(runs={name: [run_of(sec) for sec in own] for name, own in seconds.items()})


def script(tmp_path: Path, name: str, program: str) -> Trial:
    """A trial whose program writes to `tmp_path/out`, judged by what is in there."""
    out = tmp_path / "out"
    setup = f"import pathlib, random; out = pathlib.Path({str(out)!r}); out.mkdir(exist_ok=True); "
    command = harness.Command(name=name, arguments=(sys.executable, "-c", setup + program))

    def judge(run: Run) -> Judgement:
        text = (out / "a").read_text()
        wrong = ("it is bad",) if text == "bad" else ()
        return Judgement(facts={"text": text}, wrong=wrong, digest=text)

    return Trial(command=command, judge=judge, leaves=out, answer="same")


def test_trials_that_write_the_same_are_right(tmp_path: Path) -> None:
    trials = [script(tmp_path, name, "(out / 'a').write_text('x')") for name in "ab"]
    outcome = run_trials(trials, repeats=2, warmups=1)
    assert outcome.wrong == []
    assert outcome.digests == {"same": {"x"}}
    assert [len(outcome.runs[name]) for name in "ab"] == [2, 2]
    assert not (tmp_path / "out").exists()
    document = document_of("Why?\n\nBecause.", outcome, tmp_path, ratio=1)
    assert document["question"] == "Why?"
    assert document["results"]["a"]["answer"] == {"text": "x"}


def test_different_bytes_and_bad_answers_are_noticed(tmp_path: Path) -> None:
    trials = [
        script(tmp_path, "a", "(out / 'a').write_text('x')"),
        script(tmp_path, "b", "(out / 'a').write_text('bad')"),
    ]
    outcome = run_trials(trials, repeats=2, warmups=0)
    assert outcome.wrong == ["it is bad", "same: runs wrote different bytes"]


def test_a_command_that_fails_ends_it() -> None:
    with pytest.raises(RuntimeError, match="broken"):
        run_trials([plain_trial("broken", "-c", "1 / 0")], repeats=1, warmups=0)


def test_the_engine_and_the_bare_pass_are_judged(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_sample_export(path, dialect="coco", frames=20, width=64, height=64, truth=False)
    trials = [
        prepare_trial(
            f"prepare {frames}", [path], tmp_path / "out", workers=1, frames=frames, runner="local"
        )
        for frames in (20, 21)
    ]
    trials += [
        validate_trial(f"validate {n}", [path], workers=1, frames=n, runner="local")
        for n in (20, 21)
    ]
    bare = bare_trial("bare", [path], tmp_path / "bare", processes=1)
    outcome = run_trials([*trials, bare], repeats=1, warmups=0)
    assert [text.partition(":")[0] for text in outcome.wrong] == ["prepare 21", "validate 21"]
    assert outcome.facts["prepare 20"]["runner"] == "local"
    assert outcome.facts["bare"]["members"] == 22

    short = dataclasses.replace(run_of(1.0), output='{"members": 22, "size_bytes": 1}')
    (tmp_path / "bare").mkdir()
    assert len(bare.judge(short).wrong) == 2


def test_a_further_frame_beside_the_bare_pass() -> None:
    names = {
        ("engine", 1, 10): [3.0, 3.0, 9.0], ("engine", 1, 30): [7.0, 8.0, 11.0],
        ("engine", 2, 10): [2.0, 2.0, 2.0], ("engine", 2, 30): [4.0, 4.5, 5.0],
        ("bare pass", 1, 10): [1.0, 1.0, 1.0], ("bare pass", 1, 30): [5.0, 5.0, 5.0],
        ("bare pass", 2, 10): [1.0, 1.0, 1.0], ("bare pass", 2, 30): [3.0, 3.0, 3.0],
    }  # fmt: skip
    others = {"bare pass with SHA-256": 6.0, "zipfile pass": 9.0}
    names |= {
        (who, n, f): [sec * f / 30 / n] * 3 for who, sec in others.items() for n in (1, 2)
        for f in (10, 30)
    }  # fmt: skip
    outcome = outcome_of(
        **{f"{who}, {n} at once, {f} frames": s for (who, n, f), s in names.items()}
    )
    costs, scaling = bench_vs_bare_pass.figures_of(outcome, 10, 30, [2, 1])
    assert costs["1"] == {
        "engine_ms_a_frame": 250.0, "bare_ms_a_frame": 200.0, "ratio": 1.25,
        "quartiles_of_rounds": [0.75, 1.125],
        "other_passes_ms_a_frame": {"bare pass with SHA-256": 200.0, "zipfile pass": 300.0},
    }  # fmt: skip
    assert costs["2"]["ratio"] == 1.25
    assert scaling == {"workers": [1, 2], "engine": 2.0, "bare_pass": 2.0}
    assert bench_vs_bare_pass.figures_of(outcome, 10, 30, [2])[1] == {}


def test_a_line_through_points_on_it() -> None:
    line = line_through([1000, 3000, 10_000], [2.5, 3.5, 7.0])
    assert line["ms_a_frame"] == 0.5
    assert line["besides_sec"] == 2.0
    assert line["worst_off"] == 0.0
    assert line["steps_ms_a_frame"] == [0.5, 0.5]
    assert line_through([0, 1, 2], [1.0, 1.0, 4.0])["worst_off"] == 1.0


def test_a_million_frames_are_judged_from_a_hundred_thousand_on() -> None:
    seconds = {10_000: 10.0, 100_000: 50.0, 300_000: 150.0, 1_000_000: 570.0}
    peaks = process("python -m jobs.prepare", 700, 300.0), process("ray::Map(x)", 250, 500.0)
    outcome = Outcome(runs={f"{n} frames": [run_of(sec, *peaks)] for n, sec in seconds.items()})
    found = bench_million.figures_of(outcome, tuple(seconds), 2)
    assert found["sizes"]["1000000"] == {
        "seconds": 570.0, "cpu_ms_a_frame": 0.8, "clock_times_cores_ms_a_frame": 1.14,
        "driver_mb": 700.0, "worker_mb": 250.0, "open_files": {"driver": 7, "worker": 7},
    }  # fmt: skip
    assert found["steps_ms_a_frame"]["100000 to 300000"] == 0.5
    assert found["steps_apart_by"] == 0.2
    assert bench_million.figures_of(outcome, (10_000, 100_000), 2)["steps_apart_by"] is None


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_memory_and_open_files_of_a_process_are_seen() -> None:
    program = (
        "import time; a = [open('/dev/null') for _ in range(50)]; b = b'x' * 10**8; time.sleep(1.5)"
    )
    command = harness.Command(name="x", arguments=(sys.executable, "-c", program))
    [found] = harness.run_command(command).processes
    assert 50 < found.peak_open_files < 70
    assert 100e6 < found.peak_anonymous_bytes < 130e6


def test_kinds_of_processes() -> None:
    assert kind_of("python -m jobs.prepare") == "driver"
    assert kind_of("ray::Map(attemp") == "worker"
    for name in ("raylet", "gcs_server", "ray::IDLE", "ray::_StatsActo", "python dashboard.py"):
        assert kind_of(name) == "Ray"
    runs = [run_of(1.0, process("ray::Map(a)", 10), process("ray::Map(b)", 30))]
    assert kinds_of(runs) == {
        "worker": {
            "peak_rss_mb": 30.0,
            "peak_anonymous_mb": 15.0,
            "open_files": 7,
            "name": "ray::Map(b)",
        }
    }
