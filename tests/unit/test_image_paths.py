"""Rows that name their images by full paths lead to the dataset, or to where it was."""

import os
import random

import fsspec
import pyarrow as pa
import pytest

from engine.errors import RunError
from engine.image_paths import named_elsewhere

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SHARD = "hf/train/data-00000.arrow"


def write_shard(path, paths, column="image", rows_per_batch=1):
    """A shard of `hf` with nothing but its images; None: a row without one."""
    images = [None if name is None else {"bytes": None, "path": name} for name in paths]
    kind = IMAGE if column == "image" else pa.list_(IMAGE)
    values = pa.array(images if column == "image" else [[image] for image in images], kind)
    table = pa.table({"id": [str(n) for n in range(len(paths))], column: values})
    with (
        fsspec.open(path, "wb", auto_mkdir=True) as file,
        pa.ipc.new_stream(file, table.schema) as stream,
    ):
        stream.write_table(table, max_chunksize=rows_per_batch)


@pytest.fixture
def out(tmp_path):
    image = tmp_path / "out/images/v-1/000000.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"image")
    return tmp_path / "out"


@pytest.mark.parametrize("column", ["image", "images"])
def test_where_it_is_and_where_it_was(out, tmp_path, column):
    write_shard(out / SHARD, [f"{out}/images/v-1/000000.png"], column)
    assert named_elsewhere(str(out), SHARD) is None
    write_shard(out / SHARD, ["/data/old place/images/v-1/000000.png"], column)
    assert named_elsewhere(str(out), SHARD) == "/data/old place"


def test_a_video_may_be_called_as_the_folder_is(out):
    write_shard(out / SHARD, ["/old/images/images/000000.png"])
    assert named_elsewhere(str(out), SHARD) == "/old"


def test_the_first_image_counts_and_a_shard_may_have_none(out):
    write_shard(out / SHARD, [None, "/old/images/v-1/000000.png", f"{out}/images/v-1/000000.png"])
    assert named_elsewhere(str(out), SHARD) == "/old"
    write_shard(out / SHARD, [None, None])
    assert named_elsewhere(str(out), SHARD) is None


def test_another_name_of_the_same_place_is_that_place(out, tmp_path, monkeypatch):
    write_shard(out / SHARD, [f"{out}/images/v-1/000000.png"])
    (tmp_path / "link").symlink_to(out)
    monkeypatch.chdir(tmp_path)
    for name in ("out", "./out/", "link", f"{out}/../out", f"file://{out}"):
        assert named_elsewhere(name, SHARD) is None, name


def test_a_copy_is_another_place_though_the_first_is_there(out, tmp_path):
    write_shard(out / SHARD, [f"{out}/images/v-1/000000.png"])
    copy = tmp_path / "copy"
    for name in (SHARD, "images/v-1/000000.png"):
        (copy / name).parent.mkdir(parents=True)
        (copy / name).write_bytes((out / name).read_bytes())
    assert named_elsewhere(str(copy), SHARD) == str(out)
    (copy / "images/v-1/000000.png").unlink()
    os.link(out / "images/v-1/000000.png", copy / "images/v-1/000000.png")
    assert named_elsewhere(str(copy), SHARD) is None  # what is opened is the file that is here


def test_on_an_object_store(out):
    for place in ("memory://paths/out", "memory://paths/other"):
        write_shard(f"{place}/{SHARD}", ["memory://paths/out/images/v-1/000000.png"])
    assert named_elsewhere("memory://paths/out", SHARD) is None
    assert named_elsewhere("memory:///paths/out/", SHARD) is None
    assert named_elsewhere("memory://paths/other", SHARD) == "memory://paths/out"
    write_shard(out / SHARD, ["memory://paths/out/images/v-1/000000.png"])  # taken from a store
    assert named_elsewhere(str(out), SHARD) == "memory://paths/out"
    fsspec.filesystem("memory").rm("/paths", recursive=True)


def test_what_is_no_shard(out):
    (out / SHARD).parent.mkdir(parents=True)
    (out / SHARD).write_bytes(b"x" * 400)
    with pytest.raises(RunError, match=r"data-00000\.arrow: cannot be read"):
        named_elsewhere(str(out), SHARD)


def test_altered_bytes_are_an_error_that_names_the_shard(out):
    write_shard(out / SHARD, ["/old/images/v-1/000000.png"])
    whole, dice, refused = (out / SHARD).read_bytes(), random.Random(3), 0
    for _ in range(300):
        at = dice.randrange(len(whole))
        changed = bytes([whole[at] ^ (1 << dice.randrange(8))])
        (out / SHARD).write_bytes(whole[:at] + changed + whole[at + 1 :])
        try:
            named_elsewhere(str(out), SHARD)
        except RunError as error:
            assert error.where.endswith(SHARD)
            refused += 1
    assert refused
