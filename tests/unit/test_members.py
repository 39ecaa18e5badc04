"""Members and their bytes, with `zipfile` and `zlib` as oracles and every damage of a kind."""

import io
import os
import random
import stat
import struct
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.caps import Caps
from engine.errors import ExportError
from engine.members import (
    Member,
    MemberError,
    content_digest,
    iter_member,
    read_head,
    read_member,
    with_crc,
)
from engine.opening import find_root, open_images, open_members
from engine.sources import find_exports

RNG = random.Random(3)
CONTENT = {
    "annotations.json": b'{"annotations": []}' + b" 0 12 0" * 5000,
    "metadata.json": b"{}",
    "images/frame_000000.png": RNG.randbytes(70_000),
    "images/frame_000001.png": b"",
    "images/Gl\u00fchbirne \u4e2d.jpg": RNG.randbytes(10),
}


def write_zip(path, content=CONTENT, *, method=zipfile.ZIP_DEFLATED, prefix=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(prefix + name, data)
    return str(path)


def write_folder(path, content=CONTENT):
    for name, data in content.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return str(path)


def write_url(data, name="export.zip"):
    url = f"memory://test_members/{name}"
    with fsspec.open(url, "wb") as sink:
        sink.write(data)
    return url


@pytest.fixture(params=["stored", "deflated", "folder", "url", "url folder"])
def location(request, tmp_path):
    match request.param:
        case "stored":
            return write_zip(tmp_path / "e.zip", method=zipfile.ZIP_STORED)
        case "deflated":
            return write_zip(tmp_path / "e.zip")
        case "folder":
            return write_folder(tmp_path / "e")
        case "url":
            return write_url(Path(write_zip(tmp_path / "e.zip")).read_bytes())
    for name, data in CONTENT.items():
        write_url(data, f"folder/{name}")
    return "memory://test_members/folder"


def test_every_way_gives_the_same_names_bytes_and_digest(location, tmp_path):
    members = open_members(location)
    assert sorted(members) == sorted(CONTENT)
    for name, content in CONTENT.items():
        member = members[name]
        assert (member.name, member.size) == (name, len(content))
        assert read_member(location, member) == content
        for n_bytes in (0, 1, 33, 4096, 10**6):
            assert read_head(location, member, n_bytes) == content[:n_bytes]
        for chunk_bytes in (1000, 1 << 20):
            chunks = list(iter_member(location, member, chunk_bytes=chunk_bytes))
            assert b"".join(chunks) == content
            assert all(0 < len(chunk) <= chunk_bytes for chunk in chunks)
        assert with_crc(location, member).crc32 == zlib.crc32(content)
        assert read_member(location, with_crc(location, member)) == content
    digest = content_digest(with_crc(location, m) for m in reversed(list(members.values())))
    twin = open_members(write_zip(tmp_path / "twin.zip", prefix="around/"))
    assert digest == content_digest(twin.values())
    assert digest != content_digest(list(twin.values())[1:])


def test_the_digest_needs_the_crc_and_sees_every_change(tmp_path):
    location = write_folder(tmp_path)
    with pytest.raises(ValueError, match="has no CRC-32 yet"):
        content_digest(open_members(location).values())
    first, *rest = [with_crc(location, m) for m in open_members(location).values()]
    digests = {
        content_digest([changed, *rest])
        for changed in (first, replace(first, name="b"), replace(first, size=1),
                        replace(first, crc32=1), replace(first, stored_name="other"))
    }  # fmt: skip
    assert len(digests) == 4  # the stored name is not content


def test_archive_order_is_kept_and_litter_ignored(tmp_path):
    path = tmp_path / "e.zip"
    names = ["x/b.png", "x/.DS_Store", "x/a.png", "__MACOSX/x/._a.png", "x/Thumbs.db", "x/sub/",
             ".hidden/../../y", "x/annotations.json", "readme.txt", "./x/./c.png"]  # fmt: skip
    write_zip(path, dict.fromkeys(names, b""))
    members = open_members(str(path))
    assert list(members) == ["b.png", "a.png", "annotations.json", "c.png"]
    assert members.root == "x/"
    assert members.outside == ("readme.txt",)
    assert members["c.png"].stored_name == "./x/./c.png"
    assert read_member(str(path), members["c.png"]) == b""
    with zipfile.ZipFile(path, "w") as archive:  # whatever is wrong with what is ignored
        archive.writestr("__MACOSX/../x", b"")
        archive.writestr("__MACOSX/a", b"")
        archive.writestr(zipfile.ZipInfo(".x\0"), b"", compress_type=zipfile.ZIP_LZMA)
        archive.writestr("annotations.json", b"")
    assert list(open_members(str(path))) == ["annotations.json"]


def test_a_folders_litter_is_ignored_and_links_are_followed(tmp_path):
    content = {"x/annotations.json": b"{}", "x/.git/a": b"", "x/._a.png": b"", "Thumbs.db": b""}
    location = write_folder(tmp_path / "e", content)
    write_folder(tmp_path / "frames", {"0.png": b"12"})
    (tmp_path / "e/x/images").symlink_to(tmp_path / "frames")
    (tmp_path / "frames/circle").symlink_to(tmp_path / "frames")
    members = open_members(location)
    assert list(members) == ["annotations.json", "images/0.png"]
    assert members["images/0.png"].stored_name == "x/images/0.png"
    assert read_member(location, members["images/0.png"]) == b"12"


@pytest.mark.parametrize("n_around", range(5))
def test_enclosing_folders(tmp_path, n_around):
    prefix = "".join(f"around{i}/" for i in range(n_around))
    location = write_zip(tmp_path / "e.zip", {"annotations.json": b"{}"}, prefix=prefix)
    if n_around <= 3:
        assert open_members(location).root == prefix
    else:
        with pytest.raises(ExportError, match=r"no annotations\.json"):
            open_members(location)


def test_images_need_no_annotations(tmp_path):
    content = {"clean/0.png": b"12", "clean/.x": b"", "1.png": b"3"}
    for location in (write_zip(tmp_path / "f.zip", content), write_folder(tmp_path / "f", content)):
        found = open_images(location)
        assert sorted(found) == ["1.png", "clean/0.png"]
        assert read_member(location, found["clean/0.png"]) == b"12"
    with pytest.raises(ExportError, match="no such file or folder"):
        open_images(str(tmp_path / "gone"))


def test_the_root_must_be_one():
    with pytest.raises(ExportError, match=r"e: holds 2 exports: got a/annotations\.json and b/c/a"):
        find_root(["b/c/annotations.json", "a/annotations.json"], where="e")
    with pytest.raises(ExportError, match=r"no annotations\.json: got 0, 1, 2, 3 and 6 more"):
        find_root(map(str, range(10)), where="e")
    with pytest.raises(ExportError, match=r"got no files; give the ZIP"):
        find_root([], where="e")
    with pytest.raises(ExportError, match=r"it holds ZIPs"):
        find_root(["a.zip"], where="e")
    with pytest.raises(ExportError, match=r"no annotations\.json"):
        find_root(["my_annotations.json"], where="e")
    assert find_root(["a/v_manual.json"], where="e", marker="v_manual.json") == "a/"


def test_zip64_comments_and_something_before(tmp_path):
    sink = io.BytesIO(b"#!/bin/sh\n" * 100)
    sink.seek(0, os.SEEK_END)
    with zipfile.ZipFile(sink, "a") as archive:
        archive.comment = b"a comment " * 300
        with archive.open("annotations.json", "w", force_zip64=True) as member:
            member.write(CONTENT["annotations.json"])
        entry = zipfile.ZipInfo("images/0.png")
        entry.extra = struct.pack("<HH", 0xCAFE, 3000) + b"x" * 3000  # beyond the slack of a read
        entry.flag_bits |= 0x08
        archive.writestr(entry, b"12345")
    path = tmp_path / "e.zip"
    path.write_bytes(sink.getvalue())
    members = open_members(str(path))
    for url in (str(path), f"file://{path}", write_url(sink.getvalue())):
        assert read_member(url, members["images/0.png"]) == b"12345"
        assert read_head(url, members["images/0.png"], 2) == b"12"
        assert b"".join(iter_member(url, members["images/0.png"], chunk_bytes=2)) == b"12345"
        assert read_member(url, members["annotations.json"]) == CONTENT["annotations.json"]


def test_every_cut_of_a_zip_is_refused_and_says_so(tmp_path):
    whole = Path(write_zip(tmp_path / "whole.zip", {"annotations.json": b"{}", "a": b"1"}))
    data = whole.read_bytes()
    path = tmp_path / "e.zip"
    for n_bytes in range(len(data)):
        path.write_bytes(data[:n_bytes])
        with pytest.raises(ExportError, match="cut off or not a ZIP: no end-of-central-directory"):
            open_members(str(path))
        path.write_bytes(data[n_bytes + 1 :])
        with pytest.raises(ExportError, match=r"cut off or|beyond its archive|before the archive"):
            open_members(str(path))


def test_what_is_no_export_is_said(tmp_path):
    with pytest.raises(ExportError, match=r"gone\.zip: no such file or folder"):
        open_members(str(tmp_path / "gone.zip"))
    with pytest.raises(ExportError, match="no such file or folder"):
        open_members("memory://test_members/gone.zip")
    with pytest.raises(ExportError, match=r"cannot be read: got .*nope"):
        open_members("nope://bucket/e.zip")
    path = tmp_path / "e.tar"
    path.write_bytes(b"no zip")
    with pytest.raises(ExportError, match="not a ZIP: no end-of-central-directory"):
        open_members(str(path))


def patched(tmp_path, change, content=None, method=zipfile.ZIP_DEFLATED):
    """A ZIP whose first central directory entry (46 bytes of fields) was changed by hand."""
    content = content or {"annotations.json": b"0" * 50}
    path = Path(write_zip(tmp_path / "e.zip", content, method=method))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    fields = list(struct.unpack_from("<4s4B4HL2L5H2L", data, at))
    change(fields)
    struct.pack_into("<4s4B4HL2L5H2L", data, at, *fields)
    path.write_bytes(data)
    return str(path)


def test_a_zip64_locator_that_speaks_of_several_disks_is_an_error_of_ours(tmp_path):
    """`zipfile.is_zipfile` raises on it instead of saying no."""
    path = Path(write_zip(tmp_path / "a.zip"))
    whole = path.read_bytes()
    at = whole.rindex(b"PK\5\6")
    path.write_bytes(whole[:at] + struct.pack("<4sIQI", b"PK\6\7", 0, 0, 2) + whole[at:])
    with pytest.raises(ExportError, match=r"cut off or damaged.*multiple disks"):
        open_members(str(path))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (5, 0x01, "is encrypted"),
        (5, 0x41, "is encrypted"),
        (6, 12, r"is compressed by method 12 \(bzip2\)"),
        (6, 99, r"is compressed by method 99 \(AES\)"),
        (6, 9, r"is compressed by method 9 \(deflate64\)"),
        (6, 0, r"is stored, but of 50 bytes in \d+"),
        (10, 10**8, "reaches beyond its archive"),
        (11, 5 * 2**30 - 2**32, r"claims \d+ bytes in \d+, which deflate cannot do"),
        (18, 10**8, "reaches beyond its archive"),
        (17, (stat.S_IFLNK | 0o777) << 16, "is a symbolic link"),
    ],
)
def test_a_member_that_must_not_be_read(tmp_path, field, value, message):
    location = patched(tmp_path, lambda fields: fields.__setitem__(field, value))
    with pytest.raises(ExportError, match=rf"e\.zip: 'annotations\.json': {message}"):
        open_members(location)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../a.png", "leads out"),
        ("a/../../b.png", "leads out"),
        ("/etc/passwd", "absolute"),
        ("C:/a.png", "absolute"),
        ("c:a.png", "absolute"),
        ("a\\b.png", "backslash"),
        ("a.png\0.txt", "NUL"),
        ("./annotations.json", "is there twice"),
        ("annotations.json", "is there twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_must_not_be_there(tmp_path, name, message):
    path = tmp_path / "e.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("annotations.json", b"{}")
        entry = zipfile.ZipInfo("x")
        entry.filename = name
        archive.writestr(entry, b"")
    with pytest.raises(ExportError, match=message):
        open_members(str(path))


def test_members_over_each_other_are_refused(tmp_path):
    content = {"annotations.json": b"1" * 50, "b": b"2" * 50}
    location = patched(
        tmp_path, lambda f: f.__setitem__(18, 10), content, method=zipfile.ZIP_STORED
    )
    with pytest.raises(ExportError, match=r"'b': overlaps with 'annotations\.json'"):
        open_members(location)


def test_caps(tmp_path):
    content = {"annotations.json": b"0" * 100, "a.png": b"1" * 50, "video.mp4": b"2" * 900}
    caps = Caps(max_members=3, max_json_bytes=100, max_image_bytes=50)
    for location in (write_zip(tmp_path / "e.zip", content), write_folder(tmp_path / "e", content)):
        assert len(open_members(location, caps=caps)) == 3
        for key, message in [("max_members", "has too many files: got 3, expected at most 2"),
                             ("max_json_bytes", "is of 100 bytes, more than 99"),
                             ("max_image_bytes", "is of 50 bytes, more than 49")]:  # fmt: skip
            with pytest.raises(ExportError, match=message):
                open_members(location, caps=replace(caps, **{key: getattr(caps, key) - 1}))
        member = open_members(location)["a.png"]
        assert len(read_member(location, member, cap=50)) == 50
        with pytest.raises(MemberError, match=r"a\.png: is too large: got 50, expected at most 49"):
            read_member(location, member, cap=49)


def test_the_best_that_deflate_can_do_is_accepted(tmp_path):
    location = write_zip(tmp_path / "e.zip", {"annotations.json": b" " * 30_000_000})
    member = open_members(location)["annotations.json"]
    assert member.size > 1000 * member.compressed_size
    assert sum(map(len, iter_member(location, member, chunk_bytes=10**6))) == 30_000_000


def verdicts(location, member):
    """What each way of reading a whole member says: bytes, or None for a MemberError."""
    for read in (
        lambda: read_member(location, member),
        lambda: b"".join(iter_member(location, member, chunk_bytes=50)),
    ):
        try:
            yield read()
        except MemberError as error:
            assert str(error).startswith(f"{location}: {member.name}: ")
            yield None


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_damaged_byte_of_a_member_is_found(tmp_path, method):
    content = {"annotations.json": bytes(range(48, 100)) * 3 + b"1" * 200, "z": b"z" * 300}
    location = write_zip(tmp_path / "e.zip", content, method=method)
    member = open_members(location)["annotations.json"]
    data = Path(location).read_bytes()
    end = 30 + len(member.stored_name) + member.compressed_size
    for at in range(end):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        Path(location).write_bytes(damaged)
        # Of the local header only signature, method and the two lengths are of use.
        harmless = at in range(4, 8) or at in range(10, 26) or 30 <= at < 30 + 16
        expected = content["annotations.json"] if harmless else None
        assert list(verdicts(location, member)) == [expected] * 2, at


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_cut_off_after_it_was_opened(tmp_path, method):
    location = write_zip(tmp_path / "e.zip", {"annotations.json": b"12345" * 40}, method=method)
    member = open_members(location)["annotations.json"]
    data = Path(location).read_bytes()
    for n_bytes in range(30 + len(member.name) + member.compressed_size):
        Path(location).write_bytes(data[:n_bytes])
        assert list(verdicts(location, member)) == [None, None]
        with pytest.raises(MemberError):
            read_head(location, member, 200)


@pytest.mark.parametrize("wrong", [{"size": 99}, {"size": 101}, {"size": 1}, {"crc32": 7},
                                   {"compressed_size": 3}, {"method": 0},
                                   {"offset": 1}])  # fmt: skip
def test_a_directory_that_lies(tmp_path, wrong):
    location = write_zip(tmp_path / "e.zip", {"annotations.json": b"0" * 100})
    member = replace(open_members(location)["annotations.json"], **wrong)
    assert list(verdicts(location, member)) == [None, None]


def test_a_lying_size_is_no_bomb(tmp_path):
    location = write_zip(tmp_path / "e.zip", {"annotations.json": b" " * 10**7})
    member = replace(open_members(location)["annotations.json"], size=10)
    with pytest.raises(MemberError, match="size in bytes is wrong: got more than 10, expected 10"):
        read_member(location, member)
    chunks = iter_member(location, member, chunk_bytes=1000)
    with pytest.raises(MemberError, match="got more than 10"):
        list(chunks)


def test_a_folders_file_that_changed(tmp_path):
    location = write_folder(tmp_path)
    member = with_crc(location, open_members(location)["metadata.json"])
    file = tmp_path / "metadata.json"
    for content in (b"{ }", b"{", b"[]", b""):
        file.write_bytes(content)
        assert None in list(verdicts(location, member))
        with pytest.raises(MemberError):
            read_member(location, member)
    file.unlink()
    with pytest.raises(
        ExportError, match=r"metadata\.json: cannot be read: got No such f"
    ) as error:
        read_member(location, member)
    assert not isinstance(error.value, MemberError)


def test_a_replaced_file_is_read_anew_and_descriptors_are_bounded(tmp_path):
    limit = 16 + 8
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208
    for i in range(40):
        location = write_zip(tmp_path / f"{i}.zip", {"annotations.json": b"%d" % i})
        assert read_member(location, open_members(location)["annotations.json"]) == b"%d" % i
    assert len(os.listdir("/dev/fd")) <= before + limit  # noqa: PTH208
    for text in (b"old", b"new"):
        fresh = write_zip(tmp_path / "fresh", {"annotations.json": text})
        Path(fresh).replace(tmp_path / "0.zip")
        location = str(tmp_path / "0.zip")
        assert read_member(location, open_members(location)["annotations.json"]) == text


@settings(max_examples=60, deadline=None)
@given(
    content=st.binary(max_size=300) | st.integers(0, 3000).map(lambda n: b"ab" * n),
    level=st.integers(0, 9),
    chunk_bytes=st.integers(1, 400),
    n_head=st.integers(0, 500),
)
def test_what_zipfile_writes_is_read_back(tmp_path_factory, content, level, chunk_bytes, n_head):
    path = tmp_path_factory.mktemp("zip") / "e.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        archive.writestr("annotations.json", content)
    location = str(path)
    member = open_members(location)["annotations.json"]
    assert read_member(location, member) == content
    assert b"".join(iter_member(location, member, chunk_bytes=chunk_bytes)) == content
    assert read_head(location, member, n_head) == content[:n_head]


def test_a_head_of_badly_compressed_data(tmp_path):
    """A writer that flushes after every byte needs many times the room of the content."""
    content = b"ab" * 2000
    deflater = zlib.compressobj(wbits=-15)
    raw = b"".join(
        deflater.compress(bytes([byte])) + deflater.flush(zlib.Z_FULL_FLUSH) for byte in content
    )
    raw += deflater.flush()
    name = "annotations.json"
    header = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, 0, 0, len(name), 0)
    location = str(tmp_path / "e.zip")
    Path(location).write_bytes(header + name.encode() + raw)
    member = Member(name=name, stored_name=name, offset=0, compressed_size=len(raw),
                    size=len(content), method=8, crc32=zlib.crc32(content))  # fmt: skip
    assert len(raw) > 4 * len(content)
    for n_bytes in (1, 100, 3999, 4000, 5000):
        assert read_head(location, member, n_bytes) == content[:n_bytes]
    assert list(verdicts(location, member)) == [content] * 2


def test_sources_locally(tmp_path, monkeypatch):
    one = write_zip(tmp_path / "in/b.zip")
    two = write_zip(tmp_path / "in/a.ZIP")
    folder = write_folder(tmp_path / "in/c/around")
    write_folder(
        tmp_path / "in", {"notes.txt": b"", ".x.zip": b"", "__MACOSX/annotations.json": b""}
    )
    source = str(tmp_path / "in")
    assert find_exports(one) == [one]
    assert find_exports(source) == find_exports(f"{source}/") == [two, one, folder]
    assert find_exports(f"{source}/*") == [two, one, f"{source}/c"]
    assert find_exports(f"{tmp_path}/**/*.zip") == [one]
    assert find_exports(f"{source}/*.[zZ]*") == [two, one]
    assert find_exports(folder) == [folder]
    assert find_exports(f"{source}/c") == [f"{source}/c"]
    assert find_exports(f"{source}/notes.txt") == [f"{source}/notes.txt"]
    assert find_exports(f"file://{one}") == [f"file://{one}"]
    monkeypatch.chdir(tmp_path)
    assert find_exports("in/*.zip") == ["in/b.zip"]
    assert find_exports("in") == ["in/a.ZIP", "in/b.zip", "in/c/around"]
    for found in find_exports("in"):
        assert sorted(open_members(found)) == sorted(CONTENT)
    odd = write_zip(tmp_path / "odd[1].zip")
    assert find_exports(odd) == [odd]


def test_sources_behind_a_url(tmp_path):
    data = Path(write_zip(tmp_path / "e.zip")).read_bytes()
    root = "memory://test_members/sources"
    one, two = write_url(data, "sources/b.zip"), write_url(data, "sources/a.zip")
    write_url(b"{}", "sources/deep/v/annotations.json")
    write_url(b"", "sources/deep/v/images/0.png")
    assert find_exports(one) == [one]
    assert find_exports(root) == [two, one, f"{root}/deep/v"]
    assert find_exports(f"{root}/deep") == [f"{root}/deep"]
    found = find_exports(f"{root}/*.zip")
    assert len(found) == 2
    assert all(sorted(open_members(url)) == sorted(CONTENT) for url in found)
    assert open_members(f"{root}/deep").root == "v/"


def test_sources_that_hold_nothing(tmp_path):
    write_folder(tmp_path / "in", {"a.txt": b"", "images/0.png": b""})
    for source, message in [
        (f"{tmp_path}/gone", "no such file or folder"),
        (f"{tmp_path}/in/a.txt/b", "no such file or folder"),
        (f"{tmp_path}/*.zip", "no such file: the pattern matches nothing"),
        ("memory://test_members/gone/*.zip", "no such file: the pattern matches nothing"),
        ("memory://test_members/gone", "no such file or folder"),
        (f"{tmp_path}/in", "no exports found in this folder; give a ZIP"),
        (f"{tmp_path}/in/*", "no exports found: got 2 matches, none of them a ZIP"),
    ]:
        with pytest.raises(ExportError, match=message):
            find_exports(source)
