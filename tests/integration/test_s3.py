"""Exports on S3 and datasets to S3, over HTTP: moto's server, and a proxy that fails before it."""

import json
import os
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import fsspec
import pytest

pytest.importorskip("moto", reason="the extra `test` is not installed: moto")
pytest.importorskip("s3fs", reason="the extra `s3` is not installed")

import datasets

import engine
from engine.cleaning import clean
from engine.errors import OutputError, RunError
from engine.sample_export import write_sample_export
from engine.storage import join, list_files, read_bytes, write_bytes
from engine.writer_lock import locked
from tests.ray_nodes import running_nodes
from tests.s3_server import SECRET, Faults, environment, running_proxy, running_server

ROOT = Path(__file__).resolve().parents[2]
CONFIG = engine.Config(ratios=(0.6, 0.2, 0.2), rows_per_shard=16)


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """Three exports; the last is for adding."""
    folder = tmp_path_factory.mktemp("exports")
    return [
        write_sample_export(
            folder / f"{name}.zip", frames=24, width=160, height=120, seed=seed, truth=False,
            labels=("person", "dog"),
        ).path
        for seed, name in enumerate(("street", "park", "kitchen"))
    ]  # fmt: skip


@pytest.fixture(scope="session")
def server():
    with running_server() as url:
        yield url


@dataclass(frozen=True)
class Bucket:
    """A bucket of a test's own, with the exports in it."""

    name: str
    server: str

    @property
    def sources(self):
        return [f"s3://{self.name}/exports/street.zip", f"s3://{self.name}/exports/pa*.zip"]

    @property
    def third(self):
        return [f"s3://{self.name}/exports/kitchen.zip"]

    @property
    def out(self):
        return f"s3://{self.name}/data/out"


def use(endpoint, monkeypatch):
    """Let botocore find a server, and nothing that was opened before."""
    import s3fs

    for name, value in environment(endpoint).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(server, exports, monkeypatch, request):
    use(server, monkeypatch)
    short = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:40].strip("-")
    name = f"{short}-{zlib.crc32(request.node.name.encode()):08x}"
    filesystem = fsspec.filesystem("s3", use_listings_cache=False)
    filesystem.mkdir(name)
    for path in exports:
        filesystem.put_file(str(path), f"{name}/exports/{path.name}")
    return Bucket(name, server)


def content(root):
    """Every file but the one with times and places in it."""
    return {name: read_bytes(join(root, name)) for name in list_files(root)
            if name != "summary.json"}  # fmt: skip


def paths_of(exports, *numbers):
    return [str(exports[number]) for number in numbers]


def local_twin(exports, tmp_path):
    out = str(tmp_path / "local")
    engine.prepare(paths_of(exports, 0, 1), out, CONFIG)
    return out


def test_a_dataset_on_s3_is_that_on_a_disk_and_is_read_by_everyone(bucket, exports, tmp_path):
    local = local_twin(exports, tmp_path)
    summary = engine.prepare(bucket.sources, bucket.out, CONFIG)
    assert summary["total_samples"] == 48
    assert content(bucket.out) == content(local)

    options = {"key": "a", "secret": "b", "endpoint_url": bucket.server}
    loaded = datasets.load_from_disk(f"{bucket.out}/hf", storage_options=options)
    expected = datasets.load_from_disk(f"{local}/hf")
    assert {name: split.to_list() for name, split in loaded.items()} == {
        name: split.to_list() for name, split in expected.items()
    }
    opened = engine.open_dataset(bucket.out)
    assert opened["train"].to_list() == expected["train"].to_list()

    assert engine.prepare(bucket.sources, bucket.out, CONFIG)["nothing_to_do"]
    assert engine.verify(bucket.out)["status"] == "VERIFIED"
    engine.require_trainable(bucket.out)


def test_a_bucket_that_is_not_there_is_not_made(bucket):
    with pytest.raises(RunError, match=r"no-such-bucket"):
        engine.prepare(bucket.sources, "s3://no-such-bucket/out", CONFIG)
    assert not fsspec.filesystem("s3", use_listings_cache=False).exists("no-such-bucket")


@pytest.mark.parametrize("resplit", [False, pytest.param(True, marks=pytest.mark.long)])
def test_what_is_added_on_s3_is_what_is_added_on_a_disk(bucket, exports, tmp_path, resplit):
    local = local_twin(exports, tmp_path)
    engine.prepare(bucket.sources, bucket.out, CONFIG)
    for out, third in ((local, paths_of(exports, 2)), (bucket.out, bucket.third)):
        assert engine.add(out, third, resplit=resplit)["total_samples"] == 72
    assert content(bucket.out) == content(local)
    assert engine.verify(bucket.out)["unknown_files"] == []
    assert [v["command"] for v in engine.history(bucket.out)["versions"]] == ["prepare", "add"]


@pytest.mark.long
def test_a_split_on_s3_is_that_on_a_disk(bucket, exports, tmp_path):
    local = local_twin(exports, tmp_path)
    engine.prepare(bucket.sources, bucket.out, CONFIG)
    for out in (local, bucket.out):
        engine.split(out, {"split": "random", "seed": 3})
    assert content(bucket.out) == content(local)
    write_bytes(f"{bucket.out}/.staging/left", b"by a run that died")
    assert clean(bucket.out)["removed"]
    assert engine.verify(bucket.out)["unknown_files"] == []


def test_no_secret_is_in_anything_that_was_written(bucket):
    summary = engine.prepare(bucket.sources, bucket.out, CONFIG)
    assert SECRET not in json.dumps(summary)
    for name in list_files(f"s3://{bucket.name}/data"):
        data = read_bytes(f"s3://{bucket.name}/data/{name}")
        assert SECRET.encode() not in data, name
        assert bucket.server.encode() not in data, name


def test_faults_cost_nothing_but_time(bucket, exports, tmp_path, monkeypatch):
    local = local_twin(exports, tmp_path)
    patience = {"s3": {"config_kwargs": {"read_timeout": 2}}}
    monkeypatch.setattr(fsspec.config, "conf", patience)
    monkeypatch.setattr("botocore.retryhandler.delay_exponential", lambda **_: 0.01)
    with running_proxy(bucket.server, Faults(refused=0.1, reset=0.03, stalls=1)) as proxy:
        use(proxy.url, monkeypatch)
        engine.prepare(bucket.sources, bucket.out, CONFIG)
    assert {"500", "503", "429", "reset", "stall"} <= set(proxy.done)
    use(bucket.server, monkeypatch)
    assert content(bucket.out) == content(local)
    assert engine.verify(bucket.out)["unknown_files"] == []


def test_a_zip_behind_http_is_read_by_our_own_patience(bucket, exports, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.byte_ranges.time.sleep", lambda _sec: None)
    fsspec.filesystem("s3", use_listings_cache=False).chmod(
        f"{bucket.name}/exports/street.zip", "public-read"
    )
    engine.prepare(paths_of(exports, 0), str(tmp_path / "local"), CONFIG)
    with running_proxy(bucket.server, Faults(refused=0.2, reset=0.1)) as proxy:
        url = f"{proxy.url}/{bucket.name}/exports/street.zip"
        engine.prepare([url], str(tmp_path / "out"), CONFIG)
    assert {"reset", "500", "503", "429"} <= set(proxy.done)
    assert content(str(tmp_path / "out")) == content(str(tmp_path / "local"))


def test_a_store_that_only_fails_is_an_error_that_says_so(bucket, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    with running_proxy(bucket.server, Faults(refused=1.0)) as proxy:
        use(proxy.url, monkeypatch)
        with pytest.raises(RunError, match="cannot be read"):
            engine.prepare(bucket.sources, bucket.out, CONFIG)
    use("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(RunError, match=r"cannot be read|Could not connect"):
        engine.verify(bucket.out)


def test_the_second_writer_is_told_who_the_first_is(bucket):
    with locked(bucket.out, "sam2prep split"), pytest.raises(RunError) as caught:
        engine.prepare(bucket.sources, bucket.out, CONFIG)
    assert "sam2prep split is writing there" in str(caught.value)
    assert f"process {os.getpid()}" in str(caught.value)
    engine.prepare(bucket.sources, bucket.out, CONFIG)
    with pytest.raises(OutputError, match="holds 48 samples"):
        engine.prepare(bucket.third, bucket.out, CONFIG)


def command(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", *arguments], capture_output=True, text=True, check=False,
        env=os.environ | variables,
    )  # fmt: skip


def test_the_command_line_takes_endpoint_and_credentials_from_fsspecs_variables(
    bucket, monkeypatch, tmp_path
):
    for name in environment(""):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    said = {
        "FSSPEC_S3_ENDPOINT_URL": bucket.server, "FSSPEC_S3_KEY": "k", "FSSPEC_S3_SECRET": SECRET,
    }  # fmt: skip
    done = command("prepare", *bucket.sources, "--out", bucket.out, **said)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    refused = command("verify", "s3://k:" + SECRET + "@bucket/out", **said)
    assert refused.returncode == 2
    assert "holds credentials" in refused.stderr
    assert SECRET not in refused.stdout + refused.stderr
    unknown = command(
        "verify", bucket.out, FSSPEC_S3_ENDPOINT_URL=bucket.server,
        AWS_EC2_METADATA_DISABLED="true",
    )  # fmt: skip
    assert unknown.returncode == 3
    assert "Unable to locate credentials" in unknown.stderr
    assert "Traceback" not in unknown.stderr


@pytest.mark.long
def test_workers_of_ray_read_and_write_s3_with_the_drivers_environment(bucket, exports, tmp_path):
    local = local_twin(exports, tmp_path)
    done = command("prepare", *bucket.sources, "--out", bucket.out, "--runner", "ray",
                   "--workers", "2", "--rows-per-shard", "16", "--ratios", "0.6/0.2/0.2",
                   "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runner"] == "ray"
    assert content(bucket.out) == content(local)


@pytest.mark.long
def test_workers_of_other_nodes_get_what_opens_the_store_and_no_log_shows_it(
    bucket, exports, tmp_path, monkeypatch
):
    local = local_twin(exports, tmp_path)
    given = environment(bucket.server)
    for name in given:
        monkeypatch.delenv(name)
    with running_nodes() as nodes:
        command = ["-m", "jobs.cli", "prepare", *bucket.sources, "--out", bucket.out, "--address",
                   nodes.gcs, "--rows-per-shard", "16", "--ratios", "0.6/0.2/0.2"]  # fmt: skip
        variables = nodes.environment | {"RAY_AUTH_MODE": "token", "PYTHONPATH": str(ROOT)} | given
        done = subprocess.run(
            [sys.executable, *command], env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        logs = [path for path in nodes.folder.rglob("*") if path.is_file()]
        assert [path for path in logs if path.suffix == ".err"]
        for path in logs:
            assert SECRET.encode() not in path.read_bytes(), path
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert json.loads(read_bytes(f"{bucket.out}/summary.json"))["runner"] == "ray"
    assert content(bucket.out) == content(local)


def test_neighbouring_images_are_read_together(bucket, tmp_path, monkeypatch):
    path = write_sample_export(
        tmp_path / "video.zip", frames=150, width=160, height=160, truth=False, dialect="coco",
        image_format="jpg", image_bytes=24_000,
    ).path  # fmt: skip
    name = f"{bucket.name}/exports/many.zip"
    fsspec.filesystem("s3", use_listings_cache=False).put_file(str(path), name)
    with running_proxy(bucket.server) as proxy:
        use(proxy.url, monkeypatch)
        engine.prepare([f"s3://{name}"], bucket.out)
    asked = sum(n for (_, path), n in proxy.requests.items() if path == f"/{name}")
    # A header each, a third of an image each, and 28 images of each video that are looked at.
    assert asked < 150 * 4 / 3 + 28 + 20
    assert proxy.sent[f"/{name}"] < 1.1 * path.stat().st_size + 28 * 24_000 + 2**16


@pytest.mark.long
def test_requests_and_bytes_of_ten_thousand_frames(bucket, tmp_path, monkeypatch):
    frames = 0
    needed = 0
    filesystem = fsspec.filesystem("s3", use_listings_cache=False)
    for seed in range(10):
        path = write_sample_export(
            tmp_path / f"video{seed}.zip", frames=1000, width=160, height=160, seed=seed,
            truth=False, dialect="coco", image_format="jpg", image_bytes=24_000,
        ).path  # fmt: skip
        filesystem.put_file(str(path), f"{bucket.name}/many/{path.name}")
        members = zipfile.ZipFile(path).infolist()
        needed += sum(member.compress_size for member in members)
        frames += sum(Path(member.filename).suffix == ".jpg" for member in members)
    assert frames == 10_000
    with running_proxy(bucket.server) as proxy:
        use(proxy.url, monkeypatch)
        engine.prepare([f"s3://{bucket.name}/many/*.zip"], bucket.out)
    # One request a file that is written, and no other about its place.
    assert not any(
        method == "HEAD" and path == f"/{bucket.name}" for method, path in proxy.requests
    )
    requests = sum(proxy.requests.values())
    read = sum(n for path, n in proxy.sent.items() if path.startswith(f"/{bucket.name}/many/"))
    sys.stdout.write(
        f"{requests / frames:.3f} requests a frame, {read / needed:.3f} of the bytes\n"
    )
    assert requests < 2 * frames, requests / frames
    assert read < 1.15 * needed, read / needed
