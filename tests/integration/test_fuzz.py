"""Whatever calls itself an export ends in a report or in an error of ours, and no mask is wrong.

Each seed's input is mutated from a good one (`tests/fuzz_masks.py`, `tests/fuzz_zips.py`) and read
in a process of its own, so that a crash of the interpreter, a hang or eaten memory is a failure
that names the seed. Repeat one with `python -m tests.fuzz_child zips SEED 1`.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SEC = 60
MOST_MB = 1000


def run_child(kind, first, count):
    """What the child says; fails if it dies, hangs, or says that something is wrong."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz_child", kind, str(first), str(count)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    lines = queue.Queue()
    errors = []
    readers = [
        threading.Thread(target=pump, args=(child.stdout, lines)),
        threading.Thread(target=lambda: errors.extend(child.stderr)),
    ]
    for reader in readers:
        reader.start()
    said, seed, hung = [], first, False
    try:
        while True:
            line = lines.get(timeout=PATIENCE_SEC)
            if line is None:
                break
            said.append(json.loads(line))
            seed = said[-1].get("seed", seed)
    except queue.Empty:
        hung = True
        child.kill()
    finally:
        code = child.wait()
        for reader in readers:
            reader.join()
    assert not hung, f"{kind}: nothing for {PATIENCE_SEC} s at seed {seed}"
    assert code == 0 and sum(fact.get("done", 0) for fact in said) == count, (
        f"{kind}: ended with {code} at seed {seed}:\n{''.join(errors[-30:])}"
    )
    wrong = [text for fact in said for text in fact.get("wrong", ())]
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:20])
    seed = first
    for fact in said:
        seed = fact.get("seed", seed)
        assert fact["peak_mb"] <= MOST_MB, f"{kind}: {fact['peak_mb']} MB at seed {seed}"
    sys.stdout.write(f"{kind}: {count} inputs, at most {said[-1]['peak_mb']} MB\n")
    return said


def pump(stream, lines):
    """Hand on the lines of a stream, and None at its end."""
    for line in stream:
        lines.put(line)
    lines.put(None)


def check_masks_alike(first, count):
    said = run_child("masks", first, count)
    # Otherwise the comparison with pycocotools would be one of refusals only.
    assert sum(fact.get("exact", 0) for fact in said) > count / 10


def check_zips_survive(first, count):
    said = run_child("zips", first, count)
    read = sum(fact.get("read", False) for fact in said)
    assert count / 10 < read < count  # some of the damage is borne, some refused


def test_mutated_mask_records():
    check_masks_alike(0, 4000)


def test_mutated_zips():
    check_zips_survive(0, 150)


@pytest.mark.long
def test_100_000_mutated_mask_records():
    check_masks_alike(1_000_000, 100_000)


@pytest.mark.long
def test_2_000_mutated_zips():
    check_zips_survive(1_000_000, 2000)
