"""Images as files of their own: `<folder>/<video_id>/<frame_index>.<ext>`.

Trade-off: a file for each frame is what trainers read, and slow to commit. So no file is waited for
to be on the disk (`BackgroundSync` brings a shard's files there at once), a second format gets hard
links to the files of the first, and the manifest names them through digest shards, one table for
each format and shard, instead of a million entries.

Bytes stay as they are; only where JPEG is asked for, everything else is encoded anew: quality 95
without chroma subsampling, which keeps the colours of thin and small things.
"""

import hashlib
import io
import re
from dataclasses import replace

import pyarrow as pa

from engine.errors import RunError
from engine.images import ImageInfo, read_header
from engine.pixels import decode_rgb
from engine.samples import Part, Samples
from engine.storage import FileDigest, join, link_file, write_bytes
from engine.tables import write_table
from engine.written_files import note_written

__all__ = [
    "DIGEST_SCHEMA",
    "as_jpeg",
    "digest_name",
    "video_folder",
    "write_digests",
    "write_images",
]

DIGEST_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string()),  # relative to OUT
        pa.field("size_bytes", pa.int64()),
        pa.field("sha256", pa.string()),
    ]
)
"""The files of `OUT/digests`: one row a file that the manifest does not name itself."""

_EXTENSIONS = {
    "jpeg": "jpg", "png": "png", "webp": "webp", "bmp": "bmp", "gif": "gif", "tiff": "tif",
}  # fmt: skip
_JPEG_QUALITY = 95
# Safe on every file system, in every URL, and for loaders that open files without an encoding.
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


def write_images(
    part: Part, samples: Samples, folder: str, *, image_format: str | None = None
) -> list[FileDigest]:
    """Write the image of each row as a file, for one format.

    The files are whole or not there, and two live attempts of one task do no harm. What another
    format has written of the same rows is linked, or written again where links do not exist. The
    files are added to `part.extracted`; those that are in OUT already are not.

    Args:
        part: the format's share of the shard.
        samples: rows with images.
        folder: the folder in OUT that gets a folder for each video, like "llava/images".
        image_format: "keep" or "jpg"; None: what the configuration says.

    Returns:
        n files in the order of the rows; `path` is relative to OUT. The extension is that of the
        content, whatever the name in the export says.

    Raises:
        RunError: an image has pixels that cannot be decoded, or is of no known format.
        ValueError: a row without an image.
    """
    jpeg_only = (image_format or part.config.image_format) == "jpg"
    videos = samples.frames["video_id"].to_pylist()
    indices = samples.frames["frame_index"].to_pylist()
    files, new = [], []
    for row, (video, frame_index) in enumerate(zip(videos, indices, strict=True)):
        if (kept := samples.images[row].stored) is not None:
            files.append(kept)
            continue
        data = samples.images[row].data
        if data is None:
            raise ValueError(f"row {row} has no image")
        kind = _kind(data, f"{video}/{frame_index:06d}")
        encode = jpeg_only and kind != "jpeg"
        extension = "jpg" if encode else _EXTENSIONS[kind]
        name = f"{folder}/{video_folder(video)}/{frame_index:06d}.{extension}"
        stored = samples.stored.get((row, encode))
        origin = samples.images[row].origin
        if stored is not None and link_file(part.path(stored.path), part.path(name)):
            file = replace(stored, path=name)
        elif origin is not None and not encode and link_file(origin, part.path(name)):
            digest = hashlib.sha256(data).hexdigest()
            file = FileDigest(path=name, size_bytes=len(data), sha256=digest)
        else:
            content = as_jpeg(data, name) if encode else data
            file = write_bytes(part.path(name), content, name=name, durable=False)
        note_written(part.path(name), file.size_bytes, file.sha256)  # a link's digest is known here
        samples.stored.setdefault((row, encode), file)
        files.append(file)
        new.append(file)
    part.extracted.extend(new)
    return files


def video_folder(video_id: str) -> str:
    """Give the name of a video's folder.

    Ids that were made from an export's metadata stay as they are. One given by hand may hold any
    character but slashes; unless it is safe everywhere, it gets a digest for what is replaced.
    """
    if _SAFE_NAME.fullmatch(video_id):
        return video_id
    digest = hashlib.sha256(video_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", video_id)[:64].strip("-") or "video"
    return f"{slug}-{digest}"


def digest_name(format_name: str, split: str, number: int) -> str:
    """Give the name in OUT of the digests of one format's images in one shard."""
    return f"digests/{format_name}-{split}-{number:05d}.parquet"


def write_digests(part: Part, format_name: str) -> FileDigest | None:
    """Write the digests of what a format extracted from a shard; None if it extracted nothing."""
    if not part.extracted:
        return None
    columns = {
        field: [getattr(file, field) for file in part.extracted] for field in DIGEST_SCHEMA.names
    }
    name = digest_name(format_name, part.split, part.number)
    table = pa.table(columns, schema=DIGEST_SCHEMA)
    return write_table(join(part.staging, name), table, name=name, durable=False)


def _kind(data: bytes, frame_id: str) -> str:
    info = read_header(data)
    if not isinstance(info, ImageInfo) or info.format not in _EXTENSIONS:
        raise RunError(frame_id, f"the image cannot be written: {info or 'its header ends early'}")
    return info.format


def as_jpeg(data: bytes, name: str) -> bytes:
    """Encode an image as JPEG; the same pixels give the same bytes with the same Pillow.

    Args:
        data: the file; its pixels are known to be fit to be decoded.
        name: for the error.

    Raises:
        RunError: it cannot be decoded.
    """
    from PIL import Image  # costs start-up time

    pixels = decode_rgb(data)
    if pixels is None:
        raise RunError(
            name, "the image cannot be decoded",
            advice="--check-images decode --validation standard sets such frames aside",
        )  # fmt: skip
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return sink.getvalue()
