"""Any command as a Ray job: what is sent, what is refused, and a real head with a real job."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.errors import RunError, UsageError
from engine.ray_worker import attempt
from engine.sample_export import write_sample_export
from engine.version import VERSION, build
from jobs.cli import main
from jobs.inspect import main as inspect
from jobs.parcel import packed
from jobs.prepare import main as prepare
from tests.ray_nodes import TOKEN, running_nodes

ROOT = Path(__file__).resolve().parents[2]


def files_below(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


# What is sent


def test_the_parcel_holds_the_program_and_nothing_else():
    arguments = ["/data/a.zip", "--out", "s3://b/out"]
    with packed(prepare, arguments) as parcel:
        assert parcel.arguments == tuple(arguments)
        assert parcel.places == ("/data/a.zip", "s3://b/out")
        done = subprocess.run(
            [sys.executable, "-m", "jobs.prepare", "--help"],
            cwd=parcel.folder, env={}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        sent = files_below(parcel.folder)
        folder = parcel.folder
    assert not folder.exists()
    for package in ("engine", "jobs"):
        for path in (ROOT / package).iterdir():
            if path.is_file():
                assert sent[f"{package}/{path.name}"] == path.read_bytes()
    assert {name.split("/")[0] for name in sent} == {"engine", "jobs"}
    assert parcel.size_bytes < 3_000_000


def test_settings_are_sent_along_and_their_options_say_where_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    for name in ("my settings.toml", "names.JSON", "deep/sentences.toml", "split.json"):
        (tmp_path / name).write_text(
            f"# {name}" if name.endswith("toml") else f'{{"of": "{name}"}}'
        )
    (tmp_path / "my settings.toml").write_text('templates = "deep/sentences.toml"\nseed = 3\n')
    arguments = [
        "--config", "my settings.toml", "--label-map=names.JSON", "--label", "--config",
        "--split-file", str(tmp_path / "split.json"), "--out=/o", "--", "/-a.zip",
    ]  # fmt: skip
    with packed(prepare, arguments) as parcel:
        assert parcel.arguments == (
            "--config", "settings/config.toml", "--label-map=settings/label-map.json",
            "--label", "--config", "--split-file", "settings/split-file.json", "--out=/o", "--",
            "/-a.zip",
        )  # fmt: skip
        assert parcel.places == ("/o", "/-a.zip")
        for ours, theirs in {
            "settings/config.toml": "my settings.toml",
            "settings/label-map.json": "names.JSON",
            "settings/split-file.json": "split.json",
            "deep/sentences.toml": "deep/sentences.toml",
        }.items():
            assert (parcel.folder / ours).read_bytes() == (tmp_path / theirs).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.zip", "--out", "/o"], ["SRC or OUT", "'a.zip'", "absolute path"]),
        (["/a.zip", "--out", "o"], ["--out", "'o'", "absolute path"]),
        (["/a.zip", "--out=/o", "--frames", "clean"], ["--frames", "'clean'"]),
        (
            ["/a.zip", "--out=/o", "--config", "none.toml"],
            ["--config", "no such file", "none.toml"],
        ),
        (["/a.zip", "--out=/o", "--config", "up.toml"], ["label_map", "--label-map ../n.toml"]),
        (
            ["/a.zip", "--out=/o", "--config", "own.toml"],
            ["templates", "--templates engine/x.toml"],
        ),
        (["/a.zip", "--out=/o", "--config", "frames.toml"], ["frames.toml: frames", "'clean'"]),
        (["/a.zip", "--out=/o", "--label-map", "large.toml"], ["--label-map", "too large"]),
    ],
)
def test_what_the_job_would_not_find_is_refused(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "up.toml").write_text('label-map = "../n.toml"')
    (tmp_path / "own.toml").write_text('templates = "engine/x.toml"')
    (tmp_path / "frames.toml").write_text('frames = "clean"')
    with (tmp_path / "large.toml").open("wb") as file:
        file.truncate(200_000_000)
    with pytest.raises(UsageError) as caught, packed(prepare, arguments):
        pass
    for word in words:
        assert word in str(caught.value)


def test_pictures_and_reports_are_data_too():
    with pytest.raises(UsageError, match="--draw"), packed(inspect, ["/a.zip", "--draw", "d"]):
        pass


@pytest.fixture
def checkout(tmp_path):
    """This checkout as it would be sent, with what lies about in one."""
    from ray._private.runtime_env.packaging import create_package

    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("engine", "jobs", "tests/unit"):
        shutil.copytree(ROOT / name, folder / name)
    for name in (".rayignore", ".gitignore", "README.md", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    for name in (".git/objects/x", ".venv/lib/x.py", "build/x", "data/a.jpg", "exports/a.zip"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"x" * 1000)
    target = tmp_path / "package.zip"
    create_package(str(folder), target, include_gitignore=True)
    return target


def test_a_working_directory_of_ray_job_submit_is_the_program_alone(checkout):
    with zipfile.ZipFile(checkout) as package:
        names = {name for name in package.namelist() if not name.endswith("/")}
        assert package.read("engine/version.py") == (ROOT / "engine/version.py").read_bytes()
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in ("engine", "jobs")
        for path in (ROOT / package).iterdir()
        if path.is_file()
    }
    assert names == sources | {"pyproject.toml"}
    assert checkout.stat().st_size < 3_000_000


# What is refused before a job


@pytest.fixture
def head(monkeypatch, tmp_path):
    """A server that answers as it is told, and the calls it got."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    answers, calls = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            calls.append(f"{self.command} {self.path}")
            status, body = answers.get(self.path, (404, "404: Not Found"))
            content = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.answers, server.calls = answers, calls
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    server.server_close()


def submit(*arguments):
    result = CliRunner().invoke(main, ["submit", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


JOB = ("prepare", "/a.zip", "--out", "/o")


def test_nobody_at_the_address(head):
    head.shutdown()
    head.server_close()
    result = submit("--address", head.url, *JOB)
    assert result.exit_code == 3
    assert "no Ray head answers there" in result.stderr
    assert result.stderr.count("\n") == 1
    document = json.loads(submit("--address", head.url, *JOB, "--json").stdout)
    assert (document["status"], document["exit_code"]) == ("ERROR", 3)


@pytest.mark.parametrize(
    ("status", "words"), [(401, "asks for a token, and none was sent"), (403, "this token")]
)
def test_a_token_that_is_missing_or_wrong(head, status, words):
    head.answers["/api/version"] = (status, "No.")
    result = submit("--address", head.url, *JOB)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "RAY_AUTH_TOKEN" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_token_file_without_a_token(head, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    result = submit("--address", head.url, *JOB)
    assert (result.exit_code, head.calls) == (2, ["GET /api/version"])
    assert "RAY_AUTH_TOKEN_PATH: there is no token in this file" in result.stderr


def test_a_cluster_of_another_ray(head):
    head.answers["/api/version"] = (200, {"version": "4", "ray_version": "2.48.0"})
    result = submit("--address", head.url, *JOB)
    assert result.exit_code == 2
    assert "another version of Ray: got 2.48.0, expected 2.6" in result.stderr


def test_an_address_of_something_else(head):
    head.answers["/api/version"] = (200, "<html>welcome</html>")
    result = submit("--address", head.url, *JOB)
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert submit("--address", "ray://h:10001", *JOB).exit_code == 2
    assert submit("--address", "head", *JOB).exit_code == 2


def test_ray_address_of_the_environment_does_not_win(head, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    head.answers["/api/version"] = (200, {"version": "4", "ray_version": "2.48.0"})
    assert "2.48.0" in submit("--address", head.url, *JOB).stderr
    assert os.environ["RAY_ADDRESS"] == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no command to run"),
        (["prepair"], "no such command to run: got 'prepair'"),
        (["submit"], "no such command"),
        (["prepare", "/a.zip"], "prepare: Missing option '--out'"),
        (["prepare", "/a.zip", "--out", "/o", "--sed", "1"], "--seed"),
        (["--follow", "x", "gate", "/o"], "--follow takes neither"),
    ],
)
def test_wrong_usage_asks_nobody(head, arguments, words):
    result = submit("--address", head.url, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert head.calls == []


def test_help_is_that_of_the_command(head):
    result = submit("--address", head.url, "gate", "--help")
    assert (result.exit_code, head.calls) == (0, [])
    assert "may start" in result.stdout.replace("\n", " ")


# Following


def details(status, **more):
    return {"type": "SUBMISSION", "submission_id": "j", "entrypoint": "python -m x --json",
            "status": status, **more}  # fmt: skip


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ({"status": "SUCCEEDED", "driver_exit_code": 0}, 0, ""),
        ({"status": "FAILED", "driver_exit_code": 1}, 1, ""),
        ({"status": "FAILED", "driver_exit_code": 2}, 2, ""),
        ({"status": "FAILED", "driver_exit_code": -9, "message": "killed\nlog"}, 3, "(killed)"),
        ({"status": "FAILED", "message": "runtime_env failed"}, 3, "(runtime_env failed)"),
        ({"status": "STOPPED"}, 3, "job j: was stopped"),
    ],
)
def test_the_exit_code_is_that_of_the_command(head, end, code, words):
    import ray

    log = 'first\n{\n  "a": "{",\n  "b": {\n  }\n}\nlast \x1b[2J\n'
    head.answers["/api/version"] = (200, {"version": "4", "ray_version": ray.__version__})
    head.answers["/api/jobs/j"] = (200, details(**end))
    head.answers["/api/jobs/j/logs"] = (200, {"logs": log})
    result = submit("--address", head.url, "--follow", "j")
    assert result.exit_code == code
    assert words in result.stderr
    assert result.stderr.startswith("first\nlast ")
    assert "\x1b" not in result.stderr
    if not words:
        assert json.loads(result.stdout) == {"a": "{", "b": {}}


def test_a_log_is_shown_once_and_a_lost_connection_is_borne(head, monkeypatch):
    import ray

    steps = iter(
        [
            ("PENDING", None),
            ("RUNNING", "one\ntw"),
            (None, None),
            ("RUNNING", "one\ntwo\n"),
            ("SUCCEEDED", "one\ntwo\n\nthree"),
        ]
    )

    def next_answer(_seconds=0):
        status, log = next(steps)
        gone = (502, "bad gateway")
        more = {"driver_exit_code": 0} if status == "SUCCEEDED" else {}
        head.answers["/api/jobs/j"] = (200, details(status, **more)) if status else gone
        head.answers["/api/jobs/j/logs"] = (200, {"logs": log})

    head.answers["/api/version"] = (200, {"version": "4", "ray_version": ray.__version__})
    next_answer()
    monkeypatch.setattr("jobs.ray_jobs.time.sleep", next_answer)
    result = submit("--address", head.url, "--follow", "j")
    assert (result.exit_code, result.stderr) == (0, "one\ntwo\n\nthree\n")


def test_a_head_that_is_gone_is_given_up_and_the_job_is_not_called_dead(head, monkeypatch):
    import ray

    clock = [0.0]

    def sleep(seconds):
        clock[0] += seconds
        head.answers["/api/jobs/j"] = (502, "bad gateway")

    head.answers["/api/version"] = (200, {"version": "4", "ray_version": ray.__version__})
    head.answers["/api/jobs/j"] = (200, details("PENDING"))
    monkeypatch.setattr("jobs.ray_jobs.time.sleep", sleep)
    monkeypatch.setattr("jobs.ray_jobs.time.monotonic", lambda: clock[0])
    result = submit("--address", head.url, "--follow", "j")
    assert result.exit_code == 3
    assert 100 < clock[0] < 200
    assert f"submit --address {head.url} --follow j" in result.stderr


# Workers of other sources


def test_a_task_refuses_to_run_under_other_sources():
    import pickle

    row = {"key": "k", "payload": pickle.dumps(4)}
    done = attempt(row, function=abs, stage="scan", build_of_driver=build())
    assert (done["ok"], pickle.loads(done["pickled"])) == (True, 4)
    refused = attempt(row, function=abs, stage="scan", build_of_driver="0.0.9 (sources 0)")
    error = pickle.loads(refused["pickled"])
    assert not refused["ok"]
    assert isinstance(error, RunError)
    assert build() in str(error)
    assert "0.0.9 (sources 0)" in str(error)


def test_the_name_of_a_build_goes_by_the_sources(tmp_path):
    def of(folder):
        program = "from engine.version import build; print(build())"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, env={}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        return done.stdout.strip()

    shutil.copytree(ROOT / "engine", tmp_path / "engine")
    assert of(tmp_path) == of(ROOT) == build()
    assert build().startswith(f"{VERSION} (sources ")
    with (tmp_path / "engine/masks.py").open("a") as file:
        file.write("# another\n")
    changed = of(tmp_path)
    (tmp_path / "engine/masks.py").rename(tmp_path / "engine/masks2.py")
    assert len({build(), changed, of(tmp_path)}) == 3


# A real head


@pytest.fixture(scope="module")
def nodes():
    with running_nodes() as started:
        yield started


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("on the cluster")
    size = {"frames": 20, "width": 32, "height": 24, "dialect": "coco", "truth": False}
    write_sample_export(folder / "good one.zip", **size)
    write_sample_export(folder / "bad.zip", mask_truncated=[5], **size)
    return folder


def run_submit(nodes, *arguments, **more):
    """Run the command as a person does, in a process of its own; the token stays out of sight."""
    words = [sys.executable, "-m", "jobs.submit", "--address", nodes.address, *map(str, arguments)]
    variables = nodes.environment | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, env=variables, capture_output=True, text=True, check=False, timeout=120, **more
    )
    assert TOKEN not in done.stdout + done.stderr
    return done


def test_a_job_prepares_what_this_machine_would_have(nodes, exports, tmp_path):
    (tmp_path / "names.toml").write_text('dog = "old dog"\n')
    there, here = tmp_path / "there", tmp_path / "here"
    arguments = [exports / "good one.zip", "--label-map", "names.toml", "--json"]
    done = run_submit(
        nodes, "--job-id", "first", "prepare", *arguments, "--out", there, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["status"] == "PASSED"
    assert document["class_counts"]["old dog"] == 20
    assert json.loads((there / "summary.json").read_bytes())["runner"] == "ray"
    words = ["prepare", *arguments[:1], "--label-map", tmp_path / "names.toml", "--out", here]
    local = CliRunner().invoke(main, [*map(str, words), "--runner", "local"])
    assert local.exit_code == 0, local.output
    ours, theirs = files_below(here), files_below(there)
    del ours["summary.json"], theirs["summary.json"]
    assert theirs == ours
    log = nodes.log_of("first")
    command = shlex.join(
        ["python", "-m", "jobs.prepare", str(exports / "good one.zip"), "--label-map",
         "settings/label-map.toml", "--json", "--out", str(there)]
    )  # fmt: skip
    assert f"Running entrypoint for job first: {command}\n" in log
    assert TOKEN not in log
    [sent] = (nodes.folder / "session_latest/runtime_resources/working_dir_files").glob("*/engine")
    assert (sent / "version.py").read_bytes() == (ROOT / "engine/version.py").read_bytes()


def test_a_quality_failed_is_exit_code_1_of_the_job(nodes, exports, tmp_path):
    done = run_submit(nodes, "prepare", exports / "bad.zip", "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "mask_malformed" in done.stderr
    assert "Status      FAILED" in done.stderr
    assert not (tmp_path / "out/hf").exists()


@pytest.mark.long
def test_ray_s_own_submit_works_from_a_checkout(nodes, exports, tmp_path):
    ray = Path(sys.executable).with_name("ray")
    done = subprocess.run(
        [ray, "job", "submit", "--address", nodes.address, "--submission-id", "own",
         "--working-dir", ".", "--", "python", "-m", "jobs.prepare",
         str(exports / "bad.zip"), "--out", str(tmp_path / "out"), "--json"],
        cwd=ROOT, env=nodes.environment | {"RAY_AUTH_MODE": "token"}, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    log = nodes.log_of("own")
    document = json.loads(log[log.index("\n{\n") : log.index("\n}\n") + 2])
    assert document["status"] == "FAILED"
    followed = run_submit(nodes, "--follow", "own")
    assert (followed.returncode, json.loads(followed.stdout)) == (1, document)


@pytest.mark.long
def test_a_job_is_left_found_again_stopped_and_resumed(nodes, tmp_path):
    write_sample_export(
        tmp_path / "long.zip", frames=2000, width=320, height=240, dialect="coco", truth=False
    )
    options = ["--frames-per-range", "20", "--rows-per-shard", "20"]
    words = [tmp_path / "long.zip", "--out", tmp_path / "out", *options]
    left = run_submit(nodes, "--no-wait", "--job-id", "left", "prepare", *words)
    assert (left.returncode, left.stdout) == (0, "left\n")
    again = run_submit(nodes, "--job-id", "left", "prepare", *words)
    assert again.returncode == 2
    assert "there is a job of this id already" in again.stderr
    follower = subprocess.Popen(
        [sys.executable, "-m", "jobs.submit", "--address", nodes.address, "--follow", "left"],
        env=nodes.environment | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert "entrypoint" in follower.stderr.readline() + follower.stderr.readline()
    follower.send_signal(signal.SIGINT)
    _, said = follower.communicate(timeout=60)
    assert follower.returncode == 130
    assert "the job goes on" in said
    done = tmp_path / "out/.staging/done/scan"
    deadline = time.monotonic() + 120
    while not (done.is_dir() and len(list(done.iterdir())) >= 3) and time.monotonic() < deadline:
        time.sleep(0.1)
    ray = Path(sys.executable).with_name("ray")
    subprocess.run(
        [ray, "job", "stop", "--address", nodes.address, "left"],
        env=nodes.environment | {"RAY_AUTH_MODE": "token"}, capture_output=True, check=True,
    )  # fmt: skip
    stopped = run_submit(nodes, "--follow", "left")
    assert stopped.returncode == 3
    assert "job left: was stopped" in stopped.stderr
    assert not (tmp_path / "out/manifest.json").exists()
    resumed = run_submit(nodes, "--job-id", "resumed", "prepare", *words, "--json")
    assert resumed.returncode == 0, resumed.stderr
    summary = json.loads(resumed.stdout)
    assert summary["resumed"]["taken_over"] >= 3
    assert summary["total_samples"] == 2000


@pytest.mark.long
def test_a_driver_of_other_sources_than_the_workers_is_refused(nodes, exports, tmp_path):
    other = tmp_path / "other"
    for package in ("engine", "jobs"):
        shutil.copytree(ROOT / package, other / package)
    with (other / "engine/masks.py").open("a") as file:
        file.write("# another\n")
    ray = Path(sys.executable).with_name("ray")
    inner = f"cd {other} && python -m jobs.prepare {shlex.quote(str(exports / 'good one.zip'))}"
    done = subprocess.run(
        [ray, "job", "submit", "--address", nodes.address, "--submission-id", "mixed",
         "--working-dir", ".", "--", "sh", "-c", f"{inner} --out {tmp_path / 'out'}"],
        cwd=ROOT, env=nodes.environment | {"RAY_AUTH_MODE": "token"}, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    log = nodes.log_of("mixed")
    assert "runs another version of sam2prep than the driver" in log
    assert build() in log
    assert not (tmp_path / "out/hf").exists()
