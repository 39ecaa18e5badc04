"""The measurement of a user's own exports: what it leaves, says and refuses."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import throughput
from benchmarks.limits import ADVICE
from engine.sample_export import write_sample_export


def test_it_measures_says_what_limits_and_leaves_nothing(tmp_path: Path) -> None:
    source, work = tmp_path / "in" / "a.zip", tmp_path / "work"
    write_sample_export(source, frames=30, width=64, height=48, truth=False)
    found = CliRunner().invoke(
        throughput.main,
        [str(source.parent / "*.zip"), "--work", str(work), "--out", str(tmp_path / "r.json")],
    )
    assert found.exit_code == 0, found.output
    assert list(work.iterdir()) == []
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["frames"] == 30
    assert document["runner"] == "local"
    assert document["bare_sample"]["members"] == 32
    assert sum(document["spent_sec"].values()) == pytest.approx(document["seconds"], abs=0.1)
    assert f"limited by {ADVICE[document['limit']]}" in found.output
    assert "\nscan " in found.output


def test_exports_that_fail_say_why_and_leave_nothing(tmp_path: Path) -> None:
    write_sample_export(tmp_path / "a.zip", frames=6, width=64, height=48, mask_truncated=[1])
    arguments = [str(tmp_path / "a.zip"), "--work", str(tmp_path / "work")]
    found = CliRunner().invoke(throughput.main, arguments)
    assert found.exit_code == 1
    assert "error mask_size_mismatch: 1 mask" in found.output
    assert list((tmp_path / "work").iterdir()) == []
    (tmp_path / "c.toml").write_text('validation = "standard"\n')
    again = CliRunner().invoke(throughput.main, [*arguments, "--config", str(tmp_path / "c.toml")])
    assert again.exit_code == 0, again.output


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    found = CliRunner().invoke(throughput.main, [str(tmp_path / "none.zip")])
    assert found.exit_code == 1
    assert "none.zip" in found.output
    assert isinstance(found.exception, SystemExit)


def test_a_work_folder_without_room_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sample_export(tmp_path / "a.zip", frames=2, width=64, height=48)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(throughput.shutil, "disk_usage", lambda _place: usage)
    found = CliRunner().invoke(throughput.main, [str(tmp_path / "a.zip"), "--work", str(tmp_path)])
    assert found.exit_code == 1
    assert "GB free" in found.output
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
