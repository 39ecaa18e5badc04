"""`datasets.load_dataset(OUT)`: the splits alone, whatever lies beside them. No network."""

import json
import subprocess
import sys
import zipfile

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco

import engine
from engine.sample_export import write_sample_export


@pytest.fixture(autouse=True, scope="module")
def offline(tmp_path_factory):
    """A cache of its own, and no way to the Hub: a try to ask it is an error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield


def prepare(sources, out, **config):
    execution = engine.Execution(runner="local")
    return engine.prepare(list(map(str, sources)), str(out), engine.Config(**config), execution)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "street.zip"
    return write_sample_export(
        path, frames=30, width=96, height=54, labels=("person", "dog", "person"), paint=False,
        hidden={4: [1], 7: [0, 1, 2]}, mask_truncated=[9], seed=5,
    )  # fmt: skip


FORMATS = {
    "hf": {"formats": ("hf",)},
    "parquet": {"formats": ("parquet",)},
    "both": {"formats": ("hf", "parquet"), "hf_image_column": "images"},
}


@pytest.fixture(scope="module", params=FORMATS)
def out(request, written, tmp_path_factory):
    """With a quarantine, a report and an index beside the dataset."""
    place = tmp_path_factory.mktemp("prepared") / "out"
    prepare(
        [written.path], place, rows_per_shard=7, validation="standard", **FORMATS[request.param]
    )
    assert (place / "quarantine").is_dir()
    return place


def sizes(out):
    return json.loads((out / "split.json").read_text())["sizes"]


def first_image(row):
    return row["images"][0] if "images" in row else row["image"]


def test_it_gives_exactly_the_splits(out, written):
    loaded = datasets.load_dataset(str(out))
    assert {name: len(split) for name, split in loaded.items()} == sizes(out)
    assert list(loaded) == ["train", "validation", "test"]
    images = {frame.frame_index: frame for frame in written.frames}
    with zipfile.ZipFile(written.path) as archive:
        for split in loaded.values():
            for row in split:
                source = images[row["frame_index"]]
                with archive.open(source.image) as member:
                    pixels = np.asarray(datasets.Image().decode_example(
                        {"bytes": member.read(), "path": None}
                    ))  # fmt: skip
                np.testing.assert_array_equal(np.asarray(first_image(row)), pixels)
                visible = [thing for thing in source.objects if thing.visible]
                for mask, thing in zip(row["masks"], visible, strict=True):
                    np.testing.assert_array_equal(coco.decode(mask), thing.mask)


def test_it_streams(out):
    loaded = datasets.load_dataset(str(out), streaming=True)
    counted = {name: sum(1 for _ in split) for name, split in loaded.items()}
    assert counted == sizes(out)
    row = next(iter(loaded["test"]))
    assert first_image(row).size == (96, 54)
    assert row["messages"][0]["role"] == "user"


def test_a_cache_beside_the_shards_is_not_taken_for_rows(written, tmp_path):
    prepare([written.path], tmp_path / "out", validation="standard")
    train = datasets.load_from_disk(str(tmp_path / "out" / "hf"))["train"]
    train.map(lambda row: {"objects": len(row["labels"])})
    assert list((tmp_path / "out" / "hf" / "train").glob("cache-*.arrow"))
    loaded = datasets.load_dataset(str(tmp_path / "out"))
    assert len(loaded["train"]) == len(train)
    assert "objects" not in loaded["train"].column_names


@pytest.mark.parametrize("formats", [("hf",), ("parquet",)])
def test_the_cache_of_one_dataset_never_answers_for_another(formats, written, tmp_path):
    """`datasets` keys it by the folder's last name and the card, not by the files."""
    chosen = {"formats": formats, "validation": "standard"}
    found = []
    for seed, folder in enumerate(("one", "two")):
        out = tmp_path / folder / "same_name"
        prepare([written.path], out, seed=seed, **chosen)
        found.append(datasets.load_dataset(str(out), split="test")["id"][:])
        index = {
            row["id"] for row in pq.read_table(out / "index").to_pylist() if row["split"] == "test"
        }
        assert set(found[-1]) == index
    assert found[0] != found[1]


@pytest.mark.parametrize("formats", [("hf",), ("parquet",)])
def test_an_empty_split_is_absent(formats, written, tmp_path):
    prepare(
        [written.path], tmp_path / "out", formats=formats, ratios=(1.0, 0.0, 0.0),
        validation="standard",
    )  # fmt: skip
    loaded = datasets.load_dataset(str(tmp_path / "out"))
    assert {name: len(split) for name, split in loaded.items()} == {"train": 29}


def test_parquet_and_hf_hold_the_same_rows(written, tmp_path):
    prepare(
        [written.path], tmp_path / "out", formats=("hf", "parquet"), hf_image_column="images",
        validation="standard", rows_per_shard=7,
    )  # fmt: skip
    one = datasets.load_from_disk(str(tmp_path / "out" / "hf"))
    two = datasets.load_dataset(str(tmp_path / "out"))
    undecoded = datasets.List(datasets.Image(decode=False))
    for name, split in one.items():
        assert split.features == two[name].features
        first, second = (each.cast_column("images", undecoded) for each in (split, two[name]))
        assert first[:] == second[:]


def test_a_failed_run_after_a_good_one_leaves_no_card(written, tmp_path):
    """The card would name files that are not there any more."""
    prepare([written.path], tmp_path / "out", formats=("parquet",), validation="standard")
    assert (tmp_path / "out" / "README.md").exists()
    (tmp_path / "out" / "manifest.json").unlink()  # as if the run had died before its end
    summary = prepare([written.path], tmp_path / "out", formats=("parquet",))
    assert summary["status"] == "FAILED"
    assert not (tmp_path / "out" / "parquet").exists()
    assert not (tmp_path / "out" / "README.md").exists()


def test_a_folder_with_a_readme_of_somebody_else_is_left_alone(written, tmp_path):
    readme = tmp_path / "out" / "README.md"
    readme.parent.mkdir()
    readme.write_text("my notes")
    with pytest.raises(engine.UsageError, match="no prepared dataset"):
        prepare([written.path], tmp_path / "out")
    assert readme.read_text() == "my notes"


def test_in_a_process_of_its_own_without_a_network(written, tmp_path):
    prepare([written.path], tmp_path / "out", formats=("parquet",), validation="standard")
    program = "import datasets, sys; print(datasets.load_dataset(sys.argv[1])['train'].num_rows)"
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out")], capture_output=True, text=True,
        check=True, env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "PATH": ""},
    )  # fmt: skip
    assert int(run.stdout) == sizes(tmp_path / "out")["train"]
