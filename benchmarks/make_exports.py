"""The exports that benchmarks read: drawn videos, the same bytes for the same parameters.

Drawing and encoding a frame takes far longer than reading one, so a video repeats after a few dozen
frames: its pictures and masks come round again, its frame indices do not. Nothing that reads an
export profits from that, since every member is compressed, stored and read by itself. Archives are
deflated, as real exporters write them.

Two kinds: clean frames with COCO masks of image size, and what the real exporter writes (row-major
runs on a 256x256 grid, masks painted on PNG frames); of the same seed they are twins, the same
pictures without and with paint. Of small frames one takes a seventh of a millisecond to write: a
million of them need no other maker.

Exports are kept in a folder named by a digest of their parameters, and made once; a set that
differs from one that is there in the number of exports alone shares its files by hard links.
"""

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

import click

from engine.sample_export import write_sample_export

__all__ = ["DEFAULT_CACHE", "ExportSet", "main", "make_exports", "set_of_kind"]

DEFAULT_CACHE = Path("build/bench")
_LABELS = ("person", "dog", "car")
_LATER_FIELDS = ("image_format", "dialect", "objects")  # sets were made before there were these
_DONE = "parameters.json"  # written last: a folder without it is made anew


@dataclass(frozen=True, kw_only=True)
class ExportSet:
    """What the exports hold.

    Args:
        exports: how many ZIPs, each of another video.
        frames_per_export: frames of each.
        width: of the images, px.
        height: of the images, px.
        image_bytes: size of a JPEG to aim at; None: as it comes. A PNG is as large as it comes:
            1.1 MB at 1280x720.
        seed: of the first video; the others follow on it.
        image_format: of the frames.
        dialect: "coco": masks of image size, clean frames; "real": as the real exporter writes.
        objects: masks a frame, at most 3, each of another class.
    """

    exports: int = 10
    frames_per_export: int = 1000
    width: int = 1280
    height: int = 720
    image_bytes: int | None = 290_000
    seed: int = 1
    image_format: Literal["jpg", "png"] = "jpg"
    dialect: Literal["coco", "real"] = "coco"
    objects: int = 3

    @classmethod
    def png(cls, exports: int, frames_per_export: int, *, painted: bool = False) -> "ExportSet":
        """Frames of 1280x720 as PNG, 1.1 MB each: clean, or as the real exporter writes them."""
        return cls(
            exports=exports, frames_per_export=frames_per_export, image_bytes=None,
            image_format="png", dialect="real" if painted else "coco",
        )  # fmt: skip

    @classmethod
    def small(cls, exports: int, frames_per_export: int, *, side: int = 64) -> "ExportSet":
        """Square JPEG frames as small as may be, with two masks each; 2 KB each at 64 px."""
        return cls(
            exports=exports, frames_per_export=frames_per_export, width=side, height=side,
            image_bytes=None, objects=2,
        )  # fmt: skip

    @property
    def frames(self) -> int:
        """Frames of all exports."""
        return self.exports * self.frames_per_export

    @property
    def distinct_images(self) -> int:
        """After how many frames a video repeats; few enough for every class to fill all splits."""
        return max(1, min(32, self.frames_per_export // 20))

    @property
    def digest(self) -> str:
        """12 hexadecimal digits of the parameters."""
        # What a field at its default stood for before there was the field stays under its name.
        later = {f.name: f.default for f in fields(self) if f.name in _LATER_FIELDS}
        own = {k: v for k, v in asdict(self).items() if k not in later or v != later[k]}
        parameters = own | {"distinct_images": self.distinct_images, "labels": _LABELS}
        text = json.dumps(parameters, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, object]:
        """Give the parameters as JSON types, for a result."""
        return asdict(self) | {"distinct_images": self.distinct_images}


def make_exports(
    wanted: ExportSet, cache: Path = DEFAULT_CACHE, *, processes: int | None = None
) -> list[Path]:
    """Give the exports, and make them first if they are not there.

    Args:
        wanted: what they hold.
        cache: folder of all export sets.
        processes: most exports written at once, some 300 MB of memory each; None: one a core.

    Returns:
        The ZIPs, in order, in a folder of their own.

    Raises:
        ValueError: there are fewer than 1 or more than 3 objects.
    """
    if not 1 <= wanted.objects <= len(_LABELS):
        raise ValueError(f"objects: got {wanted.objects}, expected 1 to {len(_LABELS)}")
    folder = cache / wanted.digest
    paths = [folder / _name(number) for number in range(wanted.exports)]
    if not (folder / _DONE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        linked = _linked(wanted, cache, folder)
        rest = range(linked, wanted.exports)
        with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
            list(pool.map(_write, [wanted] * len(rest), rest, paths[linked:], chunksize=1))
        (folder / _DONE).write_text(json.dumps(asdict(wanted), indent=2) + "\n")
    return paths


def set_of_kind(kind: str, exports: int, frames_per_export: int) -> ExportSet:
    """Name a set as people do.

    Args:
        kind: "jpg" or "png" (1280x720, clean), "real" (PNG, painted), "small" (64x64 JPEG).
        exports: how many ZIPs.
        frames_per_export: frames of each.

    Raises:
        ValueError: there is no such kind.
    """
    match kind:
        case "jpg":
            return ExportSet(exports=exports, frames_per_export=frames_per_export)
        case "png" | "real":
            return ExportSet.png(exports, frames_per_export, painted=kind == "real")
        case "small":
            return ExportSet.small(exports, frames_per_export)
    raise ValueError(f"kind: got {kind!r}, expected jpg, png, real or small")


def _name(number: int) -> str:
    return f"export_{number:03d}.zip"


def _linked(wanted: ExportSet, cache: Path, folder: Path) -> int:
    """Link to the exports of a set that has the same ones; say how many of the first are there."""
    most = 0
    for record in sorted(cache.glob(f"*/{_DONE}")):
        other = ExportSet(**json.loads(record.read_text()))
        if replace(other, exports=wanted.exports) != wanted:
            continue
        for number in range(most, min(other.exports, wanted.exports)):
            (folder / _name(number)).unlink(missing_ok=True)
            (folder / _name(number)).hardlink_to(record.parent / _name(number))
        most = max(most, min(other.exports, wanted.exports))
    return most


def _write(wanted: ExportSet, number: int, path: Path) -> None:
    write_sample_export(
        path,
        dialect=wanted.dialect,
        frames=wanted.frames_per_export,
        width=wanted.width,
        height=wanted.height,
        labels=_LABELS[: wanted.objects],
        seed=wanted.seed + number,
        filename=f"bench_{number:03d}.mp4",
        image_format=wanted.image_format,
        image_bytes=wanted.image_bytes,
        distinct_images=wanted.distinct_images,
        compression="deflate",
        truth=False,
    )


@click.command()
@click.option("--exports", default=10, show_default=True, help="ZIPs to make.")
@click.option("--frames-per-export", default=1000, show_default=True, help="Frames of each.")
@click.option(
    "--kind",
    type=click.Choice(["jpg", "png", "real", "small"]),
    default="jpg",
    show_default=True,
    help="Frames of 1280x720 as JPEG or PNG, as the real exporter writes them, or of 64x64.",
)
@click.option("--cache", default=str(DEFAULT_CACHE), show_default=True, help="Where they are kept.")
def main(exports: int, frames_per_export: int, kind: str, cache: str) -> None:
    """Make the exports of the benchmarks and print where they lie."""
    wanted = set_of_kind(kind, exports, frames_per_export)
    for path in make_exports(wanted, Path(cache)):
        click.echo(f"{path}  {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.make_exports")
