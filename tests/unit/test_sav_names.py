"""Names of SA-V files and their addresses."""

import pytest

from engine.sav_names import sav_kind, sav_video, split_address


@pytest.mark.parametrize(
    ("name", "video", "kind"),
    [
        ("sav_000001_manual.json", "sav_000001", "manual"),
        ("a/b/sav_000001_auto.json", "sav_000001", "auto"),
        ("s3://bucket/clip_manual_auto.json", "clip_manual", "auto"),
        ("_manual.json", None, None),
        ("manual.json", None, None),
        ("sav_000001.json", None, None),
        ("sav_000001_manual.json.zip", None, None),
        ("sav_000001_manual/annotations.json", None, None),
        ("annotations.json", None, None),
    ],
)
def test_a_name_says_video_and_kind(name, video, kind):
    assert (sav_video(name), sav_kind(name)) == (video, kind)


@pytest.mark.parametrize(
    ("location", "address"),
    [
        ("v_manual.json", (".", "v_manual.json")),
        ("/v_manual.json", ("/", "v_manual.json")),
        ("a/b/v_auto.json", ("a/b", "v_auto.json")),
        ("a/x.ZIP/v_auto.json", ("a/x.ZIP", "v_auto.json")),
        ("x.zip/deep/*_manual.json", ("x.zip", "deep/*_manual.json")),
        ("s3://bucket/sav/v_auto.json", ("s3://bucket/sav", "v_auto.json")),
        ("a/x.zip", None),
        ("a/annotations.json", None),
    ],
)
def test_an_address_is_a_place_and_a_name(location, address):
    assert split_address(location) == address
