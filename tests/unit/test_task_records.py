"""A finished task is taken over if all it left is there and whole, and done again otherwise."""

import enum
import functools
import hashlib
import io
import os
import pickle
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import task_records
from engine.caps import Caps
from engine.errors import RunError
from engine.findings import Severity
from engine.records import Issue, RangeFile
from engine.storage import FileDigest, join, link_file, list_files, read_bytes, remove, write_bytes
from engine.task_records import TaskRecords

ROOT = Path(__file__).resolve().parents[2]


class Stage:
    """A stage function that writes two files and a link to one of them, and counts its calls."""

    def __init__(self, place):
        self.place, self.calls = place, 0

    def __call__(self, payload):
        self.calls += 1
        files = [
            write_bytes(join(self.place, name), f"{payload} {name}".encode(), durable=False)
            for name in ("one", "other")
        ]
        link_file(join(self.place, "one"), join(self.place, "linked"))
        return files


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path):
    if request.param == "local":
        yield str(tmp_path / "staging")
        return
    yield "memory://records/staging"
    remove("memory://records")


def run(stage, place, payload="x", *, resumed=True, **more):
    records = TaskRecords(folder=join(place, "done"), resumed=resumed)
    return records.of_stage(stage, "write", **more)(("train-00000", payload))


def test_what_is_whole_is_taken_over(place):
    stage = Stage(place)
    first = run(stage, place, resumed=False)
    again = run(stage, place)
    assert (first.taken_over, again.taken_over, stage.calls) == (False, True, 1)
    assert again.result == first.result
    assert all(isinstance(file, FileDigest) for file in again.result)
    assert list_files(join(place, "done")) == ["write/train-00000"]


def test_a_first_run_does_not_look(place):
    stage = Stage(place)
    run(stage, place, resumed=False)
    assert run(stage, place, resumed=False).taken_over is False
    assert stage.calls == 2


def cut(data):
    return data[:-1]


def zeroed(data):
    return bytes(len(data))


def emptied(_data):
    return b""


def altered(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def gone(_data):
    return None


@pytest.mark.parametrize("harm", [cut, zeroed, emptied, altered, gone])
@pytest.mark.parametrize("name", ["one", "other", "linked", "done/write/train-00000"])
def test_what_is_not_whole_is_done_again(place, harm, name):
    stage = Stage(place)
    first = run(stage, place, resumed=False)
    path = join(place, name)
    if name == "linked" and "://" in place:
        pytest.skip("no links on object stores")
    data = harm(read_bytes(path))
    if "://" in place:
        filesystem = fsspec.filesystem("memory")
        filesystem.rm(path)
        if data is not None:
            filesystem.pipe_file(path, data)
    else:
        Path(path).unlink()
        if data is not None:
            Path(path).write_bytes(data)
    again = run(stage, place)
    assert (again.taken_over, stage.calls) == (False, 2)
    assert again.result == first.result
    assert run(stage, place).taken_over is True


def test_another_payload_is_another_task(place):
    stage = Stage(place)
    run(stage, place, "x", resumed=False)
    assert run(stage, place, "y").taken_over is False
    assert run(stage, place, "y").taken_over is True


def test_what_was_read_may_have_changed(place):
    stage = Stage(place)
    asked = []

    def unchanged(payload, result):
        asked.append((payload, result))
        return len(asked) > 1

    first = run(stage, place, resumed=False, unchanged=unchanged)
    assert asked == []
    assert run(stage, place, unchanged=unchanged).taken_over is False
    assert run(stage, place, unchanged=unchanged).taken_over is True
    assert asked == [("x", first.result)] * 2


def test_a_task_that_fails_leaves_no_record(place):
    def fail(_):
        raise RunError("a", "b")

    with pytest.raises(RunError):
        run(fail, place)
    assert list_files(place) == []


# What results hold.

RESULTS = [
    None, "path", b"bytes", 7, -0.5, (1, "two"), [RangeFile(path="a", frames=3, sha256="b")],
    {"evidence": {"share": 0.25, "size": (64, 48)}}, {3, 4}, frozenset({"a"}), {(1, "a"): 2},
    Issue(code="mask_empty", source="a.zip", message="\udc80 <b>"), Severity.ERROR, Caps(),
    np.float64(0.1), np.int64(-3),
]  # fmt: skip


@pytest.mark.parametrize("value", RESULTS, ids=repr)
def test_results_come_back_as_they_were(tmp_path, value):
    run(lambda _: value, str(tmp_path), resumed=False)
    found = run(None, str(tmp_path)).result
    assert found == value
    assert type(found) is type(value)


def test_arrays_come_back_as_they_were(tmp_path):
    values = [
        np.arange(6, dtype=np.int64).reshape(2, 3), np.zeros((0, 4), np.uint8), np.array(2.5),
        np.array([True, False]), np.arange(6).reshape(2, 3).T, np.arange(9)[::2],
    ]  # fmt: skip
    run(lambda _: values, str(tmp_path), resumed=False)
    for found, value in zip(run(None, str(tmp_path)).result, values, strict=True):
        np.testing.assert_array_equal(found, value)
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        assert found.flags.writeable


# A record that somebody made up.


class Hostile:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def forge(place, value, *, dumps=pickle.dumps):
    """Put a record in place whose seal and payload are right."""
    content = dumps((task_records._digest_of("x"), (), value))
    write_bytes(join(place, "done/write/train-00000"), task_records._seal(content) + content)


def test_the_forger_knows_his_trade(tmp_path):
    forge(str(tmp_path), "mine")
    assert run(None, str(tmp_path)) == ("mine", True)


def calls(path):
    return [
        Hostile(os.system, f"touch {path}"),
        Hostile(eval, f"open({str(path)!r}, 'w')"),
        Hostile(Path.touch, path),
        Hostile(getattr, path, "touch"),
        Hostile(functools.partial, os.system, "true"),
        Hostile(write_bytes, str(path), b""),
        Hostile(task_records.importlib.import_module, "this"),
        Hostile(task_records._array, "|O", (1,), b"x" * 8),
        Hostile(task_records._array, "<i8", (10**9,), b""),
        Hostile(np.frombuffer, b"x", "u1"),
        Hostile(Counter, "ab"),
        Hostile(io.open, str(path), "w"),
        Hostile(RangeFile, "too", "many", "things", "here"),
        Hostile(Caps, "a"),
    ]


@pytest.mark.parametrize("number", range(14))
def test_a_made_up_record_calls_nothing_and_the_task_is_done_again(tmp_path, number):
    place, mark = str(tmp_path / "staging"), tmp_path / "mark"
    forge(place, calls(mark)[number])
    stage = Stage(place)
    assert run(stage, place).taken_over is False
    assert not mark.exists()


def test_a_way_round_by_a_dotted_name_is_closed():
    for module, name in [
        ("engine.storage", "os.system"), ("engine.storage", "os"), ("engine.storage", "Path"),
        ("engine.storage", "remove"), ("engine.storage", "BackgroundSync"), ("engine", "Config"),
        ("engine.records", "FileDigest"), ("engine.nowhere", "x"), ("engine.a.b", "x"),
    ]:  # fmt: skip
        code = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
        code += b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93."
        with pytest.raises((pickle.UnpicklingError, ImportError)):
            task_records._Unpickler(io.BytesIO(code)).load()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_that_is_not_there(data):
    content = data
    path = "memory://records-any/done/write/train-00000"
    write_bytes(path, task_records._seal(content) + content)
    assert task_records._read(path, "0" * 64) is None


# Payloads by value.


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class One:
    a: object


@dataclass(frozen=True)
class Two:
    a: object


DIFFERENT = [
    None, 0, False, 0.0, "", "0", b"", b"0", (),
    ("",), ("", ""), ("a", "b"), ("ab",), (("a",), "b"),
    ("a", ("b",)), {}, {"a": "b"}, {"b": "a"}, set(), {"a"}, One("a"), Two("a"), One("b"),
    One(One("a")), Colour.RED, Colour.BLUE, np.zeros(2, np.int8), np.zeros(2, np.int16),
    np.zeros((1, 2), np.int8), np.ones(2, np.int8), "\udc80",
]  # fmt: skip


def test_payloads_that_differ_have_different_digests():
    digests = {task_records._digest_of(value) for value in DIFFERENT}
    assert len(digests) == len(DIFFERENT)


def test_payloads_of_one_value_have_one_digest():
    for one, other in [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"a": 1}, MappingProxyType({"a": 1})),
        ([1, 2], (1, 2)), ({"x", "y"}, frozenset({"y", "x"})),
        (np.arange(6).reshape(2, 3).T, np.ascontiguousarray(np.arange(6).reshape(2, 3).T)),
        (replace(Caps()), Caps()),
    ]:  # fmt: skip
        assert task_records._digest_of(one) == task_records._digest_of(other)


def test_the_digest_does_not_go_by_the_hash_seed():
    code = "from engine.task_records import _digest_of; print(_digest_of({'a', 'b', 'c', 'd'}))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert printed == {task_records._digest_of(set("abcd")) + "\n"}


def test_what_has_no_value_is_refused():
    with pytest.raises(TypeError, match="a task holds a function"):
        task_records._digest_of([hashlib.sha256, len, lambda: 0][2:])
