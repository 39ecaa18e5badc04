"""The version of the engine: written here, read by the build, the manifest and the workers.

A number alone does not tell two checkouts apart, and on a cluster driver and workers may come from
an image, an upload and an installation at once: so the sources themselves are compared.
"""

import hashlib
from functools import cache
from pathlib import Path

__all__ = ["VERSION", "build"]

VERSION = "0.1.0"


@cache
def build() -> str:
    """Name the version and the sources this process runs, as `0.1.0 (sources 1f2e3d4c5b6a)`.

    The digest is over names and contents of the engine's modules, in the order of the names: some
    milliseconds, once a process.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return f"{VERSION} (sources {digest.hexdigest()[:12]})"
