"""The record of a dataset's versions: from summaries alone, and as the programs write it."""

import json
import shutil
from datetime import UTC, datetime, timedelta, timezone

import fsspec
import pytest
from click.testing import CliRunner

import engine
from engine.config import Config
from engine.errors import OutputError, RunError
from engine.history_record import Version, history, history_with, read_version
from engine.manifest import encode, sealed
from engine.sample_export import write_sample_export
from engine.version import VERSION
from jobs.cli import main

HERE = engine.Execution(runner="local")
NOON = datetime(2026, 5, 4, 12, 0, 0, 999, tzinfo=UTC)


def given(name, digest=None):
    return {
        "source": f"{name}.zip", "video_id": name, "content_digest": digest or f"sha-{name}",
        "frame_records": 10, "path": f"/somewhere/{name}.zip",
    }  # fmt: skip


def summary(samples, splits, classes="ab", inputs=("x",), **more):
    return {
        "status": "PASSED", "total_samples": samples, "classes": list(classes), "splits": splits,
        "inputs": [given(name) for name in inputs], **more,
    }  # fmt: skip


def record(held, new, config=None, **more):
    known = {"command": "add", "finished": NOON} | more
    return history_with(held, new, (config or Config()).to_json(), **known)


FIRST = summary(10, {"train": 8, "validation": 1, "test": 1})


def test_a_first_version():
    config = Config(seed=3, label_map={"a": "b"}, formats=("hf", "coco"))
    (entry,) = record(None, FIRST, config, command="prepare")
    assert entry == {
        "version": 1,
        "command": "prepare",
        "finished": "2026-05-04T12:00:00+00:00",
        "inputs": [{k: v for k, v in given("x").items() if k != "path"}],
        "samples": 10,
        "samples_added": 10,
        "splits": {"train": 8, "validation": 1, "test": 1},
        "splits_added": {"train": 8, "validation": 1, "test": 1},
        "classes_added": ["a", "b"],
        "classes_gone": [],
        "status": "PASSED",
        "options": {"formats": ["hf", "coco"], "label_map": {"a": "b"}, "seed": 3},
        "sam2prep": VERSION,
    }


def test_each_version_says_what_is_new():
    config = Config().to_json()
    held = Version(summary=FIRST | {"history": record(None, FIRST)}, manifest={"config": config})
    more = summary(13, {"train": 10, "validation": 3, "test": 0}, "bcd", ("x", "y", "w"))
    facts = {"already_in": 3, "conflicts": {"kept": 2}}
    one, two = record(held, more, Config(seed=9), facts=facts)
    assert [one] == held.summary["history"]
    assert (two["version"], two["samples"], two["samples_added"]) == (2, 13, 3)
    assert two["splits_added"] == {"train": 2, "validation": 2, "test": -1}
    assert (two["classes_added"], two["classes_gone"]) == (["c", "d"], ["a"])
    assert [entry["video_id"] for entry in two["inputs"]] == ["y", "w"]
    assert two["options"] == {"seed": 9}
    assert (two["already_in"], two["conflicts"]) == (3, {"kept": 2})
    held = Version(
        summary=more | {"history": [one, two]}, manifest={"config": Config(seed=9).to_json()}
    )
    fewer = summary(12, {"train": 12}, "bcd", ("x", "y"))
    *before, three = record(held, fewer, Config(seed=9))
    assert before == [one, two]
    assert three["splits_added"] == {"train": 2, "validation": -3, "test": 0}
    assert (three["samples_added"], three["inputs"], three["options"]) == (-1, [], {})


def test_an_input_counts_as_often_as_it_is_there():
    held = Version(
        summary=FIRST | {"inputs": [given("x"), given("z", "same")]}, manifest={"config": {}}
    )
    new = FIRST | {"inputs": [given("z", "same"), given("z", "same"), given("x", "other")]}
    *_, entry = record(held, new)
    came = [(one["video_id"], one["content_digest"]) for one in entry["inputs"]]
    assert came == [("z", "same"), ("x", "other")]


def test_of_tables_only_what_changed_is_an_option():
    before, now = Config().to_json(), Config().to_json()
    now["thresholds"] = now["thresholds"] | {"bbox_px": 7}
    held = Version(summary=FIRST, manifest={"config": before})
    *_, entry = history_with(held, FIRST, now, command="split", finished=NOON)
    assert entry["options"] == {"thresholds": {"bbox_px": 7}}
    del before["seed"]  # a key that an earlier version did not have: it held the default
    held = Version(summary=FIRST, manifest={"config": before})
    *_, entry = history_with(held, FIRST, Config().to_json(), command="split", finished=NOON)
    assert entry["options"] == {}


def test_the_time_is_that_of_greenwich():
    there = NOON.astimezone(timezone(timedelta(hours=9)))
    assert record(None, FIRST, finished=there) == record(None, FIRST, finished=NOON)


def test_what_was_made_before_there_was_a_record():
    held = Version(summary=FIRST, manifest={"config": Config().to_json()})
    one, two = record(held, FIRST, command="split")
    for name in ("command", "finished", "options", "sam2prep"):
        assert one[name] is None
    assert (one["version"], one["samples"], one["splits"]) == (1, 10, FIRST["splits"])
    assert [entry["video_id"] for entry in one["inputs"]] == ["x"]
    assert (two["version"], two["samples_added"], two["inputs"]) == (2, 0, [])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset of three versions, the last of which would be the first again."""
    folder = tmp_path_factory.mktemp("history")
    for n in range(5):
        more = {"frames": 4, "width": 32, "height": 32, "truth": False, "dialect": "coco"}
        labels = ("cat", "dog\x1b[31m" + "g" * 90)
        name = folder / f"{n}{'-long' * 9}.zip"
        write_sample_export(name, filename=f"v{n}.mp4", seed=n, labels=labels, **more)
    out = str(folder / "out")
    first = engine.prepare([str(folder / "*.zip")], out, Config(seed=7), HERE)
    engine.split(out, {"split": "random", "ratios": (0.5, 0.5, 0.0)}, HERE)
    last = engine.split(out, {"split": "stratified", "ratios": (0.8, 0.1, 0.1)}, HERE)
    return out, first, last


def test_prepare_and_split_keep_the_record(made):
    out, first, last = made
    versions = history(out)["versions"]
    assert versions == last["history"] == read_version(out).summary["history"]
    assert versions[:1] == first["history"]
    assert [entry["version"] for entry in versions] == [1, 2, 3]
    assert [entry["command"] for entry in versions] == ["prepare", "split", "split"]
    assert [len(entry["inputs"]) for entry in versions] == [5, 0, 0]
    assert versions[0]["options"] == {"seed": 7}
    assert versions[1]["options"] == {"split": "random", "ratios": [0.5, 0.5, 0.0]}
    assert versions[0]["finished"] <= versions[1]["finished"] <= versions[2]["finished"]
    assert abs(datetime.now(UTC) - datetime.fromisoformat(versions[2]["finished"])) < timedelta(1)
    for entry in versions:
        assert sum(entry["splits"].values()) == entry["samples"] == 20
    assert engine.verify(out, HERE)["status"] == "VERIFIED"


def test_nothing_to_do_is_no_version(made):
    out, _, last = made
    again = engine.split(out, {"split": "stratified"}, HERE)
    assert again["nothing_to_do"]
    assert again["history"] == last["history"] == history(out)["versions"]


def test_a_failed_run_has_no_history(tmp_path):
    source = tmp_path / "a.zip"
    write_sample_export(source, frames=4, width=32, height=32, mask_truncated=[1], truth=False)
    out = str(tmp_path / "out")
    assert "history" not in engine.prepare([str(source)], out, Config(), HERE)
    with pytest.raises(OutputError, match="holds no finished dataset: got failed"):
        history(out)


def test_what_has_no_history(tmp_path):
    with pytest.raises(OutputError, match="use: sam2prep prepare"):
        history(str(tmp_path / "none"))


def put(out, document):
    folder = fsspec.filesystem("memory")
    folder.pipe_file(f"{out}/manifest.json", b"{}")
    folder.pipe_file(f"{out}/summary.json", encode(sealed(document)))


def test_a_summary_that_is_none():
    for document in ({}, {"history": 7}, FIRST | {"splits": None}):
        put("/history/out", document)
        with pytest.raises(RunError, match=r"summary.json: is not as it was written; .*verify"):
            history("memory://history/out")
    put("/history/out", FIRST)
    assert history("memory://history/out")["versions"][0]["samples"] == 10


def test_an_altered_summary_is_no_version_to_begin_with(made, tmp_path):
    """Else the next version would vouch for what somebody wrote into the record."""
    out = shutil.copytree(made[0], tmp_path / "out")
    before = (out / "summary.json").read_text()
    (out / "summary.json").write_text(before.replace('"samples": 20', '"samples": 99'))
    new = write_sample_export(tmp_path / "n.zip", frames=4, width=32, height=32, truth=False)
    for call in (
        lambda: engine.add(str(out), str(new.path), execution=HERE),
        lambda: engine.split(str(out), {"seed": 5}, HERE),
        lambda: history(str(out)),
    ):
        with pytest.raises(RunError, match=r"summary\.json: was altered since .*prepare") as caught:
            call()
        assert caught.value.exit_code == 3
    (problem,) = engine.verify(str(out), HERE)["problems"]
    assert problem["file"] == "summary.json"
    (out / "summary.json").write_text(before)
    engine.split(str(out), {"seed": 5}, HERE)
    assert [entry["samples"] for entry in history(str(out))["versions"]] == [20] * 4


def lines_of(out):
    result = CliRunner().invoke(main, ["history", out])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_at_the_terminal(made):
    out, _, last = made
    lines = lines_of(out)
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["Version", "When", "(UTC)", "Command", "Samples", "Status"]
    day, time = last["history"][0]["finished"].removesuffix("+00:00").split("T")
    status = last["history"][0]["status"]
    assert lines[1].split() == ["1", day, time, "prepare", "20", status]
    assert lines[2].strip() == "splits train 16, validation 2, test 2"
    assert lines[3].strip().startswith("from 0-long")
    assert lines[3].endswith(" and 2 more")
    assert lines[4].strip() == "with seed=7"
    assert lines[5].strip().startswith("new classes cat, dog\\x1b[31mg")
    assert lines[6].split()[0] == "2"
    assert lines[7].strip() == "splits train 10 (-6), validation 10 (+8), test 0 (-2)"
    assert lines[8].strip() == "with ratios=0.5/0.5/0.0, split=random"
    assert "\x1b" not in "".join(lines)
    document = json.loads(CliRunner().invoke(main, ["history", out, "--json"]).stdout)
    assert document == history(out)


def test_at_the_terminal_what_a_command_adds_and_what_is_unknown():
    more = summary(1234, {"train": 1234}, "abc", ("x", "y"))
    held = Version(summary=FIRST, manifest={"config": Config().to_json()})
    facts = {"resplit": True, "conflicts": {"kept": 2}}
    put("/history/out", more | {"history": record(held, more, facts=facts)})
    text = "\n".join(lines_of("memory://history/out"))
    assert "1        unknown              unknown  10 " in text
    assert "note made before there was a record" in text
    assert "2        2026-05-04 12:00:00  add      1,234 (+1,224) " in text
    assert "splits train 1,234 (+1,226)" in text
    assert "and resplit=True, conflicts=kept 2" in text
    assert "from y.zip" in text
    assert "new classes c" in text


def test_at_the_terminal_what_there_is_not(tmp_path):
    result = CliRunner().invoke(main, ["history", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "holds no finished dataset" in result.stderr
