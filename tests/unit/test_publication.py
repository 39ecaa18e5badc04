"""A publication that dies at every step it takes, and is completed by who comes next."""

import contextlib
import errno
import json
import shutil
from pathlib import Path

import fsspec
import pytest

from engine import publication
from engine.errors import OutputError, RunError
from engine.manifest import JOURNAL, STAGING, OutState, state_of
from engine.publication import complete, is_pending, publish
from engine.storage import AtomicFile, join, list_files, read_bytes, write_bytes

OLD = {
    "hf/train/data.arrow": "old", "hf/state.json": "old", "quarantine/data.arrow": "old",
    "report/validation.json": "old", "split.json": "old", "manifest.json": json.dumps(
        {"folders": ["hf", "quarantine", "report"], "files": [{"path": "split.json"}]}
    ),
}  # fmt: skip
NEW = {
    "hf/train/data.arrow": "new", "hf/test/data.arrow": "new", "hf/state.json": "new",
    "index/train.parquet": "new", "report/validation.json": "new", "summary.json": "new",
    "manifest.json": "new",
}  # fmt: skip


def put(root, files):
    for name, text in files.items():
        write_bytes(join(str(root), name), text.encode())


def content(root):
    files = list_files(str(root))
    return {name: read_bytes(join(str(root), name)).decode() for name in files}


def stage(out):
    put(out, OLD)
    put(out, {f"{STAGING}/{name}": text for name, text in NEW.items()})
    put(out, {f"{STAGING}/rows/scan.parquet": "work in progress"})


@pytest.fixture(params=["local", "memory"])
def out(request, tmp_path):
    if request.param == "local":
        yield str(tmp_path / "out")
        return
    yield "memory://publication/out"
    fsspec.filesystem("memory").rm("/publication", recursive=True)


def test_what_is_staged_takes_the_place_of_what_was_there(out):
    stage(out)
    publish(out)
    assert content(out) == NEW
    assert not is_pending(out)
    assert complete(out) is False


def test_a_first_publication(out):
    put(out, {f"{STAGING}/{name}": text for name, text in NEW.items()})
    publish(out)
    assert content(out) == NEW


def test_what_a_killed_worker_left_is_not_published(out):
    stage(out)
    with AtomicFile(join(out, STAGING, "hf/train/data.arrow")) as sink:
        name = sink._temporary.name
    put(out, {f"{STAGING}/hf/train/{name}": "half"} if name.startswith(".") else {})
    put(out, {f"{STAGING}/hf/train/data.arrow": "new"})
    publish(out)
    assert content(out) == NEW


def test_only_what_is_named_is_published(out):
    stage(out)
    publish(out, ("report", "summary.json"))
    assert content(out) == {name: text for name, text in NEW.items() if name[0] in "rs"}


def test_what_is_not_of_the_dataset_is_not_replaced(out):
    stage(out)
    put(out, {"index/mine.txt": "mine"})
    before = content(out)
    with pytest.raises(OutputError, match=r"index: is not of this dataset.*move it away"):
        publish(out)
    assert content(out) == before


def test_what_somebody_else_put_beside_it_stays(out):
    stage(out)
    put(out, {"images/mine.png": "mine", "folds/mine.txt": "mine", "thesis.txt": "mine"})
    publish(out)
    own = {"images/mine.png": "mine", "folds/mine.txt": "mine", "thesis.txt": "mine"}
    assert content(out) == NEW | own


class Died(BaseException):
    """What no handler of the program catches, like a kill."""


def steps_of(monkeypatch, die_at):
    """Count what changes the file system, and die before step `die_at`."""
    done = []

    def counted(original):
        def step(*args, **keywords):
            if len(done) == die_at:
                raise Died
            done.append(original.__name__)
            return original(*args, **keywords)

        return step

    monkeypatch.setattr(publication, "exchange", counted(publication.exchange))
    monkeypatch.setattr(publication, "remove", counted(publication.remove))
    monkeypatch.setattr(publication, "write_bytes", counted(publication.write_bytes))
    for name in ("rename", "replace", "unlink"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    memory = type(fsspec.filesystem("memory"))
    for name in ("mv", "rm"):
        monkeypatch.setattr(memory, name, counted(getattr(memory, name)))
    return done


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_death_at_any_step_loses_nothing(out, monkeypatch, can_exchange):
    decided = died = 0
    for die_at in range(100):
        stage(out)
        with monkeypatch.context() as patched:
            if not can_exchange:
                patched.setattr(publication, "exchange", cannot)
            done = steps_of(patched, die_at)
            try:
                publish(out)
                break
            except Died:
                died += 1
        if is_pending(out):
            decided += 1
            assert state_of(out) is OutState.PENDING
            assert complete(out) is True
            assert content(out) == NEW
        else:
            found = {n: t for n, t in content(out).items() if not n.startswith(STAGING)}
            assert found in (OLD, NEW)
        wipe(out)
    assert content(out) == NEW
    assert len(done) == died >= 8
    assert decided >= 6


def cannot(_one, _other):
    return False


def wipe(out):
    if "://" in out:
        fsspec.filesystem("memory").rm("/publication", recursive=True)
    else:
        shutil.rmtree(out)


def test_a_second_death_on_the_way_is_completed_too(tmp_path, monkeypatch):
    out = str(tmp_path / "out")
    for first in range(2, 8):
        for second in range(6):
            stage(out)
            for step, die_at in ((publish, first), (complete, second)):
                with monkeypatch.context() as patched, contextlib.suppress(Died):
                    steps_of(patched, die_at)
                    step(out)
            complete(out)
            found = {n: t for n, t in content(out).items() if not n.startswith(STAGING)}
            assert found == NEW
            shutil.rmtree(out)


def test_a_folder_is_never_half_old(tmp_path, monkeypatch):
    """Whatever step dies, a reader of one folder finds old files or new ones, never both."""
    out = tmp_path / "out"
    for die_at in range(30):
        stage(out)
        with monkeypatch.context() as patched:
            steps_of(patched, die_at)
            try:
                publish(str(out))
                break
            except Died:
                pass
        assert len({path.read_text() for path in (out / "hf").rglob("*") if path.is_file()}) == 1
        shutil.rmtree(out)
    else:
        pytest.fail("it never came to its end")


def test_what_cannot_be_completed_says_what_to_do(tmp_path, monkeypatch):
    out = str(tmp_path / "out")
    stage(out)

    def refused(_self, _target):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refused)
        patched.setattr(publication, "write_bytes", lambda path, data: Path(path).write_bytes(data))
        with pytest.raises(RunError, match="Permission denied; nothing is lost"):
            publish(out)
    assert (tmp_path / "out" / JOURNAL).exists()
    assert complete(out) is True
    assert content(out) == NEW


def test_a_disk_that_is_gone_from_the_start_is_an_error_that_names_the_place(tmp_path, monkeypatch):
    def gone(path, *_more, **_how):
        raise OSError(errno.EIO, "Input/output error", path)

    for name in ("make_dirs", "remove"):  # a folder that was not made cannot be removed again
        monkeypatch.setattr(publication, name, gone)
    with (
        pytest.raises(RunError, match=r"new/out: .*Input/output error"),
        publication.writing(str(tmp_path / "new/out"), "sam2prep prepare"),
    ):
        pass
