"""Where exports and datasets may lie: URLs that can be opened, and that give no secret away.

What a user names is written into the manifest, the report, the log and the history. So a URL that
holds a password or a signature is refused before anything is done with it; nothing is masked
afterwards, which would have to succeed everywhere.
"""

import re

from engine.byte_ranges import EXTRAS, local_path
from engine.errors import UsageError

__all__ = ["require_location"]

_WITH_PASSWORD = re.compile(r"://[^/@:]*:[^/@]+@")
_SIGNED = re.compile(
    r"[?&](?:[\w-]*(?:signature|token|secret|password|credential|accesskeyid)|sig)=", re.IGNORECASE
)


def require_location(location: str) -> None:
    """Refuse a URL that cannot be opened, or that must not be written down.

    Args:
        location: a path or a URL, as the user named it.

    Raises:
        UsageError: it holds credentials, its protocol is unknown, or the package for it is missing.
    """
    if local_path(location) is not None:
        return
    protocol, _, rest = location.partition("://")
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
