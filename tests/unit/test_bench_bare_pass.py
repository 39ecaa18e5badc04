"""The bare pass, held against zipfile and pyarrow: every byte once, and nothing but whole ones."""

import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from benchmarks import bare_pass as module
from benchmarks.bare_pass import Mode, bare_pass
from benchmarks.export_pieces import Entry, Piece, list_entries, pieces_of, sample_of
from engine.sample_export import write_sample_export


def exports(folder: Path) -> list[str]:
    """Two ZIPs, one deflated and one stored."""
    paths = [folder / "deflated.zip", folder / "stored.zip"]
    for seed, path in enumerate(paths):
        write_sample_export(
            path, frames=6, width=64, height=48, seed=seed, truth=False,
            compression="store" if seed else "deflate",
        )  # fmt: skip
    return [str(path) for path in paths]


def written(folder: Path) -> Counter[tuple[str, bytes]]:
    found: Counter[tuple[str, bytes]] = Counter()
    for path in folder.iterdir():
        with pa.ipc.open_stream(str(path)) as stream:
            table = stream.read_all()
        found.update(zip(table["name"].to_pylist(), table["bytes"].to_pylist(), strict=True))
    return found


def contents(sources: Sequence[str]) -> Counter[tuple[str, bytes]]:
    found: Counter[tuple[str, bytes]] = Counter()
    for source in sources:
        with zipfile.ZipFile(source) as archive:
            found.update((name, archive.read(name)) for name in archive.namelist())
    return found


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("batch_bytes", [1, 2**20])
def test_every_byte_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int, batch_bytes: int
) -> None:
    monkeypatch.setattr(module, "_BATCH_BYTES", batch_bytes)
    sources = exports(tmp_path)
    found = bare_pass(pieces_of(sources, processes), tmp_path / "out", processes)
    expected = contents(sources)
    assert written(tmp_path / "out") == expected
    assert found["members"] == expected.total()
    assert found["size_bytes"] == sum(len(content) for _, content in expected.elements())
    infos = [info for source in sources for info in zipfile.ZipFile(source).infolist()]
    assert found["stored_bytes"] == sum(info.compress_size for info in infos)


@pytest.mark.parametrize("mode", ["digest", "zipfile"])
@pytest.mark.parametrize("processes", [1, 2])
def test_the_other_passes_write_the_same(tmp_path: Path, mode: Mode, processes: int) -> None:
    sources = exports(tmp_path)
    bare_pass(pieces_of(sources, processes), tmp_path / "out", processes, mode=mode)
    assert written(tmp_path / "out") == contents(sources)


@pytest.mark.parametrize(("mode", "share"), [("digest", 1), ("write", 0)])
def test_a_digest_takes_every_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode, share: int
) -> None:
    taken: list[int] = []
    digest = SimpleNamespace(update=lambda content: taken.append(len(content)))
    monkeypatch.setattr(module, "hashlib", SimpleNamespace(sha256=lambda: digest))
    found = bare_pass(pieces_of(exports(tmp_path), 1), tmp_path / "out", 1, mode=mode)
    assert sum(taken) == share * found["size_bytes"]


def test_a_folder_is_passed_over_like_its_zip(tmp_path: Path) -> None:
    write_sample_export(tmp_path / "one", frames=3, width=64, height=48, as_folder=True)
    bare_pass(pieces_of([str(tmp_path / "one")], 1), tmp_path / "out", 1)
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    expected = {(str(path.relative_to(tmp_path / "one")), path.read_bytes()) for path in files}
    assert set(written(tmp_path / "out")) == expected


def test_a_long_extra_field_in_the_local_header_costs_a_second_read(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a.bin")
    info.extra = b"\xff\xff\xe8\x03" + bytes(1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, b"content")
    found = bare_pass(pieces_of([str(tmp_path / "a.zip")], 1), tmp_path / "out", 1)
    assert written(tmp_path / "out") == {("a.bin", b"content"): 1}
    assert found["size_bytes"] == 7


@pytest.mark.parametrize("compression", ["store", "deflate"])
def test_a_wrong_crc_ends_it(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.zip"
    write_sample_export(path, frames=2, image_crc_flip=[1], compression=compression)
    with pytest.raises(ValueError, match="CRC"):
        bare_pass(pieces_of([str(path)], 1), tmp_path / "out", 1)


def test_decoding_meets_every_image_and_writes_nothing(tmp_path: Path) -> None:
    found = bare_pass(pieces_of(exports(tmp_path), 2), tmp_path / "out", 2, mode="decode")
    assert found["images"] == 12
    assert found["decode_sec"] > 0
    assert list((tmp_path / "out").iterdir()) == []


def test_decoding_notices_what_is_no_picture(tmp_path: Path) -> None:
    write_sample_export(tmp_path / "a.zip", frames=2, image_truncated=[1])
    with pytest.raises(OSError, match="truncated"):
        bare_pass(pieces_of([str(tmp_path / "a.zip")], 1), tmp_path / "out", 1, mode="decode")


def test_pieces_hold_every_entry_once_and_in_order(tmp_path: Path) -> None:
    sources = exports(tmp_path)
    pieces = pieces_of(sources, 3)
    for source in sources:
        entries = [entry for piece in pieces if piece.source == source for entry in piece.entries]
        assert entries == list_entries(source)
    assert len(pieces) >= 3


def test_a_sample_is_taken_evenly() -> None:
    entry = Entry(name="a", offset=0, stored_bytes=5, size_bytes=10, deflated=True, crc32=0)
    pieces = [Piece(source=str(n), entries=(entry,)) for n in range(10)]
    assert [piece.source for piece in sample_of(pieces, 50)] == ["0", "2", "4", "6", "8"]
    assert [piece.source for piece in sample_of(pieces, 30)] == ["0", "3", "6"]
    assert sample_of(pieces, 1000) == pieces
    assert sample_of(pieces, 1) == pieces[:1]
