"""A corpus that no page could show whole: the page stays under 5 MB, and says what it leaves out.

Row files and images are made here directly, every part of them as large as it gets: pictures of
noise, long hostile names, findings of every code in every video.
"""

from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from engine.config import Config
from engine.dividing import divide
from engine.findings import CODES
from engine.frame_index import gather
from engine.quality import judge
from engine.records import FRAME_SCHEMA, ISSUE_SCHEMA
from engine.report import validation_document, write_report
from engine.report_gather import gather_material
from engine.tables import write_table
from engine.tasks import LocalRunner
from engine.work import Work

WIDTH, HEIGHT, CLASSES = 640, 360, 400
NAMES = [f"<b>{i}\"'&" + "x" * 60 + "\u202e</b>" for i in range(CLASSES)]


def write_corpus(folder, *, frames, objects, videos, findings):
    """Write row files of synthetic frames; give them and a table of issues."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    n_bytes = (folder / "noise.png").stat().st_size
    at = np.sort(rng.integers(0, videos, frames))
    index = np.arange(frames) - np.searchsorted(at, at)
    names = [f"v{'&' * 20}{i:06d}" for i in range(videos)]
    ids = [f"{names[v]}/{i:06d}" for v, i in zip(at, index, strict=True)]
    lists = pa.array(np.arange(0, frames * objects + 1, objects, dtype=np.int32))

    def listed(values):
        return pa.ListArray.from_arrays(lists, values)

    n = frames * objects
    x, y = rng.integers(0, WIDTH - 64, n), rng.integers(0, HEIGHT - 64, n)
    sides = rng.integers(1, 64, (n, 2))
    four = pa.array(np.arange(0, 4 * n + 1, 4, dtype=np.int32))
    boxes = pa.ListArray.from_arrays(four, pa.array(np.c_[x, y, sides].astype(np.int32).ravel()))
    mask = {"size": [HEIGHT, WIDTH], "counts": "PPYo0"}
    columns = {
        "id": ids,
        "video_id": [names[v] for v in at],
        "frame_index": index,
        "width": np.full(frames, WIDTH, np.int32),
        "height": np.full(frames, HEIGHT, np.int32),
        "masks": pa.array([[mask] * objects], FRAME_SCHEMA.field("masks").type).take(
            pa.array(np.zeros(frames, np.int64))
        ),
        "bounding_boxes": listed(boxes),
        "labels": listed(pa.array(NAMES).take(pa.array(rng.integers(0, CLASSES, n)))),
        "object_ids": listed(pa.array(np.tile(np.arange(objects), frames))),
        "areas": listed(pa.array(rng.integers(1, 4096, n))),
        "objects_declared": np.full(frames, objects, np.int32),
        "objects_hidden": np.zeros(frames, np.int32),
        "errors": np.zeros(frames, np.int32),
        "annotation_digest": ["0"] * frames,
        "image_source": [str(folder)] * frames,
        "image_name": ["noise.png"] * frames,
        "image_bytes": np.full(frames, n_bytes),
        "image_compressed_bytes": np.full(frames, n_bytes),
        "image_method": np.zeros(frames, np.int16),
    }
    table = pa.table(
        [
            pa.array(columns[field.name], field.type)
            if field.name in columns
            else pa.nulls(frames, field.type)
            for field in FRAME_SCHEMA
        ],
        schema=FRAME_SCHEMA,
    )
    paths = []
    for start in range(0, frames, 5000):
        paths.append(str(folder / f"rows-{start:08d}.parquet"))
        write_table(paths[-1], table.slice(start, 5000), durable=False)
    found = rng.integers(0, frames, findings)
    codes = np.array(sorted(set(CODES) - {"class_imbalance", "label_placeholder"}))
    issues = {
        "code": codes[np.arange(findings) % len(codes)],
        "source": ["s.zip"] * findings,
        "video_id": [names[at[i]] for i in found],
        "frame_id": [ids[i] for i in found],
        "frame_index": index[found],
        "object_id": rng.integers(0, objects, findings),
        "message": ["area is 9 px, 3.5 times the 2 px of frame 0, " + "m<" * 300] * findings,
    }
    return paths, pa.table(issues, schema=ISSUE_SCHEMA)


def make_report(paths, issues, folder):
    """Do what a run does after its frames were scanned and written."""
    index = gather(paths)
    verdict = judge(index.table, issues, 9.0, exports=1)
    document = validation_document([], verdict, Config(), sources=verdict)
    division = divide(index, np.ones(len(index), bool), Config())
    split = division.document(division.assignment)
    return document, split, lambda: page_of(index, issues, document, split, folder)


def page_of(index, issues, document, split, folder):
    noise = (folder / "noise.png").read_bytes()
    material = gather_material(
        index, issues, document, Work(LocalRunner()), kept=np.ones(len(index), bool),
        evidence_images={f"v{i}": noise for i in range(20)},
    )  # fmt: skip
    write_report(str(folder / "report"), document, split, issues, material=material)
    return material


class Counted(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "videos", [40, pytest.param(1, marks=LONG), pytest.param(3000, marks=LONG)]
)
def test_the_page_is_bounded_whatever_the_corpus(videos, tmp_path):
    paths, issues = write_corpus(tmp_path, frames=12_000, objects=6, videos=videos, findings=10_000)
    _, _, make = make_report(paths, issues, tmp_path)
    material = make()
    html = (tmp_path / "report/report.html").read_bytes()
    assert len(html) < 5_000_000
    pictures = [p for shown in material.pictures.values() for p in shown]
    assert len(pictures) >= 80
    assert all(p.data for p in pictures)
    assert sum(len(p.data) for p in pictures) < 150 * 12_000
    page = Counted(html.decode())
    assert "b" in page.tags  # our own; theirs are text
    assert page.tags.count("script") == 1
    assert any("<b>" in text for text in page.text)
    assert material.tally.frames == 12_000
    assert material.tally.instances == 72_000
