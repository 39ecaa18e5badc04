"""Exports far larger than memory should be: what a process holds is measured, not believed.

Each runs in a process of its own, started from the command line's own entry, whose peak of resident
memory (VmHWM) is read at its end. The files are large and gone afterwards; where there is no room
for them, the tests say so and are skipped.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pytest

from engine.sample_export import write_sample_export
from engine.sample_scene import encode_picture
from tests.fuzz_masks import box_of, drawn, runs_of

ROOT = Path(__file__).resolve().parents[2]
SIZE = (720, 1280)
GB = 10**9
MOST_MB = 600

# Runs `python -m MODULE ...` and says last, on standard error, what its memory peaked at.
MEASURED = """
import pathlib, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    status = pathlib.Path("/proc/self/status").read_text()
    print("VmHWM", status.split("VmHWM:")[1].split()[0], file=sys.stderr)
"""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc"),
]


@pytest.fixture
def room(request):
    """A short-named folder with as much room as is asked for, removed at the end."""
    needed = request.param
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < needed:
        pytest.skip(f"needs {needed / GB:.0f} GB in {tempfile.gettempdir()}, {free / GB:.0f} free")
    with tempfile.TemporaryDirectory(prefix="large-") as folder:
        yield Path(folder)


def run_measured(module, *arguments, temporary):
    """Exit code, the JSON document and the peak in MB of one command."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, module, *map(str, arguments), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
    )  # fmt: skip
    *errors, peak = done.stderr.splitlines()
    assert done.returncode in (0, 1), done.stderr[-3000:]
    assert peak.startswith("VmHWM"), errors[-20:]
    return done.returncode, json.loads(done.stdout), int(peak.split()[1]) * 1024 / 1e6


def mask_objects():
    """Three objects, their runs as a list: what makes exports largest when they are indented."""
    rng = random.Random(4)
    objects = []
    for number in range(3):
        mask = drawn(rng, SIZE)
        while not 20_000 < mask.sum() < 300_000:
            mask = drawn(rng, SIZE)
        objects.append(
            {
                "object_id": number, "label": ("person", "dog", "car")[number],
                "mask_rle": {"size": list(SIZE), "counts": runs_of(mask)},
                "bbox": box_of(mask), "area": int(mask.sum()), "confidence": 0.95,
            }
        )  # fmt: skip
    return objects


def write_frames(sink, objects, n_bytes):
    """Write `annotations.json` of at least so many bytes; give the number of its frames."""
    head = {"video": {"filename": "day.mp4", "width": SIZE[1], "height": SIZE[0]}}
    sink.write(json.dumps(head, indent=2)[:-2].encode() + b',\n  "annotations": [\n')
    record = json.dumps({"frame_index": 987654321, "objects": objects}, indent=2).encode()
    before, after = record.split(b"987654321")
    frames = written = 0
    while written < n_bytes:
        written += sink.write((b",\n" if frames else b"") + before + b"%d" % frames + after)
        frames += 1
    sink.write(b"\n]}\n")
    return frames


@pytest.mark.parametrize("room", [4 * GB], indirect=True)
def test_a_task_holds_less_than_its_shard(room):
    """One shard of 1.1 GB, far above what a task is said to need."""
    write_sample_export(
        room / "heavy.zip", frames=5000, width=640, height=480, dialect="coco", image_format="jpg",
        image_bytes=290_000, distinct_images=5, truth=False,
    )  # fmt: skip
    (room / "one.toml").write_text(
        "shard_bytes = 4_000_000_000\nrows_per_shard = 100_000\nratios = [1.0, 0.0, 0.0]\n"
    )
    _, summary, peak = run_measured(
        "jobs.prepare", room / "heavy.zip", "--out", room / "out", "--runner", "local",
        "--config", room / "one.toml", temporary=room,
    )  # fmt: skip
    (shard,) = (room / "out/hf/train").glob("*.arrow")
    sys.stdout.write(f"{shard.stat().st_size} bytes, peak {peak:.0f} MB, {summary['timings']}\n")
    assert shard.stat().st_size > GB
    assert peak < MOST_MB


@pytest.mark.parametrize("room", [3 * GB], indirect=True)
def test_annotations_of_2_gb_are_scanned_in_600_mb(room):
    picture = encode_picture(np.full((*SIZE, 3), 90, np.uint8), "png")
    export = room / "day.zip"
    with zipfile.ZipFile(export, "w", compresslevel=1) as archive:
        info = zipfile.ZipInfo("annotations.json")
        info.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(info, "w", force_zip64=True) as sink:
            frames = write_frames(sink, mask_objects(), 2 * GB)
        for number in range(frames):
            archive.writestr(f"images/{number:06d}.png", picture)
        assert archive.getinfo("annotations.json").file_size >= 2 * GB
    temporary = room / "tmp"
    temporary.mkdir()
    code, document, peak = run_measured(
        "jobs.validate", export, "--runner", "local", temporary=temporary
    )
    sys.stdout.write(f"{frames} frames, peak {peak:.0f} MB\n")
    assert (code, document["status"]) == (0, "PASSED_WITH_WARNINGS")
    assert {finding["code"] for finding in document["findings"]} <= {
        "image_repeated",
        "mask_frozen",
    }
    assert (document["frames"], document["objects"]) == (frames, 3 * frames)
    assert list(temporary.iterdir()) == []
    assert peak < MOST_MB


@pytest.mark.parametrize("room", [12 * GB], indirect=True)
def test_a_zip64_export_of_5_gb_goes_through_and_leaves_nothing(room):
    noise = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    picture = encode_picture(noise, "png")
    assert len(picture) > 2_000_000
    frames = 5 * GB // len(picture) + 1
    root = "\u5bfc\u51fa/\u52d5\u753b \u0031"
    objects = mask_objects()
    document = {
        "video": {"filename": "\u52d5\u753b.mp4", "width": SIZE[1], "height": SIZE[0]},
        "annotations": [
            {"frame_index": i, "objects": [objects[i % 3] | {"label": "\u732b"}]}
            for i in range(frames)
        ],
    }
    export = room / "\u66f8\u304d\u51fa\u3057.zip"
    with zipfile.ZipFile(export, "w") as archive:
        archive.writestr(f"{root}/annotations.json", json.dumps(document))
        for i in range(frames):
            name = f"{root}/images/\u30d5\u30ec\u30fc\u30e0_{i:06d}.png"
            archive.writestr(name, picture)
            archive.writestr(f"__MACOSX/{root}/images/._\u30d5\u30ec\u30fc\u30e0_{i:06d}.png", b"x")
    assert export.stat().st_size > 5 * GB
    temporary, out = room / "tmp", room / "out"
    temporary.mkdir()
    code, summary, peak = run_measured("jobs.prepare", export, "--out", out, temporary=temporary)
    sys.stdout.write(f"{frames} frames, {peak:.0f} MB, {summary['runner']} {summary['timings']}\n")
    assert (code, summary["total_samples"]) == (0, frames)
    left = [p for p in temporary.rglob("*") if p.is_file()]
    # Ray keeps the logs of its session; objects that it moved to disk would be far larger.
    assert [p for p in left if not p.is_relative_to(temporary / "ray")] == []
    assert sum(p.stat().st_size for p in left) < 10_000_000
    hidden = [p.name for p in out.rglob(".*")]
    assert hidden == []
    loaded = datasets.load_from_disk(str(out / "hf"))
    assert sum(part.num_rows for part in loaded.values()) == frames
    last = loaded["train"].cast_column("image", datasets.Image(decode=False))[-1]
    assert last["image"]["bytes"] == picture
    assert last["labels"] == ["\u732b"]
    assert peak < MOST_MB


@pytest.mark.parametrize("room", [2 * GB], indirect=True)
def test_100_000_lines_are_joined_in_bounded_memory(room):
    """The lists of JSON included: no process holds a split."""
    frames, pictures = 100_000, []
    for grey in range(16):
        pictures.append(encode_picture(np.full((64, 64, 3), 60 + grey, np.uint8), "png"))
    mask = np.zeros((64, 64), bool)
    mask[10:40, 20:50] = True
    objects = [
        {
            "object_id": number, "label": label, "bbox": box_of(mask), "area": int(mask.sum()),
            "mask_rle": {"size": [64, 64], "counts": runs_of(mask)},
        }
        for number, label in enumerate(("person", "dog", "car"))
    ]  # fmt: skip
    document = {
        "video": {"filename": "long.mp4", "width": 64, "height": 64},
        "annotations": [{"frame_index": i, "objects": objects} for i in range(frames)],
    }
    export, temporary, out = room / "long.zip", room / "tmp", room / "out"
    temporary.mkdir()
    with zipfile.ZipFile(export, "w") as archive:
        archive.writestr("annotations.json", json.dumps(document))
        for i in range(frames):
            archive.writestr(f"images/{i:06d}.png", pictures[i % 16])
    code, summary, peak = run_measured(
        "jobs.prepare", export, "--out", out, "--runner", "local", "--format", "llava",
        "--format", "swift", temporary=temporary,
    )  # fmt: skip
    sys.stdout.write(f"{frames} lines, peak {peak:.0f} MB, {summary['timings']}\n")
    assert (code, summary["total_samples"]) == (0, frames)
    for split, size in summary["splits"].items():
        lines = (out / "llava" / f"{split}.jsonl").read_bytes().splitlines()
        assert (out / "llava" / f"{split}.json").read_bytes() == (
            b"[\n" + b",\n".join(lines) + b"\n]\n"
        )
        assert len(lines) == size
    assert peak < 700
