"""Where exports and datasets may lie: paths, and URLs that can be opened and give no secret away.

What a user names is written into the manifest, the report, the log and the history. So a URL that
holds a password or a signature is refused before anything is done with it; nothing is masked
afterwards, which would have to succeed everywhere.
"""

import os
import re

from engine.byte_ranges import EXTRAS, local_path
from engine.errors import UsageError

__all__ = ["Location", "location_of", "require_location"]

Location = str | os.PathLike[str]
"""What the public functions take for a place: a path or a URL as text, or a path object."""

_WITH_PASSWORD = re.compile(r"://[^/@:]*:[^/@]+@")
_SIGNED = re.compile(
    r"[?&](?:[\w-]*(?:signature|token|secret|password|credential|accesskeyid)|sig)=", re.IGNORECASE
)

_BROKEN_URL = re.compile(r"[A-Za-z][\w+.-]+:/(?!/)")  # what pathlib makes of s3://bucket


def location_of(place: Location, name: str) -> str:
    """Take a location from a caller, as text.

    Args:
        place: a path or a URL.
        name: of the argument, for the error.

    Raises:
        UsageError: it is neither, or `require_location` refuses it.
    """
    expected = "a path or a URL, as text or as a path object"
    if not isinstance(place, str | os.PathLike):
        raise UsageError(name, "is no location", got=type(place).__name__, expected=expected)
    text = os.fspath(place)
    if not isinstance(text, str):
        raise UsageError(name, "is no location", got=type(text).__name__, expected=expected)
    if not isinstance(place, str) and _BROKEN_URL.match(text):
        raise UsageError(name, "a path object cannot hold a URL", got=text,
                         advice="give the URL as text")  # fmt: skip
    require_location(text)
    return text


def require_location(location: str) -> None:
    """Refuse a URL that cannot be opened, or that must not be written down.

    Args:
        location: a path or a URL, as the user named it.

    Raises:
        UsageError: it is empty or names a protocol alone, it holds credentials, its protocol is
            unknown, or the package for it is missing.
    """
    protocol, _, rest = location.partition("://")
    if not location or location == "file://":
        raise UsageError(
            location or "''", "names no file and no folder", expected="a path or a URL"
        )
    if local_path(location) is not None:
        return
    if not rest.strip("/"):
        raise UsageError(
            location, "names no place", expected=f"{protocol}://PLACE/...",
            advice="say where it lies: the bucket, container or server, and a path",
        )  # fmt: skip
    if _WITH_PASSWORD.search(location) or _SIGNED.search(location):
        shown = re.split(r"[?]", rest.rsplit("@", 1)[-1])[0]
        raise UsageError(
            f"{protocol}://{shown}", "holds credentials, which a dataset's records would show",
            advice="take them out of the URL, and set them in the environment or in fsspec's "
            "configuration",
        )  # fmt: skip
    import fsspec  # a URL is rare, and fsspec costs start-up time

    for name in protocol.split("::"):
        try:
            fsspec.get_filesystem_class(name)
        except ImportError as error:
            extra = EXTRAS.get(name)
            what = f"{name}:// needs a package that is not installed"
            advice = f"pip install 'sam2prep[{extra}]'" if extra else str(error)
            raise UsageError(location, what, advice=advice) from error
        except ValueError as error:
            known = ", ".join(f"{each}://" for each in ("s3", "gs", "abfs", "hf", "https"))
            raise UsageError(
                location, f"{name}:// is no protocol that fsspec knows", expected=f"a path, {known}"
            ) from error
