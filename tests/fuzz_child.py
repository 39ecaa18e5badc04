"""Runs mutated inputs in a process of its own, which may crash: `test_fuzz` watches it.

    python -m tests.fuzz_child masks|zips FIRST COUNT

Says `seed N` before, and at the end of each step one JSON line of what was wrong and how much
memory was ever resident; the watcher knows from the last line which seed a crash or a hang is of.
"""

import faulthandler
import json
import resource
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import engine
from engine.errors import RunError, Sam2PrepError
from engine.frame_json import read_frame
from engine.mask_check import MaskReading, MaskToCheck, check_masks
from engine.sample_scene import encode_picture
from tests import fuzz_masks
from tests.fuzz_zips import mutated_zip

ADDRESS_SPACE = 8 * 2**30  # arrow and numpy reserve gigabytes they never touch
BATCH = 1000  # mask records an export
OBJECTS = 4  # of a frame
HERE = engine.Execution(runner="local")


def peak_mb():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def say(**facts):
    sys.stdout.write(json.dumps(facts | {"peak_mb": round(peak_mb())}) + "\n")
    sys.stdout.flush()


def validate(path, **config):
    """The report's findings by code; or what was raised that must not be."""
    try:
        document = engine.validate([str(path)], None, engine.Config(**config), HERE)
    except RunError as error:  # what the engine did not foresee, under the name of its task
        return None, f"{error} <- {error.__cause__!r}"
    except Sam2PrepError:
        return None, None
    except Exception as error:  # noqa: BLE001  # the very thing that is looked for
        return None, f"{type(error).__name__}: {error}"
    return Counter({f["code"]: f["count"] for f in document["findings"]}), None


def masks(first, count, folder):
    """Records in exports of BATCH: the report must say of them what each by itself shows."""
    for start in range(first, first + count, BATCH):
        say(seed=start)
        size = fuzz_masks.SIZES[start // BATCH % len(fuzz_masks.SIZES)]
        seeds = range(start, min(start + BATCH, first + count))
        made = [(seed, fuzz_masks.mutated_record(seed, size)) for seed in seeds]
        good = [(seed, record) for seed, record in made if fuzz_masks.is_json(record)]
        # The first frames show the grid: on nothing but damaged records it could not be found.
        whole = " ".join(map(str, fuzz_masks.runs_of(fuzz_masks.drawn(Ordinary(), size))))
        lead = [{"object_id": 0, "label": "dog", "mask_rle": whole}] * len(good)
        records = [record for _, record in good]
        wrong, expected, exact = _one_by_one(good, size)
        path = folder / f"{start}.zip"
        _write(path, size, records, lead)
        found, problem = validate(path, mask_order="column", check_images="structure")
        path.unlink()
        if problem or found is None:
            wrong.append(f"batch of seed {start}: {problem or 'the export was refused'}")
        else:
            got = {code: n for code, n in found.items() if code in expected or "mask" in code}
            if got != expected:
                wrong.append(f"batch of seed {start}: {got}, one by one {expected}")
        say(done=len(seeds), wrong=wrong, exact=exact)


class Ordinary:
    """Stands for a random number generator where a plain blob is wanted."""

    def choice(self, _items):
        return "blob"

    def randint(self, low, _high):
        return low

    def uniform(self, low, high):
        return (low + high) / 2


def _one_by_one(good, size):
    wrong, expected, exact = [], Counter(), 0
    reading = MaskReading(grid=size, order="column", known_exporter=False)
    for seed, record in good:
        frame = read_frame({"frame_index": 0, "objects": [json.loads(json.dumps(record))]})
        raw = frame.objects[0]
        codes = [code for code, _ in raw.problems]
        if raw.notation is not None:
            (outcome,) = check_masks([MaskToCheck(raw=raw, size=size)], reading)
            codes += [code for code, _ in outcome.problems]
            exact += outcome.counts is not None
            problem = fuzz_masks.disagreement(raw, size, outcome)
            if problem:
                wrong.append(f"seed {seed}, size {size}: {problem}: {record!r}")
        expected.update(codes)
    return wrong, expected, exact


def _write(path, size, records, lead):
    """An export of the records, OBJECTS a frame, between frames that are in order."""
    import numpy as np

    picture = encode_picture(np.full((*size, 3), 90, np.uint8), "png")
    frames = [records[i : i + OBJECTS] for i in range(0, len(records), OBJECTS)]
    frames += [lead[i : i + OBJECTS] for i in range(0, len(lead), OBJECTS)]
    document = {
        "video": {"filename": "a.mp4", "width": size[1], "height": size[0]},
        "annotations": [{"frame_index": i, "objects": f} for i, f in enumerate(frames)],
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("annotations.json", json.dumps(document))
        for i in range(len(frames)):
            archive.writestr(f"images/{i:06d}.png", picture)


def zips(first, count, folder):
    """Damaged archives: a report or an error of ours, and nothing left behind."""
    path = folder / "damaged.zip"
    for seed in range(first, first + count):
        say(seed=seed)
        path.write_bytes(mutated_zip(seed))
        check = ("header", "structure", "decode")[seed % 3]
        found, problem = validate(path, check_images=check)
        wrong = [f"seed {seed}: {problem}"] if problem else []
        left = sorted(p.name for p in folder.iterdir() if p != path)
        if left:
            wrong.append(f"seed {seed}: left behind {left}")
        say(done=1, wrong=wrong, read=found is not None)


def main():
    faulthandler.enable()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    kind, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        tempfile.tempdir = str(folder)
        (masks if kind == "masks" else zips)(first, count, folder)


if __name__ == "__main__":
    main()
