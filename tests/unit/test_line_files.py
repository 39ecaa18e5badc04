"""Pieces of JSON lines, written by workers and joined by the driver."""

import hashlib
import json
import tracemalloc
import uuid

import pytest

from engine.ascii_json import json_line
from engine.config import Config
from engine.line_files import first_without, joined_lines, open_piece, write_joined
from engine.samples import Part
from engine.storage import list_files, read_bytes, write_bytes

BARE = b'"m":[]'


def pieces_of(root, *contents):
    """Pieces of the given lines, one file each."""
    paths = []
    for number, lines in enumerate(contents):
        paths.append(f"{root}/piece-{number}")
        write_bytes(paths[-1], b"".join(line + b"\n" for line in lines))
    return paths


@pytest.mark.parametrize("root", ["local", "memory"])
def test_lines_of_pieces_come_in_order(tmp_path, root):
    place = str(tmp_path) if root == "local" else f"memory://{uuid.uuid4().hex}"
    paths = pieces_of(place, [b"a", b"b"], [], [b"c"])
    assert list(joined_lines(paths)) == [b"a", b"b", b"c"]
    assert list(joined_lines(paths, first=0)) == [b"a", b"b", b"c"]
    assert list(joined_lines(paths, first=1)) == [b"b", b"a", b"c"]
    assert list(joined_lines(paths, first=2)) == [b"c", b"a", b"b"]
    assert list(joined_lines([])) == []


def test_the_first_line_without_a_mark_is_found(tmp_path):
    full = b'{"m":[1]}'
    bare = b'{"m":[]}'
    assert first_without(pieces_of(tmp_path / "a", [full, bare]), BARE) == 0
    assert first_without(pieces_of(tmp_path / "b", [bare, bare], [bare, full]), BARE) == 3
    assert first_without(pieces_of(tmp_path / "c", [bare], [bare]), BARE) == 0
    assert first_without([], BARE) == 0


def test_a_label_cannot_look_like_the_mark(tmp_path):
    lines = [json_line({"l": BARE.decode(), "m": [1]}).rstrip(b"\n")]
    assert BARE not in lines[0]


@pytest.mark.parametrize("root", ["local", "memory"])
@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_a_joined_file_holds_every_line_once(tmp_path, root, count):
    place = str(tmp_path) if root == "local" else f"memory://{uuid.uuid4().hex}"
    lines = [b"%d" % number for number in range(count)]
    file = write_joined(
        place, "x/list.json", iter(lines), start=b"[\n", between=b",\n", end=b"\n]\n"
    )
    data = read_bytes(f"{place}/x/list.json")
    assert json.loads(data) == list(range(count))
    assert (file.path, file.size_bytes) == ("x/list.json", len(data))
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert list_files(place) == ["x/list.json"]
    write_joined(place, "x/lines.jsonl", iter(lines))
    assert read_bytes(f"{place}/x/lines.jsonl") == b"\n".join(lines) + b"\n"


def test_joining_holds_a_part_in_memory_only(tmp_path):
    line = b"x" * 2000
    tracemalloc.start()
    write_joined(str(tmp_path), "big.jsonl", (line for _ in range(50_000)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "big.jsonl").stat().st_size == 50_000 * 2001
    assert peak < 20_000_000


def test_a_piece_is_found_under_its_name_once_it_is_whole(tmp_path):
    part = Part(staging=str(tmp_path), out="", split="test", number=4, config=Config())
    with open_piece(part, "lines") as sink:
        sink.write(b"a\n")
        assert part.pieces == {}
    assert part.pieces == {"lines": f"{tmp_path}/parts/lines-test-00004"}
    assert list(joined_lines([part.pieces["lines"]])) == [b"a"]
    assert part.files == []


def test_a_piece_that_was_given_up_leaves_nothing(tmp_path):
    part = Part(staging=str(tmp_path), out="", split="test", number=4, config=Config())
    with pytest.raises(RuntimeError), open_piece(part, "lines") as sink:
        sink.write(b"a\n")
        raise RuntimeError
    assert part.pieces == {}
    assert list_files(str(tmp_path)) == []
