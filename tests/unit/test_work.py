"""Where tasks run, by the size of the inputs and the user's word, and what a person sees of it."""

import os
from dataclasses import replace
from typing import ClassVar
from unittest import mock

import pytest

from engine import work
from engine.config import Execution
from engine.errors import CrashError, RunError
from engine.task_records import TaskRecords
from engine.tasks import LocalRunner, Task
from engine.work import Work, start_work


class FakeRay:
    """Stands for Ray: becomes ready after so many questions, and runs tasks in this process."""

    made: ClassVar[list] = []

    def __init__(self, *, workers=None, address=None, places=(), questions=0):
        self.workers, self.address, self.questions = workers, address, questions
        self.ran, self.left, self.joins, self.crashes = [], False, False, set()
        FakeRay.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.left = True

    @property
    def ready(self):
        self.questions -= 1
        return self.questions < 0

    def run(self, function, tasks, *, stage, on_done=None, on_crash=None):
        self.ran += [task.key for task in tasks]
        crashed = [task for task in tasks if self._crashes(task.payload)]
        # Workers finish in an order of their own.
        sound = [task for task in tasks[::-1] if task not in crashed]
        results = LocalRunner().run(function, sound, stage=stage, on_done=on_done)
        for task in crashed:
            on_crash(task)
        return results

    def _crashes(self, payload):
        while isinstance(payload, tuple):  # whose it is, and what it is
            payload = payload[1]
        return payload in self.crashes


@pytest.fixture(autouse=True)
def ray(monkeypatch):
    FakeRay.made = []
    monkeypatch.setattr(work, "RayRunner", FakeRay)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return FakeRay.made


def plan(*payloads):
    return [Task(key=f"k{n}", payload=payload) for n, payload in enumerate(payloads)]


def double(value):
    return value * 2


def test_results_are_in_the_order_of_the_tasks(ray):
    for runner in (LocalRunner(), FakeRay()):
        assert Work(runner).run(double, plan(3, 1, 2), stage="scan") == [6, 2, 4]
    assert Work(LocalRunner()).run(double, [], stage="scan") == []


@pytest.mark.parametrize("runner", [LocalRunner, FakeRay])
def test_progress_counts_from_nothing_to_all(runner):
    seen = []
    Work(runner(), lambda *what: seen.append(what)).run(double, plan(1, 2, 3), stage="scan")
    assert seen == [("scan", n, 3) for n in range(4)]


@pytest.mark.parametrize(("questions", "here"), [(0, 0), (2, 2), (9, 4)])
def test_work_begins_here_while_ray_is_starting(questions, here):
    runner, seen = FakeRay(questions=questions), []
    results = Work(runner, lambda *what: seen.append(what)).run(
        double, plan(1, 2, 3, 4), stage="open", while_starting=True
    )
    assert results == [2, 4, 6, 8]
    assert runner.ran == [f"k{n}" for n in range(here, 4)]
    assert [done for _, done, _ in seen] == [0, 1, 2, 3, 4]


def test_without_leave_nothing_begins_here():
    runner = FakeRay(questions=9)
    Work(runner).run(double, plan(1, 2), stage="scan")
    assert runner.ran == ["k0", "k1"]


def test_nothing_begins_here_beside_a_cluster_or_where_a_crash_is_to_be_survived():
    runner = FakeRay(questions=9)
    runner.joins = True
    Work(runner).run(double, plan(1, 2), stage="open", while_starting=True)
    assert runner.ran == ["k0", "k1"]
    runner = FakeRay(questions=9)
    Work(runner).run(double, plan(1), stage="open", while_starting=True, rescue=lambda _: None)
    assert runner.ran == ["k0"]


def less(value):
    return value - 1 if value > 10 else None


@pytest.mark.parametrize("recorded", [False, True])
def test_what_crashes_is_run_again_with_less_until_it_does_not(tmp_path, recorded):
    runner, done = FakeRay(), []
    runner.crashes = {12, 11}
    records = TaskRecords(folder=str(tmp_path), resumed=False) if recorded else None
    results = Work(runner, records=records).run(
        double, plan(3, 12, 5), stage="scan", rescue=less, each=done.append
    )
    assert results == [6, 20, 10]
    assert sorted(done) == [6, 10, 20]
    assert runner.ran == ["k0", "k1", "k2", "k1", "k1"]


def test_what_crashes_with_the_least_of_it_ends_the_run_by_name():
    runner = FakeRay()
    runner.crashes = {10}
    tasks = [replace(plan(10)[0], about="a.zip")]
    with pytest.raises(CrashError, match=r"scan: k0 \(a\.zip\): a worker died each time"):
        Work(runner).run(double, tasks, stage="scan", rescue=less)


def test_an_error_comes_through_and_the_time_is_kept():
    def fail(_):
        raise ValueError("seven")

    run = Work(LocalRunner())
    with pytest.raises(RunError, match="seven"):
        run.run(fail, plan(1), stage="scan")
    assert run.seconds["scan"] >= 0
    assert run.elapsed() >= run.seconds["scan"]


def test_times_of_a_stage_add_up():
    run = Work(LocalRunner())
    for _ in range(2):
        with run.timed("index"):
            pass
    assert list(run.seconds) == ["index"]
    assert run.runner_name == "local"
    assert Work(FakeRay()).runner_name == "ray"


@pytest.mark.parametrize(
    ("execution", "n_bytes", "address", "runner"),
    [
        ({}, 100, None, "local"),
        ({"workers": 2}, 127 * 2**20, None, "local"),
        ({"workers": 2}, 600 * 2**20, None, "processes"),
        ({"workers": 1}, 600 * 2**20, None, "local"),
        ({}, 33 * 2**30, None, "ray"),
        ({"workers": 1}, 33 * 2**30, None, "ray"),
        ({"runner": "processes", "workers": 2}, 100, None, "processes"),
        ({"runner": "processes", "workers": 1}, 100, "auto", "processes"),
        ({"runner": "local"}, 600 * 2**20, None, "local"),
        ({"runner": "ray"}, 100, None, "ray"),
        ({"address": "auto"}, 100, None, "ray"),
        ({}, 100, "auto", "ray"),
        ({"runner": "local"}, 100, "auto", "local"),
    ],
)
def test_the_choice_is_made_by_size_and_word(tmp_path, execution, n_bytes, address, runner):
    sources = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for path in sources:
        with path.open("wb") as file:
            file.truncate(n_bytes // 2)  # sparse: no such bytes are on the disk
    paths = [str(path) for path in sources]
    environment = {} if address is None else {"RAY_ADDRESS": address}
    with mock.patch.dict(os.environ, environment), start_work(Execution(**execution), paths) as run:
        assert run.runner_name == runner
        assert run.run(double, plan(4), stage="scan") == [8]
    assert len(FakeRay.made) == (runner == "ray")
    assert all(each.left for each in FakeRay.made)


def test_ray_is_left_when_the_run_breaks(ray):
    with pytest.raises(KeyError), start_work(Execution(runner="ray", workers=3), []):
        raise KeyError("seven")
    assert ray[0].left
    assert ray[0].workers == 3


def test_a_folders_size_is_that_of_its_files(tmp_path, ray):
    inner = tmp_path / "export/images"
    inner.mkdir(parents=True)
    for name in ("1.png", "2.png"):
        with (inner / name).open("wb") as file:
            os.truncate(file.fileno(), 300 * 2**20)
    with start_work(Execution(workers=2), [str(tmp_path / "export")]) as run:
        assert run.runner_name == "processes"
