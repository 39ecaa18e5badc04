"""What the next version of a dataset keeps of this one: which shards, and what they settle.

The name of a file of the index says what its rows are: those of a split, set aside, or left out. A
shard of which a row gave way to another record is dissolved: its other rows keep their split and
their texts and are written again, in a shard with a number of its own, for a number never comes to
mean another shard.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.config import SPLIT_NAMES
from engine.division import EXCLUSIONS
from engine.held_shards import HeldDataset
from engine.intake import Intake
from engine.plan import Shard
from engine.shard_writer import QUARANTINE
from engine.storage import FileDigest, file_name
from engine.tables import read_table

__all__ = ["files_aside", "held_dataset", "is_of_split"]

_INDEX_FILE = re.compile(r"(?P<what>[a-z_-]+)-(?P<number>\d{5})\.parquet")
_LEFT_OUT = "excluded-"


def files_aside(files: tuple[str, ...]) -> frozenset[int]:
    """Say which files of an index, by their places, hold frames that were set aside."""
    return frozenset(place for place, file in enumerate(files) if _parsed(file)[0] == QUARANTINE)


def is_of_split(file: str) -> bool:
    """Say whether a file of an index holds samples: rows of a split, and nothing set aside."""
    return _parsed(file)[0] in SPLIT_NAMES


def held_dataset(
    manifest: Mapping[str, Any], files: tuple[str, ...], intake: Intake
) -> HeldDataset:
    """Find out what stays as it is.

    Args:
        manifest: of the dataset.
        files: of its index; the first of `intake.index.files`.
        intake: all frames, those that came to the dataset too.
    """
    index = intake.index
    of_file, of_row = (index.table[name].to_numpy() for name in ("file", "row"))
    codes = np.full(len(index), -1, np.int8)
    left_out, folds = codes.copy(), codes.copy()
    intact = np.zeros(len(index), bool)
    digests = {entry["path"]: FileDigest(**entry) for entry in manifest["files"]}
    next_number: defaultdict[str, int] = defaultdict(int)
    shards, excluded = [], []
    order = np.argsort(of_file, kind="stable")
    cuts = np.searchsorted(of_file[order], np.arange(len(files) + 1))
    for number, file in enumerate(files):
        what, shard = _parsed(file)
        next_number[what] = max(next_number[what], shard + 1)
        places = order[cuts[number] : cuts[number + 1]]
        places = places[np.argsort(of_row[places])].astype(np.int64)
        _settle(what, places, codes, left_out)
        fold = read_table(file, ["fold"])["fold"].fill_null(-1).to_numpy()
        folds[places] = fold[of_row[places]]
        if len(places) < len(fold):
            continue  # dissolved
        intact[places] = True
        if what.startswith(_LEFT_OUT):
            excluded.append(digests[f"index/{file_name(file)}"])
        else:
            shards.append(Shard(split=what, number=shard, places=places))
    fold_of = _folds_of(intake.made_room)
    ids = index.table["id"].to_pylist() if intake.made_room else []
    for place, frame_id in enumerate(ids):  # what replaces a frame takes its place
        if (before := intake.made_room.get(frame_id)) is not None:
            _settle(_parsed(before)[0], np.array([place]), codes, left_out)
            folds[place] = fold_of[frame_id]
    return HeldDataset(
        files=digests,
        shards=tuple(sorted(shards, key=lambda s: (s.split, s.number))),
        excluded=tuple(excluded),
        intact=intact,
        newcomers=(of_file >= len(files)) & (codes < 0) & (left_out < 0),
        codes=codes,
        left_out=left_out,
        folds=folds,
        next_number=dict(next_number),
    )


def _folds_of(made_room: Mapping[str, str]) -> dict[str, int]:
    """The fold of each frame whose record another one has replaced, by its id; -1: in none."""
    found: dict[str, int] = {}
    for file in sorted(set(made_room.values())):
        table = read_table(file, ["id", "fold"])
        folds = table["fold"].fill_null(-1).to_pylist()
        found |= dict(zip(table["id"].to_pylist(), folds, strict=True))
    return {frame: found[frame] for frame in made_room}


def _parsed(file: str) -> tuple[str, int]:
    """What the rows of a file of the index are, and its number."""
    found = _INDEX_FILE.fullmatch(file_name(file))
    return (found["what"], int(found["number"])) if found else ("", 0)


def _settle(what: str, places: Any, codes: Any, left_out: Any) -> None:
    if what in SPLIT_NAMES:
        codes[places] = SPLIT_NAMES.index(what)
    elif what.startswith(_LEFT_OUT):
        left_out[places] = EXCLUSIONS.index(what.removeprefix(_LEFT_OUT))
