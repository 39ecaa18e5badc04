"""Order and paint by evidence alone, over whole exports: right where painted, never wrong.

No size, no COCO counts and no exporter's signature help here: only the frames can tell. The figures
of the long version stand in CONTRIBUTING.md. `tests/unit/test_dialect.py` draws scenes of its own
for the same questions; these come from the builder, through the ZIP and the encoder.
"""

import itertools
from collections import Counter

import pytest

import engine
from engine.sample_export import write_sample_export

SIZES = [(320, 180), (180, 320), (240, 240), (640, 360)]
LABELS = ("person", "dog", "car", "cup")
CASES = [
    pytest.param(size, image_format, paint, id=f"{size[0]}x{size[1]}-{image_format}-{paint=}")
    for size, image_format, paint in itertools.product(SIZES, ("png", "jpg"), (True, False))
]


def look(folder, size, image_format, *, paint, order, seed, frames):
    """Build an export and say what `inspect` finds: (order, by, painted)."""
    path = folder / f"{seed}-{order}.zip"
    write_sample_export(
        path, frames=frames, width=size[0], height=size[1], image_format=image_format, paint=paint,
        order=order, seed=seed, labels=LABELS[: 1 + seed % 4], grid=(None, 0)[seed // 4 % 2],
        exporter="Somebody's Tool", truth=False,
    )  # fmt: skip
    (entry,) = engine.inspect([str(path)])["exports"]
    path.unlink()
    found = entry["dialect"]
    return found["order"], found["order_by"], found["painted"]


def confusion(folder, case, seeds, frames):
    """Count outcomes over both orders: right, unproven or wrong, and how often paint is seen."""
    size, image_format, paint = case
    counts = Counter()
    for seed, order in itertools.product(seeds, ("row", "column")):
        said, by, painted = look(
            folder, size, image_format, paint=paint, order=order, seed=seed, frames=frames
        )
        counts["unproven" if by == "unproven" else "right" if said == order else "wrong"] += 1
        counts["painted"] += painted
    return counts


def is_as_promised(counts, paint, videos):
    if paint:
        return counts["right"] == counts["painted"] == videos
    return counts["wrong"] == counts["painted"] == 0 and counts["right"] >= videos // 2


@pytest.mark.parametrize(("size", "image_format", "paint"), CASES)
def test_order_and_paint(tmp_path, size, image_format, paint):
    counts = confusion(tmp_path, (size, image_format, paint), range(2), frames=6)
    assert is_as_promised(counts, paint, 4), counts


@pytest.mark.long
@pytest.mark.parametrize(("size", "image_format", "paint"), CASES)
def test_order_and_paint_of_many_videos(tmp_path, size, image_format, paint):
    counts = confusion(tmp_path, (size, image_format, paint), range(100, 132), frames=16)
    assert is_as_promised(counts, paint, 64), counts


@pytest.mark.long
def test_no_alarm_on_a_thousand_clean_frames(tmp_path):
    """Frame by frame: in a video one odd frame would be outvoted."""
    alarms = wrong = 0
    for seed in range(1000):
        order = ("row", "column")[seed % 2]
        said, by, painted = look(
            tmp_path, SIZES[seed // 2 % 4], ("png", "jpg")[seed // 8 % 2], paint=False,
            order=order, seed=1000 + seed, frames=1,
        )  # fmt: skip
        alarms += painted
        wrong += by != "unproven" and said != order
    assert (alarms, wrong) == (0, 0)


@pytest.mark.long
@pytest.mark.parametrize(("size", "image_format", "paint"), CASES)
def test_a_declared_order_is_contradicted_only_where_it_is_wrong(
    tmp_path, size, image_format, paint
):
    path, warned = tmp_path / "a.zip", Counter()
    for seed, order in itertools.product(range(300, 316), ("row", "column")):
        write_sample_export(
            path, dialect="coco", order=order, frames=8, width=size[0], height=size[1], seed=seed,
            image_format=image_format, paint=paint, labels=LABELS[: 1 + seed % 4], truth=False,
            notation=("size+counts", "size+list", "compressed")[seed % 3],
        )  # fmt: skip
        (entry,) = engine.inspect([str(path)])["exports"]
        assert (entry["dialect"]["order"], entry["dialect"]["order_by"]) == ("column", "size")
        warned[order] += any("mask_order_contradicted" in line for line in entry["warnings"])
    assert warned["column"] == 0
    assert warned["row"] >= (16 if paint else 5)
