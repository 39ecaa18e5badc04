"""What Prometheus would fetch of a run on a real head, and the dashboard that asks for it."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from engine.ray_metrics import METRICS, SECONDS_BUCKETS
from engine.sample_export import write_sample_export
from tests.ray_nodes import running_nodes

pytestmark = pytest.mark.long  # a head and a worker node: 50 s

ROOT = Path(__file__).resolve().parents[2]
FAULTS = {7: {"hidden": {3: (0,), 4: (0, 1)}}, 8: {"image_truncated": (5,), "black_frames": (9,)}}
SERIES = re.compile(r"^ray_(sam2prep_\w+)\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)


def scraped(folder):
    """Every series of ours by name and own tags, as Prometheus finds and fetches the nodes."""
    found = Counter()
    services = json.loads((folder / "prom_metrics_service_discovery.json").read_text())
    for target in (target for service in services for target in service["targets"]):
        with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        for name, tags, value in SERIES.findall(text):
            own = dict(re.findall(r'(\w+)="([^"]*)"', tags))
            tag = own.get("code") or own.get("stage")
            found[name, f"{tag} {own['le']}" if "le" in own else tag] += float(value)
    return found


def prepared(nodes, sources, out):
    done = subprocess.run(
        [sys.executable, "-m", "jobs.submit", "--address", nodes.address, "prepare", *sources,
         "--out", str(out), "--frames-per-range", "10", "--rows-per-shard", "20",
         "--validation", "standard", "--json"],
        cwd=ROOT, env=nodes.environment | {"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics")
    sources = [str(folder / name) for name in ("a.zip", "b.zip")]
    for seed, source in enumerate(sources, 7):
        write_sample_export(source, frames=60, seed=seed, **FAULTS[seed])
    with running_nodes() as nodes:
        summary = prepared(nodes, sources, folder / "out")
        tasks = sum(stage["tasks"] for stage in summary["stages"].values())
        for _ in range(30):  # workers hand on what they counted every ten seconds, and at their end
            seen = scraped(nodes.folder)
            done = sum(n for (name, _), n in seen.items() if name == "sam2prep_tasks_done_total")
            if done >= tasks:
                break
            time.sleep(1)
        logs = [
            line
            for path in nodes.folder.glob("**/logs/worker-*.err")
            if not path.is_symlink()
            for line in path.read_text().splitlines()
        ]
    return summary, seen, folder / "out", logs


def test_what_is_scraped_is_what_the_summary_says(run):
    summary, seen, _, _ = run
    assert summary["runner"] == "ray"
    counted = summary["accounting"]
    assert seen["sam2prep_frames_checked_total", "scan"] == counted["frames_in"] == 120
    assert seen["sam2prep_masks_checked_total", "scan"] == counted["objects_in"]
    written = summary["total_samples"] + counted["quarantined"]
    rows = sum(n for (name, _), n in seen.items() if name == "sam2prep_samples_written_total")
    assert rows == written == 120
    assert counted["quarantined"] == 1
    for stage, figures in summary["stages"].items():
        assert seen["sam2prep_tasks_done_total", stage] == figures["tasks"]
        assert seen["sam2prep_bytes_read_total", stage] == figures["bytes_read"]
        assert seen["sam2prep_bytes_written_total", stage] == figures["bytes_written"]
        assert seen["sam2prep_busy_seconds_total", stage] == pytest.approx(
            figures["busy_sec"], abs=0.01
        )
        assert seen["sam2prep_task_seconds_count", stage] == figures["tasks"]
        assert seen["sam2prep_task_retries_total", stage] == 0


def test_findings_are_counted_by_code(run):
    _, seen, out, _ = run
    lines = (out / "report/issues.jsonl").read_text().splitlines()
    issues = Counter(json.loads(line)["code"] for line in lines)
    codes = {code: int(n) for (name, code), n in seen.items() if name == "sam2prep_findings_total"}
    assert codes["object_hidden"] == 3  # found by scans
    assert codes["image_truncated"] == 1  # found while a shard was written
    assert codes == {code: issues[code] for code in codes}


def test_there_are_as_many_series_as_stages_and_codes_whatever_is_read(run):
    summary, seen, _, _ = run
    names = {re.sub("_(total|bucket|count|sum)$", "", name) for name, _ in seen}
    assert names <= METRICS.keys()
    tags = {tag.split()[0] for name, tag in seen if name != "sam2prep_findings_total"}
    assert tags <= summary["stages"].keys()
    buckets = [tag for name, tag in seen if name.endswith("_bucket")]
    assert len(buckets) == len({tag.split()[0] for tag in buckets}) * (len(SECONDS_BUCKETS) + 1)


def test_workers_log_each_task_with_export_and_shard(run):
    summary, _, _, logs = run
    lines = [json.loads(line) for line in logs if line.startswith("{")]
    written = [line for line in lines if line["stage"] == "write"]
    assert len(written) == summary["stages"]["write"]["tasks"]  # that stage never begins here
    assert {line["shard"].split("-")[0] for line in written} == summary["splits"].keys()
    assert {line.get("export") for line in lines if line["stage"] in ("open", "scan")} <= {
        "a.zip", "b.zip",
    }  # fmt: skip
    assert not any("person" in line or "/a.zip" in line for line in logs)
