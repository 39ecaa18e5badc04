"""Exports of the benchmarks, held against zipfile, PIL and the writer called by hand."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.make_exports import ExportSet, make_exports, set_of_kind
from engine.sample_export import write_sample_export

SMALL = ExportSet.small(1, 40)
PNG = replace(ExportSet.png(1, 4), width=160, height=96)


def test_sets_that_were_made_before_keep_their_folder() -> None:
    assert ExportSet().digest == "69951c5daebc"


def test_every_parameter_is_in_the_digest() -> None:
    others = [
        SMALL, replace(SMALL, exports=2), replace(SMALL, image_format="png"),
        replace(SMALL, dialect="real"), replace(SMALL, objects=3), replace(SMALL, seed=2),
        replace(SMALL, width=65), replace(SMALL, image_bytes=3000), replace(SMALL, height=65),
        replace(SMALL, frames_per_export=41),
    ]  # fmt: skip
    assert len({wanted.digest for wanted in others}) == len(others)


def test_an_export_is_what_the_sample_writer_writes(tmp_path: Path) -> None:
    [path] = make_exports(SMALL, tmp_path / "cache", processes=1)
    write_sample_export(
        tmp_path / "by_hand.zip", dialect="coco", frames=40, width=64, height=64,
        labels=("person", "dog"), seed=1, filename="bench_000.mp4", image_format="jpg",
        distinct_images=2, truth=False,
    )  # fmt: skip
    assert path.read_bytes() == (tmp_path / "by_hand.zip").read_bytes()
    with zipfile.ZipFile(path) as archive:
        frames = json.loads(archive.read("annotations.json"))["annotations"]
    assert [len(frame["objects"]) for frame in frames] == [2] * 40


def test_a_larger_set_links_to_the_exports_that_are_there(tmp_path: Path) -> None:
    [first] = make_exports(SMALL, tmp_path, processes=1)
    linked, second = make_exports(replace(SMALL, exports=2), tmp_path, processes=1)
    assert linked.stat().st_ino == first.stat().st_ino
    [alone] = make_exports(replace(SMALL, exports=1), tmp_path / "other", processes=1)
    assert alone.read_bytes() == linked.read_bytes() != second.read_bytes()
    other = make_exports(replace(SMALL, seed=9), tmp_path, processes=1)[0]
    assert other.stat().st_ino != first.stat().st_ino


def test_a_set_that_was_left_half_made_is_made_whole(tmp_path: Path) -> None:
    [path] = make_exports(SMALL, tmp_path, processes=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    (path.parent / "parameters.json").unlink()
    assert make_exports(SMALL, tmp_path, processes=1) == [path]
    assert path.read_bytes() == whole


def test_twins_show_the_same_pictures_without_and_with_paint(tmp_path: Path) -> None:
    pictures, notations = [], []
    for dialect in ("coco", "real"):
        [path] = make_exports(replace(PNG, dialect=dialect), tmp_path, processes=1)
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.startswith("images/")]
            with Image.open(io.BytesIO(archive.read(names[0]))) as image:
                pictures.append(np.asarray(image))
            frame = json.loads(archive.read("annotations.json"))["annotations"][0]
            notations.append(frame["objects"][0]["mask_rle"])
    clean, painted = pictures
    same = (clean == painted).all(axis=2).mean()
    assert 0.5 < same < 0.95
    assert notations[0]["size"] == [96, 160]
    assert sum(map(int, notations[1].split())) == 256 * 256


def test_kinds_have_the_names_people_give_them() -> None:
    assert set_of_kind("jpg", 10, 1000) == ExportSet()
    assert set_of_kind("real", 2, 3) == replace(set_of_kind("png", 2, 3), dialect="real")
    assert set_of_kind("small", 2, 3).frames == 6
    with pytest.raises(ValueError, match="kind"):
        set_of_kind("gif", 1, 1)


def test_there_are_labels_for_three_objects_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="objects"):
        make_exports(replace(SMALL, objects=4), tmp_path)
