"""Log lines for programs: each one JSON object, whatever is in it; silence where none is asked."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from engine import work
from engine.json_log import LOGGER, JsonFormatter, log_on_stderr, stop_log
from engine.sample_export import write_sample_export
from jobs import console
from jobs.cli import main


@pytest.fixture(autouse=True)
def _silent_afterwards():
    yield
    stop_log()


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


@given(st.text(), st.text(), st.dictionaries(st.sampled_from(["a", "b"]), st.integers()))
def test_a_record_is_one_line_that_says_what_it_was_given(message, export, counts):
    record = logging.LogRecord("sam2prep", logging.INFO, "", 0, "%s", (message,), None)
    record.fields = {"export": export, "counts": counts}
    text = JsonFormatter().format(record)
    assert text.isascii() and text.isprintable()
    line = json.loads(text)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info", "message": message, "export": export[:200], "counts": counts
    }  # fmt: skip


def test_nothing_is_written_before_it_is_asked_for_and_after(capsys):
    LOGGER.error("before")
    stream = io.StringIO()
    log_on_stderr(stream)
    log_on_stderr(stream)  # not twice
    LOGGER.info("once")
    stop_log()
    LOGGER.error("after")
    assert [line["message"] for line in lines_of(stream.getvalue())] == ["once"]
    assert capsys.readouterr().err == ""


def test_a_run_with_a_json_log_writes_nothing_else_to_standard_error(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "_LINE_SEC", 0.0)
    source = write_sample_export(tmp_path / "secret folder" / "a.zip", labels=("vixen", "hound"))
    run = CliRunner().invoke(
        main, ["prepare", str(source.path), "--out", str(tmp_path / "out"), "--json",
               "--log-format", "json"],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["status"].startswith("PASSED")
    lines = lines_of(run.stderr)
    assert {"time", "level", "message", "stage", "counts"} <= lines[0].keys()
    done = [line for line in lines if line["message"] == "task done"]
    assert {line["export"] for line in done if line["stage"] == "scan"} == {"a.zip"}
    shards = {line["shard"] for line in done if line["stage"] == "write"}
    assert shards == {"train-00000", "validation-00000", "test-00000"}
    assert sum(line["counts"].get("frames_checked", 0) for line in done) == 24
    assert any(line["counts"].get("total") == 1 for line in lines if line["stage"] == "scan")
    for word in ("vixen", "hound", "secret folder"):
        assert word not in run.stderr


def test_processes_beside_this_one_write_into_the_same_log(tmp_path):
    source = write_sample_export(tmp_path / "a.zip")
    run = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "prepare", source.path, "--out", tmp_path / "out",
         "--runner", "processes", "--workers", "2", "--log-format", "json", "--json"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(run.stdout)["runner"] == "processes"
    done = [line for line in lines_of(run.stderr) if line["message"] == "task done"]
    assert {line["stage"] for line in done} >= {"open", "scan", "write"}
    assert sum(line["counts"].get("frames_checked", 0) for line in done) == 24


@pytest.mark.parametrize("arguments", [["--log-format", "json"], ["--log-format=json"]])
def test_errors_are_json_lines_too_even_of_the_command_line(arguments, tmp_path):
    for rest in (["gone.zip", "--out", str(tmp_path / "o")], ["--no-such-option"]):
        run = CliRunner().invoke(main, ["prepare", *arguments, *rest])
        assert run.exit_code in (2, 3)
        [line] = lines_of(run.stderr)
        assert line["level"] == "error"
        assert line["message"].split(":")[0] in ("gone.zip", "prepare")
    run = CliRunner().invoke(main, ["prepare", "gone.zip", "--out", str(tmp_path / "o")])
    assert run.stderr.startswith("sam2prep: error: gone.zip")


def test_a_failed_task_is_named_and_its_error_is_not_repeated():
    def fail(_):
        raise OSError("s3://key:secret@bucket")

    stream = io.StringIO()
    log_on_stderr(stream)
    with pytest.raises(Exception, match="bucket"):
        work.Work(work.LocalRunner()).run(
            fail, [work.Task(key="scan-1", payload=None)], stage="scan"
        )
    [line] = lines_of(stream.getvalue())
    assert (line["level"], line["task"]) == ("error", "scan-1")
    assert "secret" not in stream.getvalue()
