"""Paths of a cluster: what each machine sees is compared, and the first difference is named."""

import pytest

from engine.errors import NodeError
from engine.manifest import LOCK
from engine.sharing import Shared, local_places, require_same, sights


def test_only_local_places_are_asked_for_and_each_once(tmp_path):
    assert local_places(["s3://b/x", "a.zip", "file:///c", "a.zip"]) == ["a.zip", "file:///c"]


def test_what_differs_is_seen(tmp_path):
    places = [str(tmp_path / name) for name in ("a.zip", "folder", "nothing")]
    (tmp_path / "a.zip").write_bytes(b"12345")
    (tmp_path / "folder").mkdir()
    before = sights(places)
    assert before[0] == "a file of 5 bytes"
    assert before[2] is None
    assert sights(places) == before
    (tmp_path / "a.zip").write_bytes(b"123456")
    (tmp_path / "folder/new").touch()
    after = sights(places)
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_a_dataset_being_written_is_known_by_its_lock_alone(tmp_path):
    (tmp_path / LOCK).write_bytes(b'{"token": "1"}')
    before = sights([str(tmp_path)])
    (tmp_path / ".staging").mkdir()
    assert sights([str(tmp_path)]) == before
    (tmp_path / LOCK).write_bytes(b'{"token": "2"}')
    assert sights([str(tmp_path)]) != before


def test_the_first_node_that_sees_something_else_is_named():
    places, here = ["/data/a.zip", "/data/out"], ["a file of 5 bytes", "a folder"]
    require_same(places, here, {"10.0.0.2 (ab)": here, "10.0.0.3 (cd)": here})
    with pytest.raises(NodeError, match=r"/data/out: is not the same on node 10.0.0.2 \(ab\)") as e:
        require_same(places, here, {"10.0.0.3 (cd)": [None, None],
                                    "10.0.0.2 (ab)": ["a file of 5 bytes", None]})  # fmt: skip
    assert "got nothing there, expected a folder" in str(e.value)
    assert e.value.exit_code == 2


def test_a_node_that_joins_later_is_judged_by_what_tasks_do_not_change(tmp_path):
    out, export, scratch = (tmp_path / name for name in ("out", "a.zip", "scratch"))
    out.mkdir(), scratch.mkdir()
    (out / LOCK).write_bytes(b'{"token": "1"}')
    export.write_bytes(b"12345")
    places = (str(out), str(export), str(scratch), str(tmp_path / "report"))
    later = Shared(places=places, seen=tuple(sights(places, names=False)), asked=frozenset({"a"}))
    (out / ".staging").mkdir()
    (scratch / "rows").mkdir()
    (tmp_path / "report").mkdir()  # made by the driver meanwhile
    later.require_on("b")
    export.write_bytes(b"123456")
    with pytest.raises(NodeError, match=r"a\.zip: is not the same on node b .*: got a file of 6"):
        later.require_on("b")
    export.write_bytes(b"12345")
    (out / LOCK).write_bytes(b'{"token": "2"}')
    with pytest.raises(NodeError, match="out: is not the same"):
        later.require_on("b")
    (out / LOCK).write_bytes(b'{"token": "1"}')
    scratch.joinpath("rows").rmdir()
    scratch.rmdir()
    with pytest.raises(NodeError, match=r"got nothing there, expected a folder;"):
        later.require_on("b")
