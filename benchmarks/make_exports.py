"""The exports that benchmarks read: drawn videos, the same bytes for the same parameters.

Drawing and encoding a frame takes far longer than reading one, so a video repeats after a few dozen
frames: its pictures and masks come round again, its frame indices do not. Nothing that reads an
export profits from that, since every member is compressed, stored and read by itself. Archives are
deflated, as real exporters write them.

Exports are kept in a folder named by a digest of their parameters, and made once.
"""

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from engine.sample_export import write_sample_export

__all__ = ["DEFAULT_CACHE", "ExportSet", "main", "make_exports"]

DEFAULT_CACHE = Path("build/bench")
_LABELS = ("person", "dog", "car")
_DONE = "parameters.json"  # written last: a folder without it is made anew


@dataclass(frozen=True, kw_only=True)
class ExportSet:
    """What the exports hold.

    Args:
        exports: how many ZIPs, each of another video.
        frames_per_export: frames of each, with three masks of image size a frame.
        width: of the images, px.
        height: of the images, px.
        image_bytes: size of a JPEG to aim at.
        seed: of the first video; the others follow on it.
    """

    exports: int = 10
    frames_per_export: int = 1000
    width: int = 1280
    height: int = 720
    image_bytes: int = 290_000
    seed: int = 1

    @property
    def distinct_images(self) -> int:
        """After how many frames a video repeats; few enough for every class to fill all splits."""
        return max(1, min(32, self.frames_per_export // 20))

    @property
    def digest(self) -> str:
        """12 hexadecimal digits of the parameters."""
        parameters = asdict(self) | {"distinct_images": self.distinct_images, "labels": _LABELS}
        text = json.dumps(parameters, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


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
    """
    folder = cache / wanted.digest
    paths = [folder / f"export_{number:03d}.zip" for number in range(wanted.exports)]
    if not (folder / _DONE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
            list(pool.map(_write, [wanted] * wanted.exports, range(wanted.exports), paths))
        (folder / _DONE).write_text(json.dumps(asdict(wanted), indent=2) + "\n")
    return paths


def _write(wanted: ExportSet, number: int, path: Path) -> None:
    write_sample_export(
        path,
        dialect="coco",
        frames=wanted.frames_per_export,
        width=wanted.width,
        height=wanted.height,
        labels=_LABELS,
        seed=wanted.seed + number,
        filename=f"bench_{number:03d}.mp4",
        image_format="jpg",
        image_bytes=wanted.image_bytes,
        distinct_images=wanted.distinct_images,
        compression="deflate",
        truth=False,
    )


@click.command()
@click.option("--exports", default=10, show_default=True, help="ZIPs to make.")
@click.option("--frames-per-export", default=1000, show_default=True, help="Frames of each.")
@click.option("--cache", default=str(DEFAULT_CACHE), show_default=True, help="Where they are kept.")
def main(exports: int, frames_per_export: int, cache: str) -> None:
    """Make the exports of the benchmarks and print where they lie."""
    wanted = ExportSet(exports=exports, frames_per_export=frames_per_export)
    for path in make_exports(wanted, Path(cache)):
        click.echo(f"{path}  {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.make_exports")
