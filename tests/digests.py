"""What a dataset or any other folder holds, as digests, for the tests that compare two of them."""

import hashlib

from engine.storage import list_files, read_bytes


def tree(place, without=("summary.json",)):
    """Give the SHA-256 of every file below a folder or URL, by name.

    Args:
        place: a path, or a URL that fsspec opens.
        without: how the names start that are left out. By default the summary, which holds times
            and the history of a dataset.
    """
    return {
        name: hashlib.sha256(read_bytes(f"{place}/{name}")).hexdigest()
        for name in list_files(str(place))
        if not name.startswith(tuple(without))
    }
