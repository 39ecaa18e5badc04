"""Whatever the storage does to a run, a reader finds the old dataset or the new one, whole.

Every storage operation of a run in turn raises, or is where the process is killed; then the dataset
is read, and the same command given again. `make test` takes some points of every kind, those of the
publication first; `make test-long` takes all.
"""

import io
import random
import shutil
from functools import cache, partial
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest

import engine
from engine import exchange, outcome, publication
from engine.manifest import FILES, FOLDERS, JOURNAL, STAGING
from engine.sample_export import write_sample_export
from engine.storage import exists, join, remove
from tests.fault_trials import DiskPlace, Scenario, StorePlace, course_of, try_all
from tests.faults import FailingDisk, worth_a_point

HERE = engine.Execution(runner="local")
CONFIG = {
    "formats": ("hf", "llava"), "validation": "standard", "rows_per_shard": 2,
    "split": "random", "ratios": (0.5, 0.25, 0.25),
}  # fmt: skip
SMALL = {"width": 32, "height": 24, "truth": False}


def prepare(sources, out, **changes):
    engine.prepare(sources, out, engine.Config(**CONFIG | changes), HERE)


def prepare_first(sources, out):
    prepare(sources[:1], out)


def add(sources, out, **how):
    engine.add(out, sources, None, HERE, **how)


def split(_sources, out):
    engine.split(out, {"split": "random", "seed": 7}, HERE)


def split_without_exchange(sources, out):
    """As on a system where two names cannot change places in one step."""
    with mock.patch.object(exchange, "_library_call", lambda: None):
        split(sources, out)


# What makes OUT what it is before, and the command; both of (sources, OUT).
SCENARIOS = {
    "prepare": (None, prepare),
    "prepare after a failed run": (partial(prepare, validation="strict"), prepare),
    "split": (prepare, split),
    "split without exchange": (prepare, split_without_exchange),
    "add": (prepare_first, add),
    "add and divide anew": (prepare_first, partial(add, resplit=True)),
}
PLACES = {"disk": DiskPlace, "store": StorePlace}
CASES = [(kind, name) for name in SCENARIOS for kind in PLACES]
CASES.remove(("store", "split without exchange"))  # nothing is exchanged there
HOW = ("raise", "gone", "kill")
# The others go most of the way of one of these.
ALL_POINTS = ("prepare", "split", "add")


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory):
    """On two videos: six rows in three splits, and a frame that is set aside."""
    place = tmp_path_factory.mktemp("exports")
    more = [{"frames": 4, "mask_truncated": [2], "dialect": "coco"}, {"frames": 3, "seed": 2}]
    sources = [str(place / f"v{number}.zip") for number in range(len(more))]
    for path, own in zip(sources, more, strict=True):
        write_sample_export(path, filename=path.replace(".zip", ".mp4"), **SMALL | own)
    return {
        name: Scenario(
            name=name,
            before=before and partial(before, sources),
            command=partial(command, sources),
            steps_aside=name.endswith("without exchange"),
        )
        for name, (before, command) in SCENARIOS.items()
    }


@pytest.fixture(scope="module")
def courses(scenarios, tmp_path_factory):
    """How each goes, found once."""

    @cache
    def found(kind, name):
        place = PLACES[kind](tmp_path_factory.mktemp("course") / "p")
        return course_of(scenarios[name], place)

    return found


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_every_operation_is_counted(courses, kind, name):
    """By the interpreter, which tells of every call, and by the kernel, which counts bytes."""
    course = courses(kind, name)
    assert course.escaped == []
    assert course.uncounted_bytes in (0, None)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_nothing_is_lost(courses, tmp_path, kind, name, how):
    course = courses(kind, name)
    points = some_of(worth_a_point(course.operations, how), course.publication())
    assert try_all(course, points, how, tmp_path) == []


@pytest.mark.long
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_nothing_is_lost_at_any_point(courses, tmp_path, kind, name, how):
    course = courses(kind, name)
    points = worth_a_point(course.operations, how)
    assert len(points) > 200
    # What is gone from a point on is so from the next on too: one in four tells as much.
    step = 4 if how == "gone" else 1 if name in ALL_POINTS else 3
    tried = points[::step]
    assert try_all(course, tried, how, tmp_path) == []


def some_of(points, publication):
    """Some of a run, most of them where it publishes, and the last: the same in every test run."""
    drawn = random.Random(0)
    within = [point for point in points if point in publication]
    beside = [point for point in points[:-1] if point not in publication]
    return sorted([*drawn.sample(beside, 4), *drawn.sample(within, 6), points[-1]])


# That the trials would see it.


def test_a_publication_in_which_the_dataset_is_gone_for_a_moment_is_seen(
    scenarios, tmp_path, monkeypatch
):
    def careless(out, **_how):
        for name in (*FOLDERS, *FILES):
            if exists(join(out, STAGING, name)):
                remove(join(out, name))
                Path(out, STAGING, name).rename(Path(out, name))
        remove(join(out, STAGING))

    monkeypatch.setattr(outcome, "publish", careless)
    course = course_of(scenarios["split"], DiskPlace(tmp_path / "course"))
    assert course.escaped == []
    points = [n for n, o in enumerate(course.operations) if o.changes and o.path.startswith("hf")]
    wrong = try_all(course, points, "kill", tmp_path)
    assert any("rows are neither the old nor the new ones" in each for each in wrong)
    assert any("FileNotFoundError" in each for each in wrong)  # the reader finds half of it


def test_a_journal_that_does_not_appear_whole_is_seen(scenarios, tmp_path, monkeypatch):
    def in_place(path, data):
        with io.FileIO(path, "wb") as sink:
            sink.write(data)

    monkeypatch.setattr(publication, "write_bytes", in_place)
    course = course_of(scenarios["split"], DiskPlace(tmp_path / "course"))
    there = [n for n, o in enumerate(course.operations) if o.path == JOURNAL]
    points = [n for n in there if course.operations[n].kind != "open to read"]
    assert [course.operations[n].kind for n in points] == ["open", "write", "close", "unlink"]
    wrong = try_all(course, points, "kill", tmp_path)
    assert any("commit.json: cannot be read" in each for each in wrong)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("x"),
        lambda path: shutil.copyfile(__file__, path),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.parent.chmod(0o700),
    ],
)
def test_an_operation_that_is_not_counted_is_seen(tmp_path, write):
    with FailingDisk(tmp_path) as disk:
        write(tmp_path / "file")
    assert disk.escaped != []
    with FailingDisk(tmp_path / "elsewhere") as disk:
        (tmp_path / "other").write_text("x")
    assert disk.escaped == []


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts the bytes")
def test_bytes_that_a_library_writes_itself_are_seen(tmp_path):
    def command(out):
        Path(out).mkdir()
        with pa.OSFile(f"{out}/manifest.json", "wb") as sink:
            sink.write(bytes(1000))

    scenario = Scenario(name="beside", before=None, command=command)
    with mock.patch.object(DiskPlace, "rows", lambda self: None):
        assert course_of(scenario, DiskPlace(tmp_path / "course")).uncounted_bytes == 1000
