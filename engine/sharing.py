"""Whether every node of a cluster sees the local paths of a run: asked, not believed.

A path may be on a disk that all nodes mount, or on one machine only; nothing in its name says so.
Workers on a node that does not see OUT would write shards that nobody finds, hours into a run. So
every node is asked once what it sees, and what it sees is compared with what the driver sees: the
size of a file, the names in a folder, and in OUT the lock, whose token no other folder has.

Nodes that join later, as they do where a cluster grows with its work, are not there to be asked: a
worker on one of them looks for itself, before its first task. By then tasks write into folders, so
that names in them tell nothing any more; sizes and the lock do.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.byte_ranges import local_path
from engine.errors import NodeError
from engine.manifest import LOCK

__all__ = ["Shared", "local_places", "require_same", "sights"]

_NAMES = 1000  # of a folder: enough to tell it from another one


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What a node that has not been asked has to see.

    Args:
        places: local paths.
        seen: what the driver saw at each when the work began, without the names in folders.
        asked: ids of the nodes that were asked then.
    """

    places: tuple[str, ...]
    seen: tuple[str | None, ...]
    asked: frozenset[str]

    def require_on(self, node: str) -> None:
        """Refuse this machine, if it does not see what the driver saw.

        Args:
            node: its name, for the message.

        Raises:
            NodeError: it does not.
        """
        there = [place for place, seen in zip(self.places, self.seen, strict=True) if seen]
        ours = [seen for seen in self.seen if seen]
        require_same(there, ours, {node: sights(there, names=False)})


def local_places(locations: Sequence[str]) -> list[str]:
    """Give the locations that are no URLs, each once, in order."""
    return list(dict.fromkeys(each for each in locations if local_path(each) is not None))


def sights(places: Sequence[str], *, names: bool = True) -> list[str | None]:
    """Say of each place what this machine sees there; None for nothing, or nothing readable.

    Args:
        places: local paths.
        names: by the names in a folder too, which change while tasks write there.
    """
    return [_sight(place, names) for place in places]


def _sight(place: str, names: bool) -> str | None:
    path = local_path(place)
    if path is None:
        return None
    try:
        if path.is_dir():
            return _folder(path, listed=names)
        return f"a file of {path.stat().st_size} bytes"
    except OSError:
        return None


def _folder(path: Path, *, listed: bool) -> str:
    lock = path / LOCK
    if lock.exists():  # of our own run: names change under its work, the token does not
        told = lock.read_bytes()
    elif not listed:
        return "a folder"
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
