"""The dataset card: huggingface_hub reads its header, datasets finds the splits by it."""

import json
import shutil

import datasets
import pytest
import yaml
from huggingface_hub import DatasetCard
from huggingface_hub.repocard import metadata_load

import engine
from engine import Config, Execution
from engine.card import card_text, yaml_features
from engine.hf_columns import COLUMNS, QUARANTINE_COLUMNS, arrow_schema, columns_with
from engine.sample_export import write_sample_export

HERE = Execution(runner="local")
COCO = {"frames": 20, "width": 48, "height": 32, "dialect": "coco", "truth": False}
SPLIT = {"strategy": "stratified", "seed": 42, "sizes": {"train": 9, "validation": 1, "test": 0}}
DOCUMENT = {
    "status": "PASSED", "videos": 1, "class_counts": {"person": 9}, "findings": [],
    "exports": [{"source": "a.zip", "video_id": "a-1", "frame_records": 10}],
}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    truth = write_sample_export(folder / "a.zip", **COCO)
    engine.prepare([str(truth.path)], str(folder / "out"), Config(rows_per_shard=5), HERE)
    return folder / "out"


@pytest.mark.parametrize("columns", [COLUMNS, QUARANTINE_COLUMNS])
def test_features_are_written_as_datasets_writes_them(columns):
    features = datasets.Features.from_arrow_schema(arrow_schema(columns))
    assert yaml_features(columns) == features._to_yaml_list()
    assert datasets.Features._from_yaml_list(yaml_features(columns)) == features


def test_the_hub_reads_the_header(out):
    card = DatasetCard.load(out / "hf/README.md", repo_type="dataset")
    header = metadata_load(out / "hf/README.md")
    assert card.data.to_dict() == header
    info = datasets.DatasetInfo._from_yaml_dict(header["dataset_info"])
    split = json.loads((out / "split.json").read_text())
    assert {name: s.num_examples for name, s in info.splits.items()} == split["sizes"]
    sizes = {
        name: sum(f.stat().st_size for f in (out / "hf" / name).glob("*.arrow"))
        for name in info.splits
    }
    assert {name: s.num_bytes for name, s in info.splits.items()} == sizes
    assert header["size_categories"] == ["n<1K"]


def test_a_hub_reader_finds_every_split_by_it(out, tmp_path):
    folder = tmp_path / "uploaded"
    shutil.copytree(out / "hf", folder)
    card = (folder / "README.md").read_text()
    for number, name in enumerate(("train", "validation", "test")):
        (folder / name).rename(folder / f"part_{number}")  # from which nothing can be guessed
        card = card.replace(f"path: {name}/", f"path: part_{number}/")
    (folder / "README.md").write_text(card)
    found = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    own = datasets.load_from_disk(str(out / "hf"))
    assert list(found) == list(own)
    for name in own:
        assert found[name].features == own[name].features
        assert found[name]["id"][:] == own[name]["id"][:]


def test_it_is_listed_and_load_from_disk_does_not_mind(out):
    manifest = json.loads((out / "manifest.json").read_text())
    assert "hf/README.md" in {file["path"] for file in manifest["files"]}
    assert sum(len(part) for part in datasets.load_from_disk(str(out / "hf")).values()) == 20


def test_an_empty_split_is_not_promised():
    text = card_text(DOCUMENT, SPLIT, COLUMNS, {"train": 100, "validation": 10}, content="0")
    header = yaml.safe_load(text.split("---\n")[1])
    (config,) = header["configs"]
    assert [each["split"] for each in config["data_files"]] == ["train", "validation"]
    assert "test" not in text.split("## Columns")[0]


def test_every_image_column_is_described():
    for wanted in ("image", "images", "both"):
        text = card_text(DOCUMENT, SPLIT, columns_with(wanted), {"train": 100}, content="0")
        for name in ("image", "images"):
            assert (f"| `{name}` |" in text) == (wanted in (name, "both"))


def test_what_names_its_images_by_path_is_not_sent_to_the_hub():
    sizes = {"train": 100}
    text = card_text(DOCUMENT, SPLIT, COLUMNS, sizes, content="0", movable=False)
    assert "load_dataset" not in text
    assert "full paths" in text
    assert "full paths" not in card_text(DOCUMENT, SPLIT, COLUMNS, sizes, content="0")


def test_the_same_input_gives_the_same_card_and_no_version():
    sizes = {"train": 100, "validation": 10}
    text = card_text(DOCUMENT, SPLIT, COLUMNS, sizes, content="0")
    assert text == card_text(DOCUMENT, SPLIT, COLUMNS, sizes, content="0")
    from engine.version import VERSION

    assert VERSION not in text


@pytest.mark.parametrize(
    "label",
    ["---\nlicense: mit\n---", "<script>x</script>", "{{ card_data }}", "a|b", "# h\n", "`"],
)
def test_labels_cannot_reach_the_header_or_the_layout(label):
    finding = {"severity": "warning", "code": "label_variants", "message": label}
    document = DOCUMENT | {
        "class_counts": {label: 1}, "findings": [finding],
        "exports": [{"source": label, "video_id": label, "frame_records": 1}],
    }  # fmt: skip
    text = card_text(document, SPLIT, COLUMNS, {"train": 100}, content="0")
    plain = card_text(DOCUMENT, SPLIT, COLUMNS, {"train": 100}, content="0")
    assert text.split("---\n")[1] == plain.split("---\n")[1]
    assert DatasetCard(text).data.to_dict() == DatasetCard(plain).data.to_dict()
    titles = [line for line in text.splitlines() if line.startswith("#")]
    assert titles == [line for line in plain.splitlines() if line.startswith("#")]
    assert "<script" not in text
