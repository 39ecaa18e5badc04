"""The same bytes on Ray and off it, for any number of workers, any hash seed, any order of sources.

The runs are whole programs in processes of their own, as a person starts them; Ray is real. Inputs
are chosen to go every way a frame can go: kept, counted once, set aside by a scan, set aside while
its image was read.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.choices import FORMATS
from engine.sample_export import write_sample_export
from tests.digests import tree

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = (
    "--validation", "standard", "--rows-per-shard", "12", "--frames-per-range", "10", "--json",
    *(f"--format={name}" for name in FORMATS),
)  # fmt: skip


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Four exports of three videos; the third holds a part of the first once more."""
    place = tmp_path_factory.mktemp("exports")
    size = {"width": 64, "height": 48, "truth": False}
    street = {"filename": "street.mp4", "seed": 1, "total_frames": 300, "duration_sec": 10.0}
    write_sample_export(
        place / "b.zip", frames=40, labels=("person", "dog", "car"), dialect="coco",
        frames_without_objects=[4, 30], mask_truncated=[17], image_truncated=[22],
        image_crc_flip=[9], **street, **size,
    )  # fmt: skip
    write_sample_export(
        place / "a.zip", frames=14, labels=("person", "dog", "car"), dialect="coco",
        frames_without_objects=[4], **street, **size,
    )  # fmt: skip
    write_sample_export(
        place / "d.zip", frames=25, labels=("théière", "person"), seed=2,
        hidden={3: [0], 4: [0, 1]}, **size,
    )  # fmt: skip
    write_sample_export(
        place / "c.zip", frames=31, labels=("dog", "cat"), dialect="coco", seed=3,
        image_format="jpg", **size,
    )  # fmt: skip
    return [place / name for name in ("b.zip", "a.zip", "d.zip", "c.zip")]


# Warnings of libraries about the machine (a proxy, a CPU) are none of ours.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | {
    "PYTHONPATH": str(ROOT),
    "PYTHONWARNINGS": "ignore",
}


def prepare(sources, out, *options, hash_seed="0"):
    """Run the program; standard output has to be its document alone."""
    command = [
        sys.executable, "-m", "jobs.prepare", *map(str, sources), "--out", str(out), *OPTIONS,
        *options,
    ]  # fmt: skip
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT,
        env=ENVIRONMENT | {"PYTHONHASHSEED": hash_seed},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    progress = re.compile(r"sam2prep: [a-z ]+ \d+ of \d+, .*")  # a line at times, if it takes long
    assert [line for line in run.stderr.splitlines() if not progress.fullmatch(line)] == []
    return json.loads(run.stdout)


def assignment(out):
    index = pq.read_table(out / "index").to_pylist()
    return {row["id"]: row["split"] for row in index}


@pytest.fixture(scope="module")
def local(exports, tmp_path_factory):
    out = tmp_path_factory.mktemp("local") / "out"
    summary = prepare(exports, out, "--runner", "local", hash_seed="1")
    assert summary["runner"] == "local"
    return out, summary


def test_the_runs_are_worth_comparing(local):
    out, summary = local
    shards = list((out / "hf").glob("*/*.arrow"))
    assert len(shards) >= 5
    assert len(list((out / "quarantine").glob("*.arrow"))) == 1
    # 40 + 14 + 25 + 31 read, in 4 + 2 + 3 + 4 ranges. Set aside are two frames without objects, a
    # mask and two images.
    assert summary["accounting"] == {
        "frames_in": 110, "kept": 91, "quarantined": 5, "excluded_duplicates": 14,
        "objects_in": 265, "objects_kept": 214, "objects_hidden": 3, "objects_quarantined": 9,
        "objects_excluded_duplicates": 39,
    }  # fmt: skip


@pytest.mark.parametrize("how", [("ray", 1, "0"), ("ray", 2, "4242"), ("processes", 3, "8")])
def test_more_workers_write_the_same_bytes(how, exports, local, tmp_path):
    out = tmp_path / "out"
    runner, workers, hash_seed = how
    summary = prepare(
        exports, out, "--runner", runner, "--workers", str(workers), hash_seed=hash_seed
    )
    assert summary["runner"] == runner
    assert tree(out) == tree(local[0])
    differing = {"inputs", "out", "runner", "timings", "stages", "history", "digest"}
    for key in summary.keys() - differing:
        assert summary[key] == local[1][key], key


def test_another_order_of_sources_changes_nothing(exports, local, tmp_path):
    out = tmp_path / "out"
    prepare(reversed(exports), out, "--runner", "local", hash_seed="7")
    ours, theirs = tree(out), tree(local[0])
    for name in ("split.json", "index/train-00000.parquet"):
        assert ours[name] == theirs[name]
    assert ours == theirs


def test_a_seed_decides(exports, local, tmp_path):
    same, other = tmp_path / "same", tmp_path / "other"
    prepare(exports, same, "--runner", "local", "--seed", "42", hash_seed="11")
    prepare(exports, other, "--runner", "local", "--seed", "43", hash_seed="11")
    assert assignment(same) == assignment(local[0])
    assert assignment(other).keys() == assignment(same).keys()
    moved = [i for i, split in assignment(other).items() if split != assignment(same)[i]]
    assert len(moved) > 5


# A stage function that prints and dies, put in the place of the real one, in the whole program.
# Both runs use one Ray, which is why standard output is turned to another file in between.
DRIVER = """
import os, sys
from pathlib import Path

import engine.shard_writer, engine.shards
from engine.choices import FORMATS
from engine.pipeline import RayRunner
from jobs.prepare import main

folder, source = Path(sys.argv[1]), sys.argv[2]

def spoil(task, deaths, marker=folder):
    print("spoilt by print", flush=True)
    os.system("echo spoilt by a child; echo spoilt by a child >&2")
    if (task.split, task.number) == ("train", 1):
        with (marker / "attempts").open("ab") as file:
            file.write(b"x")
        if (marker / "attempts").stat().st_size <= deaths:
            os._exit(1)
    return engine.shards.write_shard(task)

def once(task):
    return spoil(task, 1)

def always(task):
    return spoil(task, 10**6)

codes = []
with RayRunner(workers=2) as runner:
    runner.run(len, [], stage="start")  # waits until Ray has started, for both to find it
    for function in (once, always):
        name = function.__name__
        for number, stream in ((1, "stdout"), (2, "stderr")):
            file = os.open(folder / f"{name}.{stream}", os.O_CREAT | os.O_WRONLY)
            os.dup2(file, number)
        engine.shard_writer.write_shard = function
        try:
            main([source, "--out", str(folder / name), "--runner", "ray", "--workers", "2",
                  "--rows-per-shard", "6", "--frames-per-range", "10", "--json",
                  *(f"--format={name}" for name in FORMATS)])
        except SystemExit as ended:
            codes.append(ended.code)
        (folder / "attempts").rename(folder / f"{name}.attempts")
(folder / "codes").write_text(repr(codes))
"""


def test_workers_that_print_and_die_do_not_spoil_the_document(tmp_path):
    source, driver = tmp_path / "source.zip", tmp_path / "driver.py"
    write_sample_export(source, frames=40, width=64, height=48, dialect="coco", truth=False)
    driver.write_text(DRIVER)
    run = subprocess.run(
        [sys.executable, driver, tmp_path, source], capture_output=True, text=True, check=False,
        cwd=ROOT, env=ENVIRONMENT,
    )  # fmt: skip
    said = [path.read_text() for path in sorted(tmp_path.glob("*.stderr"))]
    assert run.returncode == 0, [run.stderr, *said]
    assert (tmp_path / "codes").read_text() == "[0, 3]"

    assert (tmp_path / "once.attempts").read_text() == "xx"
    assert (tmp_path / "once.stderr").read_text() == ""
    document = json.loads((tmp_path / "once.stdout").read_text())
    assert document == json.loads((tmp_path / "once" / "summary.json").read_text())
    undisturbed = tmp_path / "undisturbed"
    prepare([source], undisturbed, "--rows-per-shard", "6", "--validation", "strict")
    assert tree(tmp_path / "once") == tree(undisturbed)

    assert (tmp_path / "always.attempts").read_text() == "xxxxx"
    error = json.loads((tmp_path / "always.stdout").read_text())
    assert (error["status"], error["exit_code"]) == ("ERROR", 3)
    assert "train-00001" in error["error"]
    assert (tmp_path / "always.stderr").read_text() == f"sam2prep: error: {error['error']}\n"
    assert "the same command continues" in error["error"]
    assert [path.name for path in (tmp_path / "always").iterdir()] == [".staging"]
