"""A damaged export and the repaired one have one digest; only the images tell them apart."""

import pytest

import engine
from engine.damaged_images import brings_repaired, damaged_images
from engine.manifest import read_manifest
from engine.sample_export import write_sample_export
from engine.survey import digests_of
from tests.small_exports import SMALL

HERE = engine.Execution(runner="local")
STANDARD = engine.Config(validation="standard")


def export(path, **more):
    write_sample_export(path, filename="v.mp4", seed=5, dialect="coco", **SMALL | more)
    return str(path)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """What a dataset says of an export with two damaged images and a bad mask."""
    place = tmp_path_factory.mktemp("damaged")
    bad = export(place / "bad.zip", image_crc_flip=[3, 7], mask_truncated=[5])
    out = str(place / "out")
    engine.prepare([bad], out, STANDARD, HERE)
    return bad, damaged_images(out, read_manifest(out))


def test_the_images_that_could_not_be_read_are_named(damaged):
    bad, found = damaged
    ((digest, images),) = found.items()
    assert [digest] == digests_of(bad)
    assert len(images) == 2  # not the one of the frame whose mask is bad


def test_where_nothing_is_set_aside_nothing_is_damaged(tmp_path):
    good = export(tmp_path / "good.zip")
    out = str(tmp_path / "out")
    engine.prepare([good], out, STANDARD, HERE)
    assert damaged_images(out, read_manifest(out)) == {}
    assert not brings_repaired(good, {}, STANDARD)


@pytest.mark.parametrize(("still", "repaired"), [([3, 7], False), ([7], True), ([], True)])
def test_one_image_that_is_whole_is_enough(damaged, tmp_path, still, repaired):
    bad, found = damaged
    again = export(tmp_path / "v.zip", image_crc_flip=still, mask_truncated=[5])
    assert digests_of(again) == digests_of(bad)
    assert brings_repaired(again, found, STANDARD) is repaired


def test_an_image_that_is_as_its_export_says_and_still_bad_is_not_repaired(tmp_path):
    """Its CRC is right: it can never come otherwise under this digest."""
    bad = export(tmp_path / "bad.zip", image_truncated=[2], image_zero_bytes=[4])
    out = str(tmp_path / "out")
    engine.prepare([bad], out, STANDARD, HERE)
    found = damaged_images(out, read_manifest(out))
    assert sum(map(len, found.values())) == 2
    for level in ("structure", "decode"):
        config = engine.Config(validation="standard", check_images=level)
        assert not brings_repaired(bad, found, config)
