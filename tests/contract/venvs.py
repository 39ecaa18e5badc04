"""Consumers of the output in environments of their own, driven from the tests.

A consumer is a list of exact versions (`pins/<name>.txt`) and a program (`readers/<name>.py`). Its
environment is made once by pip, in pytest's cache, and found there again as long as the list and
the interpreter stay the same. A function of the program runs there as a process of its own, without
a network, and what it returns comes back as JSON.

Trade-off: torch is left out. Its wheel for Linux brings six gigabytes along, and loaders and
converters import it without computing anything with it; `readers/absent.py` stands in for it.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
# What pip says when nothing answers, as against a version that does not exist.
UNREACHABLE = (
    "Retrying (", "NewConnectionError", "Temporary failure in name resolution", "ProxyError",
    "Read timed out", "Could not fetch URL", "Network is unreachable", "ReadTimeoutError",
)  # fmt: skip


class ConsumerError(Exception):
    """The consumer failed; the message is what it wrote on standard error."""


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """An environment with a consumer in it.

    Args:
        python: its interpreter.
        home: a folder for what libraries keep: caches, tokens, locks.
    """

    python: Path
    home: Path

    def call(self, reader: str, function: str, **arguments: Any) -> Any:
        """Run a function of `readers/<reader>.py` there; everything in and out is JSON.

        Raises:
            ConsumerError: it raised, or did not end well.
        """
        answer = Path(tempfile.mkdtemp(dir=self.home)) / "answer.json"
        caches = dict.fromkeys(("HF_HOME", "HOME", "MODELSCOPE_CACHE"), str(answer.parent))
        run = subprocess.run(
            [self.python, "-I", HERE / "readers" / "call.py", reader, function, answer],
            input=json.dumps(arguments), capture_output=True, text=True, check=False,
            cwd=answer.parent, env=caches | {"HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"]},
        )  # fmt: skip
        if run.returncode:
            raise ConsumerError(run.stderr)
        return json.loads(answer.read_text())


def consumer(name: str, cache: Path, home: Path) -> Consumer:
    """Find a consumer's environment, or make it; skip the test where there is no registry.

    Args:
        name: of the file in `pins`.
        cache: the folder that keeps environments.
        home: as in `Consumer`.
    """
    place = place_of(name, cache)
    if not place.exists():
        # Under another name until it is whole: an interrupted session must leave nothing usable.
        begun = Path(tempfile.mkdtemp(dir=cache, prefix=f"{name}-"))
        try:
            install(begun, HERE / "pins" / f"{name}.txt")
            begun.rename(place)
        finally:
            shutil.rmtree(begun, ignore_errors=True)
    return Consumer(python=place / "bin" / "python", home=home)


def place_of(name: str, cache: Path) -> Path:
    """Say where an environment is kept: it is another one for other pins or another Python."""
    pins = (HERE / "pins" / f"{name}.txt").read_text()
    identity = hashlib.sha256(f"{sys.version}\n{sys.executable}\n{pins}".encode())
    return cache / f"{name}-{identity.hexdigest()[:12]}"


def install(place: Path, pins: Path) -> None:
    """Make an environment of exactly the pinned packages."""
    subprocess.run([sys.executable, "-m", "venv", place], check=True, capture_output=True)
    run = subprocess.run(
        [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps",
         "--only-binary", ":all:", "--disable-pip-version-check", "-r", pins],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode == 0:
        return
    said = run.stdout + run.stderr
    if any(sign in said for sign in UNREACHABLE):
        pytest.skip(f"no package registry can be reached for {pins.name}: {said[-300:]}")
    pytest.fail(f"pip cannot install {pins.name}: {said[-2000:]}")
