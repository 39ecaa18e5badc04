"""A cluster of three nodes that die under a run: it completes, with the bytes of a laptop's run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import engine
from engine.config import Config, Execution
from engine.sample_export import write_sample_export
from tests.digests import tree
from tests.ray_nodes import HIDE, may_unshare, running_cluster
from tests.watching import Watch

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ["--frames-per-range", "4", "--rows-per-shard", "8"]
FRAMES = 96


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    return Watch(tmp_path_factory.mktemp("watch"))


@pytest.fixture(scope="module")
def cluster(watch):
    watch.order()
    with running_cluster(watch.environment()) as started:
        started.complete(3)
        yield started


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "long.zip"
    write_sample_export(path, frames=FRAMES, width=64, height=48, dialect="coco", truth=False)
    return path


@pytest.fixture(scope="module")
def expected(export, tmp_path_factory):
    """Digests of the same run in one process."""
    out = tmp_path_factory.mktemp("here") / "out"
    engine.prepare(
        [str(export)], str(out), Config(rows_per_shard=8),
        Execution(runner="local", frames_per_range=4),
    )  # fmt: skip
    return tree(out)


def driver(cluster, export, out):
    words = [export, "--out", out, "--address", cluster.address, "--runner", "ray", *OPTIONS]
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.prepare", *map(str, words)], cwd=ROOT,
        env=cluster.environment() | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def wait_until(condition, process):
    """Wait for something that happens while the driver runs, and give what it is."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"it did not come to that:\n{process.communicate()[0]}")


def summary_of(process, out):
    said, _ = process.communicate(timeout=180)
    assert process.returncode == 0, said
    return json.loads((out / "summary.json").read_bytes())


def busy(watch, stage):
    """Sessions of nodes at a task of the stage, once every node that is left has begun one."""
    left = 3 if stage == "scan" else 2
    begun = len(set(watch.sessions(stage)))
    return sorted(set(watch.sessions(stage, unfinished=True))) if begun == left else None


def test_a_node_dies_in_scan_and_one_in_write(cluster, watch, export, expected, tmp_path):
    watch.order(delay=0.5)
    out = tmp_path / "out"
    process = driver(cluster, export, out)
    killed = []
    for stage in ("scan", "write"):
        sessions = wait_until(lambda s=stage: busy(watch, s), process)
        assert set(sessions) <= set(cluster.nodes)
        cluster.kill(sessions[0])
        killed.append(sessions[0])
    summary = summary_of(process, out)
    assert summary["runner"] == "ray"
    for stage, session in zip(("scan", "write"), killed, strict=True):
        assert session in watch.sessions(stage, unfinished=True), "it was at no task when it died"
    assert len(set(watch.sessions("scan"))) == 3
    assert len(set(watch.sessions("write"))) == 2
    assert tree(out) == expected


@pytest.mark.long
def test_the_driver_dies_and_the_same_command_goes_on(cluster, watch, export, expected, tmp_path):
    cluster.complete(3)
    out = tmp_path / "out"
    for stage in ("scan", "write"):
        watch.order(delay=0.3)
        process = driver(cluster, export, out)
        done = out / ".staging/done" / stage
        wait_until(lambda d=done: d.is_dir() and len(list(d.iterdir())) >= 3, process)
        process.kill()
        process.wait()
        assert not (out / "manifest.json").exists()
    watch.order()
    summary = summary_of(driver(cluster, export, out), out)
    assert summary["runner"] == "ray"
    assert summary["resumed"]["taken_over"] >= 24 + 3
    assert watch.sessions("scan") == [], "all had been scanned before the driver died again"
    assert 0 < len(watch.sessions("write")) < FRAMES // 8
    assert tree(out) == expected


@pytest.mark.long
def test_workers_die_in_the_middle_of_tasks(cluster, watch, export, expected, tmp_path):
    cluster.complete(3)
    watch.order(delay=0.5)
    out = tmp_path / "out"
    process = driver(cluster, export, out)
    for stage in ("scan", "write"):
        for pid in wait_until(lambda s=stage: watch.processes(s), process):
            os.kill(pid, signal.SIGKILL)
    summary = summary_of(process, out)
    assert summary["runner"] == "ray"
    assert watch.sessions("scan", unfinished=True)
    assert watch.sessions("write", unfinished=True)
    assert tree(out) == expected


@pytest.mark.long
def test_a_slow_node_holds_nobody_up_for_ever(cluster, watch, export, expected, tmp_path):
    cluster.complete(3)
    slow = sorted(cluster.nodes)[0]
    watch.order(delay=0.2, delay_of={str(slow): 6})
    out = tmp_path / "out"
    summary = summary_of(driver(cluster, export, out), out)
    assert summary["runner"] == "ray"
    tasks = watch.sessions("scan")
    assert 0 < tasks.count(slow) < len(tasks)
    assert tree(out) == expected


@pytest.mark.long
def test_a_node_that_joins_late_and_does_not_see_the_export_is_refused(cluster, watch, tmp_path):
    cluster.complete(3)
    export, out = tmp_path / "here/long.zip", tmp_path / "out"
    export.parent.mkdir()
    write_sample_export(export, frames=FRAMES, width=64, height=48, dialect="coco", truth=False)
    if not may_unshare(export.parent):
        pytest.skip("this user may not make a mount namespace")
    watch.order(delay=5)  # Ray Data looks for new nodes every 20 s
    process = driver(cluster, export, out)
    wait_until(lambda: watch.sessions("scan"), process)
    before = set(cluster.nodes)
    cluster.complete(4, ["unshare", "--mount", "sh", "-c", HIDE, str(export.parent)])
    (late,) = set(cluster.nodes) - before
    try:
        said, _ = process.communicate(timeout=180)
        assert process.returncode == 2, said
        assert f"{export}: is not the same on node" in said
        assert "got nothing there, expected a file of" in said
        assert "what is done is kept" in said
        assert late not in watch.sessions("scan") + watch.sessions("write")
        assert not (out / "manifest.json").exists()
    finally:
        cluster.kill(late)
    watch.order()
    summary = summary_of(driver(cluster, export, out), out)
    assert summary["resumed"]["taken_over"] > 0
