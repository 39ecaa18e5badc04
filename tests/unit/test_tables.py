"""Tables at rest, with pyarrow's own reader as the oracle."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.records import FRAME_SCHEMA, ISSUE_SCHEMA, RANGE_SCHEMA, Issue, issue_table
from engine.tables import read_table, write_table

TABLE = pa.table({"a": [3, None, 1], "b": [["x"], [], None]})


@pytest.mark.parametrize("place", ["disk", "url"])
def test_a_table_comes_back(tmp_path, place):
    path = str(tmp_path / "t.parquet") if place == "disk" else "memory://test_tables/t.parquet"
    write_table(path, TABLE)
    assert read_table(path).equals(TABLE)
    assert read_table(path, ["b"]).equals(TABLE.select(["b"]))
    assert read_table(path, []).num_columns == 0


def test_the_digest_is_the_files_and_the_bytes_are_the_same_again(tmp_path):
    one, two = tmp_path / "1.parquet", tmp_path / "2.parquet"
    digests = [write_table(str(path), TABLE, name="index/t.parquet") for path in (one, two)]
    assert digests[0] == digests[1]
    assert digests[0].path == "index/t.parquet"
    assert digests[0].size_bytes == one.stat().st_size
    assert digests[0].sha256 == hashlib.sha256(one.read_bytes()).hexdigest()
    assert one.read_bytes() == two.read_bytes()
    assert pq.read_table(one).equals(TABLE)


@pytest.mark.parametrize("schema", [FRAME_SCHEMA, ISSUE_SCHEMA, RANGE_SCHEMA])
def test_an_empty_table_keeps_its_schema(tmp_path, schema):
    path = str(tmp_path / "t.parquet")
    write_table(path, schema.empty_table())
    assert read_table(path).schema.equals(schema)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(_table, sink, **_keywords):
        sink.write(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="No space left"):
        write_table(str(tmp_path / "t.parquet"), TABLE)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_table_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_table(str(tmp_path / "none.parquet"))
    with pytest.raises(FileNotFoundError):
        read_table("memory://test_tables/none.parquet")


def test_issues_become_a_table_in_the_order_given():
    issues = [
        Issue(code="b", source="s", video_id="v", frame_id="v/1", frame_index=1, object_id=2,
              message="m"),
        Issue(code="a", source="s", message="n"),
    ]  # fmt: skip
    table = issue_table(issues)
    assert table.schema.equals(ISSUE_SCHEMA)
    assert table.to_pylist() == [
        {"code": "b", "source": "s", "video_id": "v", "frame_id": "v/1", "frame_index": 1,
         "object_id": 2, "message": "m"},
        {"code": "a", "source": "s", "video_id": None, "frame_id": None, "frame_index": None,
         "object_id": None, "message": "n"},
    ]  # fmt: skip
    assert issue_table([]).schema.equals(ISSUE_SCHEMA)
