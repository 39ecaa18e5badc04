"""A reader beside a writer that publishes version after version: never an error, no mixture."""

import shutil
import subprocess
import sys
from ast import literal_eval

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


ADDER = """
import sys, engine
for source in sys.argv[2:]:
    engine.add(sys.argv[1], [source], None, engine.Execution(runner="local"))
"""
PLAIN = """
import sys, time, datasets
from pathlib import Path
datasets.disable_progress_bars()
while not Path(sys.argv[2]).exists():
    rows = datasets.load_from_disk(sys.argv[1])
    print({name: tuple(split["id"]) for name, split in rows.items()}, flush=True)
"""
HERE = engine.Execution(runner="local")
TINY = {"frames": 12, "width": 32, "height": 32, "truth": False}


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
        write_sample_export(source, filename=f"v{n}.mp4", seed=n, **TINY)
    versions = []
    for seed in reversed(SEEDS):
        config = engine.Config(split="random", seed=seed, rows_per_shard=4, ratios=(0.5, 0.3, 0.2))
        out = tmp_path / f"seed{seed}"
        engine.prepare(sources, str(out), config, HERE)
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


def additions(tmp_path, count):
    """Exports, and what a dataset holds after each of them."""
    sources = [str(tmp_path / f"{n}.zip") for n in range(count + 1)]
    for n, source in enumerate(sources):
        write_sample_export(source, filename=f"v{n}.mp4", seed=n, **TINY)
    config = engine.Config(rows_per_shard=4, ratios=(0.5, 0.3, 0.2))
    places = [str(tmp_path / name) for name in ("alone", "out")]
    for out in places:
        engine.prepare(sources[:1], out, config, HERE)
    return sources[1:], *places


@pytest.mark.parametrize("count", [4, pytest.param(20, marks=pytest.mark.long)])
def test_readers_beside_additions(tmp_path, count):
    """`open_dataset` gives one version; `load_from_disk` splits that each are of one version."""
    sources, alone, out = additions(tmp_path, count)
    versions = [ids(datasets.load_from_disk(f"{alone}/hf"))]
    for source in sources:
        engine.add(alone, [source], None, HERE)
        versions.append(ids(datasets.load_from_disk(f"{alone}/hf")))
    stop = tmp_path / "stop"
    reading = [sys.executable, "-c", PLAIN, f"{out}/hf", str(stop)]
    adding = [sys.executable, "-c", ADDER, out, *sources]
    found = []
    with subprocess.Popen(
        reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as plain:
        with subprocess.Popen(adding, stderr=subprocess.PIPE, text=True) as writer:
            while writer.poll() is None:
                found.append(ids(engine.open_dataset(out)))
            assert writer.returncode == 0, writer.stderr.read()
        stop.touch()
        seen, errors = plain.communicate()
    assert plain.returncode == 0, errors
    assert all(each in versions for each in found)
    assert len({tuple(each.items()) for each in found}) >= min(count, 3)
    splits = {(name, rows) for version in versions for name, rows in version.items()}
    plainly = [literal_eval(line) for line in seen.splitlines()]
    assert all(split in splits for each in plainly for split in each.items())
    assert len(plainly) >= 3


def test_two_additions_at_once(tmp_path):
    """One goes on, the other says who is at work; both done, it is as one after the other."""
    sources, alone, out = additions(tmp_path, 2)
    command = [sys.executable, "-m", "jobs.add", out, "--runner", "local"]
    pair = [
        subprocess.Popen([*command, source], stderr=subprocess.PIPE, text=True)
        for source in sources
    ]
    said = [(process.communicate()[1], process.returncode) for process in pair]
    codes = [code for _, code in said]
    # They may have come one after the other, on a busy machine.
    assert sorted(codes) in ([0, 3], [0, 0])
    for source, (text, code) in zip(sources, said, strict=True):
        if code == 3:
            assert "is writing there" in text  # by its name, once it has written it
            engine.add(out, [source], None, HERE)
    order = sources if codes[0] == 0 else sources[::-1]
    orders = (order, order[::-1]) if codes == [0, 0] else (order,)
    wanted = []
    for number, one in enumerate(orders):
        fresh = f"{alone}-{number}"
        shutil.copytree(alone, fresh)
        for source in one:
            engine.add(fresh, [source], None, HERE)
        wanted.append(ids(datasets.load_from_disk(f"{fresh}/hf")))
    assert ids(datasets.load_from_disk(f"{out}/hf")) in wanted
    assert engine.verify(out)["status"] == "VERIFIED"
