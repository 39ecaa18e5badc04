"""An object store in memory, `counted://`: every request can fail, or be the last.

Stricter than fsspec's own `memory://` and nearer to what S3 does: there are no folders, an object
appears whole, moving is a copy and a deletion, and the requests of a dead process are over.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec

__all__ = ["CountedStore"]


class CountedStore(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """All instances show the same objects."""

    protocol = "counted"
    cachable = False
    objects: ClassVar[dict[str, bytes]] = {}
    request: ClassVar[Callable[[str, str], None]] = lambda _kind, _path: None
    """Called before every request with its kind and path; raises what it is to raise."""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(path).removeprefix("counted://").strip("/")

    def _below(self, folder: str) -> Iterator[tuple[str, int]]:
        prefix = f"{folder}/" if folder else ""
        for name, data in self.objects.items():
            if name.startswith(prefix):
                yield name.removeprefix(prefix), len(data)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List one level."""
        path = self._strip_protocol(path)
        type(self).request("list", path)
        found: dict[str, dict[str, Any]] = {}
        if path in self.objects:
            found[path] = {"name": path, "size": len(self.objects[path]), "type": "file"}
        for rest, size in self._below(path):
            first, slash, _more = rest.partition("/")
            name = f"{path}/{first}" if path else first
            kind = "directory" if slash else "file"
            found[name] = {"name": name, "size": 0 if slash else size, "type": kind}
        if not found:
            raise FileNotFoundError(path)
        return [found[name] if detail else name for name in sorted(found)]

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Nothing to do."""

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Get an object, or a range of it."""
        path = self._strip_protocol(path)
        type(self).request("get", path)
        if path not in self.objects:
            raise FileNotFoundError(path)
        return self.objects[path][start:end]

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        if mode != "rb":
            raise ValueError(f"objects are put whole, not opened as {mode}")
        return io.BytesIO(self.cat_file(path))

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """Put an object: it is there when the request is done."""
        data = Path(lpath).read_bytes()
        type(self).request("put", rpath)
        self.objects[self._strip_protocol(rpath)] = data

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy an object within the store."""
        type(self).request("copy", path2)
        data = self.objects[self._strip_protocol(path1)]
        self.objects[self._strip_protocol(path2)] = data

    def _rm(self, path: str) -> None:
        """Delete an object; a folder is not there to be deleted."""
        type(self).request("delete", path)
        self.objects.pop(self._strip_protocol(path), None)


fsspec.register_implementation("counted", CountedStore, clobber=True)
