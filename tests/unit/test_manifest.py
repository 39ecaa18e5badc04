"""The manifest, its own digest, and what a place for output holds."""

import hashlib
import json

import numpy as np
import pytest

from engine.errors import RunError
from engine.manifest import (
    OutState,
    encode,
    make_manifest,
    read_json,
    read_manifest,
    require_files,
    state_of,
)
from engine.storage import FileDigest

FILES = [
    FileDigest(path="split.json", size_bytes=2, sha256="b" * 64),
    FileDigest(path="hf/train/data-00000.arrow", size_bytes=9, sha256="a" * 64),
]


def document(**changes):
    keywords = {
        "inputs": [{"source": "a.zip", "content_digest": "c" * 64}],
        "config": {"seed": 42, "ratios": [0.8, 0.1, 0.1]},
        "status": "PASSED",
        "samples": 12,
        "files": FILES,
    }
    return make_manifest(**keywords | changes)


def write(out, **changes):
    out.mkdir(exist_ok=True)
    (out / "manifest.json").write_bytes(encode(document(**changes)))


def test_it_says_what_it_was_made_from_and_of(tmp_path):
    write(tmp_path)
    manifest = read_manifest(str(tmp_path))
    assert manifest == document()
    assert [file["path"] for file in manifest["files"]] == [
        "hf/train/data-00000.arrow",
        "split.json",
    ]
    assert manifest["files"][0] == {
        "path": "hf/train/data-00000.arrow", "size_bytes": 9, "sha256": "a" * 64,
    }  # fmt: skip
    assert {"sam2prep", "python", "pyarrow", "datasets"} <= set(manifest["versions"])
    assert manifest["samples"] == 12


def test_the_order_of_the_files_does_not_show():
    assert encode(document()) == encode(document(files=FILES[::-1]))


def test_its_digest_is_that_of_the_rest():
    made = document()
    rest = {key: value for key, value in made.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert made["digest"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(status="PASSED_WITH_WARNINGS"),
        lambda m: m.update(samples=13),
        lambda m: m["files"].pop(),
        lambda m: m["files"][0].update(sha256="0" * 64),
        lambda m: m["config"].update(seed=43),
        lambda m: m.update(note="mine"),
        lambda m: m.pop("digest"),
    ],
)
def test_an_edit_does_not_go_unnoticed(tmp_path, edit):
    manifest = document()
    edit(manifest)
    (tmp_path / "manifest.json").write_bytes(encode(manifest))
    with pytest.raises(RunError, match=r"manifest\.json: was altered"):
        read_manifest(str(tmp_path))


def test_another_layout_of_the_same_content_is_no_edit(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(document(), sort_keys=True))
    assert read_manifest(str(tmp_path)) == document()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null"])
def test_what_is_no_json_object_is_a_run_error(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"manifest\.json"):
        read_json(str(path))
    with pytest.raises(RunError):
        read_manifest(str(tmp_path))


def test_a_missing_file_is_a_run_error(tmp_path):
    with pytest.raises(RunError, match="cannot be read"):
        read_json(str(tmp_path / "none.json"))


def test_documents_are_json_for_people():
    text = encode({"b": np.int64(1), "a": [0.5, None], "label": "th\u00e9i\u00e8re"})
    assert text.decode() == (
        '{\n  "b": 1,\n  "a": [\n    0.5,\n    null\n  ],\n  "label": "th\u00e9i\u00e8re"\n}\n'
    )


def put(out, *names, content=b"{}"):
    for name in names:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("names", "state"),
    [
        ([], OutState.EMPTY),
        (["hf/train/data-00000.arrow"], OutState.UNFINISHED),
        ([".staging/rows/scan.parquet"], OutState.UNFINISHED),
        (["report/validation.json"], OutState.UNFINISHED),
        (["summary.json"], OutState.UNFINISHED),
        (["report/validation.json", "summary.json"], OutState.UNFINISHED),
        (["images/000001.png", "README.md"], OutState.FOREIGN),
        (["index/a.parquet", "coco/instances.json", "report/mine.html"], OutState.FOREIGN),
        ([".lock"], OutState.EMPTY),
        (["notes.txt"], OutState.FOREIGN),
        (["hf/train/data-00000.arrow", "notes.txt"], OutState.FOREIGN),
        (["data/train.jsonl"], OutState.FOREIGN),
        (["manifest.json"], OutState.FINISHED),
        (["manifest.json", ".staging/commit.json"], OutState.PENDING),
    ],
)
@pytest.mark.parametrize("url", [False, True])
def test_what_a_place_holds(tmp_path, names, state, url):
    out = tmp_path / "out"
    out.mkdir()
    put(out, *names)
    place = f"file://{out}" if url else str(out)
    assert state_of(place) is state


def test_a_failed_run_is_one_that_says_so(tmp_path):
    put(tmp_path, "summary.json")
    put(tmp_path, "report/validation.json", content=b'{"status": "FAILED"}')
    assert state_of(str(tmp_path)) is OutState.FAILED
    put(tmp_path, "report/validation.json", content=b'{"status": "PASSED"}')
    assert state_of(str(tmp_path)) is OutState.UNFINISHED


def test_a_place_that_is_not_there_is_empty_and_a_file_is_foreign(tmp_path):
    assert state_of(str(tmp_path / "none")) is OutState.EMPTY
    (tmp_path / "file").write_text("mine")
    assert state_of(str(tmp_path / "file")) is OutState.FOREIGN
    assert state_of("memory://test_manifest/none") is OutState.EMPTY


def test_a_report_that_is_no_json_is_named(tmp_path):
    """Ours are written whole or not at all, so somebody changed it: no guess at what it said."""
    put(tmp_path, "summary.json")
    put(tmp_path, "report/validation.json", content=b'{"status": "FAI')
    with pytest.raises(RunError, match=r"report/validation\.json: cannot be read"):
        state_of(str(tmp_path))


def test_it_names_the_tables_of_files_that_it_does_not_name_itself():
    assert document()["digest_shards"] == []
    tables = [
        FileDigest(path=f"digests/llava-{name}.parquet", size_bytes=1, sha256="d" * 64)
        for name in ("train-00001", "test-00000")
    ]
    made = document(files=[*FILES, *tables])
    assert made["digest_shards"] == [
        "digests/llava-test-00000.parquet", "digests/llava-train-00001.parquet",
    ]  # fmt: skip
    assert {file["path"] for file in made["files"]} > set(made["digest_shards"])


def test_a_place_that_cannot_be_read_is_no_empty_one(tmp_path, monkeypatch):
    def denied(_self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "exists", denied)
    with pytest.raises(RunError, match="cannot be read: Permission denied"):
        state_of(str(tmp_path / "out"))


def test_a_file_that_is_gone_is_missed_if_the_next_version_needs_it(tmp_path):
    names = ["hf/train/data-00000.arrow", "index/train-00000.parquet", "hf/README.md"]
    manifest = {"files": [{"path": name} for name in names]}
    put(tmp_path, *names[1:])
    require_files(str(tmp_path), manifest, shards=False)  # rows are written anew
    with pytest.raises(RunError, match=r"data-00000\.arrow: is missing; put it back"):
        require_files(str(tmp_path), manifest, shards=True)
    (tmp_path / names[1]).unlink()
    with pytest.raises(RunError, match=r"is missing \(2 files are\); .*sam2prep verify"):
        require_files(str(tmp_path), manifest, shards=True)
    require_files("memory://nothing", manifest, shards=True)  # not asked for there


def test_a_json_file_that_is_gone_is_said_without_a_number(tmp_path):
    with pytest.raises(RunError) as caught:
        read_json(str(tmp_path / "no.json"))
    assert str(caught.value) == f"{tmp_path}/no.json: cannot be read: No such file or directory"
