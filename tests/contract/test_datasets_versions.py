"""Other versions of `datasets` read the same from OUT as the pinned one does."""

import json

import datasets
import pytest

from tests.contract.readers import hub
from tests.contract.venvs import ConsumerError

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("own_cache")]

# The last two are what LLaMA-Factory and ms-swift can be installed with.
VERSIONS = {
    "datasets-2.16": "2.16.1", "datasets-3.6": "3.6.0", "llamafactory": "4.0.0", "swift": "4.8.4",
}  # fmt: skip


@pytest.fixture(scope="module", params=VERSIONS)
def other(request, consumer):
    found = consumer(request.param)
    assert found.call("hub", "version") == VERSIONS[request.param] != datasets.__version__
    return found


def test_load_from_disk(prepared, other):
    here = hub.read_disk(str(prepared / "hf"))
    assert {name: split["rows"] for name, split in here.items()} == {
        "train": 40, "validation": 5, "test": 5,
    }  # fmt: skip
    assert {"image", "images", "messages", "masks"} <= set(here["train"]["columns"])
    assert other.call("hub", "read_disk", path=str(prepared / "hf")) == here


def test_load_dataset_of_the_folder(prepared, other):
    here = hub.read_root(str(prepared))
    assert list(here) == ["train", "validation", "test"]
    assert {"images", "messages", "masks"} <= set(here["train"]["columns"])
    assert other.call("hub", "read_root", path=str(prepared)) == here


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_lines_and_lists(prepared, other, suffix):
    files = {s: str(prepared / "llava" / f"{s}.{suffix}") for s in ("train", "validation", "test")}
    expected = {}
    for split, path in files.items():
        rows = [json.loads(line) for line in (prepared / "llava" / f"{split}.jsonl").open()]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        expected[split] = datasets.Dataset.from_dict(columns)
        assert path.endswith(suffix)
    assert other.call("hub", "read_json", files=files) == hub.digests(expected)


def test_one_changed_answer_shows(prepared, consumer, tmp_path):
    """That the comparison sees what it is there for."""
    rows = (prepared / "llava" / "test.jsonl").read_text().replace("person", "Person", 1)
    (tmp_path / "test.jsonl").write_text(rows)
    one, two = (
        consumer("datasets-3.6").call(
            "hub", "read_json", files={"test": str(folder / "test.jsonl")}
        )
        for folder in (prepared / "llava", tmp_path)
    )
    one, two = one["test"]["columns"], two["test"]["columns"]
    different = {name for name in one if one[name] != two[name]}
    assert different == {"conversations"}


def test_why_features_are_in_the_old_notation(prepared, consumer, tmp_path):
    """What the pinned version itself saves, an older one cannot read."""
    datasets.load_from_disk(str(prepared / "hf"))["test"].save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(ConsumerError, match="Feature type 'List' not found"):
        consumer("datasets-3.6").call("hub", "read_disk", path=str(tmp_path / "saved"))
