"""A process beside this one: it ends with its parent, and asks nothing of the program it serves."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fsspec.config import conf

from engine.child_process import ChildProcess, Died
from engine.process_runner import usable_cores

ROOT = Path(__file__).resolve().parents[2]
SITE = os.environ | {"PYTHONPATH": str(ROOT)}

# The caller is killed while its child is at work.
PARENT = """
import os, signal, sys, time
from engine.child_process import ChildProcess

child = ChildProcess()
child.begin(os.getpid, None, stage="start", key="pid")  # no argument is taken: an error, at once
child.outcome()
print(child._process.pid, flush=True)
child.begin(time.sleep, 600, stage="scan", key="k")
os.kill(os.getpid(), signal.SIGKILL)
"""


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_at_work_ends_with_its_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, env=SITE, timeout=60
    )
    assert run.returncode == -9, run.stderr
    deadline = time.monotonic() + 30
    while is_alive(int(run.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


# No `if __name__ == "__main__"`, and what it prints would be printed again by each child that
# imported it.
SCRIPT = """
import sys
import engine
from engine.sample_export import write_sample_export

print("begun", flush=True)
write_sample_export("a.zip", frames=12, width=64, height=48, truth=False)
execution = engine.Execution(runner="processes", workers=2)
summary = engine.prepare(["a.zip"], "out", engine.Config(), execution)
print(summary["runner"], summary["status"])
"""


def test_a_script_without_a_guard_is_not_run_again(tmp_path):
    script = tmp_path / "plain.py"
    script.write_text(SCRIPT)
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, env=SITE,
        cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["begun", "processes PASSED_WITH_WARNINGS"]


def talk(_):
    sys.stdout.write("to be seen by people, not by programs")


def test_what_a_child_prints_is_no_output_of_the_program(capfd):
    child = ChildProcess()
    child.begin(talk, None, stage="scan", key="k")
    assert not isinstance(child.outcome(), Died)
    child.close()
    assert capfd.readouterr().out == ""


def endpoint(_):
    from fsspec.config import conf

    return conf["s3"]["endpoint_url"]


def test_a_child_opens_stores_as_its_parent_does(monkeypatch):
    monkeypatch.setitem(conf, "s3", {"endpoint_url": "http://127.0.0.1:1"})
    child = ChildProcess()
    child.begin(endpoint, None, stage="scan", key="k")
    _, pickled = child.outcome()
    child.close()
    assert pickle.loads(pickled) == "http://127.0.0.1:1"


def test_a_child_that_died_idle_says_so_with_the_next_call():
    child = ChildProcess()
    child._process.kill()
    child._process.wait()
    child.begin(abs, -1, stage="scan", key="k")
    assert child.outcome() == Died(-9)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", None), ("100000 100000", 1), ("150000 100000", 1), ("5000 100000", 1),
        ("99900000 100000", None), ("", None),
    ],
)  # fmt: skip
def test_a_container_has_the_cores_it_was_given(tmp_path, quota, cores):
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable_cores(file) == (cores or own)
    assert usable_cores(tmp_path / "none") == own


def tables_without_pandas(folder):
    import pyarrow as pa

    from engine.tables import read_table, write_table

    path = f"{folder}/some.parquet"
    write_table(path, pa.table({"text": ["a", None], "list": [[1], []]}))
    read = read_table(path).take(pa.array([1, 0])).to_pylist()
    seen = "pandas" in sys.modules
    import pandas as pd

    return read, seen, list(pd.Series([1, 2]))


def test_a_child_makes_tables_without_importing_pandas(tmp_path):
    child = ChildProcess()
    try:
        child.begin(tables_without_pandas, str(tmp_path), stage="a test", key="a call")
        read, seen, own = child.result()
    finally:
        child.kill()
    assert read == [{"text": None, "list": []}, {"text": "a", "list": [1]}]
    assert not seen
    assert own == [1, 2]
