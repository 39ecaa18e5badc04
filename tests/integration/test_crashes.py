"""Exports that kill whoever reads them: found, named and set aside, and the rest is prepared."""

import json
import tempfile
import time
from pathlib import Path

import datasets
import pytest
from click.testing import CliRunner

import engine
from engine.config import Config, Execution
from engine.errors import CrashError, OutputError, RunError
from engine.pipeline import RayRunner
from engine.sample_export import write_sample_export
from engine.storage import join, list_files, read_bytes
from jobs.cli import main as cli
from tests.s3_server import environment, running_server
from tests.watching import Watch

SIZE = {"width": 32, "height": 24, "dialect": "coco", "truth": False}
RAY = Execution(runner="ray", frames_per_range=8)
PROCESSES = Execution(runner="processes", workers=2, frames_per_range=8)
HERE = Execution(runner="local", frames_per_range=8)
STANDARD = Config(validation="standard", rows_per_shard=8)


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    """One Ray for the file, whose workers do as they are told."""
    watch = Watch(tmp_path_factory.mktemp("watch"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in watch.environment().items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        with RayRunner(workers=2) as runner:
            runner.run(abs, [], stage="start")
            yield watch


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    for number, name in enumerate(("bright", "dark", "grey")):
        write_sample_export(folder / f"{name}.zip", frames=20, seed=number, **SIZE)
    return [str(folder / f"{name}.zip") for name in ("bright", "dark", "grey")]


def ids_of(exports, place):
    """Ids of the frames of an export, from a run in this process."""
    found = engine.inspect([exports[place]])["exports"][0]
    return [f"{found['video_id']}/{number:06d}" for number in range(0, 120, 6)]


def files_below(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "summary.json"
    }


def report_of(out):
    return json.loads((out / "report/validation.json").read_bytes())


def found(out, code):
    lines = (out / "report/issues.jsonl").read_text().splitlines()
    return [issue for issue in map(json.loads, lines) if issue["code"] == code]


def closed(account, kind="frames"):
    prefix = "" if kind == "frames" else "objects_"
    parts = [name for name in account if name not in ("frames_in", "objects_in")]
    own = [name for name in parts if name.startswith("objects_") == bool(prefix)]
    return account[f"{kind}_in"] == sum(account[name] for name in own)


@pytest.mark.long
def test_an_export_that_kills_whoever_opens_it_is_left_out_by_name(watch, exports, tmp_path):
    watch.order(open=["dark.zip"])
    summary = engine.prepare(exports, str(tmp_path / "out"), STANDARD, RAY)
    assert (summary["runner"], summary["status"]) == ("ray", "PASSED_WITH_WARNINGS")
    assert summary["sources_status"] == "FAILED"
    assert [entry["source"] for entry in summary["inputs"]] == ["bright.zip", "grey.zip"]
    [issue] = found(tmp_path / "out", "export_crashed")
    assert issue["source"] == "dark.zip"
    findings = {f["code"]: f for f in report_of(tmp_path / "out")["findings"]}
    assert findings["export_left_out"]["message"] == "1 export (33.3%) was left out"
    assert closed(summary["accounting"])
    assert summary["accounting"]["frames_in"] == 40
    engine.prepare([exports[0], exports[2]], str(tmp_path / "without"), STANDARD, HERE)
    ours, theirs = files_below(tmp_path / "out"), files_below(tmp_path / "without")
    for name in theirs:
        if name.startswith(("hf/train", "hf/validation", "hf/test", "index/")):
            assert ours[name] == theirs[name]
    _again_tells_what_was_left_out(exports, str(tmp_path / "out"))
    added = engine.add(str(tmp_path / "out"), [exports[1]], execution=HERE)
    assert added["accounting"]["frames_in"] == 60
    again = engine.prepare(exports, str(tmp_path / "out"), STANDARD, HERE)
    assert again["nothing_to_do"]
    assert "exports_left_out" not in again


def _again_tells_what_was_left_out(exports, out):
    again = engine.prepare(exports, out, STANDARD, HERE)
    assert (again["nothing_to_do"], again["exports_left_out"]) == (True, [exports[1]])
    options = ["--validation", "standard", "--rows-per-shard", "8", "--runner", "local"]
    shown = CliRunner().invoke(cli, ["prepare", *exports, "--out", out, *options])
    assert shown.exit_code == 0, shown.output
    assert f"Left out    {exports[1]}: crashed whoever opened it" in shown.stdout
    assert f"sam2prep add {out} {exports[1]}" in shown.stdout
    other = exports[2].replace("grey", "other")
    write_sample_export(other, frames=20, seed=9, **SIZE)
    with pytest.raises(OutputError, match="use: sam2prep add"):
        engine.prepare([*exports, other], out, STANDARD, HERE)
    with pytest.raises(OutputError, match="use: sam2prep add"):
        engine.prepare(exports[1:], out, STANDARD, HERE)
    Path(other).unlink()


@pytest.mark.parametrize("execution", [pytest.param(RAY, marks=pytest.mark.long), PROCESSES])
def test_under_strict_validation_it_ends_the_run_by_name(watch, exports, tmp_path, execution):
    watch.order(open=["dark.zip"])
    with pytest.raises(RunError) as caught:
        engine.prepare(exports, str(tmp_path / "out"), Config(), execution)
    assert caught.value.exit_code == 3
    assert "dark.zip" in str(caught.value)
    assert "bright.zip" not in str(caught.value)
    assert "--validation standard" in str(caught.value)
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.parametrize(
    "execution",
    [pytest.param(RAY, id="ray", marks=pytest.mark.long), pytest.param(PROCESSES, id="processes")],
)
def test_whatever_kills_whoever_reads_it_is_found_and_set_aside(
    watch, exports, tmp_path, execution
):
    in_scan, in_write = ids_of(exports, 0)[3], ids_of(exports, 2)[11]
    bad = sorted([in_scan, in_write])
    watch.order(open=["dark.zip"], scan=[in_scan], write=[in_write])
    out = tmp_path / "out"
    summary = engine.prepare(exports, str(out), STANDARD, execution)
    assert (summary["runner"], summary["status"]) == (execution.runner, "PASSED_WITH_WARNINGS")
    assert [issue["source"] for issue in found(out, "export_crashed")] == ["dark.zip"]
    assert [issue["frame_id"] for issue in found(out, "frame_crashed")] == bad
    assert {issue["source"] for issue in found(out, "frame_crashed")} == {"bright.zip", "grey.zip"}
    assert all("SIGKILL" in issue["message"] for issue in found(out, "frame_crashed"))
    account = summary["accounting"]
    assert (account["frames_in"], account["quarantined"]) == (40, 2)
    assert closed(account)
    assert closed(account, "objects")
    aside = datasets.load_from_disk(str(out / "quarantine"))
    assert sorted(aside["id"]) == bad
    assert all(row["image"] is None for row in aside)
    assert all("frame_crashed: " in " ".join(row["reasons"]) for row in aside)
    kept = [row["id"] for rows in datasets.load_from_disk(str(out / "hf")).values() for row in rows]
    assert len(kept) == 38
    assert not set(kept) & set(bad)
    assert engine.verify(str(out))["status"] == "VERIFIED"


def scratch_folders():
    return set(Path(tempfile.gettempdir()).glob("sam2prep-*"))


def test_a_row_that_kills_whoever_writes_it_is_set_aside_alone(watch, exports, tmp_path):
    bad = ids_of(exports, 1)[5]
    watch.order(compose=[bad])
    out = tmp_path / "out"
    config = Config(validation="standard", rows_per_shard=8, formats=("hf", "llava", "coco"))
    before = scratch_folders()
    summary = engine.prepare(exports, str(out), config, RAY)
    assert [issue["frame_id"] for issue in found(out, "frame_crashed")] == [bad]
    assert (summary["total_samples"], summary["accounting"]["quarantined"]) == (59, 1)
    assert closed(summary["accounting"])
    assert datasets.load_from_disk(str(out / "quarantine"))["id"] == [bad]
    assert engine.verify(str(out))["status"] == "VERIFIED"
    until = time.monotonic() + 60  # what is of another run on this machine goes with it
    while scratch_folders() - before and time.monotonic() < until:
        time.sleep(0.5)
    assert not scratch_folders() - before


@pytest.mark.long
def test_what_lies_on_s3_is_found_in_a_process_apart_too(watch, exports, tmp_path, monkeypatch):
    pytest.importorskip("moto", reason="the extra `test` is not installed: moto")
    s3fs = pytest.importorskip("s3fs", reason="the extra `s3` is not installed")
    bad = sorted([ids_of(exports, 0)[3], ids_of(exports, 1)[7], ids_of(exports, 2)[11]])
    config = Config(validation="standard", rows_per_shard=8, check_images="decode")
    watch.order(scan=bad[:1], write=bad[1:2], compose=bad[2:])
    here = tmp_path / "here"
    assert engine.prepare(exports, str(here), config, RAY)["accounting"]["quarantined"] == 3
    with running_server() as url:
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        filesystem = s3fs.S3FileSystem(use_listings_cache=False)
        filesystem.mkdir("crashes")
        for path in exports:
            filesystem.put_file(path, f"crashes/{Path(path).name}")
        watch.order(scan=bad[:1], write=bad[1:2], compose=bad[2:])
        out = "s3://crashes/data/out"
        summary = engine.prepare(["s3://crashes/*.zip"], out, config, RAY)
        assert summary["runner"] == "ray"
        there = {name: read_bytes(join(out, name)) for name in list_files(out)}
        assert engine.verify(out)["status"] == "VERIFIED"
    assert [issue["frame_id"] for issue in found(here, "frame_crashed")] == bad
    there.pop("summary.json")
    assert there == files_below(here)


@pytest.mark.long
def test_where_rows_cannot_be_told_apart_their_shard_is_set_aside(watch, exports, tmp_path):
    bad = ids_of(exports, 1)[5]
    watch.order(compose=[bad], apart=True)
    out = tmp_path / "out"
    summary = engine.prepare(exports, str(out), STANDARD, RAY)
    crashed = [issue["frame_id"] for issue in found(out, "frame_crashed")]
    assert bad in crashed
    assert len(crashed) == summary["accounting"]["quarantined"] <= 8
    assert closed(summary["accounting"])


@pytest.mark.long
def test_tracks_that_kill_whoever_follows_them_end_the_run_by_name(watch, exports, tmp_path):
    video = ids_of(exports, 1)[0].split("/")[0]
    watch.order(track=[video])
    with pytest.raises(CrashError) as caught:
        engine.prepare(exports, str(tmp_path / "out"), STANDARD, RAY)
    assert caught.value.exit_code == 3
    assert f"(video {video}, of dark.zip)" in str(caught.value)
    assert "or leave out what is named" in str(caught.value)
    assert "the same command continues" in str(caught.value)
    watch.order()
    assert engine.prepare(exports, str(tmp_path / "out"), STANDARD, RAY)["resumed"]["taken_over"]


@pytest.mark.long
def test_where_single_frames_cannot_be_told_apart_the_range_is_set_aside(watch, exports, tmp_path):
    ids = ids_of(exports, 1)
    watch.order(scan=[ids[9]], apart=True)
    out = tmp_path / "out"
    summary = engine.prepare(exports, str(out), STANDARD, RAY)
    assert [issue["frame_id"] for issue in found(out, "frame_crashed")] == ids[8:16]
    assert summary["accounting"]["quarantined"] == 8
    assert closed(summary["accounting"])
    assert closed(summary["accounting"], "objects")


def test_under_strict_validation_the_range_is_named(watch, exports, tmp_path):
    watch.order(scan=[ids_of(exports, 1)[9]])
    with pytest.raises(CrashError, match=r"scan: scan-00001-000001 \(dark\.zip, range 2 of 3\)"):
        engine.validate(exports, None, Config(), RAY)


@pytest.mark.long
def test_a_picture_that_kills_whoever_draws_it_is_not_shown(watch, tmp_path):
    export = str(tmp_path / "unnamed.zip")
    write_sample_export(export, frames=20, labels=("object_0", "dog"), **SIZE)
    watch.order(draw=[ids_of([export], 0)[0]])
    document = engine.validate([export], str(tmp_path / "report"), Config(), RAY)
    assert document["status"] == "PASSED_WITH_WARNINGS"
    page = (tmp_path / "report/report.html").read_text()
    assert page.count("the image cannot be decoded") == 1
    assert page.count("data:image/") >= 3


@pytest.mark.long
def test_workers_that_die_once_in_a_task_leave_no_trace(watch, exports, tmp_path):
    frames = [ids_of(exports, 0)[3], ids_of(exports, 2)[11]]
    watch.order(once=["bright.zip", *frames])
    summary = engine.prepare(exports, str(tmp_path / "there"), Config(rows_per_shard=8), RAY)
    assert summary["runner"] == "ray"
    for name in ("bright.zip", *frames):
        assert (watch.folder / name.replace("/", "-")).exists(), "nobody died there"
    engine.prepare(exports, str(tmp_path / "here"), Config(rows_per_shard=8), HERE)
    assert files_below(tmp_path / "there") == files_below(tmp_path / "here")
