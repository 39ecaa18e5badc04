"""Entries that change places: seen from inside, and by a reader that never finds a gap."""

import threading

import pytest

from engine.exchange import exchange


@pytest.fixture
def pair(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
    one, other = tmp_path / "one", tmp_path / "other"
    if not exchange(one, other):
        pytest.skip("this file system cannot exchange entries")
    return one, other


def test_folders_change_places(pair):
    one, other = pair
    assert (one / "who").read_text() == "other"
    assert (other / "who").read_text() == "one"
    exchange(one, other)
    assert (one / "who").read_text() == "one"


def test_what_is_not_there_cannot(pair):
    one, other = pair
    with pytest.raises(FileNotFoundError):
        exchange(one, other.with_name("none"))
    assert (one / "who").read_text() == "other"


def test_a_reader_never_finds_a_gap(pair):
    one, other = pair
    stop, missed = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                (one / "who").read_text()
            except OSError as error:
                missed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(3000):
        exchange(one, other)
    stop.set()
    reader.join()
    assert missed == []
