"""A reader beside a writer that publishes version after version: never an error, no mixture."""

import subprocess
import sys

import datasets
import pytest

import engine
from engine.sample_export import write_sample_export

SEEDS = (1, 2)
WRITER = """
import sys, engine
for turn in range(int(sys.argv[2])):
    changes = {"split": "random", "seed": (2, 1)[turn % 2]}
    engine.split(sys.argv[1], changes, engine.Execution(runner="local"))
"""


def ids(opened):
    return {name: tuple(rows["id"]) for name, rows in opened.items()}


@pytest.mark.parametrize(
    ("protocol", "publications"),
    [("", 4), ("local://", 4), pytest.param("", 20, marks=pytest.mark.long)],
)
def test_every_version_that_is_opened_is_one(tmp_path, protocol, publications):
    """`local` is fsspec's name for files that are not exchanged, but copied like objects."""
    sources = [str(tmp_path / f"{n}.zip") for n in range(2)]
    for n, source in enumerate(sources):
        more = {"frames": 12, "width": 32, "height": 32, "truth": False}
        write_sample_export(source, filename=f"v{n}.mp4", seed=n, **more)
    versions = []
    for seed in reversed(SEEDS):
        config = engine.Config(split="random", seed=seed, rows_per_shard=4, ratios=(0.5, 0.3, 0.2))
        out = tmp_path / f"seed{seed}"
        engine.prepare(sources, str(out), config, engine.Execution(runner="local"))
        versions.append(ids(datasets.load_from_disk(str(out / "hf"))))
    assert versions[0] != versions[1]
    place = f"{protocol}{out}"
    opened = []
    command = [sys.executable, "-c", WRITER, place, str(publications)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as writer:
        while writer.poll() is None:
            found = engine.open_dataset(place)
            assert ids(found) in versions
            if not opened or opened[-1][1] != ids(found):
                opened.append((found, ids(found)))
        assert writer.returncode == 0, writer.stderr.read()
    assert len(engine.history(place)["versions"]) == 1 + publications
    assert len(opened) >= 3
    for pinned, found in opened:  # and stay as they were
        assert ids(pinned) == found
