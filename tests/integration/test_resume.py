"""A run that dies anywhere is continued by its own command, to the bytes of one that did not."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner

import engine
from engine import publication
from engine.choices import FORMATS
from engine.errors import ResumeError, RunError
from engine.manifest import OutState, state_of
from engine.sample_export import write_sample_export
from engine.storage import AtomicFile, list_files, remove
from engine.task_records import RecordedTask
from jobs.cli import main
from tests.digests import tree
from tests.small_exports import SMALL, write_videos

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
HERE = {"runner": "local", "frames_per_range": 5}
ALL = {"formats": FORMATS, "images": "path", "validation": "standard", "rows_per_shard": 6}


class Died(BaseException):
    """What no handler of the program catches, like a kill."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Three videos; of one, an image is bad, which is seen when it is written."""
    place = tmp_path_factory.mktemp("exports")
    several = [
        {"hidden": {0: [0, 1]}, "seed": 1},
        {"seed": 3, "image_format": "jpg", "image_truncated": [2], "dialect": "coco"},
        {"seed": 4, "paint": False, "labels": ("cat", "object_1")},
    ]
    return write_videos(place, several)


def prepare(sources, out, *, resume=None, **config):
    execution = engine.Execution(resume=resume, **HERE)
    return engine.prepare(sources, str(out), engine.Config(**ALL | config), execution)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One place for all runs, since images that are named by path are named by their full path."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def whole(sources, place):
    """The bytes of an uninterrupted run, and the tasks of it in their order."""
    out, done = place / "out", []
    with pytest.MonkeyPatch.context() as patch:
        watch(patch, done.append)
        assert prepare(sources, out)["resumed"] is None
    assert not (out / ".staging").exists()
    assert engine.verify(str(out), engine.Execution(runner="local"))["unknown_files"] == []
    files = tree(out)
    remove(str(out))
    assert len(done) == len(set(done)) > 20
    assert {stage for stage, _ in done} == {
        "open", "scan", "track", "write", "quarantine", "report"
    }  # fmt: skip
    return files, done


@pytest.fixture
def out(place):
    yield place / "out"
    remove(str(place / "out"))


def watch(patch, before):
    """Call `before` with stage and key of every task whose function is really called."""
    original = RecordedTask.__call__

    def call(self, task):
        def function(payload):
            before((self.folder.rsplit("/", 1)[-1], task[0]))
            return self.function(payload)

        return original(replace(self, function=function), task)

    patch.setattr(RecordedTask, "__call__", call)


def die_before(patch, number):
    """Die before the n-th task, from 0; give the list of those that were done."""
    done = []

    def before(task):
        if len(done) == number:
            raise Died
        done.append(task)

    watch(patch, before)
    return done


def die(sources, out, number, **config):
    with pytest.MonkeyPatch.context() as patch:
        done = die_before(patch, number)
        with pytest.raises(Died) as caught:
            prepare(sources, out, **config)
    if done:
        assert re.search(r"kept in .*the same command continues", caught.value.__notes__[0])
    return done


def go_on(sources, out, **config):
    """Give the summary, and the tasks that were done now."""
    done = []
    with pytest.MonkeyPatch.context() as patch:
        watch(patch, done.append)
        summary = prepare(sources, out, **config)
    return summary, done


CHILD = """
import os, signal, sys
from pathlib import Path

sys.path.insert(0, {tests!r})
import test_resume
from engine.storage import AtomicFile

log, tasks, files, out, *sources = sys.argv[1:]
done = written = 0

def before(task):
    global done
    if done == int(tasks):
        os.kill(os.getpid(), signal.SIGKILL)
    done += 1
    with open(log, "a") as file:
        print(*task, file=file)

publish = AtomicFile._publish

def publish_or_die(self):
    global written
    if written == int(files):
        os.kill(os.getpid(), signal.SIGKILL)
    written += 1
    publish(self)

AtomicFile._publish = publish_or_die
test_resume.watch(test_resume.pytest.MonkeyPatch(), before)
test_resume.prepare(sources, out)
"""


def killed(tmp_path, sources, out, *, tasks=-1, files=-1):
    """Prepare in a process that kills itself; say whether it did, and which tasks it began."""
    log = tmp_path / "log"
    log.write_text("")
    script = tmp_path / "child.py"
    script.write_text(CHILD.format(tests=str(Path(__file__).parent)))
    command = [sys.executable, script, log, str(tasks), str(files), out, *sources]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=ENVIRONMENT
    )
    assert run.returncode in (0, -signal.SIGKILL), run.stderr
    return run.returncode != 0, [tuple(line.split()) for line in log.read_text().splitlines()]


def test_killed_again_and_again_no_task_is_done_twice(sources, whole, out, tmp_path):
    files, tasks = whole
    begun = []
    while True:
        died, now = killed(tmp_path, sources, out, tasks=8)
        begun += now
        if not died:
            break
        assert len(now) == 8
        assert state_of(str(out)) is OutState.UNFINISHED
    assert Counter(begun) == Counter(tasks)
    assert tree(out) == files
    resumed = json.loads((out / "summary.json").read_text())["resumed"]
    assert resumed == {"taken_over": len(tasks) - len(now), "tasks": len(tasks)}


@pytest.mark.parametrize(
    "share", [0.02, 0.6, 0.97, *(pytest.param(n, marks=pytest.mark.long) for n in (0.3, 0.8))]
)
def test_killed_in_the_middle_of_a_file(sources, whole, out, tmp_path, share):
    """Half a file lies there then, beside its name; and at the end it is nowhere."""
    written = []
    with pytest.MonkeyPatch.context() as patch:
        publish = AtomicFile._publish
        patch.setattr(AtomicFile, "_publish", lambda self: (written.append(1), publish(self)))
        prepare(sources, out)
    remove(str(out))
    died, _ = killed(tmp_path, sources, out, files=int(share * len(written)))
    assert died
    assert any(".tmp-" in name for name in list_files(str(out)))
    prepare(sources, out)
    assert tree(out) == whole[0]


def test_what_was_written_is_kept_not_written_again(sources, whole, out):
    number = next(n for n, (stage, _) in enumerate(whole[1]) if stage == "write")
    die(sources, out, number + 3)
    kept = {
        path.relative_to(out / ".staging"): path.stat().st_ino
        for path in (out / ".staging").rglob("*")
        if path.parts[-2] in ("train", "index") and path.is_file()
    }
    assert len(kept) > 3
    _, done = go_on(sources, out)
    assert done == whole[1][number + 3 :]
    assert {name: (out / name).stat().st_ino for name in kept} == kept
    assert tree(out) == whole[0]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("engine.dataset_build", "finish"),
        ("engine.outcome", "write_exports"),
        ("engine.outcome", "make_manifest"),
        ("engine.publication", "write_bytes"),
    ],
)
def test_died_on_the_driver(sources, whole, out, module, name):
    def fail(*_args, **_keywords):
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{module}.{name}", fail)
        with pytest.raises(Died):
            prepare(sources, out)
    assert state_of(str(out)) is OutState.UNFINISHED
    summary, done = go_on(sources, out)
    assert {stage for stage, _ in done} <= {"quarantine", "report"}
    assert summary["resumed"]["taken_over"] == len(whole[1]) - len(done)
    assert tree(out) == whole[0]


def test_died_when_it_was_decided(sources, whole, out):
    """Then there is nothing left to do but to put it in its place."""

    def fail(*_args):
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.publication._exchange", fail)
        with pytest.raises(Died) as caught:
            prepare(sources, out)
    assert not hasattr(caught.value, "__notes__")
    assert state_of(str(out)) is OutState.PENDING
    assert prepare(sources, out)["nothing_to_do"]
    assert tree(out) == whole[0]
    assert not (out / ".staging").exists()


def test_died_when_all_was_in_its_place(sources, whole, out):
    """What then lies there is of a run that has ended: it stands in nobody's way."""
    original = publication.remove

    def fail(path):
        if path.endswith(".staging"):
            raise Died
        original(path)

    die(sources, out, len(whole[1]) - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publication, "remove", fail)
        with pytest.raises(Died):
            prepare(sources, out)
    assert (out / ".staging/done").exists()
    files = {name: sha for name, sha in tree(out).items() if not name.startswith(".staging/")}
    assert files == whole[0]
    execution = engine.Execution(runner="local")
    assert engine.split(str(out), {"seed": 7}, execution)["resumed"] is None
    assert not (out / ".staging").exists()


# What lies there is checked.


HARMED = [
    ("ranges/00001/*", "open"),
    ("rows/scan-00000-000001.parquet", "scan"),
    ("issues/scan-00000-000001.parquet", "scan"),
    ("issues/track-000001.parquet", "track"),
    ("hf/train/data-00001.arrow", "write"),
    ("parquet/train-00001.parquet", "write"),
    ("index/train-00001.parquet", "write"),
    ("digests/llava-train-00001.parquet", "write"),
    ("images/*/*", "write"),
    ("revos/JPEGImages/*/*", "write"),
    ("parts/texts-train-00001.json", "write"),
    ("parts/*swift*-train-00001", "write"),
    ("done/write/train-00001", "write"),
]


@pytest.mark.parametrize(
    ("case", "harm"),
    [(case, "zeroed") for case in HARMED]
    + [(HARMED[4], "cut"), (HARMED[8], "gone"), (HARMED[1], "gone")],
    ids=str,
)
def test_what_is_not_whole_is_done_again(sources, whole, out, case, harm):
    pattern, stage = case
    number = next(n for n, (s, _) in enumerate(whole[1]) if s in ("quarantine", "report"))
    die(sources, out, number)
    staging = out / ".staging"
    found = sorted(staging.glob(pattern))
    assert found, sorted(name for name in list_files(str(staging)) if "images" not in name)
    data = found[0].read_bytes()
    found[0].unlink()  # of linked names, this one alone
    if harm != "gone":
        found[0].write_bytes(bytes(len(data)) if harm == "zeroed" else data[: len(data) // 2])
    _, done = go_on(sources, out)
    again = [task for task in done if task in whole[1][:number]]
    assert [task[0] for task in again] == [stage]
    assert tree(out) == whole[0]


def test_a_file_that_an_attempt_left_and_nobody_needs_is_not_published(sources, whole, out):
    die(sources, out, len(whole[1]) - 1)
    staging = out / ".staging"
    for name in ("hf/train/data-00099.arrow", "report/old.html", "folds/fold-0.json", "coco/x"):
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_bytes(b"stale")
    (staging / "split.json").write_bytes(b"stale")
    prepare(sources, out)
    assert tree(out) == whole[0]


# What is another run.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 7}, r"another config\.seed: got 7, expected 42"),
        ({"split": "random"}, r"another config\.split: got random, expected stratified"),
        ({"formats": ("hf",)}, r"another config\.formats\[1\]: got nothing, expected llava"),
        ({"label_map": {"cat": "dog"}}, r"config\.label_map\.cat: got dog, expected nothing"),
    ],
)
def test_another_configuration_is_refused_and_begins_anew_when_told(
    sources, whole, out, change, message
):
    die(sources, out, 9)
    before = tree(out)
    with pytest.raises(ResumeError, match=message + ".*sam2prep clean .*--no-resume"):
        prepare(sources, out, **change)
    assert tree(out) == before
    _, done = go_on(sources, out)
    assert done == whole[1][9:]


def test_other_sources_are_refused(sources, out):
    die(sources, out, 9)
    with pytest.raises(ResumeError, match=r"sources\[2\]: got nothing, expected .*v2\.zip"):
        prepare(sources[:2], out)
    with pytest.raises(ResumeError, match=r"sources\[0\]: got .*v1\.zip, expected .*v0\.zip"):
        prepare([sources[1], sources[0], sources[2]], out)


def test_no_resume_begins_anew(sources, whole, out):
    die(sources, out, 9)
    summary, done = go_on(sources, out, resume=False)
    assert (summary["resumed"], done) == (None, whole[1])
    assert tree(out) == whole[0]


def test_to_resume_where_nothing_is_unfinished_is_to_begin(sources, out):
    assert prepare(sources, out, resume=True)["resumed"] is None


def test_other_versions_are_refused(sources, out, monkeypatch):
    die(sources, out, 9)
    versions = {"pyarrow": "0.1"}
    monkeypatch.setattr("engine.unfinished.versions", lambda: versions)
    with pytest.raises(ResumeError, match=r"another versions\.pyarrow: got 0\.1, expected"):
        prepare(sources, out)


@pytest.fixture
def own(tmp_path):
    """Two exports of the test's own, which it may change."""
    paths = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for seed, path in enumerate(paths):
        write_sample_export(path, filename=f"{seed}.mp4", seed=seed, **SMALL)
    return [str(path) for path in paths]


def test_an_export_that_was_changed_since_is_refused_until_it_is_put_back(own, tmp_path):
    out = tmp_path / "out"
    done = die(own, out, 12)
    assert done[-1][0] in ("track", "write")
    held = Path(own[1]).read_bytes()
    write_sample_export(Path(own[1]), filename="1.mp4", seed=9, **SMALL)
    with pytest.raises(ResumeError, match=r"b\.zip: was changed since the unfinished run"):
        prepare(own, out)
    Path(own[1]).write_bytes(held)
    _, again = go_on(own, out)
    assert [task for task in again if task in done] == [("open", "open-00001")]
    fresh = prepare(own, tmp_path / "fresh", images="embed"), tmp_path / "fresh"
    assert fresh[0]["total_samples"] == 24


FOLDERS = {*FORMATS, "images", "digests", "quarantine", "index"}


@pytest.mark.parametrize("repaired_before", ["write", "quarantine"])
def test_an_image_that_was_repaired_since_is_read_again(tmp_path, repaired_before):
    """It was damaged on its way, and came again: a ZIP with the same list of names and CRCs."""
    export, out = tmp_path / "a.zip", tmp_path / "out"
    # Of a frame with a bad mask the image is read when it is set aside, of the other when written.
    same = {"seed": 1, "dialect": "coco", "mask_truncated": [8], "compression": "store", **SMALL}
    write_sample_export(export, image_crc_flip=[3, 8], **same)
    done = []
    with pytest.MonkeyPatch.context() as patch:

        def before(task):
            if task[0] == "report" or (task[0] == "quarantine" == repaired_before):
                raise Died
            done.append(task[0])

        watch(patch, before)
        with pytest.raises(Died):
            prepare([str(export)], out)
    assert "write" in done
    write_sample_export(export, **same)
    summary = prepare([str(export)], out)
    assert summary["resumed"]["taken_over"] > 0
    files = tree(out)
    remove(str(out))
    prepare([str(export)], out)
    # Of the damaged images no look was taken when the export was opened, which reports show.
    rows = {name: digest for name, digest in tree(out).items() if name.split("/")[0] in FOLDERS}
    assert len(rows) > 20
    assert {name: files.get(name) for name in rows} == rows


def test_an_export_may_change_while_nothing_depends_on_it(own, tmp_path):
    out = tmp_path / "out"
    assert die(own, out, 1) == [("open", "open-00000")]
    write_sample_export(Path(own[0]), filename="0.mp4", seed=9, **SMALL)
    assert prepare(own, out, formats=FORMATS)["resumed"]["taken_over"] == 0
    assert prepare(own, tmp_path / "fresh")["class_counts"]


def test_clean_frames_that_were_changed_are_refused(own, tmp_path):
    frames = tmp_path / "frames"
    write_sample_export(tmp_path / "c", paint=False, as_folder=True, **SMALL)
    (tmp_path / "c").rename(frames)
    out = tmp_path / "out"
    config = {"frames": str(frames)}
    done = die(own[:1], out, 8, **config)
    assert ("scan", "scan-00000-000002") in done
    image = sorted(frames.rglob("*.png"))[0]
    held = image.read_bytes()
    image.write_bytes(sorted(frames.rglob("*.png"))[1].read_bytes())
    with pytest.raises(ResumeError, match="was changed since"):
        prepare(own[:1], out, **config)
    image.write_bytes(held)
    summary, again = go_on(own[:1], out, **config)
    assert [task[0] for task in again if task in done] == ["open"]
    assert summary["resumed"]["taken_over"] == 7


def test_an_unreadable_export_leaves_nothing_to_continue(own, tmp_path):
    Path(own[1]).write_bytes(b"PK\3\4")
    with pytest.raises(engine.ExportError):
        prepare(own, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Storage that fails.


@pytest.mark.parametrize("number", [0, 3, 5, 60, 150])
def test_a_full_disk(sources, whole, out, monkeypatch, number):
    files = []
    write = AtomicFile.write

    def full(self, data):
        if self not in files:
            files.append(self)
        if len(files) > number:
            raise OSError(errno.ENOSPC, "No space left on device", self.path)
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(AtomicFile, "write", full)
        with pytest.raises(RunError, match="No space left on device") as caught:
            prepare(sources, out)
    kept = "the same command continues" in str(caught.value)
    assert kept == (number > 3)
    assert (out / ".staging/run.json").exists() == kept
    assert out.exists() == kept
    assert (prepare(sources, out)["resumed"] is not None) == kept
    assert tree(out) == whole[0]


def test_a_network_that_is_lost(sources, whole, out, monkeypatch):
    from engine import members

    read, calls = members.read_range, []

    def lost(*where):
        calls.append(where)
        if len(calls) > 60:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        return read(*where)

    with monkeypatch.context() as patch:
        patch.setattr(members, "read_range", lost)
        with pytest.raises(RunError, match=r"Connection reset.*the same command continues"):
            prepare(sources, out)
    assert prepare(sources, out)["resumed"]["taken_over"] > 0
    assert tree(out) == whole[0]


def test_on_another_file_system(sources, tmp_path):
    try:
        url = "memory://resume/out"
        config = {"images": "embed"}
        done = die(sources, url, 25, **config)
        _, again = go_on(sources, url, **config)
        assert not set(done) & set(again)
        prepare(sources, "memory://resume/fresh", **config)
        assert tree(url) == tree("memory://resume/fresh")
    finally:
        fsspec.filesystem("memory").rm("/resume", recursive=True)


# A split that died.


def test_a_split_that_died_leaves_the_dataset_whole_and_goes_on(sources, tmp_path):
    out, fresh = str(tmp_path / "out"), str(tmp_path / "fresh")
    config = {"images": "embed"}
    prepare(sources, out, **config)
    shutil.copytree(out, fresh)
    before = tree(out, without=())
    with pytest.MonkeyPatch.context() as patch:
        done = die_before(patch, 4)
        with pytest.raises(Died):
            engine.split(out, {"seed": 7}, engine.Execution(runner="local"))
    left = {n: sha for n, sha in tree(out, without=()).items() if not n.startswith(".staging/")}
    assert left == before
    engine.require_trainable(out)
    assert engine.verify(out, engine.Execution(runner="local"))["unknown_files"] == []
    assert prepare(sources, out, **config)["nothing_to_do"]
    again = []
    with pytest.MonkeyPatch.context() as patch:
        watch(patch, again.append)
        engine.split(out, {"seed": 7}, engine.Execution(runner="local"))
    assert not set(done) & set(again)
    engine.split(fresh, {"seed": 7}, engine.Execution(runner="local"))
    assert tree(out) == tree(fresh)


# At the command line.


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_the_command_line_says_what_was_resumed(sources, tmp_path):
    out = tmp_path / "out"
    options = ["--runner", "local", "--rows-per-shard", "6"]
    with pytest.MonkeyPatch.context() as patch:
        die_before(patch, 4)
        with pytest.raises(Died):
            run("prepare", sources[0], "--out", out, *options)
    refused = run("prepare", sources[0], "--out", out, *options, "--seed", 7)
    assert refused.exit_code == 2
    assert re.fullmatch(
        r"sam2prep: error: \S+out: holds an unfinished run with another config\.seed: got 7, "
        r"expected 42; continue it with its own command, or throw it away: sam2prep clean \S+out, "
        r"or --no-resume\n", refused.stderr,
    )  # fmt: skip
    validated = run("validate", sources[0], "--report", out)
    assert (validated.exit_code, (out / ".staging").exists()) == (2, True)
    done = run("prepare", sources[0], "--out", out, *options, "--resume")
    assert done.exit_code == 0
    assert re.search(r"^Resumed +4 of \d+ tasks were done$", done.stdout, re.M)


SLOW = """
import sys, time
from pathlib import Path
from engine import shard_writer, shards
from jobs.prepare import main

def slow(task):
    if task.number:
        Path(sys.argv.pop()).touch() if sys.argv[-1].endswith("mark") else None
        time.sleep(60)
    return shards.write_shard(task)

shard_writer.write_shard = slow
mark = sys.argv[1]
arguments, sys.argv = sys.argv[2:], [sys.argv[0], mark]
main(arguments)
"""


@pytest.mark.parametrize(
    "case",
    [
        (signal.SIGTERM, 3, "error: run: ended by SIGTERM; nothing was published; "),
        (signal.SIGINT, 130, "stopped; nothing was published; "),
    ],
)
@pytest.mark.parametrize("runner", ["local", pytest.param("ray", marks=pytest.mark.long)])
def test_a_run_that_is_told_to_stop_can_be_continued(sources, tmp_path, case, runner):
    sent, code, said = case
    out, mark, script = tmp_path / "out", tmp_path / "mark", tmp_path / "slow.py"
    script.write_text(SLOW if runner == "local" else ON_RAY)
    options = ["--out", str(out), "--runner", runner, "--rows-per-shard", "3"]
    child = subprocess.Popen(
        [sys.executable, script, mark, sources[0], *options], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT,
    )  # fmt: skip
    wait_for(mark.exists, child)
    child.send_signal(sent)
    stdout, stderr = child.communicate(timeout=60)
    assert (child.returncode, stdout) == (code, "")
    assert re.fullmatch(
        rf"sam2prep: {said}what is done is kept in \S+: the same command continues, "
        r"sam2prep clean \S+ removes it\n", stderr,
    ), stderr  # fmt: skip
    done = run("prepare", sources[0], *options[:2], "--runner", "local", *options[4:])
    assert re.search(r"^Resumed +\d+ of \d+ tasks were done$", done.stdout, re.M), done.output


def parent(process):
    """Give the process that started one."""
    shown = subprocess.run(
        ["ps", "-o", "ppid=", "-p", str(process)], capture_output=True, text=True, check=True
    )
    return int(shown.stdout)


def wait_for(condition, child, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


# With real Ray: the driver waits in the middle of the write stage, and says who is there.

ON_RAY = """
import functools, json, os, signal, sys, time
from pathlib import Path
from engine import shard_writer, shards
from jobs.prepare import main

def slow(task, mark):
    if (task.split, task.number) == ("train", 1):
        if not Path(mark).exists():
            who = {"worker": os.getpid(), "raylet": os.getppid()}
            Path(mark + ".tmp").write_text(json.dumps(who))
            Path(mark + ".tmp").rename(mark)
            time.sleep(60)
    return shards.write_shard(task)

mark = sys.argv[1]
shard_writer.write_shard = functools.partial(slow, mark=mark)
main(sys.argv[2:])
"""


@pytest.mark.long
@pytest.mark.parametrize("victim", ["driver", "worker", "raylet"])
def test_killed_on_ray(sources, tmp_path, victim):
    out, mark, script = tmp_path / "out", tmp_path / "mark", tmp_path / "driver.py"
    script.write_text(ON_RAY)
    options = ["--rows-per-shard", "3", "--frames-per-range", "5", "--format", "hf", "--format"]
    options += ["llava", "--validation", "standard"]
    command = [sources[0], sources[1], "--out", str(out), *options]
    on_ray = ["--runner", "ray", "--workers", "2"]
    child = subprocess.Popen(
        [sys.executable, script, mark, *command, *on_ray], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT,
    )  # fmt: skip
    wait_for(mark.exists, child)
    time.sleep(1)  # for tasks beside it to end
    who = json.loads(mark.read_text()) | {"driver": child.pid}
    assert parent(who["worker"]) == who["raylet"]
    assert parent(who["raylet"]) == child.pid, "a Ray of this test's own"
    os.kill(who[victim], signal.SIGKILL)
    _, stderr = child.communicate(timeout=120)
    if victim == "worker":  # Ray tries the task again
        assert child.returncode == 0, stderr
    else:
        assert child.returncode != 0
        assert (out / ".staging/done/write").exists()
        again = run("prepare", *command, *on_ray)
        assert again.exit_code == 0, again.output
        resumed = json.loads((out / "summary.json").read_text())["resumed"]
        assert 10 < resumed["taken_over"] < resumed["tasks"]
    fresh = tmp_path / "fresh"
    assert run("prepare", *command[:2], "--out", fresh, *options).exit_code == 0
    assert tree(out) == tree(fresh)
    assert not (out / ".staging").exists()
