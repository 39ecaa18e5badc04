"""A dry run says what a run does, and leaves no trace."""

import json

import pytest
from click.testing import CliRunner

import engine
from engine.rehearsal import rehearse
from engine.sample_export import write_sample_export
from jobs.cli import main

SMALL = {"frames": 20, "width": 64, "height": 48, "truth": False}
HERE = engine.Execution(runner="local")


@pytest.fixture
def source(tmp_path):
    write_sample_export(tmp_path / "a.zip", mask_truncated=[3], **SMALL)
    return str(tmp_path / "a.zip")


@pytest.mark.parametrize(
    "config",
    [
        {"rows_per_shard": 4},
        {"split": "temporal", "temporal_segments": True, "gap_sec": 0.5},
        {"split": "random", "ratios": (0.5, 0.5, 0.0)},
    ],
)
def test_the_plan_is_what_a_run_then_does(source, tmp_path, config):
    config = engine.Config(validation="standard", **config)
    plan = rehearse([source], str(tmp_path / "out"), config, HERE)
    assert not (tmp_path / "out").exists()
    summary = engine.prepare([source], str(tmp_path / "out"), config, HERE)
    assert {name: split["rows"] for name, split in plan["splits"].items()} == summary["splits"]
    for name, split in plan["splits"].items():
        assert split["shards"] == len(list((tmp_path / "out/hf" / name).glob("*.arrow")))
    accounting = summary["accounting"]
    assert plan["set_aside"] == accounting["quarantined"] == 1
    assert plan["left_out"].get("temporal_gap", 0) == accounting.get("excluded_temporal_gap", 0)
    assert plan["config"] == json.loads((tmp_path / "out/manifest.json").read_text())["config"]
    assert plan["would_write"] == "a dataset"


def test_a_failure_is_foreseen(source, tmp_path):
    plan = rehearse([source], str(tmp_path / "out"), None, HERE)
    assert (plan["status"], plan["would_write"]) == ("FAILED", "a report")
    assert any(line.startswith("error mask_") for line in plan["findings"])


def test_what_out_holds_is_said(source, tmp_path):
    out = str(tmp_path / "out")
    engine.prepare([source], out, engine.Config(validation="standard"), HERE)
    plan = rehearse([source], out, None, HERE)
    assert (plan["out_holds"], plan["would_write"]) == ("finished", "nothing")


def test_from_the_command_line(source, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    command = ["prepare", source, "--out", str(tmp_path / "x"), "--dry-run"]
    result = CliRunner().invoke(main, command)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Would write a report" in result.stdout
    assert "Config      rows_per_shard = 2000" in result.stdout
    assert json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)["dry_run"] is True
    assert sorted(tmp_path.rglob("*")) == before
