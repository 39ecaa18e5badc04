"""Exports on Azure and datasets to it, over HTTP: Azurite, where it is installed.

npm install --prefix DIR azurite, with DIR/node_modules/.bin on the path
"""

import shutil
import socket
import subprocess
import time
from contextlib import closing, suppress

import fsspec
import pytest

import engine
from engine.sample_export import write_sample_export
from engine.storage import join, list_files, read_bytes
from tests.ray_nodes import free_ports

pytest.importorskip("adlfs", reason="the extra `azure` is not installed")

# Azurite's own account, the same everywhere.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture
def azurite(tmp_path, monkeypatch):
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite-blob is not on the path")
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [program, "--location", str(tmp_path), "--blobPort", str(port), "--silent",
         "--skipApiVersionCheck"],
    )  # fmt: skip
    for _ in range(300):
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), 1)):
            break
        time.sleep(0.1)
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={_KEY};"
        f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;",
    )
    yield
    process.terminate()
    process.wait()


def test_a_dataset_on_azure_is_that_on_a_disk(azurite, tmp_path):
    export = write_sample_export(tmp_path / "video.zip", frames=24, width=160, height=120).path
    filesystem = fsspec.filesystem("abfs")
    filesystem.mkdir("box")
    filesystem.put_file(str(export), "box/exports/video.zip")
    local, far = str(tmp_path / "local"), "abfs://box/out"
    engine.prepare([str(export)], local)
    engine.prepare(["abfs://box/exports/*.zip"], far)
    names = [name for name in list_files(local) if name != "summary.json"]
    for name in names:
        assert read_bytes(join(far, name)) == read_bytes(join(local, name)), name
    assert engine.verify(far)["status"] == "VERIFIED"
    assert engine.open_dataset(far)["train"].num_rows > 0
