"""Whether every node of a cluster sees the local paths of a run: asked, not believed.

A path may be on a disk that all nodes mount, or on one machine only; nothing in its name says so.
Workers on a node that does not see OUT would write shards that nobody finds, hours into a run. So
every node is asked once what it sees, and what it sees is compared with what the driver sees: the
size of a file, the names in a folder, and in OUT the lock, whose token no other folder has.
Nodes that join later are not asked.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.byte_ranges import local_path
from engine.errors import NodeError
from engine.manifest import LOCK

__all__ = ["local_places", "require_same", "sights"]

_NAMES = 1000  # of a folder: enough to tell it from another one


def local_places(locations: Sequence[str]) -> list[str]:
    """Give the locations that are no URLs, each once, in order."""
    return list(dict.fromkeys(each for each in locations if local_path(each) is not None))


def sights(places: Sequence[str]) -> list[str | None]:
    """Say of each place what this machine sees there; None for nothing, or nothing readable."""
    return [_sight(place) for place in places]


def _sight(place: str) -> str | None:
    path = local_path(place)
    if path is None:
        return None
    try:
        if path.is_dir():
            return _folder(path)
        return f"a file of {path.stat().st_size} bytes"
    except OSError:
        return None


def _folder(path: Path) -> str:
    lock = path / LOCK
    if lock.exists():  # of our own run: names change under its work, the token does not
        told = lock.read_bytes()
    else:
        names = sorted(entry.name for entry in path.iterdir())
        told = "\0".join([str(len(names)), *names[:_NAMES]]).encode("utf-8", "surrogateescape")
    return f"a folder with content {hashlib.sha256(told).hexdigest()[:12]}"


def require_same(
    places: Sequence[str], here: Sequence[str | None], seen: Mapping[str, Sequence[str | None]]
) -> None:
    """Refuse a run whose places are not the same everywhere.

    Args:
        places: local paths.
        here: what the driver sees at each.
        seen: by the name of a node, what that one sees.

    Raises:
        NodeError: a node sees something else; it names the first of them, and the path.
    """
    for node, what in sorted(seen.items()):
        for place, ours, theirs in zip(places, here, what, strict=True):
            if theirs != ours:
                raise NodeError(
                    place, f"is not the same on node {node} of the cluster",
                    got=theirs or "nothing there", expected=ours or "nothing there",
                    advice="name a URL (s3://, gs://, abfs://) or a full path that every node "
                    "mounts, or work on one machine: --runner local",
                )  # fmt: skip
