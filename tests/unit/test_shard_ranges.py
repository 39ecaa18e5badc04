"""Images of an Arrow stream in a store: the ranges say what pyarrow reads, and little is read."""

import numpy as np
import pyarrow as pa
import pytest

from engine import shard_ranges
from engine.byte_ranges import read_range
from engine.shard_ranges import forget_shards, image_range
from engine.storage import remove, write_bytes

PLACE = "memory://ranges/data-00000.arrow"


@pytest.fixture(autouse=True)
def clean():
    forget_shards()
    yield
    remove("memory://ranges")


def write(batches, schema=None):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema or batches[0].schema) as stream:
        for batch in batches:
            stream.write_batch(batch)
    content = sink.getvalue().to_pybytes()
    write_bytes(PLACE, content)
    return content


def batch(images, kind=None, extra=0):
    kind = kind or pa.binary()
    image = pa.array(
        [None if data is None else {"bytes": data, "path": "x" * 9} for data in images],
        pa.struct([("bytes", kind), ("path", pa.string())]),
    )
    notes = ["n" * extra] * len(images)
    return pa.record_batch({"id": list(range(len(images))), "notes": notes, "image": image})


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("extra", [0, 3000])  # the offsets lie behind the first bytes, too
def test_every_image_is_where_the_range_says(kind, extra):
    rng = np.random.default_rng(3)
    images = [rng.bytes(size) for size in (5000, 0, 70_000, 3, *[900] * 60, 200_000)]
    write([batch(images[:3], kind, extra), batch(images[3:60], kind, extra),
           batch(images[60:], kind, extra)])  # fmt: skip
    assert [read_range(*image_range(PLACE, n)) for n in range(len(images))] == images
    with pytest.raises(IndexError):
        image_range(PLACE, len(images))


def test_little_is_read_to_know_it(monkeypatch):
    images = [bytes([n]) * 1_000_000 for n in range(24)]
    write([batch(images[at : at + 8]) for at in (0, 8, 16)])
    asked = []

    def reading(location, start, end):
        asked.append(end - start)
        return read_range(location, start, end)

    monkeypatch.setattr(shard_ranges, "read_range", reading)
    for n in (23, 0, 11):
        assert read_range(*image_range(PLACE, n)) == images[n]
    assert (len(asked), sum(asked)) == (5, 5 * 2**16)  # the schema, three batches, the end


def test_another_file_of_the_name_is_looked_at_again():
    write([batch([b"one", b"second"])])
    before = image_range(PLACE, 1)
    write([batch([b"another", b"second"])])
    forget_shards()
    assert image_range(PLACE, 1) != before
    assert read_range(*image_range(PLACE, 1)) == b"second"


def test_what_has_another_layout_is_left_to_others():
    several = pa.record_batch({"images": [[{"bytes": b"a"}]]})
    without = pa.record_batch({"image": pa.array(["a.jpg"])})
    for content in ([batch([b"a", None])], [several], [without]):
        write(content)
        forget_shards()
        assert image_range(PLACE, 0) is None


def test_compressed_images_are_left_to_others():
    made = batch([b"a" * 5000, b"b" * 5000])
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, made.schema, options=options) as stream:
        stream.write_batch(made)
    write_bytes(PLACE, sink.getvalue().to_pybytes())
    assert image_range(PLACE, 0) is None


def test_what_is_no_stream_or_ends_early_is_said():
    write_bytes(PLACE, b"this is no stream of Arrow at all")
    with pytest.raises((pa.ArrowInvalid, OSError)):
        image_range(PLACE, 0)
    content = write([batch([b"a" * 100_000]), batch([b"b" * 100_000])])
    write_bytes(PLACE, content[:-60_000])
    forget_shards()
    assert read_range(*image_range(PLACE, 0)) == b"a" * 100_000
    assert len(read_range(*image_range(PLACE, 1))) < 100_000
    with pytest.raises(IndexError):
        image_range(PLACE, 2)
