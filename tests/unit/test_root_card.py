"""The card that tells `load_dataset` which files of OUT are the dataset."""

import dataclasses

import pytest
import yaml
from huggingface_hub import DatasetCard

from engine.root_card import root_card
from engine.storage import FileDigest

SIZES = {"train": 8, "validation": 1, "test": 1}
FILES = [
    FileDigest(path=f"{name}/x", size_bytes=1, sha256=name * 8)
    for name in ("hf", "parquet", "coco")
]


def files(card):
    (config,) = DatasetCard(card.decode()).data.configs
    assert config["config_name"] == "default"
    return {entry["split"]: entry["path"] for entry in config["data_files"]}


@pytest.mark.parametrize("formats", [("parquet",), ("hf", "parquet"), ("coco", "parquet", "hf")])
def test_parquet_comes_first(formats):
    assert files(root_card(formats, SIZES, FILES)) == {
        "train": "parquet/train-*.parquet",
        "validation": "parquet/validation-*.parquet",
        "test": "parquet/test-*.parquet",
    }


def test_of_hf_only_the_shards_are_named():
    """Not cache-*.arrow, which `datasets` puts beside them."""
    assert files(root_card(("hf", "coco"), SIZES, FILES))["test"] == "hf/test/data-*.arrow"


def test_a_split_without_rows_is_left_out():
    sizes = {"train": 8, "validation": 0, "test": 1}
    assert list(files(root_card(("parquet",), sizes, FILES))) == ["train", "test"]


def test_no_card_where_nothing_could_be_loaded():
    assert root_card(("coco", "revos"), SIZES, FILES) is None
    assert root_card(("hf",), {"train": 0, "validation": 0, "test": 0}, FILES) is None


def test_it_is_yaml_between_two_lines_and_the_same_each_time():
    card = root_card(("hf",), SIZES, FILES)
    assert card == root_card(("hf",), SIZES, FILES)
    head, document, text = card.decode().split("---\n")
    assert head == ""
    assert set(yaml.safe_load(document)) == {"configs"}
    assert "load_dataset" in text


def test_the_card_follows_the_content_of_what_it_names():
    """And of nothing else: the bytes of `hf` say nothing about rows that come from Parquet."""
    known = root_card(("hf", "parquet"), SIZES, FILES)
    assert root_card(("hf", "parquet"), SIZES, FILES[::-1]) == known
    for place, changes in ((0, False), (1, True), (2, False)):
        files = list(FILES)
        files[place] = dataclasses.replace(files[place], sha256="other")
        assert (root_card(("hf", "parquet"), SIZES, files) != known) is changes
