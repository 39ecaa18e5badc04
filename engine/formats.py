"""The output formats: which module writes each of them.

A format is a module with two functions, told apart here and nowhere else.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from engine import coco_json, hf_layout, llava_jsonl, parquet_layout, revos_json, swift_jsonl
from engine.choices import FORMATS
from engine.config import Config
from engine.errors import ConfigError
from engine.samples import Part, Samples, SplitParts
from engine.storage import FileDigest

__all__ = ["finish", "open_part", "shard_file"]


def open_part(name: str, part: Part) -> AbstractContextManager[Callable[[Samples], None]]:
    """Begin one format's share of a shard; what the block gets takes the rows."""
    match name:
        case "hf":
            return hf_layout.open_part(part)
        case "llava":
            return llava_jsonl.open_part(part)
        case "parquet":
            return parquet_layout.open_part(part)
        case "swift":
            return swift_jsonl.open_part(part)
        case "coco":
            return coco_json.open_part(part)
        case "revos":
            return revos_json.open_part(part)
    raise ConfigError("format", "no such output format", got=name, expected=" | ".join(FORMATS))


def shard_file(name: str, split: str, number: int) -> str | None:
    """Give the file of OUT that a format has of one shard alone; None if its files hold many."""
    match name:
        case "hf":
            return hf_layout.shard_name(split, number)
        case "parquet":
            return parquet_layout.parquet_name(split, number)
        case "quarantine":
            return hf_layout.quarantine_name(number)
    return None


def finish(
    name: str, staging: str, splits: Sequence[SplitParts], config: Config
) -> list[FileDigest]:
    """Make the whole of a format's shares.

    Args:
        name: of the format.
        staging: folder in which OUT grows.
        splits: all splits, in their order; those without rows too.
        config: of the run.

    Returns:
        Every file of the format, those written by `open_part` too.
    """
    files = [file for split in splits for file in split.files]
    match name:
        case "hf":
            return files + hf_layout.finish(staging, splits, config)
        case "llava":
            return files + llava_jsonl.finish(staging, splits, config)
        case "parquet":
            return files
        case "swift":
            return files + swift_jsonl.finish(staging, splits)
        case "coco":
            return files + coco_json.finish(staging, splits)
        case "revos":
            return files + revos_json.finish(staging, splits)
    raise ConfigError("format", "no such output format", got=name, expected=" | ".join(FORMATS))
