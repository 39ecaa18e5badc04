"""Local paths on a cluster of two nodes: taken where both see the same, refused where they do not.

The second node lives in a mount namespace of its own, in which an empty file system lies over the
folder with the data: what two machines are to each other that share no disk.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.sample_export import write_sample_export
from tests.ray_nodes import HIDE, may_unshare, running_nodes

ROOT = str(Path(__file__).resolve().parents[2])


def prepare(nodes, source, out):
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", "prepare", str(source), "--out", str(out),
         "--runner", "ray", "--json"],
        capture_output=True, text=True, check=False, cwd=nodes.folder,
        env=nodes.environment | {"RAY_AUTH_MODE": "token", "RAY_ADDRESS": nodes.gcs,
                                 "PYTHONPATH": ROOT},
    )  # fmt: skip


@pytest.mark.long
def test_nodes_that_do_not_share_a_path_are_refused_at_once(tmp_path):
    hidden, shared = tmp_path / "hidden", tmp_path / "shared"
    for folder in (hidden, shared):
        write_sample_export(folder / "video.zip", frames=12, width=64, height=48, truth=False)
    if not may_unshare(hidden):
        pytest.skip("this user may not make a mount namespace")
    with running_nodes(["unshare", "--mount", "sh", "-c", HIDE, str(hidden)]) as nodes:
        source = prepare(nodes, hidden / "video.zip", shared / "out")
        place = prepare(nodes, shared / "video.zip", hidden / "out")
        taken = prepare(nodes, shared / "video.zip", shared / "out")
    assert source.returncode == 2, source.stderr
    error = json.loads(source.stdout)["error"]
    assert f"{hidden}/video.zip: is not the same on node 1" in error
    assert "got nothing there, expected a file of" in error
    assert place.returncode == 2, place.stderr
    assert f"{hidden}/out: is not the same on node 1" in json.loads(place.stdout)["error"]
    assert not (hidden / "out").exists()
    assert taken.returncode == 0, taken.stderr
    assert json.loads(taken.stdout)["runner"] == "ray"
