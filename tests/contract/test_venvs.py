"""The harness of the consumers: what it skips, what it fails on, what it lets through."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract import venvs

PINS = sorted(path.stem for path in (venvs.HERE / "pins").iterdir())


@pytest.fixture
def here(tmp_path):
    """This environment as a consumer: its harness needs nothing else."""
    return venvs.Consumer(python=Path(sys.executable), home=tmp_path)


def pip_says(monkeypatch, text):
    def run(command, **_):
        making = "venv" in command
        return subprocess.CompletedProcess(command, 0 if making else 1, "", text)

    monkeypatch.setattr(venvs.subprocess, "run", run)


def test_without_a_registry_a_test_is_skipped_and_nothing_is_left(monkeypatch, tmp_path):
    pip_says(monkeypatch, "WARNING: Retrying (Retry(total=4)) after connection broken")
    with pytest.raises(pytest.skip.Exception, match="no package registry can be reached for trl"):
        venvs.consumer("trl", tmp_path, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_pin_that_does_not_exist_is_a_failure(monkeypatch, tmp_path):
    pip_says(monkeypatch, "ERROR: No matching distribution found for trl==99")
    with pytest.raises(pytest.fail.Exception, match="trl==99"):
        venvs.consumer("trl", tmp_path, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_environment_is_made_once(monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(venvs, "install", lambda place, pins: made.append(pins.name))
    first = venvs.consumer("swift", tmp_path, tmp_path)
    assert venvs.consumer("swift", tmp_path, tmp_path) == first
    assert venvs.consumer("trl", tmp_path, tmp_path) != first
    assert made == ["swift.txt", "trl.txt"]


@pytest.mark.parametrize("name", PINS)
def test_every_package_is_pinned_exactly(name):
    lines = (venvs.HERE / "pins" / f"{name}.txt").read_text().splitlines()
    assert lines == sorted(lines, key=str.lower)
    for line in lines:
        package, version = line.split("==")
        assert (package.isascii(), version[0].isdigit()) == (True, True), line


def test_a_consumer_cannot_ask_the_network(here):
    with pytest.raises(venvs.ConsumerError, match="asked the network for"):
        here.call("socket", "create_connection", address=["localhost", 9])


def test_what_a_consumer_raises_is_said(here):
    with pytest.raises(venvs.ConsumerError, match="FileNotFoundError"):
        here.call("hub", "read_disk", path="/nowhere")
    assert here.call("hub", "version")[0].isdigit()


def test_a_stand_in_has_no_values():
    sys.path.insert(0, str(venvs.HERE / "readers"))
    try:
        import absent
    finally:
        sys.path.pop(0)
    finder = absent.Finder({"no_such_torch"})
    module = finder.create_module(finder.find_spec("no_such_torch.nn"))
    assert finder.find_spec("torch") is None

    @module.no_grad()
    def decorated():
        return 3

    class Inherits(module.Module):
        pass

    assert decorated() == 3
    assert isinstance(Inherits(), Inherits)
    with pytest.raises(TypeError):
        module.zeros(2) + 1
