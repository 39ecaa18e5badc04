"""One writer at a time: the second is told who the first is, and the dead are no obstacle."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import fsspec
import orjson
import pytest

import engine
from engine import writer_lock
from engine.errors import RunError
from engine.manifest import LOCK
from engine.sample_export import write_sample_export
from engine.storage import exists, join, make_dirs, read_bytes, write_bytes
from engine.writer_lock import locked

HERE = engine.Execution(runner="local")


@pytest.fixture(params=["local", "memory"])
def out(request, tmp_path):
    place = str(tmp_path / "out") if request.param == "local" else "memory://lock/out"
    make_dirs(place)
    yield place
    if request.param == "memory":
        fsspec.filesystem("memory").rm("/lock", recursive=True)


def test_the_second_is_told_who_the_first_is(out):
    with locked(out, "sam2prep prepare"):
        with pytest.raises(RunError) as told, locked(out, "sam2prep split"):
            pytest.fail("both are in")
        assert "sam2prep prepare is writing there" in str(told.value)
        assert f"process {os.getpid()} of " in str(told.value)
        assert told.value.exit_code == 3
    assert not exists(join(out, LOCK))
    with locked(out, "sam2prep split"):
        pass


def test_it_is_given_back_after_an_error(out):
    with pytest.raises(ZeroDivisionError), locked(out, "x"):
        raise ZeroDivisionError
    with locked(out, "y"):
        pass


@pytest.mark.parametrize("broken", [(os, "truncate"), (os, "pwrite"), (Path, "unlink")])
def test_a_disk_that_fails_does_not_keep_it(tmp_path, monkeypatch, broken):
    def fails(*_args, **_keywords):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(*broken, fails)
        with suppress(OSError), locked(str(tmp_path), "x"):
            pass
    with locked(str(tmp_path), "y"):  # of this same process
        pass
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("broken", [(fcntl, "flock"), (os, "fstat")])
def test_a_lock_that_cannot_be_had_leaves_nothing_open(tmp_path, monkeypatch, broken):
    def fails(*_args, **_keywords):
        raise OSError(37, "No locks available")

    opened, closed = [], []
    with monkeypatch.context() as patched:
        for done, call in ((opened, os.open), (closed, os.close)):
            patched.setattr(os, call.__name__, recorded(call, done))
        patched.setattr(*broken, fails)
        with pytest.raises(OSError, match="No locks"), locked(str(tmp_path), "x"):
            pytest.fail("nothing is locked")
    assert [made for _, made in opened] == [args[0] for args, _ in closed]
    with locked(str(tmp_path), "y"):
        pass


def recorded(call, done):
    def called(*args, **keywords):
        result = call(*args, **keywords)
        done.append((args, result))
        return result

    return called


HOLD = """
import sys, time
from engine.writer_lock import locked
with locked(sys.argv[1], "sam2prep prepare"):
    print("in", flush=True)
    time.sleep(600)
"""


def test_a_process_that_was_killed_holds_nothing(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "in\n"
        with pytest.raises(RunError, match=f"process {holder.pid} of"), locked(str(tmp_path), "x"):
            pytest.fail("both are in")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert (tmp_path / LOCK).exists()
        with locked(str(tmp_path), "x"):
            pass
        assert not (tmp_path / LOCK).exists()
    finally:
        holder.kill()
        holder.wait()


def test_on_a_store_a_lock_that_nobody_renews_is_taken_over():
    out = "memory://lock/out"
    owner = {"command": "old", "host": "gone", "pid": 1, "user": "u", "since": 0, "token": "t"}
    try:
        write_bytes(join(out, LOCK), orjson.dumps(owner | {"renewed": time.time()}))
        with pytest.raises(RunError, match="old is writing there"), locked(out, "x"):
            pytest.fail("both are in")
        write_bytes(join(out, LOCK), orjson.dumps(owner | {"renewed": time.time() - 3600}))
        with locked(out, "x"):
            pass
    finally:
        fsspec.filesystem("memory").rm("/lock", recursive=True)


def test_on_a_store_the_owner_renews_its_lock(monkeypatch):
    monkeypatch.setattr(writer_lock, "_RENEW_SEC", 0.01)
    monkeypatch.setattr(writer_lock, "_DEAD_SEC", 0.5)
    out = "memory://lock/out"
    try:
        with locked(out, "x"):
            time.sleep(0.8)
            with pytest.raises(RunError, match="x is writing there"), locked(out, "y"):
                pytest.fail("both are in")
    finally:
        fsspec.filesystem("memory").rm("/lock", recursive=True)


def test_a_store_that_fails_for_a_moment_does_not_end_the_renewing(monkeypatch):
    monkeypatch.setattr(writer_lock, "_RENEW_SEC", 0.01)
    out, failed = "memory://lock/out", []

    def once(path, data):
        if threading.current_thread().name == "lock" and not failed:
            failed.append(path)
            raise OSError(5, "Input/output error")
        return write_bytes(path, data)

    monkeypatch.setattr(writer_lock, "write_bytes", once)
    try:
        with locked(out, "x"):
            since = orjson.loads(read_bytes(join(out, LOCK)))["renewed"]
            for _ in range(500):
                if orjson.loads(read_bytes(join(out, LOCK)))["renewed"] > since:
                    break
                time.sleep(0.01)
            else:
                pytest.fail("it was not renewed any more")
        assert failed
    finally:
        fsspec.filesystem("memory").rm("/lock", recursive=True)


def test_many_at_once_are_one_after_the_other(tmp_path):
    inside, most, entered = [], [], []

    def work(name):
        for _ in range(50):
            try:
                with locked(str(tmp_path), name):
                    inside.append(name)
                    most.append(len(inside))
                    time.sleep(0.0005)
                    inside.remove(name)
                    entered.append(name)
            except RunError:
                time.sleep(0.0002)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(entered) > 6


def test_two_runs_on_one_place(tmp_path):
    write_sample_export(tmp_path / "a.zip", frames=6, width=32, height=24, truth=False)
    sources, out = [str(tmp_path / "a.zip")], str(tmp_path / "out")
    make_dirs(out)
    with locked(out, "sam2prep prepare"):
        with pytest.raises(RunError, match="is writing there"):
            engine.prepare(sources, out, None, HERE)
        assert os.listdir(out) == [LOCK]  # noqa: PTH208  (the names alone)
    engine.prepare(sources, out, None, HERE)
    with locked(out, "sam2prep split"):
        assert engine.prepare(sources, out, None, HERE)["nothing_to_do"]
        with pytest.raises(RunError, match="is writing there"):
            engine.split(out, {"split": "random"}, HERE)
        assert engine.verify(out, HERE)["status"] == "VERIFIED"
