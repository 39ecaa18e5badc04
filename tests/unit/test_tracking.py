"""--mlflow: what MLflow's own client reads back from a file store, and what a dead server costs."""

import builtins
import json
import socket

import pytest
from click.testing import CliRunner

from engine.manifest import read_manifest
from engine.sample_export import write_sample_export
from jobs.cli import main
from jobs.parcel import packed
from jobs.prepare import main as prepare


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A file store, and the client that reads it."""
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # needed from MLflow 3 on
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    uri = (tmp_path / "store").as_uri()
    return uri, mlflow.MlflowClient(uri)


@pytest.fixture
def export(tmp_path):
    return str(write_sample_export(tmp_path / "a.zip", labels=("a vixen",) * 2).path)


def runs_of(client, name="sam2prep"):
    experiment = client.get_experiment_by_name(name)
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])


def artifact(run, name):
    return json.loads(read(run.info.artifact_uri, name))


def read(uri, name):
    from pathlib import Path
    from urllib.parse import unquote, urlparse

    return (Path(unquote(urlparse(uri).path)) / name).read_text()


def test_a_run_is_logged_with_its_figures_digest_and_documents(tmp_path, store, export):
    uri, client = store
    out = tmp_path / "out"
    ran = CliRunner().invoke(
        main, ["prepare", export, "--out", str(out), "--seed", "5", "--json", "--mlflow", uri]
    )
    assert ran.exit_code == 0, ran.output
    summary = json.loads(ran.stdout)
    [run] = runs_of(client)
    assert run.info.status == "FINISHED"
    assert run.data.tags["sam2prep.manifest_digest"] == read_manifest(str(out))["digest"]
    assert run.data.tags["sam2prep.command"] == "prepare"
    assert run.data.metrics["total_samples"] == summary["total_samples"] == 24
    assert run.data.metrics["splits/train"] == summary["splits"]["train"]
    assert run.data.metrics["seconds/total"] == summary["timings"]["total"]
    assert run.data.metrics["accounting/objects_kept"] == 48
    assert run.data.metrics["findings/overlay_burned_in"] == 1
    assert run.data.params["seed"] == "5"
    assert run.data.params["split"] == "stratified"
    assert artifact(run, "summary.json") == summary
    assert artifact(run, "validation.json") == json.loads(
        (out / "report/validation.json").read_text()
    )
    assert "vixen" not in json.dumps([list(run.data.metrics), run.data.tags])


def test_every_command_that_writes_a_dataset_logs(tmp_path, store, export, monkeypatch):
    uri, client = store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "cats")
    out, other = str(tmp_path / "out"), tmp_path / "b.zip"
    write_sample_export(other, seed=4)
    broken = tmp_path / "c.zip"
    write_sample_export(broken, seed=6, image_truncated=(2,))
    codes = [
        CliRunner().invoke(main, [*command, "--mlflow"]).exit_code
        for command in (
            ["prepare", export, "--out", out],
            ["prepare", export, "--out", out],  # nothing to do but this
            ["add", out, str(other)],
            ["split", out, "--strategy", "random"],
            ["add", out, str(broken)],
        )
    ]
    assert codes == [0, 0, 0, 0, 1]
    runs = runs_of(client, "cats")
    assert [run.data.tags["sam2prep.command"] for run in runs[:4]] == [
        "prepare", "prepare", "add", "split",
    ]  # fmt: skip
    assert [run.info.status for run in runs] == ["FINISHED"] * 4 + ["FAILED"]
    digests = [run.data.tags.get("sam2prep.manifest_digest") for run in runs]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4
    assert digests[4] is None
    assert artifact(runs[4], "validation.json")["status"] == "FAILED"


def test_a_server_that_fails_is_a_warning_without_its_password(tmp_path, export, monkeypatch):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        uri = f"http://me:pass-word@127.0.0.1:{taken.getsockname()[1]}"
        out = tmp_path / "out"
        arguments = ["prepare", export, "--out", str(out), "--json", "--mlflow", uri]
        ran = CliRunner().invoke(main, arguments)
    assert ran.exit_code == 0
    assert json.loads(ran.stdout)["total_samples"] == 24
    assert (out / "manifest.json").exists()
    [warning] = [line for line in ran.stderr.splitlines() if "not logged to MLflow" in line]
    assert warning.startswith("sam2prep: warning: ")
    assert "the same command logs it again" in warning
    assert "pass-word" not in ran.output


@pytest.mark.parametrize(
    ("uri", "words"), [("b.zip", "expected a URL"), ("nonsense://x", "MLflow refuses it")]
)
def test_an_address_that_is_none_is_refused_before_the_run(tmp_path, export, uri, words):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    out = tmp_path / "out"
    ran = CliRunner().invoke(main, ["prepare", export, "--out", str(out), "--mlflow", uri])
    assert ran.exit_code == 2
    assert words in ran.stderr
    assert not out.exists()


def test_without_the_package_it_says_what_to_install(tmp_path, export, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name.partition(".")[0] == "mlflow":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    out = tmp_path / "out"
    ran = CliRunner().invoke(main, ["prepare", export, "--out", str(out), "--mlflow"])
    assert ran.exit_code == 2
    assert "pip install sam2prep[mlflow]" in ran.stderr
    assert not out.exists()


def test_a_job_s_parcel_knows_that_the_address_may_be_missing(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text("seed = 1\n")
    for given in (["--mlflow"], ["--mlflow", "http://host"]):
        arguments = ["/a.zip", "--out", "/o", *given, "--config", str(config)]
        with packed(prepare, arguments) as parcel:
            assert parcel.arguments[-2:] == ("--config", "settings/config.toml")
            assert parcel.places == ("/a.zip", "/o")
    with packed(prepare, ["/a.zip", "--out", "/o", "--mlflow"]) as parcel:
        assert parcel.places == ("/a.zip", "/o")
