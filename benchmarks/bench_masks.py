"""How many masks a second does a core check, and what does decoding them with pycocotools cost?

Question: masks of 1280x720 frames, as the two kinds of exports write them: COCO compressed counts
with their size, and decimal row-major runs on a 256x256 grid. Checking is all of
`engine.mask_check.check_masks`: notation, sum, declared area and box, and the canonical COCO counts
in image pixels that the dataset holds (a grid is stretched for them). Aim: 30,000 COCO masks a
second. The peer is what a reader does who checks nothing: `pycocotools.mask.decode`, into the
256x256 grid for the decimal runs, whose text it is spared. Both run in this process, in turn; a
figure is the median over the rounds of processor time, which a busy machine does not add to.

Fails (exit 1) if a mask is wrong, never because it is slow.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from benchmarks import harness
from engine.frame_json import RawFrame, read_frame
from engine.mask_check import MaskReading, MaskToCheck, check_masks
from engine.sample_scene import Scene

__all__ = ["main"]

_SIZE = (720, 1280)
_GRID = (256, 256)
_OBJECTS, _MOMENTS = 3, 40
_REPEATED = 8  # each mask so often: about a thousand a round
_AIM_PER_SEC = 30_000
_PACKAGES = ("sam2prep", "numpy", "pycocotools")


@dataclass(frozen=True, kw_only=True)
class _Case:
    """Records of one kind, what they must come to, and the peer's input."""

    name: str
    records: list[MaskToCheck]
    reading: MaskReading
    expected: list[NDArray[np.bool_]]
    rles: list[dict[str, Any]]

    def check(self) -> None:
        check_masks(self.records, self.reading)

    def decode(self) -> None:
        for rle in self.rles:
            coco.decode(rle)

    def wrong(self) -> list[str]:
        found = []
        for i, outcome in enumerate(check_masks(self.records, self.reading)):
            rle = {"size": list(_SIZE), "counts": outcome.counts}
            same = outcome.counts is not None and np.array_equal(coco.decode(rle), self.expected[i])
            if outcome.problems or not same:
                found.append(f"{self.name}: mask {i}: {outcome.problems or 'the pixels differ'}")
        return found


def _read(objects: Sequence[dict[str, Any]]) -> list[MaskToCheck]:
    frame = read_frame({"frame_index": 0, "objects": list(objects)})
    if not isinstance(frame, RawFrame):
        raise TypeError(frame)
    return [MaskToCheck(raw=raw, size=_SIZE) for raw in frame.objects]


def _record(mask: object, rle: dict[str, Any]) -> dict[str, Any]:
    box = coco.toBbox(rle).tolist()
    return {"label": "dog", "mask_rle": mask, "bbox": box, "area": int(coco.area(rle))}


def _coco_case(scene: Scene) -> _Case:
    drawn = [scene.mask(k, t, *_SIZE) for k in range(_OBJECTS) for t in range(_MOMENTS)]
    rles = [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in drawn]
    texts = [{"size": list(_SIZE), "counts": rle["counts"].decode()} for rle in rles]
    return _Case(
        name="COCO compressed, 1280x720",
        records=_read([_record(t, rle) for t, rle in zip(texts, rles, strict=True)]),
        reading=MaskReading(grid=None, order="column", known_exporter=False),
        expected=drawn,
        rles=rles,
    )


def _decimal_case(scene: Scene) -> _Case:
    rows, columns = (np.arange(n) * g // n for n, g in zip(_SIZE, _GRID, strict=True))
    drawn = [scene.mask(k, t, *_GRID) for k in range(_OBJECTS) for t in range(_MOMENTS)]
    objects, rles = [], []
    for mask in drawn:
        flat = np.concatenate([[False], mask.ravel(), [False]])
        turns = np.flatnonzero(flat[1:] != flat[:-1])
        runs = np.diff(turns, prepend=0, append=mask.size)
        # As the exporter: the box of its row-major runs taken for column-major ones.
        rle = coco.frPyObjects({"size": list(_GRID), "counts": runs.tolist()}, *_GRID)
        objects.append(_record(" ".join(map(str, runs)), rle))
        rles.append(rle)
    return _Case(
        name="decimal, 256x256 to 1280x720",
        records=_read(objects),
        reading=MaskReading(grid=_GRID, order="row", known_exporter=True),
        expected=[mask[rows[:, None], columns] for mask in drawn],
        rles=rles,
    )


def _time(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _measure(case: _Case, rounds: int) -> dict[str, Any]:
    many = _Case(
        name=case.name, records=case.records * _REPEATED, reading=case.reading,
        expected=case.expected, rles=case.rles,
    )  # fmt: skip
    many.check()
    seconds = [(_time(many.check), _time(many.decode)) for _ in range(rounds)]
    own = [a / len(many.records) for a, _ in seconds]
    peer = [b / len(many.rles) for _, b in seconds]
    return {
        "masks": len(many.records),
        "masks_per_sec": round(1 / median(own)),
        "us_per_mask": round(median(own) * 1e6, 1),
        "pycocotools_decode_us_per_mask": round(median(peer) * 1e6, 1),
        "ratio": round(median(own) / median(peer), 3),
        "mean_characters": round(float(np.mean([len(r.raw.counts) for r in case.records]))),
        "rounds_us": [f"{a * 1e6:.1f} {b * 1e6:.1f}" for a, b in zip(own, peer, strict=True)],
    }


@click.command()
@click.option("--rounds", default=15, show_default=True, help="Of each, in turn.")
@click.option("--out", default="benchmarks/results/masks.json", show_default=True)
def main(*, rounds: int, out: str) -> None:
    """Time the checking of masks beside decoding them."""
    scene = Scene(objects=_OBJECTS, seed=1, grain=2.0)
    cases = [_coco_case(scene), _decimal_case(scene)]
    wrong = [text for case in cases for text in case.wrong()]
    results = {case.name: _measure(case, rounds) for case in cases}
    document = {
        "question": (__doc__ or "").split("\n", maxsplit=1)[0],
        "aim_masks_per_sec": _AIM_PER_SEC,
        "machine": harness.machine_facts(Path.cwd()),
        "versions": harness.package_versions(_PACKAGES),
        "wrong": wrong,
        "results": results,
    }
    for name, found in results.items():
        click.echo(
            f"{name}: {found['masks_per_sec']:,} masks/s, {found['us_per_mask']} us; "
            f"decode {found['pycocotools_decode_us_per_mask']} us; ratio {found['ratio']}"
        )
    for line in wrong:
        click.echo(f"WRONG: {line}")
    harness.write_result(Path(out), document)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bench_masks")
