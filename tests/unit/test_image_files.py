"""Images as files: names by content, bytes unchanged, links for the second format, digests."""

import hashlib
import io
import uuid

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.config import Config
from engine.errors import RunError
from engine.image_files import DIGEST_SCHEMA, digest_name, video_folder, write_digests, write_images
from engine.records import FRAME_SCHEMA
from engine.samples import ImageFile, Part, Samples

PIXELS = np.random.default_rng(7).integers(0, 256, (24, 32, 3), np.uint8)


def encoded(kind, pixels=PIXELS, **options):
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, kind, **options)
    return sink.getvalue()


def part(staging, **config):
    config = {"formats": ("llava", "swift")} | config
    return Part(
        staging=str(staging), out=str(staging), split="train", number=3, config=Config(**config)
    )


def samples(images, video="street-1a2b3c", first=12):
    frames = [
        {"id": f"{video}/{first + i:06d}", "video_id": video, "frame_index": first + i}
        for i in range(len(images))
    ]
    return Samples(
        frames=pa.Table.from_pylist(frames, schema=FRAME_SCHEMA),
        images=[ImageFile(data=data, name="frame_000012.png") for data in images],
    )


@pytest.mark.parametrize(
    ("kind", "extension"),
    [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("BMP", "bmp"), ("GIF", "gif"),
     ("TIFF", "tif")],
)  # fmt: skip
def test_the_extension_is_the_content_s_and_the_bytes_stay(tmp_path, kind, extension):
    data = encoded(kind)
    (file,) = write_images(part(tmp_path), samples([data]), "llava/images")
    assert file.path == f"llava/images/street-1a2b3c/000012.{extension}"
    assert (tmp_path / file.path).read_bytes() == data
    assert (file.size_bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_only_what_is_no_jpeg_is_encoded_anew(tmp_path):
    jpeg, png = encoded("JPEG", quality=30), encoded("PNG")
    kept, made = write_images(part(tmp_path, image_format="jpg"), samples([jpeg, png]), "x")
    assert (tmp_path / kept.path).read_bytes() == jpeg
    assert made.path == "x/street-1a2b3c/000013.jpg"
    data = (tmp_path / made.path).read_bytes()
    assert made.sha256 == hashlib.sha256(data).hexdigest()
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("JPEG", (32, 24))
        # Noise is the worst case: half the colours would be off by 60 with subsampled chroma.
        off = np.abs(np.asarray(image).astype(int) - PIXELS).mean()
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
    assert off < 4
    assert data == encoded("JPEG", quality=95, subsampling=0)


def test_a_caller_may_ask_for_jpeg_whatever_is_configured(tmp_path):
    (file,) = write_images(part(tmp_path), samples([encoded("PNG")]), "r", image_format="jpg")
    assert file.path.endswith(".jpg")


def test_pixels_that_cannot_be_decoded_are_said_with_what_to_do(tmp_path):
    png = encoded("PNG")
    broken = png[: png.index(b"IDAT") + 4] + b"\0" * 40
    with pytest.raises(RunError, match="--check-images decode"):
        write_images(part(tmp_path, image_format="jpg"), samples([broken]), "x")
    with pytest.raises(RunError, match="cannot be written"):
        write_images(part(tmp_path), samples([b"GIF99 no image"]), "x")
    with pytest.raises(ValueError, match="row 0"):
        write_images(part(tmp_path), samples([None]), "x")


def test_the_next_format_links_what_the_first_has_written(tmp_path, monkeypatch):
    rows = samples([encoded("PNG"), encoded("JPEG")])
    first, second = part(tmp_path), part(tmp_path)
    ours = write_images(first, rows, "llava/images")
    monkeypatch.setattr("engine.image_files.write_bytes", None)  # no bytes are written again
    theirs = write_images(second, rows, "swift/images")
    for one, other in zip(ours, theirs, strict=True):
        assert other.path == one.path.replace("llava", "swift")
        assert (one.sha256, one.size_bytes) == (other.sha256, other.size_bytes)
        assert (tmp_path / one.path).samefile(tmp_path / other.path)
    assert second.extracted == theirs
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("order", [("keep", "jpg"), ("jpg", "keep")])
def test_encoded_and_unchanged_images_are_not_mistaken_for_each_other(tmp_path, order):
    rows = samples([encoded("PNG"), encoded("JPEG")])
    written = {kind: write_images(part(tmp_path), rows, kind, image_format=kind) for kind in order}
    kept, made = written["keep"], written["jpg"]
    assert kept[0].sha256 != made[0].sha256
    assert kept[1].sha256 == made[1].sha256
    assert (tmp_path / kept[1].path).samefile(tmp_path / made[1].path)
    for file in (*kept, *made):
        assert hashlib.sha256((tmp_path / file.path).read_bytes()).hexdigest() == file.sha256


def test_a_second_attempt_finds_its_files_there(tmp_path):
    for _ in range(2):
        rows = samples([encoded("PNG")])
        write_images(part(tmp_path), rows, "a")
        write_images(part(tmp_path), rows, "b")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png")) == [
        "a/street-1a2b3c/000012.png", "b/street-1a2b3c/000012.png",
    ]  # fmt: skip
    assert not list(tmp_path.rglob(".*"))


def test_a_store_without_links_gets_the_bytes_again():
    root = f"memory://{uuid.uuid4().hex}"
    rows, data = samples([encoded("PNG")]), encoded("PNG")
    for folder in ("a", "b"):
        (file,) = write_images(part(root), rows, folder)
        with fsspec.open(f"{root}/{file.path}") as stored:
            assert stored.read() == data
        assert file.sha256 == hashlib.sha256(data).hexdigest()


def test_a_file_system_without_links_gets_the_bytes_again(tmp_path, monkeypatch):
    def refuse(_old, _new):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("engine.storage.os.link", refuse)
    rows = samples([encoded("PNG")])
    write_images(part(tmp_path), rows, "a")
    (file,) = write_images(part(tmp_path), rows, "b")
    assert (tmp_path / file.path).read_bytes() == encoded("PNG")


@pytest.mark.parametrize("name", ["street-1a2b3c", "Kitchen_2", "a..b", "x" * 128])
def test_a_safe_id_is_the_folder(name):
    assert video_folder(name) == name


@given(st.text(min_size=1).filter(lambda t: not set(t) & set("/\\\0") and t[0] != "."))
def test_any_id_becomes_a_folder_that_is_safe_everywhere(video):
    folder = video_folder(video)
    assert folder.isascii()
    assert len(folder) <= 128
    assert set(folder) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert not folder.startswith(".")
    assert "::" not in folder


def test_hostile_ids_stay_apart_and_below_the_folder(tmp_path):
    ids = ["a b", "a?b", "a::b", "a*b", "é", "e\u0301", "x" * 300, "x" * 301, "..a", "~", "\n"]
    assert len({video_folder(i) for i in ids}) == len(ids)
    for video in ids:
        (file,) = write_images(part(tmp_path), samples([encoded("PNG")], video=video), "im")
        place = (tmp_path / file.path).resolve()
        assert place.is_relative_to(tmp_path / "im")
        assert place.exists()


def test_digests_are_a_table_of_what_was_extracted(tmp_path):
    share = part(tmp_path)
    assert write_digests(share, "llava") is None
    files = write_images(share, samples([encoded("PNG"), encoded("JPEG")]), "llava/images")
    digest = write_digests(share, "llava")
    assert digest.path == digest_name("llava", "train", 3) == "digests/llava-train-00003.parquet"
    table = pq.read_table(tmp_path / digest.path)
    assert table.schema.equals(DIGEST_SCHEMA)
    assert table.to_pylist() == [
        {"path": f.path, "size_bytes": f.size_bytes, "sha256": f.sha256} for f in files
    ]
    again = hashlib.sha256((tmp_path / digest.path).read_bytes()).hexdigest()
    assert again == digest.sha256
