"""Tasks give what they give in this process on Ray and in processes of this machine, too.

And what goes wrong is named, whatever dies.
"""

import contextlib
import errno
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import engine
from engine.config import Config, Execution
from engine.errors import CrashError, ExportError, NodeError, RunError
from engine.pipeline import RayRunner
from engine.process_runner import ProcessRunner
from engine.sample_export import write_sample_export
from engine.tasks import LocalRunner, Task, portions, require_complete
from engine.work import Work

ROOT = Path(__file__).resolve().parents[2]
FROM_ROOT = os.pathsep.join(
    [str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
)


def plan(*payloads):
    return [Task(key=f"k{number}", payload=payload) for number, payload in enumerate(payloads)]


def squares(count):
    return {"count": count, "squares": np.arange(count, dtype=np.int64) ** 2}


def fail(kind):
    if kind == "export":
        raise ExportError(
            "a.zip", "is no ZIP", got="'GIF8'", expected="'PK'", advice="export again"
        )
    if kind == "value":
        raise ValueError("seven is no frame")
    if kind == "disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "shard-0")
    if kind == "memory":
        raise MemoryError("cannot allocate 9 GiB")
    return kind


def fail_after(payload):
    seconds, broken, ended = payload
    time.sleep(seconds)
    if broken is not None:
        raise ExportError(broken, "is broken")
    if ended is not None:
        ended.touch()


def die_until(payload):
    """Kill the worker until the file counts as many attempts."""
    path, attempts = payload
    with Path(path).open("ab") as file:
        file.write(b"x")
    if Path(path).stat().st_size < attempts:
        os._exit(1)
    return "alive"


def span(seconds):
    start = time.monotonic()
    time.sleep(seconds)
    return start, time.monotonic()


def threads(_):
    return os.environ["OMP_NUM_THREADS"], pa.cpu_count()


def most_at_once(spans):
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


@pytest.fixture(scope="module")
def started():
    """One Ray of two workers for the file, and what starting it wrote to standard output."""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("PYTHONPATH", FROM_ROOT)
        patch.delenv("RAY_ADDRESS", raising=False)
        written = io.StringIO()
        with contextlib.redirect_stdout(written):
            runner = stack.enter_context(RayRunner(workers=2))
            runner.run(squares, plan(1), stage="start")
        yield runner, written.getvalue()


@pytest.fixture
def on_ray(started):
    return started[0]


@pytest.fixture(scope="module")
def in_processes():
    with ProcessRunner(workers=2) as runner:
        yield runner


@pytest.fixture(params=["on_ray", "in_processes"])
def runner(request):
    return request.getfixturevalue(request.param)


def test_starting_writes_nothing_to_standard_output(started):
    assert started[1] == ""
    assert started[0].ready


def test_results_equal_those_of_this_process_in_plan_order(runner):
    tasks = plan(5, 0, 3, 1, 4)
    done = {}
    there = runner.run(squares, tasks, stage="scan", on_done=done.__setitem__)
    here = LocalRunner().run(squares, tasks, stage="scan")
    assert list(there) == list(here) == ["k0", "k1", "k2", "k3", "k4"]
    for key, result in here.items():
        assert there[key]["count"] == result["count"]
        np.testing.assert_array_equal(there[key]["squares"], result["squares"])
        assert done[key] is there[key]
    assert runner.run(squares, [], stage="scan") == {}


@pytest.mark.parametrize(
    ("kind", "error", "text"),
    [
        ("export", ExportError, "a.zip: is no ZIP: got 'GIF8', expected 'PK'; export again"),
        ("value", RunError, "scan: k1: ValueError: seven is no frame (test_pipeline.py:"),
        ("disk", RunError, "scan: k1: OSError: [Errno 28] No space left on device: 'shard-0'"),
        ("memory", RunError, "scan: k1: MemoryError: cannot allocate 9 GiB"),
    ],
)
def test_an_error_arrives_as_it_would_in_this_process(runner, kind, error, text):
    caught = []
    for where in (LocalRunner(), runner):
        with pytest.raises(error) as info:
            where.run(fail, plan("fine", kind, "fine"), stage="scan")
        caught.append(info.value)
    here, there = caught
    assert str(here).startswith(text)
    assert str(there) == str(here)
    assert (there.where, there.what, there.advice) == (here.where, here.what, here.advice)


def test_the_first_error_of_the_plan_is_reported_not_the_first_in_time(runner):
    tasks = plan((0, None, None), (1.5, "early.zip", None), (0, "late.zip", None))
    with pytest.raises(ExportError, match=r"early\.zip"):
        runner.run(fail_after, tasks, stage="scan")


def test_after_an_error_nothing_is_waited_for(runner, tmp_path):
    ended = tmp_path / "ended"
    tasks = plan((0, "first.zip", None), (60, None, ended), (60, None, ended))
    with pytest.raises(ExportError, match=r"first\.zip"):
        runner.run(fail_after, tasks, stage="scan")
    assert runner.run(squares, plan(1, 2), stage="scan").keys() == {"k0", "k1"}
    assert not ended.exists()


def test_a_task_whose_worker_dies_is_tried_again(runner, tmp_path):
    counter = tmp_path / "attempts"
    results = runner.run(
        die_until, plan((counter, 2), (tmp_path / "a", 0), (tmp_path / "b", 0)), stage="scan"
    )
    assert results == {"k0": "alive", "k1": "alive", "k2": "alive"}
    assert counter.stat().st_size == 2


def test_lost_attempts_are_counted_and_the_slowest_task_is_named(runner, tmp_path):
    run = Work(runner)
    lost = 2 if isinstance(runner, RayRunner) else 1
    payloads = (tmp_path / "attempts", lost + 1), (tmp_path / "a", 0), (tmp_path / "b", 0)
    assert run.run(die_until, plan(*payloads), stage="scan") == ["alive"] * 3
    found = run.times.to_json()["scan"]
    assert (found["tasks"], found["retries"]) == (3, lost)
    assert found["slowest"]["task"] in ("k0", "k1", "k2")
    assert found["slowest"]["seconds"] <= found["busy_sec"] < found["seconds"]


def test_a_task_that_always_kills_its_worker_is_named(runner, tmp_path):
    counter = tmp_path / "attempts"
    tasks = plan((tmp_path / "a", 0), (counter, 1000))
    with pytest.raises(RunError) as info:
        runner.run(die_until, tasks, stage="scan")
    assert isinstance(info.value, CrashError)
    assert info.value.where == "scan: k1"
    assert "a worker died each time" in str(info.value)
    attempts = 5 if isinstance(runner, RayRunner) else 2
    assert counter.stat().st_size == attempts, "one of them alone"


def test_the_others_are_done_and_the_one_that_crashes_is_handed_back(runner, tmp_path):
    tasks = plan((tmp_path / "x", 1000), *[(tmp_path / f"a{n}", 0) for n in range(5)])
    tasks[0] = replace(tasks[0], about="a.zip")
    crashed = []
    results = runner.run(die_until, tasks, stage="scan", on_crash=crashed.append)
    assert crashed == tasks[:1]
    assert results == {f"k{n}": "alive" for n in range(1, 6)}
    assert tasks[0].name == "k0 (a.zip)"


def test_no_more_tasks_at_once_than_workers(runner):
    spans = runner.run(span, plan(*[0.3] * 6), stage="scan").values()
    assert most_at_once(spans) <= 2
    with type(runner)(workers=1) as inner:
        spans = inner.run(span, plan(*[0.3] * 4), stage="scan").values()
    assert most_at_once(spans) == 1


def test_a_ray_that_was_there_before_is_left_running(on_ray):
    import ray

    with RayRunner(workers=1) as inner:
        assert inner.run(squares, plan(1), stage="scan").keys() == {"k0"}
    assert ray.is_initialized()


def test_a_task_has_one_thread(runner):
    assert runner.run(threads, plan(0), stage="scan") == {"k0": ("1", 1)}


def test_more_memory_than_any_node_has_is_not_waited_for(on_ray):
    with RayRunner(task_memory_bytes=2**60) as greedy:
        assert greedy.run(squares, plan(3), stage="scan")["k0"]["count"] == 3


def test_tasks_are_placed_by_the_memory_they_reserve(on_ray):
    import ray

    (node,) = [each["Resources"] for each in ray.nodes()]
    half = int(node["memory"] * 0.6)
    with RayRunner(task_memory_bytes=half) as large:
        spans = large.run(span, plan(*[0.3] * 4), stage="scan").values()
    assert node["CPU"] == 2
    assert most_at_once(spans) == 1


@pytest.mark.parametrize(("cores", "begun"), [(1, 1), (3, 3), (1000, 8)])
def test_a_large_cluster_is_not_woken_at_once(monkeypatch, cores, begun):
    import ray

    tasks = []
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": cores})

    def outcomes(self, function, given, stage):
        tasks.extend(given)
        return iter(())

    monkeypatch.setattr(RayRunner, "_outcomes", outcomes)
    RayRunner()._warm_up()
    assert len(tasks) == begun


def test_a_node_that_was_not_asked_looks_before_its_first_task(runner, tmp_path):
    export = tmp_path / "a.zip"
    export.write_bytes(b"12345")
    with RayRunner(places=(str(export),)) as asking:
        assert asking.run(squares, plan(3), stage="scan")["k0"]["count"] == 3
        assert asking._shared.asked
        asking._shared = replace(asking._shared, asked=frozenset({"another node"}))
        assert asking.run(squares, plan(3), stage="scan")["k0"]["count"] == 3
        export.write_bytes(b"123456")
        asking._shared = replace(asking._shared, asked=frozenset({"one more"}))
        with pytest.raises(NodeError, match="got a file of 6 bytes, expected a file of 5 bytes"):
            asking.run(squares, plan(3), stage="scan")


def stored_so_far():
    """All bytes that were ever put into the object store of the one node, in plasma."""
    import ray
    from ray._private.internal_api import node_stats

    (node,) = ray.nodes()
    return node_stats(
        node["NodeManagerAddress"], node["NodeManagerPort"]
    ).store_stats.cumulative_created_bytes


def put_5_mb(_):
    import ray

    return len(ray.get(ray.put(os.urandom(5_000_000))))


def test_images_never_enter_the_object_store(on_ray, tmp_path):
    before = stored_so_far()
    on_ray.run(put_5_mb, plan(0), stage="scan")
    assert 5_000_000 < stored_so_far() - before < 6_000_000, "what is put there is seen"
    export = tmp_path / "heavy.zip"
    write_sample_export(
        export, frames=400, width=640, height=360, dialect="coco", image_format="jpg",
        image_bytes=150_000, distinct_images=5, truth=False,
    )  # fmt: skip
    assert export.stat().st_size > 50_000_000
    before = stored_so_far()
    config = Config(shard_bytes=2**23, formats=("hf", "llava"))
    execution = Execution(runner="ray", frames_per_range=20)
    summary = engine.prepare([str(export)], str(tmp_path / "out"), config, execution)
    assert summary["runner"] == "ray"
    assert stored_so_far() - before < 2_000_000, "of all tasks together, and none is freed in it"


SCRIPT = """
import json, os, sys
from pathlib import Path
from engine.pipeline import RayRunner
from engine.process_runner import ProcessRunner
from engine.tasks import Task

def noisy(path):
    print("spoilt", flush=True)
    os.system("echo spoilt")
    if path is not None and not Path(path).exists():
        Path(path).touch()
        os._exit(1)
    return 1

with RayRunner(address=sys.argv[1]) as runner:
    tasks = [Task(key=f"k{n}", payload=sys.argv[2] if n == 0 else None) for n in range(4)]
    results = runner.run(noisy, tasks, stage="scan")
print(json.dumps(results))
"""


def test_standard_output_belongs_to_the_driver_and_a_joined_ray_lives_on(on_ray, tmp_path):
    import ray

    script = tmp_path / "driver.py"
    script.write_text(SCRIPT)
    address = ray.get_runtime_context().gcs_address
    run = subprocess.run(
        [sys.executable, script, address, tmp_path / "died"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": FROM_ROOT},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == json.dumps({"k0": 1, "k1": 1, "k2": 1, "k3": 1}) + "\n"
    assert (tmp_path / "died").exists()
    assert on_ray.run(squares, plan(2), stage="scan")["k0"]["count"] == 2


def test_a_lost_row_is_named_and_a_double_one_is_not_counted(on_ray, monkeypatch):
    outcomes = RayRunner._outcomes

    def losing(self, function, tasks, stage, **more):
        for outcome in outcomes(self, function, tasks, stage, **more):
            if outcome[0] != "k2":
                yield outcome
                yield outcome

    monkeypatch.setattr(RayRunner, "_outcomes", losing)
    done = []
    with pytest.raises(RunError, match=r"scan: 1 of 4 tasks did not finish: k2$"):
        on_ray.run(squares, plan(0, 1, 2, 3), stage="scan", on_done=lambda key, _: done.append(key))
    assert sorted(done) == ["k0", "k1", "k3"]


def test_a_plan_is_handed_over_in_portions_of_bounded_size(on_ray, monkeypatch):
    tasks = plan(*[b"x" * size for size in (10, 2000, 10, 10, 900, 200, 10)])
    cut = list(portions(tasks, 1000))
    assert [task for portion in cut for task in portion] == tasks
    assert [[len(task.payload) for task in portion] for portion in cut] == [
        [10], [2000], [10, 10, 900], [200, 10],
    ]  # fmt: skip
    assert list(portions([], 1000)) == []
    monkeypatch.setattr("engine.pipeline._PORTION_BYTES", 1000)
    assert list(on_ray.run(len, tasks, stage="scan").values()) == [10, 2000, 10, 10, 900, 200, 10]


def begin(payload):
    folder, number, _ = payload
    (folder / str(number)).touch()


def test_workers_are_never_further_ahead_of_the_driver_than_a_portion(
    runner, monkeypatch, tmp_path
):
    """However slowly it takes results: what is done and not taken is bounded, too."""
    monkeypatch.setattr("engine.pipeline._PORTION_BYTES", 2000)
    tasks = plan(*[(tmp_path, number, b"x" * 300) for number in range(20)])
    sizes = [len(portion) for portion in portions(tasks, 2000)]
    assert max(sizes) <= 6
    taken, ahead = 0, []

    def slowly(_key, _value):
        nonlocal taken
        time.sleep(0.1)
        ahead.append(len(list(tmp_path.iterdir())) - taken)
        taken += 1

    runner.run(begin, tasks, stage="scan", on_done=slowly)
    assert taken == 20
    assert 1 < max(ahead) <= max(sizes)


def test_the_plan_is_compared_with_what_came_back():
    tasks = plan(*range(15))
    require_complete("scan", tasks, {task.key for task in tasks})
    with pytest.raises(RunError, match=r"14 of 15 .*: k0, k1, .*, k8, k10 and 4 more$"):
        require_complete("scan", tasks, {"k9"})


@pytest.mark.parametrize("runner_type", [LocalRunner, partial(ProcessRunner, workers=1), RayRunner])
def test_two_tasks_of_one_key_are_refused_before_anything_runs(runner_type):
    with pytest.raises(RunError, match="scan: k: two tasks have this key"):
        runner_type().run(fail, [Task(key="k", payload="value")] * 2, stage="scan")


@pytest.mark.parametrize("runner", [RayRunner(), ProcessRunner(workers=1)])
def test_running_outside_of_the_with_block_is_refused(runner):
    with pytest.raises(RunError, match="outside of its `with` block"):
        runner.run(squares, plan(1), stage="scan")
