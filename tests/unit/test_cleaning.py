"""`clean` removes what dead runs left, finishes what was decided, and touches nothing else."""

import json
import subprocess
import sys

import fsspec
import pytest
from click.testing import CliRunner

from engine import publication
from engine.cleaning import clean
from engine.errors import OutputError, RunError
from engine.manifest import OutState, encode, sealed, state_of
from engine.publication import publish
from engine.storage import join, list_files, read_bytes, remove, write_bytes
from engine.writer_lock import locked
from jobs.cli import main

MANIFEST = json.dumps({"folders": ["hf", "report"], "files": [{"path": "split.json"}]})
DATASET = {"hf/train/data-00000.arrow": "data", "split.json": "s", "manifest.json": MANIFEST}
HALF = "hf/train/.data-00001.arrow.tmp-0123456789ab"
LEFT = {
    ".staging/run.json": encode(sealed({"command": "split"})).decode(),
    ".staging/done/write/train-00000": "record", ".staging/hf/x.arrow": "12345",
}  # fmt: skip


@pytest.fixture(params=["local", "memory"])
def out(request, tmp_path):
    if request.param == "local":
        yield str(tmp_path / "out")
        return
    yield "memory://cleaning/out"
    remove("memory://cleaning")


def put(root, *several):
    for files in several:
        for name, text in files.items():
            write_bytes(join(root, name), text.encode())


def content(root):
    return {name: read_bytes(join(root, name)).decode() for name in list_files(root)}


def names(done):
    return [entry["path"] for entry in done["removed"]]


def test_leftovers_beside_a_dataset_go_and_it_stays(out):
    put(out, DATASET, LEFT, {HALF: "half", ".split.json.tmp-0123456789ab": "1"})
    assert state_of(out) is OutState.FINISHED
    done = clean(out)
    assert names(done) == [".staging", ".split.json.tmp-0123456789ab", HALF]
    sizes = [sum(map(len, LEFT.values())), 1, 4]
    assert [entry["bytes"] for entry in done["removed"]] == sizes
    assert (done["bytes"], done["completed"], done["kept"]) == (sum(sizes), False, [])
    assert content(out) == DATASET
    assert clean(out)["removed"] == []


def test_an_unfinished_run_goes(out):
    put(out, LEFT)
    assert names(clean(out)) == [".staging"]
    assert list_files(out) == []
    assert state_of(out) is OutState.EMPTY


def test_what_was_decided_is_completed_not_removed(out, monkeypatch):
    new = {"hf/train/data-00000.arrow": "new", "manifest.json": MANIFEST}
    put(out, DATASET, {f".staging/{name}": text for name, text in new.items()})

    def fail(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(publication, "_exchange", fail)
        patch.setattr(publication, "_copy", fail)
        with pytest.raises(RunError):
            publish(out)
    assert state_of(out) is OutState.PENDING
    done = clean(out)
    assert (done["completed"], done["removed"]) == (True, [])
    assert content(out) == new


def test_nothing_of_somebody_else_is_touched(out):
    theirs = {
        "thesis.txt": "mine", ".staging/mine.txt": "mine", "hf/.a.tmp-0123456789ab": "mine",
        ".b.tmp-0123456789ab": "mine", "rejected/photo.png": "mine",
    }  # fmt: skip
    put(out, theirs)
    assert state_of(out) is OutState.FOREIGN
    assert clean(out, rejected=True)["removed"] == []
    assert content(out) == theirs


def test_a_run_of_ours_in_somebody_s_folder_goes_alone(out):
    put(out, LEFT, {"thesis.txt": "mine"})
    assert names(clean(out)) == [".staging"]
    assert content(out) == {"thesis.txt": "mine"}


def test_beside_a_dataset_only_its_own_folders_are_looked_through(out):
    theirs = {"images/.x.png.tmp-0123456789ab": "mine", "notes/.y.tmp-0123456789ab": "mine"}
    put(out, DATASET, theirs)
    assert clean(out)["removed"] == []
    assert content(out) == DATASET | theirs


def test_reports_of_refused_additions_stay_unless_told(out):
    reports = {"rejected/run-1/report/validation.json": "{}", "rejected/run-1/report/x": "12"}
    put(out, DATASET, LEFT, reports, {"rejected/notes.txt": "mine"})
    assert clean(out)["kept"] == ["rejected/run-1"]
    assert content(out) == DATASET | reports | {"rejected/notes.txt": "mine"}
    done = clean(out, rejected=True)
    assert done["removed"] == [{"path": "rejected/run-1", "bytes": 4}]
    assert content(out) == DATASET | {"rejected/notes.txt": "mine"}


def test_never_beneath_a_writer(out):
    put(out, DATASET, LEFT)
    before = content(out)
    with locked(out, "sam2prep split"):
        with pytest.raises(RunError, match=r"sam2prep split is writing there.*process"):
            clean(out)
        now = content(out)
        del now[".lock"]
    assert now == before


def test_a_lock_of_a_process_that_was_killed_goes(tmp_path):
    out = str(tmp_path / "out")
    put(out, DATASET)
    code = (
        "import os, sys; from engine.writer_lock import locked\n"
        "with locked(sys.argv[1], 'sam2prep split'): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, out], check=False)
    assert ".lock" in list_files(out)
    done = clean(out)
    assert names(done) == [".lock"]
    assert done["bytes"] > 50
    assert content(out) == DATASET


def test_a_folder_that_may_not_be_written_is_no_trouble_where_there_is_nothing(out, monkeypatch):
    put(out, DATASET)

    def refused(*_):
        raise PermissionError

    monkeypatch.setattr("engine.cleaning.locked", refused)
    assert clean(out)["removed"] == []


def test_what_is_not_there(out):
    with pytest.raises(OutputError, match="is not there"):
        clean(out)
    assert not fsspec.filesystem("memory").exists("/cleaning/out")


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_at_the_command_line(tmp_path):
    out = str(tmp_path / "out")
    missing = run("clean", out)
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "is not there" in missing.stderr
    put(out, DATASET, LEFT)
    with locked(out, "sam2prep split"):
        held = run("clean", out)
    assert held.exit_code == 3
    assert "sam2prep split is writing there" in held.stderr
    done = run("clean", out)
    assert (done.exit_code, done.stdout) == (0, "Removed     .staging (0.0 MB)\n")
    again = run("clean", out)
    assert (again.exit_code, again.stdout) == (0, f"{out} holds no leftovers\n")
    document = json.loads(run("clean", out, "--json").stdout)
    assert document == {"out": out, "completed": False, "removed": [], "bytes": 0, "kept": []}
