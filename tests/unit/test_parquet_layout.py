"""Parquet files that `datasets` streams, judged by pyarrow's and datasets' own readers."""

import hashlib
import io
import itertools

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from engine.config import Config
from engine.parquet_layout import open_part, parquet_name
from engine.records import FRAME_SCHEMA
from engine.samples import ImageFile, Part, Samples

TURNS = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A dog."}]


def png(value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), value % 256, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def samples(numbers, image=png):
    rows = [
        {
            "id": f"v/{n:06d}", "video_id": "v", "frame_index": n, "timestamp_sec": n / 4,
            "width": 6, "height": 4, "masks": [{"size": [4, 6], "counts": "PPYo0"}] * (n % 3),
            "bounding_boxes": [[1, 2, 3, 4]] * (n % 3), "labels": ["dog"] * (n % 3),
            "object_ids": [None] * (n % 3), "areas": [9] * (n % 3), "confidences": [0.5] * (n % 3),
        }
        for n in numbers
    ]  # fmt: skip
    return Samples(
        frames=pa.Table.from_pylist(rows, schema=FRAME_SCHEMA),
        images=[ImageFile(data=image(n), name=f"frame_{n}.png") for n in numbers],
        conversations=[TURNS] * len(rows),
    )


def write(root, batches, *, number=0, image=png):
    part = Part(staging=str(root), out="", split="train", number=number, config=Config())
    with open_part(part) as take:
        for numbers in batches:
            take(samples(numbers, image))
    return part.result().files[0]


def groups(root):
    metadata = pq.ParquetFile(root / parquet_name("train", 0)).metadata
    return [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]


def test_datasets_reads_and_decodes_it(tmp_path):
    write(tmp_path, [[0, 1], [2]])
    place = str(tmp_path / "parquet" / "train-00000.parquet")
    loaded = datasets.Dataset.from_parquet(place, cache_dir=str(tmp_path / "cache"))
    assert loaded.features["images"] == datasets.List(datasets.Image())
    assert "image" not in loaded.features
    assert list(loaded["id"]) == ["v/000000", "v/000001", "v/000002"]
    row = loaded[2]
    (image,) = row["images"]
    assert np.asarray(image).tolist() == np.full((4, 6, 3), 2).tolist()
    assert row["masks"] == [{"size": [4, 6], "counts": "PPYo0"}] * 2
    assert row["object_ids"] == [None, None]
    assert row["conversations"] == TURNS
    assert row["messages"][0]["content"] == [
        {"type": "image", "text": None}, {"type": "text", "text": "What?"}
    ]  # fmt: skip
    assert loaded[0]["masks"] == []


def test_image_bytes_are_unchanged_and_lie_there_plainly(tmp_path):
    write(tmp_path, [range(5)])
    table = pq.read_table(tmp_path / parquet_name("train", 0))
    assert table["images"].to_pylist() == [
        [{"bytes": png(n), "path": f"frame_{n}.png"}] for n in range(5)
    ]
    raw = (tmp_path / parquet_name("train", 0)).read_bytes()
    assert png(3) in raw, "no codec and no dictionary"


def test_each_column_is_written_as_suits_it(tmp_path):
    write(tmp_path, [range(20)])
    group = pq.ParquetFile(tmp_path / parquet_name("train", 0)).metadata.row_group(0)
    columns = [group.column(k) for k in range(group.num_columns)]
    image = [column for column in columns if column.path_in_schema == "images.list.element.bytes"]
    others = [column for column in columns if column not in image]
    assert len(image) == 1
    assert (image[0].compression, image[0].is_stats_set) == ("UNCOMPRESSED", False)
    assert "RLE_DICTIONARY" not in image[0].encodings
    assert {column.compression for column in others} == {"ZSTD"}
    assert all(column.has_offset_index for column in columns)
    (index,) = (column for column in columns if column.path_in_schema == "frame_index")
    assert (index.statistics.min, index.statistics.max) == (0, 19)


def test_row_groups_end_at_a_hundred_rows(tmp_path):
    write(tmp_path, [range(256), range(256, 310)])
    assert groups(tmp_path) == [100, 100, 100, 10]
    ids = pq.read_table(tmp_path / parquet_name("train", 0))["frame_index"].to_pylist()
    assert ids == list(range(310))


def test_row_groups_end_where_their_images_are_large(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.parquet_layout._GROUP_BYTES", 1000)
    sizes = [400, 400, 400, 1, 5000, 999, 1, 10]
    write(tmp_path, [range(3), range(3, 8)], image=lambda n: bytes(sizes[n]))
    assert groups(tmp_path) == [3, 2, 2, 1]


def noise(n):
    """What an image is to a writer: 30 KB that nothing can make smaller."""
    return np.random.default_rng(n).integers(0, 256, 30_000, np.uint8).tobytes()


@pytest.mark.parametrize("image", [png, noise])
@pytest.mark.parametrize("cuts", [[1] * 230, [7] * 32 + [6], [100, 130]])
def test_the_file_does_not_show_how_the_rows_came(tmp_path, cuts, image):
    whole = write(tmp_path / "whole", [range(230)], image=image)
    ends = np.cumsum([0, *cuts])
    batches = [range(a, b) for a, b in itertools.pairwise(ends)]
    assert ends[-1] == 230
    assert write(tmp_path / "cut", batches, image=image) == whole


def test_digest_and_name(tmp_path):
    file = write(tmp_path, [[1]], number=12)
    data = (tmp_path / file.path).read_bytes()
    assert file.path == "parquet/train-00012.parquet"
    assert (file.sha256, file.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))


def test_a_shard_without_rows_is_a_file_that_can_be_read(tmp_path):
    """All its images turned out bad: the shard stays, as in `hf`, and the others are read."""
    write(tmp_path, [])
    write(tmp_path, [[1, 2]], number=1)
    files = [str(tmp_path / parquet_name("train", k)) for k in (0, 1)]
    loaded = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path / "cache"))
    assert loaded["frame_index"][:] == [1, 2]


def test_a_failed_write_leaves_no_file(tmp_path):
    part = Part(staging=str(tmp_path), out="", split="train", number=0, config=Config())
    with pytest.raises(OSError, match="full"), open_part(part) as take:
        take(samples([0]))
        raise OSError("full")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert part.files == []
