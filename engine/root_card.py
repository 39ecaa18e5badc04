"""`OUT/README.md`: what `datasets.load_dataset(OUT)` and the Hub take OUT for.

Without it `load_dataset` takes every file it knows below OUT for one table: reports, index and
`state.json` become rows. Its YAML names the files of each split, of Parquet where that was written
and else of `hf`, whose Arrow files are read as they are.

`datasets` keys its cache of a folder by the folder's last name and this YAML, not by the files: a
dataset prepared anew, or another one in a folder of the same name, would be answered with the rows
of the first. So the description of the configuration, which counts, holds a digest of the files.
"""

import hashlib
from collections.abc import Mapping, Sequence

from engine.storage import FileDigest

__all__ = ["CARD_NAME", "content_digest", "root_card"]

CARD_NAME = "README.md"

# Only the shards: `datasets` puts the cache of a `map` beside them, as cache-*.arrow.
_PATTERNS = {"parquet": "parquet/{split}-*.parquet", "hf": "hf/{split}/data-*.arrow"}

_TEXT = """
# Dataset prepared by sam2prep

Frames of videos with their masks, boxes, labels and conversations.

    import datasets
    data = datasets.load_dataset("path/of/this/folder")

Pictures, checks and what is known to be wrong: `report/report.html`. Where the frames come from,
and every file with its digest: `manifest.json`.
"""


def root_card(
    formats: Sequence[str], sizes: Mapping[str, int], files: Sequence[FileDigest]
) -> bytes | None:
    """Write the card of a dataset.

    Args:
        formats: those that were written.
        sizes: rows of each split, in order; one without rows has no files and is left out.
        files: of the dataset.

    Returns:
        The file; None if no format was written that `load_dataset` reads, or no row.
    """
    from huggingface_hub import DatasetCardData  # heavy: not needed before a dataset is done

    name = next((name for name in _PATTERNS if name in formats), None)
    present = [split for split, rows in sizes.items() if rows]
    if name is None or not present:
        return None
    config = {
        "config_name": "default",
        "description": f"content {content_digest(name, files)}",
        "data_files": [
            {"split": split, "path": _PATTERNS[name].format(split=split)} for split in present
        ],
    }
    data = DatasetCardData(configs=[config])
    return f"---\n{data.to_yaml()}\n---\n{_TEXT}".encode()


def content_digest(folder: str, files: Sequence[FileDigest]) -> str:
    """A digest of the files of one format."""
    lines = sorted(f"{f.path} {f.sha256}\n" for f in files if f.path.startswith(f"{folder}/"))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
