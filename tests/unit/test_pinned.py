"""One version of all splits: against `load_from_disk` where nobody writes, and where it mixes."""

import json
import multiprocessing
import pickle
import shutil
import tempfile
from pathlib import Path

import datasets
import fsspec
import pyarrow as pa
import pytest

import engine
from engine import pinned
from engine.errors import OutputError, RunError, UsageError
from engine.exchange import exchange
from engine.manifest import encode, sealed
from engine.pinned import open_dataset
from engine.sample_export import write_sample_export
from engine.storage import join, list_files, read_bytes, write_bytes

HERE = engine.Execution(runner="local")
URL = "memory://pinned/out"


def split(out, seed):
    engine.split(str(out), {"split": "random", "seed": seed}, HERE)


def ids(opened):
    return {name: tuple(rows["id"]) for name, rows in opened.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One dataset under two splits: (folder, ids of each split) of each."""
    folder = tmp_path_factory.mktemp("pinned")
    for n in range(2):
        more = {"frames": 10, "width": 32, "height": 32, "truth": False}
        write_sample_export(folder / f"{n}.zip", filename=f"v{n}.mp4", seed=n, **more)
    sources = [str(folder / f"{n}.zip") for n in range(2)]
    found = []
    for seed in (1, 2):
        out = folder / f"seed{seed}"
        config = engine.Config(split="random", seed=seed, ratios=(0.5, 0.3, 0.2), rows_per_shard=3)
        engine.prepare(sources, str(out), config, HERE)
        found.append((out, ids(datasets.load_from_disk(str(out / "hf")))))
    assert found[0][1] != found[1][1]
    return found


@pytest.fixture
def out(made, tmp_path):
    return shutil.copytree(made[0][0], tmp_path / "out")


@pytest.fixture
def url(made, monkeypatch):
    monkeypatch.setattr(pinned, "_copies", {})
    for name in list_files(str(made[0][0])):
        write_bytes(join(URL, name), read_bytes(join(str(made[0][0]), name)))
    yield URL
    fsspec.filesystem("memory").rm("/pinned", recursive=True)


def publish_second(made, out):
    """Exchange the folder `hf` with that of the second version, and delete the first, as we do."""
    successor = Path(out).parent / "successor"
    shutil.copytree(made[1][0] / "hf", successor)
    if not exchange(out / "hf", successor):
        pytest.skip("this file system cannot exchange")
    shutil.rmtree(successor)


def between_splits(monkeypatch, what, times=1):
    """Have something happen when the first split is loaded, and the others are not."""
    load, left = datasets.Dataset.load_from_disk, [times]

    def patched(path, *rest, **more):
        found = load(path, *rest, **more)
        if left[0] and Path(path).name == "train":
            left[0] -= 1
            what()
        return found

    monkeypatch.setattr(datasets.Dataset, "load_from_disk", patched)


def test_it_is_what_load_from_disk_gives(out):
    opened, plain = open_dataset(str(out)), datasets.load_from_disk(str(out / "hf"))
    assert isinstance(opened, datasets.DatasetDict)
    assert {name: rows.to_list() for name, rows in opened.items()} == {
        name: rows.to_list() for name, rows in plain.items()
    }
    assert opened["train"].features == plain["train"].features
    assert ids(open_dataset(f"file://{out}")) == ids(plain)


def test_a_publication_in_the_middle(made, out, monkeypatch):
    between_splits(monkeypatch, lambda: publish_second(made, out))
    assert ids(open_dataset(str(out))) == made[1][1]


def test_without_it_versions_are_mixed(made, out, monkeypatch):
    """What the test before would find if nothing were pinned."""
    between_splits(monkeypatch, lambda: publish_second(made, out))
    mixed = ids(datasets.load_from_disk(str(out / "hf")))
    assert mixed["train"] == made[0][1]["train"]
    assert mixed["test"] == made[1][1]["test"]


def test_a_file_that_vanishes_in_the_middle_of_a_publication(made, out, monkeypatch):
    def publish():
        publish_second(made, out)
        monkeypatch.undo()
        raise FileNotFoundError(2, "gone")

    between_splits(monkeypatch, publish)
    assert ids(open_dataset(str(out))) == made[1][1]


def test_one_that_never_rests(out, monkeypatch):
    def replace():
        shutil.copytree(out / "hf", out / "again")
        shutil.rmtree(out / "hf")
        (out / "again").rename(out / "hf")

    between_splits(monkeypatch, replace, times=1000)
    with pytest.raises(RunError, match="replaced 20 times while it was being opened"):
        open_dataset(str(out))


def test_no_descriptor_stays_open(made, out, monkeypatch):
    before = len(list(Path("/dev/fd").iterdir()))
    between_splits(monkeypatch, lambda: publish_second(made, out))
    opened = open_dataset(str(out))
    (out / "hf/train/state.json").unlink()
    with pytest.raises(RunError):
        open_dataset(str(out))
    del opened
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_folder_that_is_missing_for_a_moment(out, monkeypatch):
    """Where there is no exchange, publication takes two renames, under its journal."""
    for journal in (True, False):
        (out / "hf").rename(out / "aside")
        (out / ".staging").mkdir(exist_ok=True)
        if journal:
            (out / ".staging/commit.json").write_text("{}")
        pauses = []

        def pause(_seconds, pauses=pauses):
            pauses.append(1)
            if len(pauses) == 3:
                (out / "aside").rename(out / "hf")

        monkeypatch.setattr(pinned.time, "sleep", pause)
        assert ids(open_dataset(str(out)))
        assert len(pauses) == 3
        shutil.rmtree(out / ".staging")


def test_what_is_opened_outlives_its_files(out):
    opened = open_dataset(str(out))
    before = {name: rows.to_list() for name, rows in opened.items()}
    opened = open_dataset(str(out))
    shutil.rmtree(out)
    assert {name: rows.to_list() for name, rows in opened.items()} == before


def test_pickled_it_goes_by_path_or_takes_its_rows_along(made, out):
    mapped, held = open_dataset(str(out)), open_dataset(str(out), keep_in_memory=True)
    pickles = [pickle.dumps(opened) for opened in (mapped, held)]
    assert [ids(pickle.loads(data)) for data in pickles] == [made[0][1]] * 2
    publish_second(made, out)
    by_path, with_rows = (pickle.loads(data) for data in pickles)
    assert ids(with_rows) == made[0][1] != ids(by_path)


@pytest.mark.parametrize("elsewhere", [True, False])
def test_caches_lie_beside_the_shards_unless_told_otherwise(out, elsewhere):
    rows = open_dataset(str(out))["train"]
    listed = set(list_files(str(out)))
    try:
        if elsewhere:
            datasets.disable_caching()
        mapped = rows.map(lambda row: {"n": len(row["labels"])})
    finally:
        datasets.enable_caching()
    added = set(list_files(str(out))) - listed
    assert [name.startswith("hf/train/cache-") for name in added] == [True] * (not elsewhere)
    found = engine.verify(str(out), HERE)
    assert (found["status"], found["unknown_files"]) == ("VERIFIED", [])
    before = mapped["n"][:]
    split(out, 5)
    assert not [name for name in list_files(str(out)) if "cache-" in name]
    assert mapped["n"][:] == before


def refused(out, kind, said):
    with pytest.raises(kind, match=said) as caught:
        open_dataset(str(out))
    assert str(out) in str(caught.value)


def test_what_is_no_dataset(made, out, tmp_path):
    refused(tmp_path / "none", OutputError, r"holds no prepared dataset; use: sam2prep prepare")
    (tmp_path / "else").mkdir()
    (tmp_path / "else/mine.txt").write_text("mine")
    refused(tmp_path / "else", OutputError, "holds no prepared dataset")
    refused(out / "hf", OutputError, "is a part of a dataset; give the folder above")
    (out / "manifest.json").unlink()
    refused(out, OutputError, "holds no finished dataset; run the command")
    refused("memory://pinned/nothing", OutputError, "holds no prepared dataset")


def test_a_failed_run(tmp_path):
    source = tmp_path / "a.zip"
    write_sample_export(source, frames=4, width=32, height=32, mask_truncated=[1], truth=False)
    engine.prepare([str(source)], str(tmp_path / "out"), engine.Config(), HERE)
    refused(tmp_path / "out", OutputError, r"no dataset: validation FAILED; see \S+/report")


def test_another_format(made, tmp_path):
    source = made[0][0].parent / "0.zip"
    for out in (tmp_path / "out", "memory://pinned/parquet"):
        config = engine.Config(formats=("parquet", "coco"))
        engine.prepare([str(source)], str(out), config, HERE)
        said = "without the format hf: got parquet, coco; prepare it with: --format hf,parquet,coco"
        refused(out, OutputError, said)
    fsspec.filesystem("memory").rm("/pinned", recursive=True)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("dataset_dict.json", lambda data: data[:-3]),
        ("dataset_dict.json", lambda _: b"[]"),
        ("train/state.json", lambda _: b"[]"),
        ("train/state.json", lambda _: b"{}"),
        ("train/dataset_info.json", lambda data: data.replace(b'"id"', b'"di"')),
        ("test/data-00000.arrow", lambda data: data[: len(data) // 2]),
        ("test/data-00000.arrow", lambda data: b"\x07" * len(data)),
        ("test/data-00000.arrow", lambda _: b""),
        ("test/data-00000.arrow", lambda _: None),
    ],
)
def test_damage_is_said(out, name, change):
    path = out / "hf" / name
    data = change(path.read_bytes())
    path.unlink() if data is None else path.write_bytes(data)
    refused(out, RunError, r"is damaged: hf cannot be read: .*use: sam2prep verify")


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        (
            PermissionError(13, "Permission denied", "a.arrow"),
            RunError,
            "^a.arrow: cannot be read: P",
        ),
        (OSError(24, "Too many open files"), RunError, "cannot be read: Too many open files$"),
        (pa.ArrowMemoryError("no more"), MemoryError, "no more"),
    ],
)
def test_what_is_no_damage_is_not_called_so(out, monkeypatch, failure, kind, said):
    def fail():
        raise failure

    between_splits(monkeypatch, fail)
    with pytest.raises(kind, match=said):
        open_dataset(str(out))
    assert open_dataset(str(out))


def test_a_folder_that_is_gone(out, monkeypatch):
    monkeypatch.setattr(pinned, "_MISSING_SEC", 0.0)
    shutil.rmtree(out / "hf")
    refused(out, RunError, "is damaged: hf is missing; use: sam2prep verify")
    (out / "hf").write_text("a file")
    with pytest.raises(RunError, match="hf: cannot be read: Not a directory"):
        open_dataset(str(out))


def test_a_publication_that_died(out, url, monkeypatch):
    monkeypatch.setattr(pinned, "_PATIENCE_SEC", 0.0)
    for place in (str(out), url):
        write_bytes(join(place, ".staging/commit.json"), b"{}")
    assert ids(open_dataset(str(out)))  # a folder that is there is whole
    (out / "hf").rename(out / "aside")
    for place in (out, url):
        refused(place, RunError, "still being published .* sam2prep clean")


def test_a_url_is_what_load_from_disk_gives_the_first_time(made, url):
    opened = open_dataset(url)
    assert ids(opened) == made[0][1]
    assert opened["train"].to_list() == open_dataset(str(made[0][0]))["train"].to_list()


def test_a_url_opened_again_is_the_version_of_today(made, url):
    first = open_dataset(url)
    assert open_dataset(url)["train"].cache_files == first["train"].cache_files
    split(url, 2)
    assert ids(open_dataset(url)) == made[1][1]
    assert ids(first) == made[0][1]
    split(url, 1)
    assert ids(open_dataset(url)) == made[0][1]


def at_object(monkeypatch, number, what):
    """Have something happen after an object was read, and while others are not yet."""
    memory = type(fsspec.filesystem("memory"))
    get, read = memory.get_file, []
    monkeypatch.setattr(pinned, "_AT_ONCE", 1)

    def patched(self, path, target, **more):
        get(self, path, target, **more)
        read.append(path)
        if len(read) == number:
            what()

    monkeypatch.setattr(memory, "get_file", patched)
    return read


@pytest.mark.parametrize("number", [1, 3, 6])
def test_a_publication_while_a_url_is_copied(made, url, monkeypatch, number):
    at_object(monkeypatch, number, lambda: split(url, 2))
    assert ids(open_dataset(url)) == made[1][1]


def test_there_and_back_while_a_url_is_copied(made, url, monkeypatch):
    """The manifest is the same before and after, and what was copied in between is not."""

    def there_and_back():
        split(url, 2)
        at_object(monkeypatch, 1, lambda: split(url, 1))

    at_object(monkeypatch, 2, there_and_back)
    assert ids(open_dataset(url)) == made[0][1]


def copy_made_by_a_process(url, queue):
    forked = multiprocessing.get_context("fork").Process(target=open_dataset, args=(url,))
    forked.start()
    forked.join()
    opened = open_dataset(url)
    forked = multiprocessing.get_context("fork").Process(target=print)
    forked.start()
    forked.join()
    queue.put((opened["train"].cache_files[0]["filename"], ids(opened)))
    queue.put(opened["train"].to_list())  # its files are there still


def test_copies_are_gone_with_their_process(made, url, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    process = fork.Process(target=copy_made_by_a_process, args=(url, queue))
    process.start()
    (name, found), rows = queue.get(timeout=100), queue.get(timeout=100)
    process.join()
    assert name.startswith(str(tmp_path))
    assert found == made[0][1]
    assert len(rows) == len(found["train"])
    assert not list(tmp_path.glob("sam2prep-*"))


def test_a_copy_that_somebody_removed_is_made_again(made, url):
    first = open_dataset(url)
    shutil.rmtree(Path(first["train"].cache_files[0]["filename"]).parents[2])
    assert ids(open_dataset(url)) == made[0][1]


@pytest.mark.parametrize("change", [lambda data: data[:-1] + b"!", lambda _: None])
def test_a_damaged_object_is_named(url, change):
    name = "hf/train/data-00000.arrow"
    filesystem = fsspec.filesystem("memory")
    data = change(filesystem.cat_file(f"/pinned/out/{name}"))
    filesystem.rm(f"/pinned/out/{name}")
    if data is not None:
        filesystem.pipe_file(f"/pinned/out/{name}", data)
    refused(url, RunError, rf"is damaged: {name} is .*use: sam2prep verify")


def test_a_manifest_names_nothing_outside(url, tmp_path):
    manifest = json.loads(read_bytes(join(url, "manifest.json")))
    del manifest["digest"]
    manifest["files"].append({"path": "hf/../../../x", "size_bytes": 1, "sha256": ""})
    write_bytes(join(url, "manifest.json"), encode(sealed(manifest)))
    refused(url, RunError, "which is outside of the dataset")


def test_a_store_that_fails(url, monkeypatch):
    def fail(*_args, **_more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "get_file", fail)
    refused(url, RunError, "cannot be read: Permission denied")


def test_a_url_that_cannot_be_opened_is_refused_as_everywhere():
    with pytest.raises(UsageError, match="nosuch:// is no protocol that fsspec knows"):
        open_dataset("nosuch://a/b")
