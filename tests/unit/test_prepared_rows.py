"""Rows of a dataset are those of its export: the images byte for byte, damage noticed."""

import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest

import engine
from engine.byte_ranges import read_range, reading_ahead
from engine.measures import measuring
from engine.members import MemberError
from engine.prepared_rows import image_ranges, read_image, take_rows
from engine.records import FRAME_SCHEMA
from engine.sample_export import write_sample_export
from engine.stages import scan_range
from engine.storage import read_bytes, remove, write_bytes
from engine.tables import read_table
from tests.scanning import SMALL, scans

PLACES = {name for name in FRAME_SCHEMA.names if name.startswith("image_")} - {
    "image_bytes", "image_crc32",
}  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    truth = write_sample_export(folder / "a.zip", **SMALL)
    out = folder / "out"
    engine.prepare([str(truth.path)], str(out), engine.Config(rows_per_shard=2))
    return truth, out


def test_rows_are_those_of_the_export(dataset, tmp_path):
    truth, out = dataset
    (task,) = scans(tmp_path, truth)
    scanned = {row["id"]: row for row in read_table(scan_range(task).rows_path).to_pylist()}
    found = {}
    for file in sorted((out / "index").iterdir()):
        rows = take_rows(str(file), np.arange(pq.read_metadata(file).num_rows))
        assert rows.schema.remove_metadata().equals(FRAME_SCHEMA)
        found |= {row["id"]: row for row in rows.to_pylist()}
    assert found.keys() == scanned.keys()
    for name in set(FRAME_SCHEMA.names) - PLACES:
        assert {k: r[name] for k, r in found.items()} == {k: r[name] for k, r in scanned.items()}


def test_images_are_those_of_the_export(dataset):
    truth, out = dataset
    with zipfile.ZipFile(truth.path) as archive:
        members = {frame.frame_index: archive.read(frame.image) for frame in truth.frames}
    seen = 0
    for file in sorted((out / "index").iterdir()):
        for row in take_rows(
            str(file), np.array([1, 0])[-pq.read_metadata(file).num_rows :]
        ).to_pylist():
            assert read_image(row) == members[row["frame_index"]]
            seen += 1
    assert seen == len(members)


def test_an_altered_image_is_noticed(dataset, tmp_path):
    _, out = dataset
    (row,) = take_rows(str(out / "index/train-00000.parquet"), np.array([1])).to_pylist()
    data = (out / "hf/train/data-00000.arrow").read_bytes()
    image = read_image(row)
    at = data.index(image) + len(image) // 2
    broken = tmp_path / "data-00000.arrow"
    broken.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(MemberError, match="row 1: the image was altered"):
        read_image(row | {"image_source": str(broken)})


def test_a_shard_that_is_not_there(dataset, tmp_path):
    _, out = dataset
    (row,) = take_rows(str(out / "index/train-00000.parquet"), np.array([0])).to_pylist()
    with pytest.raises(engine.ExportError, match="row 0 cannot be read"):
        read_image(row | {"image_source": str(tmp_path / "none.arrow")})


def test_a_replaced_shard_is_read_anew(tmp_path):
    """The next task must not see the mapped pages of a file that is gone."""
    out = tmp_path / "out"
    images = []
    for seed in (1, 2):
        truth = write_sample_export(tmp_path / f"{seed}.zip", seed=seed, **SMALL)
        engine.prepare([str(truth.path)], str(out))
        (row,) = take_rows(str(out / "index/train-00000.parquet"), np.array([0])).to_pylist()
        images.append(read_image(row))
        out.rename(tmp_path / f"gone-{seed}")
    assert images[0] != images[1]


@pytest.fixture
def in_a_store(dataset):
    """The dataset behind a URL, and the rows of its first shard there."""
    _, out = dataset
    for path in (path for path in out.rglob("*") if path.is_file()):
        write_bytes(f"memory://rows/out/{path.relative_to(out).as_posix()}", path.read_bytes())
    index = "memory://rows/out/index/train-00000.parquet"
    yield take_rows(index, np.arange(read_table(index).num_rows))
    remove("memory://rows")


def test_images_of_a_shard_in_a_store_are_ranges_that_can_be_read_ahead(in_a_store, dataset):
    _, out = dataset
    here = take_rows(str(out / "index/train-00000.parquet"), np.arange(len(in_a_store)))
    expected = [read_image(row) for row in here.to_pylist()]
    ranges = image_ranges(in_a_store)
    assert [read_range(*each) for each in ranges] == expected
    assert {place for place, _, _ in ranges} == {"memory://rows/out/hf/train/data-00000.arrow"}
    with reading_ahead(ranges), measuring("write", "t") as measures:
        assert [read_image(row) for row in in_a_store.to_pylist()] == expected
    assert measures.counts["bytes_read"] == sum(map(len, expected))


def test_an_altered_or_missing_image_in_a_store_is_noticed(in_a_store):
    place, start, end = image_ranges(in_a_store)[1]
    row = in_a_store.to_pylist()[1]
    data = read_bytes(place)
    at = (start + end) // 2
    write_bytes(place, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(MemberError, match="row 1: the image was altered"):
        read_image(row)
    write_bytes(place, data[:at])  # ends early
    with pytest.raises(MemberError, match="row 1: the image was altered"):
        read_image(row)
    take_rows("memory://rows/out/index/train-00000.parquet", np.array([1]))
    remove(place)
    with pytest.raises(engine.ExportError, match="row 1 cannot be read"):
        read_image(row)
