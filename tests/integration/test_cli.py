"""What a person sees at the terminal: one line, one document, the right exit code, nothing left.

Most runs are in this process (click's runner keeps the two streams apart and hides no exception);
what only a process of its own can show has one.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.sample_export import write_sample_export
from jobs.cli import main

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "prepare", "add", "validate", "inspect", "gate", "split", "verify", "history", "clean", "demo",
    "submit",
)  # fmt: skip
HEAVY = {"ray", "datasets", "pyarrow", "numpy", "sklearn", "scipy", "PIL", "pandas", "rich"}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A small export without any finding."""
    path = tmp_path_factory.mktemp("exports") / "good.zip"
    write_sample_export(path, frames=20, width=32, height=24, dialect="coco", truth=False)
    return path


@pytest.fixture(scope="module")
def flawed(tmp_path_factory):
    """An export with two frames without objects, a broken mask, a wrong area and a wrong box."""
    path = tmp_path_factory.mktemp("flawed exports") / "two words.zip"
    write_sample_export(
        path, frames=20, width=32, height=24, dialect="coco", truth=False,
        frames_without_objects=[3, 11], mask_truncated=[5], area_off={7: 9}, bbox_off={9: 5},
    )  # fmt: skip
    return path


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory, monkeypatch):
    """A place for temporary files of its own, to see what stays in it."""
    place = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return place


def run(*args):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def in_a_process(*args, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, *[str(arg) for arg in args]],
        capture_output=True, text=True, check=False, cwd=cwd or ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )  # fmt: skip


def contents(*folders):
    """Everything below some folders: names, and what is in the files."""
    return {
        path: path.read_bytes() if path.is_file() else None
        for folder in folders
        for path in folder.rglob("*")
    }


def rewritten(source, target, change):
    """Copy a ZIP with another annotations.json."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info, change(data) if info.filename == "annotations.json" else data)
    return target


# ---- help ----


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_names_the_command(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert result.stderr == ""
    _, _, examples = result.stdout.partition("Example")
    assert f"  sam2prep {command} " in examples
    assert "--json" in result.stdout


def test_every_command_is_listed():
    listed = run("--help").stdout.partition("Commands:")[2].split("\n")
    assert [line.split()[0] for line in listed if line.strip()] == list(COMMANDS)


@pytest.mark.parametrize("command", ["cli", *COMMANDS])
def test_each_is_a_module_too_and_its_help_imports_nothing_heavy(command):
    result = in_a_process("-X", "importtime", "-m", f"jobs.{command}", "--help")
    assert result.returncode == 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "click" in imported, "the list of imports was not understood"
    assert imported & HEAVY == set()
    program = "cli" if command == "cli" else f"jobs.{command}"
    assert re.match(rf"Usage: (python -m )?({re.escape(program)}|jobs\.cli)\b", result.stdout)


# ---- --json ----


def test_json_is_one_document_and_nothing_else(good, tmp_path):
    out = tmp_path / "out"
    for args in (
        ("demo", tmp_path / "demo"),
        ("inspect", good),
        ("validate", good, "--report", tmp_path / "report"),
        ("prepare", good, "--out", out),
        ("prepare", good, "--out", out),
        ("gate", out),
    ):
        result = run(*args, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        assert isinstance(json.loads(result.stdout), dict)
    assert json.loads((out / "summary.json").read_text())["status"] == "PASSED"


def test_in_a_process_of_its_own_the_streams_are_as_clean(good, tmp_path, temporary):
    cut = tmp_path / "cut.zip"
    cut.write_bytes(good.read_bytes()[:2000])
    failed = in_a_process(
        "-m", "jobs.prepare", cut, "--out", "o", "--json", cwd=tmp_path, TMPDIR=str(temporary)
    )
    assert failed.returncode == 3
    assert re.fullmatch(r"sam2prep: error: [^\n]+\n", failed.stderr)
    assert json.loads(failed.stdout)["exit_code"] == 3
    done = in_a_process(
        "-m", "jobs.prepare", good, "--out", "o", "--json", cwd=tmp_path, TMPDIR=str(temporary)
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads((tmp_path / "o/summary.json").read_text())
    assert contents(temporary) == {}


# ---- what cannot be done: one line ----


def no_such_file(good, place):
    return [place / "nothing.zip"], 3, r"nothing\.zip: no such file"


def not_a_zip(good, place):
    (place / "photo.zip").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(5000))
    return [place / "photo.zip"], 3, r"photo\.zip: .*not a ZIP"


def zip_of_no_bytes(good, place):
    (place / "empty.zip").touch()
    return [place / "empty.zip"], 3, r"empty\.zip: .*not a ZIP"


def zip_cut_off(good, place):
    data = good.read_bytes()
    (place / "cut.zip").write_bytes(data[: len(data) // 2])
    return [place / "cut.zip"], 3, r"cut\.zip: cut off"


def no_annotations(good, place):
    with zipfile.ZipFile(place / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing annotated")
    return [place / "other.zip"], 3, r"other\.zip: no annotations\.json: got readme\.txt"


def json_ends_early(good, place):
    path = rewritten(good, place / "early.zip", lambda data: data[: len(data) * 2 // 3])
    return [path], 3, r"early\.zip: annotations\.json: "


def json_ends_in_its_head(good, place):
    path = rewritten(good, place / "early.zip", lambda data: data[:60])
    return [path], 3, r"early\.zip: annotations\.json: "


def json_of_no_bytes(good, place):
    path = rewritten(good, place / "early.zip", lambda _: b"")
    return [path], 3, r"early\.zip: annotations\.json: "


NOT_JSON = (
    r"nan\.zip: annotations\.json: .*is not JSON at byte \d+ of the file: got NaN, expected a "
    r"number: JSON has no such value; export null in its place"
)


def nan_in_a_record(good, place):
    def change(data):
        return re.sub(rb'"area": \d+', b'"area": NaN', data, count=1)

    return [rewritten(good, place / "nan.zip", change)], 3, NOT_JSON


def nan_in_the_head(good, place):
    def change(data):
        return re.sub(rb'"width": \d+', b'"width": NaN', data, count=1)

    return [rewritten(good, place / "nan.zip", change)], 3, NOT_JSON


def encrypted(good, place):
    """Set the flag of encryption in every local header and every entry of the directory."""
    data = bytearray(good.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(signature, at + 1)
    (place / "secret.zip").write_bytes(data)
    return [place / "secret.zip"], 3, r"secret\.zip: .*encrypted"


def glob_without_match(good, place):
    return [place / "*.zip"], 3, r"\*\.zip: .*matches nothing"


def folder_without_exports(good, place):
    (place / "folder").mkdir()
    return [place / "folder"], 3, r"folder: no exports found"


def clean_frames_not_there(good, place):
    return [good, "--frames", place / "frames"], 3, r"frames: no such"


def ratios_of_nine_tenths(good, place):
    return [good, "--ratios", "0.7/0.1/0.1"], 2, r"ratios: .*0\.9.*expected a sum of 1"


def ratios_not_understood(good, place):
    return [good, "--ratios", "80:10:10"], 2, r"ratios: not understood"


def unknown_choice(good, place):
    return [good, "--split", "temporel"], 2, r"split: .*'temporel'.*did you mean temporal\?"


def unknown_format(good, place):
    return [good, "--format", "yolo"], 2, r"format: .*'yolo'"


def no_workers(good, place):
    return [good, "--workers", "0"], 2, r"workers: .*'?0'?"


def unknown_key_in_the_file(good, place):
    (place / "run.toml").write_text("ratio = '0.8/0.1/0.1'\n")
    return [good, "--config", place / "run.toml"], 2, r"ratio: .*did you mean ratios\?"


def file_that_is_no_toml(good, place):
    (place / "run.toml").write_text("ratios: [0.8, 0.1, 0.1]\n")
    return [good, "--config", place / "run.toml"], 2, r"run\.toml: is not valid TOML"


def file_with_a_wrong_type(good, place):
    (place / "run.toml").write_text("seed = 'forty-two'\n")
    return [good, "--config", place / "run.toml"], 2, r"seed: .*'forty-two'"


def no_such_config_file(good, place):
    return [good, "--config", place / "run.toml"], 2, r"run\.toml: cannot be read"


def temporal_with_one_video(good, place):
    return [good, "--split", "temporal"], 2, r"temporal: .*got 1 video.*--temporal-segments"


def segments_without_temporal(good, tmp_path):
    return [good, "--temporal-segments"], 2, r"temporal_segments: only temporal cuts videos.*strat"


def temporal_in_single_frames(good, tmp_path):
    arguments = [good, "--split", "temporal", "--group-by", "none"]
    return arguments, 2, r"group_by: temporal keeps videos whole.*--temporal-segments"


def a_gap_without_segments(good, tmp_path):
    return [good, "--gap-sec", "2"], 2, r"gap_sec: only --temporal-segments leaves a gap: got 2"


def one_video_by_video(good, tmp_path):
    return [good, "--group-by", "video"], 2, r"group-by: .*got 1 video, expected at least 3"


def one_fold(good, tmp_path):
    return [good, "--folds", "1"], 2, r"folds: not a whole number in range: got 1, expected 2 to"


def a_split_file_of_other_frames(good, tmp_path):
    (tmp_path / "split.json").write_text('{"assignment": {"other": {"train": "0-5"}}}')
    return [good, "--split-file", tmp_path / "split.json"], 2, r"split-file: does not fit.*other/0"


def a_split_file_without_an_assignment(good, tmp_path):
    (tmp_path / "split.json").write_text('{"strategy": "random"}')
    return [good, "--split-file", tmp_path / "split.json"], 2, r"split_file: has no assignment"


CANNOT = [
    no_such_file, not_a_zip, zip_of_no_bytes, zip_cut_off, no_annotations, json_ends_early,
    json_ends_in_its_head, json_of_no_bytes, nan_in_a_record, nan_in_the_head, encrypted,
    glob_without_match, folder_without_exports, clean_frames_not_there, ratios_of_nine_tenths,
    ratios_not_understood, unknown_choice, unknown_format, no_workers, unknown_key_in_the_file,
    file_that_is_no_toml, file_with_a_wrong_type, no_such_config_file,
    temporal_with_one_video, segments_without_temporal, temporal_in_single_frames,
    a_gap_without_segments, one_video_by_video, one_fold, a_split_file_of_other_frames,
    a_split_file_without_an_assignment,
]  # fmt: skip


def refused(args, code, pattern, *watched):
    """Run twice, for people and for programs: one line, one document, nothing changed."""
    before = contents(*watched)
    for_people = run(*args)
    assert (for_people.exit_code, for_people.stdout) == (code, "")
    line = re.fullmatch(r"sam2prep: error: ([^\n]+)\n", for_people.stderr)
    assert line, for_people.stderr
    assert re.search(pattern, line[1]), line[1]
    for_programs = run(*args, "--json")
    assert for_programs.exit_code == code
    assert for_programs.stderr == for_people.stderr
    document = json.loads(for_programs.stdout)
    more = {key: document.pop(key) for key in ("gate", "reasons") if key in document}
    assert document == {"status": "ERROR", "exit_code": code, "error": line[1]}
    if more:
        assert more["gate"] == "shut"
        assert ": " + "; ".join(more["reasons"]) in line[1]
    assert contents(*watched) == before
    return line[1]


@pytest.mark.parametrize("case", CANNOT, ids=lambda case: case.__name__)
def test_one_line_says_what_is_wrong_and_nothing_is_left(case, good, tmp_path, temporary):
    arguments, code, pattern = case(good, tmp_path)
    out = tmp_path / "out"
    refused(("prepare", *arguments, "--out", out), code, pattern, tmp_path, temporary)
    assert not out.exists()


@pytest.mark.parametrize("command", ["validate", "inspect"])
@pytest.mark.parametrize("case", [zip_cut_off, json_ends_early, nan_in_a_record, no_such_file])
def test_looking_leaves_nothing_either(command, case, good, tmp_path, temporary):
    arguments, code, pattern = case(good, tmp_path)
    refused((command, *arguments), code, pattern, tmp_path, temporary)


def test_folders_above_out_are_not_left_behind_either(good, tmp_path, temporary):
    arguments, code, pattern = json_ends_early(good, tmp_path)
    out = tmp_path / "new" / "newer" / "out"
    refused(("prepare", *arguments, "--out", out), code, pattern, tmp_path, temporary)


def test_a_report_of_what_cannot_be_read_is_not_begun(good, tmp_path, temporary):
    arguments, code, pattern = json_ends_early(good, tmp_path)
    report = tmp_path / "report"
    refused(("validate", *arguments, "--report", report), code, pattern, tmp_path, temporary)


def test_an_empty_folder_as_out_is_left_empty(good, tmp_path, temporary):
    arguments, code, pattern = json_ends_early(good, tmp_path)
    (tmp_path / "out").mkdir()
    refused(("prepare", *arguments, "--out", tmp_path / "out"), code, pattern, tmp_path, temporary)


def test_one_bad_export_among_good_ones_stops_all(good, tmp_path, temporary):
    arguments, code, pattern = json_ends_early(good, tmp_path)
    out = tmp_path / "out"
    refused(("prepare", good, *arguments, "--out", out), code, pattern, tmp_path, temporary)


# ---- an OUT that is not ours ----


@pytest.mark.parametrize(
    "line",
    ["formats = 1", "formats = [1]", "ratios = 1", "ratios = ['a', 'b', 'c']", "ratios = true",
     "seed = 1.5", "seed = true", "validation = 1", "mask-order = ['row']", "frames = 1",
     "frames = ['a', 'b']", "imbalance-ratio = nan", "imbalance-ratio = '9'", "video-id = 1",
     "video-id = 'a'", "rows-per-shard = 0", "workers = '2'", "address = 1", "runner = false"],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_named(line, good, tmp_path, temporary):
    (tmp_path / "run.toml").write_text(line + "\n")
    key = line.partition(" ")[0].replace("-", "[-_]").removesuffix("s")
    command = ("prepare", good, "--out", tmp_path / "out", "--config", tmp_path / "run.toml")
    refused(command, 2, rf"^{key}s?: ", tmp_path, temporary)


@pytest.mark.parametrize(
    ("args", "pattern"),
    [(("prepare",), r"SRC"),
     (("prepare", "{good}"), r"--out"),
     (("prepare", "{good}", "--out", "out", "--seed", "abc"), r"--seed.*'abc'"),
     (("prepare", "{good}", "--out", "out", "--sed", "4"), r"--sed.*--seed"),
     (("prepare", "{good}", "--out", "out", "--video-id", "kitchen"), r"'kitchen'.*SRC=NAME"),
     (("gate",), r"OUT"),
     (("demo", "a", "b"), r"\bb\b"),
     (("demo", "s3://bucket/exports"), r"s3://bucket/exports: sample exports .* local folder"),
     (("prepare", "{good}", "--out", "s3://"), r"s3://: names no place.* s3://PLACE"),
     (("prepare", "s3://", "--out", "out"), r"s3://: names no place"),
     (("prepare", "{good}", "--out", ""), r"'': names no file and no folder"),
     (("validate", "{good}", "--report", "s3://"), r"s3://: names no place"),
     (("verify", "s3://"), r"s3://: names no place"),
     (("gate", "s3:///"), r"s3:///: names no place"),
     (("clean", "memory://"), r"memory://: names no place"),
     (("history", "file://"), r"file://: names no file and no folder")],
)  # fmt: skip
def test_wrong_usage_is_one_line_too(args, pattern, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused([arg.format(good=good) for arg in args], 2, pattern, tmp_path)


def test_sample_exports_do_not_go_into_a_dataset(good, tmp_path):
    out = tmp_path / "out"
    assert run("prepare", good, "--out", out).exit_code == 0
    refused(("demo", out), 2, "out: holds a dataset; name another folder", tmp_path)
    (out / "manifest.json").unlink()
    refused(("demo", out), 2, "out: holds what a run of prepare left", tmp_path)
    place = tmp_path / "exports"
    assert run("demo", place.as_uri()).exit_code == 0
    assert sorted(path.name for path in place.iterdir()) == [
        "kitchen.zip",
        "park.zip",
        "street.zip",
    ]
    assert run("demo", place).exit_code == 0  # what is there may be there again


def test_an_unknown_command_is_named():
    result = run("prepair", "export.zip")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "prepair" in result.stderr


def folder_of_somebody(place, good):
    (place / "out" / "hf").mkdir(parents=True)
    (place / "out" / "thesis.txt").write_text("three years")


def file_of_somebody(place, good):
    (place / "out").write_text("three years")


@pytest.mark.parametrize("case", [folder_of_somebody, file_of_somebody])
def test_what_is_not_ours_is_not_touched(case, good, tmp_path, temporary):
    case(tmp_path, good)
    command = ("prepare", good, "--out", tmp_path / "out")
    refused(command, 2, "holds something that is no prepared dataset", tmp_path, temporary)


def test_another_dataset_is_not_overwritten(good, tmp_path, temporary):
    out = tmp_path / "out"
    assert run("prepare", good, "--out", out).exit_code == 0
    refused(
        ("prepare", good, "--out", out, "--seed", "7"), 2,
        rf"holds 20 samples; use: sam2prep add {out}", tmp_path, temporary,
    )  # fmt: skip
    again = run("prepare", good, "--out", out)
    assert again.exit_code == 0
    assert "holds this dataset already: 20 samples" in again.stdout


@pytest.mark.parametrize(
    "args", [("demo", "taken"), ("demo", "taken/below"), ("prepare", "{good}", "--out", "taken/x"),
             ("validate", "{good}", "--report", "taken")],
)  # fmt: skip
def test_a_file_where_a_folder_should_go(args, good, tmp_path, temporary, monkeypatch):
    (tmp_path / "taken").write_text("three years")
    monkeypatch.chdir(tmp_path)
    command = [arg.format(good=good) for arg in args]
    result = run(*command)
    assert result.exit_code in (2, 3)
    assert re.fullmatch(r"sam2prep: error: [^\n]*taken[^\n]*\n", result.stderr)
    assert contents(tmp_path) == {tmp_path / "taken": b"three years"}
    assert contents(temporary) == {}


def test_verify_says_what_was_altered(good, tmp_path):
    out = tmp_path / "out"
    assert run("prepare", good, "--out", out).exit_code == 0
    result = run("verify", out)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Status      VERIFIED\n")
    (out / "split.json").write_bytes((out / "split.json").read_bytes() + b" ")
    result = run("verify", out)
    assert result.exit_code == 1
    assert re.search(r"^Problem +split\.json: has \d+ bytes, expected \d+$", result.stdout, re.M)
    document = json.loads(run("verify", out, "--json").stdout)
    assert [problem["file"] for problem in document["problems"]] == ["split.json"]
    refused(("verify", tmp_path / "nothing"), 3, r"holds no finished dataset", tmp_path)


# ---- a full disk ----


@pytest.fixture
def small_disk(tmp_path):
    """Mount file systems of little room; the last one is unmounted at the end."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def mount(options):
        if mounted:
            subprocess.run(["umount", place], check=True)
            mounted.clear()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"there is no mount command: {error}")
        if result.returncode:
            pytest.skip(f"mounting is not permitted: {result.stderr.strip()}")
        mounted.append(options)
        return place

    yield mount
    if mounted:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_said_in_one_line(small_disk, tmp_path, temporary):
    source = tmp_path / "large.zip"
    write_sample_export(
        source, frames=40, width=640, height=360, dialect="coco", image_format="jpg",
        image_bytes=100_000, distinct_images=2, compression="store", truth=False,
    )  # fmt: skip
    assert source.stat().st_size > 3_500_000
    disk = small_disk("size=2m")
    for _ in range(2):
        result = run("prepare", source, "--out", disk / "out")
        assert (result.exit_code, result.stdout) == (3, "")
        assert re.fullmatch(
            r"sam2prep: error: [^\n]*No space left on device[^\n]*the same command continues, "
            r"sam2prep clean [^\n]* removes it\n", result.stderr,
        )  # fmt: skip
    assert run("clean", disk / "out").exit_code == 0
    assert contents(disk, temporary) == {disk / "out": None}


def test_wherever_the_disk_runs_full_a_run_can_be_continued(good, small_disk, temporary):
    """Every file and folder of a run takes an inode: with one more each time, each one fails."""
    failures = kept = 0
    for inodes in range(2, 200):
        disk = small_disk(f"nr_inodes={inodes}")
        result = run("prepare", good, "--out", disk / "out")
        if result.exit_code == 0:
            break
        failures += 1
        assert result.exit_code == 3
        assert re.fullmatch(
            r"sam2prep: error: [^\n]*No space left on device[^\n]*\n", result.stderr
        )
        left = contents(disk, temporary)
        if "the same command continues" in result.stderr:
            kept += 1
            staging = disk / "out" / ".staging"
            assert all(
                path in (staging.parent, staging) or staging in path.parents for path in left
            )
            if kept % 8 == 1:
                subprocess.run(["mount", "-o", "remount,nr_inodes=1000", disk], check=True)
                assert "Resumed " in run("prepare", good, "--out", disk / "out").stdout
        else:
            assert left == {}, f"after {inodes} inodes: {result.stderr}"
    assert result.exit_code == 0
    assert failures > 10
    assert kept > 5


# ---- quality ----


def test_failed_exits_1_and_says_what_helps(flawed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("prepare", flawed, "--out", "my out")
    assert (result.exit_code, result.stderr) == (1, "")
    assert re.search(r"^Status +FAILED$", result.stdout, re.M)
    assert "missing_annotations: 2 frames (10.0%) have no annotations" in result.stdout
    assert sorted(path.name for path in (tmp_path / "my out").iterdir()) == [
        "report", "summary.json",
    ]  # fmt: skip
    lines = result.stdout.partition("What would help:")[2].splitlines()
    advice = next(line for line in lines if "--validation standard" in line)
    words = shlex.split(advice, comments=True)
    assert words[0] == "sam2prep"
    followed = run(*words[1:])
    assert followed.exit_code == 0, "what is advised must work as it is printed"
    assert re.search(r"^Frames +20 read, 16 kept, 4 set aside", followed.stdout, re.M)


def advised(result, option):
    lines = result.stdout.partition("What would help:")[2].splitlines()
    return shlex.split(next(line for line in lines if option in line), comments=True)


@pytest.mark.parametrize(
    ("given", "repeated"),
    [
        (["--frames", "FRAMES", "--seed", "3"], ["--seed", "3"]),
        (["--frames=FRAMES", "--seed=3"], ["--seed=3"]),
        (["--label", "--frames", "--frames", "FRAMES"], ["--label", "--frames"]),
        (["--validation=strict", "--frames", "FRAMES"], ["--validation=strict"]),
    ],
)
def test_an_option_that_is_advised_stands_once(good, tmp_path, given, repeated):
    (tmp_path / "frames").mkdir()
    with zipfile.ZipFile(good) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        for name in names[:-1]:
            (tmp_path / "frames" / Path(name).name).write_bytes(archive.read(name))
    given = [word.replace("FRAMES", str(tmp_path / "frames")) for word in given]
    result = run("prepare", good, "--out", tmp_path / "out", *given)
    assert result.exit_code == 1
    assert "image_missing" in result.stdout
    begin = ["sam2prep", "prepare", str(good), "--out", str(tmp_path / "out")]
    assert advised(result, "--frames DIR") == [*begin, *repeated, "--frames", "DIR"]
    kept = [word for word in given if word != "--validation=strict"]
    assert advised(result, "--validation standard") == [
        *begin, *kept, "--validation", "standard",
    ]  # fmt: skip


def test_setting_frames_aside_is_advised_only_where_some_are_left(good, tmp_path):
    """However few of the objects are wrong: here half of them, one in each frame."""

    def spoil(frames):
        def change(data):
            document = json.loads(data)
            for record in document["annotations"][:frames]:
                record["objects"][0]["label"] = ""
            return json.dumps(document).encode()

        return change

    for frames, left in ((20, 0), (19, 1)):
        export = rewritten(good, tmp_path / "spoilt.zip", spoil(frames))
        result = run("prepare", export, "--out", tmp_path / "o")
        assert result.exit_code == 1
        assert ("--validation standard" in result.stdout.partition("would help")[2]) == bool(left)
        summary = json.loads((tmp_path / "o/summary.json").read_text())
        assert summary["frames_without_errors"] == left


def test_validate_says_every_finding(flawed, tmp_path, temporary):
    before = contents(tmp_path, temporary)
    result = run("validate", flawed)
    assert (result.exit_code, result.stderr) == (1, "")
    document = json.loads(run("validate", flawed, "--json").stdout)
    assert contents(tmp_path, temporary) == before
    assert {finding["code"]: finding["count"] for finding in document["findings"]} == {
        "missing_annotations": 2, "mask_malformed": 1, "mask_area_mismatch": 1, "bbox_mismatch": 1,
    }  # fmt: skip
    for finding in document["findings"]:
        sentence = f"{finding['severity']} {finding['code']}: {finding['message']}"
        assert sentence in result.stdout
        assert finding["recommendation"] in result.stdout
    assert "2 frames (10.0%) have no annotations" in result.stdout
    assert re.search(r"^Status +FAILED$", result.stdout, re.M)


def test_validate_passes_and_leaves_only_the_report(good, tmp_path, temporary):
    result = run("validate", good, "--report", tmp_path / "report")
    assert result.exit_code == 0
    assert {path.name for path in contents(tmp_path, temporary)} == {
        "report", "validation.json", "issues.jsonl", "report.html", "summary.md",
    }  # fmt: skip


def test_the_gate(good, flawed, tmp_path, temporary):
    opened, shut, altered = (tmp_path / name for name in ("opened", "shut", "altered"))
    for out in (opened, altered):
        assert run("prepare", good, "--out", out).exit_code == 0
    assert run("prepare", flawed, "--out", shut).exit_code == 1
    report = altered / "report" / "validation.json"
    report.write_text(report.read_text().replace("PASSED", "passed"))

    result = run("gate", opened)
    assert (result.exit_code, result.stderr) == (0, "")
    first, *notes = result.stdout.splitlines()
    assert first == "open: PASSED"
    assert all(line.startswith("  note ") for line in notes)
    refused(("gate", shut), 1, r"FAILED.*2 frames \(10\.0%\) have no annotations", tmp_path)
    refused(("gate", altered), 1, r"validation\.json was altered", tmp_path)
    refused(("gate", tmp_path / "nothing"), 3, r"nothing: holds no prepared dataset", tmp_path)
    refused(("gate", good), 3, r"good\.zip: holds no prepared dataset", tmp_path, temporary)


def test_the_gate_is_shut_on_what_was_not_finished(good, tmp_path):
    out = tmp_path / "out"
    assert run("prepare", good, "--out", out).exit_code == 0
    (out / "manifest.json").unlink()
    refused(("gate", out), 1, "did not finish", tmp_path)
    assert run("prepare", good, "--out", out, "--seed", "7").exit_code == 0
    assert run("gate", out).exit_code == 0


def test_demo_is_what_prepare_takes(tmp_path):
    written = run("demo", tmp_path / "exports")
    assert (written.exit_code, written.stderr) == (0, "")
    assert [Path(line).name for line in written.stdout.split()] == [
        "street.zip", "park.zip", "kitchen.zip",
    ]  # fmt: skip
    inspected = run("inspect", tmp_path / "exports")
    assert inspected.exit_code == 0
    assert inspected.stdout.count("grid        256x256") == 3
    assert inspected.stdout.count("order       row-major") == 3


def test_options_win_over_the_file(good, tmp_path):
    (tmp_path / "run.toml").write_text("seed = 7\nratios = [0.5, 0.25, 0.25]\nrows-per-shard = 3\n")
    out = tmp_path / "out"
    result = run("prepare", good, "--out", out, "--config", tmp_path / "run.toml", "--seed", "8")
    assert result.exit_code == 0
    split = json.loads((out / "split.json").read_text())
    assert split["seed"] == 8
    assert split["sizes"] == {"train": 10, "validation": 5, "test": 5}
    assert len(list((out / "hf" / "train").glob("*.arrow"))) == 4


def test_what_fails_can_be_said_and_unsaid(flawed, good, tmp_path):
    out = tmp_path / "out"
    soft = run("validate", flawed, "--warn-on", "mask_area_mismatch", "--ignore", "bbox_mismatch")
    assert soft.exit_code == 1  # there are other errors
    assert "Finding     warning mask_area_mismatch" in soft.stdout
    assert "Finding     note bbox_mismatch" in soft.stdout
    junit = tmp_path / "junit.xml"
    run("prepare", good, "--out", out, "--fail-on", "area_jump", "--junit", junit)
    report = json.loads((out / "report" / "validation.json").read_text())
    assert report["policy"]["fail_on"] == ["area_jump"]
    assert b'failures="0"' in junit.read_bytes()
    run("prepare", flawed, "--out", tmp_path / "shut", "--junit", junit)
    assert b'failures="3"' in junit.read_bytes()


def test_findings_that_cannot_be_written_leave_the_dataset_there(good, flawed, tmp_path):
    (tmp_path / "taken").write_text("three years")
    file, out = tmp_path / "taken" / "junit.xml", tmp_path / "out"
    for args, done in (
        (("prepare", good, "--out", out), f"the dataset in {out} is complete"),
        (("prepare", flawed, "--out", tmp_path / "no"), f"the report in {tmp_path}/no is complete"),
        (("add", out, good), f"the dataset in {out} is complete"),
        (("add", out, flawed), f"{out} is as it was"),
        (("validate", flawed), "the exports are checked: FAILED"),
    ):
        result = run(*args, "--junit", file)
        assert result.exit_code == 3
        line = rf"sam2prep: error: {file}: cannot be written: got [^\n]*; {re.escape(done)}\n"
        assert re.fullmatch(line, result.stderr), result.stderr
    assert run("verify", out).exit_code == 0
    refused(("validate", good, "--junit", "s3://"), 2, "s3://: names no place", tmp_path)


def test_a_reader_that_goes_away_changes_nothing(good, flawed, tmp_path):
    for args, code in (
        (("-m", "jobs.prepare", good, "--out", "out", "--dry-run"), 0),
        (("-m", "jobs.prepare", good, "--out", "out", "--dry-run", "--json"), 0),
        (("-m", "jobs.validate", flawed), 1),
    ):
        reading, writing = os.pipe()
        os.close(reading)
        result = subprocess.run(
            [sys.executable, *map(str, args)], cwd=tmp_path, stdout=writing, check=False,
            stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        os.close(writing)
        assert (result.returncode, result.stderr) == (code, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ignore", "area_jmp"), r"ignore: no such finding code.*did you mean area_jump\?"),
        (("--ignore", "area_jump", "--fail-on", "area_jump"), "area_jump is in fail_on as well"),
        (("--warn-on", "image_missing"), "there is no image to write.*--validation standard"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(good, tmp_path, words, message):
    refused(("validate", good, *words), 2, message, tmp_path)


def test_thresholds_come_from_the_file(flawed, tmp_path):
    (tmp_path / "run.toml").write_text("[thresholds]\nbbox-px = 10\n")
    result = run("validate", flawed, "--config", tmp_path / "run.toml")
    assert "bbox_mismatch" not in result.stdout
    assert "bbox_mismatch" in run("validate", flawed).stdout
    (tmp_path / "run.toml").write_text("[thresholds]\nbox-px = 10\n")
    words = ("validate", flawed, "--config", tmp_path / "run.toml")
    refused(words, 2, r"thresholds\.box_px: .*did you mean bbox_px", tmp_path)


def test_advice_is_what_would_help(good, tmp_path):
    """Setting frames aside helps where frames are wrong, not where the classes are."""
    path = tmp_path / "uneven.zip"
    counts = {"person": 18, "dog": 1}
    write_sample_export(
        path, frames=18, width=32, height=24, dialect="coco", truth=False, class_counts=counts
    )
    result = run("prepare", path, "--out", tmp_path / "out", "--fail-on", "class_imbalance")
    assert result.exit_code == 1
    assert "--validation standard" not in result.stdout


def test_inspect_draws(good, tmp_path):
    result = run("inspect", good, "--draw", tmp_path / "drawn")
    (picture,) = (tmp_path / "drawn").iterdir()
    assert f"drawn       {picture}" in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_a_terminal_progress_is_a_line_now_and_then(good, tmp_path, monkeypatch):
    assert run("prepare", good, "--out", tmp_path / "soon done").stderr == ""
    monkeypatch.setattr("jobs.console._LINE_SEC", 0.0)
    lines = run("prepare", good, "--out", tmp_path / "out").stderr.split("\n")
    assert lines.pop() == ""
    assert len(lines) >= 4
    for line in lines:
        assert re.fullmatch(r"sam2prep: \w+ \d+ of \d+, \d+ s", line)
