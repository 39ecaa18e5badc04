"""Locations: what may be named, and what must not be written down."""

import sys
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.locations import location_of, require_location

SECRETS = [
    "s3://AKIA123:hunter2@bucket/exports",
    "https://user:hunter2@host/export.zip",
    "https://host/export.zip?X-Amz-Signature=hunter2&X-Amz-Date=1",
    "https://account.blob.host/c/e.zip?sv=2020&sig=hunter2",
    "https://host/e.zip?a=1&access_token=hunter2",
]


@pytest.mark.parametrize("url", SECRETS)
def test_a_secret_is_refused_and_not_repeated(url):
    with pytest.raises(UsageError, match="holds credentials") as caught:
        require_location(url)
    assert "hunter2" not in str(caught.value)
    assert "AKIA123" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "location",
    [
        "export.zip", "/exports/a@b:c.zip", "odd?sig=1", "file:///a:b@c", "memory://a/b",
        "s3://bucket/a:b@c/d.zip", "abfs://container@account.dfs.host/out",
        "hf://datasets/name/set@main/exports", "https://host/export.zip?version=3",
    ],
)  # fmt: skip
def test_what_holds_no_secret_is_taken(location):
    if location.startswith("abfs://"):
        pytest.importorskip("adlfs", reason="of the extra `azure`")
    require_location(location)


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("s3://b/o", "s3fs", "s3"),
        ("gs://b/o", "gcsfs", "gcs"),
        ("gcs://b/o", "gcsfs", "gcs"),
        ("abfs://c/o", "adlfs", "azure"),
        ("az://c/o", "adlfs", "azure"),
    ],
)
def test_a_missing_package_is_named_by_its_extra(url, package, extra, monkeypatch):
    known = sys.modules["fsspec.registry"]  # what was imported before is not imported again
    for name in ("s3", "s3a", "gs", "gcs", "abfs", "az"):
        monkeypatch.delitem(known._registry, name, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"pip install 'sam2prep\[{extra}\]'"):
        require_location(url)


def test_a_protocol_that_nobody_knows_is_refused():
    with pytest.raises(UsageError, match=r"s4:// is no protocol .* expected a path, s3://"):
        require_location("s4://bucket/out")


@pytest.mark.parametrize("location", ["", "file://", "s3://", "s3:///", "gs://", "memory://"])
def test_a_url_that_names_no_place_is_refused(location):
    with pytest.raises(UsageError, match=r"names no (place|file and no folder).*expected"):
        require_location(location)


def test_a_place_may_be_a_path_object(tmp_path):
    assert location_of(tmp_path, "out") == str(tmp_path)
    assert location_of("memory://a/b", "out") == "memory://a/b"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (3, "out: is no location: got int, expected a path or a URL"),
        (None, "out: is no location: got NoneType"),
        (b"exports", "out: is no location: got bytes"),
        (Path("s3://bucket/out"), "out: a path object cannot hold a URL: got s3:/bucket/out; give"),
        ("s3://", "s3://: names no place: expected s3://PLACE"),
    ],
)
def test_what_is_no_place_is_refused_by_the_argument_s_name(place, message):
    with pytest.raises(UsageError, match=message):
        location_of(place, "out")
