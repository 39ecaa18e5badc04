"""How many one-character corruptions of a mask's text pass the checks?

Question: a mask's text in each notation, one character replaced by another of the notation, left
out, put in, or exchanged with the next one. 1,956 corruptions a notation that change the mask (one
that does not, such as a leading zero, is no corruption), drawn by a fixed seed over the masks of a
sample scene. A miss is a corrupted mask that is believed without any finding. Counted where the
record declares nothing, its area, its box, and both. Aim: none missed with both.

Decimal runs are row-major on a 256x256 grid of a 1280x720 image, with the known exporter's box of
the wrong reading: what real exports hold. Lists are JSON text, where damage may break the document:
that is found, too.

Fails (exit 1) if one is missed although area and box are declared, or if a whole mask is not read.
"""

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from benchmarks import harness
from engine.frame_json import RawFrame, RawObject, read_frame
from engine.mask_check import CheckedMask, MaskReading, MaskToCheck, check_masks
from engine.sample_scene import Scene

__all__ = ["main"]

_Notation = Literal["compressed", "counts", "decimal"]

_CORRUPTIONS = 1956
_SIZE, _GRID = (720, 1280), (256, 256)
_MOMENTS = 20
_ALPHABET = {
    "compressed": "".join(map(chr, range(48, 112))),
    "counts": "0123456789, ",
    "decimal": "0123456789 ",
}
_READINGS = {
    "compressed": MaskReading(grid=None, order="column", known_exporter=False),
    "counts": MaskReading(grid=None, order="column", known_exporter=False),
    "decimal": MaskReading(grid=_GRID, order="row", known_exporter=True),
}
_DECLARED = ("nothing", "area", "box", "area and box")


def _runs(mask: NDArray[np.bool_], order: Literal["C", "F"]) -> list[int]:
    flat = mask.ravel(order=order)
    turns = np.flatnonzero(np.diff(flat, prepend=False))
    runs: list[int] = np.diff(turns, prepend=0, append=flat.size).tolist()
    return runs


def _record(notation: _Notation, scene: Scene, k: int, t: int) -> tuple[str, dict[str, Any]]:
    """A mask's text, and its record without it."""
    size = _GRID if notation == "decimal" else _SIZE
    runs = _runs(scene.mask(k, t, *size), "C" if notation == "decimal" else "F")
    rle = coco.frPyObjects({"size": list(size), "counts": runs}, *size)
    record = {"label": "dog", "bbox": coco.toBbox(rle).tolist(), "area": int(coco.area(rle))}
    if notation == "compressed":
        return rle["counts"].decode(), record
    return (json.dumps(runs) if notation == "counts" else " ".join(map(str, runs))), record


def _corrupted(rng: random.Random, text: str, alphabet: str) -> str:
    at = rng.randrange(len(text))
    match rng.randrange(4):
        case 0:
            return text[:at] + rng.choice(alphabet) + text[at + 1 :]
        case 1:
            return text[:at] + text[at + 1 :]
        case 2:
            return text[:at] + rng.choice(alphabet) + text[at:]
        case _:
            return text[:at] + text[at : at + 2][::-1] + text[at + 2 :]


def _read(notation: _Notation, text: str, record: dict[str, Any]) -> RawObject | None:
    """The record as the scan would see it; None if the JSON breaks or the notation changes."""
    counts: object = text
    if notation == "counts":
        try:
            counts = json.loads(text)
        except json.JSONDecodeError:
            return None
    mask = counts if notation == "decimal" else {"size": list(_SIZE), "counts": counts}
    frame = read_frame({"frame_index": 0, "objects": [{**record, "mask_rle": mask}]})
    found = frame.objects[0] if isinstance(frame, RawFrame) else None
    return None if found is None or found.problems else found


def _outcomes(notation: _Notation, raw: RawObject) -> dict[str, CheckedMask]:
    """What is made of a record by what it declares."""
    versions = [
        replace(raw, area=None, bbox=None), replace(raw, bbox=None), replace(raw, area=None), raw,
    ]  # fmt: skip
    records = [MaskToCheck(raw=version, size=_SIZE) for version in versions]
    return dict(zip(_DECLARED, check_masks(records, _READINGS[notation]), strict=True))


def _corruptions(notation: _Notation, scene: Scene) -> Iterator[tuple[str, dict[str, CheckedMask]]]:
    """What is made of each corruption, and its text; endless; first every mask whole."""
    rng = random.Random(f"corruption {notation}")
    whole = [_record(notation, scene, k, t) for k in range(3) for t in range(_MOMENTS)]
    believed = []
    for text, record in whole:
        raw = _read(notation, text, record)
        found = _outcomes(notation, raw)["area and box"] if raw else None
        if found is None or found.problems:
            raise SystemExit(f"WRONG: {notation}: a whole mask is not believed: {found}")
        believed.append(found.counts)
    while True:
        place = rng.randrange(len(whole))
        text, record = whole[place]
        damaged = _corrupted(rng, text, _ALPHABET[notation])
        raw = _read(notation, damaged, record)
        found_by = _outcomes(notation, raw) if raw else {}
        if damaged != text and (not raw or found_by["nothing"].counts != believed[place]):
            yield f"{damaged!r} for {text!r}", found_by


def _measure(notation: _Notation, scene: Scene, count: int) -> tuple[dict[str, Any], list[str]]:
    missed = dict.fromkeys(_DECLARED, 0)
    wrong = []
    for _, (text, outcomes) in zip(range(count), _corruptions(notation, scene), strict=False):
        for declared, outcome in outcomes.items():
            if outcome.counts is not None and not outcome.problems:
                missed[declared] += 1
                if declared == "area and box":
                    wrong.append(f"{notation}: {text}")
    return {"corruptions": count, "missed": missed}, wrong


@click.command()
@click.option("--corruptions", default=_CORRUPTIONS, show_default=True, help="Of each notation.")
@click.option("--out", default="benchmarks/results/corruption.json", show_default=True)
def main(*, corruptions: int, out: str) -> None:
    """Count the one-character corruptions that are believed."""
    scene = Scene(objects=3, seed=1, grain=2.0)
    results, wrong = {}, []
    notations: tuple[_Notation, ...] = ("compressed", "counts", "decimal")
    for notation in notations:
        results[notation], missed = _measure(notation, scene, corruptions)
        wrong += missed
        click.echo(f"{notation}: {results[notation]}")
    for line in wrong:
        click.echo(f"MISSED: {line}")
    document = {
        "question": (__doc__ or "").split("\n", maxsplit=1)[0],
        "aim": "none missed where area and box are declared",
        "versions": harness.package_versions(("sam2prep", "numpy", "pycocotools")),
        "wrong": wrong,
        "results": results,
    }
    harness.write_result(Path(out), document)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bench_corruption")
