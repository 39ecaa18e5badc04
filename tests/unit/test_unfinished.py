"""What a run leaves when it dies: by which errors, for whom, and what another run is told."""

import copy

import orjson
import pytest

from engine import unfinished
from engine.config import Config
from engine.errors import (
    ConfigError,
    CrashError,
    ExportError,
    NodeError,
    OutputError,
    ResumeError,
    RunError,
    Sam2PrepError,
    UsageError,
)
from engine.manifest import JOURNAL, RUN
from engine.members import MemberError
from engine.publication import writing
from engine.storage import exists, join, list_files, write_bytes
from engine.unfinished import RunInProgress, broken, forget_tasks, run_record, settle_inputs
from engine.writer_lock import locked

RECORD = {
    "command": "prepare", "sources": ["/a.zip", "/b.zip"],
    "config": {"seed": 42, "caps": {"max_ratio": 3}, "ratios": [0.8, 0.2], "label": None},
    "frames_per_range": 500, "versions": {"pyarrow": "1"},
}  # fmt: skip


@pytest.fixture
def out(tmp_path):
    return str(tmp_path / "out")


def done(out):
    """A task of the run is done."""
    write_bytes(join(out, ".staging/done/scan/scan-00000"), b"a record")


def attempt(out, error=None, *, record=RECORD, resume=None, tasks=True, inputs=True):
    """Begin or go on, do some, and fail; say whether something was taken up."""
    error = copy.copy(error)
    with writing(out, "sam2prep prepare") as staging, RunInProgress(out, record, resume) as records:
        if tasks:
            done(out)
        if inputs:
            settle_inputs(staging, {"/a.zip": "0123"})
        if error is not None:
            raise error
    return records.resumed


PASSING = [
    RunError("scan", "a worker died", advice="try fewer workers"), OSError(28, "No space left"),
    KeyboardInterrupt(), SystemExit(1), MemoryError(), ZeroDivisionError(),
    ExportError("a.zip", "cannot be read"), MemberError("a.zip: 1.png", "ends early"),
    CrashError("scan: scan-00000 (a.zip)", "a worker died each time", advice="try fewer workers"),
    NodeError("/a.zip", "is not the same on node b", advice="name a URL"),
]  # fmt: skip
THE_USERS = [UsageError("a", "b"), ConfigError("a", "b"), OutputError("a", "b")]


def text_of(error):
    return " ".join([str(error), *getattr(error, "__notes__", ())])


@pytest.mark.parametrize("error", PASSING, ids=lambda e: type(e).__name__)
def test_what_may_pass_leaves_what_is_done_and_says_so(out, error):
    expected = RunError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught:
        attempt(out, error)
    text = text_of(caught.value)
    if isinstance(error, Sam2PrepError):  # what a user sees of it, and the exit code
        assert (type(caught.value), caught.value.exit_code) == (type(error), error.exit_code)
        assert str(caught.value).startswith(f"{error}; what is done is kept in")
    assert f"what is done is kept in {out}/.staging: the same command continues, sam2" in text
    assert f"sam2prep clean {out} removes it" in text
    assert exists(join(out, RUN))
    assert attempt(out) is True


def test_an_own_advice_stays(out):
    with pytest.raises(RunError, match="a worker died; try fewer workers; what is done is kept"):
        attempt(out, PASSING[0])


@pytest.mark.parametrize("error", THE_USERS, ids=lambda e: type(e).__name__)
def test_what_the_user_has_to_change_leaves_nothing(out, error):
    with pytest.raises(type(error)) as caught:
        attempt(out, error)
    assert "kept" not in text_of(caught.value)
    assert not exists(out)


@pytest.mark.parametrize("error", PASSING, ids=lambda e: type(e).__name__)
def test_where_nothing_was_done_nothing_is_left(out, error):
    with pytest.raises(BaseException) as caught:
        attempt(out, error, tasks=False)
    assert "kept" not in text_of(caught.value)
    assert not exists(out)


def test_an_export_that_was_never_read_leaves_nothing(out):
    with pytest.raises(ExportError):
        attempt(out, ExportError("a.zip", "is no ZIP"), inputs=False)
    assert not exists(out)


def test_what_is_decided_is_not_touched(out):
    with pytest.raises(RunError) as caught, RunInProgress(out, RECORD):
        done(out)
        write_bytes(join(out, JOURNAL), b"{}")
        raise RunError("out", "was not put in its place")
    assert "kept" not in str(caught.value)
    assert exists(join(out, JOURNAL))


def test_tasks_that_are_not_to_be_trusted_are_not_kept(out):
    with pytest.raises(RunError) as caught, writing(out, "x") as staging:  # noqa: SIM117
        with RunInProgress(out, RECORD):
            done(out)
            forget_tasks(staging)
            raise RunError("accounting", "frames were lost")
    assert "kept" not in str(caught.value)
    assert not exists(out)


def test_a_first_attempt_finds_an_empty_place(out):
    write_bytes(join(out, ".staging/rows/old.parquet"), b"of a version that kept no record")
    write_bytes(join(out, "summary.json"), b"{}")
    with writing(out, "sam2prep prepare") as staging:
        assert list_files(staging) == []
        with RunInProgress(out, RECORD) as records:
            assert records.resumed is False
            assert list_files(staging) == ["run.json"]


def test_a_run_record_that_is_not_whole_is_none(out):
    with pytest.raises(RunError):
        attempt(out, PASSING[0])
    place = join(out, RUN)
    for content in (b"", bytes(100), b"{}", orjson.dumps(RECORD)):
        write_bytes(place, content)
        with writing(out, "x") as staging, RunInProgress(out, RECORD) as records:
            assert records.resumed is False
            assert list_files(staging) == ["run.json"]
            done(out)


@pytest.mark.parametrize(
    ("change", "key", "got", "expected"),
    [
        ({"command": "split"}, "command", "split", "prepare"),
        ({"sources": ["/a.zip"]}, r"sources\[1\]", "nothing", "/b.zip"),
        ({"sources": ["/b.zip", "/a.zip"]}, r"sources\[0\]", "/b.zip", "/a.zip"),
        ({"sources": ["/a.zip", "/b.zip", "/c.zip"]}, r"sources\[2\]", "/c.zip", "nothing"),
        ({"config": {"seed": 7}}, r"config\.seed", "7", "42"),
        ({"config": {"caps": {"max_ratio": 4}}}, r"config\.caps\.max_ratio", "4", "3"),
        ({"config": {"ratios": [0.8, 0.1, 0.1]}}, r"config\.ratios\[1\]", "0.1", "0.2"),
        ({"config": {"label": "cat"}}, r"config\.label", "cat", "nothing"),
        ({"config": {"more": 1}}, r"config\.more", "1", "nothing"),
        ({"frames_per_range": 100}, "frames_per_range", "100", "500"),
        ({"held": "abc"}, "held", "abc", "nothing"),
        ({"versions": {"pyarrow": "2"}}, r"versions\.pyarrow", "2", "1"),
    ],
)
def test_another_run_is_refused_by_the_key_that_differs(out, change, key, got, expected):
    with pytest.raises(RunError):
        attempt(out, PASSING[0])
    other = RECORD | change
    other["config"] = RECORD["config"] | change.get("config", {})
    before = list_files(out)
    message = rf"with another {key}: got {got}, expected {expected}; .*sam2prep clean .*--no-resume"
    for resume in (None, True):
        with pytest.raises(ResumeError, match=message) as caught:
            attempt(out, record=other, resume=resume)
        assert caught.value.exit_code == 2
        assert list_files(out) == before
    assert attempt(out, record=other, resume=False) is False


def test_the_first_key_is_the_one_that_is_named(out):
    with pytest.raises(RunError):
        attempt(out, PASSING[0])
    other = RECORD | {"sources": [], "config": {"seed": 7}}
    with pytest.raises(ResumeError, match=r"sources\[0\]"):
        attempt(out, record=other)


def test_every_key_of_the_configuration_is_in_the_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = run_record("prepare", ["a.zip", "s3://b/c.zip"], Config().to_json(), held="abc")
    assert record["config"] == Config().to_json()
    assert record["sources"] == [str(tmp_path / "a.zip"), "s3://b/c.zip"]
    assert record["held"] == "abc"
    assert {"sam2prep", "python", "pyarrow", "pillow", "numpy"} <= set(record["versions"])


def test_inputs_are_settled_once(tmp_path):
    staging = str(tmp_path / "out/.staging")
    settle_inputs(staging, {"/a.zip": "00", "/b.zip": "11"})
    settle_inputs(staging, {"/b.zip": "11", "/a.zip": "00"})
    with pytest.raises(ResumeError, match=rf"/b\.zip: was changed.*sam2prep clean {tmp_path}/out,"):
        settle_inputs(staging, {"/a.zip": "00", "/b.zip": "12"})
    with pytest.raises(ResumeError, match=r"/b\.zip: .*got content nothing"):
        settle_inputs(staging, {"/a.zip": "00"})
    settle_inputs(staging, {"/a.zip": "00", "/b.zip": "11"})


def test_a_changed_input_is_refused_and_what_is_done_stays(out):
    with pytest.raises(RunError):
        attempt(out, PASSING[0])
    with writing(out, "x") as staging, pytest.raises(ResumeError), RunInProgress(out, RECORD):
        settle_inputs(staging, {"/a.zip": "4567"})
    assert attempt(out) is True


def test_a_run_beside_a_writer_does_not_touch_what_is_there(out):
    with pytest.raises(RunError):
        attempt(out, PASSING[0])
    before = list_files(out)
    with locked(out, "sam2prep prepare"), pytest.raises(RunError, match="is writing there"):
        attempt(out)
    assert list_files(out) == before


def test_what_stands_in_the_way_of_another_command_stays(out):
    """A command that finds nothing to do leaves what is unfinished for its own command."""
    with pytest.raises(RunError):
        attempt(out, PASSING[0])
    with writing(out, "sam2prep split"):
        pass
    assert attempt(out) is True
    assert unfinished.__all__ == sorted(unfinished.__all__)


@pytest.mark.parametrize(
    ("filename", "says"),
    [("/x/out", "/x/out: the run broke: no"), ("/x/out/hf", "/x/out: /x/out/hf: the run broke: no"),
     (None, "/x/out: the run broke: no")],
)  # fmt: skip
def test_a_place_is_named_once(filename, says):
    assert str(broken("/x/out", OSError(2, "no", filename))) == says
