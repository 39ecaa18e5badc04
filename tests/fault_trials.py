"""One command, one storage operation that fails, and what must hold then: `try_all`.

A trial restores OUT as it was before the command, runs the command with one operation failing,
looks at what is there, and gives the same command again. All run in processes forked from this one,
with everything imported; a run that is to die has a further one of its own.
"""

import faulthandler
import gc
import hashlib
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import datasets

from engine import writer_lock
from engine.errors import Sam2PrepError
from engine.manifest import JOURNAL, LOCK, STAGING
from tests.faults import FailingDisk, Operation
from tests.object_store import CountedStore

__all__ = ["Course", "DiskPlace", "Scenario", "StorePlace", "course_of", "try_all"]

Content = dict[str, bytes | None]
"""Of a place: bytes by name of file, None by name of folder."""

_FORK = multiprocessing.get_context("fork")
_TRIAL_SEC = 120  # takes a second: what is not done by then hangs
_AT_ONCE = max(2, os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is run.

    Args:
        name: for people.
        before: makes OUT what it is before the command; None: it is not there.
        command: the command; the same again has nothing to do.
        steps_aside: whether the dataset may be missing for a moment while it is replaced, as where
            two names cannot change places.
    """

    name: str
    before: Callable[[str], object] | None
    command: Callable[[str], object]
    steps_aside: bool = False


class DiskPlace:
    """OUT on the local disk.

    Args:
        folder: of this place alone; removed by `clear`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "out"
        self.out = str(self.path)

    def content(self) -> Content:
        """Everything there, hidden files too."""
        found: Content = {}
        for path in self.path.rglob("*"):
            found[path.relative_to(self.path).as_posix()] = (
                None if path.is_dir() else path.read_bytes()
            )
        return found

    def restore(self, content: Content | None) -> None:
        """Make the content what is given; None: OUT is not there."""
        self.clear()
        self.folder.mkdir(parents=True)
        for name, data in sorted((content or {}).items()):
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if data is None:
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(data)

    def clear(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def failing(self, fail_at: int | None = None, how: str = "raise") -> Iterator[FailingDisk]:
        """Have one operation fail."""
        with FailingDisk(self.path, fail_at=fail_at, how=how) as disk:
            yield disk

    def revive(self) -> None:
        """See what a process that died has left: on a disk, this process does anyway."""

    def rows(self) -> dict[str, str] | None:
        """A digest of the rows of each split, as the reader gives them; None: no dataset."""
        folder = self.path / "hf"
        if not folder.exists():
            return None
        splits = datasets.load_from_disk(str(folder))
        rows = {name: rows.with_format("arrow")[:].to_pylist() for name, rows in splits.items()}
        return {name: hashlib.sha256(repr(r).encode()).hexdigest() for name, r in rows.items()}

    def check(self, course: "Course") -> None:
        """What a reader may find now: all old, or all new."""
        now, rows = self.content(), self.rows()
        if rows is None and course.scenario.steps_aside:
            assert JOURNAL in now, "the dataset is gone"
        elif rows != course.old_rows:
            assert rows == course.new_rows, "rows are neither the old nor the new ones"
        if course.old_rows is None and rows is None:
            assert "manifest.json" not in now, "a manifest without a dataset"
        if JOURNAL not in now:
            nearest = course.new if now.get("manifest.json") == course.new_manifest else course.old
            _require_same(_settled(now), _settled(nearest), "after the failure")


class StorePlace:
    """OUT on an object store, where only a journal that is done makes everything new.

    Args:
        folder: for temporary files, and for what a dying process has to hand on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = "counted://bucket/out"
        self._handed_on = folder / "objects"
        self._temporary = folder / "tmp"

    def content(self) -> Content:
        """Every object."""
        return {
            name.removeprefix("bucket/out/"): data for name, data in CountedStore.objects.items()
        }

    def restore(self, content: Content | None) -> None:
        """Make the content what is given."""
        self.clear()
        self._temporary.mkdir(parents=True)
        for name, data in (content or {}).items():
            CountedStore.objects[f"bucket/out/{name}"] = bytes(data or b"")

    def clear(self) -> None:
        """Leave nothing."""
        CountedStore.objects.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def failing(self, fail_at: int | None = None, how: str = "raise") -> Iterator[FailingDisk]:
        """Have one request fail, or one operation on the temporary files of uploads."""

        def hand_on() -> None:
            with os.fdopen(os.open(self._handed_on, os.O_WRONLY | os.O_CREAT), "wb") as sink:
                pickle.dump(CountedStore.objects, sink)

        disk = FailingDisk(self._temporary, fail_at=fail_at, how=how, last_words=hand_on)

        def request(kind: str, path: str) -> None:
            path = path.removeprefix("bucket/out/")
            if disk.step(kind, path, changes=kind in ("put", "copy", "delete")):
                disk.fail(kind, path)

        with (
            mock.patch.object(CountedStore, "request", request),
            mock.patch.object(tempfile, "tempdir", str(self._temporary)),
            disk,
        ):
            yield disk

    def revive(self) -> None:
        """See what a process that died has left."""
        CountedStore.objects.clear()
        CountedStore.objects |= pickle.loads(self._handed_on.read_bytes())

    def rows(self) -> None:
        """Read through the content: a store gives no guarantee of its own that rows would show."""
        return

    def check(self, course: "Course") -> None:
        """Before the journal all is old; the manifest is new when everything is."""
        now = self.content()
        if JOURNAL not in now:
            nearest = course.new if now.get("manifest.json") == course.new_manifest else course.old
            _require_same(_settled(now), _settled(nearest), "after the failure")
        elif now.get("manifest.json") == course.new_manifest:
            there = {name: data for name, data in now.items() if name in course.new}
            _require_same(_settled(there), _settled(course.new), "with the new manifest")
        else:
            before = (course.old or {}).get("manifest.json")
            assert now.get("manifest.json") == before, "a manifest of neither"


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a command goes where nothing fails.

    Args:
        scenario: what is run.
        kind: where OUT is.
        old: the content before; None: OUT is not there.
        new: the content afterwards.
        old_rows: the splits before; None: no dataset.
        new_rows: the splits afterwards.
        operations: of the run, in their order.
        escaped: operations that were not counted.
        uncounted_bytes: written by the process and not through a counted call; None where the
            system does not say.
    """

    scenario: Scenario
    kind: type[DiskPlace] | type[StorePlace]
    old: Content | None
    new: Content
    old_rows: dict[str, str] | None
    new_rows: dict[str, str] | None
    operations: list[Operation]
    escaped: list[str]
    uncounted_bytes: int | None

    @property
    def new_manifest(self) -> bytes | None:
        """The manifest that a finished command leaves."""
        return self.new["manifest.json"]

    def publication(self) -> range:
        """The operations that decide: from the journal's beginning to its removal."""
        there = [n for n, o in enumerate(self.operations) if "commit.json" in o.path]
        return range(there[0], there[-1] + 1)


def course_of(scenario: Scenario, place: DiskPlace | StorePlace) -> Course:
    """Run a command twice where nothing fails: everything is imported then, and counted."""
    place.restore(None)
    if scenario.before is not None:
        scenario.before(place.out)
    old, old_rows = None if scenario.before is None else place.content(), place.rows()
    scenario.command(place.out)
    first = place.content()
    place.restore(old)
    with place.failing() as disk:
        before = _written()
        scenario.command(place.out)
        after = _written()
    new = place.content()
    _require_same(new, first, "of two runs alike")
    return Course(
        scenario=scenario, kind=type(place), old=old, new=new, old_rows=old_rows,
        new_rows=place.rows(), operations=disk.operations, escaped=disk.escaped,
        uncounted_bytes=None if after is None else after - (before or 0) - disk.bytes_written,
    )  # fmt: skip


def _written() -> int | None:
    """Bytes that the threads of this process have written, by any way, as the kernel counts them.

    Those that have ended do not count, nor those that call themselves something else than their
    process: a Ray instance of other tests, even one that has ended, keeps a log by such threads.
    """
    process = Path("/proc/self")
    if not (process / "io").exists():
        return None
    written, name = 0, (process / "comm").read_text()
    for thread in (process / "task").iterdir():
        with suppress(FileNotFoundError):
            if (thread / "comm").read_text() == name:
                written += _bytes_written(thread)
    return written


def _bytes_written(task: Path) -> int:
    lines = (task / "io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def _difference(found: Content, expected: Content) -> list[str]:
    """Name what is otherwise; the one file with times in it has only to be there."""
    wrong = [f"{name} is left" for name in found if name not in expected]
    wrong += [f"{name} is missing" for name in expected if name not in found]
    for name in found.keys() & expected.keys() - {"summary.json"}:
        if found[name] != expected[name]:
            wrong.append(f"{name} is another")
    return sorted(wrong)


def _require_same(found: Content, expected: Content, when: str) -> None:
    wrong = _difference(found, expected)
    assert wrong == [], f"{when}: {', '.join(wrong[:3])}, {len(wrong)} in all"


def _settled(content: Content | None) -> Content:
    """Without what a run that is not complete may have left beside the dataset."""
    passing = (STAGING, LOCK)
    return {n: data for n, data in (content or {}).items() if n.split("/", 1)[0] not in passing}


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """What the processes of a pool are forked with, instead of being sent it."""

    course: Course
    how: str
    folder: Path

    def at(self, fail_at: int) -> None:
        """Fail, look, and go again."""
        faulthandler.dump_traceback_later(_TRIAL_SEC, exit=True, file=sys.__stderr__)
        course = self.course
        place = course.kind(self.folder / f"{self.how}-{fail_at}")
        place.restore(course.old)
        if self.how == "kill":
            died = _FORK.Process(target=self._run, args=(place, fail_at))
            died.start()
            died.join(_TRIAL_SEC / 2)
            assert died.exitcode == -signal.SIGKILL, f"ended with {died.exitcode}, was not killed"
            place.revive()
        else:
            self._run(place, fail_at)
        place.check(course)
        with mock.patch.object(writer_lock, "_DEAD_SEC", -1.0):  # a quarter of an hour later
            course.scenario.command(place.out)
        _require_same(place.content(), course.new, "after the command was given again")
        place.clear()
        faulthandler.cancel_dump_traceback_later()

    def _run(self, place: DiskPlace | StorePlace, fail_at: int) -> None:
        with place.failing(fail_at, self.how) as disk:
            try:
                self.course.scenario.command(place.out)
            except Sam2PrepError as error:
                assert error.exit_code == 3, f"the user is blamed: {error}"
                assert "\n" not in str(error)
        met, meant = disk.operations[fail_at], self.course.operations[fail_at]
        assert (met.kind, met.path) == (meant.kind, meant.path), "the run took another course"


def try_all(course: Course, points: Sequence[int], how: str, folder: Path) -> list[str]:
    """Let each of some operations fail, one in each trial.

    Args:
        course: how the run goes where nothing fails.
        points: numbers of operations.
        how: they fail.
        folder: for everything.

    Returns:
        What did not hold, with the operation that had failed; empty if all is well.
    """
    gc.freeze()  # what is shared with the forked ones stays shared
    trial = _Trial(course=course, how=how, folder=folder)
    with (
        mock.patch.object(sys.modules[__name__], "_forked_with", trial),
        ProcessPoolExecutor(_AT_ONCE, mp_context=_FORK) as pool,
    ):
        tried = [(course.operations[point], pool.submit(_try, point)) for point in points]
        errors = [(operation, future.exception()) for operation, future in tried]
    return [f"{o.kind} {o.path}: {type(e).__name__}: {e}" for o, e in errors if e is not None]


_forked_with: _Trial | None = None


def _try(point: int) -> None:
    assert _forked_with is not None
    _forked_with.at(point)
