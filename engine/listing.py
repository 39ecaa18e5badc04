"""What a file system of fsspec holds, or the error that kept it from saying so.

fsspec's own `exists`, `isfile` and `find` give "nothing" where a request fails: a connection that
breaks for a moment makes a folder empty, and whoever publishes or removes by such a list loses
files. A missing file is nothing here, any other failure is raised. The price: file systems without
a listing of their own are walked folder by folder, as fsspec would.
"""

from contextlib import suppress
from typing import Any

__all__ = ["files_below", "kind_of"]

_MISSING = (404, 410)  # of HTTP: not found, gone


def kind_of(filesystem: Any, path: str) -> str | None:
    """Say what is there.

    Args:
        filesystem: of fsspec.
        path: in it.

    Returns:
        "file", "directory", or None for nothing.

    Raises:
        OSError: it cannot be said.
    """
    try:
        return str(filesystem.info(path)["type"])
    except FileNotFoundError as error:
        _require_answer(error)
        return None


def _require_answer(missing: FileNotFoundError) -> None:
    """Raise what fsspec's HTTP file system calls missing and is not: it does so of any failure."""
    cause = missing.__cause__
    if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
        what = cause.strerror or str(cause) or type(cause).__name__
        raise ConnectionError(f"the server cannot be reached: {what}") from missing
    status = getattr(cause, "status", None)
    if isinstance(status, int) and status not in _MISSING:
        said = f"the server answers {status} {getattr(cause, 'message', '')}".rstrip()
        raise OSError(said) from missing


def files_below(filesystem: Any, path: str) -> dict[str, dict[str, Any]]:
    """Find every file below a folder.

    Args:
        filesystem: of fsspec.
        path: the folder; it need not be there.

    Returns:
        What fsspec says of each, by name relative to `path`, in no order.

    Raises:
        OSError: not all can be listed.
    """
    found: dict[str, dict[str, Any]] = {}
    if filesystem.async_impl:  # a store, which finds in one listing that fails as a whole
        with suppress(FileNotFoundError):
            found = filesystem.find(path, detail=True)
            if not isinstance(found, dict):  # adlfs gives the bare name where the path is a file
                found = {name: filesystem.info(name) for name in found}
    else:  # fsspec's own walk leaves out what cannot be listed, whatever it is told
        folders = [path]
        while folders:
            folder = folders.pop()
            with suppress(FileNotFoundError):
                for entry in filesystem.ls(folder, detail=True):
                    if entry["type"] != "directory":
                        found[entry["name"]] = entry
                    elif entry["name"].rstrip("/") != folder.rstrip("/"):
                        folders.append(entry["name"])
    prefix = path.rstrip("/") + "/"
    return {name.removeprefix(prefix): about for name, about in found.items()}
