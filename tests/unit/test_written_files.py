"""What is written is noted, by whoever writes it, and only while somebody asks."""

import hashlib

import pytest

from engine.storage import AtomicFile, link_file, write_bytes
from engine.written_files import note_written, noting_files


def test_every_way_of_writing_is_noted_with_size_and_digest(tmp_path):
    one, other, linked = (str(tmp_path / name) for name in "abc")
    write_bytes(one, b"before")
    with noting_files() as files:
        write_bytes(one, b"once")
        write_bytes(one, b"one", durable=False)
        with AtomicFile(other) as sink:
            sink.write(b"ot")
            sink.write(b"her")
            assert other not in files, "it is not in its place yet"
        assert link_file(one, linked)
        with pytest.raises(KeyError), AtomicFile(str(tmp_path / "d")) as sink:
            raise KeyError
    write_bytes(str(tmp_path / "after"), b"after")
    assert files == {
        one: (3, hashlib.sha256(b"one").hexdigest()),
        other: (5, hashlib.sha256(b"other").hexdigest()),
        linked: (3, None),
    }


def test_blocks_do_not_see_each_other():
    with noting_files() as outer:
        note_written("a", 1, None)
        with noting_files() as inner:
            note_written("b", 2, None)
        note_written("c", 3, None)
    note_written("d", 4, None)
    assert (set(outer), set(inner)) == ({"a", "c"}, {"b"})
