"""`OUT/README.md`: what `datasets.load_dataset(OUT)` and the Hub take OUT for.

Without it `load_dataset` takes every file it knows below OUT for one table: reports, index and
`state.json` become rows. Its YAML names the files of each split, of Parquet where that was written
and else of `hf`, whose Arrow files are read as they are.
"""

from collections.abc import Mapping, Sequence

__all__ = ["CARD_NAME", "root_card"]

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


def root_card(formats: Sequence[str], sizes: Mapping[str, int]) -> bytes | None:
    """Write the card of a dataset.

    Args:
        formats: those that were written.
        sizes: rows of each split, in order; one without rows has no files and is left out.

    Returns:
        The file; None if no format was written that `load_dataset` reads, or no row.
    """
    from huggingface_hub import DatasetCardData  # heavy: not needed before a dataset is done

    pattern = next((_PATTERNS[name] for name in _PATTERNS if name in formats), None)
    present = [split for split, rows in sizes.items() if rows]
    if pattern is None or not present:
        return None
    files = [{"split": split, "path": pattern.format(split=split)} for split in present]
    data = DatasetCardData(configs=[{"config_name": "default", "data_files": files}])
    return f"---\n{data.to_yaml()}\n---\n{_TEXT}".encode()
