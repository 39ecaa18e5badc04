"""Mutated exports, by seed: damage to a ZIP's bytes, or to its members in a ZIP that is in order.

The structures of the archive (local headers, central directory, end records, zip64 extras) are
small beside its data, so most mutations aim at them; the others must pass the archive's CRCs to
reach the readers of JSON and images. The same seed gives the same bytes everywhere.
"""

import functools
import io
import random
import struct
import tempfile
import zipfile
from pathlib import Path

from engine.sample_export import write_sample_export
from tests.fuzz_masks import mutated_sequence

_SMALL = {"frames": 3, "width": 48, "height": 32, "truth": False}
_BASES = [
    {"dialect": "real"},
    {"dialect": "coco", "image_format": "jpg"},
    {"dialect": "coco", "compression": "store", "annotations_first": True},
    {"dialect": "real", "enclosing_folder": "\u5bfc\u51fa", "macosx": True},
    {"dialect": "coco", "notation": "list", "indent": None, "image_key": "image_path"},
    {"dialect": "coco", "notation": "compressed", "metadata": False},
]
_SIGNATURES = [b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08"]
_FIELDS = [0, 1, 2, 0x7F, 0xFF, 0x800, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
_JSON_BITS = [
    b"null", b"[]", b"{}", b"-1", b"1e999", b"0.5", b'""', b"true", b"[", b"]", b"{", b"}", b",",
    b":", b'"', b"\\", b"\\ud800", b"\xff", b"\0", b"\xef\xbb\xbf", b"9" * 25, b"[" * 70, b"NaN",
    b'"annotations":[],', b'"frame_index":0,', b'"size":[100000,100000],', b"-0",
]  # fmt: skip


@functools.cache
def bases():
    """The exports that are damaged, as bytes: each notation and layout, and two with zip64."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "base.zip")
        found = []
        for seed, keywords in enumerate(_BASES):
            write_sample_export(path, seed=seed, **_SMALL | keywords)
            found.append(path.read_bytes())
    return [*found, _zip64(found[0]), _streamed(found[1])]


def _members(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        return {info.filename: source.read(info) for info in source.infolist()}


def _rewritten(members, rng=None):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data in members:
            method = rng.choice([0, 8]) if rng else 0
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return sink.getvalue()


class _Unseekable(io.RawIOBase):
    """What a writer to a pipe has: sizes come behind the data, in a descriptor."""

    def __init__(self):
        self.sink = io.BytesIO()

    def writable(self):
        return True

    def write(self, data):
        return self.sink.write(data)


def _streamed(base):
    stream = _Unseekable()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _members(base).items():
            archive.writestr(name, data)
    return stream.sink.getvalue()


def _zip64(base):
    """An archive with the zip64 records that one above 4 GB has."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _members(base).items():
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(data)
    whole = sink.getvalue()
    at = whole.rindex(b"PK\5\6")
    count, size, start = struct.unpack_from("<H2I", whole, at + 10)
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    return whole[:at] + record + locator + end


def _places(data):
    """Where the archive's structures begin."""
    found = []
    for signature in _SIGNATURES:
        at = data.find(signature)
        while at >= 0:
            found.append(at)
            at = data.find(signature, at + 1)
    return found or [0]


def _flip(rng, data):
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _field(rng, data):
    """Set 1, 2, 4 or 8 bytes in or behind a header to a value that is at some limit."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = min(rng.choice(_places(data)) + rng.randrange(4, 60), len(data) - 1)
        width = rng.choice([1, 2, 4, 8])
        value = rng.choice([*_FIELDS, rng.randrange(len(data) + 10), rng.getrandbits(8 * width)])
        data[at : at + width] = (value % 256**width).to_bytes(width, "little")


def _chunk(rng, data):
    """Copy, move, remove or overwrite a stretch of bytes, or take one from another archive."""
    at, to = rng.randrange(len(data)), rng.randrange(len(data))
    size = rng.choice([1, 4, 30, 46, 200, 2000])
    other = rng.choice(bases())
    match rng.randrange(5):
        case 0:
            data[to:to] = data[at : at + size]
        case 1:
            del data[at : at + size]
        case 2:
            data[to : to + size] = data[at : at + size]
        case 3:
            start = rng.randrange(len(other))
            data[at : at + size] = other[start : start + size]
        case _:
            data[at:] = other[rng.randrange(len(other)) :]


def _cut(rng, data):
    if rng.random() < 0.5:
        del data[rng.randrange(len(data)) :]
    else:
        del data[: rng.randrange(min(len(data), 200))]


def _inside(rng, base):
    """Damage members, and write an archive that is in order around them."""
    members = list(_members(base).items())
    if rng.random() < 0.2:
        names = [name for name, _ in members]
        new = rng.choice([*names, "", "a/../b.png", "/x", "c:\\y", "annotations.json/", "x" * 300])
        members = mutated_sequence(rng, members, lambda: (new, b""))
    damaged = []
    for name, data in members:
        content = bytearray(data)
        if rng.random() < 0.5 and content:
            json_bits = name.endswith(".json") and rng.random() < 0.7
            for _ in range(rng.choice([1, 1, 3, 10])):
                at = rng.randrange(len(content) + 1)
                if json_bits:
                    content[at : at + rng.choice([0, 1, 4])] = rng.choice(_JSON_BITS)
                elif content:
                    rng.choice([_flip, _flip, _cut])(rng, content)
        damaged.append((name, bytes(content)))
    return _rewritten(damaged, rng)


def mutated_zip(seed):
    """One damaged export: its bytes."""
    rng = random.Random(f"zip {seed}")
    base = rng.choice(bases())
    if rng.random() < 0.4:
        return _inside(rng, base)
    data = bytearray(base)
    for _ in range(rng.choice([1, 1, 2])):
        if data:
            rng.choice([_flip, _field, _field, _field, _chunk, _chunk, _cut])(rng, data)
    return bytes(data)
