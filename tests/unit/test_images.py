"""Images are judged against Pillow, which made them, and against every damage of a kind."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from engine.images import check_decode, check_structure, read_header
from engine.pixels import decode_rgb

PIXELS = np.random.default_rng(7).integers(0, 256, (24, 40, 4), dtype=np.uint8)


def picture(mode):
    if mode == "I;16":
        return Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
    if mode in ("RGB", "RGBA"):
        return Image.fromarray(PIXELS[..., : len(mode)])
    return Image.fromarray(PIXELS[..., :3]).convert(mode)


def encoded(picture, kind, **options):
    sink = io.BytesIO()
    picture.save(sink, kind, **options)
    return sink.getvalue()


def with_orientation(orientation, kind="jpeg"):
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif[0x0112] = orientation
    return encoded(picture("RGB"), kind, exif=exif)


WHOLE = {
    "jpeg RGB": encoded(picture("RGB"), "jpeg"),
    "jpeg progressive": encoded(picture("RGB"), "jpeg", progressive=True),
    "jpeg restarts": encoded(picture("RGB"), "jpeg", restart_marker_blocks=1),
    "jpeg L": encoded(picture("L"), "jpeg"),
    "jpeg CMYK": encoded(picture("CMYK"), "jpeg"),
    "jpeg profile": encoded(
        picture("RGB"),
        "jpeg",
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ),
    "jpeg exif": with_orientation(6),
    **{f"png {mode}": encoded(picture(mode), "png")
       for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    "png animated": encoded(
        picture("RGB"), "png", save_all=True, append_images=[picture("RGB").rotate(180)]
    ),
    "png exif": with_orientation(8, "png"),
    "gif": encoded(picture("P"), "gif"),
    "gif animated": encoded(
        picture("P"), "gif", save_all=True, append_images=[picture("P").rotate(180)]
    ),
    "webp": encoded(picture("RGB"), "webp"),
    "bmp": encoded(picture("RGB"), "bmp"),
    "tiff": encoded(picture("RGB"), "tiff"),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_the_header_says_what_pillow_says(name):
    with Image.open(io.BytesIO(WHOLE[name])) as oracle:
        info = read_header(WHOLE[name])
        assert (info.format, info.width, info.height) == (oracle.format.lower(), 40, 24)
        assert info.orientation == oracle.getexif().get(0x0112, 1)
        assert info.mode == oracle.mode


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_image_passes_and_decodes_to_pillows_pixels(name):
    data = WHOLE[name]
    assert check_structure(data) is None
    assert check_decode(data) is None
    with Image.open(io.BytesIO(data)) as oracle:
        expected = np.asarray(oracle.convert("RGB"))
    if name == "png I;16":
        expected = np.repeat(PIXELS[..., :1], 3, axis=2)
    pixels = decode_rgb(data)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, expected)


@pytest.mark.parametrize("name", [n for n in WHOLE if n.startswith(("jpeg", "png"))])
def test_every_prefix_is_bad_and_a_tail_is_not(name):
    data = WHOLE[name]
    for n_bytes in range(len(data)):
        code, sentence = check_structure(data[:n_bytes])
        assert code == ("image_truncated" if n_bytes else "image_unreadable"), n_bytes
        assert sentence
    for tail in (b"\0" * 64, b"\n", data, b"\xff\xd8\xff junk"):
        assert check_structure(data + tail) is None


@pytest.mark.parametrize("name", WHOLE)
def test_a_prefix_of_a_header_asks_for_more_or_says_the_same(name):
    data = WHOLE[name]
    whole = read_header(data)
    answers = [read_header(data[:n]) for n in range(len(data))]
    assert not any(isinstance(answer, str) for answer in answers)
    assert answers[0] is None
    if name.startswith(("jpeg", "png")):
        first = next(n for n, answer in enumerate(answers) if answer is not None)
        assert all(answer == whole for answer in answers[first:])


@pytest.mark.parametrize("name", ["gif", "webp", "bmp", "tiff"])
def test_other_formats_cut_in_half_are_bad(name):
    data = WHOLE[name]
    for n_bytes in (1, 3, 20, len(data) // 2):
        assert check_structure(data[:n_bytes]) is not None
        assert decode_rgb(data[:n_bytes]) is None


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_orientation(orientation, kind):
    expected = orientation if 1 <= orientation <= 8 else 1
    assert read_header(with_orientation(orientation, kind)).orientation == expected


@pytest.mark.parametrize("order", "<>")
def test_orientation_in_both_byte_orders_and_damaged(order):
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    tiff = mark + struct.pack(f"{order}IHHHIHH", 8, 1, 0x0112, 3, 1, 3, 0)
    for n_bytes in range(len(tiff) + 1):
        block = b"Exif\0\0" + tiff[:n_bytes]
        segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
        data = WHOLE["jpeg RGB"][:2] + segment + WHOLE["jpeg RGB"][2:]
        whole = n_bytes >= len(tiff) - 2
        assert read_header(data).orientation == (3 if whole else 1)


def test_every_flipped_bit_of_a_png_is_found():
    data = encoded(Image.fromarray(PIXELS[:4, :4, :3]), "png")
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert check_structure(bytes(damaged)) is not None, bit


def chunk(kind, content):
    crc32 = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc32


def png(width, height, pixels):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = b"".join(chunk(b"IDAT", part) for part in pixels)
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def test_only_the_decode_sees_that_a_pngs_pixels_end_early():
    short = png(40, 24, [zlib.compress(b"\0" * 500)])
    assert check_structure(short) is None
    assert check_decode(short)[0] in ("image_truncated", "image_unreadable")
    assert decode_rgb(short) is None
    assert check_structure(png(40, 24, [])) == ("image_unreadable", "the PNG has no pixels")


def test_a_bomb_is_refused_before_it_goes_off():
    bomb = png(60_000, 60_000, [zlib.compress(b"\0" * 500)])
    assert "60000 x 60000" in read_header(bomb)
    for check in (check_structure, check_decode):
        code, sentence = check(bomb)
        assert code == "image_unreadable"
        assert "decompression bomb" in sentence
    assert decode_rgb(bomb) is None


@pytest.mark.filterwarnings("error")
def test_a_large_image_is_no_warning():
    large = png(10_000, 9_500, [zlib.compress(b"\0" * 500)])
    assert "bomb" not in check_decode(large)[1]


def test_a_jpegs_thumbnail_does_not_end_it():
    thumbnail = WHOLE["jpeg L"]
    segment = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = WHOLE["jpeg RGB"][:2] + segment + WHOLE["jpeg RGB"][2:]
    assert read_header(data) == read_header(WHOLE["jpeg RGB"])
    assert check_structure(data) is None
    assert check_structure(data[:-2])[0] == "image_truncated"
    assert check_structure(data[:-2] + b"\0" * 1000)[0] == "image_truncated"


@pytest.mark.parametrize(
    "data",
    [b"hello, this is no image at all", b"%PDF-1.7 ...", b"\0" * 100, b"PK\x03\x04" + b"\0" * 50,
     b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
)  # fmt: skip
def test_what_is_no_image_is_unreadable(data):
    assert isinstance(read_header(data), str)
    assert check_structure(data)[0] == check_decode(data)[0] == "image_unreadable"
    assert decode_rgb(data) is None


def test_an_image_without_size_or_with_12_bits_is_unreadable():
    assert "0 x 24" in read_header(png(0, 24, [b""]))
    jpeg = WHOLE["jpeg RGB"]
    at = jpeg.index(b"\xff\xc0")
    assert "12 bits" in read_header(jpeg[: at + 4] + b"\x0c" + jpeg[at + 5 :])
    empty = jpeg[: at + 5] + b"\0\0" + jpeg[at + 7 :]
    assert check_structure(empty) == ("image_unreadable", "the header declares 40 x 0 pixels")
    assert "no frame header" in read_header(jpeg[:at] + jpeg[jpeg.index(b"\xff\xda") :])


def test_shrinking_keeps_the_shape_and_the_colours():
    side = np.linspace(0, 255, 640).astype(np.uint8)
    smooth = np.stack([np.tile(side, (360, 1))] * 3, axis=2)
    for kind in ("jpeg", "png"):
        data = encoded(Image.fromarray(smooth), kind)
        small = decode_rgb(data, max_side=64)
        assert small.shape == (36, 64, 3)
        assert np.abs(small[18, :, 0].astype(int) - side[5::10]).max() <= 4
        assert decode_rgb(data, max_side=10_000).shape == (360, 640, 3)


def test_pixels_are_as_stored_not_rotated():
    assert decode_rgb(with_orientation(6)).shape == (24, 40, 3)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_segment_among_pixels_that_leads_out_of_a_jpeg_is_seen_though_its_end_is_there(
    progressive,
):
    noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(noise).save(sink, "JPEG", progressive=progressive)
    data = sink.getvalue()
    assert check_structure(data) is None
    middle = data.index(b"\xff\xda") + 40
    damaged = data[:middle] + b"\xff\xc4\xff\xff" + data[middle:]
    assert damaged.endswith(b"\xff\xd9")
    assert check_structure(damaged)[0] == "image_truncated"
