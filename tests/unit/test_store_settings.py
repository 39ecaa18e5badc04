"""Settings of object stores on their way to workers: what goes along, what stays, what is shown."""

import os
import pickle
import subprocess
import sys

import fsspec.config
import pytest

from engine.store_settings import StoreSettings

SECRET = "never to be seen"


@pytest.fixture
def alone(monkeypatch):
    """An environment and a configuration of fsspec without any setting."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "AZURE_", "FSSPEC_", "HF_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(fsspec.config, "conf", {})
    return monkeypatch


def of_a_driver(alone):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "driver", "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": "http://store", "AWS_PROFILE": "mine",
        "AWS_SHARED_CREDENTIALS_FILE": "/driver/only", "HF_TOKEN": "t", "HF_HOME": "/driver",
        "AZURE_STORAGE_CONNECTION_STRING": "c", "PATH_OF_MINE": "x",
    }.items():  # fmt: skip
        alone.setenv(name, value)
    fsspec.config.conf["s3"] = {"anon": True, "secret": SECRET}
    found = pickle.loads(pickle.dumps(StoreSettings.of_this_process()))
    for name in found.variables:
        alone.delenv(name)
    alone.delenv("AWS_PROFILE")
    fsspec.config.conf.clear()
    return found


def test_a_worker_that_has_nothing_gets_what_the_driver_has_but_its_files(alone):
    found = of_a_driver(alone)
    assert sorted(found.variables) == [
        "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_SECRET_ACCESS_KEY",
        "AZURE_STORAGE_CONNECTION_STRING", "HF_TOKEN",
    ]  # fmt: skip
    for _ in range(2):
        found.take_over()
        assert os.environ["AWS_SECRET_ACCESS_KEY"] == SECRET
        assert os.environ["AWS_ENDPOINT_URL"] == "http://store"
        assert fsspec.config.conf == {"s3": {"anon": True, "secret": SECRET}}
    for name in found.variables:
        alone.delenv(name)


@pytest.mark.parametrize(
    "own",
    [
        {"AWS_ACCESS_KEY_ID": "worker", "AWS_SECRET_ACCESS_KEY": "w"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/token"},
        {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/role"},
        {"AWS_PROFILE": "worker"},
    ],
)
def test_a_worker_with_credentials_of_its_own_keeps_them_whole(alone, own):
    found = of_a_driver(alone)
    for name, value in own.items():
        alone.setenv(name, value)
    alone.setenv("HF_TOKEN", "worker")
    fsspec.config.conf["s3"] = {"anon": False}
    found.take_over()
    keys = {n: v for n, v in os.environ.items() if "KEY" in n and n.startswith("AWS_")}
    assert keys == {name: value for name, value in own.items() if "KEY" in name}
    assert os.environ["HF_TOKEN"] == "worker"
    assert os.environ["AWS_ENDPOINT_URL"] == "http://store"
    assert fsspec.config.conf["s3"] == {"anon": False, "secret": SECRET}
    for name in found.variables:
        alone.delenv(name, raising=False)


def test_nothing_that_is_shown_shows_them(alone):
    found = of_a_driver(alone)
    for shown in (repr(found), str(found), f"{found}", repr({"settings": found})):
        assert SECRET not in shown


def test_the_configuration_of_fsspec_is_that_of_its_variables_too():
    program = (
        "from engine.store_settings import StoreSettings as S; "
        "print(S.of_this_process().fsspec['s3']['key'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env=os.environ | {"FSSPEC_S3_KEY": "k"},
    )  # fmt: skip
    assert done.stdout == "k\n"
