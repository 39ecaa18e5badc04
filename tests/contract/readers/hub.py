"""What `datasets` reads, column by column, as digests: any version of it, 2.16 to 5."""

import hashlib
import json

import datasets


def plain(value):
    """A value as JSON; an image is its size, its mode and a digest of its pixels."""
    if hasattr(value, "tobytes") and hasattr(value, "mode"):
        pixels = hashlib.sha256(value.tobytes()).hexdigest()
        return {"size": list(value.size), "mode": value.mode, "pixels": pixels}
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def digests(splits):
    """Per split and column, rows in order: their number and a digest of their values."""
    found = {}
    for name, split in splits.items():
        columns = {column: hashlib.sha256() for column in split.column_names}
        for row in split:
            for column, digest in columns.items():
                digest.update(json.dumps(plain(row[column])).encode() + b"\n")
        found[name] = {
            "rows": len(split), "columns": {c: d.hexdigest() for c, d in columns.items()},
        }  # fmt: skip
    return found


def read_disk(path):
    """Read what `save_to_disk` would have written."""
    return digests(datasets.load_from_disk(path))


def read_root(path):
    """Read a folder as one reads a repository of the Hub."""
    return digests(datasets.load_dataset(path))


def read_json(files):
    """Read JSON lines, or lists."""
    return digests(datasets.load_dataset("json", data_files=files))


def version():
    """Say which it is."""
    return datasets.__version__
